//! How a worker with many clients wakes up less often.
//!
//! To be woken by every single request is the largest part of what a short pipeline costs: a switch of
//! context and an `epoll_wait` for each batch, as soon as the worker is faster than its clients. A
//! worker that many clients keep busy therefore waits for [`NAP`] before it looks at its sockets
//! again, and finds several of them ready. Nobody waits longer for it than for a few other requests;
//! a worker that always has work never waits at all, and neither does one with few clients or with
//! little to do, whose clients wait for nothing but its reply, nor one that found next to nobody behind its last waits
//! (clients that connect for each request).
//!
//! Who watches keys (WATCH) is in a hurry: the longer an optimistic transaction takes, the likelier it
//! is in vain. And with all clients in step only one of them would ever succeed.
//!
//! What was ready together is likely to be the next time, too: [`has_company`] tells connections whether to leave
//! their replies to the worker's outbox.
//!
//! All state is the worker thread's own ([`Pace`]). [`note_batch`] is called for each batch of requests,
//! [`before_park`] whenever the worker has nothing left to do.

use std::cell::Cell;
use std::time::Duration;

use crate::client::ClientId;
use crate::stats::cycles;
use crate::sys::tsc;

use super::worker::EVENT_INTERVAL;

/// How long a worker waits for company.
const NAP: Duration = Duration::from_micros(20);
/// Clients that have to take turns: a batch of one of the last so many is no sign of a crowd.
const CROWD: usize = 8;
/// How sure the worker has to be that there is a crowd: batches in a row, about.
const SURE: u32 = 32;
/// Batches after a nap that make up for it: each but the first saves what the nap costs.
const NAP_FINDS_MIN: u32 = 3;
/// So many naps in a row that find less, and it is done without for so many times.
const LONELY_NAPS_MAX: u32 = 8;
const NAPS_LEFT_OUT: u32 = 200;
/// Batches between two looks at the sockets that make the next ones likely to come together, too.
const COMPANY: u32 = 4;
/// Longest time between two moments of idleness of a worker that has much to do, nanoseconds.
const BUSY_NS: u64 = 250_000;

/// What a worker has seen lately.
struct Pace {
    /// The clients of the last batches, without repetition.
    recent: [Cell<ClientId>; CROWD],
    /// Where the next one goes.
    next: Cell<usize>,
    /// Grows with every batch of a client that is not among them.
    crowd: Cell<u32>,
    /// When the worker was idle last, in ticks.
    parked_at: Cell<u64>,
    /// It has waited for company, and has not looked since.
    has_napped: Cell<bool>,
    /// Naps in a row after which there was none; then chances for a nap that were let pass.
    lonely: Cell<u32>,
    /// When it looked at its sockets last, in ticks.
    looked_at: Cell<u64>,
    /// Batches since then.
    batches: Cell<u32>,
    /// Batches between the two looks before; 0 if somebody is in a hurry.
    batches_before: Cell<u32>,
}

impl Pace {
    const fn new() -> Pace {
        Pace {
            // No client has the number 0.
            recent: [const { Cell::new(0) }; CROWD],
            next: Cell::new(0),
            crowd: Cell::new(0),
            parked_at: Cell::new(0),
            has_napped: Cell::new(false),
            lonely: Cell::new(0),
            looked_at: Cell::new(0),
            batches: Cell::new(0),
            batches_before: Cell::new(0),
        }
    }

    /// The worker has looked at its sockets at this moment, in ticks.
    #[inline]
    fn looked(&self, now: u64) {
        self.looked_at.set(now);
        self.batches_before.set(self.batches.replace(0));
    }

    /// Since when a batch could have been read that begins at this moment: nobody tells of the looks of
    /// a worker that always has work, but it looks after so many tasks at the latest.
    #[inline]
    fn ready_since(&self, now: u64) -> u64 {
        match self.batches.get() {
            EVENT_INTERVAL.. => self.looked(now),
            batches => self.batches.set(batches + 1),
        }
        self.looked_at.get()
    }

    #[inline]
    fn note_batch(&self, client: ClientId) {
        let crowd = self.crowd.get();
        if self.recent.iter().any(|recent| recent.get() == client) {
            return self.crowd.set(crowd / 2);
        }
        self.crowd.set((crowd + 1).min(2 * SURE));
        let next = self.next.get();
        self.recent[next].set(client);
        self.next.set((next + 1) % CROWD);
    }

    /// Whether others are likely to have a batch at the same time.
    #[inline]
    fn has_company(&self) -> bool {
        self.batches_before.get() >= COMPANY
    }

    /// Nobody waits for company until there is a crowd again.
    fn note_hurry(&self) {
        self.crowd.set(0);
        self.batches_before.set(0);
    }

    /// Whether a worker that has nothing to do at this moment, in ticks, should wait for company.
    fn wants_nap(&self, now: u64) -> bool {
        let since = now.saturating_sub(self.parked_at.replace(now));
        if self.has_napped.replace(false) {
            let found = self.batches.get();
            self.lonely.set(match found >= NAP_FINDS_MIN {
                true => 0,
                false => self.lonely.get() + 1,
            });
        }
        let is_busy = self.crowd.get() >= SURE && tsc::ticks_to_ns(since) < BUSY_NS;
        let naps = is_busy && self.is_worth_a_nap();
        self.has_napped.set(naps);
        naps
    }

    /// Whether naps find what they are for; now and then one finds out.
    fn is_worth_a_nap(&self) -> bool {
        let lonely = self.lonely.get();
        if lonely < LONELY_NAPS_MAX {
            return true;
        }
        self.lonely
            .set(match lonely < LONELY_NAPS_MAX + NAPS_LEFT_OUT {
                true => lonely + 1,
                false => LONELY_NAPS_MAX - 1,
            });
        false
    }
}

/// The worker has slept until a socket was ready.
pub(super) fn after_park() {
    let now = tsc::ticks();
    cycles::begin(now);
    PACE.with(|pace| pace.looked(now));
}

/// Since when the requests of a batch that begins at this moment could have been read, in ticks.
#[inline]
pub(super) fn ready_since(now: u64) -> u64 {
    PACE.with(|pace| pace.ready_since(now))
}

thread_local! {
    static PACE: Pace = const { Pace::new() };
}

/// A batch of this client's requests has been read.
#[inline]
pub(super) fn note_batch(client: ClientId) {
    PACE.with(|pace| pace.note_batch(client));
}

/// A batch has been read of a client that watches keys: the longer its transaction takes, the
/// likelier it is in vain.
#[inline]
pub(super) fn note_hurry() {
    PACE.with(Pace::note_hurry);
}

/// Whether batches of others are likely to be ready, too, and none of these clients is in a hurry.
#[inline]
pub(super) fn has_company() -> bool {
    PACE.with(Pace::has_company)
}

/// The worker is about to sleep until a socket is ready.
pub(super) fn before_park() {
    let now = tsc::ticks();
    cycles::end(now);
    if PACE.with(|pace| pace.wants_nap(now)) {
        std::thread::sleep(NAP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets clients take turns, the worker idle after each batch, `ns` apart; whether it naps then.
    fn after_turns(pace: &Pace, clients: u64, turns: u64, ns: u64) -> bool {
        let mut now = pace.parked_at.get();
        let mut naps = false;
        for turn in 0..turns {
            pace.note_batch(1 + turn % clients);
            now += tsc::ns_to_ticks(ns);
            pace.batches.set(NAP_FINDS_MIN);
            naps = pace.wants_nap(now);
        }
        naps
    }

    #[test]
    fn requests_wait_since_the_last_look_at_the_sockets() {
        let pace = Pace::new();
        pace.looked(100);
        for now in 0..u64::from(EVENT_INTERVAL) {
            assert_eq!(pace.ready_since(200 + now), 100);
        }
        // It must have looked again, without a word.
        assert_eq!(pace.ready_since(1_000), 1_000);
        assert_eq!(pace.ready_since(1_001), 1_000);
    }

    #[test]
    fn company_is_what_was_there_between_two_looks() {
        let pace = Pace::new();
        for batches in [COMPANY - 1, COMPANY, EVENT_INTERVAL] {
            pace.looked(100);
            assert!(!pace.has_company());
            for _ in 0..batches {
                pace.ready_since(200);
            }
            pace.looked(300);
            assert_eq!(pace.has_company(), batches >= COMPANY);
            pace.note_hurry();
            assert!(!pace.has_company());
        }
    }

    /// Lets a crowd take turns, of which each nap finds so many; the naps of so many turns.
    fn naps_of(pace: &Pace, finds: u32, turns: u32) -> u32 {
        let (mut now, mut client, mut naps) = (pace.parked_at.get(), 0, 0);
        for _ in 0..turns {
            pace.looked(now);
            for _ in 0..finds {
                client += 1;
                pace.note_batch(1 + client % 50);
                pace.ready_since(now);
            }
            now += tsc::ns_to_ticks(BUSY_NS / 2);
            naps += u32::from(pace.wants_nap(now));
        }
        naps
    }

    #[test]
    fn naps_that_find_nobody_are_left_out() {
        let pace = Pace::new();
        naps_of(&pace, NAP_FINDS_MIN, SURE);
        assert_eq!(naps_of(&pace, NAP_FINDS_MIN, 1_000), 1_000);
        // All but one in so many that finds out.
        let lonely = naps_of(&pace, NAP_FINDS_MIN - 1, 10 * NAPS_LEFT_OUT);
        assert!((10..=10 + LONELY_NAPS_MAX).contains(&lonely), "{lonely}");
        let again = naps_of(&pace, NAP_FINDS_MIN, 1_000);
        assert!(again >= 1_000 - NAPS_LEFT_OUT - 1, "{again}");
    }

    #[test]
    fn only_a_busy_worker_with_many_clients_waits_for_company() {
        let crowd = CROWD as u64 + 1;
        for clients in 1..crowd {
            assert!(
                !after_turns(&Pace::new(), clients, 1_000, BUSY_NS / 2),
                "{clients}"
            );
        }
        assert!(!after_turns(
            &Pace::new(),
            crowd,
            u64::from(SURE) - 1,
            BUSY_NS / 2
        ));
        let pace = Pace::new();
        assert!(after_turns(&pace, crowd, 1_000, BUSY_NS / 2));
        assert!(!after_turns(&pace, crowd, 10, BUSY_NS * 2), "little to do");
        assert!(after_turns(&pace, 50, 1_000, BUSY_NS / 2));
        assert!(!after_turns(&pace, 1, 3, BUSY_NS / 2), "one client remains");
        assert!(after_turns(&pace, 50, 1_000, BUSY_NS / 2));
        pace.note_hurry();
        assert!(
            !after_turns(&pace, 50, 10, BUSY_NS / 2),
            "somebody is in a hurry"
        );
    }
}
