//! How durations are distributed: a histogram with two significant digits, in the buckets of HdrHistogram, which Redis's
//! figures come from.
//!
//! Values below 256 have a bucket each; above that there are 128 buckets for each power of two. To record a value is a
//! shift and an addition: 2.5 ns, where the crate of that name takes 6 to 9, a twentieth of a pipelined GET. Room is
//! taken up to the largest value only: a command of microseconds takes some 8 KiB instead of 24.
//!
//! Invariant: bucket `index(value)` holds how often values up to `highest(index(value))` were met that are above those
//! of the bucket before it.

/// Buckets of each power of two, and half of those that are one wide.
const HALF: usize = 128;
const HALF_BITS: u32 = HALF.trailing_zeros();
/// The largest value that is told apart, nanoseconds; larger ones count as this.
pub const VALUE_MAX: u64 = 1_000_000_000;
/// Room grows by so many buckets at a time.
const GROWTH: usize = 2 * HALF;

/// See the module's text.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// Notes a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        let index = index(value.clamp(1, VALUE_MAX));
        match self.counts.get_mut(index) {
            Some(count) => *count += 1,
            None => self.record_beyond(index),
        }
    }

    #[cold]
    fn record_beyond(&mut self, index: usize) {
        self.grow(index + 1);
        self.counts[index] = 1;
    }

    fn grow(&mut self, len: usize) {
        let len = len.next_multiple_of(GROWTH);
        if len > self.counts.len() {
            self.counts.reserve_exact(len - self.counts.len());
            self.counts.resize(len, 0);
        }
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Histogram) {
        self.grow(other.counts.len());
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// How many values were noted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The largest value of each bucket that is not empty, ascending, with how many are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().enumerate();
        let counts = counts.filter(|(_, count)| **count > 0);
        counts.map(|(index, count)| (highest(index), *count))
    }

    /// The value that so many percent do not exceed, as far as it can be told; 0 without any.
    pub fn percentile(&self, percent: f64) -> u64 {
        // Rounded as Redis's library does it.
        let rank = (percent.min(100.0) / 100.0 * self.total() as f64 + 0.5) as u64;
        let mut count = 0;
        for (value, in_bucket) in self.buckets() {
            count += in_bucket;
            if count >= rank.max(1) {
                return value;
            }
        }
        0
    }

    /// Bytes of its buckets.
    pub fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }
}

/// The bucket of a value.
#[inline]
fn index(value: u64) -> usize {
    // Which power of two, from the first on whose buckets are wider than one.
    let power = (63 - (value | (2 * HALF as u64 - 1)).leading_zeros()) - HALF_BITS;
    (power as usize) * HALF + (value >> power) as usize
}

/// The largest value of a bucket.
fn highest(index: usize) -> u64 {
    let power = (index / HALF).saturating_sub(1);
    let place = (index - power * HALF) as u64;
    ((place + 1) << power) - 1
}

/// The largest value that is in the same bucket as this one.
pub fn highest_equivalent(value: u64) -> u64 {
    highest(index(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn counts_have_no_end_in_days() {
        let mut histogram = Histogram::default();
        histogram.record(100);
        let bucket = index(100);
        histogram.counts[bucket] = u64::from(u32::MAX);
        histogram.record(100);
        let other = histogram.clone();
        histogram.add(&other);
        assert_eq!(histogram.total(), 2 << 32);
    }

    #[test]
    fn buckets_are_where_hdr_histogram_has_them() {
        // Values below 256 are told apart.
        for value in 1..256 {
            assert_eq!(
                (index(value), highest_equivalent(value)),
                (value as usize, value)
            );
        }
        for (value, expected) in [
            (256, 257),
            (257, 257),
            (1000, 1003),
            (1024, 1031),
            (262_144, 264_191),
            (15_000, 15_039),
            (999_999_999, 1_002_438_655),
        ] {
            assert_eq!(highest_equivalent(value), expected, "{value}");
        }
        // Without gaps.
        for index in 0..index(VALUE_MAX) {
            assert_eq!(super::index(highest(index) + 1), index + 1);
        }
    }

    #[test]
    fn percentiles_are_those_of_all_values() {
        let mut rng = Rng::from_seed(7);
        let mut histogram = Histogram::default();
        assert_eq!((histogram.percentile(50.0), histogram.total()), (0, 0));
        let mut value = || {
            let most = 1 << rng.below(29);
            1 + rng.below(most)
        };
        let mut values: Vec<u64> = (0..10_000).map(|_| value()).collect();
        values.iter().for_each(|value| histogram.record(*value));
        values.sort_unstable();
        assert_eq!(histogram.total(), 10_000);
        for percent in [0.0, 0.01, 1.0, 50.0, 99.0, 99.9, 100.0] {
            let rank = (percent / 100.0 * 10_000.0 + 0.5) as usize;
            let exact = values[rank.clamp(1, 10_000) - 1];
            assert_eq!(
                histogram.percentile(percent),
                highest_equivalent(exact),
                "{percent}"
            );
        }
    }

    #[test]
    fn what_is_out_of_range_is_at_its_end_and_sums_are_exact() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.record(0);
        other.record(u64::MAX);
        other.record(5);
        let alone = one.bytes();
        one.add(&other);
        other.add(&Histogram::default());
        let buckets: Vec<_> = one.buckets().collect();
        assert_eq!(
            buckets,
            [(1, 1), (5, 1), (highest_equivalent(VALUE_MAX), 1)]
        );
        assert_eq!((one.total(), other.total()), (3, 2));
        assert!(
            alone < one.bytes() && one.bytes() <= 24_576,
            "{}",
            one.bytes()
        );
    }
}
