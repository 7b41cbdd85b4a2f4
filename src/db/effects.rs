//! What a command did besides its reply, recorded where it happens and consumed once by `exec`.
//!
//! What the log is to repeat is the request itself when it changed something. A command that must be
//! repeated in another way says so while it runs ([`Effects::propagate_as`] and its like): absolute
//! times instead of relative ones, the members that a random choice has met, plain forms of blocking
//! commands. Keys that were found expired are recorded in the order in which they were found, before
//! the command that found them. All of it is built only while a log is on.

use std::cell::Cell;

use super::keyspace::{DbIndex, Keyspace};
use super::lazyfree::{Cause, is_large};
use super::listen::{Touch, Tracked};
use super::notice::{self, Afterwards, Changed, Event, EventClass, Invalidated, Notices, Own};
use super::oplog::{Draft, OpLog};
use super::side::Side;
use super::snapshot::{Places, Snapshot};
use super::wait::Ready;
use crate::ds::entry::Entry;
use crate::ds::table::Table;

/// What a command did. Most commands only change keys, so what is rarer is behind pointers.
#[derive(Default, Debug)]
pub struct Effects {
    /// Keys changed, as Redis counts `dirty`.
    pub changes: u64,
    /// A log is on, and wants to know.
    is_logged: bool,
    /// Several commands become one record: what each has to say is put together.
    is_grouped: bool,
    /// What is done is not to be repeated: a script has said so.
    is_muted: bool,
    /// A log is on, and the request of a command that writes may become part of it.
    is_of_write: bool,
    /// What anybody wants to know of every key, see [`notice::Interest`].
    interest: u32,
    /// Number of the client that asks, 0 for the server itself.
    pub(super) by: u64,
    /// What it is to repeat if not just the request.
    log: Option<Box<LogEffects>>,
    /// What else follows.
    pub rare: Option<Box<RareEffects>>,
}

/// See [`Effects`].
#[derive(Default, Debug)]
struct LogEffects {
    draft: Draft,
    /// The request itself is not repeated, whatever it changed.
    replaces: bool,
    /// The request itself is repeated, even if it changed nothing.
    is_forced: bool,
    /// It has passed over what has expired but is still stored.
    has_passed_expired: bool,
}

impl LogEffects {
    /// Forgets what concerned one command only.
    fn begin_next(&mut self) {
        self.replaces = false;
        self.is_forced = false;
        self.has_passed_expired = false;
    }
}

impl Drop for LogEffects {
    fn drop(&mut self) {
        // Whoever releases locks appends before.
        debug_assert!(self.draft.is_empty() || std::thread::panicking());
    }
}

thread_local! {
    /// Used again, so that commands that are rewritten allocate nothing for it.
    static SPARE: Cell<Option<Box<LogEffects>>> = const { Cell::new(None) };
}

/// See [`Effects`].
#[derive(Default)]
pub struct RareEffects {
    /// Keys that somebody waits for and that were created or have got more, or have changed in a way
    /// that may end the wait. In this order, perhaps more than once.
    pub ready: Vec<Ready>,
    /// What others are told.
    notices: Notices,
    /// What is told when the command has ended.
    afterwards: Afterwards,
    /// Large values that left the keyspace, for the lazy-free thread.
    values: Vec<Entry>,
    /// Values that a snapshot shares with keys which were changed or have gone.
    shared: Places,
    /// What the client waits for until it is freed (FLUSHALL SYNC), see
    /// [`Access::drop_unlocked`](super::Access::drop_unlocked).
    pub(super) tables: Vec<Table<Entry>>,
}

impl Drop for RareEffects {
    fn drop(&mut self) {
        // Whoever releases locks tells before.
        let is_told = self.notices.is_empty() && self.afterwards.is_empty();
        debug_assert!(is_told || std::thread::panicking());
    }
}

impl RareEffects {
    /// Takes what is to be told when the command has ended.
    pub fn take_afterwards(&mut self) -> Afterwards {
        std::mem::take(&mut self.afterwards)
    }

    /// Frees what left the keyspace, or has it freed. Without a lock.
    pub fn free(mut self, keyspace: &Keyspace) {
        let mut values = std::mem::take(&mut self.values);
        let shared = std::mem::take(&mut self.shared);
        keyspace.snapshot.drop_shared(&mut values, shared);
        keyspace.lazyfree.free_values(values);
    }
}

impl std::fmt::Debug for RareEffects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (values, tables) = (self.values.len(), self.tables.len());
        write!(
            f,
            "{} keys ready, {values} values, {tables} tables",
            self.ready.len()
        )
    }
}

impl Keyspace {
    /// What follows from a key's having been taken out by the server itself, because it has expired or for
    /// want of memory. Under its shard's lock.
    pub(super) fn note_gone(
        &self,
        side: &mut Side,
        effects: &mut Effects,
        (db, hash): (DbIndex, u64),
        entry: &mut Entry,
        cause: Cause,
    ) {
        side.leave_size(db, hash, entry.view());
        side.forget_fields(db, entry);
        let key = entry.view().key();
        if self.oplog.is_on() {
            let deletion = self.lazyfree.deletion(cause);
            self.oplog.append(db, [deletion, key].into_iter());
        }
        let (by, how) = (effects.by, Touch::Gone);
        effects.touched_by((by, how), side, &self.tracked, (hash, key), db);
        let (class, event) = cause.event();
        effects.notify(class, event, db, key);
        side.waiters.end_with_key(db, key);
    }
}

impl Effects {
    /// Of a command that begins.
    #[inline]
    pub(super) fn new(is_logged: bool, interest: u32) -> Effects {
        Effects {
            is_logged,
            interest,
            ..Effects::default()
        }
    }

    /// The command holds its first shard now: from here on nobody switches the log on.
    pub(super) fn set_logged(&mut self) {
        self.is_logged = true;
    }

    /// Begins or ends a group: the commands of a transaction, which become one record of the log. It is
    /// appended by [`Effects::append_draft_to`].
    pub fn set_grouped(&mut self, grouped: bool) {
        self.is_grouped = grouped;
    }

    /// Has what is done from now on repeated, or not (`redis.set_repl`). That keys or
    /// fields were found expired is logged in any case.
    pub fn set_muted(&mut self, muted: bool) {
        self.is_muted = muted;
    }

    /// A command begins that writes, or one that only reads. What is logged is mostly its request, so what the
    /// request reads has to be the same when it is repeated, and then nothing has expired by itself.
    #[inline]
    pub fn set_of_write(&mut self, writes: bool) {
        self.is_of_write = writes && self.is_logged;
    }

    /// See [`Effects::set_of_write`].
    #[inline]
    pub(super) fn is_of_write(&self) -> bool {
        self.is_of_write
    }

    /// The next command of a group begins, with what anybody wants to know by now.
    pub(super) fn begin_next(&mut self, interest: u32) {
        self.interest = interest;
    }

    /// Whether a log wants to know: nothing need be put together for it otherwise.
    #[inline]
    pub fn is_logged(&self) -> bool {
        self.is_logged
    }

    /// Whether somebody looks at all commands (MONITOR).
    #[inline]
    pub fn is_monitored(&self) -> bool {
        notice::wants_commands(self.interest)
    }

    /// Drops an entry that was taken out of the keyspace, a large one later. Under its shard's lock.
    #[inline]
    pub(super) fn discard(&mut self, snapshot: &Snapshot, entry: Entry) {
        if is_large(&entry) {
            snapshot.note_left(entry.view());
            self.rare.get_or_insert_default().values.push(entry);
        }
    }

    /// Notes that a key whose value a snapshot shares is about to be changed: when that is done it may be the
    /// snapshot's alone.
    pub(super) fn note_shared(&mut self, place: usize) {
        let shared = &mut self.rare.get_or_insert_default().shared;
        shared.entry(place).or_default();
    }

    /// Notes that a key has got what somebody may wait for, if somebody does: mostly that it is there.
    #[inline]
    pub(super) fn note_ready(&mut self, side: &Side, db: DbIndex, key: &[u8]) {
        if !side.waiters.is_empty() && side.waiters.waits(db, key) {
            let rare = self.rare.get_or_insert_default();
            rare.ready.push(Ready::new(db, key));
        }
    }

    /// Notes that a key has changed for which somebody waits in a way that ends with it.
    #[cold]
    fn note_changed(&mut self, side: &Side, db: DbIndex, key: &[u8]) {
        if side.waiters.waits(db, key) {
            self.rare.get_or_insert_default().ready.push(Ready {
                if_gone: true,
                ..Ready::new(db, key)
            });
        }
    }

    /// Records an event of a key, if anybody wants to know of its class.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str, db: DbIndex, key: &[u8]) {
        if notice::wants(self.interest, class) {
            self.record_event(class, name, db, key);
        }
    }

    #[cold]
    fn record_event(&mut self, class: EventClass, name: &'static str, db: DbIndex, key: &[u8]) {
        let event = Event {
            class,
            name,
            db,
            key: key.into(),
        };
        self.notices().events.push(event);
    }

    /// Notes that a key is no longer what it was: who watches it or has a copy of it shall know.
    /// Before or after the change, under the shard's lock.
    #[inline]
    pub(super) fn touched(
        &mut self,
        side: &mut Side,
        total: &Tracked,
        hash: u64,
        db: DbIndex,
        key: &[u8],
    ) {
        let how = (self.by, Touch::Changed);
        self.touched_by(how, side, total, (hash, key), db);
    }

    /// As [`Effects::touched`], of a key that was found expired: no client has changed it.
    pub(super) fn touched_expired(
        &mut self,
        side: &mut Side,
        total: &Tracked,
        hash: u64,
        db: DbIndex,
        key: &[u8],
    ) {
        self.touched_by((0, Touch::Gone), side, total, (hash, key), db);
    }

    #[inline]
    fn touched_by(
        &mut self,
        how: (u64, Touch),
        side: &mut Side,
        total: &Tracked,
        named: (u64, &[u8]),
        db: DbIndex,
    ) {
        if !side.waiters.none_ends_with_key() {
            self.note_changed(side, db, named.1);
        }
        if !side.listeners.is_empty() || notice::wants_changed(self.interest) {
            self.record_touch(how, side, total, named, db);
        }
    }

    #[inline(never)]
    fn record_touch(
        &mut self,
        (changed_by, touch): (u64, Touch),
        side: &mut Side,
        total: &Tracked,
        (hash, key): (u64, &[u8]),
        db: DbIndex,
    ) {
        side.listeners.raise(hash, db, key, touch);
        if let Some(mut trackers) = side.listeners.untrack(hash, key, total) {
            let by = self.by;
            if let Ok(at) = trackers.binary_search(&by) {
                trackers.remove(at);
                let key = Some(key.into());
                self.afterwards().own.push(Own { by, key });
            }
            if !trackers.is_empty() {
                let key = key.into();
                let invalidated = Invalidated { key, trackers };
                self.notices().invalidated.push(invalidated);
            }
        }
        if notice::wants_changed(self.interest) && total.prefixes.may_match(key) {
            let changed = Changed {
                db,
                key: key.into(),
                by: changed_by,
            };
            match self.by {
                0 => self.notices().changed.push(changed),
                _ => self.afterwards().changed.push(changed),
            }
        }
    }

    /// Notes that a database was emptied.
    pub(super) fn flushed(&mut self) {
        self.notices().flushed = true;
        if self.by != 0 {
            let own = Own {
                by: self.by,
                key: None,
            };
            self.afterwards().own.push(own);
        }
    }

    fn afterwards(&mut self) -> &mut Afterwards {
        &mut self.rare.get_or_insert_default().afterwards
    }

    fn notices(&mut self) -> &mut Notices {
        &mut self.rare.get_or_insert_default().notices
    }

    /// Takes what is to be told; `None` if that is nothing.
    #[inline]
    pub(super) fn take_notices(&mut self) -> Option<Notices> {
        let rare = self.rare.as_mut()?;
        (!rare.notices.is_empty()).then(|| std::mem::take(&mut rare.notices))
    }

    /// Whether it has made keys ready that somebody waits for.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.ready.is_empty())
    }

    /// Takes the keys that are ready.
    #[inline]
    pub fn take_ready(&mut self) -> Vec<Ready> {
        let ready = self.rare.as_mut().map(|rare| &mut rare.ready);
        ready.map(std::mem::take).unwrap_or_default()
    }

    /// Has the log repeat this command instead of the request, behind what it was told before.
    pub fn propagate_as<'a>(&mut self, db: DbIndex, argv: impl Iterator<Item = &'a [u8]> + Clone) {
        if self.is_logged && !self.is_muted {
            let log = self.log();
            log.replaces = true;
            log.draft.push(db, argv);
        }
    }

    /// Has the log repeat this command before the request.
    pub fn also_propagate<'a>(
        &mut self,
        db: DbIndex,
        argv: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        if self.is_logged && !self.is_muted {
            self.log().draft.push(db, argv);
        }
    }

    /// Keeps the request itself out of the log.
    pub fn dont_propagate(&mut self) {
        if self.is_logged {
            self.log().replaces = true;
        }
    }

    /// Has the log repeat the request although it may have changed nothing.
    pub fn force_propagation(&mut self) {
        if self.is_logged {
            self.log().is_forced = true;
        }
    }

    /// Notes that the command has passed over something that has expired but is still stored, and that
    /// it would not pass over when it is repeated.
    #[cold]
    pub fn pass_expired(&mut self) {
        if self.is_logged {
            self.log().has_passed_expired = true;
        }
    }

    /// Whether [`Effects::pass_expired`] was called: what the command made of it has to be logged.
    pub fn has_passed_expired(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.has_passed_expired)
    }

    /// Records that a key was found expired, and deleted.
    #[cold]
    pub(super) fn log_expired(&mut self, deletion: &[u8], db: DbIndex, key: &[u8]) {
        if self.is_logged {
            let argv = [deletion, key].into_iter();
            self.log().draft.push(db, argv);
        }
    }

    /// Records that fields of a hash were found expired, and taken out: before the request, and in any
    /// case, as of keys.
    pub fn log_expired_fields<'a>(
        &mut self,
        db: DbIndex,
        key: &'a [u8],
        fields: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        if self.is_logged {
            let head = [&b"HDEL"[..], key].into_iter();
            self.log().draft.push(db, head.chain(fields));
        }
    }

    fn log(&mut self) -> &mut LogEffects {
        self.log
            .get_or_insert_with(|| SPARE.take().unwrap_or_default())
    }

    /// Appends what a command did to the log: its request if it changed something, or what it has
    /// asked for instead. The number of the record, if there is one. Under the command's locks.
    #[inline]
    pub fn append_to<'a>(
        &mut self,
        oplog: &OpLog,
        db: DbIndex,
        request: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        has_changed: bool,
    ) -> Option<u64> {
        let (is_grouped, is_muted) = (self.is_grouped, self.is_muted);
        let has_changed = has_changed && !is_muted;
        let log = match &mut self.log {
            Some(log) => log,
            None if !has_changed => return None,
            None if is_grouped => self.log(),
            None => return Some(oplog.append(db, request)),
        };
        if (has_changed || log.is_forced && !is_muted) && !log.replaces {
            log.draft.push(db, request);
        }
        if is_grouped {
            log.begin_next();
            return None;
        }
        self.append_draft_to(oplog)
    }

    /// Appends what was recorded so far, without the request.
    pub fn append_draft_to(&mut self, oplog: &OpLog) -> Option<u64> {
        let mut log = self.log.take()?;
        let seq = oplog.append_draft(&mut log.draft);
        log.begin_next();
        SPARE.set(Some(log));
        seq
    }
}
