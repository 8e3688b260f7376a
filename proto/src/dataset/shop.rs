//! A shop to simulate: how large it is, how people shop in it, and which dirt its log has.

use serde::{Deserialize, Serialize};

use super::time::parse_iso8601;
use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};

/// The most events of a chunk, the piece of a log that is simulated at a time.
const MAX_CHUNK_EVENTS: u64 = 1 << 16;
/// A log has at least about this many chunks, so that nobody's share of it is bounded by their number.
const LEAST_CHUNKS: u64 = 256;
/// The least hours of a chunk: a session takes one at most, and must not reach over the next chunk.
const LEAST_CHUNK_HOURS: f64 = 4.0;

crate::documented! {
    /// A shop to simulate, for `muster generate`: sessions of people with lasting tastes, from view to cart to purchase, in the
    /// order of time, and dirt beside it.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct ShopSpec {
        /// People that may shop; a few of them shop most.
        pub users: u32,
        /// Items in the shop.
        pub items: u32,
        /// Clean events, exactly; dirt comes on top.
        pub events: u64,
        /// What makes this log differ from another of its kind.
        pub seed: u64,
        /// The day on which the log begins.
        pub start: String,
        /// Days that it covers.
        pub days: u32,
        /// Categories of items.
        pub categories: u32,
        /// Exponent of Zipf's law of how popular the items of a category are: a multiple of 0.25, at most 2.
        pub zipf: f64,
        /// Share of items that appear in the course of the log; the others are there from the start.
        pub new_items: f64,
        /// Probability that a view is followed by a cart.
        pub cart: f64,
        /// Probability that a cart is followed by a purchase.
        pub buy: f64,
        /// Probability that a purchase is rated.
        pub rate: f64,
        /// Format of the files: `csv`, `jsonl` or `parquet`.
        pub format: LogFormat,
        /// Compression of `csv` and `jsonl`: `none`, `gzip` or `zstd`.
        pub compression: Compression,
        /// Number of files, one after the other in time.
        pub files: u32,
        /// The dirt.
        pub dirt: DirtSpec,
    }
}

impl Default for ShopSpec {
    fn default() -> Self {
        Self {
            users: 20_000,
            items: 5_000,
            events: 1_000_000,
            seed: 1,
            start: "2025-01-01".to_owned(),
            days: 365,
            categories: 64,
            zipf: 1.0,
            new_items: 0.3,
            cart: 0.25,
            buy: 0.4,
            rate: 0.3,
            format: LogFormat::Csv,
            compression: Compression::None,
            files: 1,
            dirt: DirtSpec::default(),
        }
    }
}

/// Format of a generated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Comma-separated with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet, a row group a chunk.
    Parquet,
}

/// Compression of a generated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As it is.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

crate::documented! {
    /// Dirt beside the clean events: rows that cleaning has to drop, or to keep in spite of how they look.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct DirtSpec {
        /// Rows of dirt to a clean event, about.
        pub rate: f64,
        /// Kinds of dirt, in equal parts; all that the format can hold where none is named.
        pub kinds: Vec<DirtKind>,
    }
}

/// A kind of dirt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirtKind {
    /// No user.
    MissingUser,
    /// A user that is the word NULL.
    NullUser,
    /// No item.
    MissingItem,
    /// No time.
    MissingTime,
    /// A time that is a word.
    BadTime,
    /// The time 0, of a clock that was never set.
    EpochTime,
    /// A time in 2106, where 32 bits of seconds end.
    FarFuture,
    /// Seconds where all other times are milliseconds.
    Seconds,
    /// A price below zero.
    NegativePrice,
    /// A price that is a word.
    BadPrice,
    /// A price that is no number.
    NanPrice,
    /// A price of ten million.
    HugePrice,
    /// A rating that is a word.
    BadRating,
    /// A user key of 2 KiB.
    LongUser,
    /// A line that ends in its middle.
    CutLine,
    /// A line with one field too many.
    ExtraField,
    /// A line that is not UTF-8.
    NotUtf8,
    /// The header once more, as where files were put together.
    RepeatedHeader,
    /// A field with quotes and a line end in it: nothing is wrong with it, and the event counts.
    Quoted,
    /// An event once more, under another id.
    Duplicate,
    /// An event's id once more, two minutes later.
    RepeatedId,
    /// An event once more after 200 ms.
    DoubleClick,
    /// A visitor with a hundred events in a minute.
    Bot,
}

impl DirtKind {
    /// All kinds.
    pub const ALL: [Self; 23] = [
        Self::MissingUser,
        Self::NullUser,
        Self::MissingItem,
        Self::MissingTime,
        Self::BadTime,
        Self::EpochTime,
        Self::FarFuture,
        Self::Seconds,
        Self::NegativePrice,
        Self::BadPrice,
        Self::NanPrice,
        Self::HugePrice,
        Self::BadRating,
        Self::LongUser,
        Self::CutLine,
        Self::ExtraField,
        Self::NotUtf8,
        Self::RepeatedHeader,
        Self::Quoted,
        Self::Duplicate,
        Self::RepeatedId,
        Self::DoubleClick,
        Self::Bot,
    ];

    /// Whether a format can hold it: typed columns hold no words, and JSON knows neither headers nor fields by position.
    #[must_use]
    pub fn fits(self, format: LogFormat) -> bool {
        match self {
            Self::BadTime | Self::BadPrice | Self::BadRating | Self::CutLine | Self::NotUtf8 => {
                format != LogFormat::Parquet
            }
            Self::ExtraField | Self::RepeatedHeader | Self::Quoted => format == LogFormat::Csv,
            _ => true,
        }
    }

    /// The cleaning rule that drops it, as reports name it; none for what is kept.
    #[must_use]
    pub fn rule(self) -> Option<&'static str> {
        Some(match self {
            Self::MissingUser | Self::NullUser => "missing_user",
            Self::MissingItem => "missing_item",
            Self::MissingTime => "missing_time",
            Self::EpochTime | Self::FarFuture | Self::Seconds => "impossible_time",
            Self::HugePrice => "out_of_range_price",
            Self::Duplicate => "duplicate",
            Self::RepeatedId => "repeated_event_id",
            Self::DoubleClick => "near_duplicate",
            Self::Bot => "bot_rate",
            Self::Quoted => return None,
            _ => "invalid",
        })
    }
}

impl ShopSpec {
    /// The sections of the reference page.
    #[must_use]
    pub fn sections() -> Vec<Section> {
        vec![section::<Self>(""), section::<DirtSpec>("dirt")]
    }

    /// The most events of a chunk; a chunk is simulated by itself, from its own random numbers.
    #[must_use]
    pub fn chunk_events(&self) -> u64 {
        (self.events / LEAST_CHUNKS).clamp(16, MAX_CHUNK_EVENTS)
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.events.div_ceil(self.chunk_events())
    }

    /// The kinds of dirt that are planted.
    #[must_use]
    pub fn dirt_kinds(&self) -> Vec<DirtKind> {
        let kinds: &[DirtKind] = if self.dirt.kinds.is_empty() { &DirtKind::ALL } else { &self.dirt.kinds };
        kinds.iter().copied().filter(|kind| kind.fits(self.format)).collect()
    }

    /// When the log begins, in milliseconds since 1970.
    #[must_use]
    pub fn start_millis(&self) -> i64 {
        parse_iso8601(&self.start).unwrap_or_default()
    }
}

impl Spec for ShopSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.check(self.events > 0, "events", || "is 0");
        problems.check((2..=4096).contains(&self.categories), "categories", || {
            format!("{} is not in 2..=4096", self.categories)
        });
        problems.check(self.items / 4 >= self.categories, "items", || "is under 4 a category");
        let least_users = self.chunk_events();
        problems.check(u64::from(self.users) >= least_users, "users", || {
            format!("{} is too few for so many events, take at least {least_users}", self.users)
        });
        problems.check((1..=36_500).contains(&self.days), "days", || "is not in 1..=36500");
        let hours = f64::from(self.days) * 24.0 / self.chunks().max(1) as f64;
        problems.check(hours >= LEAST_CHUNK_HOURS, "days", || {
            format!(
                "is too few for so many events, take at least {:.0}",
                self.days as f64 * LEAST_CHUNK_HOURS / hours
            )
        });
        problems.check(parse_iso8601(&self.start).is_some(), "start", || {
            format!("`{}` is not a date such as \"2025-01-01\"", self.start)
        });
        problems.check((0.0..=2.0).contains(&self.zipf) && (self.zipf * 4.0).fract() == 0.0, "zipf", || {
            format!("{} is not a multiple of 0.25 in 0..=2", self.zipf)
        });
        let shares = [
            ("new_items", self.new_items),
            ("cart", self.cart),
            ("buy", self.buy),
            ("rate", self.rate),
            ("dirt.rate", self.dirt.rate),
        ];
        for (field, share) in shares {
            problems.check((0.0..=1.0).contains(&share), field, || format!("{share} is not in 0..=1"));
        }
        let chunks = self.chunks();
        problems.check(self.files > 0 && u64::from(self.files) <= chunks, "files", || {
            format!("{} is not in 1..={chunks}", self.files)
        });
        let is_text = self.format != LogFormat::Parquet;
        problems.check(
            is_text || self.compression == Compression::None,
            "compression",
            || "Parquet compresses its pages itself",
        );
        for (idx, kind) in self.dirt.kinds.iter().enumerate() {
            problems.check(
                kind.fits(self.format),
                &format!("dirt.kinds.{idx}"),
                || "cannot be in a log of this format",
            );
        }
    }
}
