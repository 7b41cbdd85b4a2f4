//! Exact expiry: what is due is deleted when it is due, not when a sample happens to meet it.
//!
//! Each table knows what is due cheaply (`ds::table`), each shard publishes the earliest expiry it
//! holds, and [`ExpireClock`] tells one background thread until when it may sleep. A key that gets
//! a TTL earlier than that wakes it. The work is done in slices of `SLICE_KEYS` under one shard's
//! lock, so a million keys due at once delay nobody; what was removed is freed outside of the lock.
//!
//! Fields of hashes are keys of tables of their own: each shard lists its hashes by the time at which
//! a field falls due (`db::side`), and the same slices serve both.
//!
//! Invariant: `next_expire_at_ms` of a shard is written under its lock and never later than the
//! earliest expiry in it, of a key or of a field.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::ds::collection::Collection;
use crate::ds::entry::Entry;
use crate::ds::lock::ShardGuard;
use crate::ds::table::NO_EXPIRY;
use crate::util::clock::Clock;

use super::effects::Effects;
use super::keyspace::{DbIndex, Keyspace, Shard, ShardData, ShardId};
use super::lazyfree::{Cause, is_large};
use super::notice::EventClass;
use super::oplog::Draft;
use super::side::Side;
use super::snapshot::Places;
use super::usage::Renewal;

/// Keys removed under one hold of a lock.
pub(super) const SLICE_KEYS: usize = 64;
/// Longest sleep, so that a wall clock that was set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// How long the cycle waits while someone has the keyspace for himself.
const GATE_WAIT_MS: u64 = 1;

/// When the expiry cycle has to run next, and who runs it.
pub struct ExpireClock {
    /// The cycle's thread sleeps until then. 0 while it works, since it looks at every shard before
    /// it sleeps again, and while it may not work.
    wake_at_ms: AtomicU64,
    thread: OnceLock<Thread>,
    /// DEBUG SET-ACTIVE-EXPIRE.
    disabled: AtomicBool,
    /// A snapshot or a log is being loaded: what expires is said there.
    is_loading: AtomicBool,
    /// Data is imported (`import-mode`): whoever imports says what expires.
    is_importing: AtomicBool,
    /// CLIENT PAUSE holds expiry back, too.
    paused_until_ms: AtomicU64,
    /// CPU time of the cycle, microseconds (`expire_cycle_cpu_milliseconds`).
    cycle_us: AtomicU64,
}

impl Default for ExpireClock {
    fn default() -> ExpireClock {
        ExpireClock {
            wake_at_ms: AtomicU64::new(0),
            thread: OnceLock::new(),
            disabled: AtomicBool::new(false),
            is_loading: AtomicBool::new(false),
            is_importing: AtomicBool::new(false),
            paused_until_ms: AtomicU64::new(0),
            cycle_us: AtomicU64::new(0),
        }
    }
}

impl ExpireClock {
    /// A key of a shard whose earliest expiry this is. Called under the shard's lock, after the
    /// shard has it.
    #[inline]
    pub(super) fn note(&self, at_ms: u64) {
        // SeqCst on both sides: either the cycle sees the shard's new minimum, or this sees its
        // wake-up time.
        if at_ms < self.wake_at_ms.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Switches the cycle on or off (DEBUG SET-ACTIVE-EXPIRE); expired keys stay invisible either
    /// way.
    pub fn set_enabled(&self, enabled: bool) {
        self.disabled.store(!enabled, Ordering::Relaxed);
        self.wake();
    }

    /// Holds the cycle back while a snapshot or a log is loaded.
    pub fn set_loading(&self, loading: bool) {
        self.is_loading.store(loading, Ordering::Relaxed);
        self.wake();
    }

    /// `import-mode`: only writes delete what has expired, so that whoever imports data can still
    /// see it ([`Access::see_expired`](super::Access::see_expired)).
    pub fn set_importing(&self, importing: bool) {
        if self.is_importing.swap(importing, Ordering::Relaxed) != importing {
            self.wake();
        }
    }

    /// Whether only writes delete what has expired: data is imported, or CLIENT PAUSE is on at `now_ms`.
    pub fn leaves_expired(&self, now_ms: u64) -> bool {
        self.is_importing() || self.paused_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Whether data is imported.
    pub fn is_importing(&self) -> bool {
        self.is_importing.load(Ordering::Relaxed)
    }

    /// Holds the cycle back until then (CLIENT PAUSE); 0 ends it. Whoever says so next sees what came before this.
    pub fn pause_until(&self, unix_ms: u64) {
        self.paused_until_ms.swap(unix_ms, Ordering::AcqRel);
        self.wake();
    }

    /// Microseconds that the cycle has worked.
    pub fn cycle_us(&self) -> u64 {
        self.cycle_us.load(Ordering::Relaxed)
    }

    /// When the sleeping cycle wakes by itself; 0 while it works.
    #[cfg(test)]
    pub(super) fn wake_at_ms(&self) -> u64 {
        self.wake_at_ms.load(Ordering::SeqCst)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.cycle_us.store(0, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Shard {
    /// Makes an expiry of a key in this shard known. Under the shard's lock.
    #[inline]
    pub(super) fn note_expire(&self, clock: &ExpireClock, at_ms: u64) {
        if at_ms < self.next_expire_at_ms.load(Ordering::Relaxed) {
            self.next_expire_at_ms.store(at_ms, Ordering::SeqCst);
            clock.note(at_ms);
        }
    }
}

/// What one pass over the shards found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    /// A shard may hold more that is due.
    More,
    /// Nothing is due any more.
    Done,
    /// The cycle may not work before this (Unix ms).
    Held(u64),
}

impl Keyspace {
    /// Runs the expiry cycle on this thread until `stop` says so.
    pub fn expire_forever(&self, clock: &Clock, stop: impl Fn() -> bool) {
        self.expire_until(clock, SLEEP_MAX, stop);
    }

    /// [`Keyspace::expire_forever`] with a longest sleep of `sleep_max`.
    pub(super) fn expire_until(&self, clock: &Clock, sleep_max: Duration, stop: impl Fn() -> bool) {
        let _ = self.expire_clock.thread.set(std::thread::current());
        let wake_at_ms = &self.expire_clock.wake_at_ms;
        let mut removed = Vec::with_capacity(SLICE_KEYS);
        let mut renewal = Renewal::default();
        while !stop() {
            self.renew_some(&mut renewal, clock.unix_ms());
            // The clock is read for every pass: what falls due while a million keys are being
            // deleted is deleted along with them, not after them.
            let pass = self.expire_pass(clock.unix_ms(), &mut removed);
            let until_ms = match pass {
                Pass::More => continue,
                // Nobody needs to wake the cycle for what it may not do.
                Pass::Held(until_ms) => until_ms,
                Pass::Done => {
                    let next_ms = self.next_expire_at_ms();
                    wake_at_ms.store(next_ms, Ordering::SeqCst);
                    // What came before the store woke nobody: it is seen here.
                    next_ms.min(self.next_expire_at_ms())
                }
            };
            let sleep = Duration::from_millis(until_ms.saturating_sub(clock.unix_ms()));
            if !sleep.is_zero() {
                std::thread::park_timeout(sleep.min(sleep_max));
            }
            wake_at_ms.store(0, Ordering::SeqCst);
        }
    }

    /// Deletes every key that is due at `now_ms`, in slices; returns when to come back (Unix ms).
    #[cfg(any(test, fuzzing))]
    pub fn expire_due(&self, now_ms: u64) -> u64 {
        let mut removed = Vec::with_capacity(SLICE_KEYS);
        loop {
            match self.expire_pass(now_ms, &mut removed) {
                Pass::More => {}
                Pass::Done => return self.next_expire_at_ms(),
                Pass::Held(until_ms) => return until_ms,
            }
        }
    }

    /// Deletes one slice of what is due in each shard. `removed` is empty before and after.
    pub(super) fn expire_pass(&self, now_ms: u64, removed: &mut Vec<Entry>) -> Pass {
        let held_until_ms = self.held_until_ms(now_ms);
        if held_until_ms > now_ms {
            return Pass::Held(held_until_ms);
        }
        let mut started = None;
        let mut pass = Pass::Done;
        for id in self.shard_ids() {
            let next_at_ms = &self.shard(id).next_expire_at_ms;
            if next_at_ms.load(Ordering::Relaxed) > now_ms {
                continue;
            }
            let is_open = !self.gate.is_closed();
            let Some(data) = is_open.then(|| self.claim(id)).flatten() else {
                pass = Pass::Held(now_ms.saturating_add(GATE_WAIT_MS));
                break;
            };
            started.get_or_insert_with(Instant::now);
            let begun = self.spikes.begin();
            if expire_slice(self, id, data, now_ms, removed) {
                pass = Pass::More;
            }
            self.spikes.end(begun, &["expire-cycle"]);
            self.free_removed(removed);
        }
        if let Some(started) = started {
            let spent_us = started.elapsed().as_micros() as u64;
            self.expire_clock
                .cycle_us
                .fetch_add(spent_us, Ordering::Relaxed);
        }
        pass
    }

    /// Frees what was removed, large values elsewhere: what comes next shall not wait. Without a lock.
    pub(super) fn free_removed(&self, removed: &mut Vec<Entry>) {
        self.snapshot.drop_shared(removed, Places::new());
        let large = removed.extract_if(.., |entry| is_large(entry)).collect();
        self.lazyfree.free_values(large);
        removed.clear();
    }

    /// No key or field expires before this (Unix ms).
    pub fn next_expire_at_ms(&self) -> u64 {
        let shards = self.all().iter();
        shards
            .map(|shard| shard.next_expire_at_ms.load(Ordering::SeqCst))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Until when the cycle may not work; 0 when it may.
    fn held_until_ms(&self, now_ms: u64) -> u64 {
        let clock = &self.expire_clock;
        let is_held = [&clock.disabled, &clock.is_loading, &clock.is_importing]
            .iter()
            .any(|held| held.load(Ordering::Relaxed));
        if is_held {
            return u64::MAX;
        }
        let paused_until = clock.paused_until_ms.load(Ordering::Relaxed);
        if paused_until > now_ms {
            paused_until
        } else {
            0
        }
    }
}

/// Removes up to [`SLICE_KEYS`] due keys and fields of a shard; true when more may be due.
fn expire_slice(
    keyspace: &Keyspace,
    id: ShardId,
    mut guard: ShardGuard<'_, ShardData>,
    now_ms: u64,
    removed: &mut Vec<Entry>,
) -> bool {
    let data = &mut *guard;
    let mut next_ms = u64::MAX;
    let mut effects = Effects::new(false, keyspace.interest.load());
    // What a snapshot still needs.
    let mut unsaved: Vec<(DbIndex, Entry)> = Vec::new();
    let mut gone = |side: &mut Side, db, entry: &mut Entry| {
        let key = (db, keyspace.hash(entry.view().key()));
        keyspace.note_gone(side, &mut effects, key, entry, Cause::Expiry);
    };
    for (db, table) in (0..).map(DbIndex).zip(&mut data.tables) {
        let first = removed.len();
        let budget = SLICE_KEYS - first;
        if budget > 0 {
            let mut take = |entry, is_unsaved| match is_unsaved {
                true => unsaved.push((db, entry)),
                false => removed.push(entry),
            };
            table.take_expired_unsaved(now_ms, budget, &mut take);
        }
        next_ms = next_ms.min(table.next_expire_at_ms());
        for entry in &mut removed[first..] {
            gone(&mut data.side, db, entry);
            keyspace.snapshot.note_left(entry.view());
        }
    }
    data.stats.expired += unsaved.len() as u64;
    for (db, mut entry) in unsaved {
        gone(&mut data.side, db, &mut entry);
        data.save_removed(&keyspace.snapshot, db, entry);
    }
    data.stats.expired += removed.len() as u64;
    next_ms = next_ms.min(expire_fields(keyspace, data, now_ms, removed, &mut effects));
    if let Some(notices) = effects.take_notices() {
        keyspace.tell(notices, 0);
    }
    let next_at_ms = &keyspace.shard(id).next_expire_at_ms;
    next_at_ms.store(next_ms, Ordering::SeqCst);
    next_ms <= now_ms
}

/// Has the log repeat that fields of a hash were deleted; the hash goes with the last of them.
fn log_expired_fields(keyspace: &Keyspace, db: DbIndex, key: &[u8], fields: &[Entry]) {
    if keyspace.oplog.is_on() && !fields.is_empty() {
        let mut draft = Draft::default();
        let fields = fields.iter().map(|field| field.view().key());
        draft.push(db, [&b"HDEL"[..], key].into_iter().chain(fields));
        keyspace.oplog.append_draft(&mut draft);
    }
}

/// Removes due fields until `removed` has [`SLICE_KEYS`] entries; returns when the next ones are due
/// (Unix ms). A hash without fields goes with the last of them.
fn expire_fields(
    keyspace: &Keyspace,
    data: &mut ShardData,
    now_ms: u64,
    removed: &mut Vec<Entry>,
    effects: &mut Effects,
) -> u64 {
    loop {
        let Some(at_ms) = data.side.field_due.first_ms() else {
            return u64::MAX;
        };
        if at_ms > now_ms || removed.len() >= SLICE_KEYS {
            return at_ms;
        }
        let Some((_, db, key)) = data.side.field_due.pop_first() else {
            return u64::MAX;
        };
        let table = data.tables.get(db.0 as usize);
        let hash = keyspace.hash(&key);
        let found = table.and_then(|table| table.find(hash, &key));
        let Some(slot) = found else { continue };
        data.before_change(&keyspace.snapshot, effects, db, slot);
        let table = &mut data.tables[db.0 as usize];
        let Some(Collection::Hash(fields)) = table.get_mut(slot).into_collection() else {
            data.side.enter_size(db, hash, table.get(slot));
            continue;
        };
        fields.noted_at_ms = NO_EXPIRY;
        let first = removed.len();
        let budget = SLICE_KEYS - first;
        let taken = fields
            .table
            .take_expired(now_ms, budget, &mut |field| removed.push(field));
        data.stats.expired_fields += taken as u64;
        let is_empty = fields.table.is_empty();
        log_expired_fields(keyspace, db, &key, &removed[first..]);
        let total = &keyspace.tracked;
        if taken > 0 {
            effects.touched(&mut data.side, total, hash, db, &key);
            effects.notify(EventClass::HASH, "hexpired", db, &key);
        }
        match is_empty {
            true => {
                removed.push(table.remove(slot));
                effects.notify(EventClass::GENERIC, "del", db, &key);
            }
            false => {
                data.side.note_collection(db, table.get_mut(slot));
                data.side.enter_size(db, hash, table.get(slot));
            }
        }
    }
}
