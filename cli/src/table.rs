//! Tables for a terminal: columns padded to their widest cell, numbers to the right.

/// A table under construction; cells are text already in the form to show.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are blank, surplus ones are dropped.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// The table as text, two blanks of indentation, no newline at the end.
    pub fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.header.len()).map(|column| self.width(column)).collect();
        let numeric: Vec<bool> = (0..self.header.len()).map(|column| self.is_numeric(column)).collect();
        let line = |cells: &[String]| {
            let mut text = String::from(" ");
            for (column, cell) in cells.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let cell = if numeric[column] { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
                text.push(' ');
                text.push_str(&cell);
                text.push(' ');
            }
            text.trim_end().to_owned()
        };
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        let mut lines = vec![line(&self.header), line(&rule)];
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines.join("\n")
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| &row[column]).chain([&self.header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    fn is_numeric(&self, column: usize) -> bool {
        let number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        let mut filled =
            self.rows.iter().map(|row| row[column].as_str()).filter(|cell| !cell.is_empty()).peekable();
        filled.peek().is_some() && filled.all(number)
    }
}

/// A count with a blank between groups of three digits.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A size in mebibytes.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1_u32 << 20))
}

/// Numbers with runs of consecutive ones drawn together: `0-3, 7`.
pub fn runs(numbers: &[usize]) -> String {
    let text = |run: &[usize]| match run {
        [one] => one.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    };
    numbers.chunk_by(|a, b| a + 1 == *b).map(text).collect::<Vec<_>>().join(", ")
}

/// A name for people as a key of JSON.
pub fn key(name: &str) -> String {
    name.replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_words_to_the_left() {
        let mut table = Table::new(["who", "HR@10"]);
        table.row(["model", "0.1234"]);
        table.row(["popularity", "0.02"]);
        let expected =
            "  who          HR@10\n  ──────────  ──────\n  model       0.1234\n  popularity    0.02";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn digits_come_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1 234 567");
    }
}
