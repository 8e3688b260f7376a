//! The bytes of a file, decompressed: what a row reader sees.
//!
//! Content tells the compression, its ending only what is expected. A file that ends before its length, or a stream
//! that ends before its own end, is an error of that file. A mark of byte order (BOM) of UTF-8 is skipped. Memory: the
//! buffers, and the window of zstd (128 MiB at most; larger ones are refused by its decoder).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use muster_objects::Object;

use crate::prepare::error::Error;

const BUFFER_BYTES: usize = 1 << 20;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The mark of byte order of UTF-8.
const MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The bytes of a file.
pub(super) type Source = BufReader<Box<dyn Read + Send>>;

/// Opens a file, whatever it is compressed with.
pub(super) fn open(path: &Path) -> Result<Source, Error> {
    let failed = |error| read_error(path, error);
    let mut raw = open_raw(path).map_err(failed)?;
    let head = head_of(&mut raw, ZSTD.len()).map_err(failed)?;
    let format = format_of(path, &head)?;
    let raw = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(raw));
    let decoded: Box<dyn Read + Send> = match format {
        None => Box::new(raw),
        Some(format @ "gzip") => Box::new(Decoded { format, inner: MultiGzDecoder::new(raw) }),
        Some(format) => {
            let inner = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
            Box::new(Decoded { format, inner })
        }
    };
    without_mark(path, decoded)
}

/// Opens a part of a plain file.
pub(super) fn open_span(path: &Path, bytes: Range<u64>) -> Result<Source, Error> {
    let open = || -> io::Result<Whole> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(bytes.start))?;
        Ok(Whole { file, read: bytes.start, expected: bytes.end })
    };
    let part = open().map_err(|error| read_error(path, error))?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, Box::new(part.take(bytes.end - bytes.start))))
}

/// Where the text is of a file that is neither compressed nor anything but a file.
pub(super) fn plain(path: &Path) -> Option<Range<u64>> {
    if path.to_str().is_some_and(muster_objects::is_url) {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let head = head_of(&mut file, ZSTD.len()).ok()?;
    let is_plain = matches!(format_of(path, &head), Ok(None));
    let start = if head.starts_with(MARK) { MARK.len() as u64 } else { 0 };
    is_plain.then_some(start..metadata.len())
}

/// The bytes as they are stored, of a file or of an object.
fn open_raw(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if let Some(url) = path.to_str().filter(|path| muster_objects::is_url(path)) {
        return Ok(Box::new(Object::open(url)?.reader()));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let expected = if metadata.is_file() { metadata.len() } else { 0 };
    Ok(Box::new(Whole { file, read: 0, expected }))
}

/// The compression that the first bytes tell; an ending that promises one which is not there is an error.
fn format_of(path: &Path, head: &[u8]) -> Result<Option<&'static str>, Error> {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let promised = match ending.as_deref() {
        Some("gz" | "gzip") => Some("gzip"),
        Some("zst" | "zstd") => Some("zstd"),
        _ => None,
    };
    let found = if head.starts_with(GZIP) {
        Some("gzip")
    } else if head == ZSTD {
        Some("zstd")
    } else {
        None
    };
    match (promised, found) {
        (Some(format), None) => Err(Error::Format {
            path: path.to_owned(),
            format,
            what: if head.is_empty() { "it is empty" } else { "it does not begin like one" }.to_owned(),
        }),
        _ => Ok(found),
    }
}

fn without_mark(path: &Path, mut decoded: Box<dyn Read + Send>) -> Result<Source, Error> {
    let mut head = head_of(&mut decoded, 3).map_err(|error| read_error(path, error))?;
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        let what = "it is UTF-16, convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)".to_owned();
        return Err(Error::Format { path: path.to_owned(), format: "UTF-8", what });
    }
    if head == MARK {
        head.clear();
    }
    Ok(BufReader::with_capacity(BUFFER_BYTES, Box::new(Cursor::new(head).chain(decoded))))
}

/// Up to `most` bytes from the start; fewer only where there are no more.
fn head_of(reader: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(most as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Says of an error of a [`Source`] what is wrong with the file.
pub(super) fn read_error(path: &Path, source: io::Error) -> Error {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        Some(Damage { format, what }) => Error::Format { path: path.to_owned(), format, what: what.clone() },
        None => Error::Read { path: path.to_owned(), source },
    }
}

/// A compressed stream that is not whole.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Damage {
    format: &'static str,
    what: String,
}

/// A file that became shorter while it was read.
#[derive(Debug, thiserror::Error)]
#[error("it became shorter while it was read: {read} bytes of {expected}")]
struct Shrunk {
    read: u64,
    expected: u64,
}

/// A file that notices when it ends before the length that it had when it was opened.
struct Whole {
    file: File,
    read: u64,
    expected: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        if read == 0 && !buffer.is_empty() && self.read < self.expected {
            return Err(io::Error::other(Shrunk { read: self.read, expected: self.expected }));
        }
        Ok(read)
    }
}

/// A decompressed stream whose errors name its format.
struct Decoded<R> {
    format: &'static str,
    inner: R,
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let is_of_stream = error.raw_os_error().is_none()
                && error
                    .get_ref()
                    .is_none_or(|inner| !inner.is::<Shrunk>() && !inner.is::<muster_objects::Error>())
                && error.kind() != io::ErrorKind::Interrupted;
            if !is_of_stream {
                return error;
            }
            io::Error::new(error.kind(), Damage { format: self.format, what: error.to_string() })
        })
    }
}

/// The number of a line, and its text without the end, or why there is none.
pub(super) type Line<'l> = (u64, Result<&'l str, String>);

/// Lines, each with its number from 1, of which no more than `max_row` bytes are held.
pub(super) struct Lines<R> {
    source: R,
    bytes: Vec<u8>,
    max_row: usize,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of a text whose first one is number `line`.
    pub(super) fn new(source: R, max_row: usize, line: u64) -> Self {
        Self { source, bytes: Vec::new(), max_row, line: line - 1 }
    }

    /// The next line; none at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.bytes.clear();
        let (mut is_over, mut is_any) = (false, false);
        loop {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            is_any = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            is_over |= self.bytes.len() + part.len() > self.max_row;
            if !is_over {
                self.bytes.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.source.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if !is_any {
            return Ok(None);
        }
        self.line += 1;
        let text = if is_over {
            Err(too_long(self.max_row))
        } else {
            std::str::from_utf8(&self.bytes).map_err(|_| "is not UTF-8".to_owned())
        };
        Ok(Some((self.line, text)))
    }
}

/// What is said of a row that is over the bound.
pub(super) fn too_long(max_row: usize) -> String {
    format!("is longer than {max_row} bytes (`cleaning.max_row`)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::read::{Table, read_rows};
    use muster_proto::dataset::Format;

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_that_files_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let row = format!("1,{}\n", "x".repeat(1000));
        std::fs::write(&path, format!("user,item\n{}", row.repeat(4 * BUFFER_BYTES / row.len()))).unwrap();
        let wanted = ["user".to_owned()];
        let table = Table {
            path: &path,
            format: Format::Csv,
            header: true,
            wanted: &wanted,
            max_row: 1 << 20,
            max_group: 1,
        };
        let mut rows = 0_u64;
        let error = read_rows(&table, &mut |_| {
            rows += 1;
            if rows == 1 {
                File::options().write(true).open(&path).unwrap().set_len(2_000_000).unwrap();
            }
            Ok(())
        });
        let text = error.unwrap_err().to_string();
        assert!(text.contains("log.csv: it became shorter while it was read: 2000000 bytes of"), "{text}");
        assert!(rows > 1);
    }

    #[test]
    fn a_long_line_is_passed_over_without_being_held() {
        let text = format!("a\n{}\nb", "x".repeat(5_000_000));
        let source: Source = BufReader::with_capacity(1000, Box::new(Cursor::new(text)));
        let mut lines = Lines::new(source, 100, 1);
        assert_eq!(lines.next().unwrap(), Some((1, Ok("a"))));
        assert_eq!(lines.next().unwrap(), Some((2, Err(too_long(100)))));
        assert!(lines.bytes.capacity() < 10_000);
        assert_eq!(lines.next().unwrap(), Some((3, Ok("b"))));
        assert_eq!(lines.next().unwrap(), None);
    }
}
