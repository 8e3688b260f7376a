//! Writes the log as CSV, shopper after shopper, each in the order of time.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::GenerateArgs;
use super::draw::Draw;
use super::error::Error;
use super::shopper::Shopper;
use super::world::World;

/// Seconds since 1970 at which the log starts: 2025-01-01.
const START: f64 = 1_735_689_600.0;
const YEAR: f64 = 31_536_000.0;
const CART: f64 = 0.35;
const BUY: f64 = 0.5;
const RATE: f64 = 0.6;

/// What was generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateReport {
    /// Number of shoppers.
    pub users: u32,
    /// Number of items in the shop.
    pub items: u32,
    /// Number of rows.
    pub events: u64,
    /// Number of views: the rows that remain when each item counts once a shopper.
    pub views: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Generates a log at `out`, CSV with a header: user, item, timestamp (seconds since 1970), session, event
/// (view, cart, buy), category, price, rating (of some purchases).
///
/// # Errors
/// The numbers do not fit each other, or the file cannot be written; then there is none.
pub fn generate(args: &GenerateArgs, out: &Path) -> Result<GenerateReport, Error> {
    args.check()?;
    let failed = |source| Error::Write { path: out.to_owned(), source };
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let views = write_log(args, &mut writer).map_err(failed)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    let bytes = file.as_file().metadata().map_err(failed)?.len();
    make_readable(file.as_file()).map_err(failed)?;
    file.persist(out).map_err(|error| failed(error.error))?;
    Ok(GenerateReport { users: args.users, items: args.items, events: args.events, views, bytes })
}

/// Temporary files are private; a log is a file like any other.
pub(super) fn make_readable(file: &std::fs::File) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    file.set_permissions(permissions)
}

fn write_log(args: &GenerateArgs, writer: &mut impl Write) -> io::Result<u64> {
    writeln!(writer, "user,item,timestamp,session,event,category,price,rating")?;
    let world = World::new(args);
    let mut views = 0;
    for (user, rows) in (0..args.users).zip(Budgets::new(args)) {
        views += walk(&world, args, user, rows, &mut |row| write_row(writer, &world, user, row))?;
    }
    Ok(views)
}

fn write_row(writer: &mut impl Write, world: &World, user: u32, row: &LogRow) -> io::Result<()> {
    let (item, cents) = (row.item, world.price_cents[row.item as usize]);
    let (price, event, category) = (cents / 100, row.event, world.category(item));
    write!(writer, "u{user},i{item},{},s{user}-{},{event}", row.time, row.session)?;
    write!(writer, ",c{category},{price}.{:02},", cents % 100)?;
    match row.rating {
        Some(rating) => writeln!(writer, "{rating}"),
        None => writeln!(writer),
    }
}

/// Number of rows of each shopper, in order: few have many. They add up to the number of events exactly.
#[derive(Debug)]
pub(super) struct Budgets {
    seed: u64,
    user: u64,
    total: f64,
    so_far: f64,
    events: u64,
    given: u64,
}

impl Budgets {
    pub(super) fn new(args: &GenerateArgs) -> Self {
        let users = u64::from(args.users);
        let total = (0..users).map(|user| activity(args.seed, user)).sum();
        Self { seed: args.seed, user: 0, total, so_far: 0.0, events: args.events, given: 0 }
    }
}

impl Iterator for Budgets {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.so_far += activity(self.seed, self.user);
        self.user += 1;
        let until = ((self.so_far / self.total * self.events as f64).round() as u64).min(self.events);
        let rows = until - self.given;
        self.given = until;
        Some(rows)
    }
}

/// How active a shopper is: at most 8 times as much as the least active one.
fn activity(seed: u64, user: u64) -> f64 {
    // The upper half of the streams is for activity, so that a shopper's own stream starts afresh.
    0.5 + Draw::new(seed, user | 1 << 63).long_tail(0.5).min(3.5)
}

/// One row of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) item: u32,
    pub(super) time: u64,
    pub(super) session: u32,
    pub(super) event: &'static str,
    pub(super) rating: Option<usize>,
}

/// Lets a shopper fill `rows` rows; gives the number of views.
pub(super) fn walk<E>(
    world: &World,
    args: &GenerateArgs,
    user: u32,
    rows: u64,
    take: &mut dyn FnMut(&LogRow) -> Result<(), E>,
) -> Result<u64, E> {
    let mut shopper = Shopper::new(world, args, user);
    // What is not about items has a stream of its own, so that views can be replayed without it.
    let mut draw = Draw::new(args.seed, u64::from(user) | 1 << 62);
    let mut clock = START + YEAR * 0.5 * draw.unit();
    let (mut left, mut views) = (rows, 0);
    while left > 0 {
        let session = shopper.session;
        let Some(item) = shopper.view() else { break };
        views += 1;
        let pause = if shopper.session == session { 40.0 } else { 120_000.0 };
        clock += 1.0 + draw.long_tail(pause);
        let (carts, buys) = (draw.chance(CART), draw.chance(BUY));
        for (event, happens) in [("view", true), ("cart", carts), ("buy", carts && buys)] {
            if !happens || left == 0 {
                break;
            }
            left -= 1;
            let rating =
                (event == "buy" && draw.chance(RATE)).then(|| rating(world, &shopper, item, &mut draw));
            take(&LogRow { item, time: clock as u64, session: shopper.session, event, rating })?;
            clock += 5.0 + draw.long_tail(20.0);
        }
    }
    Ok(views)
}

/// Shoppers like what is in their style.
fn rating(world: &World, shopper: &Shopper<'_>, item: u32, draw: &mut Draw) -> usize {
    let in_style = world.cell_of[item as usize] as usize % world.styles == shopper.style;
    if in_style { 3 + draw.below(3) } else { 1 + draw.below(4) }
}
