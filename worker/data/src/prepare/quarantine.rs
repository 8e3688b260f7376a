//! The rows that rules on single rows reject, one JSON object a line, in the order of the log.
//!
//! The file holds a bounded number of bytes; what does not fit is counted, and the last line says how many. It names
//! files as the machine has them, so no digest covers it. No memory is held beyond one line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::Error;

/// The quarantine's name in the dataset's folder.
pub const FILE: &str = "quarantine.jsonl";

/// A row that became no event, or a file that was left out.
#[derive(Debug, Serialize)]
pub(super) struct Rejected<'r> {
    /// Its file.
    pub(super) file: &'r str,
    /// Its line, of Parquet its row, from 1; none for a whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// The rule that rejects it, as the report counts it.
    pub(super) rule: &'r str,
    /// The column, where it is one column's fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<&'r str>,
    /// Its value there, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    /// What is wrong.
    pub(super) reason: &'r str,
}

/// The line of a rejected row.
pub(super) fn line(rejected: &Rejected<'_>) -> Result<Vec<u8>, Error> {
    encode(rejected)
}

fn encode(line: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(line)
        .map_err(|error| Error::Encode { file: FILE.to_owned(), what: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The last line of a file that is full.
#[derive(Debug, Serialize)]
struct Omitted {
    omitted: u64,
    reason: &'static str,
}

/// How far the quarantine goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    bytes: u64,
    omitted: u64,
}

/// The quarantine while rows are read; its file begins with the first row.
#[derive(Debug)]
pub(super) struct Quarantine {
    path: PathBuf,
    limit: u64,
    end: Mark,
    file: Option<BufWriter<File>>,
}

impl Quarantine {
    /// An empty one, whose file will lie in `dir`.
    pub(super) fn new(dir: &Path, limit: u64) -> Self {
        Self { path: dir.join(FILE), limit, end: Mark::default(), file: None }
    }

    pub(super) fn add(&mut self, rejected: &Rejected<'_>) -> Result<(), Error> {
        self.add_line(&line(rejected)?)
    }

    /// Adds what [`line`] gave.
    pub(super) fn add_line(&mut self, line: &[u8]) -> Result<(), Error> {
        // Once a row does not fit, none does: what is there is a prefix of all.
        if self.end.omitted > 0 || self.end.bytes + line.len() as u64 > self.limit {
            self.end.omitted += 1;
            return Ok(());
        }
        self.end.bytes += line.len() as u64;
        self.write(line)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Write { path: PathBuf::from(FILE), source };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(failed)?;
                none.insert(BufWriter::new(file))
            }
        };
        file.write_all(line).map_err(failed)
    }

    /// Where it ends now.
    pub(super) fn mark(&self) -> Mark {
        self.end
    }

    /// Takes back what was added since `mark`.
    pub(super) fn rewind(&mut self, mark: Mark) -> Result<(), Error> {
        self.end = mark;
        let Some(file) = &mut self.file else { return Ok(()) };
        let cut = file.flush().and_then(|()| file.get_ref().set_len(mark.bytes));
        cut.map_err(|source| Error::Write { path: PathBuf::from(FILE), source })
    }

    /// Adds what a part of the log rejected, from the file that [`Quarantine::finish_part`] left in a folder.
    pub(super) fn add_part(&mut self, dir: &Path, omitted: u64) -> Result<(), Error> {
        let path = dir.join(FILE);
        let failed = |source| Error::Read { path: path.clone(), source };
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            opened => {
                let mut lines = BufReader::new(opened.map_err(failed)?);
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
                    self.add_line(&line)?;
                    line.clear();
                }
            }
        }
        // What did not fit into a file of its own does not fit after others.
        self.end.omitted += omitted;
        Ok(())
    }

    /// Writes a part's rows to disk; gives how many did not fit.
    pub(super) fn finish_part(mut self) -> Result<u64, Error> {
        let failed = |source| Error::Write { path: PathBuf::from(FILE), source };
        self.file.take().map_or(Ok(()), |mut file| file.flush()).map_err(failed)?;
        Ok(self.end.omitted)
    }

    /// Writes everything to disk; no file is left where nothing was rejected.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let failed = |source| Error::Write { path: PathBuf::from(FILE), source };
        if self.end.omitted > 0 && self.limit > 0 {
            let reason = "over `cleaning.max_quarantine`";
            let line = encode(&Omitted { omitted: self.end.omitted, reason })?;
            self.write(&line)?;
        }
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        if self.end == Mark::default() {
            return std::fs::remove_file(&self.path).map_err(failed);
        }
        file.sync_all().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(reason: &str) -> Rejected<'_> {
        Rejected { file: "a.csv", line: Some(2), rule: "invalid", field: None, value: None, reason }
    }

    #[test]
    fn the_file_is_bounded_and_says_what_it_omits() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::new(dir.path(), 150);
        for reason in ["first", "second", "third", "s"] {
            quarantine.add(&rejected(reason)).unwrap();
        }
        quarantine.finish().unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "{\"file\":\"a.csv\",\"line\":2,\"rule\":\"invalid\",\"reason\":\"first\"}");
        assert!(lines[2].starts_with("{\"omitted\":2,"), "{text}");
    }

    #[test]
    fn parts_put_together_hold_what_one_file_of_all_rows_does() {
        let reasons = ["first", "second", "a third one that is longer", "s", "t"];
        let file_of = |split: usize, limit: u64| {
            let dir = tempfile::tempdir().unwrap();
            let mut whole = Quarantine::new(dir.path(), limit);
            for (part, reasons) in [&reasons[..split], &reasons[split..]].into_iter().enumerate() {
                let part_dir = dir.path().join(part.to_string());
                std::fs::create_dir(&part_dir).unwrap();
                let mut part = Quarantine::new(&part_dir, limit);
                reasons.iter().try_for_each(|reason| part.add(&rejected(reason))).unwrap();
                let omitted = part.finish_part().unwrap();
                whole.add_part(&part_dir, omitted).unwrap();
            }
            whole.finish().unwrap();
            std::fs::read(dir.path().join(FILE)).unwrap_or_default()
        };
        for limit in [0, 60, 100, 150, 200, 1000] {
            let whole = file_of(0, limit);
            (1..=reasons.len()).for_each(|split| assert_eq!(file_of(split, limit), whole, "{split} {limit}"));
        }
    }

    #[test]
    fn what_is_taken_back_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::new(dir.path(), 1000);
        let mark = quarantine.mark();
        quarantine.add(&rejected("gone")).unwrap();
        quarantine.rewind(mark).unwrap();
        quarantine.finish().unwrap();
        assert!(!dir.path().join(FILE).exists());
        let mut quarantine = Quarantine::new(dir.path(), 1000);
        quarantine.add(&rejected("kept")).unwrap();
        let mark = quarantine.mark();
        quarantine.add(&rejected("gone")).unwrap();
        quarantine.rewind(mark).unwrap();
        quarantine.add(&rejected("next")).unwrap();
        quarantine.finish().unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(text.contains("kept") && text.contains("next") && !text.contains("gone"), "{text}");
    }
}
