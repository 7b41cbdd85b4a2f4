//! `Config`: the directives that work in Kivi, as typed fields.
//!
//! Subsystems read fields (or copy what they need at start); they never look a directive up by
//! name. `fields!` ties a field, its `Field` variant (what CONFIG SET changed) and its directive
//! together, so that adding one is one line. A test checks that exactly the `Working` rows of the
//! table have a field (and `hz`, which INFO tells).

use std::path::PathBuf;

use super::kind::{
    BindAddress, FromValue, MemoryShare, NotifyFlags, OutputLimits, SavePoint, ShutdownFlags, Value,
};
use crate::db::Policy;
use crate::ds::stream;
use crate::spec::AclCategories;
use crate::util::network::Network;
use crate::value::Limits;

macro_rules! fields {
    ($( $(#[$doc:meta])* $variant:ident $field:ident : $ty:ty = $name:literal; )*) => {
        /// The values of all directives that work, typed. Cheap to share: kept behind an `Arc`.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $( $(#[$doc])* pub $field: $ty, )*
        }

        /// Names one field of [`Config`]: what a CONFIG SET changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $( #[doc = concat!("The directive `", $name, "`.")] $variant, )*
        }

        impl Field {
            /// Every field, in the order of `Config`.
            pub const ALL: &'static [Field] = &[$( Field::$variant ),*];

            /// The directive's canonical name.
            pub fn directive(self) -> &'static str {
                match self { $( Field::$variant => $name ),* }
            }
        }

        impl Config {
            /// Builds the typed image; `value_of` answers the value of a directive by its name.
            pub(super) fn from_values<'v>(value_of: impl Fn(&str) -> &'v Value) -> Self {
                Config { $( $field: <$ty as FromValue>::from_value(value_of($name)) ),* }
            }

            /// Whether `field` has another value in `other`.
            pub(super) fn differs(&self, other: &Config, field: Field) -> bool {
                match field { $( Field::$variant => self.$field != other.$field ),* }
            }
        }
    };
}

fields! {
    /// Addresses to listen on; empty: no TCP listener.
    Bind bind: Vec<BindAddress> = "bind";
    /// TCP port; 0: no TCP listener.
    Port port: u16 = "port";
    /// Path of the unix socket, if one is wanted.
    UnixSocket unixsocket: Option<PathBuf> = "unixsocket";
    /// Mode bits of the unix socket; 0: leave what the umask gives.
    UnixSocketPerm unixsocketperm: u32 = "unixsocketperm";
    /// Group (name or number) that the unix socket is given to.
    UnixSocketGroup unixsocketgroup: Option<String> = "unixsocketgroup";
    /// Refuse clients from afar while the default user has no password.
    ProtectedMode protected_mode: bool = "protected-mode";
    /// Close clients idle for this long, in seconds; 0: never.
    Timeout timeout_secs: u32 = "timeout";
    /// Interval of TCP keepalive probes, in seconds; 0: none.
    TcpKeepalive tcp_keepalive_secs: u32 = "tcp-keepalive";
    /// Length of the listen queue.
    TcpBacklog tcp_backlog: u32 = "tcp-backlog";
    /// Most clients connected at once.
    MaxClients maxclients: u32 = "maxclients";
    /// Seconds in which a client has to log in, if it must; 0: any number.
    UnauthenticatedTimeout unauthenticated_timeout_secs: u32 = "unauthenticated-timeout";
    /// Seconds after which an unfinished request that does not go on ends its client; 0: never.
    RequestTimeout request_timeout_secs: u32 = "request-timeout";
    /// New connections that are taken in one turn of an event loop.
    MaxNewConnectionsPerCycle max_new_connections_per_cycle: u32 = "max-new-connections-per-cycle";
    /// The same, of TLS connections.
    MaxNewTlsConnectionsPerCycle max_new_tls_connections_per_cycle: u32
        = "max-new-tls-connections-per-cycle";
    /// Proxies that say whose connections they open.
    ProxyProtocolTrusted proxy_protocol_trusted: Vec<Network> = "proxy-protocol-trusted";
    /// Number of databases.
    Databases databases: u32 = "databases";
    /// Password of the default user; empty: none.
    RequirePass requirepass: Vec<u8> = "requirepass";
    /// ACL users: their names and rules.
    Users users: Vec<Vec<Vec<u8>>> = "user";
    /// File of ACL users.
    AclFile aclfile: Option<PathBuf> = "aclfile";
    /// Entries kept in ACL LOG.
    AclLogMaxLen acllog_max_len: u64 = "acllog-max-len";
    /// Channels that a new ACL user may use.
    AclPubsubDefault acl_pubsub_default: AclPubsubDefault = "acl-pubsub-default";
    /// Seed of the hash function; empty: by chance.
    HashSeed hash_seed: String = "hash-seed";
    /// Working directory.
    Dir dir: PathBuf = "dir";
    /// Run in the background, detached from the terminal.
    Daemonize daemonize: bool = "daemonize";
    /// File to write the process id to.
    PidFile pidfile: Option<PathBuf> = "pidfile";
    /// Which init system to tell about readiness.
    Supervised supervised: Supervised = "supervised";
    /// Least severe log level written.
    LogLevel loglevel: LogLevel = "loglevel";
    /// File to log to; none: standard output.
    LogFile logfile: Option<PathBuf> = "logfile";
    /// Form of a log line.
    LogFormat log_format: LogFormat = "log-format";
    /// Log to syslog as well.
    SyslogEnabled syslog_enabled: bool = "syslog-enabled";
    /// Name used in syslog.
    SyslogIdent syslog_ident: String = "syslog-ident";
    /// Facility used in syslog.
    SyslogFacility syslog_facility: SyslogFacility = "syslog-facility";
    /// Write a report when the process crashes.
    CrashLogEnabled crash_log_enabled: bool = "crash-log-enabled";
    /// Text added to such a report.
    DebugContext debug_context: String = "debug-context";
    /// For tests: exit instead of aborting after a panic.
    UseExitOnPanic use_exit_on_panic: bool = "use-exit-on-panic";
    /// Processors of the server's threads, as a list; empty: all.
    ServerCpuList server_cpulist: String = "server-cpulist";
    /// Processors of threads in the background.
    BioCpuList bio_cpulist: String = "bio-cpulist";
    /// Processors for rewriting the log.
    AofRewriteCpuList aof_rewrite_cpulist: String = "aof-rewrite-cpulist";
    /// Processors for writing a snapshot.
    BgsaveCpuList bgsave_cpulist: String = "bgsave-cpulist";
    /// Whether and how the kernel's choice of victims is influenced.
    OomScoreAdj oom_score_adj: OomScoreAdj = "oom-score-adj";
    /// How, for a primary, a replica, a child.
    OomScoreAdjValues oom_score_adj_values: [i64; 3] = "oom-score-adj-values";
    /// Form of the time in a log line.
    LogTimestampFormat log_timestamp_format: LogTimestampFormat = "log-timestamp-format";
    /// Worker threads, already resolved: never 0 once loaded.
    IoThreads io_threads: usize = "io-threads";
    /// Rate of background jobs per second, 1 to 500.
    Hz hz: u32 = "hz";
    /// Show the start-up logo also when the log is not a terminal.
    AlwaysShowLogo always_show_logo: bool = "always-show-logo";
    /// Set the process title.
    SetProcTitle set_proc_title: bool = "set-proc-title";
    /// Template of the process title.
    ProcTitleTemplate proc_title_template: String = "proc-title-template";
    /// Who may run DEBUG.
    EnableDebugCommand enable_debug_command: EnableCommand = "enable-debug-command";
    /// Who may use MODULE.
    EnableModuleCommand enable_module_command: EnableCommand = "enable-module-command";
    /// Who may set protected directives.
    EnableProtectedConfigs enable_protected_configs: EnableCommand = "enable-protected-configs";
    /// Compress strings in snapshots and DUMP payloads.
    RdbCompression rdbcompression: bool = "rdbcompression";
    /// Longest bulk string in a request, in bytes.
    ProtoMaxBulkLen proto_max_bulk_len: u64 = "proto-max-bulk-len";
    /// Most bytes of one client's unfinished request.
    ClientQueryBufferLimit client_query_buffer_limit: u64 = "client-query-buffer-limit";
    /// Output buffer limits per client class.
    ClientOutputBufferLimit client_output_buffer_limit: OutputLimits = "client-output-buffer-limit";
    /// Most memory for data, in bytes; 0: no limit.
    Maxmemory maxmemory_bytes: u64 = "maxmemory";
    /// What to evict when memory is full.
    MaxmemoryPolicy maxmemory_policy: Policy = "maxmemory-policy";
    /// Keys looked at to choose one to evict.
    MaxmemorySamples maxmemory_samples: u32 = "maxmemory-samples";
    /// How long one command may spend on evicting, 0 to 100.
    MaxmemoryEvictionTenacity maxmemory_eviction_tenacity: u32 = "maxmemory-eviction-tenacity";
    /// How fast the counter of LFU saturates.
    LfuLogFactor lfu_log_factor: u32 = "lfu-log-factor";
    /// Minutes in which the counter of LFU loses one; 0: never.
    LfuDecayTime lfu_decay_minutes: u32 = "lfu-decay-time";
    /// Most memory for all clients together.
    MaxmemoryClients maxmemory_clients: MemoryShare = "maxmemory-clients";
    /// Data is imported: only writes and whoever imports delete what has expired.
    ImportMode import_mode: bool = "import-mode";
    /// Which events of keys are published.
    NotifyKeyspaceEvents notify_keyspace_events: NotifyFlags = "notify-keyspace-events";
    /// Most keys that are remembered for client side caching; 0: any number.
    TrackingTableMaxKeys tracking_table_max_keys: u64 = "tracking-table-max-keys";
    /// Answer as Redis 7.2 (name and version) where clients look.
    ExtendedRedisCompatibility extended_redis_compatibility: bool = "extended-redis-compatibility";
    /// Name of the zone that the server runs in, told by HELLO and INFO; empty: none.
    AvailabilityZone availability_zone: String = "availability-zone";
    /// Keep latency histograms per command.
    LatencyTracking latency_tracking: bool = "latency-tracking";
    /// Percentiles that INFO latencystats shows.
    LatencyTrackingInfoPercentiles latency_tracking_info_percentiles: Vec<f64>
        = "latency-tracking-info-percentiles";
    /// Milliseconds from which the latency monitor notes an event; 0: it is off.
    LatencyMonitorThreshold latency_monitor_threshold_ms: u64 = "latency-monitor-threshold";
    /// Microseconds from which a command is logged as slow; negative: none is.
    CommandlogExecutionSlowerThan commandlog_slower_than_us: i64
        = "commandlog-execution-slower-than";
    /// Entries kept of slow commands.
    CommandlogSlowExecutionMaxLen commandlog_slow_max_len: u64
        = "commandlog-slow-execution-max-len";
    /// Bytes from which a request is logged as large; negative: none is.
    CommandlogRequestLargerThan commandlog_request_larger_than_bytes: i64
        = "commandlog-request-larger-than";
    /// Entries kept of large requests.
    CommandlogLargeRequestMaxLen commandlog_large_request_max_len: u64
        = "commandlog-large-request-max-len";
    /// Bytes from which a reply is logged as large; negative: none is.
    CommandlogReplyLargerThan commandlog_reply_larger_than_bytes: i64
        = "commandlog-reply-larger-than";
    /// Entries kept of large replies.
    CommandlogLargeReplyMaxLen commandlog_large_reply_max_len: u64
        = "commandlog-large-reply-max-len";
    /// File of the audit log; none: there is no such log.
    AuditLogFile audit_log_file: Option<PathBuf> = "audit-log-file";
    /// Categories whose commands are in it, whatever becomes of them.
    AuditLogCategories audit_log_categories: AclCategories = "audit-log-categories";
    /// TCP port for monitoring over HTTP; 0: none.
    MetricsPort metrics_port: u16 = "metrics-port";
    /// Addresses that it listens on.
    MetricsBind metrics_bind: Vec<BindAddress> = "metrics-bind";
    /// Serve the console there.
    ConsoleEnabled console_enabled: bool = "console-enabled";
    /// Keep keys and values of users out of the log.
    HideUserDataFromLog hide_user_data_from_log: bool = "hide-user-data-from-log";
    /// Milliseconds after which others are told that a script is running.
    BusyReplyThreshold busy_reply_threshold_ms: u64 = "busy-reply-threshold";
    /// Most memory of one Lua interpreter, in bytes.
    LuaMemoryLimit lua_memory_limit_bytes: u64 = "lua-memory-limit";
    /// Scripts have functions with which they can leave the sandbox.
    LuaEnableInsecureApi lua_enable_insecure_api: bool = "lua-enable-insecure-api";
    /// Use no huge pages.
    DisableThp disable_thp: bool = "disable-thp";
    /// The allocator gives pages back in a thread of its own.
    JemallocBgThread jemalloc_bg_thread: bool = "jemalloc-bg-thread";
    /// The log says UNLINK, not DEL, of keys that were evicted.
    LazyfreeLazyEviction lazyfree_lazy_eviction: bool = "lazyfree-lazy-eviction";
    /// The log says UNLINK, not DEL, of keys that have expired.
    LazyfreeLazyExpire lazyfree_lazy_expire: bool = "lazyfree-lazy-expire";
    /// The log says UNLINK, not DEL, of keys that a command has replaced or emptied.
    LazyfreeLazyServerDel lazyfree_lazy_server_del: bool = "lazyfree-lazy-server-del";
    /// FLUSHALL and FLUSHDB without a mode free in the background.
    LazyfreeLazyUserFlush lazyfree_lazy_user_flush: bool = "lazyfree-lazy-user-flush";
    /// Move data together when memory is fragmented.
    ActiveDefrag activedefrag: bool = "activedefrag";
    /// Fragmented bytes below which nothing is moved.
    ActiveDefragIgnoreBytes active_defrag_ignore_bytes: u64 = "active-defrag-ignore-bytes";
    /// Percentage of fragmentation at which moving starts.
    ActiveDefragThresholdLower active_defrag_threshold_lower: u32 = "active-defrag-threshold-lower";
    /// Percentage of fragmentation at which the most effort is spent.
    ActiveDefragThresholdUpper active_defrag_threshold_upper: u32 = "active-defrag-threshold-upper";
    /// Percentage of a processor to spend at the lower threshold.
    ActiveDefragCycleMin active_defrag_cycle_min: u32 = "active-defrag-cycle-min";
    /// Percentage of a processor to spend at the upper threshold.
    ActiveDefragCycleMax active_defrag_cycle_max: u32 = "active-defrag-cycle-max";
    /// Length of one slice of moving, in microseconds.
    ActiveDefragCycleUs active_defrag_cycle_us: u32 = "active-defrag-cycle-us";
    /// Elements of a collection above which it is moved in steps.
    ActiveDefragMaxScanFields active_defrag_max_scan_fields: u64 = "active-defrag-max-scan-fields";
    /// Fields up to which a hash stays compact.
    HashMaxListpackEntries hash_max_listpack_entries: u64 = "hash-max-listpack-entries";
    /// Bytes of a field or value up to which a hash stays compact.
    HashMaxListpackValue hash_max_listpack_value: u64 = "hash-max-listpack-value";
    /// Size of a list's node: elements, or -1 to -5 for 4 to 64 KB.
    ListMaxListpackSize list_max_listpack_size: i32 = "list-max-listpack-size";
    /// Nodes at each end of a list that stay uncompressed; 0: all do.
    ListCompressDepth list_compress_depth: u32 = "list-compress-depth";
    /// Members up to which a set of integers stays compact.
    SetMaxIntsetEntries set_max_intset_entries: u64 = "set-max-intset-entries";
    /// Members up to which a set stays compact.
    SetMaxListpackEntries set_max_listpack_entries: u64 = "set-max-listpack-entries";
    /// Bytes of a member up to which a set stays compact.
    SetMaxListpackValue set_max_listpack_value: u64 = "set-max-listpack-value";
    /// Members up to which a sorted set stays compact.
    ZsetMaxListpackEntries zset_max_listpack_entries: u64 = "zset-max-listpack-entries";
    /// Bytes of a member up to which a sorted set stays compact.
    ZsetMaxListpackValue zset_max_listpack_value: u64 = "zset-max-listpack-value";
    /// Bytes of a stream's node; 0: no limit.
    StreamNodeMaxBytes stream_node_max_bytes: u64 = "stream-node-max-bytes";
    /// Entries of a stream's node; 0: no limit.
    StreamNodeMaxEntries stream_node_max_entries: u64 = "stream-node-max-entries";
    /// Bytes up to which a HyperLogLog stays sparse.
    HllSparseMaxBytes hll_sparse_max_bytes: u64 = "hll-sparse-max-bytes";
    /// Commands renamed, in order: (old name, new name); an empty new name removes the command.
    RenameCommand rename_command: Vec<(Vec<u8>, Vec<u8>)> = "rename-command";
    /// When a snapshot is written without being asked for.
    Save save: Vec<SavePoint> = "save";
    /// Refuse writes after a snapshot failed.
    StopWritesOnBgsaveError stop_writes_on_bgsave_error: bool = "stop-writes-on-bgsave-error";
    /// End snapshots with a checksum, and check it.
    RdbChecksum rdbchecksum: bool = "rdbchecksum";
    /// How a version of a snapshot that is not known is met.
    RdbVersionCheck rdb_version_check: RdbVersionCheck = "rdb-version-check";
    /// File name of the snapshot.
    DbFileName dbfilename: PathBuf = "dbfilename";
    /// Sync a snapshot in steps while it is written.
    RdbSaveIncrementalFsync rdb_save_incremental_fsync: bool = "rdb-save-incremental-fsync";
    /// Log every write.
    AppendOnly appendonly: bool = "appendonly";
    /// Base name of the append-only files.
    AppendFileName appendfilename: String = "appendfilename";
    /// Their folder.
    AppendDirName appenddirname: String = "appenddirname";
    /// When the log is synced.
    AppendFsync appendfsync: AppendFsync = "appendfsync";
    /// Sync nothing while a snapshot or a rewrite goes on.
    NoAppendfsyncOnRewrite no_appendfsync_on_rewrite: bool = "no-appendfsync-on-rewrite";
    /// Growth of the log at which it is rewritten, percent; 0: never.
    AutoAofRewritePercentage auto_aof_rewrite_percentage: u32 = "auto-aof-rewrite-percentage";
    /// Size below which it is not.
    AutoAofRewriteMinSize auto_aof_rewrite_min_size: u64 = "auto-aof-rewrite-min-size";
    /// Load a log whose end is cut off.
    AofLoadTruncated aof_load_truncated: bool = "aof-load-truncated";
    /// Write the base of the log as a snapshot.
    AofUseRdbPreamble aof_use_rdb_preamble: bool = "aof-use-rdb-preamble";
    /// Write timestamps into the log.
    AofTimestampEnabled aof_timestamp_enabled: bool = "aof-timestamp-enabled";
    /// Sync the base of the log in steps while it is written.
    AofRewriteIncrementalFsync aof_rewrite_incremental_fsync: bool
        = "aof-rewrite-incremental-fsync";
    /// How SIGINT shuts down.
    ShutdownOnSigint shutdown_on_sigint: ShutdownFlags = "shutdown-on-sigint";
    /// How SIGTERM shuts down.
    ShutdownOnSigterm shutdown_on_sigterm: ShutdownFlags = "shutdown-on-sigterm";
    /// TCP port for TLS; 0: none.
    TlsPort tls_port: u16 = "tls-port";
    /// The server's certificate, and those that it was signed with.
    TlsCertFile tls_cert_file: Option<PathBuf> = "tls-cert-file";
    /// Its private key.
    TlsKeyFile tls_key_file: Option<PathBuf> = "tls-key-file";
    /// What opens the key.
    TlsKeyFilePass tls_key_file_pass: Vec<u8> = "tls-key-file-pass";
    /// Certificates that sign clients.
    TlsCaCertFile tls_ca_cert_file: Option<PathBuf> = "tls-ca-cert-file";
    /// A folder of such.
    TlsCaCertDir tls_ca_cert_dir: Option<PathBuf> = "tls-ca-cert-dir";
    /// Whether clients show a certificate.
    TlsAuthClients tls_auth_clients: TlsAuthClients = "tls-auth-clients";
    /// Where in it the name of a user stands.
    TlsAuthClientsUser tls_auth_clients_user: TlsAuthClientsUser = "tls-auth-clients-user";
    /// Versions of TLS that are spoken.
    TlsProtocols tls_protocols: String = "tls-protocols";
    /// Ciphers of TLS 1.2, an OpenSSL list; empty: all that there are.
    TlsCiphers tls_ciphers: String = "tls-ciphers";
    /// Cipher suites of TLS 1.3; empty: all that there are.
    TlsCipherSuites tls_ciphersuites: String = "tls-ciphersuites";
    /// The server's order of ciphers counts, not the client's.
    TlsPreferServerCiphers tls_prefer_server_ciphers: bool = "tls-prefer-server-ciphers";
    /// Clients may resume sessions.
    TlsSessionCaching tls_session_caching: bool = "tls-session-caching";
    /// Sessions kept for that; 0: any number.
    TlsSessionCacheSize tls_session_cache_size: u64 = "tls-session-cache-size";
    /// How long each is kept, seconds.
    TlsSessionCacheTimeout tls_session_cache_timeout_secs: u64 = "tls-session-cache-timeout";
    /// Seconds between looks at the files; 0: never.
    TlsAutoReloadInterval tls_auto_reload_interval_secs: u64 = "tls-auto-reload-interval";
    /// For tests: microseconds to wait after each key loaded; negative: every so many keys one.
    KeyLoadDelay key_load_delay: i32 = "key-load-delay";
    /// For tests: the same, of keys saved.
    RdbKeySaveDelay rdb_key_save_delay: i32 = "rdb-key-save-delay";
}

impl Config {
    /// Up to where collections stay compact.
    #[inline]
    pub fn limits(&self) -> Limits {
        Limits {
            hash_max_listpack_entries: self.hash_max_listpack_entries,
            hash_max_listpack_value: self.hash_max_listpack_value,
            list_max_listpack_size: self.list_max_listpack_size,
            list_compress_depth: self.list_compress_depth,
            set_max_intset_entries: self.set_max_intset_entries,
            set_max_listpack_entries: self.set_max_listpack_entries,
            set_max_listpack_value: self.set_max_listpack_value,
            zset_max_listpack_entries: self.zset_max_listpack_entries,
            zset_max_listpack_value: self.zset_max_listpack_value,
        }
    }

    /// Up to where nodes of streams are filled.
    #[inline]
    pub fn stream_limits(&self) -> stream::Limits {
        stream::Limits {
            node_max_bytes: self.stream_node_max_bytes,
            node_max_entries: self.stream_node_max_entries,
        }
    }
}

impl FromValue for Policy {
    fn from_value(value: &Value) -> Policy {
        let Value::Word(word) = value else {
            return Policy::default();
        };
        let is = |policy: &Policy| policy.as_str() == *word;
        Policy::ALL.into_iter().find(is).unwrap_or_default()
    }
}

macro_rules! choices {
    ($(
        $(#[$doc:meta])*
        $name:ident { $( $(#[$vdoc:meta])* $variant:ident = $text:literal, )* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$vdoc])* $variant, )* }

        impl $name {
            /// The word that the directive shows.
            pub fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $text, )* }
            }
        }

        impl FromValue for $name {
            fn from_value(value: &Value) -> Self {
                const ALL: &[$name] = &[$( $name::$variant, )*];
                let is = |choice: &&$name| *value == Value::Word(choice.as_str());
                ALL.iter().find(is).copied().unwrap_or(ALL[0])
            }
        }
    )*};
}

choices! {
    /// Severity of a log line, least severe first.
    LogLevel {
        /// Everything, for development.
        Debug = "debug",
        /// Much that is rarely useful.
        Verbose = "verbose",
        /// What an operator wants to see.
        Notice = "notice",
        /// Only what is wrong.
        Warning = "warning",
        /// Nothing.
        Nothing = "nothing",
    }
    /// Form of a log line.
    LogFormat {
        /// Redis's own line.
        Legacy = "legacy",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// One JSON object per line.
        Json = "json",
    }
    /// Form of the time in a log line.
    LogTimestampFormat {
        /// `01 Jan 2026 10:00:00.123`, local time.
        Legacy = "legacy",
        /// ISO 8601 with offset.
        Iso8601 = "iso8601",
        /// Milliseconds since the epoch.
        Milliseconds = "milliseconds",
    }
    /// Facility used in syslog.
    SyslogFacility {
        /// `user`
        User = "user",
        /// `local0`
        Local0 = "local0",
        /// `local1`
        Local1 = "local1",
        /// `local2`
        Local2 = "local2",
        /// `local3`
        Local3 = "local3",
        /// `local4`
        Local4 = "local4",
        /// `local5`
        Local5 = "local5",
        /// `local6`
        Local6 = "local6",
        /// `local7`
        Local7 = "local7",
    }
    /// How `oom-score-adj-values` count.
    OomScoreAdj {
        /// Not at all.
        No = "no",
        /// Added to what the process had.
        Yes = "yes",
        /// As they are.
        Absolute = "absolute",
    }
    /// The init system above us.
    Supervised {
        /// None.
        No = "no",
        /// Found by looking at the environment.
        Auto = "auto",
        /// systemd's notify protocol.
        Systemd = "systemd",
        /// upstart: stop ourselves with SIGSTOP.
        Upstart = "upstart",
    }
    /// How a version of a snapshot that is not known is met.
    RdbVersionCheck {
        /// Refused.
        Strict = "strict",
        /// Read as far as it is understood.
        Relaxed = "relaxed",
    }
    /// When the log is synced to disk.
    AppendFsync {
        /// Once a second.
        EverySec = "everysec",
        /// Before a write is answered.
        Always = "always",
        /// When the operating system likes to.
        No = "no",
    }
    /// Channels that a new ACL user may use.
    AclPubsubDefault {
        /// None.
        ResetChannels = "resetchannels",
        /// All.
        AllChannels = "allchannels",
    }
    /// Whether TLS clients show a certificate.
    TlsAuthClients {
        /// They need not, and none is looked at.
        No = "no",
        /// Nobody comes in without.
        Yes = "yes",
        /// One that is shown has to be right.
        Optional = "optional",
    }
    /// Where in a client's certificate the name of its user stands.
    TlsAuthClientsUser {
        /// Nowhere: clients log in by password.
        Off = "off",
        /// The subject's common name.
        CommonName = "CN",
        /// A URI among the other names.
        Uri = "URI",
    }
    /// Who may use a dangerous feature.
    EnableCommand {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Loopback and unix socket clients.
        Local = "local",
    }
}
