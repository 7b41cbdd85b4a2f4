//! TLS from outside: a client of our own (rustls), OpenSSL's `s_client`, redis-cli and redis-py; certificates that are
//! wrong, those that change under load, and clients that do not speak TLS, or not to its end.
//!
//! The certificates are those of `src/tls/testdata`; in-process tests there say what is accepted and what is refused.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Client, Stream, encode, is_close};
use crate::harness::{
    Launch, PATIENCE, Server, StopAtEnd, eventually, free_port, kivi_to_end, needs, python,
    run_tool, send_signal,
};

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Stream for TlsStream {
    fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(wait))
    }
}

fn testdata(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/testdata");
    Path::new(dir).join(name).display().to_string()
}

/// A server that listens with TLS as well.
pub(crate) struct TlsServer {
    pub(crate) server: Server,
    port: u16,
}

/// Directives with names of files of `testdata`, or paths of other ones.
fn with_files(args: &[(&str, &str)]) -> Vec<String> {
    let value = |name: &str, value: &str| match name.ends_with("-file") {
        true => testdata(value),
        false => value.to_owned(),
    };
    args.iter()
        .flat_map(|(name, text)| [format!("--{name}"), value(name, text)])
        .collect()
}

impl TlsServer {
    /// With the certificate `server.crt`, asking for none, and these directives.
    pub(crate) fn start(args: &[(&str, &str)]) -> TlsServer {
        let first = [
            ("tls-cert-file", "server.crt"),
            ("tls-key-file", "server.key"),
            ("tls-ca-cert-file", "ca.crt"),
            ("tls-auth-clients", "no"),
        ];
        let args = with_files(&[&first, args].concat());
        // Each attempt has ports of its own: either may be taken in between.
        let mut attempts = (0..20).map(|_| {
            let port = free_port();
            let number = port.to_string();
            let args = args.iter().map(String::as_str);
            let args: Vec<&str> = args.chain(["--tls-port", &number]).collect();
            let launch = Launch {
                args: &args,
                ..Launch::KIVI
            };
            let server = launch.try_start()?;
            Some(TlsServer { server, port })
        });
        attempts.find_map(|server| server).expect("free ports")
    }

    /// A plain connection.
    fn plain(&self) -> Client {
        self.server.connect()
    }

    /// A connection with TLS, if the handshake works.
    fn try_connect(&self, config: &Arc<ClientConfig>) -> io::Result<(Client, Vec<u8>)> {
        let socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").expect("name");
        let connection = ClientConnection::new(config.clone(), name).expect("client");
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let shown = stream.conn.peer_certificates().expect("certificate")[0].to_vec();
        Ok((Client::over(Box::new(stream)), shown))
    }

    /// A connection of a client that shows no certificate, if there is one to be had.
    pub(crate) fn try_connect_plainly(&self) -> io::Result<Client> {
        let (client, _) = self.try_connect(&trusting(None))?;
        Ok(client)
    }

    fn connect(&self) -> Client {
        self.try_connect_plainly().expect("TLS")
    }

    /// Sets these directives (names of files are those of `testdata`).
    fn set(&self, args: &[(&str, &str)]) -> String {
        let mut request = vec!["CONFIG".to_owned(), "SET".to_owned()];
        request.extend(with_files(args).into_iter().map(|word| {
            let name = word.strip_prefix("--");
            name.map_or(word.clone(), str::to_owned)
        }));
        let reply = self.plain().raw(&request);
        String::from_utf8_lossy(&reply).trim_end().to_owned()
    }

    fn info(&self, field: &str) -> String {
        self.plain().info("everything", field)
    }
}

/// A client that trusts the authority of the tests and may show a certificate.
fn trusting(certificate: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(testdata("ca.crt")).expect("authority");
    roots.add(authority).expect("authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::pem_file_iter(testdata(name)).expect("certificate");
            let chain = chain.map(|der| der.expect("certificate")).collect();
            let key = PrivateKeyDer::from_pem_file(testdata("client.key")).expect("key");
            let key = provider.key_provider.load_private_key(key).expect("key");
            let key = rustls::sign::CertifiedKey::new(chain, key);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
    })
}

fn der_of(name: &str) -> Vec<u8> {
    CertificateDer::from_pem_file(testdata(name))
        .expect("certificate")
        .to_vec()
}

#[test]
fn replies_are_the_same_with_and_without() {
    let tls = TlsServer::start(&[]);
    let (mut plain, mut encrypted) = (tls.plain(), tls.connect());
    let value = "v".repeat(3_000_000);
    let requests: &[&[&str]] = &[
        &["PING"],
        &["SET", "big", &value],
        &["GET", "big"],
        &["STRLEN", "big"],
        &["MULTI"],
        &["GET", "big"],
        &["GET", "big"],
        &["EXEC"],
        &["EVAL", "return {redis.call('get', 'big'), 'x'}", "0"],
        &["HELLO", "3"],
        &["CONFIG", "GET", "tls-auth-clients"],
        &["NOPE"],
    ];
    for request in requests {
        // The client's number differs.
        if request[0] == "HELLO" {
            assert_eq!(plain.raw(request).len(), encrypted.raw(request).len());
            continue;
        }
        assert!(
            plain.raw(request) == encrypted.raw(request),
            "{:?}",
            request[0]
        );
    }
    // A pipeline of small and large ones, sent before anything is read.
    let mut pipeline = Vec::new();
    for n in 0..2000 {
        pipeline.extend(encode(&["ECHO", &n.to_string()]));
        if n % 500 == 0 {
            pipeline.extend(encode(&["GET", "big"]));
        }
    }
    for client in [&mut plain, &mut encrypted] {
        client.send(&pipeline);
        for n in 0..2000 {
            assert_eq!(client.read().1.text(), n.to_string());
            if n % 500 == 0 {
                assert!(client.read().1.text() == value);
            }
        }
    }
}

#[test]
fn replies_that_wait_for_a_slow_reader_come_whole() {
    let tls = TlsServer::start(&[]);
    let value = "w".repeat(8_000_000);
    let mut client = tls.connect();
    client.raw(&["SET", "big", &value]);
    for _ in 0..4 {
        client.send(&encode(&["GET", "big"]));
    }
    client.send(&encode(&["PING"]));
    let mut plain = tls.plain();
    // More waits than a socket takes: it is shown, and nobody else waits for it.
    eventually("replies to wait", || {
        let list = plain.cmd(&["CLIENT", "LIST"]).text();
        let waiting = list.lines().any(|line| {
            let omem = line.split(' ').find_map(|word| word.strip_prefix("omem="));
            omem.is_some_and(|bytes| bytes.parse::<u64>().expect("omem") > 1_000_000)
        });
        waiting.then_some(())
    });
    for _ in 0..4 {
        assert!(client.read().1.text() == value);
    }
    assert_eq!(client.read().1.text(), "PONG");
}

#[test]
fn messages_arrive() {
    let tls = TlsServer::start(&[]);
    let mut subscriber = tls.connect();
    subscriber.cmd(&["SUBSCRIBE", "news"]);
    let mut publisher = tls.connect();
    let long = "m".repeat(100_000);
    for n in 0..200 {
        let text = if n % 20 == 0 { &long } else { "short" };
        assert_eq!(publisher.cmd(&["PUBLISH", "news", text]).int(), 1);
    }
    for n in 0..200 {
        let message = subscriber.read().1;
        let text = if n % 20 == 0 { &long } else { "short" };
        assert!(message.items()[2].text() == text, "message {n}");
    }
    let mut blocked = tls.connect();
    blocked.send(&encode(&["BLPOP", "list", "0"]));
    publisher.cmd(&["RPUSH", "list", "x"]);
    assert_eq!(blocked.read().1.items()[1].text(), "x");
}

#[test]
fn redis_cli_and_openssl_and_redis_py_connect() {
    let tls = TlsServer::start(&[]);
    let port = tls.port.to_string();
    let ca = testdata("ca.crt");
    if needs("redis-cli") {
        let args = ["-p", &port, "--tls", "--cacert", &ca, "ping"];
        let output = run_tool(Path::new("redis-cli"), &args, &[], b"");
        assert_eq!(output.stdout, b"PONG\n", "{output:?}");
    }
    if needs("openssl") {
        for version in ["-tls1_2", "-tls1_3"] {
            let address = format!("127.0.0.1:{port}");
            let args = [
                "s_client",
                "-connect",
                &address,
                "-CAfile",
                &ca,
                version,
                "-quiet",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ];
            let output = run_tool(Path::new("openssl"), &args, &[], b"PING\r\nQUIT\r\n");
            assert_eq!(output.stdout, b"+PONG\r\n+OK\r\n", "{output:?}");
            assert!(output.status.success(), "the end is said: {output:?}");
        }
        for refused in ["-tls1", "-tls1_1"] {
            let address = format!("127.0.0.1:{port}");
            let args = [
                "s_client",
                "-connect",
                &address,
                refused,
                "-cipher",
                "ALL:@SECLEVEL=0",
            ];
            let output = run_tool(Path::new("openssl"), &args, &[], b"");
            assert!(!output.status.success(), "{refused}");
        }
    }
    if let Some(python) = python() {
        let program = "import redis, sys\n\
            r = redis.Redis(port=int(sys.argv[1]), host='localhost', ssl=True, ssl_ca_certs=sys.argv[2])\n\
            r.set('k', b'v' * 200000)\n\
            assert r.get('k') == b'v' * 200000\n\
            p = r.pipeline(transaction=False)\n\
            [p.incr('n') for _ in range(1000)]\n\
            assert p.execute()[-1] == 1000\n\
            print('fine')";
        let output = run_tool(&python, &["-c", program, &port, &ca], &[], b"");
        assert_eq!(output.stdout, b"fine\n", "{output:?}");
    }
}

#[test]
fn clients_refuse_certificates_that_are_wrong_and_the_server_says_so() {
    let tls = TlsServer::start(&[]);
    let client = trusting(None);
    for (cert, alert) in [
        ("expired.crt", "CertificateExpired"),
        ("elsewhere.crt", "BadCertificate"),
        ("client-self-signed.crt", "UnknownCA"),
    ] {
        let key = if cert.starts_with("client") {
            "client.key"
        } else {
            "server.key"
        };
        assert_eq!(
            tls.set(&[("tls-cert-file", cert), ("tls-key-file", key)]),
            "+OK"
        );
        // Not every one has a line in the log.
        let before = tls.server.log_length();
        eventually("the log to tell", || {
            assert!(tls.try_connect(&client).is_err(), "{cert}");
            let text = format!("received fatal alert: {alert}");
            let log = tls.server.log_since(before);
            log.contains(&text).then_some(())
        });
    }
    assert_ne!(tls.info("tls_server_cert_expires_in_seconds"), "0");
    assert_eq!(
        tls.set(&[
            ("tls-cert-file", "server.crt"),
            ("tls-key-file", "server.key")
        ]),
        "+OK"
    );
    tls.connect();
}

#[test]
fn who_a_certificate_names_is_logged_in() {
    let tls = TlsServer::start(&[
        ("tls-auth-clients", "optional"),
        ("tls-auth-clients-user", "CN"),
    ]);
    let mut plain = tls.plain();
    let whoami = |certificate: Option<&str>| {
        let mut client = tls.try_connect(&trusting(certificate)).expect("TLS").0;
        client.cmd(&["ACL", "WHOAMI"]).text()
    };
    let denied = || tls.info("acl_access_denied_tls_cert");
    // There is no such user yet; then there is, but it is off.
    assert_eq!(whoami(Some("client.crt")), "default");
    plain.cmd(&["ACL", "SETUSER", "bob", "off", "nopass", "+@all", "~*"]);
    assert_eq!(whoami(Some("client.crt")), "default");
    assert_eq!(denied(), "2");
    plain.cmd(&["ACL", "SETUSER", "bob", "on"]);
    for good in ["client.crt", "client-chain.crt", "client-v1.crt"] {
        assert_eq!(whoami(Some(good)), "bob", "{good}");
    }
    assert_eq!(denied(), "2");
    // Neither somebody else's name, nor none, is bob's.
    assert_eq!(whoami(Some("client-nul.crt")), "default");
    assert_eq!(denied(), "3");
    let log = plain.cmd(&["ACL", "LOG", "1"]);
    let entry: Vec<_> = log.items()[0].items().iter().take(10).collect();
    let text = |at: usize| entry[at].text();
    assert_eq!([text(3), text(5), text(7)], ["tls-cert", "toplevel", ""]);
    assert_eq!(text(9), "bob\0evil");
    assert_eq!(whoami(Some("client-no-name.crt")), "default");
    assert_eq!(whoami(None), "default");
    assert_eq!(denied(), "3");
    // The URIs, in order, until one is a user's.
    assert_eq!(tls.set(&[("tls-auth-clients-user", "uri")]), "+OK");
    assert_eq!(whoami(Some("client.crt")), "default");
    plain.cmd(&["ACL", "SETUSER", "urn:kivi:bob", "on", "nopass", "+@all"]);
    assert_eq!(whoami(Some("client.crt")), "urn:kivi:bob");
    assert_eq!(whoami(Some("client-nul-uri.crt")), "default");
    // A password is asked of those who are nobody, and of nobody else.
    assert_eq!(tls.set(&[("requirepass", "secret")]), "+OK");
    let mut nobody = tls.try_connect(&trusting(None)).expect("TLS").0;
    assert!(nobody.raw(&["PING"]).starts_with(b"-NOAUTH"));
    assert_eq!(whoami(Some("client.crt")), "urn:kivi:bob");
}

#[test]
fn certificates_of_clients_are_asked_for_as_the_directive_says() {
    let tls = TlsServer::start(&[("tls-auth-clients", "yes")]);
    let works = |certificate: Option<&str>| {
        let connected = tls.try_connect(&trusting(certificate));
        // In TLS 1.3 a client learns only with its first reply that it was refused.
        connected.is_ok_and(|(mut client, _)| client.try_raw(&["PING"]).is_ok())
    };
    assert!(works(Some("client.crt")));
    assert!(!works(None));
    for bad in [
        "client-expired.crt",
        "client-strange.crt",
        "client-server-only.crt",
    ] {
        let before = tls.server.log_length();
        eventually("the log to tell", || {
            assert!(!works(Some(bad)), "{bad}");
            let text = "Error accepting a client connection: invalid peer certificate";
            let log = tls.server.log_since(before);
            log.contains(text).then_some(())
        });
    }
    // Those who are there stay, whatever is asked of those who come.
    let mut there = tls
        .try_connect(&trusting(Some("client.crt")))
        .expect("TLS")
        .0;
    assert_eq!(tls.set(&[("tls-auth-clients", "no")]), "+OK");
    assert!(works(None));
    assert_eq!(tls.set(&[("tls-auth-clients", "optional")]), "+OK");
    assert!(works(None) && works(Some("client.crt")) && !works(Some("client-strange.crt")));
    assert_eq!(there.raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn what_cannot_be_honoured_changes_nothing() {
    let tls = TlsServer::start(&[]);
    let refused = |name: &str| {
        format!(
            "-ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration. \
             Check server logs."
        )
    };
    let mut there = tls.connect();
    for (name, value, why) in [
        ("tls-cert-file", "nope", "Failed to load certificate"),
        (
            "tls-cert-file",
            "rsa.crt",
            "does not belong to the certificate",
        ),
        (
            "tls-key-file",
            "server2.key",
            "does not belong to the certificate",
        ),
        ("tls-key-file", "pkcs8-locked.key", "does not open it"),
        ("tls-ca-cert-file", "server.key", "no certificate found"),
        ("tls-protocols", "SSLv3", "Invalid tls-protocols specified"),
        ("tls-ciphers", "FOO", "Failed to configure ciphers: FOO"),
        (
            "tls-ciphersuites",
            "FOO",
            "Failed to configure ciphersuites: FOO",
        ),
    ] {
        let before = tls.server.log_length();
        assert_eq!(tls.set(&[(name, value)]), refused(name));
        let log = tls.server.log_since(before);
        assert!(log.contains(why), "{name} {value}: {log}");
        let shown = tls.plain().cmd(&["CONFIG", "GET", name]).items()[1].text();
        assert!(!shown.ends_with(value), "{name}");
    }
    // One that is wrong, and all stay.
    let both = [("timeout", "77"), ("tls-ciphers", "FOO")];
    assert_eq!(tls.set(&both), refused("tls-ciphers"));
    assert_eq!(
        tls.plain().cmd(&["CONFIG", "GET", "timeout"]).items()[1].text(),
        "0"
    );
    assert_eq!(there.raw(&["PING"]), b"+PONG\r\n");
    assert_eq!(tls.connect().raw(&["PING"]), b"+PONG\r\n");
    let locked = [
        ("tls-key-file", "old-aes256.key"),
        ("tls-key-file-pass", "sesame"),
    ];
    assert_eq!(tls.set(&locked), "+OK");
    assert_eq!(tls.connect().raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn a_server_that_cannot_speak_tls_does_not_start() {
    let start = |args: &[(&str, &str)]| {
        let dir = tempfile::tempdir().expect("folder");
        let port = free_port().to_string();
        let mut args = with_files(args);
        args.extend(["--port", "0", "--tls-port", &port].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = kivi_to_end(dir.path(), &args, &[], b"");
        assert!(!output.status.success());
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    assert!(start(&[]).contains("No tls-cert-file configured!"));
    let mismatch = [
        ("tls-cert-file", "server.crt"),
        ("tls-key-file", "server2.key"),
        ("tls-auth-clients", "no"),
    ];
    let text = start(&mismatch);
    assert!(
        text.contains("does not belong to the certificate"),
        "{text}"
    );
    assert!(
        text.contains("Failed to configure TLS. Check logs for more info."),
        "{text}"
    );
    let dir = tempfile::tempdir().expect("folder");
    let mut args = with_files(&mismatch);
    args.extend(["--tls-port", "1", "--check-config"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = kivi_to_end(dir.path(), &args, &[], b"");
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn a_server_with_tls_alone_is_pinged() {
    let tls = TlsServer::start(&[("tls-auth-clients", "yes")]);
    let ping = |cert: &str, key: &str| {
        let dir = tempfile::tempdir().expect("folder");
        let mut args = vec!["--ping".to_owned()];
        args.extend(with_files(&[
            ("tls-cert-file", cert),
            ("tls-key-file", key),
            ("tls-ca-cert-file", "ca.crt"),
            ("bind", "127.0.0.1"),
        ]));
        args.extend(["--port", "0", "--tls-port", &tls.port.to_string()].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        kivi_to_end(dir.path(), &args, &[], b"").status.success()
    };
    assert!(ping("server.crt", "server.key"));
    assert!(
        !ping("server2.crt", "server2.key"),
        "somebody else's server"
    );
}

/// Certificate and key in a folder of their own, where they are replaced as certbot does: by renaming.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files {
            dir: tempfile::tempdir().expect("folder"),
        };
        files.put("server.crt", "server.key");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, cert: &str, key: &str) {
        for (from, to) in [(key, "key"), (cert, "crt")] {
            fs::copy(testdata(from), self.path("new")).expect("copying");
            fs::rename(self.path("new"), self.path(to)).expect("renaming");
        }
    }
}

/// Waits until new connections are shown this certificate.
fn await_certificate(tls: &TlsServer, name: &str) {
    let (client, expected) = (trusting(None), der_of(name));
    eventually("new connections to get another certificate", || {
        let (mut connected, shown) = tls.try_connect(&client).expect("TLS");
        assert_eq!(connected.raw(&["PING"]), b"+PONG\r\n");
        (shown == expected).then_some(())
    });
}

#[test]
fn certificates_change_under_load_and_nobody_is_dropped() {
    let files = Files::new();
    let (cert, key) = (files.path("crt"), files.path("key"));
    let tls = TlsServer::start(&[("io-threads", "2")]);
    let [cert, key] = [&cert, &key].map(|path| path.to_str().expect("path").to_owned());
    let set = || {
        let request = [
            "CONFIG",
            "SET",
            "tls-cert-file",
            &cert,
            "tls-key-file",
            &key,
        ];
        assert_eq!(tls.plain().raw(&request), b"+OK\r\n");
    };
    set();
    let stop = AtomicBool::new(false);
    let (rounds, connections) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for _ in 0..4 {
            // One that stays for as long as it takes.
            scope.spawn(|| {
                let mut client = tls.connect();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.raw(&["INCR", "n"])[0], b':');
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            // Those that come and go; each finds one certificate or the other, and its key.
            scope.spawn(|| {
                let client = trusting(None);
                while !stop.load(Ordering::Relaxed) {
                    let (mut client, _) = tls.try_connect(&client).expect("TLS");
                    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
                    connections.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for (cert, key) in [
            ("server2.crt", "server2.key"),
            ("rsa.crt", "rsa.key"),
            ("server.crt", "server.key"),
        ] {
            // By CONFIG SET of the same names, ...
            files.put(cert, key);
            set();
            await_certificate(&tls, cert);
        }
        // ... by a signal, ...
        files.put("server2.crt", "server2.key");
        send_signal(tls.server.pid(), "HUP");
        await_certificate(&tls, "server2.crt");
        // ... and by itself; what does not belong together is not taken.
        assert_eq!(tls.set(&[("tls-auto-reload-interval", "1")]), "+OK");
        files.put("server.crt", "server2.key");
        eventually("the server to see it", || {
            let text = "TLS reload failed, the old materials stay";
            tls.server.log().contains(text).then_some(())
        });
        await_certificate(&tls, "server2.crt");
        files.put("server.crt", "server.key");
        await_certificate(&tls, "server.crt");
    });
    assert!(rounds.into_inner() > 0 && connections.into_inner() > 0);
    assert_eq!(tls.info("tls_server_cert_serial"), "0A11CE");
}

/// What a client begins a handshake with.
fn client_hello() -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("name");
    let mut connection = ClientConnection::new(trusting(None), name).expect("client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("hello");
    hello
}

/// Panics unless the connection ends, whatever was said before.
#[track_caller]
fn assert_ends(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert!(is_close(&error), "it has not ended: {error}");
    }
}

#[test]
fn who_speaks_no_tls_is_told_so() {
    let tls = TlsServer::start(&[]);
    let mut lost = Client::tcp(("127.0.0.1", tls.port)).expect("connecting");
    lost.send(b"PING\r\n");
    let told = lost.read_to_close().expect("an end");
    assert_eq!(
        told,
        b"-ERR this port speaks TLS, and what has come is not\r\n"
    );
    eventually("the log to tell", || {
        let text = "Error accepting a client connection: what came is not TLS";
        tls.server.log().contains(text).then_some(())
    });
    // And the reverse: a handshake at a port without TLS.
    let mut lost = tls.plain();
    lost.send(&client_hello());
    let told = lost.read_to_close().expect("an end");
    assert_eq!(
        told,
        b"-ERR Protocol error: this port does not speak TLS\r\n"
    );
}

#[test]
fn half_a_handshake_holds_nobody_up_and_can_be_killed() {
    let tls = TlsServer::start(&[("io-threads", "1")]);
    let hello = client_hello();
    let mut halves: Vec<TcpStream> = Vec::new();
    for n in 0..100 {
        let mut socket = TcpStream::connect(("127.0.0.1", tls.port)).expect("connecting");
        // Some end within the first record, some behind it, some have not begun.
        let end = [0, 1, 5, hello.len() / 2, hello.len()][n % 5];
        socket.write_all(&hello[..end]).expect("sending");
        halves.push(socket);
    }
    let mut plain = tls.plain();
    let count = |plain: &mut Client| plain.cmd(&["CLIENT", "LIST"]).text().lines().count();
    eventually("all to be listed", || {
        (count(&mut plain) == 101).then_some(())
    });
    assert_eq!(tls.connect().raw(&["PING"]), b"+PONG\r\n");
    let killed = plain
        .cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .int();
    assert!(killed >= 100, "{killed}");
    eventually("all to be gone", || (count(&mut plain) == 1).then_some(()));
    halves.into_iter().for_each(assert_ends);
    // Rubbish behind the first record, and records that are too long, end in the log.
    for rubbish in [
        &[22, 3, 1, 0xFF, 0xFF][..],
        &[22, 3, 1, 0, 1, 0],
        &[22; 100],
        &[0; 10],
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", tls.port)).expect("connecting");
        socket.write_all(rubbish).expect("sending");
        socket.shutdown(std::net::Shutdown::Write).expect("ending");
        assert_ends(socket);
    }
    assert_eq!(tls.connect().raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn kill_storms() {
    let mut tls = TlsServer::start(&[("io-threads", "4")]);
    let stop = AtomicBool::new(false);
    let survived = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let stop_all = StopAtEnd(&stop);
        for n in 0..6 {
            let (tls, stop, survived) = (&tls, &stop, &survived);
            scope.spawn(move || {
                let client = trusting(None);
                let long = "x".repeat(200_000);
                while !stop.load(Ordering::Relaxed) {
                    let Ok((mut client, _)) = tls.try_connect(&client) else {
                        continue;
                    };
                    let mut works = || -> io::Result<()> {
                        match n % 3 {
                            0 => client.try_send(&encode(&["BLPOP", "nothing", "0"]))?,
                            1 => client.try_send(&encode(&["SUBSCRIBE", "c"]))?,
                            _ => {}
                        }
                        for _ in 0..50 {
                            client.try_send(&encode(&["SET", "k", &long]))?;
                            client.try_send(&encode(&["GET", "k"]))?;
                        }
                        client.try_read().map(drop)
                    };
                    let _ = works();
                    survived.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut killer = tls.plain();
        eventually("a thousand kills", || {
            killer.cmd(&["PUBLISH", "c", "m"]);
            killer.cmd(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            (survived.load(Ordering::Relaxed) > 300).then_some(())
        });
        drop(stop_all);
        eventually("the others to end", || {
            killer.cmd(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            let list = killer.cmd(&["CLIENT", "LIST"]).text();
            (list.lines().count() == 1).then_some(())
        });
    });
    tls.server.assert_alive();
    assert_eq!(tls.connect().raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn the_port_for_tls_moves_and_the_other_one_stays() {
    let mut tls = TlsServer::start(&[]);
    let mut there = tls.connect();
    let old = tls.port;
    tls.port = free_port();
    assert_eq!(tls.set(&[("tls-port", &tls.port.to_string())]), "+OK");
    assert_eq!(tls.connect().raw(&["PING"]), b"+PONG\r\n");
    assert!(TcpStream::connect(("127.0.0.1", old)).is_err());
    let listener = tls.info("listener2");
    assert_eq!(
        listener,
        format!("name=tls,bind=127.0.0.1,port={}", tls.port)
    );
    assert_eq!(tls.set(&[("tls-port", "0")]), "+OK");
    assert!(TcpStream::connect(("127.0.0.1", tls.port)).is_err());
    assert_eq!(tls.info("tls_server_cert_serial"), "none");
    assert_eq!(there.raw(&["PING"]), b"+PONG\r\n");
}

/// Of who has not logged in only a little is read at a time, but a record is longer.
#[test]
fn strangers_may_send_long_records() {
    let tls = TlsServer::start(&[("requirepass", "secret")]);
    let mut client = tls.connect();
    let value = "x".repeat(12_000);
    let mut requests = encode(&["AUTH", "secret"]);
    requests.extend(encode(&["SET", "k", &value]));
    client.send(&requests);
    assert_eq!(client.read().1.text(), "OK");
    assert_eq!(client.read().1.text(), "OK");
    assert_eq!(client.cmd(&["GET", "k"]).text(), value);
}
