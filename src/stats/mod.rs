//! Statistics: counters per worker, summed on demand.
//!
//! Each worker owns a [`Worker`]; it locks its [`Local`] once per batch of commands (uncontended,
//! except when INFO reads), so counting costs no shared cache line. What is rare (connections,
//! rejections) are atomics in [`Stats`].
//!
//! To add a counter: a field in [`Local`] and in `Local::add_to`, or an atomic here, and its line
//! in `commands::info`.

pub mod commandlog;
pub mod cycles;
pub mod histogram;
pub mod hot;
pub mod latency;
pub mod recent;
pub mod responses;
pub mod sampler;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};

use crate::ds::footprint::block_bytes;
use crate::sys::process::CpuTimes;
use crate::sys::tsc;

pub use commandlog::CommandLog;
pub use cycles::{Cycles, Turns};
pub use histogram::Histogram;
pub use hot::HotKeys;
pub use latency::Latency;
pub use recent::RecentMax;
pub use responses::Responses;
pub use sampler::{Metric, Sampler};

/// How often per second the figures are sampled and clients are looked after (`hz` of INFO); see
/// `boot::cron`.
pub const CRON_HZ: u32 = 10;
/// Most different error codes that are told apart: a script can invent any number of them.
const ERROR_CODES_MAX: usize = 128;
/// What is counted of codes beyond that.
const ERROR_CODES_OVERFLOW: &str = "ERRORSTATS_OVERFLOW";

/// One command's figures.
#[derive(Clone, Default)]
pub struct CommandStat {
    /// Executions.
    pub calls: u64,
    /// Time of all executions, in ticks of [`tsc`].
    pub ticks: u64,
    /// Refused before execution (arity, authentication, ...).
    pub rejected: u64,
    /// Executions that ended in an error.
    pub failed: u64,
    /// Durations in nanoseconds, when latency-tracking is on.
    pub latency: Option<Box<Histogram>>,
    /// How long clients waited, when somebody may ask for metrics.
    pub responses: Option<Box<Responses>>,
}

/// Figures of one worker.
#[derive(Default)]
pub struct Local {
    /// By number in the command table.
    pub commands: Vec<CommandStat>,
    /// Error replies by code.
    pub errors: BTreeMap<String, u64>,
    /// The same, of what scripts have replied; in [`Stats::sum`] these are with the others.
    script_errors: BTreeMap<String, u64>,
    /// Error replies.
    pub errors_total: u64,
    /// Commands executed.
    pub commands_total: u64,
    /// Bytes read.
    pub net_in_bytes: u64,
    /// Bytes written.
    pub net_out_bytes: u64,
    /// Reads that brought something.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Batches whose keys were prefetched.
    pub prefetch_batches: u64,
    /// Keys prefetched.
    pub prefetch_entries: u64,
}

impl Local {
    /// Counts one execution.
    #[inline]
    pub fn executed(&mut self, command: u16, ticks: u64, failed: bool, track_latency: bool) {
        self.commands_total += 1;
        let stat = self.command(command);
        stat.calls += 1;
        stat.ticks = stat.ticks.saturating_add(ticks);
        stat.failed += failed as u64;
        if track_latency {
            let latency = stat.latency.get_or_insert_default();
            latency.record(tsc::ticks_to_ns(ticks));
        }
    }

    /// Counts executions of one command whose replies were written so long after their requests could
    /// be read.
    #[inline]
    pub fn responded(&mut self, command: u16, ns: u64, times: u64) {
        let responses = &mut self.command(command).responses;
        responses.get_or_insert_default().record(ns, times);
    }

    /// Counts further failures of an execution that is counted with one.
    pub fn failed(&mut self, command: u16, failures: u64) {
        self.command(command).failed += failures;
    }

    /// Counts one refusal.
    pub fn rejected(&mut self, command: u16) {
        self.command(command).rejected += 1;
    }

    /// Counts an error reply by the code that its text begins with.
    pub fn error(&mut self, text: &[u8]) {
        self.errors_total += 1;
        let code = code_of(text);
        match self.errors.get_mut(&*code) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(code.into_owned(), 1)),
        }
    }

    /// Counts an error reply of a script, whose code may be anything.
    pub fn script_error(&mut self, text: &[u8]) {
        self.errors_total += 1;
        let code = code_of(text);
        if let Some(count) = self.errors.get_mut(&*code) {
            *count += 1;
            return;
        }
        let codes = self.errors.len() + self.script_errors.len();
        let code = match self.script_errors.contains_key(&*code) || codes < ERROR_CODES_MAX {
            true => code.into_owned(),
            false => ERROR_CODES_OVERFLOW.to_owned(),
        };
        *self.script_errors.entry(code).or_default() += 1;
    }

    /// Puts the codes of scripts with the others, as many as there may be.
    fn join_script_errors(&mut self) {
        let mut codes = 0;
        for (code, count) in std::mem::take(&mut self.script_errors) {
            codes += usize::from(code != ERROR_CODES_OVERFLOW);
            let code = match codes <= ERROR_CODES_MAX || self.errors.contains_key(&code) {
                true => code,
                false => ERROR_CODES_OVERFLOW.to_owned(),
            };
            *self.errors.entry(code).or_default() += count;
        }
    }

    #[inline]
    fn command(&mut self, command: u16) -> &mut CommandStat {
        let index = command as usize;
        if index >= self.commands.len() {
            self.commands.resize_with(index + 1, CommandStat::default);
        }
        &mut self.commands[index]
    }

    /// Memory of the figures by command, bytes; each histogram takes some kilobytes.
    fn memory_bytes(&self) -> usize {
        let commands = self.commands.capacity() * size_of::<CommandStat>();
        let histograms = self
            .commands
            .iter()
            .filter_map(|stat| stat.latency.as_ref());
        let histograms = histograms
            .map(|histogram| block_bytes(size_of::<Histogram>()) + block_bytes(histogram.bytes()));
        let responses = self.commands.iter().filter(|stat| stat.responses.is_some());
        let responses = responses.count() * block_bytes(size_of::<Responses>());
        block_bytes(commands) + histograms.sum::<usize>() + responses
    }

    /// What takes longest to add: kilobytes for each command that was used.
    fn add_latency_to(&self, sum: &mut Local) {
        for (id, from) in self.commands.iter().enumerate() {
            if let Some(latency) = &from.latency {
                let all = &mut sum.command(id as u16).latency;
                all.get_or_insert_default().add(latency);
            }
        }
    }

    fn add_commands_to(&self, sum: &mut Local) {
        sum.commands.reserve(self.commands.len());
        for (id, from) in self.commands.iter().enumerate() {
            let to = sum.command(id as u16);
            to.calls += from.calls;
            to.ticks = to.ticks.saturating_add(from.ticks);
            to.rejected += from.rejected;
            to.failed += from.failed;
            if let Some(responses) = &from.responses {
                to.responses.get_or_insert_default().add(responses);
            }
        }
    }

    fn add_totals_to(&self, sum: &mut Local) {
        for (code, count) in &self.errors {
            *sum.errors.entry(code.clone()).or_default() += count;
        }
        for (code, count) in &self.script_errors {
            *sum.script_errors.entry(code.clone()).or_default() += count;
        }
        sum.errors_total += self.errors_total;
        sum.commands_total += self.commands_total;
        sum.net_in_bytes += self.net_in_bytes;
        sum.net_out_bytes += self.net_out_bytes;
        sum.reads += self.reads;
        sum.writes += self.writes;
        sum.prefetch_batches += self.prefetch_batches;
        sum.prefetch_entries += self.prefetch_entries;
    }
}

/// The longest word that is an error's code, as in Redis.
const CODE_BYTES_MAX: usize = 30;

/// The word that an error's text begins with; ERR for one without: scripts make up whatever they like.
fn code_of(text: &[u8]) -> Cow<'_, str> {
    let begin = &text[..text.len().min(CODE_BYTES_MAX + 1)];
    match begin.iter().position(|&byte| byte == b' ') {
        Some(end) => String::from_utf8_lossy(&text[..end]),
        None => Cow::Borrowed("ERR"),
    }
}

/// One worker's figures, shared with whoever sums them.
#[derive(Default)]
pub struct Worker {
    local: Mutex<Local>,
    /// What it has counted of hot keys, see [`hot`].
    hot: Mutex<Option<Box<hot::Local>>>,
    /// How often its loop has gone round.
    pub cycles: Cycles,
    /// Its number among the threads that serve clients; nothing for whoever else runs commands.
    pub number: OnceLock<usize>,
}

/// How much of the figures is added up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Totals,
    /// By command, too.
    Commands,
    /// With how long executions took.
    Latency,
}

/// What a thread that serves clients has done.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its number.
    pub number: usize,
    /// Reads that brought something.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl Worker {
    /// The figures, locked.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Local> {
        self.local.lock()
    }
}

/// All figures of the server.
#[derive(Default)]
pub struct Stats {
    workers: Mutex<Vec<Arc<Worker>>>,
    /// The figures of the main thread, which executes no commands.
    pub main: Arc<Worker>,
    /// The processor time of the main thread, when the cron last ran on it.
    pub main_cpu: Mutex<CpuTimes>,
    /// Connections accepted.
    pub connections_received: AtomicU64,
    /// Connections refused (maxclients).
    pub connections_rejected: AtomicU64,
    /// Clients cut off by client-query-buffer-limit.
    pub query_buffer_disconnections: AtomicU64,
    /// Payloads of RESTORE that were examined.
    pub payloads_examined: AtomicU64,
    /// Failed AUTH.
    pub auth_denied: AtomicU64,
    /// Commands that a user may not run.
    pub commands_denied: AtomicU64,
    /// Keys that a user may not touch.
    pub keys_denied: AtomicU64,
    /// Channels that a user may not use.
    pub channels_denied: AtomicU64,
    /// Databases that a user may not use.
    pub databases_denied: AtomicU64,
    /// Certificates that belong to no user who may log in.
    pub certificates_denied: AtomicU64,
    /// Most memory in use at any sample, bytes.
    pub memory_peak_bytes: AtomicU64,
    /// When that was, Unix ms.
    pub memory_peak_at_ms: AtomicU64,
    /// Rates.
    pub sampler: Sampler,
    /// Commands that took long, or were large.
    pub commandlog: CommandLog,
    /// What else took long.
    pub latency: Arc<Latency>,
    /// Which keys cost most, when somebody wants to know.
    pub hot: HotKeys,
    /// Largest buffers of unfinished requests lately, bytes.
    pub recent_input: RecentMax,
    /// Largest replies waiting for a client lately, bytes.
    pub recent_output: RecentMax,
}

impl Stats {
    /// Figures for one more worker.
    pub fn add_worker(&self) -> Arc<Worker> {
        let worker = Arc::new(Worker::default());
        self.workers.lock().push(worker.clone());
        worker
    }

    /// The sum over all workers.
    pub fn sum(&self) -> Local {
        self.sum_of(Depth::Latency)
    }

    /// The same without [`CommandStat::latency`], for whoever asks often: a worker that ends a batch
    /// meanwhile waits for less.
    pub fn sum_counters(&self) -> Local {
        self.sum_of(Depth::Commands)
    }

    /// The same without [`Local::commands`].
    pub fn sum_totals(&self) -> Local {
        self.sum_of(Depth::Totals)
    }

    /// Time of all executions, in ticks of [`tsc`].
    pub fn command_ticks(&self) -> u64 {
        let mut ticks = 0u64;
        for worker in self.workers.lock().iter() {
            let of_commands = worker
                .lock()
                .commands
                .iter()
                .map(|stat| stat.ticks)
                .fold(0, u64::saturating_add);
            ticks = ticks.saturating_add(of_commands);
        }
        ticks
    }

    fn sum_of(&self, depth: Depth) -> Local {
        let mut sum = Local::default();
        for worker in self.workers.lock().iter() {
            let local = worker.lock();
            local.add_totals_to(&mut sum);
            if depth >= Depth::Commands {
                local.add_commands_to(&mut sum);
            }
            if depth >= Depth::Latency {
                local.add_latency_to(&mut sum);
            }
        }
        sum.join_script_errors();
        sum
    }

    /// Memory of the workers' figures, bytes.
    pub fn memory_bytes(&self) -> u64 {
        let workers = self.workers.lock();
        let each = workers.iter().map(|worker| worker.lock().memory_bytes());
        each.sum::<usize>() as u64
    }

    /// Totals that the sampler needs, without the figures by command.
    pub fn totals(&self) -> (u64, u64, u64) {
        let workers = self.workers.lock();
        workers
            .iter()
            .fold((0, 0, 0), |(commands, net_in, net_out), worker| {
                let local = worker.lock();
                let net_in = net_in + local.net_in_bytes;
                (
                    commands + local.commands_total,
                    net_in,
                    net_out + local.net_out_bytes,
                )
            })
    }

    /// The loops of all workers together.
    pub fn turns(&self) -> Turns {
        let mut turns = Turns::default();
        for worker in self.workers.lock().iter() {
            turns.add(worker.cycles.turns());
        }
        turns
    }

    /// What each thread that serves clients has done, by number.
    pub fn served(&self) -> Vec<Served> {
        let workers = self.workers.lock();
        let served = workers.iter().filter_map(|worker| {
            let number = *worker.number.get()?;
            let local = worker.lock();
            Some(Served {
                number,
                reads: local.reads,
                writes: local.writes,
            })
        });
        let mut served: Vec<Served> = served.collect();
        served.sort_by_key(|served| served.number);
        served
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for worker in self.workers.lock().iter() {
            *worker.lock() = Local::default();
            worker.cycles.reset();
        }
        self.main.cycles.reset();
        for counter in [
            &self.connections_received,
            &self.connections_rejected,
            &self.query_buffer_disconnections,
            &self.payloads_examined,
            &self.auth_denied,
            &self.commands_denied,
            &self.keys_denied,
            &self.channels_denied,
            &self.databases_denied,
            &self.certificates_denied,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.sampler.reset();
    }

    /// Notes how much memory is in use, for `used_memory_peak`, which is returned.
    pub fn note_memory(&self, bytes: u64, now_ms: u64) -> u64 {
        let before = self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        if bytes > before {
            self.memory_peak_at_ms.store(now_ms, Ordering::Relaxed);
        }
        before.max(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts make up errors as long as they like.
    #[test]
    fn a_code_is_a_short_word_in_front_of_others() {
        let (longest, longer) = ("A".repeat(30), "A".repeat(31));
        for (text, code) in [
            ("WRONGTYPE Operation", "WRONGTYPE"),
            ("Oneword", "ERR"),
            ("", "ERR"),
            (&format!("{longest} text"), &longest),
            (&format!("{longer} text"), "ERR"),
        ] {
            assert_eq!(code_of(text.as_bytes()), code, "{text}");
        }
    }

    /// Ticks come from the hardware: whatever it says, the server goes on.
    #[test]
    fn absurd_durations_do_no_harm() {
        let mut local = Local::default();
        local.executed(0, u64::MAX, false, true);
        local.executed(0, u64::MAX, false, true);
        let mut sum = Local::default();
        local.add_commands_to(&mut sum);
        local.add_commands_to(&mut sum);
        assert_eq!(
            (sum.commands[0].calls, sum.commands[0].ticks),
            (4, u64::MAX)
        );
    }

    #[test]
    fn totals_are_told_without_the_commands() {
        let stats = Stats::default();
        for ticks in [3, 4] {
            let worker = stats.add_worker();
            worker.lock().executed(2, ticks, false, true);
            worker.lock().error(b"ERR wrong");
        }
        let (totals, counters, all) = (stats.sum_totals(), stats.sum_counters(), stats.sum());
        assert_eq!((totals.commands_total, totals.errors["ERR"]), (2, 2));
        assert!(totals.commands.is_empty());
        assert_eq!((counters.commands[2].calls, stats.command_ticks()), (2, 7));
        assert!(counters.commands[2].latency.is_none() && all.commands[2].latency.is_some());
    }

    /// As in Valkey: 128 codes, then an entry for all others; but codes of the server's own are always told.
    #[test]
    fn scripts_cannot_invent_any_number_of_codes() {
        let stats = Stats::default();
        let worker = stats.add_worker();
        for number in 0..200 {
            let text = format!("MYERR{number} x");
            worker.lock().script_error(text.as_bytes());
        }
        worker.lock().error(b"ERR wrong");
        worker.lock().script_error(b"ERR as well");
        worker.lock().script_error(b"MYERR5 again");
        let sum = stats.sum();
        assert_eq!(sum.errors.len(), 130);
        assert_eq!(sum.errors["ERRORSTATS_OVERFLOW"], 72);
        assert_eq!((sum.errors["ERR"], sum.errors["MYERR5"]), (2, 2));
        assert_eq!(sum.errors_total, 203);
        // Another worker has met others.
        let other = stats.add_worker();
        for number in 200..328 {
            let text = format!("MYERR{number} x");
            other.lock().script_error(text.as_bytes());
        }
        let sum = stats.sum();
        assert!(sum.errors.len() <= 130);
        assert_eq!(sum.errors.values().sum::<u64>(), sum.errors_total);
    }
}
