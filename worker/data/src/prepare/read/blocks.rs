//! Text in pieces that can be read by themselves: each ends where a record ends.
//!
//! Line ends within quotes end no record. A block without a quote is cut by looking for its last line end; one with quotes is
//! walked through with the states that `csv-core` has. Memory: one block, and what of the next was read with it; a record that is
//! longer than any may be ends the cutting, and the rest is read as a stream.

use std::io::{self, Cursor, Read};

use memchr::{memchr, memrchr};

use super::records::MAX_FIELDS;
use super::source::Source;

/// About the size of a block.
const BLOCK_BYTES: usize = 1 << 20;

/// What ends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Each line end.
    Lines,
    /// A line end outside quotes, with this separator of fields.
    Quoted(u8),
}

/// A piece of a text.
pub(in crate::prepare) enum Block {
    /// Whole records.
    Bytes { bytes: Vec<u8>, line: u64 },
    /// All that is left, which begins with a record over every bound.
    Rest { source: Source, line: u64 },
}

/// Cuts a text.
pub(super) struct Blocks {
    source: Source,
    ends: Ends,
    /// More bytes than any record may have.
    most: usize,
    carry: Vec<u8>,
    line: u64,
    /// What reading ended with.
    end: Option<io::Result<()>>,
}

impl Blocks {
    pub(super) fn new(source: Source, ends: Ends, max_row: usize) -> Self {
        Self::from_line(source, ends, max_row, 1)
    }

    /// Cuts a text that begins with a record at that line of its file.
    pub(super) fn from_line(source: Source, ends: Ends, max_row: usize, line: u64) -> Self {
        // Quotes may double each byte of a field, and each field has two quotes and a separator.
        let most = 2 * max_row + 4 * MAX_FIELDS;
        Self { source, ends, most, carry: vec![], line, end: None }
    }

    /// The next piece; an error comes after all whole records before it.
    pub(super) fn next(&mut self) -> io::Result<Option<Block>> {
        let mut bytes = std::mem::take(&mut self.carry);
        let mut scan = Scan { ends: self.ends, at: 0, safe: 0, state: State::Start };
        while self.end.is_none() {
            let before = bytes.len();
            if let Err(error) = self.source.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut bytes) {
                self.end = Some(Err(error));
            } else if bytes.len() == before {
                self.end = Some(Ok(()));
            }
            scan.go_on(&bytes);
            if scan.safe > 0 {
                break;
            }
            if self.end.is_none() && bytes.len() > self.most {
                let rest = std::mem::replace(&mut self.source, Source::new(Box::new(io::empty())));
                self.end = Some(Ok(()));
                let source = Source::new(Box::new(Cursor::new(bytes).chain(rest)));
                return Ok(Some(Block::Rest { source, line: self.line }));
            }
        }
        let cut = match self.end {
            // What comes before the end of a file needs no line end.
            Some(Ok(())) => bytes.len(),
            _ => scan.safe,
        };
        if cut == 0 {
            return match self.end.take() {
                Some(Err(error)) => Err(error),
                _ => Ok(None),
            };
        }
        self.carry = bytes[cut..].to_vec();
        bytes.truncate(cut);
        let line = self.line;
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Ok(Some(Block::Bytes { bytes, line }))
    }
}

/// Where in a record a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a field.
    Start,
    Field,
    Quoted,
    /// After a quote within quotes: the end of them, or the first of two.
    Quote,
}

/// How far a block was looked through.
struct Scan {
    ends: Ends,
    at: usize,
    /// The end of the last whole record.
    safe: usize,
    state: State,
}

impl Scan {
    /// Looks through what is new in a block.
    fn go_on(&mut self, bytes: &[u8]) {
        let Ends::Quoted(separator) = self.ends else {
            self.note_line_end(bytes, bytes.len());
            return;
        };
        while self.at < bytes.len() {
            match self.state {
                State::Quoted => match memchr(b'"', &bytes[self.at..]) {
                    Some(quote) => (self.at, self.state) = (self.at + quote + 1, State::Quote),
                    None => self.at = bytes.len(),
                },
                State::Quote if bytes[self.at] == b'"' => {
                    (self.at, self.state) = (self.at + 1, State::Quoted);
                }
                // After the end of quotes all is as in a field without them.
                State::Quote => self.state = State::Field,
                State::Start | State::Field => self.skip_plain(bytes, separator),
            }
        }
    }

    /// Goes on to the next field that begins with a quote.
    fn skip_plain(&mut self, bytes: &[u8], separator: u8) {
        let (begin, mut from) = (self.at, self.at);
        while let Some(found) = memchr(b'"', &bytes[from..]) {
            let quote = from + found;
            let is_start =
                if quote == begin { self.state == State::Start } else { is_end(bytes[quote - 1], separator) };
            if is_start {
                self.note_line_end(bytes, quote);
                (self.at, self.state) = (quote + 1, State::Quoted);
                return;
            }
            from = quote + 1;
        }
        self.note_line_end(bytes, bytes.len());
        self.state = if is_end(bytes[bytes.len() - 1], separator) { State::Start } else { State::Field };
    }

    /// Notes the last line end before `end`, up to which no quotes are open.
    fn note_line_end(&mut self, bytes: &[u8], end: usize) {
        if let Some(line_end) = memrchr(b'\n', &bytes[self.at..end]) {
            self.safe = self.at + line_end + 1;
        }
        self.at = end;
    }
}

fn is_end(byte: u8, separator: u8) -> bool {
    byte == separator || matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(text: &[u8], ends: Ends) -> Vec<(u64, Vec<u8>)> {
        let mut blocks = Blocks::new(Source::new(Box::new(Cursor::new(text.to_vec()))), ends, 1024);
        let mut found = Vec::new();
        while let Some(block) = blocks.next().unwrap() {
            match block {
                Block::Bytes { bytes, line } => found.push((line, bytes)),
                Block::Rest { mut source, line } => {
                    let mut bytes = Vec::new();
                    source.read_to_end(&mut bytes).unwrap();
                    found.push((line, bytes));
                }
            }
        }
        found
    }

    /// Rows of a megabyte and a half altogether, in some of which quotes hold line ends.
    fn long(rows: &[String]) -> String {
        rows.iter().cycle().take(1_500_000 / 10).map(|row| format!("{row}\n")).collect()
    }

    /// The records of a text as `csv-core` has them.
    fn records(mut rest: &[u8]) -> Vec<Vec<u8>> {
        let (mut reader, mut records) = (csv_core::Reader::new(), Vec::new());
        let (mut out, mut ends) = (vec![0; rest.len() + 10], vec![0; rest.len() + 10]);
        let (mut len, mut fields) = (0, 0);
        loop {
            let (result, taken, written, ended) =
                reader.read_record(rest, &mut out[len..], &mut ends[fields..]);
            rest = &rest[taken..];
            (len, fields) = (len + written, fields + ended);
            match result {
                csv_core::ReadRecordResult::End => return records,
                csv_core::ReadRecordResult::Record => {
                    records.push(out[..len].to_vec());
                    (len, fields) = (0, 0);
                }
                _ => {}
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn records_of_the_blocks_are_those_of_the_whole(
            rows in prop::collection::vec("[a,]{1,9}|\"[a\n,]{0,9}\"(,b)?|\"a\"\"\n\"|a\"b,\"\n\"", 1..40),
        ) {
            let text = long(&rows);
            let found = blocks(text.as_bytes(), Ends::Quoted(b','));
            prop_assert!(text.len() < 1 << 20 || found.len() > 1);
            let (mut all, mut line) = (Vec::new(), 1);
            for (at, bytes) in &found {
                prop_assert_eq!(*at, line);
                line += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                all.extend(records(bytes));
            }
            prop_assert_eq!(all, records(text.as_bytes()));
        }
    }

    #[test]
    fn a_record_over_every_bound_is_left_to_a_stream() {
        let text = format!("a,b\n\"{}", "x\n".repeat(1 << 21));
        let found = blocks(text.as_bytes(), Ends::Quoted(b','));
        assert_eq!(
            found.iter().map(|(line, bytes)| (*line, bytes.len())).collect::<Vec<_>>(),
            [(1, 4), (2, text.len() - 4)]
        );
        assert_eq!(blocks(b"", Ends::Lines), []);
        // Without a line end the last record is whole at the end of the file, which the next look finds.
        assert_eq!(blocks(b"a\nb", Ends::Lines), [(1, b"a\n".to_vec()), (2, b"b".to_vec())]);
    }
}
