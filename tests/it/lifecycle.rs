//! The life of the process: configuration from every source, errors of the start, signals, limits.
//!
//! All of it on the real binary. What exists only in Kivi (`--check-config`, `--ping`, `KIVI_*`,
//! TOML) is left out when a real Redis stands in for it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::client::{Client, Reply, is_close, show};
use crate::harness::{
    Launch, Server, address_of_this_machine, eventually, free_port, is_stand_in, kivi_to_end,
    needs, oracle, send_signal,
};

/// All that a process has written.
fn text(output: &Output) -> String {
    let streams = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&streams).into_owned()
}

/// Runs Kivi on a configuration file that must not start, and gives back what it says.
fn refused(dir: &TempDir, name: &str, config: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, config).expect("writing the configuration");
    let output = kivi_to_end(dir.path(), &[path.to_str().expect("utf-8")], &[], b"");
    let said = text(&output);
    assert_eq!(
        output.status.code(),
        Some(1),
        "exit code for {config:?}; it said:\n{said}"
    );
    said
}

fn config_get(client: &mut Client, name: &str) -> String {
    client.cmd(&["CONFIG", "GET", name]).items()[1].text()
}

#[test]
fn errors_of_a_configuration_file_name_file_line_and_reason() {
    let dir = TempDir::new().expect("folder");
    let cases = [
        ("port 7000\n\nbogus x\n", 3, "bogus"),
        ("# comment\nport abc\n", 2, "port"),
        ("port 99999\n", 1, "port"),
        ("timeout -1\n", 1, "timeout"),
        ("databases 0\n", 1, "databases"),
        ("databases 16385\n", 1, "databases"),
        ("loglevel loud\n", 1, "loglevel"),
        ("maxclients\n", 1, "maxclients"),
        ("port 1 2 3\n", 1, "port"),
        ("appendonly perhaps\n", 1, "appendonly"),
        ("maxmemory 12parsecs\n", 1, "maxmemory"),
        ("requirepass \"unbalanced\n", 1, "requirepass"),
    ];
    for (config, line, reason) in cases {
        let said = refused(&dir, "broken.conf", config);
        assert!(
            said.contains(reason),
            "{config:?}: no {reason:?} in:\n{said}"
        );
        let numbers = [format!("line {line}"), format!(":{line}")];
        assert!(
            numbers.iter().any(|n| said.contains(n)),
            "{config:?}: no line {line} in:\n{said}"
        );
        assert!(
            is_stand_in() || said.contains("broken.conf"),
            "{config:?}: no file in:\n{said}"
        );
    }
}

#[test]
fn errors_of_an_included_file_name_that_file() {
    let dir = TempDir::new().expect("folder");
    let said = refused(
        &dir,
        "outer.conf",
        "port 7000\ninclude /nonexistent/inner.conf\n",
    );
    assert!(said.contains("/nonexistent/inner.conf"), "{said}");
    let inner = dir.path().join("inner.conf");
    std::fs::write(&inner, "timeout 5\nbogus x\n").expect("writing");
    let said = refused(
        &dir,
        "outer.conf",
        &format!("port 7000\ninclude {}\n", inner.display()),
    );
    assert!(is_stand_in() || said.contains("inner.conf"), "{said}");
    assert!(said.contains("bogus"), "{said}");
}

#[test]
fn errors_of_the_command_line_end_with_code_1() {
    let dir = TempDir::new().expect("folder");
    let cases: [(&[&str], &str); 4] = [
        (&["--bogus", "1"], "bogus"),
        (&["--port", "abc"], "port"),
        (&["/nonexistent/kivi.conf"], "/nonexistent/kivi.conf"),
        (
            &["--port", "0", "--dir", "/nonexistent/folder"],
            "/nonexistent/folder",
        ),
    ];
    for (args, reason) in cases {
        let output = kivi_to_end(dir.path(), args, &[], b"");
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?} said:\n{said}");
        assert!(said.contains(reason), "{args:?}: no {reason:?} in:\n{said}");
    }
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let server = Server::kivi(&[]);
    let port = server.port.to_string();
    let args = ["--port", &port, "--bind", "127.0.0.1"];
    let output = kivi_to_end(server.dir.path(), &args, &[], b"");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("in use") && said.contains(&port), "{said}");
    assert_eq!(
        server.connect().raw(&["PING"]),
        b"+PONG\r\n",
        "the first server goes on"
    );
}

#[test]
fn a_file_is_no_working_folder() {
    let dir = TempDir::new().expect("folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("writing");
    let path = file.to_str().expect("utf-8");
    let output = kivi_to_end(dir.path(), &["--port", "0", "--dir", path], &[], b"");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(path), "{said}");
}

#[test]
fn an_address_that_is_not_ours_ends_the_start_unless_it_is_optional() {
    let dir = TempDir::new().expect("folder");
    let port = free_port().to_string();
    let output = kivi_to_end(
        dir.path(),
        &["--port", &port, "--bind", "203.0.113.77"],
        &[],
        b"",
    );
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("203.0.113.77"), "{said}");
    let args = ["--bind", "127.0.0.1", "-203.0.113.77", "-::1"];
    let server = Server::kivi(&args);
    assert_eq!(server.connect().raw(&["PING"]), b"+PONG\r\n");
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let mut client = Client::tcp(("::1", server.port)).expect("connecting by IPv6");
        assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
    }
}

#[test]
fn signals_and_shutdown_end_with_code_0() {
    for signal in ["TERM", "INT"] {
        let server = Server::kivi(&[]);
        let mut client = server.connect();
        client.cmd(&["SET", "a", "b"]);
        let (status, log) = server.signal_and_wait(signal);
        assert_eq!(status.code(), Some(0), "after SIG{signal}:\n{log}");
        assert!(
            client.read_to_close().is_ok(),
            "clients are told by the end of the connection"
        );
    }
    for shutdown in [
        ["SHUTDOWN", "NOSAVE"],
        ["SHUTDOWN", "NOW"],
        ["shutdown", "force"],
    ] {
        let mut server = Server::kivi(&[]);
        let error = server.connect().try_raw(&shutdown).expect_err("no reply");
        assert!(is_close(&error), "{error}");
        assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn a_running_command_is_finished_before_the_end() {
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.send(b"DEBUG SLEEP 0.5\r\n");
    let mut other = server.connect();
    eventually("the command to run", || {
        let list = other.try_raw(&["CLIENT", "LIST"]).ok()?;
        String::from_utf8_lossy(&list)
            .contains("cmd=debug")
            .then_some(())
    });
    let (status, log) = server.signal_and_wait("TERM");
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(
        show(&client.read().0),
        "+OK\\r\\n",
        "the reply of what ran at the signal"
    );
}

#[test]
fn daemonize_goes_to_the_background_and_writes_its_pid() {
    let dir = TempDir::new().expect("folder");
    let port = free_port().to_string();
    let pidfile = dir.path().join("kivi.pid");
    let folder = dir.path().to_str().expect("utf-8");
    let args = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--daemonize",
        "yes",
        "--save",
        "",
        "--dir",
        folder,
        "--pidfile",
        pidfile.to_str().expect("utf-8"),
        "--logfile",
        "kivi.log",
    ];
    let output = kivi_to_end(dir.path(), &args, &[], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let pid: u32 = eventually("the pid file", || {
        std::fs::read_to_string(&pidfile).ok()?.trim().parse().ok()
    });
    let number: u16 = port.parse().expect("number");
    let mut client = eventually("the daemon to listen", || {
        Client::tcp(("127.0.0.1", number)).ok()
    });
    let info = client.cmd(&["INFO", "server"]).text();
    assert!(
        info.contains(&format!("process_id:{pid}\r\n")),
        "the pid file is true: {info}"
    );
    send_signal(pid, "TERM");
    eventually("the daemon to end", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    eventually("the pid file to be gone", || {
        (!pidfile.exists()).then_some(())
    });
    let log = std::fs::read_to_string(dir.path().join("kivi.log")).expect("log file in dir");
    assert!(log.contains("eady to accept connections"), "{log}");
}

#[test]
fn a_unix_socket_serves_with_its_permissions() {
    let server = Server::kivi(&["--unixsocket", "kivi.sock", "--unixsocketperm", "700"]);
    let path = server.dir.path().join("kivi.sock");
    let mut client = Client::unix(&path).expect("connecting to the socket");
    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
    let mode = std::fs::metadata(&path)
        .expect("socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let info = client.cmd(&["CLIENT", "INFO"]).text();
    assert!(info.contains("kivi.sock:0"), "{info}");
    let dir = server.dir.path().to_owned();
    let (status, _) = server.signal_and_wait("TERM");
    assert_eq!(status.code(), Some(0));
    assert!(
        !dir.join("kivi.sock").exists(),
        "the socket is removed at the end"
    );
}

/// One that cannot start leaves what belongs to the one that runs.
#[test]
fn a_second_server_takes_nothing_from_the_first() {
    if is_stand_in() {
        return;
    }
    let dir = TempDir::new().expect("folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
    let (socket, pidfile) = (path("kivi.sock"), path("kivi.pid"));
    let save = ["--save", "3600 1"];
    let first = ["--unixsocket", &socket, "--pidfile", &pidfile];
    let server = Server::kivi(&[&first[..], &save].concat());
    let folder = server.dir.path().to_str().expect("utf-8");
    // The same socket; then only the same folder.
    let same = ["--port", "0", "--unixsocket", &socket, "--save", ""];
    let port = free_port().to_string();
    let elsewhere = ["--port", &port, "--save", "3600 1", "--dir", folder];
    for args in [&same, &elsewhere] {
        let args = [&args[..], &["--pidfile", &pidfile]].concat();
        let output = kivi_to_end(dir.path(), &args, &[], b"");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let mut client = Client::unix(Path::new(&socket)).expect("the socket is still there");
        assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
        let pid = std::fs::read_to_string(&pidfile).expect("the pid file");
        assert_eq!(pid.trim(), server.pid().to_string());
    }
    // What somebody has left who was killed is no obstacle.
    drop(server.signal_and_wait("KILL"));
    assert!(Path::new(&socket).exists() && Client::unix(Path::new(&socket)).is_err());
    let server = Server::kivi(&["--unixsocket", &socket]);
    let mut client = Client::unix(Path::new(&socket)).expect("connecting to the socket");
    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
    drop(server);
}

#[test]
fn idle_clients_are_closed_after_timeout() {
    let server = Server::kivi(&["--timeout", "1"]);
    let mut idle = server.connect();
    assert_eq!(idle.raw(&["PING"]), b"+PONG\r\n");
    let mut busy = server.connect();
    let mut closed = false;
    // The busy one talks all the time that the idle one takes to be closed, and stays.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| idle.read_to_close());
        while !waiter.is_finished() {
            assert_eq!(busy.raw(&["PING"]), b"+PONG\r\n");
        }
        closed = waiter.join().expect("waiter").is_ok();
    });
    assert!(closed, "the idle client is closed");
    assert_eq!(busy.raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn the_client_above_maxclients_is_told() {
    let server = Server::kivi(&["--maxclients", "4"]);
    let mut clients = Vec::new();
    eventually("four clients to be in", || {
        let mut client = server.try_connect().ok()?;
        if client.try_raw(&["PING"]).ok()? == b"+PONG\r\n" {
            clients.push(client);
        }
        (clients.len() == 4).then_some(())
    });
    for _ in 0..3 {
        let said = server
            .connect()
            .read_to_close()
            .expect("the connection closes");
        assert_eq!(show(&said), "-ERR max number of clients reached\\r\\n");
    }
    clients.pop();
    eventually("a place to be free", || {
        (server.connect().try_raw(&["PING"]).ok()? == b"+PONG\r\n").then_some(())
    });
    let info = clients[0].cmd(&["INFO", "stats"]).text();
    assert!(!info.contains("rejected_connections:0\r\n"), "{info}");
}

#[test]
fn running_out_of_file_descriptors_kills_nobody() {
    let mut server = Launch {
        // More threads than these need more descriptors for themselves.
        args: &["--io-threads", "8"],
        open_files: Some(64),
        ..Launch::KIVI
    }
    .start();
    let mut first = server.connect();
    assert_eq!(first.raw(&["PING"]), b"+PONG\r\n");
    let crowd: Vec<Client> = (0..200).filter_map(|_| server.try_connect().ok()).collect();
    assert!(crowd.len() > 64, "more clients than descriptors");
    for _ in 0..100 {
        assert_eq!(
            first.raw(&["PING"]),
            b"+PONG\r\n",
            "those who are in are served"
        );
    }
    drop(crowd);
    eventually("new clients to be served again", || {
        let reply = server.try_connect().ok()?.try_raw(&["PING"]).ok()?;
        (reply == b"+PONG\r\n").then_some(())
    });
    server.assert_alive();
}

#[test]
fn config_rewrite_keeps_comments_and_survives_a_restart() {
    let dir = TempDir::new().expect("folder");
    let path = dir.path().join("kivi.conf");
    let before =
        "# Ours, do not touch.\ntimeout 5\n\n# About tcp.\ntcp-keepalive 100\nmaxclients 500\n";
    std::fs::write(&path, before).expect("writing");
    let file = path.to_str().expect("utf-8");
    // CONFIG REWRITE writes the working folder, which must outlive the first server.
    let args = ["--dir", dir.path().to_str().expect("utf-8")];
    let launch = Launch {
        config: &[file],
        args: &args,
        ..Launch::KIVI
    };
    let server = launch.start();
    let mut client = server.connect();
    assert_eq!(config_get(&mut client, "timeout"), "5");
    let set = [
        "CONFIG",
        "SET",
        "timeout",
        "77",
        "loglevel",
        "warning",
        "requirepass",
        "a \"b\" c",
    ];
    assert_eq!(client.raw(&set), b"+OK\r\n");
    assert_eq!(show(&client.raw(&["CONFIG", "REWRITE"])), "+OK\\r\\n");
    drop(server);
    let after = std::fs::read_to_string(&path).expect("the file");
    for kept in [
        "# Ours, do not touch.",
        "# About tcp.",
        "timeout 77",
        "tcp-keepalive 100",
    ] {
        assert!(
            after.lines().any(|line| line == kept),
            "no line {kept:?} in:\n{after}"
        );
    }
    let server = launch.start();
    let mut client = server.connect();
    assert_eq!(
        show(&client.raw(&["GET", "x"])),
        "-NOAUTH Authentication required.\\r\\n"
    );
    assert_eq!(client.raw(&["AUTH", "a \"b\" c"]), b"+OK\r\n");
    assert_eq!(config_get(&mut client, "timeout"), "77");
    assert_eq!(config_get(&mut client, "loglevel"), "warning");
    assert_eq!(config_get(&mut client, "maxclients"), "500");
    assert_eq!(show(&client.raw(&["CONFIG", "REWRITE"])), "+OK\\r\\n");
    let again = std::fs::read_to_string(&path).expect("the file");
    // The second server has another port; real ones add an empty line.
    let lines = |text: &str| -> Vec<String> {
        let kept = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("port "));
        kept.map(str::to_owned).collect()
    };
    assert_eq!(
        lines(&after),
        lines(&again),
        "a second rewrite changes nothing else"
    );
}

#[test]
fn config_rewrite_without_a_file_is_an_error() {
    let server = Server::kivi(&[]);
    let reply = server.connect().raw(&["CONFIG", "REWRITE"]);
    assert_eq!(
        show(&reply),
        "-ERR The server is running without a config file\\r\\n"
    );
}

#[test]
fn later_sources_win() {
    let dir = TempDir::new().expect("folder");
    let path = dir.path().join("kivi.conf");
    let inner = dir.path().join("inner.conf");
    std::fs::write(&inner, "tcp-keepalive 11\n").expect("writing");
    let include = inner.display();
    let config = format!("databases 20\ntimeout 1\nTimeout 2\ninclude {include}\ntcp-backlog 99\n");
    std::fs::write(&path, config).expect("writing");
    let file = path.to_str().expect("utf-8");
    let env = [
        ("KIVI_DATABASES", "30"),
        ("KIVI_TIMEOUT", "3"),
        ("KIVI_LOGLEVEL", "verbose"),
    ];
    let args = ["--timeout", "4"];
    let server = Launch {
        config: &[file],
        env: &env,
        args: &args,
        ..Launch::KIVI
    }
    .start();
    let mut client = server.connect();
    assert_eq!(
        config_get(&mut client, "timeout"),
        "4",
        "the command line wins"
    );
    assert_eq!(
        config_get(&mut client, "tcp-keepalive"),
        "11",
        "the included file counts"
    );
    assert_eq!(
        config_get(&mut client, "tcp-backlog"),
        "99",
        "what follows an include counts"
    );
    if !is_stand_in() {
        assert_eq!(
            config_get(&mut client, "databases"),
            "30",
            "the environment beats the file"
        );
        assert_eq!(config_get(&mut client, "loglevel"), "verbose");
    }
}

#[test]
fn the_port_may_come_from_the_environment() {
    if is_stand_in() {
        return;
    }
    let dir = TempDir::new().expect("folder");
    let port = free_port();
    let mut child = std::process::Command::new(crate::harness::kivi_binary())
        .env("KIVI_PORT", port.to_string())
        .env("KIVI_BIND", "127.0.0.1")
        .current_dir(dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starting");
    let answer = std::panic::catch_unwind(|| {
        eventually("the server to listen there", || {
            Client::tcp(("127.0.0.1", port))
                .ok()?
                .try_raw(&["PING"])
                .ok()
        })
    });
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(answer.expect("an answer"), b"+PONG\r\n");
    let output = kivi_to_end(
        dir.path(),
        &["--port", "0"],
        &[("KIVI_DATABASES", "many")],
        b"",
    );
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("KIVI_DATABASES") || said.contains("databases"),
        "{said}"
    );
}

#[test]
fn a_configuration_may_come_from_standard_input() {
    let stdin = b"databases 3\nrequirepass \"from stdin\"\n";
    let server = Launch {
        config: &["-"],
        stdin,
        ..Launch::KIVI
    }
    .start();
    let mut client = server.connect();
    assert_eq!(client.raw(&["AUTH", "from stdin"]), b"+OK\r\n");
    assert_eq!(
        show(&client.raw(&["SELECT", "3"])),
        "-ERR DB index is out of range\\r\\n"
    );
    let dir = TempDir::new().expect("folder");
    let output = kivi_to_end(dir.path(), &["-"], &[], b"port 0\nbogus x\n");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("bogus"));
}

#[test]
fn a_toml_file_has_the_same_names() {
    if is_stand_in() {
        return;
    }
    let dir = TempDir::new().expect("folder");
    let path = dir.path().join("kivi.toml");
    let config = "databases = 5\ntimeout = 9\nrequirepass = \"secret\"\nbind = [\"127.0.0.1\"]\n";
    std::fs::write(&path, config).expect("writing");
    let file = path.to_str().expect("utf-8");
    let server = Launch {
        config: &[file],
        ..Launch::KIVI
    }
    .start();
    let mut client = server.connect();
    assert_eq!(client.raw(&["AUTH", "secret"]), b"+OK\r\n");
    assert_eq!(config_get(&mut client, "databases"), "5");
    assert_eq!(config_get(&mut client, "timeout"), "9");
    let said = refused(&dir, "broken.toml", "timeout = 1\nbogus = \"x\"\n");
    assert!(
        said.contains("broken.toml") && said.contains("bogus"),
        "{said}"
    );
    let said = refused(&dir, "broken.toml", "timeout = \n");
    assert!(said.contains("broken.toml"), "{said}");
}

#[test]
fn help_and_version_and_check_config() {
    let dir = TempDir::new().expect("folder");
    for flag in ["--help", "-h"] {
        let output = kivi_to_end(dir.path(), &[flag], &[], b"");
        let said = text(&output);
        assert!(
            is_stand_in() || output.status.code() == Some(0),
            "{flag}: {said}"
        );
        assert!(
            said.contains("sage") && said.contains("--port"),
            "{flag} says:\n{said}"
        );
    }
    for flag in ["--version", "-v"] {
        let output = kivi_to_end(dir.path(), &[flag], &[], b"");
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{flag}: {said}");
        assert!(
            is_stand_in() || said.contains(env!("CARGO_PKG_VERSION")),
            "{flag}: {said}"
        );
    }
    if is_stand_in() {
        return;
    }
    let good = dir.path().join("good.conf");
    std::fs::write(&good, "timeout 5\nappendonly no\n").expect("writing");
    let good = good.to_str().expect("utf-8");
    let output = kivi_to_end(dir.path(), &[good, "--check-config"], &[], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let output = kivi_to_end(
        dir.path(),
        &[good, "--timeout", "x", "--check-config"],
        &[],
        b"",
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn ping_is_a_health_check() {
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&[]);
    let port = server.port.to_string();
    let ping = |env: &[(&str, &str)], args: &[&str]| {
        let output = kivi_to_end(server.dir.path(), args, env, b"");
        (output.status.code(), text(&output))
    };
    let (code, said) = ping(&[], &["--ping", "--port", &port]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ping(&[("KIVI_PORT", &port)], &["--ping"]);
    assert_eq!(code, Some(0), "{said}");
    let nobody = free_port().to_string();
    let (code, said) = ping(&[], &["--ping", "--port", &nobody]);
    assert_eq!(code, Some(1), "{said}");
    // A server that asks for a password is up all the same.
    let locked = Server::kivi(&["--requirepass", "secret"]);
    let port = locked.port.to_string();
    let (code, said) = ping(&[], &["--ping", "--port", &port]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_configuration_files_of_debian_and_valkey_start_kivi() {
    let mut files = Vec::new();
    if needs("redis-server") {
        files.push("/etc/redis/redis.conf".to_owned());
    }
    if let Some(folder) = oracle() {
        files.push(format!("{}/etc/valkey/valkey.conf", folder.display()));
        files.push(format!("{}/etc/redis/redis.conf", folder.display()));
    }
    for file in files {
        let newer = is_stand_in() && !file.starts_with("/etc");
        if newer || std::fs::read(&file).is_err() {
            continue;
        }
        let args = [
            "--daemonize",
            "no",
            "--logfile",
            "",
            "--pidfile",
            "kivi.pid",
            "--supervised",
            "no",
        ];
        // The folder that a package would have made need not be there.
        let text = String::from_utf8_lossy(&std::fs::read(&file).expect("reading")).into_owned();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("dir "));
        let folder = TempDir::new().expect("folder");
        let copy = folder.path().join("copy.conf");
        std::fs::write(&copy, lines.collect::<Vec<_>>().join("\n")).expect("writing");
        let server = Launch {
            config: &[copy.to_str().expect("utf-8")],
            args: &args,
            ..Launch::KIVI
        }
        .start();
        let log = server.log();
        let mut client = server.connect();
        assert_eq!(client.raw(&["SET", "a", "b"]), b"+OK\r\n");
        assert_eq!(config_get(&mut client, "tcp-keepalive"), "300");
        // The file sets what later issues bring; each such directive is named once.
        let warned = log
            .lines()
            .filter(|line| line.contains("notify-keyspace-events"))
            .count();
        assert!(is_stand_in() || warned <= 1, "{log}");
    }
}

#[test]
fn every_directive_of_a_real_server_is_known() {
    for real in [Server::redis(&[]), Server::valkey(&[])]
        .into_iter()
        .flatten()
    {
        if is_stand_in() && real.name != "valkey" {
            continue;
        }
        let reply = real.connect().cmd(&["CONFIG", "GET", "*"]);
        let mut config = String::new();
        for pair in reply.items().chunks(2) {
            let (name, value) = (pair[0].text(), pair[1].text());
            // Where the server lives and what the harness sets itself.
            if value.is_empty() && ["replicaof", "slaveof"].contains(&name.as_str()) {
                continue;
            }
            let ours = [
                "dir",
                "port",
                "bind",
                "save",
                "logfile",
                "pidfile",
                "unixsocket",
                "daemonize",
            ];
            if ours.contains(&name.as_str()) || (is_stand_in() && name.starts_with("rdma")) {
                continue;
            }
            let lists = [
                "client-output-buffer-limit",
                "oom-score-adj-values",
                "notify-keyspace-events",
            ];
            if lists.contains(&name.as_str()) && !value.is_empty() {
                config.push_str(&format!("{name} {value}\n"));
            } else {
                config.push_str(&format!("{name} \"{value}\"\n"));
            }
        }
        let dir = TempDir::new().expect("folder");
        let path = dir.path().join("all.conf");
        std::fs::write(&path, config).expect("writing");
        let file = path.to_str().expect("utf-8");
        let server = Launch {
            config: &[file],
            ..Launch::KIVI
        }
        .start();
        assert_eq!(server.connect().raw(&["PING"]), b"+PONG\r\n");
    }
}

#[test]
fn protected_mode_refuses_strangers_without_a_password() {
    let Some(address) = address_of_this_machine() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let server = Server::kivi(&["--bind", "*"]);
    let mut stranger = Client::tcp((address, server.port)).expect("connecting");
    let said = String::from_utf8_lossy(&stranger.read_to_close().expect("closed")).into_owned();
    assert!(
        said.starts_with("-DENIED ") && said.ends_with("\r\n"),
        "{said}"
    );
    assert!(
        said.contains("protected mode") && said.contains("--protected-mode no"),
        "{said}"
    );
    assert_eq!(
        said.matches("\r\n").count(),
        1,
        "one error, not several: {said}"
    );
    let mut local = server.connect();
    assert_eq!(
        local.raw(&["CONFIG", "SET", "requirepass", "secret"]),
        b"+OK\r\n"
    );
    let mut stranger = Client::tcp((address, server.port)).expect("connecting");
    assert_eq!(stranger.raw(&["AUTH", "secret"]), b"+OK\r\n");
    assert_eq!(local.raw(&["CONFIG", "SET", "requirepass", ""]), b"+OK\r\n");
    assert_eq!(
        local.raw(&["CONFIG", "SET", "protected-mode", "no"]),
        b"+OK\r\n"
    );
    let mut stranger = Client::tcp((address, server.port)).expect("connecting");
    assert_eq!(stranger.raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn debug_is_refused_unless_allowed() {
    let server = Server::kivi(&[]);
    let reply = server.connect().raw(&["DEBUG", "SLEEP", "0"]);
    let text = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
        you can run it from a local connection, otherwise you need to set this option in the \
        configuration file, and then restart the server.\r\n";
    assert_eq!(show(&reply), show(text.as_bytes()));
    let server = Server::kivi(&["--enable-debug-command", "local"]);
    assert_eq!(server.connect().raw(&["DEBUG", "SLEEP", "0"]), b"+OK\r\n");
}

#[test]
fn systemd_is_notified() {
    if is_stand_in() {
        return;
    }
    let dir = TempDir::new().expect("folder");
    let path = dir.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("binding");
    socket
        .set_read_timeout(Some(crate::harness::PATIENCE))
        .expect("timeout");
    let env = [("NOTIFY_SOCKET", path.to_str().expect("utf-8"))];
    let server = Launch {
        env: &env,
        args: &["--supervised", "systemd"],
        ..Launch::KIVI
    }
    .start();
    let mut seen = String::new();
    while !seen.contains("READY=1") {
        let mut bytes = [0; 1024];
        let count = socket.recv(&mut bytes).expect("a notification");
        seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let (status, log) = server.signal_and_wait("TERM");
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn the_log_goes_where_and_how_it_is_told() {
    let server = Server::kivi(&["--logfile", "kivi.log", "--loglevel", "notice"]);
    let path = server.dir.path().join("kivi.log");
    eventually("the log to say that it is ready", || {
        std::fs::read_to_string(&path)
            .ok()?
            .contains("eady to accept connections")
            .then_some(())
    });
    if is_stand_in() {
        return;
    }
    for (format, start) in [("json", "{"), ("logfmt", "")] {
        let server = Server::kivi(&["--logfile", "kivi.log", "--log-format", format]);
        let path = server.dir.path().join("kivi.log");
        let log = eventually("the log to say that it is ready", || {
            let log = std::fs::read_to_string(&path).ok()?;
            log.contains("eady to accept connections").then_some(log)
        });
        for line in log.lines() {
            assert!(line.starts_with(start), "{format}: {line}");
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
            } else {
                assert!(
                    line.contains("level=") || line.contains("lvl="),
                    "{format}: {line}"
                );
            }
        }
    }
}

/// From the moment that CONFIG SET has answered.
#[test]
fn the_log_and_the_title_change_their_form() {
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&["--logfile", "kivi.log", "--set-proc-title", "yes"]);
    let mut client = server.connect();
    let last_line = |client: &mut Client, text: &str| {
        let source = "redis.log(redis.LOG_WARNING, ARGV[1])";
        client.cmd(&["EVAL", source, "0", text]);
        let log = std::fs::read_to_string(server.dir.path().join("kivi.log")).expect("the log");
        let line = log.lines().last().expect("a line").to_owned();
        assert!(line.contains(text), "{line}");
        line
    };
    let line = last_line(&mut client, "one");
    assert!(line.contains(" # "), "{line}");
    let set = |client: &mut Client, name: &str, value: &str| {
        assert_eq!(client.raw(&["CONFIG", "SET", name, value]), b"+OK\r\n");
    };
    set(&mut client, "log-format", "json");
    set(&mut client, "log-timestamp-format", "milliseconds");
    let line: serde_json::Value =
        serde_json::from_str(&last_line(&mut client, "two")).expect("JSON");
    let timestamp = line["timestamp"].as_str().expect("a timestamp");
    assert!(timestamp.parse::<u64>().is_ok(), "{timestamp}");
    set(&mut client, "log-format", "legacy");
    assert!(last_line(&mut client, "three").contains(" # "));
    set(&mut client, "proc-title-template", "kivi of {port}");
    let title = std::fs::read(format!("/proc/{}/cmdline", server.pid())).expect("cmdline");
    let title = String::from_utf8_lossy(&title).into_owned();
    let expected = format!("kivi of {}", server.port);
    assert_eq!(title.trim_end_matches('\0'), expected);
}

#[test]
fn the_title_of_the_process_names_its_port() {
    let server = Server::kivi(&["--set-proc-title", "yes"]);
    let title = std::fs::read(format!("/proc/{}/cmdline", server.pid())).expect("cmdline");
    let title = String::from_utf8_lossy(&title).into_owned();
    assert!(title.contains(&format!(":{}", server.port)), "{title}");
}

#[test]
fn info_tells_where_the_configuration_came_from() {
    let dir = TempDir::new().expect("folder");
    let path = dir.path().join("kivi.conf");
    std::fs::write(&path, "timeout 5\n").expect("writing");
    let file = path.to_str().expect("utf-8");
    let server = Launch {
        config: &[file],
        ..Launch::KIVI
    }
    .start();
    let Reply::Bulk(info) = server.connect().cmd(&["INFO", "server"]) else {
        panic!("INFO")
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    assert!(info.contains(&format!("config_file:{file}\r\n")), "{info}");
    assert!(
        info.contains(&format!("tcp_port:{}\r\n", server.port)),
        "{info}"
    );
}
