//! Wrong passwords: who gives many of them waits for the answers.
//!
//! The first `FREE` of an address within a minute are answered at once; from then on each answer comes
//! later than the one before, by up to a second. Only the connection that gave the wrong password waits
//! for it: nobody else, and no right password of the same address. Clients of the machine itself are let
//! off: whoever can guess there has better ways, and tests give thousands of wrong passwords.
//!
//! Invariant: of no more than `ADDRESSES_MAX` addresses anything is known; those whose last wrong
//! password is the longest ago are forgotten first.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::client::Endpoint;

/// Wrong passwords that are answered at once.
const FREE: u32 = 16;
/// After so long without a wrong password an address is forgotten, ms.
const FORGOTTEN_AFTER_MS: u64 = 60_000;
/// Most that is known.
const ADDRESSES_MAX: usize = 4096;
/// The first delay, doubled with each wrong password, and the last one, ms.
const DELAY_FIRST_MS: u64 = 10;
const DELAY_MAX_MS: u64 = 1000;

/// What is known of an address.
#[derive(Clone, Copy)]
struct Known {
    wrong: u32,
    last_ms: u64,
}

/// See the module's text.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<Box<str>, Known>>);

impl Attempts {
    /// Notes a wrong password; how long its answer waits.
    pub fn wrong(&self, from: &Endpoint, now_ms: u64) -> Duration {
        if from.local {
            return Duration::ZERO;
        }
        let is_recent = |known: &Known| now_ms.saturating_sub(known.last_ms) < FORGOTTEN_AFTER_MS;
        let host = host(&from.addr);
        let mut addresses = self.0.lock();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(host) {
            addresses.retain(|_, known| is_recent(known));
            let oldest = addresses.iter().min_by_key(|(_, known)| known.last_ms);
            let oldest = oldest.map(|(host, _)| host.clone());
            if let Some(oldest) = oldest.filter(|_| addresses.len() >= ADDRESSES_MAX) {
                addresses.remove(&oldest);
            }
        }
        let known = addresses.entry(host.into()).or_insert(Known {
            wrong: 0,
            last_ms: now_ms,
        });
        if !is_recent(known) {
            known.wrong = 0;
        }
        known.wrong = known.wrong.saturating_add(1);
        known.last_ms = now_ms;
        let delay_ms = match known.wrong.checked_sub(FREE + 1) {
            None => 0,
            Some(doublings) => (DELAY_FIRST_MS << doublings.min(16)).min(DELAY_MAX_MS),
        };
        Duration::from_millis(delay_ms)
    }
}

/// The host of `host:port`.
fn host(addr: &str) -> &str {
    addr.rsplit_once(':').map_or(addr, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addr: &str, local: bool) -> Endpoint {
        Endpoint {
            local,
            ..Endpoint::local(addr)
        }
    }

    #[test]
    fn who_guesses_waits_longer_and_longer() {
        let attempts = Attempts::default();
        let mut delays_ms = Vec::new();
        for port in 0..30 {
            let from = endpoint(&format!("203.0.113.7:{port}"), false);
            delays_ms.push(attempts.wrong(&from, 1_000).as_millis());
        }
        assert!(delays_ms[..16].iter().all(|&delay_ms| delay_ms == 0));
        assert_eq!(&delays_ms[16..20], [10, 20, 40, 80]);
        assert_eq!(delays_ms[29], 1000);
        let other = endpoint("203.0.113.8:1", false);
        assert_eq!(attempts.wrong(&other, 1_000), Duration::ZERO);
        // A minute later all is forgotten.
        let again = endpoint("203.0.113.7:1", false);
        assert_eq!(attempts.wrong(&again, 61_000), Duration::ZERO);
    }

    #[test]
    fn the_machine_itself_never_waits() {
        let attempts = Attempts::default();
        let from = endpoint("127.0.0.1:5", true);
        assert!((0..100).all(|_| attempts.wrong(&from, 0) == Duration::ZERO));
        assert!(attempts.0.lock().is_empty());
    }

    #[test]
    fn no_more_addresses_are_known_than_the_limit() {
        let attempts = Attempts::default();
        for n in 0..ADDRESSES_MAX as u64 + 100 {
            let from = endpoint(&format!("[2001:db8::{n:x}]:1"), false);
            attempts.wrong(&from, n);
        }
        let known = attempts.0.lock();
        assert_eq!(known.len(), ADDRESSES_MAX);
        assert!(!known.contains_key("[2001:db8::0]"));
    }
}
