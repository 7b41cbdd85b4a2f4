//! Rates per second, and times per cycle (`instantaneous_*` of INFO), as the mean of the last samples.

use parking_lot::Mutex;

/// Samples that make up a mean.
const SAMPLES: usize = 16;

/// What is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// Commands.
    Commands = 0,
    /// Bytes read.
    NetIn = 1,
    /// Bytes written.
    NetOut = 2,
    /// Cycles of the workers' loops.
    Cycles = 3,
    /// Their time, microseconds; per cycle, not per second.
    CycleUs = 4,
}

const METRICS: usize = 5;

/// See the module's text. Fed by the server's cron about ten times a second.
#[derive(Default)]
pub struct Sampler(Mutex<[Track; METRICS]>);

#[derive(Clone, Copy, Default)]
struct Track {
    last_total: u64,
    last_base: u64,
    rates: [u64; SAMPLES],
    next: usize,
}

impl Sampler {
    /// Takes a sample of a running total, whose rate per second is wanted.
    pub fn sample(&self, metric: Metric, total: u64, now_ms: u64) {
        self.sample_per(metric, total, now_ms, 1000);
    }

    /// Takes a sample of a running total; wanted is by how much it grows while `base` grows by `unit`.
    pub fn sample_per(&self, metric: Metric, total: u64, base: u64, unit: u64) {
        let track = &mut self.0.lock()[metric as usize];
        let base_grown = base.saturating_sub(track.last_base);
        if track.last_base != 0 {
            let grown = total.saturating_sub(track.last_total);
            let rate = grown.saturating_mul(unit).checked_div(base_grown);
            track.rates[track.next] = rate.unwrap_or(0);
            track.next = (track.next + 1) % SAMPLES;
        }
        track.last_total = total;
        track.last_base = base;
    }

    /// The mean rate.
    pub fn rate(&self, metric: Metric) -> u64 {
        self.0.lock()[metric as usize].rates.iter().sum::<u64>() / SAMPLES as u64
    }

    /// Forgets all samples.
    pub fn reset(&self) {
        *self.0.lock() = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_shown_after_sixteen_samples() {
        let sampler = Sampler::default();
        for tick in 0..=SAMPLES as u64 {
            sampler.sample(Metric::Commands, tick * 50, 1_000 + tick * 100);
        }
        assert_eq!(sampler.rate(Metric::Commands), 500);
        assert_eq!(sampler.rate(Metric::NetIn), 0);
        sampler.reset();
        assert_eq!(sampler.rate(Metric::Commands), 0);
    }

    #[test]
    fn what_is_measured_by_something_else_than_time_may_stand_still() {
        let sampler = Sampler::default();
        for cycles in (1..=SAMPLES as u64).chain([SAMPLES as u64]) {
            sampler.sample_per(Metric::CycleUs, cycles * 30, cycles, 1);
        }
        // Fifteen samples of 30, and one without a cycle.
        assert_eq!(sampler.rate(Metric::CycleUs), 28);
    }
}
