//! The largest value of the last seconds (`client_recent_max_input_buffer` and its like).

use parking_lot::Mutex;

/// Seconds that count as recent.
const SECONDS: u64 = 8;

/// See the module's text.
#[derive(Default)]
pub struct RecentMax(Mutex<[Second; SECONDS as usize]>);

#[derive(Clone, Copy, Default)]
struct Second {
    /// Which second, Unix time.
    at_secs: u64,
    max: u64,
}

impl RecentMax {
    /// Notes a value.
    pub fn note(&self, value: u64, now_ms: u64) {
        let at_secs = now_ms / 1000;
        let second = &mut self.0.lock()[(at_secs % SECONDS) as usize];
        if second.at_secs != at_secs {
            *second = Second { at_secs, max: 0 };
        }
        second.max = second.max.max(value);
    }

    /// The largest value noted in the last 8 seconds, the running one included; 0 for none.
    pub fn get(&self, now_ms: u64) -> u64 {
        let recent = (now_ms / 1000).saturating_sub(SECONDS - 1)..=now_ms / 1000;
        let seconds = *self.0.lock();
        let values = seconds
            .iter()
            .filter(|second| recent.contains(&second.at_secs));
        values.map(|second| second.max).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_is_forgotten_after_eight_seconds() {
        let recent = RecentMax::default();
        assert_eq!(recent.get(100_000), 0);
        recent.note(5, 100_000);
        recent.note(9, 100_999);
        recent.note(7, 101_000);
        assert_eq!(recent.get(101_000), 9);
        assert_eq!(recent.get(107_999), 9);
        assert_eq!(recent.get(108_000), 7);
        assert_eq!(recent.get(109_000), 0);
        // The slot of second 100 is used again.
        recent.note(1, 108_000);
        assert_eq!(recent.get(108_000), 7);
        assert_eq!(recent.get(109_000), 1);
    }
}
