//! What takes long to find out and is asked for often, told as it was a moment ago.
//!
//! Who asks when the last sample is too old takes the next one, so nobody who does not ask pays for it, and
//! many who ask pay for ten samples a second: as old are figures that Redis's cron samples.

use parking_lot::Mutex;

/// A sample is told again for so long.
const AGE_MAX_MS: u64 = 100;

/// See the module's text.
#[derive(Debug)]
pub struct Sampled<T>(Mutex<Option<(u64, T)>>);

impl<T> Default for Sampled<T> {
    fn default() -> Self {
        Sampled(Mutex::new(None))
    }
}

impl<T: Clone> Sampled<T> {
    /// The last sample, if it is not too old.
    pub fn get(&self, now_ms: u64) -> Option<T> {
        let last = self.0.lock();
        // The time may go back.
        let is_new = |at_ms: u64| at_ms <= now_ms && now_ms - at_ms < AGE_MAX_MS;
        let last = last.as_ref().filter(|(at_ms, _)| is_new(*at_ms));
        last.map(|(_, sample)| sample.clone())
    }

    /// Keeps a sample that was just taken.
    pub fn set(&self, now_ms: u64, sample: T) {
        *self.0.lock() = Some((now_ms, sample));
    }

    /// The last sample, or one that `take` takes.
    pub fn get_or_take(&self, now_ms: u64, take: impl FnOnce() -> T) -> T {
        self.get(now_ms).unwrap_or_else(|| {
            let sample = take();
            self.set(now_ms, sample.clone());
            sample
        })
    }

    /// Whoever asks next takes a new sample.
    pub fn forget(&self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_told_for_a_tenth_of_a_second() {
        let sampled = Sampled::default();
        let ask = |now_ms, value: u32| sampled.get_or_take(now_ms, || value);
        assert_eq!(sampled.get(1000), None);
        assert_eq!(ask(1000, 1), 1);
        assert_eq!(ask(1099, 2), 1);
        assert_eq!(ask(1100, 3), 3);
        assert_eq!(ask(1099, 4), 4, "the clock was set back");
        sampled.set(1150, 5);
        assert_eq!(sampled.get(1200), Some(5));
        sampled.forget();
        assert_eq!(ask(1200, 6), 6);
    }
}
