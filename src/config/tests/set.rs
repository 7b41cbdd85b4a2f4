//! CONFIG GET and CONFIG SET.

use super::*;

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
fn an_apply_hook_may_refuse_and_nothing_is_changed() {
    let mut store = ConfigStore::default();
    let before = store.clone();
    let mut calls = Vec::new();
    let pairs: &[(&[u8], &[u8])] = &[(b"maxclients", b"5"), (b"hz", b"20"), (b"timeout", b"9")];
    let fields = [Field::Timeout, Field::MaxClients, Field::Hz];
    let why = "The operating system is not able to handle it";
    let mut hook = |fields: &[Field], from: &Config, to: &Config| {
        calls.push((fields.to_vec(), from.hz, to.hz));
        Err((Field::MaxClients, why.to_owned()))
    };
    let reply = store.set_with(pairs, false, &mut hook).unwrap_err();
    assert_eq!(reply, refused("maxclients", why));
    assert_eq!(calls, [(fields.to_vec(), 10, 20)]);
    assert_eq!(
        (&store.values, store.config()),
        (&before.values, before.config())
    );
    let changes = store.set_with(pairs, false, &mut |_, _, _| Ok(())).unwrap();
    assert_eq!(changes.fields, fields);
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
    for (theme, rows) in crate::config::rows::THEMES {
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

#[test]
fn control_characters_are_refused_where_they_are_shown() {
    let mut store = ConfigStore::default();
    for name in [
        "availability-zone",
        "proc-title-template",
        "ignore-warnings",
        "bind",
    ] {
        let error = refused(name, "argument must not contain control characters");
        for value in ["a\nb", "a\r\nrole:master", "a\tb", "\x1b[2Ja", "a\x7f"] {
            let result = set(&mut store, name, value);
            assert_eq!(result.as_ref(), Err(&error), "{name} {value:?}");
        }
    }
    // In a file, too; a password is never shown.
    assert!(load_parsed(vec!["-".into()], &[], b"dbfilename \"a\\nb\"").is_err());
    assert!(set(&mut store, "requirepass", "a\nb").is_ok());
}
