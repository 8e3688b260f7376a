//! A stable sort of ids that carries along where each id came from.

/// Bits of a radix digit: a histogram of 2,048 counters stays in the first-level cache.
const DIGIT_BITS: u32 = 11;
const BUCKETS: usize = 1 << DIGIT_BITS;
/// Under this length a comparison sort is faster than clearing histograms.
const SMALL: usize = 256;

/// Reusable memory of the sorting ops; it grows to the largest call and stays.
#[derive(Debug, Default)]
pub struct SortBuffers {
    /// `id << 32 | origin`, sorted by id.
    pub(super) pairs: Vec<u64>,
    swap: Vec<u64>,
    histogram: Vec<u32>,
    pub(super) ids: Vec<u32>,
    pub(super) rows: Vec<f32>,
}

/// Returns a pair that sorts by `id` first.
#[inline(always)]
pub(super) fn pair(id: u32, origin: u32) -> u64 {
    u64::from(id) << 32 | u64::from(origin)
}

/// Returns the id of a pair.
#[inline(always)]
pub(super) fn id_of(pair: u64) -> u32 {
    (pair >> 32) as u32
}

/// Returns the origin of a pair.
#[inline(always)]
pub(super) fn origin_of(pair: u64) -> usize {
    (pair & u64::from(u32::MAX)) as usize
}

impl SortBuffers {
    /// Sorts `pairs` by id. Pairs come in ascending order of origin, so a stable sort by id orders whole pairs.
    pub(super) fn sort(&mut self) {
        let Self { pairs, swap, histogram, .. } = self;
        if pairs.len() < SMALL {
            pairs.sort_unstable();
            return;
        }
        swap.resize(pairs.len(), 0);
        histogram.resize(BUCKETS, 0);
        let widest = pairs.iter().fold(0, |seen, &pair| seen | id_of(pair));
        let mut shift = 32;
        while shift < 64 && widest >> (shift - 32) > 0 {
            scatter_by_digit(pairs, swap, histogram, shift);
            std::mem::swap(pairs, swap);
            shift += DIGIT_BITS;
        }
    }
}

/// Writes `from` to `to`, stably ordered by the digit at bit `shift`.
fn scatter_by_digit(from: &[u64], to: &mut [u64], histogram: &mut [u32], shift: u32) {
    let digit = |pair: u64| (pair >> shift) as usize & (BUCKETS - 1);
    let next = &mut histogram[..BUCKETS];
    next.fill(0);
    for &pair in from {
        next[digit(pair)] += 1;
    }
    let mut start = 0;
    for slot in next.iter_mut() {
        start += std::mem::replace(slot, start);
    }
    for &pair in from {
        let slot = &mut next[digit(pair)];
        to[*slot as usize] = pair;
        *slot += 1;
    }
}
