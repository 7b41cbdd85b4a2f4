//! Environment and command line.

use super::*;

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
        ("KIVI_FUZZ_SECS", "1"),
        ("KIVI_MODEL_SECS", "1"),
        ("KIVI_CHECKS_SECS", "1"),
        // Kubernetes sets these in every pod beside a service called kivi.
        ("KIVI_SERVICE_HOST", "10.0.0.1"),
        ("KIVI_SERVICE_PORT", "6379"),
        ("KIVI_SERVICE_PORT_REDIS", "6379"),
        ("KIVI_PORT", "tcp://10.0.0.1:6379"),
        ("KIVI_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ("KIVI_PORT_6379_TCP_PROTO", "tcp"),
        // The same of services called kivi-metrics and kivi-tls-2.
        ("KIVI_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("KIVI_METRICS_SERVICE_PORT", "9121"),
        ("KIVI_METRICS_SERVICE_PORT_HTTP", "9121"),
        ("KIVI_METRICS_PORT", "tcp://10.0.0.2:9121"),
        ("KIVI_METRICS_PORT_9121_TCP", "tcp://10.0.0.2:9121"),
        ("KIVI_METRICS_PORT_9121_TCP_ADDR", "10.0.0.2"),
        ("KIVI_TLS_2_SERVICE_HOST", "10.0.0.3"),
        ("KIVI_TLS_2_PORT", "sctp://10.0.0.3:6380"),
    ];
    let store = load_env(&env).unwrap().0;
    let config = store.config();
    assert_eq!((config.port, config.metrics_port), (6379, 0));
    // What looks like a link in part is a setting, or a mistake.
    let store = load_env(&[("KIVI_METRICS_PORT", "9121")]).unwrap().0;
    assert_eq!(store.config().metrics_port, 9121);
    for mistake in ["KIVI_METRICS_PORTS", "KIVI_METRICS_SERVICE", "KIVI_FUZZ"] {
        load_env(&[(mistake, "tcp://10.0.0.2:9121")]).unwrap_err();
    }
}

#[test]
fn the_insecure_api_of_scripts_has_its_older_name() {
    let store = load_env(&[("KIVI_LUA_ENABLE_DEPRECATED_API", "yes")])
        .unwrap()
        .0;
    assert!(store.config().lua_enable_insecure_api);
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
