//! The shop's logs, a file a day, with what is planted in them.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use muster_data::{DriftingArgs, DriftingShop, Fault};

use super::opening;
use super::plan::Planted;
use crate::error::Error;

/// Days before the loop.
pub(super) const WEEK: u32 = 7;
const ARGS: DriftingArgs =
    DriftingArgs { customers: 4_000, daily: 1_500, items: 300, turnover: 5, views: 6, start: 0, seed: 0 };

/// The shop and its folder of logs.
#[derive(Debug)]
pub(super) struct Shop {
    shop: DriftingShop,
    logs: PathBuf,
    /// Days that are over.
    days: u32,
    /// A log that is as it should have been, and where it belongs.
    mended: Option<(PathBuf, PathBuf)>,
}

impl Shop {
    pub(super) fn open(folder: &std::path::Path, seed: u64) -> Result<Self, Error> {
        let logs = folder.join("logs");
        fs::create_dir_all(&logs)
            .map_err(|error| Error::failed(format!("cannot make {}: {error}", logs.display())))?;
        let start = opening().as_second().unsigned_abs();
        let shop = DriftingShop::new(DriftingArgs { start, seed, ..ARGS })?;
        let mut shop = Self { shop, logs, days: 0, mended: None };
        for _ in 0..WEEK {
            shop.next_day(None)?;
        }
        Ok(shop)
    }

    /// A day passes; its log is there, and those that were broken the day before are mended.
    pub(super) fn next_day(&mut self, planted: Option<Planted>) -> Result<(), Error> {
        if let Some((good, place)) = self.mended.take() {
            fs::rename(&good, &place)
                .map_err(|error| Error::failed(format!("cannot mend {}: {error}", place.display())))?;
        }
        let name = self.day(self.days).strftime("%Y-%m-%d").to_string();
        let place = self.logs.join(format!("{name}.csv"));
        match planted {
            Some(Planted::Day(Fault::LostColumn)) => {
                let good = self.logs.join(format!("{name}.good"));
                let mut twin = self.shop.clone();
                self.shop.write_day(None, &good)?;
                twin.write_day(Some(Fault::LostColumn), &place)?;
                self.mended = Some((good, place));
            }
            Some(Planted::Day(fault)) => drop(self.shop.write_day(Some(fault), &place)?),
            Some(Planted::Late(fault, times)) => {
                self.shop.write_day(None, &place)?;
                let day = u64::from(self.days + 1 - WEEK);
                self.shop.write_late(day, times, fault, &self.logs.join(format!("{name}-late.csv")))?;
            }
            Some(Planted::Service | Planted::Job) | None => drop(self.shop.write_day(None, &place)?),
        }
        self.days += 1;
        Ok(())
    }

    /// The midnight at which the last day ended.
    pub(super) fn midnight(&self) -> Timestamp {
        self.day(self.days)
    }

    fn day(&self, day: u32) -> Timestamp {
        opening() + SignedDuration::from_hours(24 * i64::from(day))
    }
}
