//! Hot rows of a table in the host's memory: whatever fits, values are those of a table on the device, and bytes are bounded.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use cuda::{assert_same_bits, device, everywhere, host, ids, values};
use muster_kernels::cuda::reduce::add_assign;
use muster_kernels::cuda::{Buffer, CacheUse, Device, HostRows, HostRowsMut, RowCache};

const ROWS: usize = 40;
/// Widths of the columns: vectors, odd, single values.
const WIDTHS: [usize; 3] = [8, 3, 1];

/// The columns of a table, `[rows, width]` each.
#[derive(Clone)]
struct Columns(Vec<Vec<f32>>);

impl Columns {
    fn new() -> Self {
        Self(WIDTHS.iter().zip(0..).map(|(width, purpose)| values(ROWS * width, purpose)).collect())
    }

    fn row(&self, row: u32, column: usize) -> &[f32] {
        let (start, width) = (row as usize * WIDTHS[column], WIDTHS[column]);
        &self.0[column][start..start + width]
    }
}

impl HostRows for Columns {
    fn read(&self, row: u32, column: usize, to: &mut [f32]) {
        to.copy_from_slice(self.row(row, column));
    }
}

impl HostRowsMut for Columns {
    fn write(&mut self, row: u32, column: usize, from: &[f32]) {
        let start = row as usize * WIDTHS[column];
        self.0[column][start..start + from.len()].copy_from_slice(from);
    }
}

/// The distinct rows of a step; popular ones come often.
fn rows_of(step: u32) -> Vec<u32> {
    let mut rows = ids(if step == 3 { 0 } else { 12 }, ROWS as u32, step);
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Adds numbers of the step to fetched rows, as an optimizer would.
fn changed(device: &Device, mut fetched: Vec<Buffer<f32>>, step: u32) -> Vec<Buffer<f32>> {
    for column in &mut fetched {
        let change = device.upload(&values(column.len(), 50 + step)).unwrap();
        if !column.is_empty() {
            add_assign(device, &mut column.view_mut(), change.view()).unwrap();
        }
    }
    fetched
}

fn run(bytes: usize) -> (Columns, Columns, RowCache) {
    let device = device();
    let (mut in_host, mut expected) = (Columns::new(), Columns::new());
    let mut cache = RowCache::new(&device, &WIDTHS, ROWS, bytes).unwrap();
    for step in 0..12 {
        let rows = rows_of(step);
        let fetched = cache.fetch(&device, &rows, &[0, 1, 2], &in_host).unwrap();
        for (column, got) in fetched.iter().enumerate() {
            let current: Vec<f32> = rows.iter().flat_map(|row| expected.row(*row, column)).copied().collect();
            assert_same_bits("fetched", &host(&device, got), &current);
            let change = values(current.len(), 50 + step);
            for (place, row) in rows.iter().enumerate() {
                let width = WIDTHS[column];
                let sums: Vec<f32> =
                    (place * width..(place + 1) * width).map(|i| current[i] + change[i]).collect();
                expected.write(*row, column, &sums);
            }
        }
        let fetched = changed(&device, fetched, step);
        cache.store(&device, &rows, &fetched, &mut in_host).unwrap();
    }
    cache.flush(&device, &mut in_host).unwrap();
    (in_host, expected, cache)
}

#[test]
fn rows_come_back_as_they_were_stored_whatever_the_cache_holds() {
    everywhere(|| {
        // A row is 48 bytes: room for none, for one, for fewer than a step needs, and for all.
        for (bytes, capacity) in [(47, 0), (95, 1), (300, 6), (1 << 20, ROWS)] {
            let (in_host, expected, cache) = run(bytes);
            assert_eq!((cache.capacity(), cache.bytes()), (capacity, capacity * 48));
            for (got, expected) in in_host.0.iter().zip(&expected.0) {
                assert_same_bits("flushed", got, expected);
            }
        }
    });
}

#[test]
fn rows_that_are_asked_for_again_and_again_stay_on_the_device() {
    everywhere(|| {
        let device = device();
        let mut in_host = Columns::new();
        let mut cache = RowCache::new(&device, &WIDTHS, ROWS, 3 * 48).unwrap();
        let before = device.usage().in_use;
        // Rows 5 and 9 come in each step, and another one that is new each time.
        for step in 0..6_u32 {
            let rows = [5, 9, 20 + step];
            let fetched = cache.fetch(&device, &rows, &[0, 1, 2], &in_host).unwrap();
            cache.store(&device, &rows, &fetched, &mut in_host).unwrap();
        }
        assert_eq!(cache.usage(), CacheUse { hits: 10, misses: 8 });
        assert_eq!(device.usage().in_use, before, "a cache does not grow");
    });
}
