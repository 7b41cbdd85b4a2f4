//! `maxmemory`: what a worker may still take, and making room when that is nothing.
//!
//! How much is in use is the sum over all threads' counters. A worker adds it up once a millisecond, or when it has
//! used up its allowance since; in between it looks only at its own counter, which costs a few nanoseconds. Far from the
//! limit the allowance is a part of what is left, near to it `SLACK_BYTES`: by so much for each worker, and by one
//! command, the limit may be exceeded at most.
//!
//! Keys are evicted before a command runs, whichever it is, and while no shard is held, as in Redis. What is evicted by
//! one worker the others learn when they add up; until then each of them evicts what it has taken itself. Eviction ends
//! when there is room or its time is over ([`Pressure::patience`]); then the command runs all the same, and the rest is
//! done in the background ([`Evictor`]). Only when nothing can go memory is out, and commands that may need more are
//! refused. A script, or a transaction, goes by what was found before it began.
//!
//! Nothing is evicted, and nobody refused, while the dataset is loaded, clients are paused, or someone has the keyspace
//! for himself.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::db::evict::Sweep;
use crate::db::pressure::Pressure;
use crate::db::{Evicted, Eviction, Policy};
use crate::persist::state::Marks;
use crate::server::Server;
use crate::spec::Flags;
use crate::sys::{alloc, tsc};

/// What a worker may take near to the limit before it looks at what the others have taken.
const SLACK_BYTES: u64 = 16 << 10;
/// Which part of what is left it may take before that.
const ALLOWANCE_PART: u64 = 16;
/// What is evicted beyond what is needed, so that not each command has to: so much, but no more than this part of the
/// limit.
const SPARE_BYTES: u64 = 2 << 10;
const SPARE_PART: u64 = 1024;
/// How long the background evicts at a time at most, whatever is configured: others have to be served by its
/// thread, too.
const SLICE_MAX: Duration = Duration::from_millis(5);
/// Commands whose fate depends on whether memory is out.
const CONCERNED: Flags = Flags::DENYOOM
    .and(Flags::RUNS_SCRIPT)
    .and(Flags::RUNS_QUEUE);

/// What has become of an attempt to make room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// There is some, or it must not be made now.
    Made,
    /// The time was over before that.
    NotYet,
    /// Nothing can go.
    None,
}

/// What one worker knows of the memory in use.
#[derive(Default)]
pub(super) struct Memory {
    /// What counted when it was last added up, bytes.
    used_bytes: Cell<u64>,
    /// This thread's own share of it.
    own_bytes: Cell<i64>,
    /// What had been handed over to be freed elsewhere by then, bytes.
    given_bytes: Cell<u64>,
    /// When that was, Unix ms.
    summed_at_ms: Cell<u64>,
    /// The limit then, and how large this thread's own share may become without another look.
    limit_bytes: Cell<u64>,
    own_bytes_max: Cell<i64>,
    /// The batch (its time, Unix ms) that has used up its time for eviction.
    spent_at_ms: Cell<u64>,
    sweep: RefCell<Sweep>,
    /// What was found before the last command.
    is_out: Cell<bool>,
}

impl Memory {
    /// Makes room for a command with these flags if there is none; whether there is none then.
    #[inline]
    pub(super) fn is_out(&self, server: &Server, flags: Flags, now_ms: u64) -> bool {
        let limit_bytes = server.keyspace.eviction.limit_bytes();
        if limit_bytes == 0 {
            return false;
        }
        let is_known = now_ms == self.summed_at_ms.get() && limit_bytes == self.limit_bytes.get();
        if is_known && alloc::thread_net_bytes() <= self.own_bytes_max.get() {
            self.is_out.set(false);
            return false;
        }
        self.look(server, limit_bytes, flags, now_ms)
    }

    /// What [`Memory::is_out`] has found before the command that runs.
    #[inline]
    pub(super) fn was_out(&self, server: &Server) -> bool {
        server.keyspace.eviction.limit_bytes() > 0 && self.is_out.get()
    }

    /// Whether memory is still out, if it was: for who holds shards, so that nothing can be evicted.
    #[cold]
    pub(super) fn is_still_out(&self, server: &Server) -> bool {
        let limit_bytes = server.keyspace.eviction.limit_bytes();
        self.was_out(server) && counted_bytes(server) > limit_bytes
    }

    #[inline(never)]
    fn look(&self, server: &Server, limit_bytes: u64, flags: Flags, now_ms: u64) -> bool {
        if server.keyspace.gate.is_closed() {
            // The command has to wait, and will be here again; or a script is in the middle, which goes by what was
            // found before it.
            return false;
        }
        let room = match self.used_bytes(server, limit_bytes, now_ms) > limit_bytes {
            true => {
                let begun = server.keyspace.spikes.begin();
                let room = self.make_room(server, limit_bytes, flags, now_ms);
                server.keyspace.spikes.end(begun, &["eviction-cycle"]);
                room
            }
            false => Room::Made,
        };
        note(&server.keyspace.eviction.pressure, room, server);
        self.is_out.set(room == Room::None);
        room == Room::None
    }

    #[cold]
    fn make_room(&self, server: &Server, limit_bytes: u64, flags: Flags, now_ms: u64) -> Room {
        if !may_evict(server, now_ms) {
            return Room::Made;
        }
        let eviction = &server.keyspace.eviction;
        if !has_candidates(server, eviction) {
            // What others have freed counts for those whom it concerns.
            let is_exact =
                flags.any(CONCERNED) && self.sum(server, limit_bytes, now_ms) <= limit_bytes;
            return match is_exact {
                true => Room::Made,
                false => Room::None,
            };
        }
        let patience = match self.spent_at_ms.get() == now_ms {
            true => Some(Duration::ZERO),
            false => eviction.pressure.patience(),
        };
        let room = self.evict(server, limit_bytes, patience, now_ms);
        if room == Room::NotYet {
            self.spent_at_ms.set(now_ms);
            eviction.pressure.wake();
        }
        room
    }

    /// Evicts until there is room, but no longer than this.
    fn evict(
        &self,
        server: &Server,
        limit_bytes: u64,
        patience: Option<Duration>,
        now_ms: u64,
    ) -> Room {
        let keyspace = &server.keyspace;
        let mut sweep = self.sweep.borrow_mut();
        let mut started = None;
        let spare_bytes = (limit_bytes / SPARE_PART).min(SPARE_BYTES);
        loop {
            let used_bytes = self.used_bytes(server, limit_bytes, now_ms);
            if used_bytes <= limit_bytes {
                return Room::Made;
            }
            if started.is_some_and(|started| is_over(started, patience)) {
                return Room::NotYet;
            }
            let want_bytes = used_bytes - limit_bytes + spare_bytes;
            match keyspace.evict_some(&mut sweep, now_ms, want_bytes) {
                Evicted::Some { .. } => {}
                Evicted::Busy if keyspace.gate.is_closed() => return Room::Made,
                Evicted::Busy => std::hint::spin_loop(),
                // What others have freed meanwhile counts.
                Evicted::Nothing if self.sum(server, limit_bytes, now_ms) <= limit_bytes => {
                    return Room::Made;
                }
                Evicted::Nothing => return Room::None,
            }
            started.get_or_insert_with(tsc::ticks);
        }
    }

    /// What counts against the limit, as far as this thread knows.
    #[inline]
    fn used_bytes(&self, server: &Server, limit_bytes: u64, now_ms: u64) -> u64 {
        let grown = alloc::thread_net_bytes() - self.own_bytes.get();
        let is_known = now_ms == self.summed_at_ms.get() && limit_bytes == self.limit_bytes.get();
        let keyspace = &server.keyspace;
        // What is handed over to be freed does not show here, nor what a snapshot keeps of a key that goes.
        let is_elsewhere = keyspace.lazyfree.given_bytes() != self.given_bytes.get()
            || keyspace.snapshot.is_running();
        if !is_known || is_elsewhere || grown.unsigned_abs() > SLACK_BYTES {
            return self.sum(server, limit_bytes, now_ms);
        }
        self.used_bytes.get().saturating_add_signed(grown)
    }

    fn sum(&self, server: &Server, limit_bytes: u64, now_ms: u64) -> u64 {
        let own_bytes = alloc::thread_net_bytes();
        self.given_bytes.set(server.keyspace.lazyfree.given_bytes());
        let used_bytes = counted_bytes(server);
        let left_bytes = limit_bytes.saturating_sub(used_bytes);
        let allowance_bytes = (left_bytes / ALLOWANCE_PART).max(SLACK_BYTES.min(left_bytes));
        let is_within = used_bytes <= limit_bytes;
        self.used_bytes.set(used_bytes);
        self.own_bytes.set(own_bytes);
        self.summed_at_ms.set(now_ms);
        self.limit_bytes.set(limit_bytes);
        self.own_bytes_max.set(match is_within {
            true => own_bytes.saturating_add_unsigned(allowance_bytes),
            false => i64::MIN,
        });
        used_bytes
    }
}

/// What counts against the limit: not what will be free soon, since other keys would go for it.
pub fn counted_bytes(server: &Server) -> u64 {
    let counted_bytes = server.keyspace.lazyfree.counted_bytes();
    counted_bytes.saturating_sub(server.not_counted_bytes())
}

/// Whether keys may be evicted at all, and commands be refused for want of memory.
fn may_evict(server: &Server, now_ms: u64) -> bool {
    !server.persist.marks().has(Marks::LOADING) && !server.pause.is_on(now_ms)
}

/// Whether the policy lets any key go. An import would lose what it has brought.
fn has_candidates(server: &Server, eviction: &Eviction) -> bool {
    eviction.policy() != Policy::NoEviction && !server.keyspace.expire_clock.is_importing()
}

/// Whether the time since this tick is over.
fn is_over(started: u64, patience: Option<Duration>) -> bool {
    let spent_ns = tsc::ticks_to_ns(tsc::ticks().saturating_sub(started));
    patience.is_some_and(|patience| Duration::from_nanos(spent_ns) >= patience)
}

/// Frees in the background what commands had no time for.
#[derive(Default)]
pub struct Evictor(Memory);

/// What became of a slice of work in the background.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// There is more to do.
    More,
    /// Somebody has the keyspace for himself: to be tried again when he has done.
    Barred,
    /// There is room, or nothing can go.
    Done,
}

impl Evictor {
    /// Evicts for a while.
    pub fn slice(&self, server: &Server) -> Slice {
        let (keyspace, now_ms) = (&server.keyspace, server.clock.unix_ms());
        let eviction = &keyspace.eviction;
        let limit_bytes = eviction.limit_bytes();
        if limit_bytes == 0 || !may_evict(server, now_ms) {
            return Slice::Done;
        }
        if keyspace.gate.is_closed() {
            return match keyspace.gate.is_busy() {
                true => Slice::Done,
                false => Slice::Barred,
            };
        }
        let memory = &self.0;
        let mut room = Room::Made;
        if memory.sum(server, limit_bytes, now_ms) > limit_bytes {
            room = Room::None;
            if has_candidates(server, eviction) {
                let patience = eviction.pressure.patience().unwrap_or(SLICE_MAX);
                let patience = Some(patience.min(SLICE_MAX));
                let begun = keyspace.spikes.begin();
                room = memory.evict(server, limit_bytes, patience, now_ms);
                keyspace.spikes.end(begun, &["eviction-cycle"]);
            }
        }
        note(&eviction.pressure, room, server);
        match room {
            Room::NotYet => Slice::More,
            Room::Made if keyspace.gate.is_closed() => Slice::Barred,
            Room::Made | Room::None => Slice::Done,
        }
    }
}

fn note(pressure: &Pressure, room: Room, server: &Server) {
    pressure.note(room != Room::Made, || server.clock.unix_us());
}

#[cfg(test)]
mod tests;
