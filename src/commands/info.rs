//! INFO: the server's figures, by section, in Redis's names, order and form.
//!
//! Every figure is true. A field whose feature Kivi does not have is left out, unless it counts how
//! often that happened and monitoring looks for it: then it is 0, which is true as well.
//!
//! To add a field: a line in its section's function. A section: a function, and its row in
//! [`SECTIONS`].

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use crate::client::pause::{PauseBy, PauseMode};
use crate::config::{Config, Supervised};
use crate::db::sizes::SizesReport;
use crate::db::usage::lru_clock;
use crate::db::{Access, Census};
use crate::persist::rdb::format::crc64;
use crate::server::{KIVI_VERSION, REDIS_VERSION, Server};
use crate::spec::{AclCategories, Flags, Group};
use crate::stats::{self, CRON_HZ, Metric};
use crate::sys::process::{self, CpuOf};
use crate::sys::tsc;
use crate::util::num::human_bytes;

use super::{CmdResult, Command, CommandTable, Ctx, Next, command};
use figure::Figure;
use loops::Secs;

mod figure;
mod keysizes;
mod loops;
mod memory;
mod persistence;
mod scripts;
mod tls;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command(
    "info",
    -1,
    Flags::LOADING.and(Flags::STALE).and(Flags::ALL_SHARDS),
    info,
)
.acl(AclCategories::DANGEROUS)
.tips(&[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
])
.docs(
    Group::Server,
    "1.0.0",
    "O(1), for commandstats and keyspace O(N) with their lines",
    "Tells the state and the figures of the server, by section.",
)
.syntax("section?*")];

/// What was built, if whoever built it has said so.
const COMMIT: &str = match option_env!("KIVI_GIT_SHA1") {
    Some(commit) => commit,
    None => "00000000",
};
const DIRTY: &str = match option_env!("KIVI_GIT_DIRTY") {
    Some(dirty) => dirty,
    None => "0",
};
/// Room for the usual sections.
const TEXT_BYTES: usize = 8 << 10;
/// Characters that would break INFO's form, wherever a client may have chosen a name.
const UNSAFE: [char; 4] = ['#', ':', '\n', '\r'];

struct Section {
    /// As INFO's arguments name it.
    name: &'static str,
    /// As its heading shows it.
    title: &'static str,
    /// For whom it is shown who does not name it.
    shown: Shown,
    write: fn(&mut Report<'_, '_>),
}

/// Words that ask for several sections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// None: it has to be named.
    Named,
    /// `everything`
    Everything,
    /// `all` as well
    All,
    /// `default` and no word at all as well
    Default,
}

const fn section(
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&mut Report<'_, '_>),
) -> Section {
    let shown = match default {
        true => Shown::Default,
        false => Shown::All,
    };
    Section {
        name,
        title,
        shown,
        write,
    }
}

const SECTIONS: &[Section] = &[
    section("server", "Server", true, server),
    section("tls", "TLS", false, tls::write),
    section("clients", "Clients", true, clients),
    section("memory", "Memory", true, memory::write),
    section("persistence", "Persistence", true, persistence::write),
    THREADS,
    section("stats", "Stats", true, stats),
    section("replication", "Replication", true, replication),
    section("cpu", "CPU", true, cpu),
    section("modules", "Modules", true, |_| {}),
    section("commandstats", "Commandstats", false, commandstats),
    section("errorstats", "Errorstats", true, errorstats),
    section("latencystats", "Latencystats", false, latencystats),
    section("cluster", "Cluster", true, |report| {
        report.line("cluster_enabled", 0)
    }),
    section("cluster_info", "Cluster Info", false, |_| {}),
    section(
        "scriptingengines",
        "Scripting Engines",
        false,
        scripts::engines,
    ),
    section("keyspace", "Keyspace", true, keyspace),
    KEYSIZES,
    BIGKEYS,
    DEBUG,
];
/// Redis 8's.
const THREADS: Section = Section {
    name: "threads",
    title: "Threads",
    shown: Shown::Everything,
    write: loops::threads,
};
const KEYSIZES: Section = Section {
    name: "keysizes",
    title: "Keysizes",
    shown: Shown::Everything,
    write: keysizes::write,
};
const BIGKEYS: Section = Section {
    name: "bigkeys",
    title: "Bigkeys",
    shown: Shown::Named,
    write: keysizes::write_largest,
};
const DEBUG: Section = Section {
    name: "debug",
    title: "Debug",
    shown: Shown::Named,
    write: loops::debug,
};

fn info(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut wanted = [false; SECTIONS.len()];
    if ctx.args.is_empty() {
        want(&mut wanted, b"default");
    }
    while let Some(name) = ctx.args.option() {
        want(&mut wanted, name);
    }
    // For a section alone it would show in what that says of memory.
    let text_bytes = match wanted.iter().filter(|wanted| **wanted).count() {
        ..=1 => 0,
        _ => TEXT_BYTES,
    };
    let mut report = Report {
        text: String::with_capacity(text_bytes),
        server: ctx.server,
        config: ctx.config,
        table: ctx.table,
        db: &mut ctx.db,
        census: OnceCell::new(),
        sum: OnceCell::new(),
        crowd: OnceCell::new(),
        sizes: None,
    };
    let by_size = [KEYSIZES.name, BIGKEYS.name];
    let needs_sizes = SECTIONS
        .iter()
        .zip(wanted)
        .any(|(section, wanted)| wanted && by_size.contains(&section.name));
    if needs_sizes && !keysizes::count(&mut report, ctx.may_block) {
        ctx.db.give_way();
        return Ok(Next::Done);
    }
    for (section, _) in SECTIONS.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        if !report.text.is_empty() {
            report.text.push_str("\r\n");
        }
        report.text.push_str("# ");
        report.text.push_str(section.title);
        report.text.push_str("\r\n");
        (section.write)(&mut report);
    }
    let text = report.text;
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Next::Done)
}

/// Adds the sections that an argument names; none for an unknown one.
fn want(wanted: &mut [bool; SECTIONS.len()], name: &[u8]) {
    let words = [
        ("everything", Shown::Everything),
        ("all", Shown::All),
        ("default", Shown::Default),
    ];
    let mut words = words.iter();
    let from = words.find(|(word, _)| name.eq_ignore_ascii_case(word.as_bytes()));
    for (section, wanted) in SECTIONS.iter().zip(wanted) {
        let named = name.eq_ignore_ascii_case(section.name.as_bytes());
        *wanted |= named || from.is_some_and(|(_, from)| section.shown >= *from);
    }
}

/// The text so far, and where figures come from; what several sections need is looked up once.
struct Report<'r, 'k> {
    text: String,
    server: &'r Arc<Server>,
    config: &'r Config,
    table: &'r CommandTable,
    db: &'r mut Access<'k>,
    census: OnceCell<Census>,
    sum: OnceCell<Rc<stats::Local>>,
    crowd: OnceCell<Crowd>,
    sizes: Option<SizesReport>,
}

/// Figures about all clients.
#[derive(Default)]
struct Crowd {
    connected: usize,
    blocked: usize,
    with_deadline: usize,
    watching: usize,
}

impl Report<'_, '_> {
    /// `name:value`.
    fn line(&mut self, name: &str, value: impl Figure) {
        self.text.push_str(name);
        self.field(value);
    }

    /// Several names, each with the value 0.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.line(name, 0));
    }

    /// `name:bytes` and `name_human:1.44M`.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.line(name, bytes);
        self.human(name, bytes);
    }

    /// `name_human:1.44M`.
    fn human(&mut self, name: &str, bytes: u64) {
        self.text.push_str(name);
        self.text.push_str("_human");
        self.field(human_bytes(bytes));
    }

    /// `prefix_name:value`, the name in a form that cannot break the line.
    fn named(&mut self, prefix: &str, name: &str, value: impl Figure) {
        self.text.push_str(prefix);
        self.text.push_str(&name.replace(UNSAFE, "_"));
        self.field(value);
    }

    fn field(&mut self, value: impl Figure) {
        self.text.push(':');
        value.write(&mut self.text);
        self.text.push_str("\r\n");
    }

    fn census(&mut self) -> &Census {
        if self.census.get().is_none() {
            let census = self.db.census(true);
            let _ = self.census.set(census);
        }
        self.census.get_or_init(Census::default)
    }

    /// Without the figures by command.
    fn sum(&self) -> Rc<stats::Local> {
        self.sum
            .get_or_init(|| Rc::new(self.server.stats.sum_totals()))
            .clone()
    }

    fn crowd(&self) -> &Crowd {
        self.crowd.get_or_init(|| {
            let mut crowd = Crowd::default();
            self.server.clients.for_each(|client| {
                crowd.connected += 1;
                let waiter = client.waiter();
                let is_blocked = client.paused.load(Ordering::Relaxed) || waiter.is_some();
                crowd.blocked += is_blocked as usize;
                let deadline = waiter.and_then(|waiter| waiter.waiting.deadline_ms);
                crowd.with_deadline += deadline.is_some() as usize;
                let transaction = client.transaction.get();
                crowd.watching += transaction.is_some_and(|seen| seen.watched() > 0) as usize;
            });
            crowd
        })
    }
}

fn server(report: &mut Report<'_, '_>) {
    let (server, config) = (report.server, report.config);
    let now_us = server.clock.unix_us();
    let uptime_secs = (now_us / 1000).saturating_sub(server.started_at_ms) / 1000;
    report.line("redis_version", REDIS_VERSION);
    report.line("server_name", "kivi");
    report.line("kivi_version", KIVI_VERSION);
    build(report);
    if !config.extended_redis_compatibility {
        report.line("server_mode", "standalone");
    }
    report.line("redis_mode", "standalone");
    report.line("os", process::os_name());
    report.line("arch_bits", usize::BITS);
    report.line(
        "monotonic_clock",
        if tsc::uses_tsc() {
            "X86 TSC"
        } else {
            "POSIX clock_gettime"
        },
    );
    report.line("multiplexing_api", "epoll");
    // As Valkey says it that another compiler has built.
    report.line("gcc_version", "0.0.0");
    report.line("process_id", process::pid());
    report.line("process_supervised", supervised(config));
    report.line("run_id", &server.run_id);
    report.line("tcp_port", config.port);
    report.line("server_time_usec", now_us);
    report.line("uptime_in_seconds", uptime_secs);
    report.line("uptime_in_days", uptime_secs / 86_400);
    report.line("hz", CRON_HZ);
    report.line("configured_hz", config.hz);
    report.line("clients_hz", CRON_HZ);
    report.line("lru_clock", lru_clock(now_us / 1000));
    report.line("executable", process::executable_path().display());
    let file = server.with_config_store(|store| store.file().map(|file| file.to_owned()));
    report.line("config_file", file.unwrap_or_default().display());
    report.line("io_threads_active", (config.io_threads > 1) as u8);
    report.line("availability_zone", &config.availability_zone);
    listeners(report);
}

/// The commit that was built, if whoever built it has named one, and a number that stands for it.
fn build(report: &mut Report<'_, '_>) {
    static ID: LazyLock<String> = LazyLock::new(|| {
        let profile = if cfg!(debug_assertions) { "debug" } else { "" };
        let id = [KIVI_VERSION, COMMIT, DIRTY, profile].concat();
        format!("{:x}", crc64(0, id.as_bytes()))
    });
    report.line("redis_git_sha1", COMMIT);
    report.line("redis_git_dirty", DIRTY);
    report.line("redis_build_id", ID.as_str());
}

fn supervised(config: &Config) -> &'static str {
    let has = |name| std::env::var_os(name).is_some();
    match config.supervised {
        Supervised::Auto | Supervised::Upstart if has("UPSTART_JOB") => "upstart",
        Supervised::Auto | Supervised::Systemd if has("NOTIFY_SOCKET") => "systemd",
        _ => "no",
    }
}

/// The kinds of listeners have fixed numbers.
fn listeners(report: &mut Report<'_, '_>) {
    let config = report.config;
    listener(report, 0, "tcp", config.port);
    if let Some(path) = &config.unixsocket {
        let line = format!("name=unix,bind={}", path.display());
        report.line("listener1", line);
    }
    listener(report, 2, "tls", config.tls_port);
}

fn listener(report: &mut Report<'_, '_>, number: u8, kind: &str, port: u16) {
    let binds = &report.config.bind;
    if port == 0 || binds.is_empty() {
        return;
    }
    let mut line = format!("name={kind}");
    for bind in binds {
        let dash = if bind.optional { "-" } else { "" };
        let _ = write!(line, ",bind={dash}{}", bind.address);
    }
    let _ = write!(line, ",port={port}");
    report.line(&format!("listener{number}"), line);
}

/// How much is subscribed to.
fn pubsub_stats(report: &mut Report<'_, '_>) {
    let pubsub = &report.server.pubsub;
    report.line("pubsub_channels", pubsub.channel_count(false));
    report.line("pubsub_patterns", pubsub.pattern_count());
    report.line("pubsubshard_channels", pubsub.channel_count(true));
}

fn clients(report: &mut Report<'_, '_>) {
    let server = report.server;
    let now_ms = server.clock.unix_ms();
    report.line("connected_clients", report.crowd().connected);
    report.line("cluster_connections", 0);
    report.line("maxclients", report.config.maxclients);
    report.line(
        "client_recent_max_input_buffer",
        server.stats.recent_input.get(now_ms),
    );
    report.line(
        "client_recent_max_output_buffer",
        server.stats.recent_output.get(now_ms),
    );
    report.line("blocked_clients", report.crowd().blocked);
    report.line("tracking_clients", server.tracking.client_count());
    report.line("pubsub_clients", server.pubsub.client_count());
    report.line("watching_clients", report.crowd().watching);
    report.line("clients_in_timeout_table", report.crowd().with_deadline);
    let watched_keys = report.census().watched_keys;
    report.line("total_watched_keys", watched_keys);
    let blocking_keys = report.census().blocking_keys;
    report.line("total_blocking_keys", blocking_keys);
    let on_nokey = report.census().blocking_keys_on_nokey;
    report.line("total_blocking_keys_on_nokey", on_nokey);
    let pause = server.pause.in_force(now_ms);
    let reason = match pause.map(|pause| pause.by) {
        None => "none",
        Some(PauseBy::Client) => "client_pause",
        Some(PauseBy::Shutdown) => "shutdown_in_progress",
    };
    let actions = match pause.map(|pause| pause.mode) {
        None | Some(PauseMode::None) => "none",
        Some(PauseMode::Write) => "write",
        Some(PauseMode::All) => "all",
    };
    report.line("paused_reason", reason);
    report.line("paused_actions", actions);
    let left_ms = pause.map_or(0, |pause| pause.until_ms.saturating_sub(now_ms));
    report.line("paused_timeout_milliseconds", left_ms);
}

fn stats(report: &mut Report<'_, '_>) {
    let stats = &report.server.stats;
    let sum = report.sum();
    let kbps = |metric| format!("{:.2}", stats.sampler.rate(metric) as f64 / 1024.0);
    report.line(
        "total_connections_received",
        stats.connections_received.load(Ordering::Relaxed),
    );
    report.line("total_commands_processed", sum.commands_total);
    report.line(
        "instantaneous_ops_per_sec",
        stats.sampler.rate(Metric::Commands),
    );
    report.line("total_net_input_bytes", sum.net_in_bytes);
    report.line("total_net_output_bytes", sum.net_out_bytes);
    report.zeros(&[
        "total_net_repl_input_bytes",
        "total_net_repl_output_bytes",
        "total_net_cluster_slot_import_bytes",
        "total_net_cluster_slot_export_bytes",
    ]);
    report.line("instantaneous_input_kbps", kbps(Metric::NetIn));
    report.line("instantaneous_output_kbps", kbps(Metric::NetOut));
    report.line("instantaneous_input_repl_kbps", "0.00");
    report.line("instantaneous_output_repl_kbps", "0.00");
    report.line(
        "rejected_connections",
        stats.connections_rejected.load(Ordering::Relaxed),
    );
    report.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    keyspace_stats(report);
    pubsub_stats(report);
    report.zeros(&["latest_fork_usec", "total_forks", "migrate_cached_sockets"]);
    report.zeros(&["slave_expires_tracked_keys"]);
    let defrag = report.server.keyspace.defrag.stats();
    report.line("active_defrag_hits", defrag.hits);
    report.line("active_defrag_misses", defrag.misses);
    report.line("active_defrag_key_hits", defrag.key_hits);
    report.line("active_defrag_key_misses", defrag.key_misses);
    report.line("total_active_defrag_time", defrag.total_ms);
    report.line("current_active_defrag_time", defrag.current_ms);
    tracking_stats(report);
    io_stats(report);
    loops::stats(report);
    denied_stats(report);
}

/// The lines of the section stats that are about what ACL has denied.
fn denied_stats(report: &mut Report<'_, '_>) {
    let stats = &report.server.stats;
    for (name, counter) in [
        ("acl_access_denied_auth", &stats.auth_denied),
        ("acl_access_denied_cmd", &stats.commands_denied),
        ("acl_access_denied_key", &stats.keys_denied),
        ("acl_access_denied_channel", &stats.channels_denied),
        ("acl_access_denied_tls_cert", &stats.certificates_denied),
        ("acl_access_denied_db", &stats.databases_denied),
    ] {
        report.line(name, counter.load(Ordering::Relaxed));
    }
}

/// The lines of the section stats that are about reading, writing and answering.
fn io_stats(report: &mut Report<'_, '_>) {
    let (sum, server) = (report.sum(), report.server);
    report.line("unexpected_error_replies", 0);
    report.line("total_error_replies", sum.errors_total);
    report.line(
        "dump_payload_sanitizations",
        server.stats.payloads_examined.load(Ordering::Relaxed),
    );
    report.line("total_reads_processed", sum.reads);
    report.line("total_writes_processed", sum.writes);
    // Whoever reads and writes is an I/O thread.
    report.line("io_threaded_reads_processed", sum.reads);
    report.line("io_threaded_writes_processed", sum.writes);
    // They free what they own, and the main thread accepts.
    report.zeros(&["io_threaded_freed_objects", "io_threaded_accept_processed"]);
    let polls = server.stats.turns().count;
    report.line("io_threaded_poll_processed", polls);
    report.line("io_threaded_total_prefetch_batches", sum.prefetch_batches);
    report.line("io_threaded_total_prefetch_entries", sum.prefetch_entries);
    for (name, counter) in [
        (
            "client_query_buffer_limit_disconnections",
            &server.stats.query_buffer_disconnections,
        ),
        (
            "client_output_buffer_limit_disconnections",
            &server.clients.output_disconnections,
        ),
    ] {
        report.line(name, counter.load(Ordering::Relaxed));
    }
    // Replies lie in a buffer of the worker's, whose size is the same for all clients.
    report.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
}

/// What is tracked for client-side caching.
fn tracking_stats(report: &mut Report<'_, '_>) {
    let tracked = &report.server.keyspace.tracked;
    let (keys, items) = (&tracked.keys, &tracked.items);
    report.line("tracking_total_keys", keys.load(Ordering::Relaxed));
    report.line("tracking_total_items", items.load(Ordering::Relaxed));
    let prefixes = report.server.tracking.prefix_count();
    report.line("tracking_total_prefixes", prefixes);
}

/// The lines of the section stats that are about keys.
fn keyspace_stats(report: &mut Report<'_, '_>) {
    let census = report.census();
    let (counters, stale_percent) = (census.stats, census.stale_percent());
    let stale_fields_percent = census.stale_fields_percent();
    let cycle_ms = report.server.keyspace.expire_clock.cycle_us() / 1000;
    // Redis's name of them.
    report.line("expired_subkeys", counters.expired_fields);
    report.line("expired_keys", counters.expired);
    report.line("expired_fields", counters.expired_fields);
    report.line("expired_stale_perc", format_args!("{stale_percent:.2}"));
    report.line(
        "expired_keys_with_volatile_items_stale_perc",
        format_args!("{stale_fields_percent:.2}"),
    );
    report.line("expired_time_cap_reached_count", 0);
    report.line("expire_cycle_cpu_milliseconds", cycle_ms);
    let evicted = &report.server.keyspace.eviction.taking.evicted_keys;
    report.line("evicted_keys", evicted.load(Ordering::Relaxed));
    let evicted = &report.server.clients.memory.evicted;
    report.line("evicted_clients", evicted.load(Ordering::Relaxed));
    let scripts = report.server.scripts.cache.figures();
    report.line("evicted_scripts", scripts.evicted);
    let (server, pressure) = (report.server, &report.server.keyspace.eviction.pressure);
    let (total_us, current_us) = pressure.exceeded_us(server.clock.unix_us());
    report.line("total_eviction_exceeded_time", total_us / 1000);
    report.line("current_eviction_exceeded_time", current_us / 1000);
    report.line("keyspace_hits", counters.hits);
    report.line("keyspace_misses", counters.misses);
}

fn replication(report: &mut Report<'_, '_>) {
    let backlog = report
        .server
        .with_config_store(|store| store.get(&[b"repl-backlog-size"]));
    report.line("role", "master");
    report.line("connected_slaves", 0);
    report.line("replicas_waiting_psync", 0);
    report.line("master_failover_state", "no-failover");
    report.line("master_replid", &report.server.replication_id);
    report.line("master_replid2", "0000000000000000000000000000000000000000");
    report.line("master_repl_offset", 0);
    report.line("second_repl_offset", -1);
    report.line("repl_backlog_active", 0);
    if let Some((_, bytes)) = backlog.first() {
        report.line("repl_backlog_size", &*String::from_utf8_lossy(bytes));
    }
    report.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(report: &mut Report<'_, '_>) {
    for (of, [system, user]) in [
        (CpuOf::Process, ["used_cpu_sys", "used_cpu_user"]),
        (
            CpuOf::Children,
            ["used_cpu_sys_children", "used_cpu_user_children"],
        ),
    ] {
        let times = process::cpu_times(of);
        report.line(system, Secs(times.system));
        report.line(user, Secs(times.user));
    }
    loops::main_thread(report);
}

fn commandstats(report: &mut Report<'_, '_>) {
    let sum = report.server.stats.sum_counters();
    for (name, stat) in report.table.full_names().iter().zip(&sum.commands) {
        if stat.calls == 0 && stat.rejected == 0 && stat.failed == 0 {
            continue;
        }
        let usec = tsc::ticks_to_us(stat.ticks);
        let value = format_args!(
            "calls={},usec={usec},usec_per_call={:.2},rejected_calls={},failed_calls={}",
            stat.calls,
            usec as f64 / stat.calls.max(1) as f64,
            stat.rejected,
            stat.failed
        );
        report.named("cmdstat_", name, value);
    }
}

fn errorstats(report: &mut Report<'_, '_>) {
    for (code, count) in &report.sum().errors {
        report.named("errorstat_", code, format_args!("count={count}"));
    }
}

fn latencystats(report: &mut Report<'_, '_>) {
    if !report.config.latency_tracking {
        return;
    }
    let sum = report.server.stats.sum();
    for (name, stat) in report.table.full_names().iter().zip(&sum.commands) {
        let Some(latency) = &stat.latency else {
            continue;
        };
        let mut value = String::new();
        for percentile in &report.config.latency_tracking_info_percentiles {
            let comma = if value.is_empty() { "" } else { "," };
            let us = latency.percentile(*percentile) as f64 / 1000.0;
            let _ = write!(value, "{comma}p{percentile}={us:.3}");
        }
        report.named("latency_percentiles_usec_", name, value);
    }
}

fn keyspace(report: &mut Report<'_, '_>) {
    let databases = report.census().databases.clone();
    for (index, db) in databases.iter().enumerate().filter(|(_, db)| db.keys > 0) {
        let (keys, expires, avg_ttl) = (db.keys, db.expires, db.avg_ttl_ms());
        let with_fields = db.keys_with_fields;
        let value = format_args!(
            "keys={keys},expires={expires},avg_ttl={avg_ttl},\
             keys_with_volatile_items={with_fields}"
        );
        report.line(&format!("db{index}"), value);
    }
}

#[cfg(test)]
mod tests;
