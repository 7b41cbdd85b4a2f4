//! Configuration files: lines, includes, TOML, real ones, garbage.

use super::*;

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
        hash-max-ziplist-entries 512\nactive-expire-effort 5\n";
    let (store, warnings) = load_conf(conf, &["--masterauth", "x"]).unwrap();
    let texts: Vec<_> = warnings.iter().map(|warning| warning.0.as_str()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("'primaryauth'") && texts[0].ends_with("(command line)"));
    assert!(texts[1].starts_with("directive 'repl-backlog-size' is not supported by Kivi yet"));
    assert!(texts[1].ends_with("/kivi.conf, line 3)"), "{}", texts[1]);
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
        let _ = crate::config::toml_file::entries(&text);
        let mut store = ConfigStore::default();
        let value = line.get(name.len() + 1..).unwrap_or_default().to_vec();
        let _ = store.set(&[(name.as_bytes(), &value), (&line, b"1")], true);
        let _ = store.set(&[(name.as_bytes(), &value)], true);
        let _ = store.get(&[&line]);
        let _ = parse([OsString::from(format!("--{text}"))], []);
    }
}
