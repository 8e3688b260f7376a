//! A deterministic shopping log, and the best score that any model could reach on it; and a shop of any size (`shop`).
//!
//! Shoppers have a lasting style and a few favorite categories, neither of which the log shows. In a session
//! they stay in a category, move on to the one that follows it, or return to a favorite; they view items that
//! they have not viewed before, and some views become carts and purchases. A model that remembers the whole
//! history can infer the style; one that knows the last item alone cannot.
//!
//! Invariants: the same arguments give the same bytes on every machine, because random numbers are ChaCha's
//! and everything is computed from them by exactly rounded operations (no `ln`, `exp` or `powf`); memory
//! grows with the items, not with users or events.

mod draw;
mod drifting;
mod error;
mod log;
mod oracle;
mod series;
mod shop;
mod shopper;
mod world;

pub use drifting::{DriftingArgs, DriftingShop, Fault};
pub use error::Error;
pub use log::{GenerateReport, generate};
pub use oracle::{OracleReport, oracle};
pub use series::{SeriesArgs, generate_series};
pub use shop::{DATASET_FILE, ShopArgs, TRUTH_FILE, Truth, generate_shop};

/// How large a log to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateArgs {
    /// Number of shoppers.
    pub users: u32,
    /// Number of items in the shop.
    pub items: u32,
    /// Number of rows, exactly.
    pub events: u64,
    /// What makes this log differ from another of its size.
    pub seed: u64,
}

impl GenerateArgs {
    /// Shoppers view no item twice, so that each may have only so many rows.
    fn check(&self) -> Result<(), Error> {
        let (users, items) = (u64::from(self.users), u64::from(self.items));
        if users == 0 || items < 20 {
            return Err(Error::TooSmall { users: self.users, items: self.items });
        }
        let (least, most) = (users, users.saturating_mul(items / 8).max(users));
        if (least..=most).contains(&self.events) {
            Ok(())
        } else {
            Err(Error::Events { events: self.events, least, most })
        }
    }
}
