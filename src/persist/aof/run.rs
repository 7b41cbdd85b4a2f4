//! The log of a server: its state, its threads, and what others ask of it.
//!
//! In the order of use: [`Aof::open`] and [`Aof::load`] at the start; [`Aof::run`] on a thread of its
//! own as long as the server lives; [`Aof::start`] when `appendonly` is on, [`Aof::switch_on`] and
//! [`Aof::switch_off`] when it is set later. A rewrite is [`Aof::begin_rewrite`], then a snapshot at
//! whose cut [`Aof::at_cut`] is called, then [`Aof::finish_rewrite`] or [`Aof::abort_rewrite`]. Who
//! schedules rewrites and writes their BASE is not known here.
//!
//! Until `at_cut` the log goes on as ever: a snapshot waits for all shards, and whoever holds one for long, a script,
//! may have replies that wait for the log. What comes after the cut belongs to the new INCR file.
//!
//! Invariant: `files` is locked before `sizes`, and neither while `control` is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::db::oplog::{OpLog, Promise};
use crate::persist::disk::Disk;
use crate::util::clock::Clock;

use super::AofError;
use super::files::{Files, FirstIncr, Incr, Place};
use super::load::{LoadOptions, Loaded, Target, load};
use super::log::{Log, Pen, Settings, Shared, Step, Switch, write_through};

/// Failures in a row after which automatic rewrites are rarer.
const FAILURES_MAX: u32 = 3;
/// The longest pause between two of them.
const PAUSE_MINUTES_MAX: u64 = 60;

/// Whether commands are logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AofState {
    /// They are not.
    Off,
    /// They are.
    On,
    /// They will be once a rewrite has written what there is.
    WaitRewrite,
}

/// See the module's text.
pub struct Aof {
    shared: Shared,
    files: Mutex<Files>,
    state: AtomicU8,
    sizes: Mutex<Sizes>,
    loaded_bytes: Arc<AtomicU64>,
    limit: Mutex<Limit>,
    on_status: OnceLock<Box<OnStatus>>,
}

/// Hears why the log cannot be written, or that it can again.
pub type OnStatus = dyn Fn(Option<std::io::Error>) + Send + Sync;

#[derive(Default)]
struct Sizes {
    /// BASE and INCR files that are no longer written.
    settled: u64,
    /// INCR files since the last rewrite, the last one being written.
    incr: Vec<(u64, Arc<AtomicU64>)>,
    /// All of it when the last rewrite ended (`aof_base_size`).
    base: u64,
}

/// What keeps rewrites that fail from being tried too often.
#[derive(Default)]
struct Limit {
    failures: u32,
    next_pause_minutes: u64,
    until_secs: u64,
}

/// A rewrite that has begun.
pub struct Rewrite {
    /// Waits for the cut.
    incr: Option<Incr>,
    first_incr: FirstIncr,
    /// The last record before the cut; 0 when the log goes on as it did.
    cut_seq: u64,
}

impl Aof {
    /// Reads what there is on the disk.
    ///
    /// # Errors
    /// When the manifest cannot be read, or is none.
    pub fn open(disk: Arc<dyn Disk>, place: Place, settings: Settings) -> Result<Aof, AofError> {
        let shared = Shared::default();
        shared.control.lock().settings = settings;
        Ok(Aof {
            shared,
            files: Mutex::new(Files::open(disk, place)?),
            state: AtomicU8::new(AofState::Off as u8),
            sizes: Mutex::default(),
            loaded_bytes: Arc::default(),
            limit: Mutex::default(),
            on_status: OnceLock::new(),
        })
    }

    /// The log, which has to be off, is in this place from now on.
    ///
    /// # Errors
    /// As [`Aof::open`]; then it stays where it is.
    pub fn move_to(&self, place: Place) -> Result<(), AofError> {
        let mut files = self.files.lock();
        if files.place != place {
            let disk = files.disk.clone();
            *files = Files::open(disk, place)?;
            *self.sizes.lock() = Sizes::default();
        }
        Ok(())
    }

    /// Whether commands are logged.
    pub fn state(&self) -> AofState {
        match self.state.load(Ordering::SeqCst) {
            1 => AofState::On,
            2 => AofState::WaitRewrite,
            _ => AofState::Off,
        }
    }

    fn set_state(&self, state: AofState) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// Loads the log; first an AOF of before Redis 7, if there is one, is taken over.
    ///
    /// # Errors
    /// After which the server must not start.
    pub fn load(&self, options: LoadOptions, target: &mut dyn Target) -> Result<Loaded, AofError> {
        let mut files = self.files.lock();
        files.upgrade_if_needed()?;
        let loaded = load(&files, options, target, &self.loaded_bytes)?;
        if matches!(loaded, Loaded::Ok | Loaded::Truncated) {
            let (base, incr) = files.sizes()?;
            let mut sizes = self.sizes.lock();
            // DEBUG LOADAOF: what is written to is counted by itself. (With a log that waits for its
            // first rewrite that is none of the files that were loaded.)
            let counted = match self.state() {
                AofState::On => sizes.incr_bytes(),
                AofState::Off | AofState::WaitRewrite => 0,
            };
            sizes.settled = (base + incr).saturating_sub(counted);
            sizes.base = base;
        }
        Ok(loaded)
    }

    /// Bytes that [`Aof::load`] has read so far, snapshots included.
    pub fn loaded_bytes(&self) -> u64 {
        self.loaded_bytes.load(Ordering::Relaxed)
    }

    /// Length of all files that [`Aof::load`] reads; 0 when there is none. Not while it runs.
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.files.lock().sizes();
        sizes.map_or(0, |(base, incr)| base + incr)
    }

    /// Begins to log, at the start of the server, after loading; no command runs yet. Without any
    /// files `make_base` writes a BASE at the path that it is given.
    ///
    /// # Errors
    /// After which the server must not start.
    pub fn start(
        &self,
        oplog: &OpLog,
        is_rdb: bool,
        make_base: &mut dyn FnMut(&Path) -> Result<(), String>,
    ) -> Result<(), AofError> {
        let mut files = self.files.lock();
        files.remove_temporary();
        let is_fresh = files.manifest.is_empty();
        let incr = files.start(is_rdb, make_base)?;
        files.remove_history();
        {
            // Not what was loaded: the room that was reserved behind it is cut off by now. A BASE that
            // was made just now does not count, with Redis neither.
            let settled = match is_fresh {
                true => 0,
                false => {
                    let (base, all_incr) = files.sizes()?;
                    (base + all_incr).saturating_sub(incr.len)
                }
            };
            let mut sizes = self.sizes.lock();
            sizes.settled = settled;
            sizes.incr = vec![(incr.seq, incr.size.clone())];
        }
        self.set_state(AofState::On);
        oplog.set_on(true);
        self.switch(oplog, Some(incr), false);
        Ok(())
    }

    /// Orders the log's thread to go over to another file behind the last record: its number.
    fn switch(&self, oplog: &OpLog, to: Option<Incr>, discard: bool) -> u64 {
        let mut control = self.shared.control.lock();
        control.hold = false;
        let seq = oplog.cut();
        control.switches.push_back(Switch { seq, to, discard });
        drop(control);
        oplog.wake();
        seq
    }

    /// Takes over what the configuration says.
    pub fn configure(&self, oplog: &OpLog, settings: Settings) {
        self.shared.control.lock().settings = settings;
        oplog.set_promise(match settings.appendfsync {
            super::AppendFsync::Always => Promise::Durable,
            super::AppendFsync::EverySec | super::AppendFsync::No => Promise::Written,
        });
        oplog.wake();
    }

    /// Says whether a snapshot or a rewrite uses the disk (`no-appendfsync-on-rewrite`).
    pub fn set_disk_busy(&self, oplog: &OpLog, busy: bool) {
        self.shared.control.lock().is_disk_busy = busy;
        oplog.wake();
    }

    /// Has `hear` told, on the log's thread, when an error comes or goes; to be set before
    /// [`Aof::run`].
    pub fn on_status(&self, hear: Box<OnStatus>) {
        let _ = self.on_status.set(hear);
    }

    /// Writes the log until [`Aof::stop`]. `on_fatal` is called when the server must not go on; it
    /// should not return.
    pub fn run(&self, oplog: &OpLog, clock: &Clock, on_fatal: &dyn Fn(&AofError)) {
        std::thread::scope(|scope| {
            self.shared.sync.reopen();
            let builder = std::thread::Builder::new().name("kivi-aof-sync".into());
            if let Err(error) = builder.spawn_scoped(scope, || self.shared.sync.serve()) {
                on_fatal(&AofError(format!("Can't start a thread: {error}")));
            }
            *self.shared.pen.lock() = Pen::default();
            let mut errno_told = 0;
            loop {
                let mut log = Log::new(&self.shared, oplog);
                self.shared.is_wanted.store(false, Ordering::SeqCst);
                let step = log.step(clock.unix_ms());
                let drained = log.pen.merge.last_seq();
                drop(log);
                let errno = self.shared.figures.errno();
                if errno != std::mem::replace(&mut errno_told, errno)
                    && let Some(hear) = self.on_status.get()
                {
                    hear(self.disk_error());
                }
                match step {
                    // Somebody has come while the pen was taken.
                    Ok(Step::Again | Step::Sleep(_))
                        if self.shared.is_wanted.load(Ordering::SeqCst) => {}
                    Ok(Step::Again) => {}
                    Ok(Step::Nap(nap)) => std::thread::park_timeout(nap),
                    Ok(Step::Sleep(most)) => oplog.park(drained, most),
                    Ok(Step::Stop) => break,
                    Err(error) => {
                        on_fatal(&error);
                        break;
                    }
                }
            }
            // Nobody shall wait for a thread that is gone.
            self.fail_flushes(&AofError("the log is closed".to_owned()));
            self.shared.sync.close();
        });
    }

    /// Writes what was logged so far in the place of the log's thread, if nobody does just now. For
    /// whoever has said that he writes himself ([`OpLog::write_here`]) and has logged something.
    pub fn write_through(&self, oplog: &OpLog, now_ms: u64) {
        write_through(&self.shared, oplog, now_ms);
    }

    fn fail_flushes(&self, error: &AofError) {
        let mut control = self.shared.control.lock();
        control.flushes_done = u64::MAX;
        control.flush_result = Some(error.clone());
        drop(control);
        self.shared.changed.notify_all();
    }

    /// Ends [`Aof::run`]. What is not written then is lost: [`Aof::flush`] first.
    pub fn stop(&self, oplog: &OpLog) {
        self.shared.control.lock().stop = true;
        oplog.wake();
    }

    /// Waits until everything that was logged so far is written and synced. While [`Aof::run`] runs.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn flush(&self, oplog: &OpLog) -> Result<(), AofError> {
        let mut control = self.shared.control.lock();
        control.flushes_wanted += 1;
        control.flush_seq = control.flush_seq.max(oplog.cut());
        let number = control.flushes_wanted;
        oplog.wake();
        while control.flushes_done < number {
            self.shared.changed.wait(&mut control);
        }
        control.flush_result.clone().map_or(Ok(()), Err)
    }

    /// `appendonly` was set to yes: the log begins with a rewrite, which is to be begun now or when
    /// it can be.
    pub fn switch_on(&self) {
        if self.state() == AofState::Off {
            self.set_state(AofState::WaitRewrite);
            if self.shared.figures.forget_errors() {
                tracing::warn!("AOF reopen, just ignore the last error.");
            }
        }
    }

    /// `appendonly` was set to no. Waits until what was logged is on the disk. `end_rewrite` has the
    /// rewrite that is being done end, if one is; one that begins later finds the log off.
    pub fn switch_off(&self, oplog: &OpLog, end_rewrite: impl FnOnce()) {
        let before = self.state.swap(AofState::Off as u8, Ordering::SeqCst);
        end_rewrite();
        if before == AofState::Off as u8 {
            return;
        }
        oplog.set_on(false);
        if let Err(error) = self.flush(oplog) {
            tracing::warn!("Fail to fsync the AOF file: {error}");
        }
        // What could not be written is given up.
        self.switch(oplog, None, true);
        self.shared.figures.forget_errors();
        let mut sizes = self.sizes.lock();
        let incr: u64 = sizes
            .incr
            .drain(..)
            .map(|(_, size)| size.load(Ordering::Relaxed))
            .sum();
        sizes.settled += incr;
    }

    /// Begins a rewrite: what is logged after the cut goes to a new INCR file. Commands that write
    /// go on, and the log does, until [`Aof::at_cut`].
    ///
    /// # Errors
    /// When the new file cannot be made; nothing has changed then.
    pub fn begin_rewrite(&self) -> Result<Rewrite, AofError> {
        let mut files = self.files.lock();
        let (incr, first_incr) = match self.state() {
            AofState::Off => (None, FirstIncr::None),
            AofState::On => {
                let incr = files.next_incr()?;
                let seq = incr.seq;
                (Some(incr), FirstIncr::Seq(seq))
            }
            AofState::WaitRewrite => (Some(files.temp_incr()?), FirstIncr::Temp),
        };
        if let Some(incr) = &incr {
            self.sizes.lock().incr.push((incr.seq, incr.size.clone()));
        }
        Ok(Rewrite {
            incr,
            first_incr,
            cut_seq: 0,
        })
    }

    /// The moment of the snapshot: call it while all shards are held. Takes as long as the log's thread drains what
    /// was appended before: memory is copied.
    pub fn at_cut(&self, oplog: &OpLog, rewrite: &mut Rewrite) {
        if self.is_overtaken(rewrite) {
            return;
        }
        if let Some(incr) = rewrite.incr.take() {
            self.shared.control.lock().hold = true;
            oplog.set_on(true);
            rewrite.cut_seq = self.switch(oplog, Some(incr), false);
        }
    }

    /// Whether the log was switched off since this rewrite has begun: it is of no use then, and to be
    /// cancelled, since the log may not have been divided at its cut.
    pub fn is_overtaken(&self, rewrite: &Rewrite) -> bool {
        rewrite.first_incr != FirstIncr::None && self.state() == AofState::Off
    }

    /// Where the BASE of a rewrite is to be written before [`Aof::finish_rewrite`].
    pub fn temp_base(&self) -> PathBuf {
        let name = format!("temp-rewriteaof-bg-{}.aof", std::process::id());
        self.files.lock().place.dir.join(name)
    }

    /// The file `temp_base`, which has to be durable, becomes the BASE (`is_rdb` tells its format).
    ///
    /// # Errors
    /// When it cannot; then the rewrite has failed, and what there was before counts.
    pub fn finish_rewrite(
        &self,
        oplog: &OpLog,
        rewrite: Rewrite,
        temp_base: &Path,
        is_rdb: bool,
    ) -> Result<(), AofError> {
        let mut files = self.files.lock();
        let begun = oplog.spikes.begin();
        let result = files.finish_rewrite(temp_base, is_rdb, rewrite.first_incr);
        oplog.spikes.end(begun, &["aof-rename"]);
        let base_bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                drop(files);
                self.abort_rewrite(oplog, rewrite);
                return Err(error);
            }
        };
        if rewrite.first_incr != FirstIncr::None || self.state() != AofState::Off {
            let mut sizes = self.sizes.lock();
            match rewrite.first_incr {
                FirstIncr::Seq(first) => sizes.incr.retain(|(seq, _)| *seq >= first),
                FirstIncr::Temp | FirstIncr::None => {
                    let last = sizes.incr.pop();
                    sizes.incr = last.into_iter().collect();
                }
            }
            sizes.settled = base_bytes;
            sizes.base = sizes.current();
        }
        {
            // A former file that takes nothing, and is tried again and again, is given up.
            let mut control = self.shared.control.lock();
            control.saved_seq = control.saved_seq.max(rewrite.cut_seq);
            drop(control);
            oplog.wake();
        }
        files.remove_history();
        *self.limit.lock() = Limit::default();
        if rewrite.first_incr == FirstIncr::Temp {
            // Unless it was switched off meanwhile.
            let (waits, on) = (AofState::WaitRewrite as u8, AofState::On as u8);
            let order = Ordering::SeqCst;
            let _ = self.state.compare_exchange(waits, on, order, order);
        }
        Ok(())
    }

    /// The rewrite has failed, or was cancelled.
    pub fn abort_rewrite(&self, oplog: &OpLog, mut rewrite: Rewrite) {
        {
            let mut limit = self.limit.lock();
            limit.failures = limit.failures.saturating_add(1);
        }
        match rewrite.first_incr {
            FirstIncr::None => {}
            // The new file is there and empty, or in use: it follows the former ones.
            FirstIncr::Seq(_) => {
                if let Some(incr) = rewrite.incr.take()
                    && self.state() != AofState::Off
                {
                    self.switch(oplog, Some(incr), false);
                }
            }
            FirstIncr::Temp => {
                oplog.set_on(false);
                self.switch(oplog, None, true);
                self.sizes.lock().incr.clear();
                self.files.lock().remove_temp_incr();
            }
        }
    }

    /// As [`Aof::abort_rewrite`], of one that somebody has stopped: it does not count as a failure.
    pub fn cancel_rewrite(&self, oplog: &OpLog, rewrite: Rewrite) {
        self.abort_rewrite(oplog, rewrite);
        let mut limit = self.limit.lock();
        limit.failures = limit.failures.saturating_sub(1);
    }

    /// A rewrite could not even begin.
    pub fn note_failure(&self) {
        let mut limit = self.limit.lock();
        limit.failures = limit.failures.saturating_add(1);
    }

    /// Whether rewrites have failed so often that the next one has to wait.
    pub fn is_limited(&self, now_secs: u64) -> bool {
        self.limit.lock().holds(now_secs)
    }

    /// Whether the log has grown enough to be rewritten by itself; by how many percent.
    pub fn auto_rewrite(&self, percentage: u64, min_bytes: u64, now_secs: u64) -> Option<u64> {
        let (current, base) = (self.current_bytes(), self.base_bytes());
        if percentage == 0 || self.state() != AofState::On || current <= min_bytes {
            return None;
        }
        let percent = u128::from(current) * 100 / u128::from(base.max(1));
        let growth = u64::try_from(percent)
            .unwrap_or(u64::MAX)
            .saturating_sub(100);
        let is_due = growth >= percentage && !self.limit.lock().holds(now_secs);
        is_due.then_some(growth)
    }

    /// BGREWRITEAOF: failures before do not count.
    pub fn forgive_failures(&self) {
        self.limit.lock().failures = 0;
    }

    /// Rewrites in a row that have failed (`aof_rewrites_consecutive_failures`).
    pub fn failures(&self) -> u32 {
        self.limit.lock().failures
    }

    /// Why commands that write are to be refused: the error of the last write or sync.
    pub fn disk_error(&self) -> Option<std::io::Error> {
        match self.shared.figures.errno() {
            0 => None,
            errno => Some(std::io::Error::from_raw_os_error(errno)),
        }
    }

    /// Whether the last write succeeded (`aof_last_write_status`).
    #[cfg(test)]
    pub fn is_write_ok(&self) -> bool {
        self.shared.figures.write_errno.load(Ordering::Relaxed) == 0
    }

    /// Length of the log (`aof_current_size`).
    pub fn current_bytes(&self) -> u64 {
        self.sizes.lock().current()
    }

    /// Its length when the last rewrite ended (`aof_base_size`).
    pub fn base_bytes(&self) -> u64 {
        self.sizes.lock().base
    }

    /// What is not written yet (`aof_buffer_length`).
    pub fn buffered_bytes(&self, oplog: &OpLog) -> u64 {
        let unwritten = self.shared.figures.unwritten_bytes.load(Ordering::Relaxed);
        unwritten + oplog.buffered_bytes()
    }

    /// Whether a sync is running (`aof_pending_bio_fsync`).
    pub fn is_sync_pending(&self) -> bool {
        self.shared.sync.is_busy()
    }

    /// Writes that met a sync which took too long (`aof_delayed_fsync`).
    pub fn delayed_fsync(&self) -> u64 {
        self.shared.figures.delayed_fsync.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.shared
            .figures
            .delayed_fsync
            .store(0, Ordering::Relaxed);
        self.forgive_failures();
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&Shared, &Mutex<Files>) {
        (&self.shared, &self.files)
    }
}

impl Sizes {
    fn current(&self) -> u64 {
        self.settled + self.incr_bytes()
    }

    fn incr_bytes(&self) -> u64 {
        let incr = self.incr.iter();
        incr.map(|(_, size)| size.load(Ordering::Relaxed)).sum()
    }
}

impl Limit {
    /// Whether an automatic rewrite has to wait.
    fn holds(&mut self, now_secs: u64) -> bool {
        if self.failures < FAILURES_MAX {
            self.next_pause_minutes = 0;
            self.until_secs = 0;
            return false;
        }
        if self.until_secs != 0 {
            let holds = now_secs < self.until_secs;
            if !holds {
                self.until_secs = 0;
            }
            return holds;
        }
        let minutes = self.next_pause_minutes.saturating_mul(2);
        self.next_pause_minutes = minutes.clamp(1, PAUSE_MINUTES_MAX);
        self.until_secs = now_secs.saturating_add(self.next_pause_minutes * 60);
        tracing::warn!(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in \
             {} minutes",
            self.next_pause_minutes
        );
        true
    }
}
