//! Sessions kept so that a client which comes back need not prove everything again: at most so many, each for so long
//! (`tls-session-cache-size`, 0 for any number, and `tls-session-cache-timeout`).
//!
//! All are kept for the same time, so they end in the order in which they came: whoever adds one looks at the oldest.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;

/// See the module's text.
pub(super) struct SessionCache {
    sessions_max: usize,
    timeout: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Vec<u8>, Session>,
    /// Keys in the order in which they came, with their sessions' numbers; some have gone since.
    order: VecDeque<(u64, Vec<u8>)>,
    added: u64,
}

struct Session {
    number: u64,
    value: Vec<u8>,
    since: Instant,
}

impl SessionCache {
    pub(super) fn new(sessions_max: u64, timeout_secs: u64) -> SessionCache {
        let sessions_max = usize::try_from(sessions_max).unwrap_or(usize::MAX);
        SessionCache {
            sessions_max: if sessions_max == 0 {
                usize::MAX
            } else {
                sessions_max
            },
            timeout: Duration::from_secs(timeout_secs),
            kept: Mutex::default(),
        }
    }

    fn put_at(&self, key: Vec<u8>, value: Vec<u8>, now: Instant) {
        let mut kept = self.kept.lock();
        kept.drop_old(self.sessions_max - 1, self.timeout, now);
        kept.added += 1;
        let number = kept.added;
        kept.order.push_back((number, key.clone()));
        let since = now;
        kept.sessions.insert(
            key,
            Session {
                number,
                value,
                since,
            },
        );
    }

    fn is_fresh(&self, session: &Session, now: Instant) -> bool {
        now.saturating_duration_since(session.since) < self.timeout
    }

    fn get_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let kept = self.kept.lock();
        let session = kept.sessions.get(key)?;
        self.is_fresh(session, now).then(|| session.value.clone())
    }

    fn take_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let session = self.kept.lock().sessions.remove(key)?;
        self.is_fresh(&session, now).then_some(session.value)
    }
}

impl Kept {
    /// Drops the oldest, until no more than so many are left and none of them is too old.
    fn drop_old(&mut self, most: usize, timeout: Duration, now: Instant) {
        while let Some((number, key)) = self.order.front() {
            let session = self.sessions.get(key);
            let is_there = session.is_some_and(|session| session.number == *number);
            let is_old = session
                .is_some_and(|session| now.saturating_duration_since(session.since) >= timeout);
            if is_there && !is_old && self.sessions.len() <= most {
                // Those that were taken in between are no more than those that are there.
                if self.order.len() > 2 * self.sessions.len() + 16 {
                    self.forget_taken();
                }
                return;
            }
            if is_there {
                let key = key.clone();
                self.sessions.remove(&key);
            }
            self.order.pop_front();
        }
    }

    fn forget_taken(&mut self) {
        let sessions = &self.sessions;
        self.order.retain(|(number, key)| {
            let session = sessions.get(key);
            session.is_some_and(|session| session.number == *number)
        });
    }
}

impl StoresServerSessions for SessionCache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.put_at(key, value, Instant::now());
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get_at(key, Instant::now())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.take_at(key, Instant::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Without the sessions: they are secret.
impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Vec<u8> {
        n.to_string().into_bytes()
    }

    #[test]
    fn the_oldest_goes_first() {
        let cache = SessionCache::new(3, 300);
        let now = Instant::now();
        (0..5).for_each(|n| cache.put_at(key(n), key(n), now));
        let found: Vec<_> = (0..5)
            .filter(|n| cache.get_at(&key(*n), now).is_some())
            .collect();
        assert_eq!(found, [2, 3, 4]);
        assert_eq!(cache.take_at(&key(3), now), Some(key(3)));
        assert_eq!(cache.take_at(&key(3), now), None);
        // There is room for one without another one's going.
        cache.put_at(key(9), key(9), now);
        assert!(cache.get_at(&key(2), now).is_some());
    }

    #[test]
    fn none_is_kept_for_longer_than_it_may() {
        let cache = SessionCache::new(0, 10);
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        cache.put_at(key(1), key(1), at(0));
        assert!(cache.get_at(&key(1), at(9)).is_some());
        assert!(cache.get_at(&key(1), at(10)).is_none());
        cache.put_at(key(2), key(2), at(10));
        assert_eq!(
            cache.kept.lock().sessions.len(),
            1,
            "the first has gone for good"
        );
        let never = SessionCache::new(0, 0);
        never.put_at(key(1), key(1), start);
        assert!(never.get_at(&key(1), start).is_none());
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let cache = SessionCache::new(0, 300);
        let now = Instant::now();
        cache.put_at(key(0), key(0), now);
        for n in 1..10_000 {
            cache.put_at(key(n), key(n), now);
            assert!(cache.take_at(&key(n), now).is_some());
        }
        assert!(cache.kept.lock().order.len() < 100);
        // The same key again: its first turn in the order is not the second one's.
        cache.put_at(key(0), key(7), now);
        assert_eq!(cache.get_at(&key(0), now), Some(key(7)));
    }
}
