//! A row of the log, and how it is written as text.

use std::io::{self, Write as _};

use muster_proto::dataset::{Compression, LogFormat, ShopSpec};

use super::catalog::Catalog;
use super::session::Action;

/// The columns, in order.
const HEADER: &str = "event_id,user,item,timestamp,session,event,category,price,rating";
/// Characters of a user key that is too long.
pub(super) const LONG: usize = 2048;
/// About the bytes of a row.
const ROW_BYTES: usize = 88;

/// A row, clean or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// The chunk and the number in it; ids of dirt begin with another letter.
    pub(super) id: (u64, u32),
    pub(super) is_dirt: bool,
    pub(super) user: User,
    pub(super) item: Option<u32>,
    pub(super) time: Time,
    pub(super) session: u32,
    pub(super) action: Action,
    pub(super) category: u32,
    pub(super) price: Price,
    pub(super) rating: Rating,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum User {
    Person(u32),
    Bot(u64, u32),
    Missing,
    Null,
    Long,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    Number(i64),
    Missing,
    Word,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Price {
    Cents(i64),
    Word,
    Nan,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Rating {
    None,
    Stars(u8),
    Word,
}

/// How the text of a row is bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bend {
    Cut,
    ExtraField,
    NotUtf8,
    Header,
    Quoted,
}

/// What takes rows.
pub(super) trait Writer {
    fn row(&mut self, row: &Row);

    /// A row whose text is bent; only formats of text have such.
    fn bent(&mut self, row: &Row, bend: Bend);
}

impl Row {
    pub(super) fn write_id(&self, text: &mut Vec<u8>) {
        text.push(if self.is_dirt { b'x' } else { b'e' });
        push_number(text, self.id.0);
        text.push(b'-');
        push_number(text, self.id.1.into());
    }

    /// Writes the user's key; false where it is missing.
    pub(super) fn write_user(&self, text: &mut Vec<u8>) -> bool {
        match self.user {
            User::Missing => return false,
            User::Null => text.extend_from_slice(b"NULL"),
            User::Long => text.resize(text.len() + LONG, b'u'),
            User::Person(user) => {
                text.push(b'u');
                push_number(text, user.into());
            }
            User::Bot(chunk, number) => {
                text.extend_from_slice(b"bot");
                push_number(text, chunk);
                text.push(b'-');
                push_number(text, number.into());
            }
        }
        true
    }

    pub(super) fn write_session(&self, text: &mut Vec<u8>) {
        text.push(b's');
        push_number(text, self.id.0);
        text.push(b'-');
        push_number(text, self.session.into());
    }

    fn write_price(&self, text: &mut Vec<u8>, words: [&str; 2]) {
        match self.price {
            Price::Word => text.extend_from_slice(words[0].as_bytes()),
            Price::Nan => text.extend_from_slice(words[1].as_bytes()),
            Price::Cents(cents) => {
                if cents < 0 {
                    text.push(b'-');
                }
                push_number(text, cents.unsigned_abs() / 100);
                text.push(b'.');
                let rest = (cents.unsigned_abs() % 100) as u8;
                text.extend_from_slice(&[b'0' + rest / 10, b'0' + rest % 10]);
            }
        }
    }
}

/// Rows as CSV or JSON lines.
pub(super) struct Text {
    text: Vec<u8>,
    is_json: bool,
}

impl Text {
    pub(super) fn new(spec: &ShopSpec, is_first: bool, events: usize) -> Self {
        let is_json = spec.format == LogFormat::Jsonl;
        let mut text = Vec::with_capacity(events * ROW_BYTES * if is_json { 2 } else { 1 });
        if is_first && !is_json {
            text.extend_from_slice(HEADER.as_bytes());
            text.push(b'\n');
        }
        Self { text, is_json }
    }

    /// The bytes of the file; pieces that are compressed by themselves may follow each other in gzip and zstd.
    pub(super) fn finish(self, compression: Compression) -> io::Result<Vec<u8>> {
        match compression {
            Compression::None => Ok(self.text),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&self.text)?;
                encoder.finish()
            }
            Compression::Zstd => zstd::bulk::compress(&self.text, 1),
        }
    }

    fn csv(&mut self, row: &Row) {
        let text = &mut self.text;
        row.write_id(text);
        text.push(b',');
        row.write_user(text);
        text.push(b',');
        if let Some(item) = row.item {
            text.push(b'i');
            push_number(text, item.into());
        }
        text.push(b',');
        match row.time {
            Time::Number(time) => push_number(text, time.unsigned_abs()),
            Time::Missing => {}
            Time::Word => text.extend_from_slice(b"yesterday"),
        }
        text.push(b',');
        row.write_session(text);
        text.push(b',');
        text.extend_from_slice(row.action.name().as_bytes());
        text.extend_from_slice(b",c");
        push_number(text, row.category.into());
        text.push(b',');
        row.write_price(text, ["free", "NaN"]);
        text.push(b',');
        match row.rating {
            Rating::None => {}
            Rating::Stars(stars) => text.push(b'0' + stars),
            Rating::Word => text.extend_from_slice(b"five"),
        }
    }

    fn json(&mut self, row: &Row) {
        let text = &mut self.text;
        text.extend_from_slice(b"{\"event_id\":\"");
        row.write_id(text);
        text.extend_from_slice(b"\",\"user\":\"");
        if !row.write_user(text) {
            // Takes the quote back: a missing value is null.
            text.pop();
            text.extend_from_slice(b"null,\"item\":");
        } else {
            text.extend_from_slice(b"\",\"item\":");
        }
        match row.item {
            Some(item) => {
                text.extend_from_slice(b"\"i");
                push_number(text, item.into());
                text.push(b'"');
            }
            None => text.extend_from_slice(b"null"),
        }
        text.extend_from_slice(b",\"timestamp\":");
        match row.time {
            Time::Number(time) => push_number(text, time.unsigned_abs()),
            Time::Missing => text.extend_from_slice(b"null"),
            Time::Word => text.extend_from_slice(b"\"yesterday\""),
        }
        text.extend_from_slice(b",\"session\":\"");
        row.write_session(text);
        text.extend_from_slice(b"\",\"event\":\"");
        text.extend_from_slice(row.action.name().as_bytes());
        text.extend_from_slice(b"\",\"category\":\"c");
        push_number(text, row.category.into());
        text.extend_from_slice(b"\",\"price\":");
        row.write_price(text, ["\"free\"", "\"NaN\""]);
        text.extend_from_slice(b",\"rating\":");
        match row.rating {
            Rating::None => text.extend_from_slice(b"null"),
            Rating::Stars(stars) => text.push(b'0' + stars),
            Rating::Word => text.extend_from_slice(b"\"five\""),
        }
        text.push(b'}');
    }
}

impl Writer for Text {
    fn row(&mut self, row: &Row) {
        if self.is_json {
            self.json(row);
        } else {
            self.csv(row);
        }
        self.text.push(b'\n');
    }

    fn bent(&mut self, row: &Row, bend: Bend) {
        let start = self.text.len();
        match bend {
            Bend::Header => self.text.extend_from_slice(HEADER.as_bytes()),
            Bend::Quoted => {
                self.csv(row);
                // The session, which is no column of the dataset, takes quotes, a separator and a line end.
                let line = String::from_utf8_lossy(&self.text[start..]).into_owned();
                let bent: Vec<String> =
                    line.split(',')
                        .enumerate()
                        .map(|(field, text)| {
                            if field == 4 {
                                format!("\"{text}, \"\"quoted\"\"\r\n\"")
                            } else {
                                text.to_owned()
                            }
                        })
                        .collect();
                self.text.truncate(start);
                self.text.extend_from_slice(bent.join(",").as_bytes());
            }
            _ if self.is_json => self.json(row),
            _ => self.csv(row),
        }
        let len = self.text.len() - start;
        match bend {
            Bend::Cut => self.text.truncate(start + len / 3),
            Bend::ExtraField => self.text.extend_from_slice(b",more"),
            // The user's key is the second field of either format.
            Bend::NotUtf8 => {
                let key = self.text[start..].iter().position(|byte| *byte == b'u' || *byte == b'b');
                self.text[start + key.unwrap_or(0)] = 0xff;
            }
            Bend::Header | Bend::Quoted => {}
        }
        self.text.push(b'\n');
    }
}

/// Category and price of an item.
pub(super) fn of_item(catalog: &Catalog, item: u32) -> (u32, Price) {
    (catalog.category(item) as u32, Price::Cents(catalog.cents(item).into()))
}

/// Appends a number in decimal.
pub(super) fn push_number(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}
