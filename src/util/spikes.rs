//! Whether something has taken unusually long, and whom to tell: how layers that know nothing of statistics take part
//! in the latency monitor.
//!
//! Whoever does something that may take long asks [`Spikes::begin`] before and tells [`Spikes::end`] after. While
//! nobody wants to know (`latency-monitor-threshold 0`) that is a load and a branch, and no clock is read.
//!
//! Invariant: what is told took at least the threshold, in whole milliseconds.
//!
//! To tell of something new: the two calls, and a name for it; whoever listens knows no list of names.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sys::tsc;

/// Hears of an event that has taken so many milliseconds.
pub type Listener = dyn Fn(&'static str, u64) + Send + Sync;

/// See the module's text.
#[derive(Default)]
pub struct Spikes {
    /// One more than the milliseconds from which on something is told; 0: nothing is.
    bound: AtomicU64,
    listener: OnceLock<Box<Listener>>,
}

/// When something began; nothing while nobody wants to know.
#[must_use = "what has begun is told when it ends"]
#[derive(Clone, Copy, Debug)]
pub struct Begun(Option<u64>);

impl Spikes {
    /// From how many milliseconds on something is told; 0: nothing is.
    pub fn set_threshold_ms(&self, threshold_ms: u64) {
        let bound = match threshold_ms {
            0 => 0,
            ms => ms.saturating_add(1),
        };
        self.bound.store(bound, Ordering::Relaxed);
    }

    /// From now on everything is told, however short it was.
    #[cfg(test)]
    pub fn tell_all(&self) {
        self.bound.store(1, Ordering::Relaxed);
    }

    /// Who hears of it; set once, by the owner of the listener.
    pub fn listen(&self, listener: Box<Listener>) {
        let _ = self.listener.set(listener);
    }

    /// Something begins.
    #[inline]
    pub fn begin(&self) -> Begun {
        Begun(match self.bound.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(tsc::ticks()),
        })
    }

    /// What has begun is over: it is told under these names if it has taken long.
    #[inline]
    pub fn end(&self, begun: Begun, events: &[&'static str]) {
        if let Some(began) = begun.0 {
            let ticks = tsc::ticks().saturating_sub(began);
            events.iter().for_each(|event| self.took(event, ticks));
        }
    }

    /// Does something, which is told under these names if it takes long.
    #[inline]
    pub fn measure<R>(&self, events: &[&'static str], work: impl FnOnce() -> R) -> R {
        let begun = self.begin();
        let result = work();
        self.end(begun, events);
        result
    }

    /// Something has taken so many ticks.
    #[inline]
    pub fn took(&self, event: &'static str, ticks: u64) {
        if self.bound.load(Ordering::Relaxed) > 0 {
            self.took_time(event, Duration::from_nanos(tsc::ticks_to_ns(ticks)));
        }
    }

    /// The same, of time that somebody else has measured.
    pub fn took_time(&self, event: &'static str, time: Duration) {
        let bound = self.bound.load(Ordering::Relaxed);
        let ms = time.as_millis() as u64;
        if bound > 0
            && ms >= bound - 1
            && let Some(tell) = self.listener.get()
        {
            tell(event, ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn only_what_takes_long_is_told_and_only_if_somebody_wants_to_know() {
        let told: Arc<Mutex<Vec<(&str, u64)>>> = Arc::default();
        let spikes = Spikes::default();
        let hears = told.clone();
        spikes.listen(Box::new(move |event, ms| hears.lock().push((event, ms))));
        // A tick may be measured a little too short.
        let ticks = |ms: u64| tsc::ns_to_ticks(ms * 1_000_000 + 500_000);
        spikes.took("off", ticks(1000));
        assert!(spikes.begin().0.is_none());
        spikes.set_threshold_ms(10);
        spikes.took("short", ticks(9));
        spikes.took("long", ticks(10));
        spikes.took("longer", ticks(25));
        spikes.end(spikes.begin(), &["at once"]);
        assert_eq!(*told.lock(), [("long", 10), ("longer", 25)]);
    }
}
