//! What goes wrong for everybody: clients that are killed and paused, directives that change, files that are written
//! and loaded, databases that are emptied, users that come and go.
//!
//! To add a trouble: a line in [`trouble`]; a directive: a row of [`DIRECTIVES`], which is set back at the end.

use crate::generate::Rng;

/// Directives that change under load, and what to. Immutable ones, and those that lock the test out, are not here.
pub(super) const DIRECTIVES: &[(&str, &[&str])] = &[
    ("acl-pubsub-default", &["allchannels", "resetchannels"]),
    ("acllog-max-len", &["0", "3", "128"]),
    ("active-defrag-cycle-us", &["0", "500", "100000"]),
    ("active-defrag-cycle-max", &["1", "25", "90"]),
    ("active-defrag-ignore-bytes", &["1", "100mb"]),
    ("active-defrag-max-scan-fields", &["1", "1000"]),
    ("active-defrag-threshold-lower", &["0", "10"]),
    ("active-expire-effort", &["1", "10"]),
    ("activedefrag", &["yes", "no"]),
    ("activerehashing", &["yes", "no"]),
    ("aof-rewrite-incremental-fsync", &["yes", "no"]),
    ("aof-timestamp-enabled", &["yes", "no"]),
    ("aof-use-rdb-preamble", &["yes", "no"]),
    ("appendfsync", &["always", "everysec", "no"]),
    ("appendonly", &["yes", "no", "yes", "yes"]),
    ("auto-aof-rewrite-min-size", &["64kb", "64mb"]),
    ("auto-aof-rewrite-percentage", &["0", "10", "100"]),
    ("busy-reply-threshold", &["1", "10", "50"]),
    (
        "client-output-buffer-limit",
        &[
            "normal 0 0 0",
            "normal 300kb 100kb 1",
            "pubsub 64kb 8kb 1",
            "pubsub 32mb 8mb 60",
        ],
    ),
    ("client-query-buffer-limit", &["1mb", "1gb"]),
    ("commandlog-execution-slower-than", &["0", "10000", "-1"]),
    ("commandlog-reply-larger-than", &["100", "1048576"]),
    ("hash-max-listpack-entries", &["0", "4", "512"]),
    ("hash-max-listpack-value", &["0", "3", "64"]),
    ("hide-user-data-from-log", &["yes", "no"]),
    ("hll-sparse-max-bytes", &["0", "100", "3000"]),
    ("hz", &["1", "10", "500"]),
    ("import-mode", &["yes", "no", "no"]),
    ("latency-monitor-threshold", &["0", "1"]),
    ("latency-tracking", &["yes", "no"]),
    ("lazyfree-lazy-eviction", &["yes", "no"]),
    ("lazyfree-lazy-expire", &["yes", "no"]),
    ("lazyfree-lazy-server-del", &["yes", "no"]),
    ("lazyfree-lazy-user-del", &["yes", "no"]),
    ("lazyfree-lazy-user-flush", &["yes", "no"]),
    ("lfu-decay-time", &["0", "1", "10"]),
    ("lfu-log-factor", &["0", "1", "100"]),
    ("list-compress-depth", &["0", "1", "3"]),
    ("list-max-listpack-size", &["-2", "-1", "4", "128"]),
    ("lua-memory-limit", &["1mb", "3mb", "16mb"]),
    ("max-new-connections-per-cycle", &["1", "10", "1000"]),
    ("maxmemory", &["0", "0", "3mb", "5mb", "8mb", "20mb"]),
    ("maxmemory-clients", &["0", "0", "300kb", "2mb", "5%"]),
    ("maxmemory-eviction-tenacity", &["0", "10", "100"]),
    (
        "maxmemory-policy",
        &[
            "noeviction",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "allkeys-lrm",
            "volatile-lru",
            "volatile-lrm",
            "volatile-lfu",
            "volatile-ttl",
            "volatile-random",
        ],
    ),
    ("maxmemory-samples", &["1", "5", "64"]),
    ("no-appendfsync-on-rewrite", &["yes", "no"]),
    ("notify-keyspace-events", &["", "KEA", "Kx", "AKEmn"]),
    ("prefetch-batch-max-size", &["0", "16", "128"]),
    (
        "proc-title-template",
        &["{title} {listen-addr}", "{title} {server-mode}"],
    ),
    ("proto-max-bulk-len", &["1mb", "512mb"]),
    ("rdb-key-save-delay", &["0", "0", "20"]),
    ("rdbcompression", &["yes", "no"]),
    ("rdb-save-incremental-fsync", &["yes", "no"]),
    ("request-timeout", &["0", "1"]),
    ("save", &["", "1 1", "3600 1 60 100"]),
    ("set-max-intset-entries", &["0", "8", "512"]),
    ("set-max-listpack-entries", &["0", "4", "128"]),
    ("set-max-listpack-value", &["0", "3", "64"]),
    ("slowlog-max-len", &["0", "5", "1000"]),
    ("stop-writes-on-bgsave-error", &["yes", "no"]),
    ("stream-node-max-bytes", &["0", "100", "4096"]),
    ("stream-node-max-entries", &["0", "3", "100"]),
    ("tcp-keepalive", &["0", "300"]),
    ("timeout", &["0", "0", "1"]),
    ("tls-session-caching", &["yes", "no"]),
    ("tls-session-cache-size", &["1", "20480"]),
    ("tracking-table-max-keys", &["5", "100", "1000000"]),
    ("zset-max-listpack-entries", &["0", "4", "128"]),
    ("zset-max-listpack-value", &["0", "3", "64"]),
];

/// A directive and what it is set to.
pub(super) fn setting(rng: &mut Rng) -> Vec<String> {
    let (name, values) = rng.pick(DIRECTIVES);
    let value: &&str = rng.pick(values);
    ["CONFIG", "SET", name, value].map(str::to_owned).to_vec()
}

/// One trouble. Clients' numbers are near `newest`.
pub(super) fn trouble(rng: &mut Rng, newest: u64) -> Vec<String> {
    let id = newest.saturating_sub(rng.below(40) as u64).max(1);
    let (db, ms, user) = (rng.below(3), rng.below(40), rng.below(4));
    let clients = [
        format!("CLIENT KILL ID {id}"),
        format!("CLIENT KILL ID {id} SKIPME no"),
        format!("CLIENT KILL USER u{user}"),
        "CLIENT KILL TYPE normal SKIPME yes".into(),
        "CLIENT KILL TYPE normal SKIPME no".into(),
        "CLIENT KILL TYPE pubsub".into(),
        "CLIENT KILL MAXAGE 1".into(),
        format!("CLIENT PAUSE {ms} ALL"),
        format!("CLIENT PAUSE {ms} WRITE"),
        "CLIENT UNPAUSE".into(),
        format!("CLIENT UNBLOCK {id} TIMEOUT"),
        format!("CLIENT UNBLOCK {id} ERROR"),
        "CLIENT LIST".into(),
    ];
    let files = [
        "BGSAVE",
        "BGSAVE SCHEDULE",
        "BGSAVE CANCEL",
        "SAVE",
        "BGREWRITEAOF",
        "BGREWRITEAOF",
        "DEBUG RELOAD",
        "DEBUG RELOAD NOSAVE NOFLUSH MERGE",
        "DEBUG LOADAOF",
    ];
    let keys = [
        (*rng.pick(&["FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHDB"])).into(),
        format!("SELECT {db}"),
        format!("SWAPDB {db} 1"),
        "DEBUG SET-ACTIVE-EXPIRE 0".into(),
        "DEBUG SET-ACTIVE-EXPIRE 1".into(),
        "DEBUG POPULATE 3000 many 60".into(),
        "DEBUG POPULATE 30 large 70000".into(),
        "DEBUG SLEEP 0.004".into(),
    ];
    let users = [
        format!("ACL SETUSER u{user} on >p ~* &* +@all"),
        format!("ACL SETUSER u{user} resetkeys %R~k* ~h* -@dangerous"),
        format!("ACL SETUSER u{user} off"),
        format!("ACL DELUSER u{user}"),
        "ACL SETUSER default -@pubsub".into(),
        "ACL SETUSER default +@all".into(),
        "ACL SETUSER default +@all".into(),
        format!("ACL SETUSER u{user} (%W~* +@write) resetchannels &c*"),
        format!("ACL SETUSER u{user} clearselectors reset"),
        "ACL LOG".into(),
        "ACL LOG RESET".into(),
        "ACL LIST".into(),
        "ACL SAVE".into(),
        "ACL LOAD".into(),
    ];
    let looks = [
        "INFO everything",
        "MEMORY STATS",
        "MEMORY DOCTOR",
        "MEMORY PURGE",
        "MEMORY MALLOC-STATS",
        "LATENCY DOCTOR",
        "LATENCY RESET",
        "SLOWLOG GET 20",
        "CONFIG RESETSTAT",
        "DEBUG CHECK-CLIENTS",
        "DEBUG DIGEST",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "FUNCTION LIST WITHCODE",
        "FUNCTION STATS",
        "LATENCY HISTOGRAM",
    ];
    let line = match rng.below(20) {
        0..=5 => rng.pick(&clients).clone(),
        6..=8 => (*rng.pick(&files)).into(),
        9..=11 => rng.pick(&keys).clone(),
        12..=13 => rng.pick(&users).clone(),
        14..=15 => (*rng.pick(&looks)).into(),
        16 => "SCRIPT KILL".into(),
        17 => "FUNCTION KILL".into(),
        _ => return setting(rng),
    };
    line.split(' ').map(str::to_owned).collect()
}
