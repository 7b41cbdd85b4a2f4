//! The table of directives against real servers, and against itself.

use super::*;

fn reference(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap()
}

fn valkey() -> BTreeMap<String, String> {
    reference(include_str!("../testdata/valkey-9.1.json"))
}

fn redis() -> BTreeMap<String, String> {
    reference(include_str!("../testdata/redis-8.0.json"))
}

#[test]
fn every_directive_of_valkey_and_redis_is_known() {
    for name in valkey().keys().chain(redis().keys()) {
        let directive = find(name.as_bytes());
        assert!(directive.is_some(), "{name}");
        assert_ne!(
            directive.unwrap().mutability,
            Mutability::FileOnly,
            "{name}"
        );
    }
    // Debian's Redis 7.0 has these besides.
    for name in ["io-threads-do-reads", "aof-disable-auto-gc"] {
        assert!(find(name.as_bytes()).is_some(), "{name}");
    }
    // What a file may hold although CONFIG GET does not know it.
    let file_only = [
        "include",
        "loadmodule",
        "rename-command",
        "user",
        "list-max-ziplist-entries",
        "list-max-ziplist-value",
        "lua-replicate-commands",
        "events-per-io-thread",
    ];
    for name in file_only {
        assert_eq!(
            find(name.as_bytes()).unwrap().mutability,
            Mutability::FileOnly,
            "{name}"
        );
    }
}

#[test]
fn config_get_names_exactly_what_the_servers_name() {
    let store = ConfigStore::default();
    let ours: BTreeSet<String> = store
        .get(&[b"*"])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let mut theirs: BTreeSet<String> = valkey().into_keys().chain(redis().into_keys()).collect();
    theirs.insert("io-threads-do-reads".to_owned());
    // Kivi's own.
    let own = [
        "audit-log-categories",
        "audit-log-file",
        "lua-memory-limit",
        "proxy-protocol-trusted",
        "request-timeout",
        "unauthenticated-timeout",
        "metrics-port",
        "metrics-bind",
        "console-enabled",
    ];
    theirs.extend(own.map(str::to_owned));
    assert_eq!(ours, theirs);
}

#[test]
fn defaults_are_valkeys() {
    // Intended differences. The reference was taken with --port, --bind and --save; Kivi has a
    // worker per core and its own name; the pidfile and the directory depend on the machine.
    // Huge pages do no harm without fork, and moving data holds up nobody.
    let different = [
        "port",
        "bind",
        "save",
        "io-threads",
        "syslog-ident",
        "dir",
        "disable-thp",
        "activedefrag",
    ];
    let store = ConfigStore::default();
    for (name, theirs) in valkey() {
        if !different.contains(&name.as_str()) {
            assert_eq!(get(&store, &name), theirs, "{name}");
        }
    }
    for (name, theirs) in redis() {
        if !valkey().contains_key(&name) {
            assert_eq!(get(&store, &name), theirs, "{name}");
        }
    }
    assert_eq!(get(&store, "port"), "6379");
    assert_eq!(get(&store, "bind"), "* -::*");
    assert_eq!(get(&store, "save"), "3600 1 300 100 60 10000");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(get(&store, "io-threads"), cores.to_string());
    assert_eq!(store.config().io_threads, cores);
    assert_eq!(
        get(&store, "dir"),
        std::env::current_dir().unwrap().to_str().unwrap()
    );
}

#[test]
fn names_are_lower_case_and_belong_to_one_row() {
    let mut seen = BTreeSet::new();
    for name in names() {
        assert_eq!(name.name, name.name.to_ascii_lowercase());
        assert!(seen.insert(name.name), "{} stands twice", name.name);
        assert_eq!(
            find_name(name.name.to_uppercase().as_bytes()).unwrap().row,
            name.row
        );
    }
    assert!(find(b"").is_none() && find(b"port ").is_none());
}

#[test]
fn every_default_passes_its_own_kind_and_shows_as_written() {
    let values = default_values(Path::new("/"));
    for (directive, value) in directives().iter().zip(&values) {
        let none = [
            Kind::Include,
            Kind::Ignored,
            Kind::RenameCommand,
            Kind::Lines,
        ];
        if !none.contains(&directive.kind) && directive.name != "dir" {
            let shown = directive.kind.render(value);
            assert_eq!(shown, directive.default.as_bytes(), "{}", directive.name);
        }
        assert!(
            directive.doc.ends_with('.') && directive.doc.len() > 10,
            "{}",
            directive.name
        );
    }
}

/// A row that works has a typed field, and only such a row: nothing is called working that no
/// subsystem can read.
#[test]
fn exactly_the_working_rows_have_a_field() {
    let fields: BTreeSet<&str> = Field::ALL.iter().map(|field| field.directive()).collect();
    let working = directives().iter().filter(|d| d.status == Status::Working);
    let mut working: BTreeSet<&str> = working.map(|d| d.name).collect();
    assert!(working.remove("include"), "acted upon by the loader");
    assert!(
        working.insert("hz"),
        "told by INFO, and without effect else"
    );
    assert_eq!(fields, working);
}

#[test]
fn typed_fields_hold_the_defaults() {
    let config = Config::default();
    assert_eq!(config.port, 6379);
    assert_eq!(config.tcp_backlog, 511);
    assert_eq!(config.maxclients, 10_000);
    assert_eq!(config.databases, 16);
    assert_eq!(config.hz, 10);
    assert_eq!(config.tcp_keepalive_secs, 300);
    assert_eq!(config.proto_max_bulk_len, 512 << 20);
    assert_eq!(config.client_query_buffer_limit, 1 << 30);
    assert_eq!(config.latency_tracking_info_percentiles, [50.0, 99.0, 99.9]);
    assert_eq!(config.loglevel, LogLevel::Notice);
    assert_eq!(config.log_format, LogFormat::Legacy);
    assert_eq!(config.enable_debug_command, EnableCommand::No);
    assert!(config.protected_mode && config.latency_tracking && config.set_proc_title);
    assert!(config.hide_user_data_from_log && config.lazyfree_lazy_user_flush);
    assert!(!config.daemonize && !config.always_show_logo && !config.extended_redis_compatibility);
    assert_eq!(
        (config.unixsocket.clone(), config.logfile.clone()),
        (None, None)
    );
    assert_eq!(
        config.client_output_buffer_limit.replica.soft_bytes,
        64 << 20
    );
    assert_eq!(config.client_output_buffer_limit.pubsub.soft_secs, 60);
    let bind: Vec<_> = config
        .bind
        .iter()
        .map(|b| (b.address.as_str(), b.optional))
        .collect();
    assert_eq!(bind, [("*", false), ("::*", true)]);
}
