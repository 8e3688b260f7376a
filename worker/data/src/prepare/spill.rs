//! Events on their way from the input to their log partition, on disk so that memory stays bounded.
//!
//! A record is the user's key with its length (seven bits a byte, the last below 128), item, time, the features, and its own id
//! where events have one; records keep the order of the log.

use serde::{Deserialize, Serialize};

use super::window::Window;

/// An event as it is read back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event<'e> {
    pub(super) user: &'e str,
    pub(super) item: u32,
    pub(super) time: i64,
    pub(super) categorical: &'e [u32],
    pub(super) numeric: &'e [f32],
    /// A hash of the event's own id; 0 where it has none.
    pub(super) id: u128,
}

/// Appends a record.
pub(super) fn write(buffer: &mut Vec<u8>, event: &Event<'_>, has_ids: bool) {
    let mut len = event.user.len();
    while len >= 128 {
        buffer.push(len as u8 | 128);
        len >>= 7;
    }
    buffer.push(len as u8);
    buffer.extend_from_slice(event.user.as_bytes());
    buffer.extend_from_slice(&event.item.to_le_bytes());
    buffer.extend_from_slice(&event.time.to_le_bytes());
    event.categorical.iter().for_each(|id| buffer.extend_from_slice(&id.to_le_bytes()));
    event.numeric.iter().for_each(|value| buffer.extend_from_slice(&value.to_le_bytes()));
    if has_ids {
        buffer.extend_from_slice(&event.id.to_le_bytes());
    }
}

/// Writes those records again whose times are in the window, with times that are `by` later, and other items and categories
/// where `ids` names them. How many are not in the window.
pub(super) fn rewrite(
    bytes: &[u8],
    layout: Layout,
    (by, window): (i64, Window),
    ids: &dyn Fn(usize, u32) -> u32,
    buffer: &mut Vec<u8>,
) -> u64 {
    let mut records = Records::new(bytes, layout);
    let mut categorical = Vec::with_capacity(layout.categorical);
    let mut outside = 0;
    while let Some((user, event)) = records.next() {
        if !window.holds(event.time) {
            outside += 1;
            continue;
        }
        categorical.clear();
        categorical.extend(event.categorical.iter().enumerate().map(|(column, id)| ids(column + 1, *id)));
        let (item, time) = (ids(0, event.item), event.time.saturating_add(by));
        write(buffer, &Event { user, item, time, categorical: &categorical, ..event }, layout.has_ids);
    }
    outside
}

/// What records hold besides user, item and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub(super) categorical: usize,
    pub(super) numeric: usize,
    pub(super) has_ids: bool,
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Records<'b> {
    rest: &'b [u8],
    has_ids: bool,
    categorical: Vec<u32>,
    numeric: Vec<f32>,
}

impl<'b> Records<'b> {
    pub(super) fn new(bytes: &'b [u8], layout: Layout) -> Self {
        Self {
            rest: bytes,
            has_ids: layout.has_ids,
            categorical: vec![0; layout.categorical],
            numeric: vec![0.0; layout.numeric],
        }
    }

    /// The next event; its key borrows from the bytes, its features from the reader.
    pub(super) fn next(&mut self) -> Option<(&'b str, Event<'_>)> {
        let (mut user_len, mut shift) = (0, 0);
        loop {
            let [byte] = self.take()?;
            user_len |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        let (user, rest) = self.rest.split_at_checked(user_len)?;
        self.rest = rest;
        let user = std::str::from_utf8(user).ok()?;
        let item = u32::from_le_bytes(self.take()?);
        let time = i64::from_le_bytes(self.take()?);
        for idx in 0..self.categorical.len() {
            self.categorical[idx] = u32::from_le_bytes(self.take()?);
        }
        for idx in 0..self.numeric.len() {
            self.numeric[idx] = f32::from_le_bytes(self.take()?);
        }
        let id = if self.has_ids { u128::from_le_bytes(self.take()?) } else { 0 };
        let (categorical, numeric) = (&self.categorical[..], &self.numeric[..]);
        Some((user, Event { user, item, time, categorical, numeric, id }))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }
}
