//! Tests of the subsystem as a whole: the table against real servers, sources and their order,
//! CONFIG GET, SET and REWRITE.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::cli::{CheckAof, Invocation, parse};
use super::kind::{Check, Kind, Value};
use super::sources::{ConfigError, Sources, Warning, load_from};
use super::store::{ConfigStore, default_values};
use super::table::{Directive, Mutability, Status, directives, find, find_name, later, names};
use super::typed::{Config, EnableCommand, Field, LogFormat, LogLevel};

/// Loads `conf` as a file, then `args` as the command line.
fn load_conf(
    conf: impl AsRef<[u8]>,
    args: &[&str],
) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kivi.conf");
    fs::write(&file, conf).unwrap();
    load_file(&file, args)
}

fn load_file(file: &Path, args: &[&str]) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let args = std::iter::once(file.as_os_str().to_owned()).chain(args.iter().map(OsString::from));
    load_parsed(args.collect(), &[], b"")
}

fn load_parsed(
    args: Vec<OsString>,
    env: &[(&str, &str)],
    stdin: &[u8],
) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    match parse(args, env)? {
        Invocation::Run(sources) => load_from(&sources, PathBuf::from("/"), &mut &stdin[..]),
        other => panic!("{other:?}"),
    }
}

fn load_args(args: &[&str]) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    load_parsed(args.iter().map(OsString::from).collect(), &[], b"")
}

fn load_env(env: &[(&str, &str)]) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    load_parsed(Vec::new(), env, b"")
}

fn get(store: &ConfigStore, name: &str) -> String {
    let found = store.get(&[name.as_bytes()]);
    assert_eq!(found.len(), 1, "{name}");
    String::from_utf8_lossy(&found[0].1).into_owned()
}

fn set(store: &mut ConfigStore, name: &str, value: &str) -> Result<Vec<Field>, String> {
    store
        .set(&[(name.as_bytes(), value.as_bytes())], false)
        .map(|changes| changes.fields)
}

fn refused(name: &str, reason: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}

// ---------------------------------------------------------------------------- the table

fn reference(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap()
}

fn valkey() -> BTreeMap<String, String> {
    reference(include_str!("testdata/valkey-9.1.json"))
}

fn redis() -> BTreeMap<String, String> {
    reference(include_str!("testdata/redis-8.0.json"))
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
    theirs.insert("lua-memory-limit".to_owned());
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

#[test]
fn a_value_that_is_already_met_fits_its_directive() {
    for directive in directives().iter().filter(|d| d.met_by.is_some()) {
        assert_eq!(directive.status, Status::Later, "{}", directive.name);
        let value = directive.met_by.unwrap();
        let (_, warnings) = load_args(&[&format!("--{}", directive.name), value]).unwrap();
        assert_eq!(warnings, [], "{}", directive.name);
    }
}

// ---------------------------------------------------------------------------- files

#[test]
fn a_file_is_read_as_redis_reads_it() {
    let conf = b"\xef\xbb\xbf# comment \xff\n\n  PORT 7000\r\n\tbind 127.0.0.1   -::1 \n\
        requirepass \"a \\\"b\\\" \\x41\\n\"\nclient-query-buffer-limit 2mb\n\
        rename-command CONFIG \"\"\nRename-Command flushall 'x y'\n\
        client-output-buffer-limit normal 1mb 2k 3\nclient-output-buffer-limit replica 0 0 0\n\
        loglevel WARNING\nport 7001\nunixsocketperm 700\n  # last";
    let (store, warnings) = load_conf(conf, &[]).unwrap();
    assert_eq!(warnings, []);
    let config = store.config();
    assert_eq!(config.port, 7001);
    assert_eq!(config.bind.len(), 2);
    assert!(config.bind[1].optional && config.bind[1].address == "::1");
    assert_eq!(config.requirepass, b"a \"b\" A\n");
    assert_eq!(config.client_query_buffer_limit, 2 << 20);
    assert_eq!(config.loglevel, LogLevel::Warning);
    assert_eq!(config.unixsocketperm, 0o700);
    let renamed = [(&b"CONFIG"[..], &b""[..]), (b"flushall", b"x y")];
    let renamed = renamed.map(|(old, new)| (old.to_vec(), new.to_vec()));
    assert_eq!(config.rename_command, renamed);
    let limits = config.client_output_buffer_limit;
    assert_eq!(
        (limits.normal.hard_bytes, limits.normal.soft_bytes),
        (1 << 20, 2000)
    );
    assert_eq!(
        (limits.replica.hard_bytes, limits.pubsub.hard_bytes),
        (0, 32 << 20)
    );
}

#[test]
fn a_wrong_line_is_named_with_file_line_and_reason() {
    let cases: &[(&str, usize, &str)] = &[
        (
            "port 1\nport 70000",
            2,
            "argument must be between 0 and 65535 inclusive",
        ),
        ("\n\n# x\nport", 4, "wrong number of arguments"),
        ("port 1 2", 1, "wrong number of arguments"),
        ("requirepass \"a", 1, "unbalanced quotes"),
        ("requirepass \"a\\\"", 1, "unbalanced quotes"),
        (
            "prot 1",
            1,
            "unknown directive 'prot'; did you mean 'port'?",
        ),
        (
            "nothing-like-it 1",
            1,
            "unknown directive 'nothing-like-it'",
        ),
        ("sentinel monitor a", 1, "unknown directive 'sentinel'"),
        ("hz 5\nrequirepass a\0b", 2, "a NUL byte in the line"),
        ("dir /nonexistent", 1, "No such file or directory"),
        (
            "include /nonexistent",
            1,
            "can't read '/nonexistent': No such file or directory",
        ),
        ("include", 1, "wrong number of arguments"),
        ("rename-command a", 1, "wrong number of arguments"),
        ("user", 1, "wrong number of arguments"),
        ("list-max-ziplist-entries", 1, "wrong number of arguments"),
        ("maxmemory 5x", 1, "argument must be a memory value"),
        ("save 1 1\nsave 2", 2, "Invalid save parameters"),
    ];
    for (conf, line, reason) in cases {
        let error = load_conf(conf, &[]).unwrap_err();
        assert_eq!(
            (error.line, error.reason.as_str()),
            (*line, *reason),
            "{conf:?}"
        );
        let wrong = conf.lines().nth(line - 1).unwrap();
        assert_eq!(error.text, wrong);
        assert!(error.source.ends_with("/kivi.conf"));
        let shown = error.to_string();
        let head = format!(
            "configuration error in {}, line {line}\n    {wrong}\n",
            error.source
        );
        assert!(
            shown.starts_with(&head) && shown.ends_with(reason),
            "{shown}"
        );
    }
    let error = load_file(Path::new("/nonexistent/x.conf"), &[]).unwrap_err();
    assert_eq!(
        error.reason,
        "can't read '/nonexistent/x.conf': No such file or directory"
    );
}

#[test]
fn later_directives_warn_once_and_defaults_do_not() {
    let conf = "appendonly no\nrepl-backlog-size 1gb\nrepl-backlog-size 2gb\nsave \"\"\nslave-read-only yes\n\
        hash-max-ziplist-entries 512\nactive-expire-effort 5\nuser alice on\n";
    let (store, warnings) = load_conf(conf, &["--masterauth", "x"]).unwrap();
    let texts: Vec<_> = warnings.iter().map(|warning| warning.0.as_str()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("directive 'user' is not supported by Kivi yet"));
    assert!(texts[1].contains("'primaryauth'") && texts[1].ends_with("(command line)"));
    assert!(texts[2].starts_with("directive 'repl-backlog-size' is not supported by Kivi yet"));
    assert!(texts[2].ends_with("/kivi.conf, line 3)"), "{}", texts[2]);
    assert_eq!(get(&store, "repl-backlog-size"), "2147483648");
    assert_eq!(get(&store, "primaryauth"), "x");
    assert_eq!(get(&store, "save"), "");
}

#[test]
fn includes_stand_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    write("1.inc", "port 1\nhz 20\n");
    write("2.inc", "port 2\n");
    write("x.toml", "timeout = 7\n");
    let star = path("*.inc");
    write(
        "main.conf",
        &format!(
            "port 9\ninclude {star}\nhz 30\ninclude \"{}\"\n",
            path("x.toml")
        ),
    );
    let config = load_file(Path::new(&path("main.conf")), &[])
        .unwrap()
        .0
        .config();
    assert_eq!((config.port, config.hz, config.timeout_secs), (2, 30, 7));
    // No file for a pattern is no error; a loop is one, told where it closes.
    write("main.conf", &format!("include {}\n", path("*.none")));
    load_file(Path::new(&path("main.conf")), &[]).unwrap();
    write("1.inc", &format!("hz 5\ninclude {}\n", path("main.conf")));
    write("main.conf", &format!("include {}\n", path("1.inc")));
    let error = load_file(Path::new(&path("main.conf")), &[]).unwrap_err();
    assert_eq!((error.source, error.line), (path("1.inc"), 2));
    assert!(
        error.reason.ends_with("includes itself"),
        "{}",
        error.reason
    );
    // An error in an included file names that file.
    write("1.inc", "\nport x\n");
    let error = load_file(Path::new(&path("main.conf")), &[]).unwrap_err();
    assert_eq!((error.source, error.line), (path("1.inc"), 2));
    // Breadth has an end too.
    write("1.inc", "hz 5\n");
    write(
        "main.conf",
        &format!("include {}\n", path("1.inc")).repeat(1001),
    );
    let error = load_file(Path::new(&path("main.conf")), &[]).unwrap_err();
    assert_eq!(
        (error.line, error.reason.as_str()),
        (1001, "too many includes")
    );
}

#[test]
fn save_points_add_up_in_a_source_and_start_anew_in_the_next() {
    let (store, _) = load_conf("save 900 1\nsave 300 10 60 100\n", &[]).unwrap();
    assert_eq!(get(&store, "save"), "900 1 300 10 60 100");
    let (store, _) = load_conf("save 900 1\nsave \"\"\nsave 5 5\n", &[]).unwrap();
    assert_eq!(get(&store, "save"), "5 5");
    let (store, _) = load_conf("save 900 1\n", &["--save", "60 5", "--save", "30", "2"]).unwrap();
    assert_eq!(get(&store, "save"), "60 5 30 2");
    let (store, _) = load_conf("save 900 1\n", &["--save", "--port", "1"]).unwrap();
    assert_eq!(
        (get(&store, "save"), store.config().port),
        (String::new(), 1)
    );
}

#[test]
fn toml_gives_the_same_as_redis_conf() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kivi.TOML");
    let text = r#"
        # comment
        port = 7000
        bind = ["127.0.0.1", "-::1"]
        daemonize = true
        save = ["900 1", "300 10"]
        client-output-buffer-limit = ["normal 1mb 0 0", ["replica", 0, 0, 0]]
        rename-command = [["CONFIG", ""]]
        requirepass = "a b\nc"
        repl-backlog-size = "1gb"
    "#;
    fs::write(&file, text).unwrap();
    let (store, warnings) = load_file(&file, &[]).unwrap();
    let conf = "port 7000\nbind 127.0.0.1 -::1\ndaemonize yes\nsave 900 1\nsave 300 10\n\
        client-output-buffer-limit normal 1mb 0 0\nclient-output-buffer-limit replica 0 0 0\n\
        rename-command CONFIG \"\"\nrequirepass \"a b\\nc\"\nrepl-backlog-size 1gb\n";
    let (same, same_warnings) = load_conf(conf, &[]).unwrap();
    assert_eq!(store.values, same.values);
    assert_eq!((warnings.len(), same_warnings.len()), (1, 1));

    let wrong = [
        (
            "port = 1\nprot = 2",
            2,
            "unknown directive 'prot'; did you mean 'port'?",
        ),
        (
            "\nport = 70000",
            2,
            "argument must be between 0 and 65535 inclusive",
        ),
        (
            "port = 1\n[net]\nport = 2",
            2,
            "directives stand at the top level, not in tables",
        ),
        ("port = [1, 2]", 1, "wrong number of arguments"),
    ];
    for (text, line, reason) in wrong {
        fs::write(&file, text).unwrap();
        let error = load_file(&file, &[]).unwrap_err();
        assert_eq!(
            (error.line, error.reason.as_str()),
            (line, reason),
            "{text:?}"
        );
    }
    fs::write(&file, "port = \n").unwrap();
    assert_eq!(load_file(&file, &[]).unwrap_err().line, 1);
    fs::write(&file, b"requirepass = \"\xff\"").unwrap();
    assert_eq!(
        load_file(&file, &[]).unwrap_err().reason,
        "the file is not UTF-8"
    );
}

#[test]
fn real_configuration_files_load_with_warnings_only() {
    let oracle = std::env::var_os("KIVI_ORACLE").map(PathBuf::from);
    let oracle = oracle.unwrap_or_else(|| PathBuf::from("/opt/oracle"));
    let files = [
        PathBuf::from("/etc/redis/redis.conf"),
        oracle.join("etc/redis/redis.conf"),
        oracle.join("etc/valkey/valkey.conf"),
    ];
    for file in files {
        let Ok(text) = fs::read(&file) else { continue };
        // The data folder belongs to the machine of that server.
        let text = String::from_utf8_lossy(&text).replace("\ndir ", "\ndir /\n#");
        let (store, _) = load_conf(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(store.config().port, 6379);
        // What stands there as a comment may be an example or prose; neither may panic.
        for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
            let name = line.split(' ').next().unwrap_or_default();
            if find(name.as_bytes()).is_none() {
                continue;
            }
            let sources = Sources {
                stdin: true,
                ..Sources::default()
            };
            let _ = load_from(&sources, PathBuf::from("/"), &mut line.as_bytes());
        }
    }
}

#[test]
fn garbage_never_panics() {
    // xorshift: the same garbage every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let pieces: &[&[u8]] = &[
        b" ",
        b"\t",
        b"\"",
        b"'",
        b"\\",
        b"\\x",
        b"\\x4",
        b"\xff",
        b"\0",
        b"#",
        b"-",
        b"--",
        b"0",
        b"99999999999999999999",
        b"-1",
        b"kb",
        b"%",
        b"{",
        b"}",
        b"[",
        b"]",
        b"=",
        b"yes",
        b"a",
        b"1 1",
        b"\r",
        b"*",
        b"?",
        b"normal 1 1 1",
        b"\xef\xbb\xbf",
        b"/",
        b".",
        b",",
    ];
    for round in 0..4_000 {
        let name = names()[next(names().len())].name;
        let mut line = if round % 8 == 0 {
            Vec::new()
        } else {
            format!("{name} ").into_bytes()
        };
        for _ in 0..next(6) {
            line.extend_from_slice(pieces[next(pieces.len())]);
        }
        if name == "include" {
            continue;
        }
        let sources = Sources {
            stdin: true,
            ..Sources::default()
        };
        let _ = load_from(&sources, PathBuf::from("/"), &mut line.as_slice());
        let text = String::from_utf8_lossy(&line);
        let _ = super::toml_file::entries(&text);
        let mut store = ConfigStore::default();
        let value = line.get(name.len() + 1..).unwrap_or_default().to_vec();
        let _ = store.set(&[(name.as_bytes(), &value), (&line, b"1")], true);
        let _ = store.set(&[(name.as_bytes(), &value)], true);
        let _ = store.get(&[&line]);
        let _ = parse([OsString::from(format!("--{text}"))], []);
    }
}

// ---------------------------------------------------------------------------- environment, argv

#[test]
fn the_environment_sets_directives() {
    let env = [
        ("KIVI_PORT", "7000"),
        ("KIVI_TCP_KEEPALIVE", "5"),
        ("KIVI_REQUIREPASS", "a b \"c"),
        ("KIVI_BIND", "127.0.0.1 ::1"),
        ("KIVI_SAVE", "900 1\n300 10"),
        ("KIVI_RENAME_COMMAND", "CONFIG \"\"\nFLUSHALL x"),
        ("KIVI_SERVER_CPULIST", "0-1"),
        ("PATH", "/bin"),
        ("KIVI", "x"),
    ];
    let (store, _) = load_env(&env).unwrap();
    let config = store.config();
    assert_eq!(
        (config.port, config.tcp_keepalive_secs, config.bind.len()),
        (7000, 5, 2)
    );
    assert_eq!(config.requirepass, b"a b \"c");
    assert_eq!(config.rename_command.len(), 2);
    assert_eq!(get(&store, "save"), "900 1 300 10");
    assert_eq!(get(&store, "server_cpulist"), "0-1");
}

#[test]
fn a_mistyped_variable_stops_the_start() {
    let error = load_env(&[("KIVI_PROT", "7000")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration error in environment\n    KIVI_PROT\n\
        unknown directive 'prot'; did you mean 'port'?"
    );
    let error = load_env(&[("KIVI_PORT", "x")]).unwrap_err();
    assert_eq!(error.reason, "argument couldn't be parsed into an integer");
    let error = load_env(&[("KIVI_PORT", "")]).unwrap_err();
    assert_eq!(error.reason, "argument couldn't be parsed into an integer");
}

#[test]
fn variables_that_are_not_settings_are_left_alone() {
    let env = [
        ("KIVI_ORACLE", "/opt/oracle"),
        ("KIVI_TEST_BLESS", "1"),
        ("KIVI_BENCH_SECONDS", "1"),
        // Kubernetes sets these in every pod beside a service called kivi.
        ("KIVI_SERVICE_HOST", "10.0.0.1"),
        ("KIVI_SERVICE_PORT", "6379"),
        ("KIVI_SERVICE_PORT_REDIS", "6379"),
        ("KIVI_PORT", "tcp://10.0.0.1:6379"),
        ("KIVI_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ("KIVI_PORT_6379_TCP_PROTO", "tcp"),
    ];
    assert_eq!(load_env(&env).unwrap().0.config().port, 6379);
}

#[test]
fn later_sources_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.conf");
    fs::write(&file, "port 1\nhz 1\ntimeout 1\ntcp-backlog 1\n").unwrap();
    let file = file.into_os_string();
    let args = ["--port", "4", "-"].map(OsString::from);
    let args = std::iter::once(file).chain(args).collect();
    let env = [("KIVI_PORT", "3"), ("KIVI_HZ", "3")];
    let (store, _) = load_parsed(args, &env, b"port 2\nhz 2\ntimeout 2").unwrap();
    let config = store.config();
    let values = (
        config.port,
        config.hz,
        config.timeout_secs,
        config.tcp_backlog,
    );
    assert_eq!((values, config.maxclients), ((4, 3, 2, 1), 10_000));
}

#[test]
fn the_command_line_is_redis_servers() {
    let config = |args: &[&str]| load_args(args).unwrap().0.config();
    let all = config(&[
        "--port",
        "7000",
        "--bind",
        "127.0.0.1",
        "::1",
        "--databases",
        "32",
    ]);
    assert_eq!((all.port, all.bind.len(), all.databases), (7000, 2, 32));
    assert_eq!(config(&["--port 7000", "--hz", "5"]).port, 7000);
    assert_eq!(config(&["--PORT", "7000"]).port, 7000);
    assert_eq!(config(&["--requirepass", "--foo"]).requirepass, b"--foo");
    assert_eq!(
        config(&["--requirepass", "-", "--port", "1"]).requirepass,
        b"-"
    );
    assert_eq!(config(&["--requirepass", "a b"]).requirepass, b"a b");
    assert_eq!(config(&["--unixsocket", ""]).unixsocket, None);
    assert_eq!(config(&["--bind", ""]).bind, []);
    assert_eq!(
        config(&["--rename-command", "CONFIG", ""])
            .rename_command
            .len(),
        1
    );
    let stdin = |args: &[&str]| {
        let args = args.iter().map(OsString::from).collect();
        load_parsed(args, &[], b"port 5\nhz 7\n")
            .unwrap()
            .0
            .config()
    };
    assert_eq!(stdin(&["-"]).port, 5);
    assert_eq!(
        (
            stdin(&["-", "--port", "6"]).port,
            stdin(&["--port", "6", "-"]).hz
        ),
        (6, 7)
    );

    let wrong: &[(&[&str], &str, &str)] = &[
        (&["--port"], "--port", "wrong number of arguments"),
        (
            &["--port", "1", "2"],
            "--port 1 2",
            "wrong number of arguments",
        ),
        (
            &["--port", "--hz"],
            "--port --hz",
            "argument couldn't be parsed into an integer",
        ),
        (
            &["--prot", "1"],
            "--prot 1",
            "unknown directive 'prot'; did you mean 'port'?",
        ),
        (
            &["--", "1"],
            "--",
            "expected the name of a directive after `--`",
        ),
        (
            &["-p", "1"],
            "-p",
            "expected `--` and the name of a directive",
        ),
        (
            &["--loglevel", "x"],
            "--loglevel x",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
    ];
    for (args, text, reason) in wrong {
        let error = load_args(args).unwrap_err();
        assert_eq!(error.source, "command line");
        assert_eq!(
            (error.text.as_str(), error.reason.as_str()),
            (*text, *reason),
            "{args:?}"
        );
    }
}

#[test]
fn files_to_check() {
    let parsed = |args: &[&str]| parse(args.iter().map(OsString::from), []);
    let rdb = parsed(&["--check-rdb", "x.rdb"]).unwrap();
    assert_eq!(rdb, Invocation::CheckRdb(PathBuf::from("x.rdb")));
    let whole = CheckAof {
        file: PathBuf::from("x.manifest"),
        ..CheckAof::default()
    };
    let fix = CheckAof {
        fix: true,
        ..whole.clone()
    };
    let cut = CheckAof {
        truncate_to_timestamp: Some(17),
        ..whole.clone()
    };
    let cases: [(&[&str], &CheckAof); 5] = [
        (&["x.manifest"], &whole),
        (&["x.manifest", "--fix"], &fix),
        (&["--fix", "x.manifest"], &fix),
        (&["x.manifest", "--truncate-to-timestamp", "17"], &cut),
        (&["--truncate-to-timestamp", "17", "x.manifest"], &cut),
    ];
    for (args, expected) in cases {
        let args = [&["--check-aof"][..], args].concat();
        assert_eq!(
            parsed(&args).unwrap(),
            Invocation::CheckAof(expected.clone())
        );
    }
    for wrong in [
        &["--check-rdb"][..],
        &["--check-rdb", "x", "y"],
        &["--check-aof"],
        &["--check-aof", "--fix"],
        &["--check-aof", "x", "y"],
        &["--check-aof", "x", "--truncate-to-timestamp"],
        &["--check-aof", "x", "--truncate-to-timestamp", "soon"],
        &["--check-aof", "x", "--fix", "--truncate-to-timestamp", "1"],
    ] {
        assert!(parsed(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn kivis_own_options() {
    let parsed = |args: &[&str]| parse(args.iter().map(OsString::from), []).unwrap();
    for help in ["-h", "--help"] {
        let Invocation::Help(text) = parsed(&[help]) else {
            panic!()
        };
        assert!(
            text.contains("--check-config") && text.contains("--port 7000"),
            "{text}"
        );
    }
    for version in ["-v", "--version"] {
        let expected = format!("kivi-server {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(parsed(&[version]), Invocation::Version(expected));
    }
    let Invocation::CheckConfig(sources) = parsed(&["x.conf", "--check-config", "--port", "1"])
    else {
        panic!()
    };
    assert_eq!(sources.file, Some(PathBuf::from("x.conf")));
    assert_eq!(sources.args, [(b"port".to_vec(), vec![b"1".to_vec()])]);
    let before = parsed(&["--check-config", "x.conf", "--port", "1"]);
    assert_eq!(before, Invocation::CheckConfig(sources));

    let ping = |args: &[&str]| match parsed(args) {
        Invocation::Ping(ping) => ping,
        other => panic!("{other:?}"),
    };
    let default = ping(&["--ping"]);
    assert_eq!((default.host.as_str(), default.port), ("127.0.0.1", 6379));
    let other = ping(&[
        "--port",
        "7",
        "--ping",
        "--bind",
        "::",
        "--requirepass",
        "x",
    ]);
    assert_eq!((other.host.as_str(), other.port), ("::1", 7));
    assert_eq!(other.password, b"x");
    let socket = ping(&["--ping", "--bind", "", "--unixsocket", "/x"]);
    assert_eq!(
        (socket.port, socket.unixsocket),
        (0, Some(PathBuf::from("/x")))
    );
    assert_eq!(
        ping(&["--ping", "--bind", "-::1", "10.0.0.1"]).host,
        "10.0.0.1"
    );
}

// ---------------------------------------------------------------------------- CONFIG GET, SET

#[test]
fn config_get_answers_as_valkey() {
    let store = ConfigStore::default();
    let get = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|p| p.as_bytes()).collect();
        store
            .get(&patterns)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(get(&["PORT"]), ["PORT"]);
    assert_eq!(get(&["POR*"]), ["port"]);
    assert_eq!(get(&["PORT", "port"]), ["PORT"]);
    assert_eq!(
        get(&["*CLIENTS"]),
        ["maxclients", "maxmemory-clients", "tls-auth-clients"]
    );
    assert_eq!(
        get(&["hz", "PORT", "Appendonly", "h[z]"]),
        ["Appendonly", "PORT", "hz"]
    );
    assert_eq!(
        get(&["slave-pri*", "port", "p?rt"]),
        ["port", "slave-priority"]
    );
    assert_eq!(
        get(&["min-*-to-write"]),
        ["min-replicas-to-write", "min-slaves-to-write"]
    );
    assert_eq!(get(&["key-load-delay"]), ["key-load-delay"]);
    for nothing in [
        "key-*",
        "include",
        "user",
        "rename-command",
        "",
        "nosuch",
        "\\dir",
    ] {
        assert_eq!(get(&[nothing]), [""; 0], "{nothing}");
    }
}

#[test]
fn config_set_refuses_in_valkeys_words() {
    let mut store = ConfigStore::default();
    let cases: &[(&str, &str, String)] = &[
        (
            "nosuch",
            "1",
            "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'".into(),
        ),
        (
            "NoSuch",
            "1",
            "ERR Unknown option or number of arguments for CONFIG SET - 'NoSuch'".into(),
        ),
        (
            "include",
            "x",
            "ERR Unknown option or number of arguments for CONFIG SET - 'include'".into(),
        ),
        (
            "list-max-ziplist-entries",
            "1",
            "ERR Unknown option or number of arguments for CONFIG \
            SET - 'list-max-ziplist-entries'"
                .into(),
        ),
        (
            "databases",
            "5",
            refused("databases", "can't set immutable config"),
        ),
        (
            "slaveof",
            "a 1",
            refused("slaveof", "can't set immutable config"),
        ),
        (
            "io-threads",
            "2",
            refused("io-threads", "can't set immutable config"),
        ),
        ("dir", "/", refused("dir", "can't set protected config")),
        (
            "PORT",
            "80000",
            refused("port", "argument must be between 0 and 65535 inclusive"),
        ),
        (
            "port",
            "",
            refused("port", "argument couldn't be parsed into an integer"),
        ),
        (
            "maxmemory",
            "x",
            refused("maxmemory", "argument must be a memory value"),
        ),
        (
            "repl-backlog-size",
            "1gb",
            refused(
                "repl-backlog-size",
                "this directive is not supported by Kivi yet",
            ),
        ),
        (
            "slave-priority",
            "1",
            refused(
                "slave-priority",
                "this directive is not supported by Kivi yet",
            ),
        ),
        (
            "slave-priority",
            "x",
            refused(
                "slave-priority",
                "argument couldn't be parsed into an integer",
            ),
        ),
    ];
    for (name, value, reply) in cases {
        assert_eq!(set(&mut store, name, value).as_ref(), Err(reply), "{name}");
    }
    assert_eq!(store.values, ConfigStore::default().values);
}

#[test]
fn config_set_accepts_what_changes_nothing_or_is_met() {
    let mut store = ConfigStore::default();
    for (name, value) in [
        ("maxmemory", "0"),
        ("appendonly", "no"),
        ("slave-priority", "100"),
    ] {
        assert_eq!(set(&mut store, name, value), Ok(vec![]), "{name}");
    }
    // What scripts and tests do first.
    assert_eq!(set(&mut store, "save", ""), Ok(vec![Field::Save]));
    assert_eq!(get(&store, "save"), "");
    assert!(set(&mut store, "save", "900 1").is_ok());
    assert_eq!(set(&mut store, "active-expire-effort", "5"), Ok(vec![]));
    assert_eq!(get(&store, "active-expire-effort"), "5");
}

#[test]
fn config_set_tells_what_changed() {
    let mut store = ConfigStore::default();
    let before = store.config();
    let pairs: &[(&[u8], &[u8])] = &[
        (b"Maxclients", b"5"),
        (b"hz", b"10"),
        (b"bind", b"127.0.0.1"),
    ];
    let changes = store.set(pairs, false).unwrap();
    assert_eq!(changes.fields, [Field::Bind, Field::MaxClients]);
    assert!(changes.has(Field::Bind) && !changes.has(Field::Hz));
    assert_eq!((before.maxclients, store.config().maxclients), (10_000, 5));
    assert_eq!(get(&store, "bind"), "127.0.0.1");
    assert_eq!(set(&mut store, "hz", "9999"), Ok(vec![Field::Hz]));
    assert_eq!(get(&store, "hz"), "500");
    let limits = set(&mut store, "client-output-buffer-limit", "normal 5 6 7");
    assert_eq!(limits, Ok(vec![Field::ClientOutputBufferLimit]));
    let shown = "normal 5 6 7 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    assert_eq!(get(&store, "client-output-buffer-limit"), shown);
    assert_eq!(
        set(&mut store, "requirepass", "a\0b"),
        Ok(vec![Field::RequirePass])
    );
    assert_eq!(store.config().requirepass, b"a\0b");
}

#[test]
fn config_set_applies_all_or_none() {
    let mut store = ConfigStore::default();
    let fresh = store.clone();
    let mut set = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        store.set(&pairs, false).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        set(&[("hz", "20"), ("port", "x")]),
        refused("port", "argument couldn't be parsed into an integer")
    );
    // Names are looked at before values.
    assert_eq!(
        set(&[("hz", "x"), ("databases", "6"), ("nosuch", "1")]),
        refused("databases", "can't set immutable config")
    );
    assert_eq!(
        set(&[("hz", "20"), ("foo", "1")]),
        "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"
    );
    assert_eq!(
        set(&[("maxclients", "5"), ("MAXCLIENTS", "6")]),
        refused("MAXCLIENTS", "duplicate parameter")
    );
    assert_eq!(
        set(&[("hz", "20"), ("repl-backlog-size", "1")]),
        refused(
            "repl-backlog-size",
            "this directive is not supported by Kivi yet"
        )
    );
    assert_eq!(
        (&store.values, store.config()),
        (&fresh.values, fresh.config())
    );
}

#[test]
fn an_apply_hook_may_refuse_and_all_is_rolled_back() {
    let mut store = ConfigStore::default();
    let before = store.clone();
    let mut calls = Vec::new();
    let pairs: &[(&[u8], &[u8])] = &[(b"maxclients", b"5"), (b"hz", b"20"), (b"timeout", b"9")];
    let mut hook = |field: Field, from: &Config, to: &Config| {
        calls.push((field, from.hz, to.hz));
        if field == Field::MaxClients && to.maxclients == 5 {
            return Err("The operating system is not able to handle it".to_owned());
        }
        Ok(())
    };
    let reply = store.set_with(pairs, false, &mut hook).unwrap_err();
    assert_eq!(
        reply,
        refused(
            "maxclients",
            "The operating system is not able to handle it"
        )
    );
    assert_eq!(
        calls,
        [
            (Field::Timeout, 10, 20),
            (Field::MaxClients, 10, 20),
            (Field::Timeout, 20, 10)
        ]
    );
    assert_eq!(
        (&store.values, store.config()),
        (&before.values, before.config())
    );
    let changes = store.set_with(pairs, false, &mut |_, _, _| Ok(())).unwrap();
    assert_eq!(
        changes.fields,
        [Field::Timeout, Field::MaxClients, Field::Hz]
    );
}

#[test]
fn protected_directives_ask_who_is_asking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let value = path.to_str().unwrap().as_bytes();
    let allowed = |setting: &str, local: bool| {
        let mut store = load_args(&["--enable-protected-configs", setting])
            .unwrap()
            .0;
        let set = store.set(&[(b"dir", value)], local);
        assert!(set.is_err() || store.config().dir == path);
        set.is_ok()
    };
    assert!(!allowed("no", true) && !allowed("local", false));
    assert!(allowed("yes", false) && allowed("local", true));
    let mut store = load_args(&["--enable-protected-configs", "yes"]).unwrap().0;
    assert_eq!(set(&mut store, "dir", "usr/bin/.."), Ok(vec![Field::Dir]));
    assert_eq!(set(&mut store, "dir", "share"), Ok(vec![Field::Dir]));
    assert_eq!(
        get(&store, "dir"),
        "/usr/share",
        "relative to where the server is"
    );
    assert_eq!(
        set(&mut store, "dir", "/nonexistent"),
        Err(refused("dir", "No such file or directory"))
    );
}

#[test]
fn later_directives_keep_their_values_for_config_get() {
    let (store, _) = load_args(&[
        "--maxmemory-clients",
        "5%",
        "--notify-keyspace-events",
        "KEA",
    ])
    .unwrap();
    assert_eq!(get(&store, "maxmemory-clients"), "5%");
    assert_eq!(get(&store, "notify-keyspace-events"), "AKE");
    assert!(later().any(|d| d.name == "repl-backlog-size") && !later().any(|d| d.name == "port"));
}

/// The table in README: what is still to come, by theme.
fn later_table() -> String {
    let mut text = String::from("\n| theme | directives |\n|---|---|\n");
    for (theme, rows) in super::rows::THEMES {
        let rows = rows.iter().filter(|row| row.status == Status::Later);
        let names: Vec<_> = rows.map(|row| format!("`{}`", row.name)).collect();
        if !names.is_empty() {
            text.push_str(&format!("| {theme} | {} |\n", names.join(" ")));
        }
    }
    text + "\n"
}

/// `KIVI_TEST_BLESS=1 cargo test readme` writes the list.
#[test]
fn the_readme_lists_what_is_still_to_come() {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    const BEGIN: &str = "<!-- later-directives: made by a test of src/config -->\n";
    let readme = fs::read_to_string(PATH).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the mark before the list");
    let (list, after) = rest
        .split_once("<!-- end -->")
        .expect("the mark behind the list");
    if std::env::var_os("KIVI_TEST_BLESS").is_some() {
        let text = format!("{before}{BEGIN}{}<!-- end -->{after}", later_table());
        return fs::write(PATH, text).unwrap();
    }
    assert_eq!(list, later_table());
    // Every name once, and none that the table does not have so.
    let mut named: Vec<_> = list.split('`').skip(1).step_by(2).collect();
    let mut wanted: Vec<_> = later().map(|directive| directive.name).collect();
    named.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(named, wanted);
}

// ---------------------------------------------------------------------------- CONFIG REWRITE

/// A server started with `text` as its file, changed by `pairs`, rewritten twice: the new text.
fn rewritten(name: &str, text: &str, args: &[&str], pairs: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    let (mut store, _) = load_file(&file, args).unwrap();
    for (name, value) in pairs {
        set(&mut store, name, value).unwrap();
    }
    store.rewrite().unwrap();
    let new = fs::read_to_string(&file).unwrap();
    let (reloaded, _) = load_file(&file, &[]).unwrap();
    assert_eq!(
        reloaded.values, store.values,
        "a reload gives the present values"
    );
    store.rewrite().unwrap();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        new,
        "a second rewrite changes nothing"
    );
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "no temporary file is left");
    new
}

const MARK: &str = "# Generated by CONFIG REWRITE\n";

#[test]
fn rewrite_keeps_what_did_not_change() {
    let text = "# Mine\n\nPORT  7000   \r\nmaxclients 100\n# about memory\nmaxmemory 1gb\n\
        slave-priority 90\nclient-query-buffer-limit 2MB\nio-threads 0\nhz 10";
    assert_eq!(rewritten("a.conf", text, &[], &[]), text);
    let new = rewritten(
        "a.conf",
        text,
        &[],
        &[("maxclients", "5"), ("timeout", "7")],
    );
    let expected = text.replace("maxclients 100", "maxclients 5") + "\n" + MARK + "timeout 7\n";
    assert_eq!(new, expected);
    // Back to the default: the line stays, with the default.
    let new = rewritten("a.conf", text, &[], &[("maxclients", "10000")]);
    assert_eq!(new, text.replace("maxclients 100", "maxclients 10000"));
}

#[test]
fn rewrite_replaces_lines_in_their_place() {
    let text = "save 900 1\n# between\nsave 300 10\nclient-output-buffer-limit pubsub 0 0 0\n\
        Bind 127.0.0.1\nport 1\nPort 2\n";
    let pairs = [
        ("save", ""),
        ("bind", "127.0.0.1 ::1"),
        ("port", "3"),
        ("client-output-buffer-limit", "normal 1 2 3"),
    ];
    let expected = "save \"\"\n# between\nclient-output-buffer-limit normal 1 2 3\n\
        client-output-buffer-limit replica 268435456 67108864 60\n\
        client-output-buffer-limit pubsub 0 0 0\nBind 127.0.0.1 ::1\nport 3\n";
    assert_eq!(rewritten("a.conf", text, &[], &pairs), expected);
}

#[test]
fn rewrite_adds_the_mark_once() {
    let text = format!("port 1\n{MARK}timeout 7\n");
    let new = rewritten("a.conf", &text, &[], &[("hz", "20")]);
    assert_eq!(new, format!("port 1\n{MARK}timeout 7\nhz 20\n"));
    let new = rewritten(
        "a.conf",
        "",
        &["--port", "7000", "--save", ""],
        &[("hz", "20")],
    );
    let lines: BTreeSet<&str> = new.lines().collect();
    assert_eq!(
        lines,
        [
            "# Generated by CONFIG REWRITE",
            "hz 20",
            "port 7000",
            "save \"\""
        ]
        .into()
    );
}

#[test]
fn rewrite_lets_no_value_smuggle_in_a_line() {
    let secrets = [
        "a b",
        "a\"b'c",
        "x\nport 1\n",
        "\r\n# y",
        "#",
        "\t\u{7}\\",
        "\\x41",
        "ä",
        "\0",
    ];
    for secret in secrets {
        let new = rewritten("a.conf", "hz 10\n", &[], &[("requirepass", secret)]);
        assert_eq!(new.lines().count(), 3, "{new}");
        let new = rewritten("a.toml", "hz = 10\n", &[], &[("requirepass", secret)]);
        assert_eq!(load_toml(&new).config().requirepass, secret.as_bytes());
    }
}

fn load_toml(text: &str) -> ConfigStore {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kivi.toml");
    fs::write(&file, text).unwrap();
    load_file(&file, &[]).unwrap().0
}

#[test]
fn rewrite_overrules_includes() {
    let folder = tempfile::tempdir().unwrap();
    let included = folder.path().join("i.inc");
    fs::write(&included, "port 5\nsave 900 1\nhz 50\n").unwrap();
    let include = format!("include {}\n", included.display());
    let file = folder.path().join("main.conf");
    fs::write(&file, format!("port 1\n{include}timeout 3\n")).unwrap();
    let (mut store, _) = load_file(&file, &[]).unwrap();
    set(&mut store, "port", "9").unwrap();
    set(&mut store, "save", "").unwrap();
    store.rewrite().unwrap();
    let new = fs::read_to_string(&file).unwrap();
    assert_eq!(
        new,
        format!("port 9\n{include}timeout 3\n{MARK}save \"\"\nport 9\n")
    );
    assert_eq!(load_file(&file, &[]).unwrap().0.values, store.values);
    store.rewrite().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), new);
    assert_eq!(
        fs::read_to_string(&included).unwrap(),
        "port 5\nsave 900 1\nhz 50\n"
    );
}

#[test]
fn rewrite_of_toml_replaces_values_only() {
    let text = "# Mine\nport = 7000 # the port\nbind = [\n  \"127.0.0.1\", # home\n]\n\
        'hz' = 10\nsave = [\"900 1\"]\n";
    assert_eq!(rewritten("a.toml", text, &[], &[]), text);
    let pairs = [
        ("port", "1"),
        ("bind", "127.0.0.1 -::1"),
        ("save", ""),
        ("timeout", "3"),
        ("loglevel", "debug"),
        ("client-output-buffer-limit", "normal 1 2 3"),
        ("latency-tracking", "no"),
        ("latency-tracking-info-percentiles", "50 99.99"),
    ];
    let new = rewritten("a.toml", text, &["--unixsocketperm", "700"], &pairs);
    assert!(
        new.starts_with(
            "# Mine\nport = 1 # the port\nbind = [\"127.0.0.1\", \"-::1\"]\n\
        'hz' = 10\nsave = \"\"\n# Generated by CONFIG REWRITE\n"
        ),
        "{new}"
    );
    for line in [
        "timeout = 3",
        "loglevel = \"debug\"",
        "latency-tracking = false",
        "unixsocketperm = \"700\"",
        "latency-tracking-info-percentiles = [\"50\", \"99.99\"]",
    ] {
        assert!(new.lines().any(|l| l == line), "{line}\n{new}");
    }
}

#[test]
fn rewrite_of_toml_drops_the_alias_of_what_it_sets() {
    let text = "min-slaves-to-write = 0\nmin-replicas-to-write = 3\nport = 1\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, text).unwrap();
    let (mut store, _) = load_file(&file, &[]).unwrap();
    let row = find_name(b"min-slaves-to-write").unwrap().row;
    store.values[row.0] = Value::Int(5);
    store.rewrite().unwrap();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "min-slaves-to-write = 5\nport = 1\n"
    );
}

#[test]
fn rewrite_keeps_links_and_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (
        folder.path().join("real.conf"),
        folder.path().join("link.conf"),
    );
    fs::write(&real, "hz 10\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let (mut store, _) = load_file(&link, &[]).unwrap();
    set(&mut store, "hz", "20").unwrap();
    store.rewrite().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "hz 20\n");
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o640
    );
    // A file that is gone is made anew.
    fs::remove_file(&real).unwrap();
    let (mut store, _) = load_conf("hz 10\n", &[]).unwrap();
    store.file = Some(real.clone());
    set(&mut store, "hz", "20").unwrap();
    store.rewrite().unwrap();
    assert_eq!(fs::read_to_string(&real).unwrap(), format!("{MARK}hz 20\n"));
}

#[test]
fn rewrite_says_why_it_cannot() {
    let error = ConfigStore::default().rewrite().unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERR The server is running without a config file"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.conf");
    fs::write(&file, "hz 10\n").unwrap();
    let (mut store, _) = load_file(&file, &[]).unwrap();
    set(&mut store, "hz", "20").unwrap();
    fs::write(&file, "hz ten\n").unwrap();
    let error = store.rewrite().unwrap_err().to_string();
    assert!(
        error.starts_with("ERR Rewriting config file: ") && !error.contains('\n'),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "hz ten\n",
        "left as it is"
    );
    store.file = Some(folder.path().join("gone/a.conf"));
    let error = store.rewrite().unwrap_err().to_string();
    assert_eq!(
        error,
        "ERR Rewriting config file: No such file or directory"
    );
}

/// Values other than the default for every row that can be written.
fn other_values(directive: &Directive) -> Vec<String> {
    let values: &[&str] = match directive.kind {
        Kind::Include | Kind::Ignored | Kind::RenameCommand | Kind::Lines => &[],
        Kind::Bool => &["yes", "no"],
        Kind::Int { min, max } => return vec![(min + 1).to_string(), max.to_string()],
        Kind::Word(words) => words,
        Kind::LogFormat => &["json"],
        Kind::Hz | Kind::Threads => &["7"],
        Kind::Octal { .. } => &["770"],
        Kind::Memory { max, .. } => return vec!["3mb".to_owned(), max.to_string()],
        Kind::SignedMemory { .. } => &["-1", "5gb"],
        Kind::MemoryOrPercent => &["7%", "5gb"],
        Kind::Text(Check::Ipv4) => &["1.2.3.4"],
        Kind::Text(Check::Ipv6) => &["::1"],
        Kind::Text(_) => &["abc"],
        Kind::Dir => &["/usr"],
        Kind::Bind => &["127.0.0.1 -::1", ""],
        Kind::Save => &["", "5 6 7 8"],
        Kind::OutputLimits => &["normal 1 2 3"],
        Kind::Percentiles => &["", "1 2.5"],
        Kind::EventFlags => &["KEA"],
        Kind::OomScores => &["1 2 -3"],
        Kind::ShutdownFlags => &["nosave force"],
        Kind::ReplicaOf => &["host 1", "no one"],
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn every_value_survives_a_rewrite() {
    for round in 0..9 {
        let mut args = Vec::new();
        for directive in directives() {
            let values = other_values(directive);
            if !values.is_empty() {
                args.push(format!("--{}", directive.name));
                args.push(values[round % values.len()].clone());
            }
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for name in ["a.conf", "a.toml"] {
            let new = rewritten(name, "", &args, &[]);
            assert!(new.lines().count() > 150, "{new}");
        }
    }
}
