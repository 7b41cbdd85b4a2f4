//! The latency monitor (LATENCY): of each kind of event that has taken unusually long the worst of each second, of the
//! last [`SAMPLES`] seconds in which there was one.
//!
//! Events are told by [`crate::util::spikes`], wherever they happen; here nobody knows which there are. They are rare
//! by their nature, so one lock does for all.
//!
//! Invariant: a series has at least one sample, and its samples stand in the order of time.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use super::histogram::{Histogram, highest_equivalent};

/// Samples kept of an event.
pub const SAMPLES: usize = 160;

/// See the module's text.
#[derive(Default)]
pub struct Latency {
    events: Mutex<BTreeMap<&'static str, Series>>,
}

/// The worst of a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Unix time, seconds.
    pub at_secs: u64,
    /// How long it took.
    pub ms: u64,
}

/// What is known of one kind of event.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Series {
    /// The oldest first.
    pub samples: VecDeque<Sample>,
    /// The worst of all times.
    pub max_ms: u64,
    /// All together.
    pub sum_ms: u64,
    /// How many there were.
    pub count: u64,
}

/// A series in figures (LATENCY DOCTOR).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Analysis {
    /// Samples.
    pub samples: u64,
    /// Their average.
    pub average_ms: u64,
    /// The average distance from it.
    pub deviation_ms: u64,
    /// Seconds since the oldest one.
    pub period_secs: u64,
}

impl Latency {
    /// Notes that an event has taken so long.
    pub fn note(&self, event: &'static str, ms: u64, now_ms: u64) {
        let at_secs = now_ms / 1000;
        let mut events = self.events.lock();
        let series = events.entry(event).or_default();
        series.max_ms = series.max_ms.max(ms);
        series.sum_ms = series.sum_ms.saturating_add(ms);
        series.count += 1;
        match series.samples.back_mut() {
            Some(last) if last.at_secs == at_secs => last.ms = last.ms.max(ms),
            _ => {
                if series.samples.len() == SAMPLES {
                    series.samples.pop_front();
                }
                series.samples.push_back(Sample { at_secs, ms });
            }
        }
    }

    /// What is known of an event.
    pub fn series(&self, event: &[u8]) -> Option<(&'static str, Series)> {
        let name = std::str::from_utf8(event).ok()?;
        let events = self.events.lock();
        let (name, series) = events.get_key_value(name)?;
        Some((name, series.clone()))
    }

    /// What is known of all of them, in the order of their names.
    pub fn all(&self) -> Vec<(&'static str, Series)> {
        let events = self.events.lock();
        events
            .iter()
            .map(|(name, series)| (*name, series.clone()))
            .collect()
    }

    /// Forgets an event, named in any case; whether it was known.
    pub fn reset(&self, event: &[u8]) -> bool {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| !name.as_bytes().eq_ignore_ascii_case(event));
        events.len() < before
    }

    /// Forgets everything; how many events there were.
    pub fn reset_all(&self) -> usize {
        std::mem::take(&mut *self.events.lock()).len()
    }
}

impl Series {
    /// In figures, as Redis computes them: with whole milliseconds.
    pub fn analyse(&self, now_ms: u64) -> Analysis {
        let samples = self.samples.len().max(1) as u64;
        let sum: u64 = self.samples.iter().map(|sample| sample.ms).sum();
        let average_ms = sum / samples;
        let distances = self.samples.iter().map(|s| s.ms.abs_diff(average_ms));
        let oldest_secs = self.samples.iter().map(|sample| sample.at_secs).min();
        let age_secs = (now_ms / 1000).saturating_sub(oldest_secs.unwrap_or_default());
        Analysis {
            samples,
            average_ms,
            deviation_ms: distances.sum::<u64>() / samples,
            period_secs: age_secs.max(1),
        }
    }
}

/// How many values of a histogram of nanoseconds are up to each of some bounds, which double (LATENCY HISTOGRAM): the
/// bound in microseconds, and the count, where that grows.
///
/// The bounds are those that Redis gets out of its histograms: the end of the bucket in which a power of two lies.
pub fn cumulative(histogram: &Histogram) -> Vec<(u64, u64)> {
    const FIRST_POWER: u32 = 10;
    const LAST_POWER: u32 = 30;
    let mut steps = Vec::new();
    let mut values = histogram.buckets().peekable();
    let (mut count, mut told) = (0, 0);
    for power in FIRST_POWER..=LAST_POWER {
        let bound_ns = match power {
            LAST_POWER => (1 << power) - 1,
            _ => highest_equivalent(1 << power),
        };
        let is_within = |value_ns: u64| power == LAST_POWER || value_ns <= bound_ns;
        while let Some((_, more)) = values.next_if(|(value_ns, _)| is_within(*value_ns)) {
            count += more;
        }
        if count > told {
            steps.push((bound_ns / 1000, count));
            told = count;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_second_is_kept_and_all_are_counted() {
        let latency = Latency::default();
        assert!(latency.series(b"command").is_none());
        for (ms, now_ms) in [(20, 5_000), (30, 5_999), (10, 5_500), (12, 7_000)] {
            latency.note("command", ms, now_ms);
        }
        let (name, series) = latency.series(b"command").unwrap();
        assert_eq!(name, "command");
        let samples: Vec<_> = series.samples.iter().map(|s| (s.at_secs, s.ms)).collect();
        assert_eq!(samples, [(5, 30), (7, 12)]);
        assert_eq!((series.max_ms, series.sum_ms, series.count), (30, 72, 4));
        let analysis = series.analyse(9_000);
        assert_eq!((analysis.samples, analysis.average_ms), (2, 21));
        assert_eq!((analysis.deviation_ms, analysis.period_secs), (9, 4));
        assert_eq!(series.analyse(5_000).period_secs, 1);
    }

    #[test]
    fn the_oldest_samples_go() {
        let latency = Latency::default();
        for secs in 1..=200 {
            latency.note("expire-cycle", secs, secs * 1000);
        }
        let (_, series) = latency.series(b"expire-cycle").unwrap();
        assert_eq!(series.samples.len(), SAMPLES);
        assert_eq!(
            series.samples.front().map(|sample| sample.at_secs),
            Some(41)
        );
        assert_eq!(series.samples.back().map(|sample| sample.ms), Some(200));
        assert_eq!(series.count, 200);
    }

    #[test]
    fn bounds_double_and_the_last_one_takes_what_is_longer() {
        let mut histogram = Histogram::default();
        assert_eq!(cumulative(&histogram), []);
        // As Valkey tells them: 1 us and 2 us, 264 us, and what is longer than half a second.
        for us in [1, 1, 2, 263, 600_000, 1_000_000] {
            histogram.record(us * 1000);
        }
        assert_eq!(
            cumulative(&histogram),
            [(1, 2), (2, 3), (264, 4), (1_073_741, 6)]
        );
    }

    #[test]
    fn resetting_forgets_by_name_in_any_case() {
        let latency = Latency::default();
        latency.note("command", 1, 1000);
        latency.note("fast-command", 1, 1000);
        assert!(latency.reset(b"Fast-Command"));
        assert!(!latency.reset(b"fast-command") && !latency.reset(b"\xff"));
        assert_eq!(latency.all().len(), 1);
        assert_eq!((latency.reset_all(), latency.reset_all()), (1, 0));
    }
}
