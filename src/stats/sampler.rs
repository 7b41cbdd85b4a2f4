//! Rates per second (`instantaneous_*` of INFO), as the mean of the last samples.

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
}

/// See the module's text. Fed by the server's cron about ten times a second.
#[derive(Default)]
pub struct Sampler(Mutex<[Track; 3]>);

#[derive(Clone, Copy, Default)]
struct Track {
    last_total: u64,
    last_at_ms: u64,
    rates: [u64; SAMPLES],
    next: usize,
}

impl Sampler {
    /// Takes a sample of a running total.
    pub fn sample(&self, metric: Metric, total: u64, now_ms: u64) {
        let track = &mut self.0.lock()[metric as usize];
        let elapsed_ms = now_ms.saturating_sub(track.last_at_ms);
        if track.last_at_ms != 0 && elapsed_ms > 0 {
            let grown = total.saturating_sub(track.last_total);
            track.rates[track.next] = grown.saturating_mul(1000) / elapsed_ms;
            track.next = (track.next + 1) % SAMPLES;
        }
        track.last_total = total;
        track.last_at_ms = now_ms;
    }

    /// The mean rate per second.
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
}
