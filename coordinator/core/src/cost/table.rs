//! A table as the model sees it: lookups, distinct rows, bytes.

use muster_proto::capacity::{Demand, TableSpec};

use super::Setting;
use super::skew::Skew;

/// The least that a device reads of its memory, bytes.
const SECTOR: f64 = 32.0;
/// Bytes of an id on the wire and in memory.
pub const ID: f64 = 8.0;
/// Bytes that a radix sort of 64-bit ids with 32-bit positions moves for each id: 8 passes that read and write 12 bytes.
pub const SORT: f64 = 192.0;

/// A table with its popularity.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Rows.
    pub rows: f64,
    /// Values of a row.
    pub dim: f64,
    /// Bytes of a stored value.
    pub value: f64,
    /// Bytes of optimizer state of a row.
    pub state: f64,
    /// Features that read it.
    pub features: f64,
    /// Lookups of a sample, over all features.
    pub lookups: f64,
    /// Vectors that leave for each sample: one a feature if pooled, one a lookup if not.
    pub vectors: f64,
    /// Whether the rows of a feature are summed before they leave.
    pub pooled: bool,
    /// Whether an update touches every row.
    pub updates_all_rows: bool,
    /// Bytes of each rank's device memory for its hottest rows, where the table lies in the hosts' memory.
    pub device_cache: Option<f64>,
    /// How often rows are asked for.
    pub skew: Skew,
    /// What the user demands of its placement.
    pub demand: Demand,
}

impl From<&TableSpec> for Table {
    fn from(spec: &TableSpec) -> Self {
        let lookups: f64 = spec.pooling.iter().sum();
        // A feature that is there in a part of the samples sends a vector in that part.
        let pooled: f64 = spec.pooling.iter().map(|lookups| lookups.min(1.0)).sum();
        let dim = f64::from(spec.dim);
        Self {
            name: spec.name.clone(),
            rows: spec.rows as f64,
            dim,
            value: spec.precision.bytes(),
            state: spec.optimizer.state_bytes(dim),
            features: spec.pooling.len() as f64,
            lookups,
            vectors: if spec.pooled { pooled } else { lookups },
            pooled: spec.pooled,
            updates_all_rows: spec.updates_all_rows,
            device_cache: spec.device_cache.map(|size| size.bytes() as f64),
            skew: Skew::zipf(spec.rows, spec.zipf),
            demand: spec.demand(),
        }
    }
}

/// Bytes that moving one piece of `bytes` takes in whole sectors.
fn sectors(bytes: f64) -> f64 {
    (bytes / SECTOR).ceil() * SECTOR
}

/// What one owner does for a part of a table in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Lookups that reach it.
    pub lookups: f64,
    /// Distinct rows among them.
    pub distinct: f64,
    /// Rows that an update touches.
    pub updated: f64,
    /// Share of the repeated lookups that the cache has.
    pub cached: f64,
    /// Values of a row that it holds.
    pub dim: f64,
    /// Vectors that it sends.
    pub vectors: f64,
}

impl Table {
    /// Bytes of a row with its optimizer state.
    #[must_use]
    pub fn row_bytes(&self) -> f64 {
        self.dim * self.value + self.state
    }

    /// Bytes of the table with its optimizer state.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.rows * self.row_bytes()
    }

    /// The part with `dim` of the columns that gets `share` of `samples` samples' lookups.
    #[must_use]
    pub fn part(&self, samples: f64, share: f64, dim: f64, cache: f64) -> Part {
        let all = samples * self.lookups;
        let row = sectors(dim * self.value);
        // All rows of the lookups, of which the owner has its share.
        let distinct = self.skew.distinct(all) * share;
        let cached = self.skew.share_of_top(cache / row / share);
        let updated = if self.updates_all_rows { self.rows * share } else { distinct };
        Part { lookups: all * share, distinct, updated, cached, dim, vectors: samples * self.vectors }
    }

    /// Bytes of a piece with `held` bytes of the table on the device and on its host.
    #[must_use]
    pub fn tiers(&self, held: f64) -> (f64, f64) {
        self.device_cache.map_or((held, 0.0), |cache| (cache.min(held), held))
    }

    /// Bytes that come from the host in a step, and that go back as other rows take their places: all rows that the cache
    /// lacks, each once. The cache has the rows that are asked for most, of which the part holds `share` of all.
    #[must_use]
    pub fn missed_bytes(&self, part: &Part, share: f64) -> f64 {
        let Some(cache) = self.device_cache else { return 0.0 };
        let row = self.row_bytes() * part.dim / self.dim;
        let hit = self.skew.share_of_top(cache / row / share);
        row * (part.lookups * (1.0 - hit)).min(part.updated)
    }

    /// Bytes that the lookup moves: ids, first reads, repeated reads that the cache has not, vectors.
    #[must_use]
    pub fn lookup_bytes(&self, part: &Part, setting: &Setting) -> f64 {
        let row = sectors(part.dim * self.value);
        let reads = part.distinct + (part.lookups - part.distinct) * (1.0 - part.cached);
        ID * part.lookups + reads * row + part.vectors * part.dim * setting.wire.bytes()
    }

    /// Bytes that the update moves: sorted ids, a gradient a lookup (written out and read), rows and state read and written.
    #[must_use]
    pub fn update_bytes(&self, part: &Part, setting: &Setting) -> f64 {
        let gradient = sectors(part.dim * setting.wire.bytes());
        let row = sectors(part.dim * self.value) + sectors(self.state * part.dim / self.dim);
        SORT * part.lookups + 2.0 * gradient * part.lookups + 2.0 * row * part.updated
    }
}
