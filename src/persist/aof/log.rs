//! The writing of the log: draining, writing, syncing, going over to another file.
//!
//! [`Log::step`] does what is to be done now and says how long there is nothing to do; `run` calls it
//! for ever, tests call it by hand. No worker waits here, only a connection for its own reply: until
//! its record is written, so that no end of the process loses it, or, with `appendfsync always`,
//! synced.
//!
//! - `everysec`: what is there is written in one piece, [`OpLog::publish_written`]; what arrives
//!   meanwhile is the next piece. Mostly a worker does that itself when it has run what its clients
//!   have sent ([`write_through`]), as Redis does before it sleeps: a write into the page cache costs
//!   less than to wake another thread. But no worker writes while a sync is on its way, for which the
//!   write might have to wait. Once a second another thread syncs (`sync`).
//! - `always`: write, sync, [`OpLog::publish_durable`].
//! - Going over to another INCR file happens behind a given record: everything up to it is in the old
//!   file and durable before the first byte is in the new one, so that a crash never leaves a gap
//!   that is not at the end.
//!
//! Errors, as Redis treats them: with `always` the server ends, since replies were promised. Else what
//! could not be written stays in the buffer and is tried again, a piece that was written is cut off,
//! and commands that write are refused meanwhile ([`Figures::errno`]).
//!
//! Invariants:
//! - the first `len` bytes of the file are whole records (unless cutting off failed, then the rest of
//!   the record follows: `is_torn`);
//! - a group is written behind what is synced, so a power failure tears the last one at most;
//! - nothing is drained between [`Control::hold`] and the order to go over to another file.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::db::oplog::{Merge, OpLog};
use crate::persist::disk::write_all;
use crate::sys::files::os_text;

use super::files::Incr;
use super::group;
use super::sync::{SyncJob, SyncSlot};
use super::{AofError, fail};

/// Between two attempts to write after an error.
const RETRY_NAP: Duration = Duration::from_millis(100);
/// While a rewrite is about to begin.
const HOLD_NAP: Duration = Duration::from_micros(200);
/// Between two looks at a sync of the other thread.
const SYNC_NAP: Duration = Duration::from_millis(50);
/// Longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// More is not drained before something was written: the rest stays with the writers, who wait when
/// that gets too much (`OpLog::room`).
const UNWRITTEN_BYTES_MAX: usize = 64 << 20;
/// What the buffer keeps of its room.
const KEEP_BYTES_MAX: usize = 4 << 20;
/// Between two syncs with `everysec`.
const SYNC_PERIOD_MS: u64 = 1000;
const SYNC_PERIOD: Duration = Duration::from_millis(SYNC_PERIOD_MS);
/// A sync that takes longer counts as delayed.
const SYNC_DELAY_MS: u64 = 2000;
/// Between two lines in the log about errors of writing.
const ERROR_LINE_MS: u64 = 30_000;
/// Smaller groups (appendfsync always) are not worth waiting for.
const GROUP_MIN: u64 = 4;
/// Longest wait for a group to come together.
const GROUP_WAIT_MAX: Duration = Duration::from_millis(2);
/// A longer one is slept, in naps.
const GROUP_SPIN_MAX: Duration = Duration::from_micros(100);
const GROUP_NAP: Duration = Duration::from_micros(50);

/// When the log is synced (`appendfsync`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AppendFsync {
    /// Before the reply.
    Always,
    /// Once a second.
    #[default]
    EverySec,
    /// When the operating system likes to.
    No,
}

/// What the configuration says of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `appendfsync`
    pub appendfsync: AppendFsync,
    /// `no-appendfsync-on-rewrite`
    pub no_fsync_on_rewrite: bool,
    /// `aof-timestamp-enabled`
    pub timestamps: bool,
}

/// What INFO and the admission of commands want to know.
#[derive(Default)]
pub(super) struct Figures {
    /// Why the last write failed; 0 when it did not.
    pub write_errno: AtomicI32,
    /// The same of syncs: what one has failed to make durable only another one does.
    pub sync_errno: AtomicI32,
    pub delayed_fsync: AtomicU64,
    /// Bytes that are drained and not written.
    pub unwritten_bytes: AtomicU64,
}

impl Figures {
    /// Why commands that write are refused; 0 when they are not.
    pub fn errno(&self) -> i32 {
        match self.write_errno.load(Ordering::Relaxed) {
            0 => self.sync_errno.load(Ordering::Relaxed),
            errno => errno,
        }
    }

    /// Errors of before do not count; whether there were any.
    pub fn forget_errors(&self) -> bool {
        let write = self.write_errno.swap(0, Ordering::Relaxed);
        let sync = self.sync_errno.swap(0, Ordering::Relaxed);
        write != 0 || sync != 0
    }

    /// All that there was is written: an error of before is over.
    fn written(&self) {
        self.unwritten_bytes.store(0, Ordering::Relaxed);
        if self.write_errno.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("AOF write error looks solved. The server can write again.");
        }
    }
}

/// What the log's thread is told, and what it answers.
#[derive(Default)]
pub(super) struct Control {
    pub settings: Settings,
    /// A snapshot or a rewrite uses the disk (`no-appendfsync-on-rewrite`).
    pub is_disk_busy: bool,
    /// Nothing is to be drained until the next switch.
    pub hold: bool,
    pub switches: VecDeque<Switch>,
    /// Records up to this one are in a BASE that is durable: no former file has to have them.
    pub saved_seq: u64,
    /// How many flushes were asked for, of records up to this one, and how many were done; how the
    /// last one ended.
    pub flushes_wanted: u64,
    pub flush_seq: u64,
    pub flushes_done: u64,
    pub flush_result: Option<AofError>,
    /// The thread is to end.
    pub stop: bool,
}

/// An order to go over to another file.
pub(super) struct Switch {
    /// Records up to this one belong to the former file.
    pub seq: u64,
    /// `None`: to none, what comes is thrown away.
    pub to: Option<Incr>,
    /// What the former file has not got yet is not worth writing.
    pub discard: bool,
}

/// What the log's thread shares with others.
#[derive(Default)]
pub(super) struct Shared {
    pub pen: Mutex<Pen>,
    /// Somebody wanted something to be written while another one had the pen, who looks here when
    /// he has put it down.
    pub is_wanted: AtomicBool,
    pub control: Mutex<Control>,
    pub changed: Condvar,
    pub sync: SyncSlot,
    pub figures: Figures,
}

/// What there is to do after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// More.
    Again,
    /// Nothing for so long, whatever arrives.
    Nap(Duration),
    /// Nothing until a record arrives, or so long.
    Sleep(Duration),
    /// Nothing ever.
    Stop,
}

/// What is being written, and where: whoever holds it writes.
pub(super) struct Pen {
    pub merge: Merge,
    settings: Settings,
    is_disk_busy: bool,
    /// Drained, not written.
    out: Vec<u8>,
    file: Option<Open>,
    switch: Option<Switch>,
    last_sync_ms: u64,
    /// Since when writes meet a sync that is running; 0: they do not.
    delayed_since_ms: u64,
    last_error_line_ms: u64,
    /// The second of the last annotation.
    stamped_secs: u64,
    /// Records in the last group, and how long its sync took.
    last_group: u64,
    last_sync_took: Duration,
}

/// Throws everything away until it gets a file.
impl Default for Pen {
    fn default() -> Pen {
        Pen {
            merge: Merge::after(0),
            settings: Settings::default(),
            is_disk_busy: false,
            out: Vec::new(),
            file: None,
            switch: None,
            last_sync_ms: 0,
            delayed_since_ms: 0,
            last_error_line_ms: 0,
            stamped_secs: 0,
            last_group: 0,
            last_sync_took: Duration::ZERO,
        }
    }
}

/// The writing: see the module's text.
pub(super) struct Log<'a> {
    shared: &'a Shared,
    oplog: &'a OpLog,
    pub pen: MutexGuard<'a, Pen>,
}

/// The file that is written to.
struct Open {
    incr: Incr,
    /// Bytes that are written, all of them whole records, and that are synced.
    len: u64,
    synced_len: u64,
    /// Up to where there is reserved room (`group`); 0 for none.
    reserved: u64,
    /// A sync has failed: what it should have written has to be given to the next one again.
    is_suspect: bool,
    /// It ends within a record, the rest of which comes next.
    is_torn: bool,
}

impl<'a> Log<'a> {
    /// Takes the pen.
    pub fn new(shared: &'a Shared, oplog: &'a OpLog) -> Log<'a> {
        let pen = shared.pen.lock();
        Log { shared, oplog, pen }
    }

    /// As [`Log::new`], unless somebody else has it.
    pub fn try_new(shared: &'a Shared, oplog: &'a OpLog) -> Option<Log<'a>> {
        let pen = shared.pen.try_lock()?;
        Some(Log { shared, oplog, pen })
    }

    /// Writes what is there, if that is all there is to do; false if the log's thread has to do it.
    pub fn write_only(&mut self, now_ms: u64) -> bool {
        let control = self.shared.control.lock();
        let has_orders = control.hold || control.stop || !control.switches.is_empty();
        let pen = &mut *self.pen;
        pen.settings = control.settings;
        let is_always = pen.settings.appendfsync == AppendFsync::Always;
        let is_usual = pen.file.is_some() && pen.switch.is_none() && pen.out.is_empty();
        // A write may have to wait for a sync of the same file: not a worker with all its clients.
        let may_wait = self.shared.sync.is_busy();
        if has_orders || is_always || !is_usual || may_wait || self.is_failing() {
            return false;
        }
        // Under the lock, as in `take_orders`.
        self.drain(now_ms);
        drop(control);
        let was_synced = self.is_synced();
        // An error is told by the thread, which tries again. And it has to sync in a second.
        matches!(self.write(now_ms), Ok(true)) && (!was_synced || self.is_synced())
    }

    /// Whether there is nothing that is written and not synced.
    fn is_synced(&self) -> bool {
        let file = self.pen.file.as_ref();
        file.is_none_or(|file| file.len == file.synced_len)
    }

    /// Does what is to be done. An error is one after which the server must not go on.
    pub fn step(&mut self, now_ms: u64) -> Result<Step, AofError> {
        self.gather();
        let before = self.pen.merge.last_seq();
        let orders = self.take_orders(now_ms);
        if self
            .pen
            .switch
            .as_ref()
            .is_some_and(|switch| switch.discard)
        {
            self.pen.out.clear();
        }
        self.take_sync_result();
        let written = match self.pen.file.is_some() {
            true => self.write(now_ms)?,
            false => self.throw_away(),
        };
        let switched = written && self.switch_if_due(now_ms)?;
        if let Some((number, seq)) = orders.flush {
            self.flush(number, seq);
        }
        let synced = self.sync(now_ms)?;
        // A disk that takes nothing keeps nobody from stopping.
        let may_stop = self.is_failing() || (self.pen.switch.is_none() && !orders.has_switches);
        if orders.stop && may_stop {
            return Ok(Step::Stop);
        }
        self.pen.last_group = match self.pen.merge.last_seq() - before {
            0 => self.pen.last_group,
            records => records,
        };
        Ok(match () {
            () if !written || !synced => Step::Nap(RETRY_NAP),
            () if switched => Step::Again,
            () if orders.hold => Step::Nap(HOLD_NAP),
            () if self.pen.switch.is_some() => self.switch_nap(),
            () if self.pen.merge.last_seq() == before || self.pen.file.is_none() => {
                self.idle(now_ms)
            }
            () => Step::Again,
        })
    }

    /// Until the next attempt to go over to another file.
    fn switch_nap(&self) -> Step {
        let last = self.pen.merge.last_seq();
        match self
            .pen
            .switch
            .as_ref()
            .is_some_and(|switch| last < switch.seq)
        {
            true => Step::Again,
            // The former file could not be synced.
            false => Step::Nap(RETRY_NAP),
        }
    }

    /// How long nothing has to be done when nothing arrives.
    fn idle(&self, now_ms: u64) -> Step {
        let Some(file) = &self.pen.file else {
            return Step::Sleep(SLEEP_MAX);
        };
        let is_synced = file.len == file.synced_len;
        // Should a worker not write what it has promised to.
        let most = match self.pen.settings.appendfsync {
            AppendFsync::Always => SLEEP_MAX,
            AppendFsync::EverySec | AppendFsync::No => SYNC_PERIOD,
        };
        Step::Sleep(match self.pen.settings.appendfsync {
            _ if self.shared.sync.is_busy() => SYNC_NAP,
            AppendFsync::EverySec if !is_synced => {
                let next_ms = self.pen.last_sync_ms + SYNC_PERIOD_MS;
                Duration::from_millis(next_ms.saturating_sub(now_ms).max(1))
            }
            _ => most,
        })
    }

    /// Drains, unless a switch is near, and looks what others want.
    fn take_orders(&mut self, now_ms: u64) -> Orders {
        let mut control = self.shared.control.lock();
        self.pen.settings = control.settings;
        self.pen.is_disk_busy = control.is_disk_busy;
        if self.pen.switch.is_none() {
            self.pen.switch = control.switches.pop_front();
        }
        if let Some(switch) = &mut self.pen.switch {
            switch.discard |= switch.seq <= control.saved_seq;
        }
        let hold = control.hold && self.pen.switch.is_none();
        let wanted = control.flushes_wanted;
        let is_wanted = wanted > control.flushes_done;
        let flush = is_wanted.then_some((wanted, control.flush_seq));
        let (stop, has_switches) = (control.stop, !control.switches.is_empty());
        // Under the lock: whoever sets `hold` knows that nothing is being drained.
        if !hold && self.pen.out.len() < UNWRITTEN_BYTES_MAX {
            self.drain(now_ms);
        }
        Orders {
            hold,
            flush,
            stop,
            has_switches,
        }
    }

    fn drain(&mut self, now_ms: u64) {
        let start = self.pen.out.len();
        let is_stamped = self.stamp(now_ms);
        let pen = &mut *self.pen;
        let up_to = pen.switch.as_ref().map(|switch| switch.seq);
        let drained = self.oplog.drain(&mut pen.merge, &mut pen.out, up_to);
        if drained.bytes == 0 {
            pen.out.truncate(start);
        } else if is_stamped {
            pen.stamped_secs = now_ms / 1000;
        }
    }

    /// Writes the time in front of what is drained next, when it is another one.
    fn stamp(&mut self, now_ms: u64) -> bool {
        let secs = now_ms / 1000;
        let is_due =
            self.pen.settings.timestamps && self.pen.file.is_some() && secs > self.pen.stamped_secs;
        if is_due {
            let line = format!("#TS:{secs}\r\n");
            self.pen.out.extend_from_slice(line.as_bytes());
        }
        is_due
    }

    fn throw_away(&mut self) -> bool {
        self.pen.out.clear();
        self.oplog.publish_durable(self.pen.merge.last_seq());
        true
    }

    /// Writes what is drained; whether that is all written now.
    fn write(&mut self, now_ms: u64) -> Result<bool, AofError> {
        self.count_delay(now_ms);
        if !self.prepare_file()? {
            return Ok(false);
        }
        let pen = &mut *self.pen;
        let (Some(file), false) = (&mut pen.file, pen.out.is_empty()) else {
            return Ok(true);
        };
        let events = write_events(self.shared.sync.is_busy(), pen.is_disk_busy);
        let write = || write_all(&*file.incr.file, &pen.out);
        let figures = &self.shared.figures;
        let Err(failed) = self.oplog.spikes.measure(events, write) else {
            file.grow(pen.out.len());
            file.is_torn = false;
            self.oplog.note_merged(emptied(&mut pen.out));
            self.oplog.publish_written(pen.merge.last_seq());
            figures.written();
            return Ok(true);
        };
        let says = now_ms.saturating_sub(pen.last_error_line_ms) > ERROR_LINE_MS;
        if says {
            pen.last_error_line_ms = now_ms;
        }
        let mut errno = failed.error.raw_os_error().unwrap_or(libc::EIO);
        if failed.written == 0 {
            if says {
                let reason = os_text(&failed.error);
                tracing::warn!("Error writing to the AOF file: {reason}");
            }
        } else {
            if says {
                tracing::warn!(
                    "Short write while writing to the AOF file: (nwritten={}, expected={})",
                    failed.written,
                    pen.out.len()
                );
            }
            errno = libc::ENOSPC;
            if let Err(error) = file.incr.file.set_len(file.len) {
                if says {
                    tracing::warn!(
                        "Could not remove short write from the append-only file. The server may \
                         refuse to load the AOF the next time it starts. ftruncate: {}",
                        os_text(&error)
                    );
                }
                // The rest has to follow.
                file.grow(failed.written);
                file.is_torn = true;
                pen.out.drain(..failed.written);
            }
        }
        if pen.settings.appendfsync == AppendFsync::Always {
            return fail(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. \
                 Exiting...",
            );
        }
        figures.write_errno.store(errno, Ordering::Relaxed);
        let unwritten = pen.out.len() as u64;
        figures.unwritten_bytes.store(unwritten, Ordering::Relaxed);
        // Nobody waits for a disk that takes nothing; what comes next is refused.
        self.oplog.publish_written(self.oplog.cut());
        Ok(false)
    }

    /// Before a write; false after an error.
    fn prepare_file(&mut self) -> Result<bool, AofError> {
        let in_groups = self.writes_groups();
        if self.pen.out.is_empty() {
            return Ok(true);
        }
        // Before a group there is nothing of which a power failure leaves a part.
        if in_groups && !self.sync_here()? {
            return Ok(false);
        }
        let pen = &mut *self.pen;
        let Some(file) = &mut pen.file else {
            return Ok(true);
        };
        if !in_groups {
            file.give_room_back();
        } else if let Err(error) = file.prepare_group(&mut pen.out) {
            self.sync_failed(&error)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether what is written now is synced at once, and so is a group.
    fn writes_groups(&self) -> bool {
        let is_torn = |file: &Open| file.is_torn;
        self.pen.settings.appendfsync == AppendFsync::Always
            && !self.skips_syncs()
            && !self.pen.file.as_ref().is_some_and(is_torn)
    }

    /// `no-appendfsync-on-rewrite`, and there is one.
    fn skips_syncs(&self) -> bool {
        self.pen.settings.no_fsync_on_rewrite && self.pen.is_disk_busy
    }

    /// Counts writes that meet a sync which takes too long, as Redis does.
    fn count_delay(&mut self, now_ms: u64) {
        let is_everysec = self.pen.settings.appendfsync == AppendFsync::EverySec;
        if self.pen.out.is_empty() || !is_everysec || !self.shared.sync.is_busy() {
            self.pen.delayed_since_ms = 0;
        } else if self.pen.delayed_since_ms == 0 {
            self.pen.delayed_since_ms = now_ms;
        } else if now_ms.saturating_sub(self.pen.delayed_since_ms) >= SYNC_DELAY_MS {
            self.pen.delayed_since_ms = 0;
            let figures = &self.shared.figures;
            figures.delayed_fsync.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF \
                 buffer without waiting for fsync to complete, this may slow down the server."
            );
        }
    }

    /// Goes over to the next file when the former one has everything; whether it did.
    fn switch_if_due(&mut self, now_ms: u64) -> Result<bool, AofError> {
        let Some(switch) = &self.pen.switch else {
            return Ok(false);
        };
        if self.pen.merge.last_seq() < switch.seq {
            return Ok(false);
        }
        let discard = switch.discard;
        let is_saved = discard && switch.to.is_some();
        if let Some(file) = &mut self.pen.file {
            file.give_room_back();
        }
        // The other thread shall not find its file changed.
        self.shared.sync.wait_idle();
        self.take_sync_result();
        if !discard && !self.sync_here()? {
            self.pen.last_sync_ms = now_ms;
            // As after a write that failed: what follows is not drained, and nobody waits for it.
            self.oplog.publish_written(self.oplog.cut());
            return Ok(false);
        }
        if is_saved {
            // What the former file could not take is in a BASE, and nobody needs that file any more.
            if self.shared.figures.forget_errors() {
                tracing::info!("AOF rewritten, just ignore the last error of the former file.");
            }
            self.shared
                .figures
                .unwritten_bytes
                .store(0, Ordering::Relaxed);
            self.oplog.publish_durable(self.pen.merge.last_seq());
        }
        if let Some(switch) = self.pen.switch.take() {
            self.pen.file = switch.to.map(|incr| Open {
                len: incr.len,
                synced_len: incr.len,
                reserved: 0,
                is_suspect: false,
                is_torn: false,
                incr,
            });
        }
        self.pen.merge.forget_db();
        self.shared.changed.notify_all();
        Ok(true)
    }

    fn is_failing(&self) -> bool {
        self.shared.figures.errno() != 0
    }

    /// Answers those who asked for a flush up to `seq`, when all of it is on the disk, or the disk
    /// takes nothing.
    fn flush(&mut self, number: u64, seq: u64) {
        if let Some(file) = &mut self.pen.file {
            file.give_room_back();
        }
        self.shared.sync.wait_idle();
        self.take_sync_result();
        let synced = match self.pen.out.is_empty() {
            true => self.sync_here(),
            false => Ok(false),
        };
        let errno = self.shared.figures.errno();
        let result = match synced {
            Err(error) => Some(error),
            Ok(_) if errno != 0 => {
                let error = std::io::Error::from_raw_os_error(errno);
                Some(AofError(os_text(&error)))
            }
            // It goes on with the next step.
            Ok(_) if self.pen.merge.last_seq() < seq || !self.pen.out.is_empty() => return,
            Ok(_) => None,
        };
        let mut control = self.shared.control.lock();
        control.flushes_done = number;
        control.flush_result = result;
        drop(control);
        self.shared.changed.notify_all();
    }

    /// Syncs, or has it done, as the policy says; false after an error.
    fn sync(&mut self, now_ms: u64) -> Result<bool, AofError> {
        let Some(file) = &self.pen.file else {
            return Ok(true);
        };
        let skips = self.skips_syncs();
        let is_synced = file.len == file.synced_len;
        match self.pen.settings.appendfsync {
            AppendFsync::Always if skips => {
                // Nobody waits longer than for the write then.
                self.publish();
                Ok(true)
            }
            AppendFsync::Always => self.sync_here(),
            AppendFsync::EverySec if !skips && !is_synced => self.sync_elsewhere(now_ms),
            AppendFsync::EverySec | AppendFsync::No => Ok(true),
        }
    }

    /// Has the other thread sync, once a second; false after an error.
    fn sync_elsewhere(&mut self, now_ms: u64) -> Result<bool, AofError> {
        let is_due = now_ms.saturating_sub(self.pen.last_sync_ms) >= SYNC_PERIOD_MS;
        if !is_due || self.shared.sync.is_busy() {
            return Ok(true);
        }
        self.pen.last_sync_ms = now_ms;
        let seq = self.written_seq();
        let Some(file) = &mut self.pen.file else {
            return Ok(true);
        };
        if let Err(error) = file.mend() {
            self.sync_failed(&error)?;
            return Ok(false);
        }
        self.shared.sync.want(SyncJob {
            file: file.incr.file.clone(),
            len: file.len,
            seq,
            file_seq: file.incr.seq,
        });
        Ok(true)
    }

    /// The last record that is written.
    fn written_seq(&self) -> u64 {
        match self.pen.out.is_empty() {
            true => self.pen.merge.last_seq(),
            // It is written as a whole or not at all.
            false => self.oplog.durable_seq(),
        }
    }

    fn publish(&self) {
        if self.oplog.durable_seq() < self.written_seq() {
            self.oplog.publish_durable(self.written_seq());
        }
    }

    /// Syncs here and now what is not synced; false after an error.
    fn sync_here(&mut self) -> Result<bool, AofError> {
        let is_always = self.pen.settings.appendfsync == AppendFsync::Always;
        let Some(file) = &mut self.pen.file else {
            return Ok(true);
        };
        if file.len != file.synced_len {
            let started = Instant::now();
            let synced = file.mend().and_then(|()| file.incr.file.sync_data());
            let took = started.elapsed();
            if is_always {
                self.oplog.spikes.took_time("aof-fsync-always", took);
            }
            if let Err(error) = synced {
                self.sync_failed(&error)?;
                return Ok(false);
            }
            file.synced_len = file.len;
            self.pen.last_sync_took = took;
            self.sync_succeeded();
        }
        self.publish();
        Ok(true)
    }

    fn sync_succeeded(&self) {
        self.shared.figures.sync_errno.store(0, Ordering::Relaxed);
    }

    fn sync_failed(&mut self, error: &std::io::Error) -> Result<(), AofError> {
        if let Some(file) = &mut self.pen.file {
            file.is_suspect = true;
        }
        if self.pen.settings.appendfsync == AppendFsync::Always {
            return fail(format!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. \
                 Exiting...",
                os_text(error)
            ));
        }
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        if self
            .shared
            .figures
            .sync_errno
            .swap(errno, Ordering::Relaxed)
            == 0
        {
            tracing::warn!("Fail to fsync the AOF file: {}", os_text(error));
        }
        Ok(())
    }

    /// Looks whether the other thread has synced something.
    fn take_sync_result(&mut self) {
        let Some((job, result)) = self.shared.sync.take_done() else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(file) = &mut self.pen.file
                    && file.incr.seq == job.file_seq
                {
                    file.synced_len = file.synced_len.max(job.len);
                }
                self.sync_succeeded();
                self.oplog.publish_durable(job.seq);
            }
            // With `always` by now, the sync that follows finds it out by itself.
            Err(error) => drop(self.sync_failed(&error)),
        }
    }

    /// With `always`: those whose replies have just gone out write again soon. They are waited for, a
    /// part of the time that a sync takes, so that one sync serves all: with a slow disk two groups
    /// that take turns would halve the throughput. With a fast one the wait is short, and workers use
    /// it to go on.
    fn gather(&self) {
        if self.pen.settings.appendfsync != AppendFsync::Always || self.pen.last_group < GROUP_MIN {
            return;
        }
        let first = self.pen.merge.last_seq();
        let arrived = || self.oplog.cut() - first;
        if arrived() == 0 {
            return;
        }
        let expected = self.pen.last_group + arrived();
        let enough = expected - expected / 8;
        let most = GROUP_WAIT_MAX.min(self.pen.last_sync_took / 4);
        let started = Instant::now();
        while arrived() < enough && started.elapsed() < most {
            match most > GROUP_SPIN_MAX {
                true => std::thread::park_timeout(GROUP_NAP),
                false => std::thread::yield_now(),
            }
        }
    }
}

/// Writes what is there in the place of the log's thread, see the module's text.
pub(super) fn write_through(shared: &Shared, oplog: &OpLog, now_ms: u64) {
    shared.is_wanted.store(true, Ordering::SeqCst);
    while shared.is_wanted.load(Ordering::SeqCst) {
        // Whoever has the pen sees what is wanted when he has put it down.
        let Some(mut log) = Log::try_new(shared, oplog) else {
            return;
        };
        shared.is_wanted.store(false, Ordering::SeqCst);
        if !log.write_only(now_ms) {
            oplog.wake();
        }
    }
}

/// What the latency monitor calls a write: what has delayed it may be a sync that was running, or the snapshot or
/// rewrite that uses the disk.
fn write_events(is_syncing: bool, is_disk_busy: bool) -> &'static [&'static str] {
    match (is_syncing, is_disk_busy) {
        (true, _) => &["aof-write-pending-fsync", "aof-write"],
        (false, true) => &["aof-write-active-child", "aof-write"],
        (false, false) => &["aof-write-alone", "aof-write"],
    }
}

/// What others want of a step.
struct Orders {
    hold: bool,
    /// The number of the last flush that is wanted, and of the record that it is to reach.
    flush: Option<(u64, u64)>,
    stop: bool,
    /// There are orders to go over to other files that have not begun.
    has_switches: bool,
}

/// Empties a buffer, and gives back what it has too much; its room.
fn emptied(buffer: &mut Vec<u8>) -> usize {
    buffer.clear();
    buffer.shrink_to(KEEP_BYTES_MAX);
    buffer.capacity()
}

impl Open {
    /// Before a sync: what the last one has failed to write is to be written by this one.
    fn mend(&mut self) -> std::io::Result<()> {
        if self.is_suspect {
            self.incr.file.redirty(self.synced_len)?;
            self.is_suspect = false;
        }
        Ok(())
    }

    /// Before a group is written: its first line, and room for it, which is synced.
    fn prepare_group(&mut self, group: &mut Vec<u8>) -> std::io::Result<()> {
        let file = &*self.incr.file;
        let bytes = group::HEAD_BYTES + group.len();
        match group::reserve(file, self.len, self.reserved, bytes) {
            Ok(reserved) if reserved == self.reserved => {}
            Ok(reserved) => {
                file.sync_data()?;
                self.reserved = reserved;
            }
            // A part may be there, which is no annotation.
            Err(_) => {
                self.reserved = self.reserved.max(self.len + 1);
                self.give_room_back();
            }
        }
        group::fill_up(group, self.len, self.reserved);
        if let Some(head) = group::head(group) {
            group.splice(..0, head);
        }
        Ok(())
    }

    /// Cuts the reserved room off. If that fails it stays, which does no harm.
    fn give_room_back(&mut self) {
        if self.reserved > 0 && self.incr.file.set_len(self.len).is_ok() {
            self.reserved = 0;
        }
    }

    fn grow(&mut self, bytes: usize) {
        self.len += bytes as u64;
        self.incr.size.store(self.len, Ordering::Relaxed);
    }
}
