//! `maxmemory-clients` and the other limits of what single clients may take, over TCP.

use std::time::{Duration, Instant};

use crate::client::{Client, encode};
use crate::harness::{Server, eventually};
use crate::tls::TlsServer;

const MIB: usize = 1 << 20;

/// A number of INFO.
fn figure(client: &mut Client, name: &str) -> u64 {
    let text = client.cmd(&["INFO", "everything"]).text();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect(name).parse().expect(name)
}

/// Names of the clients that are connected.
fn names(client: &mut Client) -> Vec<String> {
    let text = client.cmd(&["CLIENT", "LIST"]).text();
    let words = text.split([' ', '\n']);
    let names = words.filter_map(|word| word.strip_prefix("name="));
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A client with a name.
fn named(server: &Server, name: &str) -> Client {
    let mut client = server.connect();
    assert_eq!(client.raw(&["CLIENT", "SETNAME", name]), b"+OK\r\n");
    client
}

/// One that looks on and is never closed.
fn observer(server: &Server) -> Client {
    let mut client = server.connect();
    assert_eq!(client.raw(&["CLIENT", "NO-EVICT", "ON"]), b"+OK\r\n");
    client
}

/// A request that is not finished, of about so many bytes.
fn unfinished(bytes: usize) -> Vec<u8> {
    let mut request = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", bytes + 1).into_bytes();
    request.resize(request.len() + bytes, b'x');
    request
}

/// Runs a test with one worker thread and with several.
fn with_threads(args: &[&str], test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        let args = [&["--io-threads", threads], args].concat();
        let mut server = Server::kivi(&args);
        test(&server);
        server.assert_alive();
    }
}

#[test]
fn the_largest_requests_go_first() {
    with_threads(&["--maxmemory-clients", "8mb"], |server| {
        let mut look = observer(server);
        let mut small = named(server, "small");
        let mut crowd: Vec<Client> = (0..3)
            .map(|n| named(server, &format!("large{n}")))
            .collect();
        small.send(&unfinished(300_000));
        // What they take is at most twice what they have sent.
        for (client, mib) in crowd.iter_mut().zip([1, 1, 7]) {
            let _ = client.try_send(&unfinished(mib * MIB));
        }
        // Without the largest the limit is not reached, and when it is, that is far larger than the
        // others: clients are told apart by powers of two only.
        eventually("one to be closed", || {
            (figure(&mut look, "evicted_clients") > 0).then_some(())
        });
        let mut left = names(&mut look);
        left.sort();
        let largest_has_gone = !left.contains(&"large2".to_owned());
        assert!(
            largest_has_gone && left.contains(&"small".to_owned()),
            "{left:?}"
        );
        small.send(b"x\r\n");
        assert_eq!(small.read().0.len(), 300_001 + "$300001\r\n\r\n".len());
        // That is sampled ten times a second.
        eventually("the sum to be below the limit", || {
            (figure(&mut look, "mem_clients_normal") < 8 << 20).then_some(())
        });
    });
}

#[test]
fn who_reads_no_replies_goes() {
    with_threads(&["--maxmemory-clients", "8mb"], |server| {
        let mut look = observer(server);
        let last = (MIB - 1).to_string();
        look.raw(&["SETRANGE", "big", &last, "x"]);
        let mut idle = named(server, "idle");
        let mut silent = named(server, "silent");
        let request = encode(&["GET", "big"]);
        for _ in 0..40 {
            let _ = silent.try_send(&request);
        }
        eventually("it to be closed", || {
            (names(&mut look) == ["idle"]).then_some(())
        });
        assert_eq!(figure(&mut look, "evicted_clients"), 1);
        assert_eq!(idle.raw(&["PING"]), b"+PONG\r\n");
        silent.read_to_close().expect("an end");
        // A limit that is lowered counts at once.
        let mut asking = named(server, "asking");
        asking.send(&unfinished(MIB));
        eventually("its request to wait", || {
            (figure(&mut look, "mem_clients_normal") > MIB as u64).then_some(())
        });
        assert_eq!(
            look.raw(&["CONFIG", "SET", "maxmemory-clients", "512kb"]),
            b"+OK\r\n"
        );
        eventually("the asking one to be closed", || {
            (names(&mut look) == ["idle"]).then_some(())
        });
        assert_eq!(figure(&mut look, "evicted_clients"), 2);
    });
}

#[test]
fn no_evict_spares_and_transactions_count() {
    with_threads(&["--maxmemory-clients", "6mb"], |server| {
        let mut look = observer(server);
        let mut spared = named(server, "spared");
        spared.raw(&["CLIENT", "NO-EVICT", "ON"]);
        spared.send(&unfinished(MIB));
        let mut queueing = named(server, "queueing");
        queueing.raw(&["MULTI"]);
        let value = "v".repeat(MIB / 2);
        let request = encode(&["SET", "k", &value]);
        for _ in 0..20 {
            let _ = queueing.try_send(&request);
        }
        eventually("the queue to be too much", || {
            (names(&mut look) == ["spared"]).then_some(())
        });
        assert_eq!(figure(&mut look, "evicted_clients"), 1);
        spared.send(b"x\r\n");
        assert_eq!(spared.read().0.len(), MIB + 1 + "$1048577\r\n\r\n".len());
        assert_eq!(look.raw(&["EXISTS", "k"]), b":0\r\n");
    });
}

#[test]
fn whoever_has_just_come_is_heard_when_nobody_can_be_closed() {
    with_threads(&["--maxmemory-clients", "512kb"], |server| {
        let mut idle = named(server, "idle");
        let mut spared = observer(server);
        spared.send(&unfinished(MIB));
        idle.read_to_close().expect("an end");
        // The cron job may come by between connecting and asking.
        eventually("a newcomer to lift the limit", || {
            let mut newcomer = server.try_connect().ok()?;
            let lift = ["CONFIG", "SET", "maxmemory-clients", "0"];
            let reply = newcomer.try_raw(&lift).ok()?;
            (reply == b"+OK\r\n").then_some(())
        });
        assert_eq!(server.connect().raw(&["PING"]), b"+PONG\r\n");
    });
}

/// Also while it shakes hands.
#[test]
fn whoever_has_just_come_with_tls_is_heard() {
    let tls = TlsServer::start(&[("maxmemory-clients", "512kb"), ("io-threads", "1")]);
    let mut spared = observer(&tls.server);
    spared.send(&unfinished(MIB));
    let mut idle = named(&tls.server, "idle");
    idle.read_to_close().expect("an end");
    eventually("a newcomer to lift the limit", || {
        let mut newcomer = tls.try_connect_plainly().ok()?;
        let lift = ["CONFIG", "SET", "maxmemory-clients", "0"];
        let reply = newcomer.try_raw(&lift).ok()?;
        (reply == b"+OK\r\n").then_some(())
    });
}

#[test]
fn subscribers_and_monitors_count() {
    with_threads(
        &[
            "--maxmemory-clients",
            "6mb",
            "--client-output-buffer-limit",
            "pubsub 0 0 0",
        ],
        |server| {
            for take in ["SUBSCRIBE c", "MONITOR"] {
                let mut look = observer(server);
                let before = figure(&mut look, "evicted_clients");
                let mut silent = named(server, "silent");
                silent.raw(&take.split(' ').collect::<Vec<_>>());
                let message = "m".repeat(MIB / 2);
                eventually(take, || {
                    look.raw(&["PUBLISH", "c", &message]);
                    names(&mut look).is_empty().then_some(())
                });
                assert_eq!(figure(&mut look, "evicted_clients"), before + 1, "{take}");
            }
        },
    );
}

#[test]
fn the_soft_limit_gives_a_reader_time() {
    let server = Server::kivi(&["--client-output-buffer-limit", "normal 0 1mb 2"]);
    let mut look = server.connect();
    let last = (8 * MIB - 1).to_string();
    look.raw(&["SETRANGE", "big", &last, "x"]);
    let (mut slow, mut silent) = (named(&server, "slow"), named(&server, "silent"));
    let asked_at = Instant::now();
    for client in [&mut slow, &mut silent] {
        for _ in 0..4 {
            client.send(&encode(&["GET", "big"]));
        }
    }
    eventually("both to be over the limit", || {
        let text = look.cmd(&["CLIENT", "LIST"]).text();
        let waits = text.lines().filter(|line| !line.contains(" omem=0 "));
        (waits.count() == 2).then_some(())
    });
    // Whoever takes its replies in time stays.
    for _ in 0..4 {
        assert_eq!(slow.read().0.len(), 8 * MIB + "$8388608\r\n\r\n".len());
    }
    eventually("the silent one to be closed", || {
        (names(&mut look) == ["slow"]).then_some(())
    });
    assert!(asked_at.elapsed() >= Duration::from_secs(2));
    assert_eq!(
        figure(&mut look, "client_output_buffer_limit_disconnections"),
        1
    );
    assert_eq!(slow.raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn the_query_buffer_limit_ends_a_request() {
    with_threads(&["--client-query-buffer-limit", "1mb"], |server| {
        let mut look = server.connect();
        let mut client = server.connect();
        client.send(&unfinished(MIB - 1000));
        client.send(b"x\r\n");
        assert_eq!(client.read().0.len(), MIB - 999 + "$1047577\r\n\r\n".len());
        let mut client = server.connect();
        let _ = client.try_send(&unfinished(3 * MIB));
        let _ = client.read_to_close();
        let name = "client_query_buffer_limit_disconnections";
        assert_eq!(figure(&mut look, name), 1);
    });
}
