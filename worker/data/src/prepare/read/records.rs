//! Records of delimited text, of which no more than a bound is held in memory.
//!
//! The state machine is `csv-core`'s; the `csv` crate above it would let one unclosed quote take the whole file.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader};

/// The most fields of a record.
pub(super) const MAX_FIELDS: usize = 1 << 16;

/// Reads records one after the other.
pub(super) struct Records<R> {
    core: Reader,
    source: R,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
    max_row: usize,
    /// The line of what is read next.
    at_line: u64,
    line: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Record,
    /// A record over the bound; it was passed over.
    TooLong,
    End,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(source: R, core: Reader, max_row: usize) -> Self {
        let bytes = vec![0; max_row.min(1 << 12)];
        Self { core, source, bytes, ends: vec![0; 64], fields: 0, max_row, at_line: 1, line: 1 }
    }

    /// Reads on in the middle of a text, where a record begins on `line`: what looks like a mark of byte order is none here.
    pub(super) fn resume(source: R, mut core: Reader, max_row: usize, line: u64) -> Self {
        core.read_record(b"x\n", &mut [0; 8], &mut [0; 8]);
        Self { at_line: line, line, ..Self::new(source, core, max_row) }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &R {
        &self.source
    }

    /// What was not read yet, and its line.
    pub(super) fn into_rest(self) -> (R, u64) {
        (self.source, self.at_line)
    }

    /// The line on which the record at hand begins.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Whether the record at hand goes on over more lines than one.
    pub(super) fn has_line_ends(&self) -> bool {
        self.at_line > self.line + 1
    }

    /// Number of fields of the record at hand.
    pub(super) fn len(&self) -> usize {
        self.fields
    }

    /// A field of the record at hand.
    pub(super) fn field(&self, idx: usize) -> &[u8] {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        &self.bytes[start..self.ends[idx]]
    }

    pub(super) fn advance(&mut self) -> io::Result<Next> {
        self.skip_line_ends()?;
        self.line = self.at_line;
        let (mut n_bytes, mut n_ends, mut is_over) = (0, 0, false);
        loop {
            let input = self.source.fill_buf()?;
            let (result, taken, written, ended) =
                self.core.read_record(input, &mut self.bytes[n_bytes..], &mut self.ends[n_ends..]);
            self.at_line += line_ends(&input[..taken]);
            self.source.consume(taken);
            (n_bytes, n_ends) = (n_bytes + written, n_ends + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < self.max_row => {
                    let len = (self.bytes.len() * 2).min(self.max_row);
                    self.bytes.resize(len, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_FIELDS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                // The rest of the record is read, over and over into the same place.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (n_bytes, n_ends, is_over) = (0, 0, true);
                }
                ReadRecordResult::Record => {
                    self.fields = n_ends;
                    return Ok(if is_over { Next::TooLong } else { Next::Record });
                }
                ReadRecordResult::End => return Ok(Next::End),
            }
        }
    }

    /// Passes over the end of the line before and blank lines, so that the number of a record's line is right.
    fn skip_line_ends(&mut self) -> io::Result<()> {
        loop {
            let input = self.source.fill_buf()?;
            let len = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.at_line += line_ends(&input[..len]);
            let is_all = len > 0 && len == input.len();
            self.source.consume(len);
            if !is_all {
                return Ok(());
            }
        }
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &[u8], max_row: usize, chunk: usize) -> Vec<(u64, Vec<String>)> {
        let source = io::BufReader::with_capacity(chunk, text);
        let mut records = Records::new(source, Reader::new(), max_row);
        let mut found = Vec::new();
        loop {
            match records.advance().unwrap() {
                Next::End => return found,
                Next::TooLong => found.push((records.line(), vec!["too long".to_owned()])),
                Next::Record => {
                    let text = |idx| String::from_utf8_lossy(records.field(idx)).into_owned();
                    found.push((records.line(), (0..records.len()).map(text).collect()));
                }
            }
        }
    }

    #[test]
    fn lines_are_counted_over_quotes_blank_lines_and_windows_line_ends() {
        let found = all(b"a,b\r\n\r\n\"x\r\ny\",1\r\nlast,2", 1000, 3);
        let row = |line, fields: [&str; 2]| (line, fields.map(str::to_owned).to_vec());
        assert_eq!(found, [row(1, ["a", "b"]), row(3, ["x\r\ny", "1"]), row(5, ["last", "2"])]);
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_in_one_long_row() {
        let text = format!("a,b\n\"{}", "1,2\n".repeat(100_000));
        let found = all(text.as_bytes(), 5000, 4096);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], (2, vec!["too long".to_owned()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_break_it_and_pieces_do_not_show(text in "[a,\"\r\n;é]{0,80}", chunk in 1_usize..9) {
            prop_assert_eq!(all(text.as_bytes(), 1000, chunk), all(text.as_bytes(), 1000, 4096));
            all(text.as_bytes(), 8, chunk);
        }
    }
}
