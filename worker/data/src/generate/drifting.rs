//! A shop whose customers change: day by day items come and go, and what follows what is another thing every week.
//!
//! Each customer goes on where they stopped the day before. A model that knows the last days can tell what comes next; one
//! that knows only older days tells less with each day. Days can be made bad on purpose, to see whether anybody notices.
//!
//! Invariants: the same arguments give the same days on every machine; memory grows with customers, not with days.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use muster_proto::checkpoint::mix;

use super::draw::{Draw, cumulate};
use super::error::Error;
use super::log::make_readable;

/// Days after which what follows an item is another thing, each item on days of its own.
const LASTS: u64 = 9;
/// Probabilities that the next item is the first, second or third of what follows; otherwise it is any, by popularity.
const FOLLOWS: [f64; 3] = [0.4, 0.15, 0.1];
const CATEGORIES: u64 = 12;
const DAY_SECONDS: u64 = 86_400;

/// The shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftingArgs {
    /// All customers.
    pub customers: u32,
    /// How many of them come on a day.
    pub daily: u32,
    /// Items on sale at a time.
    pub items: u32,
    /// Items that go, and come, each day.
    pub turnover: u32,
    /// Views of a customer on a day, on average.
    pub views: u32,
    /// The first day's midnight, in seconds since 1970.
    pub start: u64,
    /// What makes this shop differ from another of its kind.
    pub seed: u64,
}

/// What is wrong with a day's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Customers and items are put together at random.
    Noise,
    /// Half of all views are of one item.
    Flood,
    /// Views of this many items that nobody sells.
    Junk(u32),
    /// The column with the items has another name.
    LostColumn,
}

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View {
    customer: u32,
    item: u64,
    time: u64,
}

/// The shop on a day.
#[derive(Debug, Clone)]
pub struct DriftingShop {
    args: DriftingArgs,
    day: u64,
    /// What each customer saw last.
    last: Vec<Option<u64>>,
    /// Running sums of how popular the items on sale are, by rank.
    zipf: Vec<f64>,
}

impl DriftingShop {
    /// Before its first day.
    ///
    /// # Errors
    /// Numbers that do not fit each other.
    pub fn new(args: DriftingArgs) -> Result<Self, Error> {
        if args.daily == 0 || args.daily > args.customers || args.items < 20 || args.views == 0 {
            return Err(Error::TooSmall { users: args.daily, items: args.items });
        }
        let zipf = cumulate((1..=args.items).map(|rank| 1.0 / f64::from(rank)));
        Ok(Self { args, day: 0, last: vec![None; args.customers as usize], zipf })
    }

    /// Writes the next day's log at `out`, CSV with a header: user, item, timestamp (seconds since 1970), category; gives the
    /// number of rows.
    ///
    /// # Errors
    /// The file cannot be written; then there is none.
    pub fn write_day(&mut self, fault: Option<Fault>, out: &Path) -> Result<u64, Error> {
        let views = self.next_day();
        let day = self.day - 1;
        self.write(&self.spoil(views, day, fault), fault, out)
    }

    /// Writes a second log for one of the days before, of views that never were; gives the number of rows. The day itself stays as
    /// it is.
    ///
    /// # Errors
    /// The file cannot be written; then there is none.
    pub fn write_late(&self, day: u64, times: u32, fault: Fault, out: &Path) -> Result<u64, Error> {
        let mut other = Self { last: self.last.clone(), zipf: self.zipf.clone(), ..*self };
        other.day = day;
        let mut views = Vec::new();
        for round in 0..times {
            // Other customers than the real ones, who would else be in two places at once.
            let of_round = other.views_of(day, mix(u64::from(round) + 1));
            let customers = self.args.customers * (round + 1);
            views.extend(
                of_round.into_iter().map(|view| View { customer: view.customer + customers, ..view }),
            );
        }
        views.sort_by_key(|view| (view.time, view.customer));
        self.write(&self.spoil(views, day, Some(fault)), Some(fault), out)
    }

    fn next_day(&mut self) -> Vec<View> {
        let views = self.views_of(self.day, 0);
        for view in &views {
            self.last[view.customer as usize] = Some(view.item);
        }
        self.day += 1;
        views
    }

    /// The views of a day, in the order of time.
    fn views_of(&self, day: u64, stream: u64) -> Vec<View> {
        let mut draw = Draw::new(self.args.seed ^ stream, day + 1);
        let mut views = Vec::new();
        let mut come = BTreeSet::new();
        while come.len() < self.args.daily as usize {
            come.insert(draw.below(self.args.customers as usize) as u32);
        }
        for customer in come {
            let n_views = 1 + draw.below(2 * self.args.views as usize - 1);
            let mut time = self.args.start + day * DAY_SECONDS + draw.below(80_000) as u64;
            let mut last = self.last[customer as usize];
            for _ in 0..n_views {
                let item = self.next_item(last, day, &mut draw);
                views.push(View { customer, item, time });
                last = Some(item);
                time += 5 + draw.below(120) as u64;
            }
        }
        views.sort_by_key(|view| (view.time, view.customer));
        views
    }

    fn next_item(&self, last: Option<u64>, day: u64, draw: &mut Draw) -> u64 {
        let mut share = draw.unit();
        if let Some(last) = last {
            for (place, follows) in FOLLOWS.iter().enumerate() {
                if share < *follows {
                    return self.follower(last, place as u64, day);
                }
                share -= follows;
            }
        }
        self.of_rank(draw.index(&self.zipf) as u64, day)
    }

    /// What follows an item on a day, by place: an item on sale.
    fn follower(&self, item: u64, place: u64, day: u64) -> u64 {
        let own = mix(self.args.seed ^ mix(item));
        let epoch = (day + own % LASTS) / LASTS;
        self.of_rank(mix(own ^ mix(epoch * 3 + place + 1)) % u64::from(self.args.items), day)
    }

    /// The item of a rank on a day. Items on sale are numbered without a gap, so that a rank that was an old item's is a new
    /// one's once that has gone.
    fn of_rank(&self, rank: u64, day: u64) -> u64 {
        let (items, first) = (u64::from(self.args.items), day * u64::from(self.args.turnover));
        let place = mix(self.args.seed ^ 0x5eed ^ mix(rank)) % items;
        // The only number of this remainder among those on sale.
        let ahead = (place + items - first % items) % items;
        first + ahead
    }

    fn spoil(&self, mut views: Vec<View>, day: u64, fault: Option<Fault>) -> Vec<View> {
        let first = day * u64::from(self.args.turnover);
        let mut draw = Draw::new(self.args.seed ^ 0xbad, day + 1);
        let any = |draw: &mut Draw| first + draw.below(self.args.items as usize) as u64;
        match fault {
            Some(Fault::Noise) => views.iter_mut().for_each(|view| view.item = any(&mut draw)),
            Some(Fault::Flood) => {
                views.iter_mut().filter(|_| draw.chance(0.5)).for_each(|view| view.item = first);
            }
            Some(Fault::Junk(items)) => {
                let junk = (0..items).map(|number| View {
                    customer: number % self.args.customers,
                    item: 1_000_000_000 + day * 1_000_000 + u64::from(number),
                    time: self.args.start + day * DAY_SECONDS + u64::from(number) % DAY_SECONDS,
                });
                views.extend(junk);
                views.sort_by_key(|view| (view.time, view.customer));
            }
            Some(Fault::LostColumn) | None => {}
        }
        views
    }

    fn category(&self, item: u64) -> u64 {
        mix(self.args.seed ^ 0xca7 ^ mix(item)) % CATEGORIES
    }

    fn write(&self, views: &[View], fault: Option<Fault>, out: &Path) -> Result<u64, Error> {
        let failed = |source| Error::Write { path: out.to_owned(), source };
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let item = if fault == Some(Fault::LostColumn) { "product" } else { "item" };
        self.write_rows(views, item, &mut writer).map_err(failed)?;
        let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        make_readable(file.as_file()).map_err(failed)?;
        file.persist(out).map_err(|error| failed(error.error))?;
        Ok(views.len() as u64)
    }
}

impl DriftingShop {
    fn write_rows(&self, views: &[View], item: &str, writer: &mut impl Write) -> io::Result<()> {
        writeln!(writer, "user,{item},timestamp,category")?;
        for View { customer, item, time } in views {
            writeln!(writer, "u{customer},i{item},{time},c{}", self.category(*item))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: DriftingArgs =
        DriftingArgs { customers: 400, daily: 100, items: 60, turnover: 3, views: 4, start: 0, seed: 7 };

    fn days(days: usize) -> Vec<Vec<View>> {
        let mut shop = DriftingShop::new(ARGS).unwrap();
        (0..days).map(|_| shop.next_day()).collect()
    }

    #[test]
    fn the_same_arguments_give_the_same_days_and_every_item_is_on_sale_when_it_is_seen() {
        let all = days(8);
        assert_eq!(all, days(8));
        for (day, views) in all.iter().enumerate() {
            let first = day as u64 * 3;
            assert!(views.iter().all(|view| (first..first + 60).contains(&view.item)));
            assert!(views.iter().all(|view| view.time / DAY_SECONDS == day as u64), "{day}");
            assert!(views.is_sorted_by_key(|view| view.time));
        }
    }

    #[test]
    fn what_follows_an_item_lasts_for_days_and_changes_in_time() {
        let shop = DriftingShop::new(ARGS).unwrap();
        let kept = |days: u64| {
            let same =
                (30..60).filter(|item| shop.follower(*item, 0, 10) == shop.follower(*item, 0, 10 + days));
            same.count()
        };
        assert_eq!(kept(0), 30);
        assert!(kept(1) > 20 && kept(20) < 8, "{} {}", kept(1), kept(20));
    }

    #[test]
    fn each_fault_is_in_the_file_and_the_days_after_it_are_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let mut good = DriftingShop::new(ARGS).unwrap();
        let mut bad = DriftingShop::new(ARGS).unwrap();
        let rows = good.write_day(None, &dir.path().join("good")).unwrap();
        let more = bad.write_day(Some(Fault::Junk(50)), &dir.path().join("bad")).unwrap();
        assert_eq!(more, rows + 50);
        assert_eq!(text("bad").matches(",i1000000").count(), 50);
        good.write_day(None, &dir.path().join("good 2")).unwrap();
        bad.write_day(None, &dir.path().join("bad 2")).unwrap();
        assert_eq!(text("good 2"), text("bad 2"));
        good.write_day(Some(Fault::LostColumn), &dir.path().join("lost")).unwrap();
        assert!(text("lost").starts_with("user,product,timestamp,category\n"));
        let late = good.write_late(1, 3, Fault::Flood, &dir.path().join("late")).unwrap();
        let of_one = text("late").lines().filter(|line| line.contains(",i3,")).count() as u64;
        assert!(late > 800 && of_one * 10 > late * 4, "{of_one} of {late}");
    }
}
