//! Rows as columns, for Parquet.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::rows::{Bend, Price, Rating, Row, Time, Writer, push_number};

/// The rows of a chunk.
#[derive(Debug)]
pub(super) struct Table {
    ids: StringBuilder,
    users: StringBuilder,
    items: StringBuilder,
    times: Int64Builder,
    sessions: StringBuilder,
    actions: StringBuilder,
    categories: StringBuilder,
    prices: Float64Builder,
    ratings: Int32Builder,
    text: Vec<u8>,
}

/// The columns of a log.
pub(super) fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("event_id"),
        text("user"),
        text("item"),
        Field::new("timestamp", DataType::Int64, true),
        text("session"),
        text("event"),
        text("category"),
        Field::new("price", DataType::Float64, true),
        Field::new("rating", DataType::Int32, true),
    ]))
}

impl Table {
    pub(super) fn new(rows: usize) -> Self {
        let text = |bytes: usize| StringBuilder::with_capacity(rows, rows * bytes);
        Self {
            ids: text(12),
            users: text(8),
            items: text(8),
            times: Int64Builder::with_capacity(rows),
            sessions: text(10),
            actions: text(4),
            categories: text(3),
            prices: Float64Builder::with_capacity(rows),
            ratings: Int32Builder::with_capacity(rows),
            text: vec![],
        }
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.users.finish()),
            Arc::new(self.items.finish()),
            Arc::new(self.times.finish()),
            Arc::new(self.sessions.finish()),
            Arc::new(self.actions.finish()),
            Arc::new(self.categories.finish()),
            Arc::new(self.prices.finish()),
            Arc::new(self.ratings.finish()),
        ];
        RecordBatch::try_new(schema(), columns)
    }
}

/// Appends what `write` writes, which is ASCII; null where it says that there is no value.
fn push(column: &mut StringBuilder, text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    text.clear();
    let is_there = write(text);
    column.append_option(std::str::from_utf8(text).ok().filter(|_| is_there));
}

impl Writer for Table {
    fn row(&mut self, row: &Row) {
        let text = &mut self.text;
        push(&mut self.ids, text, |text| {
            row.write_id(text);
            true
        });
        push(&mut self.users, text, |text| row.write_user(text));
        push(&mut self.items, text, |text| {
            text.push(b'i');
            push_number(text, row.item.unwrap_or_default().into());
            row.item.is_some()
        });
        self.times.append_option(match row.time {
            Time::Number(time) => Some(time),
            Time::Missing | Time::Word => None,
        });
        push(&mut self.sessions, text, |text| {
            row.write_session(text);
            true
        });
        self.actions.append_value(row.action.name());
        push(&mut self.categories, text, |text| {
            text.push(b'c');
            push_number(text, row.category.into());
            true
        });
        self.prices.append_option(match row.price {
            Price::Cents(cents) => Some(cents as f64 / 100.0),
            Price::Nan => Some(f64::NAN),
            Price::Word => None,
        });
        self.ratings.append_option(match row.rating {
            Rating::Stars(stars) => Some(stars.into()),
            Rating::None | Rating::Word => None,
        });
    }

    // The kinds of dirt that bend text are refused for typed columns.
    fn bent(&mut self, row: &Row, _: Bend) {
        self.row(row);
    }
}
