//! The server: owner of the shared subsystems, and the stage of its life. Nothing else.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::acl::Acl;
use crate::client::Registry;
use crate::client::inbox::OutputClass;
use crate::client::pause::Pause;
use crate::config::{Config, ConfigStore, Field};
use crate::db::{EventClass, Keyspace, defrag};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::persist;
use crate::persist::disk::Disk;
#[cfg(not(test))]
use crate::persist::disk::RealDisk;
use crate::pubsub::PubSub;
use crate::script::Scripts;
use crate::stats::{Stats, commandlog};
use crate::tls::Tls;
use crate::tracking::Tracking;
use crate::util::clock::Clock;
use crate::util::rng;
use crate::util::sampled::Sampled;
use crate::util::seldom::Seldom;

pub mod attempts;
pub mod audit;
pub mod functions;
pub mod memory;
pub mod monitor;
mod observe;
pub mod rewriting;
pub mod saving;
pub mod users;

use attempts::Attempts;
use audit::Audit;
use memory::MemorySample;
use monitor::Monitors;
use observe::{EventChannels, Teller};

/// The version of Kivi.
pub const KIVI_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of Redis whose commands and replies clients may expect.
pub const REDIS_VERSION: &str = "7.2.4";

/// Applies the changed fields of the configuration (before, after), or refuses for one of them with a reason
/// and leaves all as it was.
pub type ApplyConfig =
    dyn Fn(&Arc<Server>, &[Field], &Config, &Config) -> Result<(), (Field, String)> + Send + Sync;

/// Stages of the server's life, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Lifecycle {
    /// Not accepting yet.
    Starting = 0,
    /// Accepting, but the dataset is not there yet.
    Loading = 1,
    /// Serving.
    Running = 2,
    /// Asked to stop: running commands finish, nothing new begins.
    Stopping = 3,
}

/// See the module's text.
pub struct Server {
    /// The dataset.
    pub keyspace: Keyspace,
    /// Users, and what they may do.
    pub acl: Arc<Acl>,
    /// Wrong passwords.
    pub attempts: Attempts,
    /// Connected clients.
    pub clients: Arc<Registry>,
    /// Channels.
    pub pubsub: Arc<PubSub>,
    /// Client-side caching.
    pub tracking: Arc<Tracking>,
    /// What TLS is spoken with.
    pub tls: Tls,
    event_channels: Arc<EventChannels>,
    /// Who has done what.
    pub audit: Audit,
    /// Those who are shown every command.
    pub monitors: Monitors,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Figures.
    pub stats: Stats,
    /// What is written to disk, and what was.
    pub persist: persist::State,
    /// Scripts and functions.
    pub scripts: Scripts,
    /// Time.
    pub clock: Clock,
    /// 40 hexadecimal digits, new with every start.
    pub run_id: String,
    /// 40 hexadecimal digits that name this dataset's history to replicas.
    pub replication_id: String,
    /// When the server started, Unix ms.
    pub started_at_ms: u64,
    /// Memory in use when the server had started, bytes.
    pub memory_startup_bytes: AtomicU64,
    /// What takes long to find out of memory.
    pub memory_sample: Sampled<MemorySample>,
    /// Lines of the log about HTTP.
    pub http_log: Seldom,
    config_store: Mutex<ConfigStore>,
    /// Held by a CONFIG SET, which may wait: whoever reads directives does not.
    config_changes: Mutex<()>,
    config: RwLock<Arc<Config>>,
    config_epoch: AtomicU64,
    apply_config: OnceLock<Box<ApplyConfig>>,
    lifecycle: AtomicU8,
    lifecycle_changed: Notify,
}

/// Time between two lines of the log about HTTP, milliseconds: whoever sends it might do so for ever.
const HTTP_LOG_MS: u64 = 60_000;

/// The real one; in tests one in memory, so that none of them writes files by chance.
#[cfg(not(test))]
fn disk(_: &Config) -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

#[cfg(test)]
fn disk(config: &Config) -> Arc<dyn Disk> {
    let dir = config.dir.to_str().unwrap_or_default();
    Arc::new(crate::persist::disk::fake::FakeDisk::new(dir))
}

/// The hash function of the keyspace, which decides about the order of SCAN.
fn key_hash(config: &Config) -> KeyHash {
    match config.hash_seed.as_bytes() {
        [] => KeyHash::process(HashFunction::Fast),
        seed => KeyHash::with_seed(HashFunction::Fast, KeyHash::seed_of(seed)),
    }
}

fn defrag_settings(config: &Config) -> defrag::Settings {
    defrag::Settings {
        is_on: config.activedefrag,
        ignored_bytes: config.active_defrag_ignore_bytes,
        lower_percent: config.active_defrag_threshold_lower,
        upper_percent: config.active_defrag_threshold_upper,
        cycle_min_percent: config.active_defrag_cycle_min,
        cycle_max_percent: config.active_defrag_cycle_max,
        cycle_us: config.active_defrag_cycle_us,
        elements_max: config.active_defrag_max_scan_fields,
    }
}

fn commandlog_settings(config: &Config) -> [(commandlog::Kind, commandlog::Settings); 3] {
    let settings = |from, len_max| commandlog::Settings { from, len_max };
    [
        (
            commandlog::Kind::Slow,
            settings(
                config.commandlog_slower_than_us,
                config.commandlog_slow_max_len,
            ),
        ),
        (
            commandlog::Kind::LargeRequest,
            settings(
                config.commandlog_request_larger_than_bytes,
                config.commandlog_large_request_max_len,
            ),
        ),
        (
            commandlog::Kind::LargeReply,
            settings(
                config.commandlog_reply_larger_than_bytes,
                config.commandlog_large_reply_max_len,
            ),
        ),
    ]
}

impl Server {
    /// A server with an empty dataset.
    pub fn new(store: ConfigStore, clock: Clock) -> Server {
        let disk = disk(&store.config());
        Server::on_disk(store, clock, disk)
    }

    /// A server whose files are on this disk.
    pub fn on_disk(store: ConfigStore, clock: Clock, disk: Arc<dyn Disk>) -> Server {
        let config = store.config();
        let shards = Keyspace::shards_for(config.io_threads);
        let clients = Arc::new(Registry::default());
        let pubsub = Arc::new(PubSub::new(clients.clone()));
        let tracking = Arc::new(Tracking::new(clients.clone()));
        let event_channels = Arc::new(EventChannels::default());
        let server = Server {
            keyspace: Keyspace::new(shards, config.databases, key_hash(&config)),
            acl: Arc::default(),
            attempts: Attempts::default(),
            audit: Audit::default(),
            monitors: Monitors::new(clients.clone()),
            clients,
            pubsub: pubsub.clone(),
            tracking: tracking.clone(),
            tls: Tls::default(),
            event_channels: event_channels.clone(),
            pause: Pause::default(),
            stats: Stats::default(),
            persist: persist::State::new(disk, cfg!(not(test)), clock.unix_ms()),
            scripts: Scripts::default(),
            run_id: rng::hex_id(40),
            replication_id: rng::hex_id(40),
            started_at_ms: clock.unix_ms(),
            memory_startup_bytes: AtomicU64::new(0),
            clock,
            memory_sample: Sampled::default(),
            http_log: Seldom::new(HTTP_LOG_MS),
            config_store: Mutex::new(store),
            config_changes: Mutex::new(()),
            config: RwLock::new(config.clone()),
            config_epoch: AtomicU64::new(0),
            apply_config: OnceLock::new(),
            lifecycle: AtomicU8::new(Lifecycle::Starting as u8),
            lifecycle_changed: Notify::new(),
        };
        let teller = Teller {
            pubsub,
            tracking,
            channels: event_channels,
        };
        let _ = server.keyspace.observer.set(Box::new(teller));
        server.watch_latency();
        server.acl.set_default_password(&config.requirepass);
        server.follow(&server.config_store.lock());
        server
    }

    /// Has the latency monitor hear of whatever takes long, wherever that is.
    fn watch_latency(&self) {
        let (latency, clock) = (self.stats.latency.clone(), self.clock.clone());
        let note = move |event, ms| latency.note(event, ms, clock.unix_ms());
        self.keyspace.spikes.listen(Box::new(note));
    }

    /// Copies into subsystems what they need of the configuration.
    fn follow(&self, store: &ConfigStore) {
        let config = store.config();
        let limits = &config.client_output_buffer_limit;
        for (class, limit) in [
            (OutputClass::Normal, &limits.normal),
            (OutputClass::Replica, &limits.replica),
            (OutputClass::PubSub, &limits.pubsub),
        ] {
            self.clients.output_limits.set(class, limit.hard_bytes);
        }
        let share = config.maxmemory_clients;
        self.clients
            .set_memory_limit(share.bytes_of(config.maxmemory_bytes));
        let policy = config.maxmemory_policy;
        self.keyspace.usage.set(
            policy.measure(),
            config.maxmemory_bytes > 0 && policy.goes_by_use(),
            config.lfu_log_factor,
            config.lfu_decay_minutes,
        );
        self.keyspace
            .eviction
            .set(config.maxmemory_bytes, policy, config.maxmemory_samples);
        let pressure = &self.keyspace.eviction.pressure;
        pressure.set_tenacity(config.maxmemory_eviction_tenacity);
        if config.maxmemory_bytes > 0 {
            // It may be lower than before, and nobody be there who writes.
            pressure.wake();
        }
        self.keyspace.defrag.set(defrag_settings(&config));
        self.audit.set_categories(config.audit_log_categories);
        self.keyspace
            .spikes
            .set_threshold_ms(config.latency_monitor_threshold_ms);
        for (kind, settings) in commandlog_settings(&config) {
            self.stats.commandlog.set(kind, settings);
        }
        self.keyspace.lazyfree.set(
            config.lazyfree_lazy_eviction,
            config.lazyfree_lazy_expire,
            config.lazyfree_lazy_server_del,
        );
        self.keyspace.expire_clock.set_importing(config.import_mode);
        let log_len_max = usize::try_from(config.acllog_max_len).unwrap_or(usize::MAX);
        self.acl.log.set_len_max(log_len_max);
        let notify = &config.notify_keyspace_events;
        self.event_channels.set(notify.keyspace, notify.keyevent);
        self.keyspace
            .interest
            .set_events(match notify.keyspace || notify.keyevent {
                true => notify.classes,
                false => EventClass::default(),
            });
    }

    /// Memory in use that does not count against `maxmemory`: what waits to be written to the log, and
    /// what is kept for a snapshot. Making room by deleting keys would only add to it.
    pub fn not_counted_bytes(&self) -> u64 {
        let keyspace = &self.keyspace;
        let kept_bytes = keyspace.snapshot.kept_bytes();
        match keyspace.oplog.is_on() {
            true => kept_bytes + keyspace.oplog.memory_bytes(),
            false => kept_bytes,
        }
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    /// Grows with every change of the configuration: whoever keeps a copy compares this one load.
    #[inline]
    pub fn config_epoch(&self) -> u64 {
        self.config_epoch.load(Ordering::Acquire)
    }

    /// Says how changed fields are put into force; set once, by whoever starts the server.
    pub fn on_config_change(&self, apply: Box<ApplyConfig>) {
        let _ = self.apply_config.set(apply);
    }

    /// CONFIG SET: all pairs or none. What keeps strangers out is in force before anything is opened, and
    /// for as long as it is open. The error is the whole reply. Who holds shards (`may_wait` is
    /// false) is refused while another one is at work, since that may wait for these shards.
    pub fn set_config(
        self: &Arc<Self>,
        pairs: &[(&[u8], &[u8])],
        local: bool,
        may_wait: bool,
    ) -> Result<(), String> {
        let _turn = match may_wait {
            true => self.config_changes.lock(),
            false => self
                .config_changes
                .try_lock()
                .ok_or("ERR CONFIG SET failed - another one is in progress")?,
        };
        let mut store = self.config_store.lock().clone();
        store.set_with(pairs, local, &mut |fields, before, after| {
            let undo = self.protect(before, after);
            let applied = self
                .apply_config
                .get()
                .map_or(Ok(()), |apply| apply(self, fields, before, after));
            applied.inspect_err(|_| undo())
        })?;
        self.follow(&store);
        if store.config().requirepass != self.config().requirepass {
            self.acl.set_default_password(&store.config().requirepass);
        }
        *self.config_store.lock() = store.clone();
        self.publish(store.config());
        Ok(())
    }

    /// Protects as `before` and `after` do together, until the change is made or what is returned undoes it.
    fn protect(&self, before: &Config, after: &Config) -> impl FnOnce() + use<'_> {
        let former = self.config();
        // That there is no password any more can wait.
        let password = match after.requirepass.is_empty() {
            true => &before.requirepass,
            false => &after.requirepass,
        };
        let is_new = *password != before.requirepass;
        let user = is_new.then(|| self.acl.set_default_password(password));
        let meanwhile = Config {
            protected_mode: before.protected_mode || after.protected_mode,
            console_enabled: before.console_enabled && after.console_enabled,
            requirepass: password.clone(),
            // Of these neither value is the safer one: whoever comes by a new way finds the new one.
            proxy_protocol_trusted: after.proxy_protocol_trusted.clone(),
            tls_auth_clients_user: after.tls_auth_clients_user,
            ..before.clone()
        };
        if meanwhile != *former {
            self.publish(Arc::new(meanwhile));
        }
        move || {
            self.publish(former);
            if let Some(user) = user {
                self.acl.undo_default_password(user);
            }
        }
    }

    /// Makes this the configuration that everybody sees.
    fn publish(&self, config: Arc<Config>) {
        *self.config.write() = config;
        self.config_epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Runs `work` with the configuration while nobody changes it. May wait for who does.
    pub fn with_settled_config<R>(&self, work: impl FnOnce(&Config) -> R) -> R {
        let _turn = self.config_changes.lock();
        work(&self.config())
    }

    /// Runs `read` with the store of all directives (CONFIG GET, CONFIG REWRITE).
    pub fn with_config_store<R>(&self, read: impl FnOnce(&ConfigStore) -> R) -> R {
        read(&self.config_store.lock())
    }

    /// The stage that the server is in.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.lifecycle.load(Ordering::Acquire) {
            0 => Lifecycle::Starting,
            1 => Lifecycle::Loading,
            2 => Lifecycle::Running,
            _ => Lifecycle::Stopping,
        }
    }

    /// Enters a later stage.
    pub fn enter(&self, stage: Lifecycle) {
        self.lifecycle.fetch_max(stage as u8, Ordering::AcqRel);
        self.lifecycle_changed.notify_waiters();
    }

    /// Returns when the server is at `stage` or later.
    pub async fn reached(&self, stage: Lifecycle) {
        loop {
            let notified = self.lifecycle_changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.lifecycle() >= stage {
                return;
            }
            notified.await;
        }
    }
}
