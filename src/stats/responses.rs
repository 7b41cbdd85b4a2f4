//! How long clients waited for a command's replies, as a histogram with the bounds of `/metrics`.
//!
//! Other than `CommandStat::latency`, which is the time of the execution alone, this is what a client sees
//! of the server: from the moment at which its worker could have read the request to the moment at which
//! the batch's replies are written. What is measured is a batch, so it costs one reading of the clock for
//! each, and one addition for each run of the same command in it.

/// Upper bounds of the buckets, nanoseconds; above the last one there is one more bucket. As they are
/// exported, they cannot be changed without breaking whoever adds old figures to new ones.
pub const BOUNDS_NS: [u64; 20] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// See the module's text.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Responses {
    /// By bucket, not cumulative.
    counts: [u64; BOUNDS_NS.len() + 1],
    sum_ns: u64,
}

impl Responses {
    /// Counts `times` replies that took `ns` nanoseconds.
    #[inline]
    pub fn record(&mut self, ns: u64, times: u64) {
        let bucket = BOUNDS_NS.partition_point(|&bound_ns| bound_ns < ns);
        self.counts[bucket] += times;
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(times));
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Responses) {
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How many took at most as long as each of the bounds, then how many there are.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together, nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut responses = Responses::default();
        for (ns, times) in [(0, 1), (5_000, 2), (5_001, 4), (10_000_000_000, 8)] {
            responses.record(ns, times);
        }
        responses.record(u64::MAX, 2);
        let cumulative: Vec<u64> = responses.cumulative().collect();
        assert_eq!(cumulative.len(), BOUNDS_NS.len() + 1);
        assert_eq!(cumulative[..2], [3, 7]);
        assert_eq!(cumulative[BOUNDS_NS.len() - 2..], [7, 15, 17]);
        assert_eq!((responses.count(), responses.sum_ns()), (17, u64::MAX));
        let mut twice = responses.clone();
        twice.add(&responses);
        assert_eq!(twice.count(), 34);
    }
}
