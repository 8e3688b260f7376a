//! Plants dirt beside the events of a chunk, and counts it.
//!
//! Dirt never takes the place of an event: what is dropped again leaves the clean log, whatever was planted.

use muster_proto::dataset::{DirtKind, ShopSpec};

use super::catalog::Catalog;
use super::plan::DAY;
use super::rows::{Bend, Price, Rating, Row, Time, User, Writer, of_item};
use super::session::{Action, Chunk, Event};
use super::truth::Truth;
use crate::generate::draw::Draw;

/// Events of a bot, and the milliseconds between two of them: longer than a double click, so that bots are bots only.
const BOT_EVENTS: u32 = 100;
const BOT_PAUSE: i64 = 570;
/// 7 February 2106, the end of 32 bits of seconds.
const FAR_FUTURE: i64 = 4_294_967_296_000;

/// Plants the dirt of a chunk.
pub(super) struct Planter<'s> {
    catalog: &'s Catalog,
    kinds: Vec<DirtKind>,
    rate: f64,
    draw: Draw,
    /// Ids of dirt that were given.
    given: u32,
    pub(super) truth: Truth,
}

impl<'s> Planter<'s> {
    pub(super) fn new(spec: &ShopSpec, catalog: &'s Catalog, chunk: u64) -> Self {
        let kinds = spec.dirt_kinds();
        let rate = if kinds.is_empty() { 0.0 } else { spec.dirt.rate };
        let draw = Draw::new(spec.seed, chunk | 1 << 62);
        Self { catalog, kinds, rate, draw, given: 0, truth: Truth::default() }
    }

    /// Writes the events of a chunk with their dirt.
    pub(super) fn write(&mut self, chunk: &Chunk, writer: &mut impl Writer) {
        for event in &chunk.events {
            let row = self.clean(chunk.index, event);
            self.truth.events += 1;
            self.truth.rows += 1;
            let planted = self.draw_kind();
            if planted == Some(DirtKind::Quoted) {
                writer.bent(&row, Bend::Quoted);
                self.truth.plant(DirtKind::Quoted, 1);
                continue;
            }
            writer.row(&row);
            if let Some(kind) = planted {
                let rows = self.plant(kind, &row, event.time, writer);
                self.truth.rows += rows;
                self.truth.plant(kind, rows);
            }
        }
    }

    fn draw_kind(&mut self) -> Option<DirtKind> {
        if self.rate == 0.0 || !self.draw.chance(self.rate) {
            return None;
        }
        let kind = self.kinds[self.draw.below(self.kinds.len())];
        // A bot is many rows at once.
        let is_due = kind != DirtKind::Bot || self.draw.chance(1.0 / f64::from(BOT_EVENTS));
        is_due.then_some(kind)
    }

    fn clean(&self, chunk: u64, event: &Event) -> Row {
        let (category, price) = of_item(self.catalog, event.item);
        Row {
            id: (chunk, event.number),
            is_dirt: false,
            user: User::Person(event.user),
            item: Some(event.item),
            time: Time::Number(event.time),
            session: event.session,
            action: event.action,
            category,
            price,
            rating: event.rating.map_or(Rating::None, Rating::Stars),
        }
    }

    /// Writes dirt of a kind beside a clean row; gives the number of rows.
    fn plant(&mut self, kind: DirtKind, clean: &Row, time: i64, writer: &mut impl Writer) -> u64 {
        let row = Row { id: (clean.id.0, self.next_id()), is_dirt: true, ..*clean };
        let bend = match kind {
            DirtKind::Bot => return self.plant_bot(&row, time, writer),
            DirtKind::CutLine => Bend::Cut,
            DirtKind::ExtraField => Bend::ExtraField,
            DirtKind::NotUtf8 => Bend::NotUtf8,
            DirtKind::RepeatedHeader => Bend::Header,
            _ => {
                writer.row(&spoiled(kind, row, clean, time));
                return 1;
            }
        };
        writer.bent(&row, bend);
        1
    }

    fn plant_bot(&mut self, row: &Row, start: i64, writer: &mut impl Writer) -> u64 {
        let bot = User::Bot(row.id.0, row.id.1);
        for step in 0..BOT_EVENTS {
            let place = self.draw.unit();
            let item = self.catalog.draw_item(self.catalog.category_at(place), 0.0, &mut self.draw);
            let (category, price) = of_item(self.catalog, item);
            let time = Time::Number(start + i64::from(step) * BOT_PAUSE);
            let id = (row.id.0, self.next_id());
            writer.row(&Row {
                id,
                user: bot,
                item: Some(item),
                time,
                action: Action::View,
                category,
                price,
                rating: Rating::None,
                ..*row
            });
        }
        BOT_EVENTS.into()
    }

    fn next_id(&mut self) -> u32 {
        self.given += 1;
        self.given
    }
}

/// The row with what is wrong with it.
fn spoiled(kind: DirtKind, row: Row, clean: &Row, time: i64) -> Row {
    match kind {
        DirtKind::MissingUser => Row { user: User::Missing, ..row },
        DirtKind::NullUser => Row { user: User::Null, ..row },
        DirtKind::LongUser => Row { user: User::Long, ..row },
        DirtKind::MissingItem => Row { item: None, ..row },
        DirtKind::MissingTime => Row { time: Time::Missing, ..row },
        DirtKind::BadTime => Row { time: Time::Word, ..row },
        DirtKind::EpochTime => Row { time: Time::Number(0), ..row },
        DirtKind::FarFuture => Row { time: Time::Number(FAR_FUTURE), ..row },
        DirtKind::Seconds => Row { time: Time::Number(time / 1000), ..row },
        DirtKind::NegativePrice => match row.price {
            Price::Cents(cents) => Row { price: Price::Cents(-cents), ..row },
            _ => row,
        },
        DirtKind::BadPrice => Row { price: Price::Word, ..row },
        DirtKind::NanPrice => Row { price: Price::Nan, ..row },
        DirtKind::HugePrice => Row { price: Price::Cents(1_000_000_000), ..row },
        DirtKind::BadRating => Row { rating: Rating::Word, ..row },
        DirtKind::RepeatedId => {
            Row { id: clean.id, is_dirt: false, time: Time::Number(time + DAY / 720), ..row }
        }
        DirtKind::DoubleClick => Row { time: Time::Number(time + 200), ..row },
        // An event once more under another id is what the row is already; the others are bent, not spoiled.
        DirtKind::Duplicate
        | DirtKind::CutLine
        | DirtKind::ExtraField
        | DirtKind::NotUtf8
        | DirtKind::RepeatedHeader
        | DirtKind::Quoted
        | DirtKind::Bot => row,
    }
}
