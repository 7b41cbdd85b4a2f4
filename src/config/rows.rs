//! The rows of the table, by theme: the reference for users, and the contents of
//! `redis.conf.example`, which is generated from here (see `example`).
//!
//! A row is name, kind, default (as CONFIG GET shows it) and status, then what is special about
//! it, then its sentence. Kinds and ranges are Valkey 9.1's; a name that Valkey lacks has those of
//! Redis 8.0 or 7.0. A row may be `Working` only when the directive truly has its effect.

use super::kind::{Check, Kind};
use super::table::Status::{Accepted, Later, Working};
use super::table::{Directive, row};

const I32_MIN: i64 = i32::MIN as i64;
const I32_MAX: i64 = i32::MAX as i64;
/// Every database up to the highest one in use has a place in each shard.
const DATABASES_MAX: i64 = 16_384;
const U32_MAX: i64 = u32::MAX as i64;
const MAX: i64 = i64::MAX;
const ANY: Kind = Kind::Text(Check::Any);
const SECRET: Kind = Kind::Text(Check::Secret);

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

const fn memory(min: i64, max: i64) -> Kind {
    Kind::Memory {
        min: min as i128,
        max: max as i128,
    }
}

const fn text(check: Check) -> Kind {
    Kind::Text(check)
}

/// Themes in the order of `redis.conf.example`.
pub(super) static THEMES: &[(&str, &[Directive])] = &[
    ("Including files", INCLUDING_FILES),
    ("Network", NETWORK),
    ("TLS", TLS),
    ("The process", THE_PROCESS),
    ("Log", LOG),
    ("Security", SECURITY),
    ("Limits", LIMITS),
    (
        "Expiry, lazy freeing and memory upkeep",
        EXPIRY_LAZY_FREEING_AND_MEMORY_UPKEEP,
    ),
    ("Types", TYPES),
    ("Monitoring", MONITORING),
    ("Scripts", SCRIPTS),
    ("Snapshots", SNAPSHOTS),
    ("Append-only file", APPEND_ONLY_FILE),
    ("Replication", REPLICATION),
    ("Cluster", CLUSTER),
    ("Debugging", DEBUGGING),
];

const INCLUDING_FILES: &[Directive] =
    &[row("include", Kind::Include, "", Working).file_only().doc(
        "Reads another file at this place; a relative path starts at the working \
         directory of the start, and `*`, `?` and `[..]` match several files.",
    )];

const NETWORK: &[Directive] = &[
    row("bind", Kind::Bind, "* -::*", Working).doc(
        "Addresses to listen on; `*` is every IPv4 address, `::*` every IPv6 one, and a \
         leading `-` allows an address to be missing.",
    ),
    row("bind-source-addr", ANY, "", Later)
        .doc("Local address for outgoing connections to a primary or to cluster nodes."),
    row("port", int(0, 65535), "6379", Working).doc("TCP port to listen on; 0 opens no TCP port."),
    row("tcp-backlog", int(0, I32_MAX), "511", Working)
        .immutable()
        .doc(
            "Length of the queue of connections that wait to be accepted; the system may \
         cap it.",
        ),
    row("unixsocket", ANY, "", Working)
        .immutable()
        .doc("Path of a unix socket to listen on; empty opens none."),
    row("unixsocketperm", Kind::Octal { max: 0o777 }, "0", Working)
        .immutable()
        .doc("Mode bits of the unix socket, in octal; 0 leaves what the umask gives."),
    row("unixsocketgroup", ANY, "", Working)
        .immutable()
        .doc("Group, by name or number, that the unix socket is given to."),
    row("protected-mode", Kind::Bool, "yes", Working)
        .doc("Refuses clients from other hosts while the default user has no password."),
    row("timeout", int(0, I32_MAX), "0", Working)
        .doc("Seconds after which an idle client is closed; 0 never closes one."),
    row("tcp-keepalive", int(0, I32_MAX), "300", Working)
        .doc("Seconds between TCP keepalive probes to clients; 0 sends none."),
    row("maxclients", int(1, U32_MAX), "10000", Working).doc(
        "Most clients connected at once; the open file limit of the process is raised \
         to fit.",
    ),
    row("unauthenticated-timeout", int(0, I32_MAX), "60", Working).doc(
        "Seconds in which a client has to log in while a password is required; 0 gives it any time. \
         Kivi's own.",
    ),
    row("request-timeout", int(0, I32_MAX), "0", Working).doc(
        "Seconds after which a client is closed that has sent the beginning of a request and then nothing; \
         0 waits for ever. Kivi's own.",
    ),
    row("max-new-connections-per-cycle", int(1, 1000), "10", Working).doc(
        "New connections that each listener and each worker takes per turn of its event loop, between two \
         turns of those that it serves already.",
    ),
    row("max-new-tls-connections-per-cycle", int(1, 1000), "1", Working)
        .doc("The same, of TLS connections, whose beginning costs more."),
    row("proxy-protocol-trusted", Kind::Networks, "", Working).doc(
        "Addresses and networks (10.0.0.0/8) of proxies: their TCP connections must begin with a header of \
         the PROXY protocol, version 1 or 2, and count as those of the clients that it names; empty trusts \
         nobody. Kivi's own.",
    ),
    row("mptcp", Kind::Bool, "no", Later)
        .immutable()
        .doc("Listens with Multipath TCP."),
    row("socket-mark-id", int(0, U32_MAX), "0", Later)
        .immutable()
        .doc("Mark (SO_MARK) put on every socket, for routing and firewall rules."),
    row(
        "enable-protected-configs",
        Kind::Word(&["no", "yes", "local"]),
        "no",
        Working,
    )
    .immutable()
    .doc(
        "Who may change protected directives with CONFIG SET: `no` nobody, `yes` \
         everybody, `local` clients on this host.",
    ),
    row(
        "enable-debug-command",
        Kind::Word(&["no", "yes", "local"]),
        "no",
        Working,
    )
    .immutable()
    .doc("Who may use DEBUG: `no` nobody, `yes` everybody, `local` clients on this host."),
    row(
        "enable-module-command",
        Kind::Word(&["no", "yes", "local"]),
        "no",
        Working,
    )
    .immutable()
    .doc(
        "Who may use MODULE: `no` nobody, `yes` everybody, `local` clients on this \
         host.",
    ),
    row("rdma-bind", ANY, "", Later).doc("Addresses to listen on with RDMA."),
    row("rdma-port", int(0, 65535), "0", Later).doc("Port to listen on with RDMA."),
    row("rdma-rx-size", int(65536, 16777216), "1048576", Later)
        .immutable()
        .doc("Receive buffer of an RDMA connection, in bytes."),
    row("rdma-completion-vector", int(-1, 1024), "-1", Later)
        .immutable()
        .doc("Completion vector of RDMA connections; -1 chooses one by chance."),
];

const TLS: &[Directive] = &[
    row("tls-port", int(0, 65535), "0", Working).doc("TCP port for TLS clients; 0 opens none."),
    row("tls-cert-file", ANY, "", Working).reapplied().doc("Server certificate (PEM)."),
    row("tls-key-file", ANY, "", Working).reapplied().doc("Private key of the server certificate (PEM)."),
    row("tls-key-file-pass", SECRET, "", Working).reapplied().doc("Password of the private key."),
    row("tls-client-cert-file", ANY, "", Later)
        .doc("Certificate to show on outgoing connections, if it differs from the server's."),
    row("tls-client-key-file", ANY, "", Later).doc("Private key of the outgoing certificate."),
    row("tls-client-key-file-pass", SECRET, "", Later).doc("Password of the outgoing private key."),
    row("tls-dh-params-file", ANY, "", Accepted)
        .doc("Parameters of a key exchange that Kivi does not offer: it has ECDHE only."),
    row("tls-ca-cert-file", ANY, "", Working).reapplied().doc("File of certificates that sign the peers."),
    row("tls-ca-cert-dir", ANY, "", Working).reapplied().doc("Folder of certificates that sign the peers."),
    row(
        "tls-auth-clients",
        Kind::Word(&["no", "yes", "optional"]),
        "yes",
        Working,
    )
    .doc("Whether clients must show a certificate: `yes`, `no` or `optional`."),
    row(
        "tls-auth-clients-user",
        Kind::Word(&["CN", "URI", "off"]),
        "off",
        Working,
    )
    .doc(
        "Logs a client in as the user that its certificate names, by common name or \
         URI.",
    ),
    row("tls-replication", Kind::Bool, "no", Later).doc("Speaks TLS to the primary."),
    row("tls-cluster", Kind::Bool, "no", Later).doc("Speaks TLS on the cluster bus."),
    row("tls-protocols", ANY, "", Working)
        .doc("TLS versions allowed, TLSv1.2 and TLSv1.3; empty allows both."),
    row("tls-ciphers", ANY, "", Working).doc("Ciphers of TLS 1.2, as OpenSSL writes lists; of those there are ECDHE with AES-GCM or CHACHA20."),
    row("tls-ciphersuites", ANY, "", Working).doc("Cipher suites for TLS 1.3."),
    row("tls-prefer-server-ciphers", Kind::Bool, "no", Working)
        .doc("Prefers the server's order of ciphers to the client's."),
    row("tls-session-caching", Kind::Bool, "yes", Working)
        .doc("Lets clients resume sessions."),
    row("tls-session-cache-size", int(0, I32_MAX), "20480", Working)
        .doc("Sessions kept for resumption; 0 keeps any number."),
    row("tls-session-cache-timeout", int(0, I32_MAX), "300", Working)
        .doc("Seconds that a session is kept for resumption."),
    row("tls-auto-reload-interval", int(0, I32_MAX), "0", Working)
        .doc("Seconds between looks for new certificates; 0 never looks. SIGHUP has them looked for at once."),
];

const THE_PROCESS: &[Directive] = &[
    row("daemonize", Kind::Bool, "no", Working)
        .immutable()
        .doc("Runs in the background, detached from the terminal."),
    row(
        "supervised",
        Kind::Word(&["upstart", "systemd", "auto", "no"]),
        "no",
        Working,
    )
    .immutable()
    .doc(
        "Init system to tell about readiness: `systemd`, `upstart`, `auto` to find out, \
         `no` for none.",
    ),
    row("pidfile", ANY, "", Working)
        .immutable()
        .doc("File to write the process id to; empty writes none unless daemonized."),
    row("dir", Kind::Dir, ".", Working)
        .protected()
        .doc("Working directory: relative paths start here, and data files are kept here."),
    row("databases", int(1, DATABASES_MAX), "16", Working)
        .immutable()
        .doc("Number of databases, chosen with SELECT 0 and up."),
    row("io-threads", Kind::Threads, "0", Working)
        .immutable()
        .doc(
            "Worker threads that serve clients; 0 takes one per core available, and CONFIG \
         GET shows the number in use.",
        ),
    row("io-threads-do-reads", Kind::Bool, "no", Accepted)
        .immutable()
        .doc("Whether I/O threads also read; worker threads of Kivi always do."),
    row("io-threads-always-active", Kind::Bool, "no", Accepted)
        .hidden()
        .doc("Keeps I/O threads awake, for tests of the original."),
    row("events-per-io-thread", Kind::Ignored, "", Accepted)
        .file_only()
        .doc("Events per I/O thread; without effect since Valkey 9 too."),
    row("hz", Kind::Hz, "10", Accepted).doc(
        "Rate of periodic background work per second, from 1 to 500; Kivi's goes by what there is to \
         do. INFO tells it as configured_hz.",
    ),
    row("dynamic-hz", Kind::Bool, "yes", Accepted).doc(
        "Raises hz with the number of clients; Kivi's background work does not grow \
         with it.",
    ),
    row("set-proc-title", Kind::Bool, "yes", Working)
        .immutable()
        .doc("Sets the title of the process, as seen in ps and top."),
    row(
        "proc-title-template",
        text(Check::Title),
        "{title} {listen-addr} {server-mode}",
        Working,
    )
    .doc(
        "Template of the process title; knows {title}, {listen-addr}, {server-mode}, \
         {port}, {tls-port}, {unixsocket} and {config-file}.",
    ),
    row("always-show-logo", Kind::Bool, "no", Working)
        .immutable()
        .doc("Shows the logo at start even when the log does not go to a terminal."),
    row("extended-redis-compatibility", Kind::Bool, "no", Working)
        .doc("Presents the server as Redis wherever a client may look at its name."),
    row("server-cpulist", ANY, "", Working)
        .aliases(&["server_cpulist"])
        .immutable()
        .doc(
            "Cores that the server's threads are pinned to, as `0-7:2` or `0,2,4`; `io-threads` \
             does not follow it.",
        ),
    row("bio-cpulist", ANY, "", Working)
        .aliases(&["bio_cpulist"])
        .immutable()
        .doc("Cores for the threads that free in the background and write the append-only file."),
    row("aof-rewrite-cpulist", ANY, "", Working)
        .aliases(&["aof_rewrite_cpulist"])
        .immutable()
        .doc("Cores for rewriting the append-only file."),
    row("bgsave-cpulist", ANY, "", Working)
        .aliases(&["bgsave_cpulist"])
        .immutable()
        .doc("Cores for writing a snapshot."),
    row(
        "oom-score-adj",
        Kind::OomScoreAdj,
        "no",
        Working,
    )
    .doc(
        "Whether the kernel is told how likely it should kill this process when memory runs out: \
         `yes` and `relative` add the value to what the process had, `absolute` takes it as it is.",
    ),
    row("oom-score-adj-values", Kind::OomScores, "0 200 800", Working).doc(
        "These values, for a primary, a replica and a background child; Kivi has no children.",
    ),
    row("disable-thp", Kind::Bool, "no", Working)
        .immutable()
        .doc("Switches transparent huge pages off for the process; Kivi asks for them where memory only grows."),
    row("jemalloc-bg-thread", Kind::Bool, "yes", Working)
        .doc("Lets the allocator give memory back in a thread of its own."),
    row("ignore-warnings", ANY, "", Accepted).doc(
        "Start-up warnings to leave out; the only one there is (ARM64-COW-BUG) concerns \
         fork, which Kivi does not use.",
    ),
    row("shutdown-timeout", int(0, I32_MAX), "10", Later)
        .doc("Seconds that a shutdown waits for replicas to catch up."),
    row(
        "shutdown-on-sigint",
        Kind::ShutdownFlags,
        "default",
        Working,
    )
    .doc(
        "How SIGINT shuts down: `default`, or any of `save`, `nosave`, `now`, `force`, \
         `safe`, `failover`.",
    ),
    row(
        "shutdown-on-sigterm",
        Kind::ShutdownFlags,
        "default",
        Working,
    )
    .doc(
        "How SIGTERM shuts down: `default`, or any of `save`, `nosave`, `now`, `force`, \
         `safe`, `failover`.",
    ),
    row("availability-zone", ANY, "", Working)
        .doc("Name of the zone that the server runs in, shown to clients."),
    row("locale-collate", ANY, "", Later).doc("Locale that Lua and SORT compare strings in."),
    row("hash-seed", ANY, "", Working).immutable().doc(
        "Seed of the hash function, for the same SCAN order and cursors on several servers; empty \
         takes one by chance, which nobody can prepare keys for.",
    ),
    row("loadmodule", Kind::Lines, "", Later)
        .file_only()
        .doc("Loads a module at start."),
];

const LOG: &[Directive] = &[
    row(
        "loglevel",
        Kind::Word(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        Working,
    )
    .doc("Least severe level written: debug, verbose, notice, warning or nothing."),
    row("log-format", Kind::LogFormat, "legacy", Working)
        .doc("Form of a log line: `legacy` (also called `plain`), `logfmt` or `json`."),
    row(
        "log-timestamp-format",
        Kind::Word(&["legacy", "iso8601", "milliseconds"]),
        "legacy",
        Working,
    )
    .doc("Form of the time in a log line."),
    row("logfile", ANY, "", Working)
        .immutable()
        .doc("File to log to; empty logs to standard output."),
    row("syslog-enabled", Kind::Bool, "no", Working)
        .immutable()
        .doc("Logs to syslog as well."),
    row("syslog-ident", ANY, "kivi", Working)
        .immutable()
        .doc("Name used in syslog."),
    row(
        "syslog-facility",
        Kind::Word(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        "local0",
        Working,
    )
    .immutable()
    .doc("Facility used in syslog."),
    row("hide-user-data-from-log", Kind::Bool, "yes", Working)
        .doc("Keeps keys and values of users out of the log."),
    row("crash-log-enabled", Kind::Bool, "yes", Working)
        .doc("Writes a report to the log when the process crashes."),
    row("crash-memcheck-enabled", Kind::Bool, "yes", Accepted).doc(
        "Tests memory after a crash; Kivi does not: the test takes minutes, during which a \
         supervisor cannot start the server anew.",
    ),
];

const SECURITY: &[Directive] = &[
    row("requirepass", SECRET, "", Working)
        .doc("Password of the default user; empty lets everybody in."),
    row("rename-command", Kind::RenameCommand, "", Working)
        .file_only()
        .doc("Gives a command another name; an empty name takes it away."),
    row("user", Kind::Lines, "", Working)
        .file_only()
        .rewritten()
        .doc("Defines an ACL user: its name and its rules, as ACL LIST shows them."),
    row("aclfile", ANY, "", Working)
        .immutable()
        .doc("File of ACL users, for ACL LOAD and ACL SAVE; then no `user` lines are allowed."),
    row("acllog-max-len", int(0, MAX), "128", Working).doc("Entries kept in ACL LOG."),
    row(
        "acl-pubsub-default",
        Kind::Word(&["allchannels", "resetchannels"]),
        "resetchannels",
        Working,
    )
    .doc("Channels that a new ACL user may use: `resetchannels` none, `allchannels` all."),
    row("audit-log-file", ANY, "", Working).immutable().doc(
        "File of the audit log, a line of JSON for each command that is logged; empty writes \
         none.",
    ),
    row(
        "audit-log-categories",
        Kind::AclCategories,
        "@admin @dangerous",
        Working,
    )
    .protected()
    .doc(
        "ACL categories whose commands are in the audit log; logins and denied commands always \
         are.",
    ),
];

const LIMITS: &[Directive] = &[
    row(
        "proto-max-bulk-len",
        memory(1048576, MAX),
        "536870912",
        Working,
    )
    .doc("Longest string in a request, in bytes."),
    row(
        "client-query-buffer-limit",
        memory(1048576, MAX),
        "1073741824",
        Working,
    )
    .doc("Most bytes that one unfinished request may take."),
    row(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        Working,
    )
    .doc(
        "Closes a client whose unread replies pass a hard limit, or stay above a soft \
         one for so many seconds; classes are normal, replica and pubsub.",
    ),
    row(
        "maxmemory",
        Kind::Memory {
            min: 0,
            max: u64::MAX as i128,
        },
        "0",
        Working,
    )
    .doc("Most memory for data, in bytes; 0 sets no limit."),
    row(
        "maxmemory-policy",
        Kind::Word(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
            "volatile-lrm",
            "allkeys-lrm",
        ]),
        "noeviction",
        Working,
    )
    .doc("What to evict when memory is full."),
    row("maxmemory-samples", int(1, 64), "5", Working)
        .doc("Keys looked at to choose one to evict."),
    row("maxmemory-eviction-tenacity", int(0, 100), "10", Working)
        .doc("How long one command may spend on evicting, 0 to 100."),
    row("maxmemory-clients", Kind::MemoryOrPercent, "0", Working).doc(
        "Most memory for all clients together, in bytes or as a percentage of \
         maxmemory; 0 sets no limit.",
    ),
    row("lfu-log-factor", int(0, I32_MAX), "10", Working)
        .doc("How fast the access counter of LFU saturates."),
    row("lfu-decay-time", int(0, I32_MAX), "1", Working)
        .doc("Minutes in which the access counter of LFU is halved."),
    row("tracking-table-max-keys", int(0, MAX), "1000000", Working)
        .doc("Keys remembered for client side caching; 0 sets no limit."),
    row("prefetch-batch-max-size", int(0, 128), "16", Accepted).doc(
        "Commands whose keys are prefetched together; Kivi's engine chooses the number \
         itself.",
    ),
    row(
        "min-io-threads-avoid-copy-reply",
        int(0, I32_MAX),
        "7",
        Accepted,
    )
    .hidden()
    .doc(
        "I/O threads from which replies are sent without a copy; Kivi always sends \
         large values so.",
    ),
    row(
        "min-string-size-avoid-copy-reply",
        int(0, I32_MAX),
        "16384",
        Accepted,
    )
    .hidden()
    .doc("Size from which a reply is sent without a copy; Kivi has a fixed one."),
    row(
        "min-string-size-avoid-copy-reply-threaded",
        int(0, I32_MAX),
        "65536",
        Accepted,
    )
    .hidden()
    .doc(
        "Size from which a reply is sent without a copy by an I/O thread; Kivi has a \
         fixed one.",
    ),
];

const EXPIRY_LAZY_FREEING_AND_MEMORY_UPKEEP: &[Directive] = &[
    row("active-expire-effort", int(1, 10), "1", Accepted).doc(
        "Effort of the search for expired keys; Kivi expires on time and searches for \
         nothing.",
    ),
    row("lazyfree-lazy-eviction", Kind::Bool, "yes", Working)
        .doc("Logs evicted keys as UNLINK, else as DEL; large values are always freed in the background."),
    row("lazyfree-lazy-expire", Kind::Bool, "yes", Working)
        .doc("Logs expired keys as UNLINK, else as DEL; large values are always freed in the background."),
    row("lazyfree-lazy-server-del", Kind::Bool, "yes", Working)
        .doc("Logs keys that a command empties or replaces as UNLINK, else as DEL; large values are always freed in the background."),
    row("lazyfree-lazy-user-del", Kind::Bool, "yes", Accepted).doc(
        "Lets DEL free in the background as UNLINK does; Kivi always does for large \
         values.",
    ),
    row("lazyfree-lazy-user-flush", Kind::Bool, "yes", Working).doc(
        "Lets FLUSHALL and FLUSHDB free in the background when they do not say SYNC or \
         ASYNC.",
    ),
    row("activerehashing", Kind::Bool, "yes", Accepted)
        .doc("Spends idle time on rehashing; Kivi's table never rehashes as a whole."),
    row("activedefrag", Kind::Bool, "yes", Working).doc(
        "Moves data together when memory is fragmented, in a thread of its own that holds up nobody.",
    ),
    row(
        "active-defrag-ignore-bytes",
        memory(1, MAX),
        "104857600",
        Working,
    )
    .doc("Fragmented bytes below which nothing is moved; of small datasets an eighth."),
    row("active-defrag-threshold-lower", int(0, 1000), "10", Working)
        .doc("Percentage of fragmentation at which moving starts."),
    row("active-defrag-threshold-upper", int(0, 1000), "100", Working)
        .doc("Percentage of fragmentation at which the most effort is spent."),
    row("active-defrag-cycle-min", int(1, 99), "1", Working)
        .doc("Percentage of a processor to spend at the lower threshold."),
    row("active-defrag-cycle-max", int(1, 99), "25", Working)
        .doc("Percentage of a processor to spend at the upper threshold."),
    row("active-defrag-cycle-us", int(0, 100000), "500", Working)
        .doc("Length of one slice of moving, in microseconds."),
    row("active-defrag-max-scan-fields", int(1, MAX), "1000", Working)
        .doc("Elements of a collection above which it is moved in steps."),
];

const TYPES: &[Directive] = &[
    row("hash-max-listpack-entries", int(0, MAX), "512", Working)
        .aliases(&["hash-max-ziplist-entries"])
        .doc("Fields up to which a hash stays compact."),
    row("hash-max-listpack-value", memory(0, MAX), "64", Working)
        .aliases(&["hash-max-ziplist-value"])
        .doc("Bytes of a field or value up to which a hash stays compact."),
    row(
        "list-max-listpack-size",
        int(I32_MIN, I32_MAX),
        "-2",
        Working,
    )
    .aliases(&["list-max-ziplist-size"])
    .doc(
        "Size of a list's node: a number of elements, or -1 to -5 for 4, 8, 16, 32 and \
         64 KB.",
    ),
    row("list-compress-depth", int(0, I32_MAX), "0", Working)
        .doc("Nodes at each end of a list that stay uncompressed; 0 compresses none."),
    row("set-max-intset-entries", int(0, MAX), "512", Working)
        .doc("Members up to which a set of integers stays compact."),
    row("set-max-listpack-entries", int(0, MAX), "128", Working)
        .doc("Members up to which a set stays compact."),
    row("set-max-listpack-value", int(0, MAX), "64", Working)
        .doc("Bytes of a member up to which a set stays compact."),
    row("zset-max-listpack-entries", int(0, MAX), "128", Working)
        .aliases(&["zset-max-ziplist-entries"])
        .doc("Members up to which a sorted set stays compact."),
    row("zset-max-listpack-value", memory(0, MAX), "64", Working)
        .aliases(&["zset-max-ziplist-value"])
        .doc("Bytes of a member up to which a sorted set stays compact."),
    row("hll-sparse-max-bytes", memory(0, MAX), "3000", Working)
        .doc("Bytes up to which a HyperLogLog stays sparse."),
    row("stream-node-max-bytes", memory(0, MAX), "4096", Working)
        .doc("Bytes of a stream's node; 0 sets no limit."),
    row("stream-node-max-entries", int(0, MAX), "100", Working)
        .doc("Entries of a stream's node; 0 sets no limit."),
    row("list-max-ziplist-entries", Kind::Ignored, "", Accepted)
        .file_only()
        .doc("Elements up to which a list stayed compact, before Redis 3.2."),
    row("list-max-ziplist-value", Kind::Ignored, "", Accepted)
        .file_only()
        .doc("Bytes of an element up to which a list stayed compact, before Redis 3.2."),
];

const MONITORING: &[Directive] = &[
    row("latency-tracking", Kind::Bool, "yes", Working)
        .doc("Keeps a histogram of the latency of every command."),
    row(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        Working,
    )
    .doc("Percentiles that INFO latencystats shows, 0 to 100."),
    row("latency-monitor-threshold", int(0, MAX), "0", Working).doc(
        "Milliseconds from which the latency monitor records an event; 0 switches it \
         off.",
    ),
    row(
        "commandlog-execution-slower-than",
        int(-1, MAX),
        "10000",
        Working,
    )
    .aliases(&["slowlog-log-slower-than"])
    .doc("Microseconds from which a command is logged as slow; -1 logs none."),
    row(
        "commandlog-slow-execution-max-len",
        int(0, MAX),
        "128",
        Working,
    )
    .aliases(&["slowlog-max-len"])
    .doc("Entries kept in the log of slow commands."),
    row(
        "commandlog-request-larger-than",
        int(-1, MAX),
        "1048576",
        Working,
    )
    .doc("Bytes from which a request is logged as large; -1 logs none."),
    row(
        "commandlog-large-request-max-len",
        int(0, MAX),
        "128",
        Working,
    )
    .doc("Entries kept in the log of large requests."),
    row(
        "commandlog-reply-larger-than",
        int(-1, MAX),
        "1048576",
        Working,
    )
    .doc("Bytes from which a reply is logged as large; -1 logs none."),
    row(
        "commandlog-large-reply-max-len",
        int(0, MAX),
        "128",
        Working,
    )
    .doc("Entries kept in the log of large replies."),
    row("metrics-port", int(0, 65535), "0", Working).doc(
        "TCP port for monitoring over HTTP: /metrics for Prometheus, /healthz, /readyz, \
         and the console; 0 opens none. Nobody is asked for a password of /metrics. \
         Kivi's own.",
    ),
    row("metrics-bind", Kind::Bind, "127.0.0.1 -::1", Working).doc(
        "Addresses on which metrics-port listens, as in `bind`; only this machine's own \
         unless said otherwise. Kivi's own.",
    ),
    row("console-enabled", Kind::Bool, "no", Working).doc(
        "Serves a page for browsers at /console of metrics-port that shows the server's \
         figures and its keys, and changes nothing. Kivi's own.",
    ),
    row("notify-keyspace-events", Kind::EventFlags, "", Working).doc(
        "Kinds of events published about keys, as letters of `Ag$lshzxeKEtmdn`; empty \
         publishes none.",
    ),
];

const SCRIPTS: &[Directive] = &[
    row("busy-reply-threshold", int(0, MAX), "5000", Working)
        .aliases(&["lua-time-limit"])
        .doc("Milliseconds after which other clients are told that a script is running."),
    row(
        "lua-memory-limit",
        memory(1048576, 2147483648),
        "1073741824",
        Working,
    )
    .doc(
        "Most memory that the Lua interpreter of one thread may use; a script that wants \
         more ends with an error. Kivi's own.",
    ),
    row("lua-enable-insecure-api", Kind::Bool, "no", Working)
        .aliases(&["lua-enable-deprecated-api"])
        .protected()
        .hidden()
        .doc("Gives scripts functions that let them leave the sandbox."),
    row("lua-replicate-commands", Kind::Ignored, "", Accepted)
        .file_only()
        .doc(
            "Replicated the effects of scripts instead of the scripts; always so since \
         Redis 7.",
        ),
];

const SNAPSHOTS: &[Directive] = &[
    row("save", Kind::Save, "3600 1 300 100 60 10000", Working).doc(
        "Pairs of seconds and changes: a snapshot is written when both have passed; \
         empty writes none.",
    ),
    row("stop-writes-on-bgsave-error", Kind::Bool, "yes", Working)
        .doc("Refuses writes after a snapshot failed, while there are save points."),
    row("rdbcompression", Kind::Bool, "yes", Working)
        .doc("Compresses strings in a snapshot and in what DUMP answers."),
    row("rdbchecksum", Kind::Bool, "yes", Working)
        .immutable()
        .doc("Ends a snapshot with a checksum, and checks it when loading."),
    row(
        "rdb-version-check",
        Kind::Word(&["strict", "relaxed"]),
        "strict",
        Working,
    )
    .doc("How strictly the version of a snapshot is checked when loading."),
    row(
        "sanitize-dump-payload",
        Kind::Word(&["no", "yes", "clients"]),
        "no",
        Accepted,
    )
    .doc("Checks the payload of RESTORE and of a snapshot; Kivi always does."),
    row("dbfilename", text(Check::FileName), "dump.rdb", Working)
        .protected()
        .doc("File name of the snapshot, in dir."),
    row("rdb-del-sync-files", Kind::Bool, "no", Later)
        .doc("Deletes snapshots that only served replication."),
    row("rdb-save-incremental-fsync", Kind::Bool, "yes", Working)
        .doc("Syncs a snapshot to disk in steps while it is written."),
];

const APPEND_ONLY_FILE: &[Directive] = &[
    row("appendonly", Kind::Bool, "no", Working).doc("Logs every write to the append-only file."),
    row(
        "appendfilename",
        text(Check::FileName),
        "appendonly.aof",
        Working,
    )
    .immutable()
    .doc("Base name of the append-only files."),
    row(
        "appenddirname",
        text(Check::FileName),
        "appendonlydir",
        Working,
    )
    .immutable()
    .doc("Folder of the append-only files, in dir."),
    row(
        "appendfsync",
        Kind::Word(&["everysec", "always", "no"]),
        "everysec",
        Working,
    )
    .doc("When the append-only file is synced to disk: `always`, `everysec` or `no`."),
    row("no-appendfsync-on-rewrite", Kind::Bool, "no", Working)
        .doc("Syncs nothing while the append-only file is rewritten or a snapshot written."),
    row(
        "auto-aof-rewrite-percentage",
        int(0, I32_MAX),
        "100",
        Working,
    )
    .doc("Growth in percent at which the append-only file is rewritten; 0 never does."),
    row(
        "auto-aof-rewrite-min-size",
        memory(0, MAX),
        "67108864",
        Working,
    )
    .doc("Size below which the append-only file is not rewritten."),
    row("aof-load-truncated", Kind::Bool, "yes", Working)
        .doc("Loads an append-only file whose end is cut off."),
    row("aof-use-rdb-preamble", Kind::Bool, "yes", Working)
        .doc("Writes the base of the append-only file as a snapshot."),
    row("aof-timestamp-enabled", Kind::Bool, "no", Working)
        .doc("Writes timestamps into the append-only file, for going back in time."),
    row("aof-rewrite-incremental-fsync", Kind::Bool, "yes", Working)
        .doc("Syncs the new append-only file to disk in steps while it is written."),
];

const REPLICATION: &[Directive] = &[
    row("replicaof", Kind::ReplicaOf, "", Later)
        .aliases(&["slaveof"])
        .immutable()
        .doc("Host and port of the primary to replicate; `no one` replicates none."),
    row("primaryauth", SECRET, "", Later)
        .aliases(&["masterauth"])
        .doc("Password for the primary."),
    row("primaryuser", SECRET, "", Later)
        .aliases(&["masteruser"])
        .doc("User name for the primary."),
    row("replica-serve-stale-data", Kind::Bool, "yes", Later)
        .aliases(&["slave-serve-stale-data"])
        .doc("Answers clients while the primary is out of reach."),
    row("replica-read-only", Kind::Bool, "yes", Later)
        .aliases(&["slave-read-only"])
        .doc("Refuses writes on a replica."),
    row("replica-ignore-maxmemory", Kind::Bool, "yes", Later)
        .aliases(&["slave-ignore-maxmemory"])
        .doc("Leaves eviction on a replica to the primary."),
    row("replica-ignore-disk-write-errors", Kind::Bool, "no", Later)
        .doc("Goes on replicating when the replica cannot write to disk."),
    row("replica-lazy-flush", Kind::Bool, "yes", Later)
        .aliases(&["slave-lazy-flush"])
        .doc("Frees the old data in the background before a full synchronisation."),
    row("replica-priority", int(0, I32_MAX), "100", Later)
        .aliases(&["slave-priority"])
        .doc("Rank of the replica for a failover: the lower the better, 0 never."),
    row("replica-announced", Kind::Bool, "yes", Later)
        .doc("Lets Sentinel tell clients of this replica."),
    row("replica-announce-ip", ANY, "", Later)
        .aliases(&["slave-announce-ip"])
        .doc("Address that a replica gives to its primary."),
    row("replica-announce-port", int(0, 65535), "0", Later)
        .aliases(&["slave-announce-port"])
        .doc("Port that a replica gives to its primary."),
    row("replica-full-sync-buffer-limit", memory(0, MAX), "0", Later).doc(
        "Bytes of writes that a replica buffers during a full synchronisation; 0 takes \
         the limit of the output buffer.",
    ),
    row("repl-diskless-sync", Kind::Bool, "yes", Later).doc(
        "Sends the snapshot of a full synchronisation straight to the replicas, without \
         a file.",
    ),
    row("repl-diskless-sync-delay", int(0, I32_MAX), "5", Later)
        .doc("Seconds to wait for more replicas before such a snapshot starts."),
    row(
        "repl-diskless-sync-max-replicas",
        int(0, I32_MAX),
        "0",
        Later,
    )
    .doc("Replicas at which such a snapshot starts without waiting; 0 always waits."),
    row(
        "repl-diskless-load",
        Kind::Word(&["disabled", "on-empty-db", "swapdb", "flush-before-load"]),
        "disabled",
        Later,
    )
    .doc("How a replica loads a snapshot that comes over the network."),
    row("dual-channel-replication-enabled", Kind::Bool, "no", Later)
        .doc("Sends a snapshot and the writes since over two connections."),
    row("repl-ping-replica-period", int(1, I32_MAX), "10", Later)
        .aliases(&["repl-ping-slave-period"])
        .doc("Seconds between pings to replicas."),
    row("repl-timeout", int(1, I32_MAX), "60", Later)
        .doc("Seconds of silence after which the link is taken as broken."),
    row("repl-disable-tcp-nodelay", Kind::Bool, "no", Later)
        .doc("Saves packets on the link at the price of delay."),
    row("repl-mptcp", Kind::Bool, "no", Later)
        .immutable()
        .doc("Connects to the primary with Multipath TCP."),
    row("repl-backlog-size", memory(1, MAX), "10485760", Later)
        .doc("Bytes of past writes kept for replicas that come back."),
    row("repl-backlog-ttl", int(0, MAX), "3600", Later)
        .doc("Seconds after the last replica left until these are freed; 0 never frees them."),
    row("min-replicas-to-write", int(0, I32_MAX), "0", Later)
        .aliases(&["min-slaves-to-write"])
        .doc("Replicas that must be connected for a write to be accepted; 0 asks for none."),
    row("min-replicas-max-lag", int(0, I32_MAX), "10", Later)
        .aliases(&["min-slaves-max-lag"])
        .doc("Seconds of lag up to which a replica counts for that."),
    row(
        "propagation-error-behavior",
        Kind::Word(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        Later,
    )
    .doc("What to do when a replicated command fails."),
    row("import-mode", Kind::Bool, "no", Working)
        .doc("Lets a tool import data with expiry and eviction held back."),
];

const CLUSTER: &[Directive] = &[
    row("cluster-enabled", Kind::Bool, "no", Later)
        .immutable()
        .doc("Runs as a node of a cluster."),
    row(
        "cluster-config-file",
        text(Check::NotEmpty),
        "nodes.conf",
        Later,
    )
    .immutable()
    .doc("File in which a node keeps what it knows of the cluster."),
    row(
        "cluster-config-save-behavior",
        Kind::Word(&["sync", "best-effort"]),
        "sync",
        Later,
    )
    .doc("What to do when that file cannot be written."),
    row("cluster-databases", int(1, I32_MAX), "1", Later)
        .immutable()
        .doc("Number of databases of a cluster node."),
    row("cluster-node-timeout", int(0, MAX), "15000", Later)
        .doc("Milliseconds of silence after which a node is taken as failing."),
    row("cluster-port", int(0, 65535), "0", Later)
        .immutable()
        .doc("Port of the cluster bus; 0 means the client port plus 10000."),
    row(
        "cluster-replica-validity-factor",
        int(0, I32_MAX),
        "10",
        Later,
    )
    .aliases(&["cluster-slave-validity-factor"])
    .doc(
        "How old the data of a replica may be for a failover, in node timeouts; 0 \
         allows any age.",
    ),
    row("cluster-migration-barrier", int(0, I32_MAX), "1", Later)
        .doc("Replicas that a primary keeps before one may move to another."),
    row("cluster-allow-replica-migration", Kind::Bool, "yes", Later)
        .doc("Lets replicas move to primaries that have none."),
    row("cluster-require-full-coverage", Kind::Bool, "yes", Later)
        .doc("Refuses queries while some slots have no node."),
    row("cluster-replica-no-failover", Kind::Bool, "no", Later)
        .aliases(&["cluster-slave-no-failover"])
        .doc("Keeps this replica from starting a failover."),
    row("cluster-allow-reads-when-down", Kind::Bool, "no", Later)
        .doc("Answers reads while the cluster is down."),
    row(
        "cluster-allow-pubsubshard-when-down",
        Kind::Bool,
        "yes",
        Later,
    )
    .doc("Serves sharded pub/sub while the cluster is down."),
    row("cluster-link-sendbuf-limit", memory(0, MAX), "0", Later)
        .doc("Most bytes waiting on one link of the bus; 0 sets no limit."),
    row(
        "cluster-manual-failover-timeout",
        int(1, I32_MAX),
        "5000",
        Later,
    )
    .doc("Milliseconds that a manual failover may take."),
    row("cluster-blacklist-ttl", int(0, MAX), "60", Later)
        .doc("Seconds during which a forgotten node stays forgotten."),
    row("cluster-announce-ip", text(Check::AnnounceIp), "", Later)
        .doc("Address that a node gives to others."),
    row("cluster-announce-client-ipv4", text(Check::Ipv4), "", Later)
        .doc("IPv4 address that clients are told."),
    row("cluster-announce-client-ipv6", text(Check::Ipv6), "", Later)
        .doc("IPv6 address that clients are told."),
    row("cluster-announce-client-port", int(0, 65535), "0", Later)
        .doc("Port that clients are told."),
    row(
        "cluster-announce-client-tls-port",
        int(0, 65535),
        "0",
        Later,
    )
    .doc("TLS port that clients are told."),
    row("cluster-announce-port", int(0, 65535), "0", Later)
        .doc("Port that a node gives to others."),
    row("cluster-announce-tls-port", int(0, 65535), "0", Later)
        .doc("TLS port that a node gives to others."),
    row("cluster-announce-bus-port", int(0, 65535), "0", Later)
        .doc("Bus port that a node gives to others."),
    row(
        "cluster-announce-hostname",
        text(Check::HostName),
        "",
        Later,
    )
    .doc("Host name that clients are told."),
    row(
        "cluster-announce-human-nodename",
        text(Check::NodeName),
        "",
        Later,
    )
    .doc("Name of the node in the log."),
    row(
        "cluster-preferred-endpoint-type",
        Kind::Word(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        Later,
    )
    .doc("What clients are told first: the address, the host name or nothing."),
    row("cluster-slot-stats-enabled", Kind::Bool, "no", Later).doc("Keeps statistics per slot."),
    row(
        "cluster-slot-migration-log-max-len",
        int(0, MAX),
        "1000",
        Later,
    )
    .doc("Entries kept about slot migrations."),
    row(
        "cluster-compatibility-sample-ratio",
        int(0, 100),
        "0",
        Later,
    )
    .doc("Percentage of commands checked for whether a cluster could run them."),
    row(
        "slot-migration-max-failover-repl-bytes",
        Kind::SignedMemory {
            min: -1,
            max: MAX as i128,
        },
        "0",
        Later,
    )
    .doc(
        "Bytes left to send below which a slot migration pauses writes and finishes; -1 \
         never minds.",
    ),
    row("cluster-ping-interval", int(0, MAX), "0", Later)
        .hidden()
        .doc("Milliseconds between pings on the bus, for tests."),
    row("cluster-message-gossip-perc", int(1, 100), "10", Later)
        .hidden()
        .doc("Percentage of nodes told about in one message of the bus."),
];

const DEBUGGING: &[Directive] = &[
    row("key-load-delay", int(I32_MIN, I32_MAX), "0", Working)
        .hidden()
        .doc("Microseconds to wait after each key loaded, for tests."),
    row("rdb-key-save-delay", int(I32_MIN, I32_MAX), "0", Working)
        .hidden()
        .doc("Microseconds to wait after each key saved, for tests."),
    row(
        "loading-process-events-interval-bytes",
        int(1024, I32_MAX),
        "2097152",
        Accepted,
    )
    .hidden()
    .doc(
        "Bytes loaded between two looks at clients; Kivi loads in threads of its own and \
         serves clients all the time.",
    ),
    row("aof-disable-auto-gc", Kind::Bool, "no", Later)
        .hidden()
        .doc("Keeps old append-only files, for tests."),
    row("enable-debug-assert", Kind::Bool, "no", Later)
        .immutable()
        .hidden()
        .doc("Checks more of its own state, for tests."),
    row("use-exit-on-panic", Kind::Bool, "no", Working)
        .hidden()
        .doc("Exits instead of aborting after a bug, for tests."),
    row("watchdog-period", int(0, I32_MAX), "0", Later)
        .hidden()
        .doc("Milliseconds after which a stuck server logs where it is; 0 switches it off."),
    row("debug-context", ANY, "", Working)
        .hidden()
        .doc("Text added to a crash report."),
];
