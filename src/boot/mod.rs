//! Start, life and end of the process: the only place that knows all the others.
//!
//! Order of the start: configuration, daemon and title (before any thread), log, limits, sockets, server, workers,
//! background threads; then the dataset is loaded while connections are accepted already; ready. Order of the end: what
//! is to be saved is saved (`server::saving`), no new connections, clients told to close, workers joined, files removed.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::oneshot;

use crate::client::Signal;
use crate::commands::{CommandTable, load_users_at_start};
use crate::config::{self, Config, ConfigStore, Sources, Supervised};
use crate::exec::load::{self, NotLoaded};
use crate::exec::memory::{Evictor, Slice};
use crate::http;
use crate::net::balance::Balance;
use crate::net::listener::{self, Acceptor, Bound};
use crate::net::worker;
use crate::persist::state::Marks;
use crate::server::{Lifecycle, Server, rewriting, saving};
use crate::stats::cycles;
use crate::sys::{alloc, process, title, tsc};
use crate::util::clock::Clock;

mod apply;
mod compat;
mod crash;
mod cron;
mod elsewhere;
mod hangup;
mod log;
mod oom;
mod places;
mod portal;
mod syslog;
mod tls;
mod tools;

pub use tools::{check_aof, check_compat, check_config, check_rdb, ping};

/// File descriptors that are not clients, at least: listeners, logs, epoll, the reserve.
const RESERVED_FDS_MIN: u64 = 32;
/// What the process opens whatever the configuration says, with some to spare.
const PROCESS_FDS: u64 = 20;
/// What a worker's runtime opens.
const WORKER_FDS: u64 = 4;
/// Time between two runs of the cron.
const CRON_TICK: Duration = Duration::from_millis(100);
/// Between two slices of eviction in the background, each a fraction of it.
const EVICTION_REST: Duration = Duration::from_millis(1);
/// A lower `maxmemory` is warned of.
const MAXMEMORY_LITTLE_BYTES: u64 = 1 << 20;
/// How long running connections may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// How long clients wait to be accepted before they are told that the dataset is being loaded.
const LOAD_UNSEEN_MAX: Duration = Duration::from_millis(100);

/// Runs a server until it is told to stop.
pub fn run(sources: &Sources) -> anyhow::Result<()> {
    tsc::init();
    let (mut store, warnings) = config::load(sources)?;
    let config = store.config();
    let table = CommandTable::new(&config.rename_command).map_err(anyhow::Error::msg)?;
    std::env::set_current_dir(&config.dir)
        .with_context(|| format!("Can't chdir to '{}'", config.dir.display()))?;
    let supervision = supervision(&config);
    if config.daemonize && supervision == Supervision::None {
        process::daemonize().context("Can't daemonize")?;
    }
    if config.set_proc_title {
        let _ = title::set_process_title(&process_title(&config, store.file()));
    }
    process::ignore_nuisance_signals();
    let log = log::start(&config)?;
    greet(&store);
    for warning in &warnings {
        tracing::warn!("{}", warning.0);
    }
    fit_maxclients(&mut store)?;
    let config = store.config();
    places::take(&config);
    oom::warn_of_order(&config);
    // The log has the reason; Valkey starts all the same.
    let _ = oom::apply(&config);
    listener::warn_of_short_backlog(&config);
    let tls = tls::at_start(&config)?;
    // Logged, since a daemon has no terminal any more; the error ends the process.
    let bound = match listener::bind(&config) {
        Ok(bound) if bound.is_empty() => bail!("Configured to not listen anywhere, exiting."),
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!("{error}");
            return Err(error.into());
        }
    };
    let _unix_socket = OwnFile(config.unixsocket.clone());
    let metrics_bound = http::bind(&config).inspect_err(|error| tracing::error!("{error}"))?;
    alloc::start(!config.disable_thp);
    alloc::set_background_thread(config.jemalloc_bg_thread);
    let mut server = Server::new(store, Clock::real());
    server.tls = tls;
    let server = Arc::new(server);
    if let Err(error) = load_users_at_start(&server, &table) {
        tracing::error!("{error}");
        bail!(error);
    }
    own_data_directory(&server)?;
    start_audit(&server)?;
    // Another server's, if it uses our directory, stays.
    let pid_file = OwnFile::pid_file(&config);
    let table = Arc::new(table);
    crash::install(&server, &table, pid_file.0.clone());
    let bound = (bound, metrics_bound);
    let served = serve(&server, table, bound, log, supervision);
    drop(pid_file);
    server.audit.stop();
    served?;
    tracing::info!("Kivi is now ready to exit, bye bye...");
    Ok(())
}

/// Everything between the first accepted connection and the last closed one.
fn serve(
    server: &Arc<Server>,
    table: Arc<CommandTable>,
    (bound, metrics_bound): (Vec<Bound>, Vec<TcpListener>),
    log: log::LogHandle,
    supervision: Supervision,
) -> anyhow::Result<()> {
    let config = server.config();
    let (crew, workers) = worker::start(config.io_threads, server, &table)?;
    let runtime = main_loop(server)?;
    let (rebinds, rebind_inbox) = elsewhere::way();
    let (portal_changes, portal_inbox) = elsewhere::way();
    server.on_config_change(apply::apply_config(log, rebinds, portal_changes));
    // Nobody is served before the dataset is there, but for what the admission rules allow.
    server.persist.mark(Marks::LOADING, true);
    let upkeep = runtime.block_on(async {
        let balance = Arc::new(Balance::new(server.clone(), crew.clone()));
        let acceptor = Acceptor::new(server.clone(), crew, balance.clone());
        server
            .memory_startup_bytes
            .store(alloc::allocated_bytes(), Ordering::Relaxed);
        tokio::spawn(async move { balance.run().await });
        tokio::spawn(apply::rebind(acceptor.clone(), rebind_inbox));
        let portal = http::Portal::new(server.clone(), table.clone());
        portal.listen(metrics_bound)?;
        tokio::spawn(portal::follow(portal.clone(), portal_inbox));
        tokio::spawn(run_cron(server.clone()));
        tokio::spawn(evict(server.clone()));
        tokio::spawn(tls::auto_reload(server.clone()));
        tokio::spawn(hangup::on_hangup(server.clone()));
        // Before anyone is told that we are ready: from then on a signal ends the server in order.
        tokio::spawn(stop_on_signal(server.clone(), Signals::new()));
        server.enter(Lifecycle::Loading);
        let loaded = load_and_listen(server, &table, &acceptor, bound).await?;
        let mut upkeep = Vec::new();
        if loaded.is_ok() && server.lifecycle() == Lifecycle::Loading {
            upkeep = start_upkeep(server)?;
            server.enter(Lifecycle::Running);
            tracing::info!("Ready to accept connections");
            warn_of_little_memory(&server.config());
            supervision.tell("STATUS=Ready to accept connections\nREADY=1");
        }
        match loaded {
            Err(NotLoaded::Failed | NotLoaded::NoFile) => server.enter(Lifecycle::Stopping),
            Err(NotLoaded::Stopped) | Ok(()) => {}
        }
        server.reached(Lifecycle::Stopping).await;
        supervision.tell("STOPPING=1");
        acceptor.stop();
        portal.stop().await;
        match loaded {
            Err(NotLoaded::Failed) => bail!("the dataset could not be loaded, see the log"),
            _ => anyhow::Ok(upkeep),
        }
    })?;
    close_clients(server);
    drop(runtime);
    join(workers);
    for thread in upkeep {
        thread.thread().unpark();
        let _ = thread.join();
    }
    rewriting::close(server);
    Ok(())
}

/// Loads the dataset, and listens: at once when that takes long, else behind it.
async fn load_and_listen(
    server: &Arc<Server>,
    table: &Arc<CommandTable>,
    acceptor: &Arc<Acceptor>,
    bound: Vec<Bound>,
) -> anyhow::Result<Result<(), NotLoaded>> {
    let mut loading = pin!(load(server, table));
    // Most loads are done at once: their clients wait for them and never hear of it.
    let mut at_once = tokio::time::timeout(LOAD_UNSEEN_MAX, &mut loading).await;
    while at_once.is_err() && !server.persist.loading.has_begun() {
        at_once = tokio::time::timeout(LOAD_UNSEEN_MAX, &mut loading).await;
    }
    acceptor.listen(bound)?;
    match at_once {
        Ok(loaded) => Ok(loaded),
        Err(_) => Ok(loading.await),
    }
}

/// The loop of this thread, whose cycles are counted.
fn main_loop(server: &Server) -> io::Result<tokio::runtime::Runtime> {
    cycles::feed(server.stats.main.clone());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| cycles::end(tsc::ticks()))
        .on_thread_unpark(|| cycles::begin(tsc::ticks()))
        .build()
}

fn close_clients(server: &Server) {
    tracing::info!("Closing {} connections", server.clients.len());
    for client in server.clients.all() {
        client.raise(Signal::Kill);
    }
}

/// Keeps other servers off the data directory, if this one is going to write there by itself.
fn own_data_directory(server: &Server) -> anyhow::Result<()> {
    let config = server.config();
    if config.save.is_empty() && !config.appendonly {
        return Ok(());
    }
    server.persist.own_dir(&config.dir).map_err(|error| {
        tracing::error!("{error}");
        error.into()
    })
}

/// Begins the audit log, if there is to be one: before anybody is served.
fn start_audit(server: &Server) -> anyhow::Result<()> {
    let Some(path) = &server.config().audit_log_file else {
        return Ok(());
    };
    server.audit.start(path).map_err(|error| {
        let text = format!("Can't open the audit log {}: {error}", path.display());
        tracing::error!("{text}");
        anyhow::anyhow!(text)
    })
}

/// Loads the dataset on a thread of its own.
async fn load(server: &Arc<Server>, table: &Arc<CommandTable>) -> Result<(), NotLoaded> {
    let (server, table) = (server.clone(), table.clone());
    let (outcome, loaded) = oneshot::channel();
    let work = move || {
        let _ = outcome.send(load::at_start(&server, &table));
    };
    let spawned = std::thread::Builder::new()
        .name("kivi-load".into())
        .spawn(work);
    match spawned {
        Ok(_) => loaded.await.unwrap_or(Err(NotLoaded::Failed)),
        Err(error) => {
            tracing::error!("Can't start a thread: {error}");
            Err(NotLoaded::Failed)
        }
    }
}

/// Joins the workers, but not for ever: a peer that takes no replies must not keep the server alive.
fn join(workers: Vec<JoinHandle<()>>) {
    let deadline = Instant::now() + SHUTDOWN_MAX;
    for worker in workers {
        while !worker.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if worker.is_finished() {
            let _ = worker.join();
        } else {
            tracing::warn!("A worker did not finish in time; its connections are cut off.");
        }
    }
}

/// Starts what looks after the dataset besides its clients: expiry, and moving it together in memory.
fn start_upkeep(server: &Arc<Server>) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let builder = |name: &str| std::thread::Builder::new().name(name.into());
    let expiring = server.clone();
    let expire = move || {
        let stop = || expiring.lifecycle() >= Lifecycle::Stopping;
        expiring.keyspace.expire_forever(&expiring.clock, stop);
    };
    let moving = server.clone();
    let defrag = move || {
        let stop = || moving.lifecycle() >= Lifecycle::Stopping;
        moving.keyspace.defrag_forever(stop);
    };
    Ok(vec![
        builder("kivi-expire").spawn(expire)?,
        builder("kivi-defrag").spawn(defrag)?,
    ])
}

async fn run_cron(server: Arc<Server>) {
    loop {
        tokio::time::sleep(CRON_TICK).await;
        server.stats.main.cycles.cron(|| {
            cron::tick(&server);
            rewriting::tick(&server);
            saving::tick(&server);
        });
    }
}

/// Makes room when memory is above its limit and commands alone have no time for it, or do not come.
async fn evict(server: Arc<Server>) {
    let evictor = Evictor::default();
    loop {
        server.keyspace.eviction.pressure.woken().await;
        loop {
            match evictor.slice(&server) {
                Slice::Done => break,
                // Those who are served meanwhile want the processor, too.
                Slice::More => tokio::time::sleep(EVICTION_REST).await,
                Slice::Barred => server.keyspace.gate.opened().await,
            }
        }
    }
}

/// The signals that ask for an end; caught as soon as this exists.
struct Signals {
    term: unix::Signal,
    int: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
        })
    }
}

async fn stop_on_signal(server: Arc<Server>, signals: io::Result<Signals>) {
    let Ok(mut signals) = signals else {
        return tracing::warn!("Signals cannot be handled: SIGTERM will end the process at once");
    };
    loop {
        let is_term = tokio::select! {
            _ = signals.term.recv() => true,
            _ = signals.int.recv() => false,
        };
        let config = server.config();
        let (name, flags) = match is_term {
            true => ("SIGTERM", config.shutdown_on_sigterm),
            false => ("SIGINT", config.shutdown_on_sigint),
        };
        if !is_term && server.persist.book().is_shutting_down() {
            tracing::warn!("You insist... exiting now.");
            saving::remove_temporary_files(&server);
            std::process::exit(1);
        }
        match server.persist.marks().has(Marks::LOADING) {
            true => tracing::warn!("Received shutdown signal during loading, scheduling shutdown."),
            false => tracing::warn!("Received {name} scheduling shutdown..."),
        }
        let server = server.clone();
        let work = move || saving::shutdown(&server, flags);
        let builder = std::thread::Builder::new().name("kivi-shutdown".into());
        if let Err(error) = builder.spawn(work) {
            tracing::warn!("Can't start a thread: {error}");
        }
    }
}

/// A limit that hardly anything fits into is likely to be meant otherwise.
fn warn_of_little_memory(config: &Config) {
    let limit_bytes = config.maxmemory_bytes;
    if (1..MAXMEMORY_LITTLE_BYTES).contains(&limit_bytes) {
        tracing::warn!(
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {limit_bytes} bytes). \
             Are you sure this is what you really want?"
        );
    }
}

/// Whether addresses are bound.
fn is_serving(server: &Server) -> bool {
    matches!(server.lifecycle(), Lifecycle::Loading | Lifecycle::Running)
}

/// File descriptors that are kept from clients.
fn reserved_fds(config: &Config) -> u64 {
    let listeners = config.bind.len() as u64;
    let monitoring = match config.metrics_port {
        0 => 0,
        _ => http::FDS_MAX + http::LISTENER_FDS * config.metrics_bind.len() as u64,
    };
    (PROCESS_FDS + listeners + WORKER_FDS * config.io_threads as u64).max(RESERVED_FDS_MIN)
        + monitoring
}

/// Makes room for `maxclients` file descriptors, or lowers it to what there is room for.
fn fit_maxclients(store: &mut ConfigStore) -> anyhow::Result<()> {
    let maxclients = u64::from(store.config().maxclients);
    let reserved = reserved_fds(&store.config());
    let want = maxclients + reserved;
    let got = process::raise_nofile_limit(want);
    if got >= want {
        return Ok(());
    }
    let fits = got.saturating_sub(reserved);
    if fits == 0 {
        let text = format!(
            "Your current 'ulimit -n' of {got} is not enough for the server to start. Please increase your open file \
             limit to at least {want}. Exiting."
        );
        // Logged, since a daemon has no terminal any more.
        tracing::error!("{text}");
        bail!(text);
    }
    tracing::warn!(
        "You requested maxclients of {maxclients} requiring at least {want} max file descriptors. Current maximum \
         open files is {got}. maxclients has been reduced to {fits} to compensate for low ulimit. If you need higher \
         maxclients increase 'ulimit -n'."
    );
    let fits = fits.to_string();
    store
        .set(&[(b"maxclients", fits.as_bytes())], true)
        .map_err(anyhow::Error::msg)?;
    Ok(())
}

fn greet(store: &ConfigStore) {
    let config = store.config();
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(
        "Kivi is starting: version={version}, bits=64, pid={}",
        process::pid()
    );
    match store.file() {
        Some(path) => tracing::info!("Configuration loaded from {}", path.display()),
        None => tracing::info!("No config file: running with the built-in defaults"),
    }
    if config.always_show_logo || (config.logfile.is_none() && std::io::stdout().is_terminal()) {
        tracing::info!("   |/ .      .");
        tracing::info!(
            "   |\\ | \\  / |   {version}, port {}, {} threads",
            config.port,
            config.io_threads
        );
    }
}

/// What `proc-title-template` makes of the configuration and the file it came from.
fn process_title(config: &Config, file: Option<&Path>) -> String {
    let listen = match (&config.unixsocket, config.bind.first()) {
        (Some(path), _) if config.port == 0 => format!("unixsocket:{}", path.display()),
        (_, Some(first)) => format!("{}:{}", first.address, config.port),
        (_, None) => format!("*:{}", config.port),
    };
    let name = std::env::args()
        .next()
        .unwrap_or_else(|| "kivi-server".to_owned());
    let unixsocket = config.unixsocket.clone().unwrap_or_default();
    config
        .proc_title_template
        .replace("{title}", &name)
        .replace("{listen-addr}", &listen)
        .replace("{server-mode}", "")
        .replace("{port}", &config.port.to_string())
        .replace("{tls-port}", &config.tls_port.to_string())
        .replace("{unixsocket}", &unixsocket.to_string_lossy())
        .replace(
            "{config-file}",
            &file.unwrap_or(Path::new("")).to_string_lossy(),
        )
        .trim_end()
        .to_owned()
}

/// The init system above us, as far as it wants to hear from us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supervision {
    None,
    Systemd,
    Upstart,
}

fn supervision(config: &Config) -> Supervision {
    let notify = std::env::var_os("NOTIFY_SOCKET").is_some();
    let upstart = std::env::var_os("UPSTART_JOB").is_some();
    match config.supervised {
        Supervised::Systemd => Supervision::Systemd,
        Supervised::Upstart => Supervision::Upstart,
        Supervised::Auto if upstart => Supervision::Upstart,
        Supervised::Auto if notify => Supervision::Systemd,
        Supervised::Auto | Supervised::No => Supervision::None,
    }
}

impl Supervision {
    fn tell(self, state: &str) {
        match self {
            Supervision::None => {}
            Supervision::Systemd => match process::sd_notify(state) {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("systemd supervision requested, but NOTIFY_SOCKET not found!")
                }
                Err(error) => tracing::warn!("systemd cannot be told of our state: {error}"),
            },
            Supervision::Upstart if state.contains("READY=1") => process::stop_self(),
            Supervision::Upstart => {}
        }
    }
}

/// A file of ours, if it is there: our unix socket, the one with our process id. It goes with us.
struct OwnFile(Option<PathBuf>);

impl OwnFile {
    /// The file with our process id.
    fn pid_file(config: &Config) -> OwnFile {
        let path = match (&config.pidfile, config.daemonize) {
            (Some(path), _) => path.clone(),
            (None, true) => PathBuf::from("/var/run/kivi.pid"),
            (None, false) => return OwnFile(None),
        };
        match fs::write(&path, format!("{}\n", process::pid())) {
            Ok(()) => OwnFile(Some(path)),
            Err(error) => {
                tracing::warn!("Failed to write PID file {}: {error}", path.display());
                OwnFile(None)
            }
        }
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
