//! Replies that wait for the disk, with a log that gets there when the test says so.

use super::*;
use crate::db::oplog::{Merge, OpLog, Promise};

impl House {
    /// One worker, a log that is on, and replies that wait for it.
    fn logging() -> House {
        let house = House::new(1);
        house.oplog().set_on(true);
        house.oplog().set_promise(Promise::Durable);
        house
    }

    fn oplog(&self) -> &OpLog {
        &self.server.keyspace.oplog
    }

    /// Waits until the worker has done everything that was sent to it before.
    fn settle(&self) {
        for _ in 0..2 {
            let (mut peer, shared) = self.connect();
            send(&mut peer, "PING");
            wait_for("the worker to come round", || {
                has_come(&peer) || shared.output_bytes.load(Ordering::Relaxed) > 0
            });
        }
    }

    fn wait_for_records(&self, count: u64) {
        wait_for("records in the log", || self.oplog().cut() == count);
        self.settle();
    }
}

fn send(peer: &mut TcpStream, lines: &str) {
    let requests = lines.replace('\n', "\r\n") + "\r\n";
    peer.write_all(requests.as_bytes()).unwrap();
}

#[track_caller]
fn ask(peer: &mut TcpStream, lines: &str, replies: &str) {
    send(peer, lines);
    gets(peer, replies);
}

#[track_caller]
fn gets(peer: &mut TcpStream, replies: &str) {
    let mut bytes = vec![0; replies.len()];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), replies);
}

/// Whether there is something to read.
fn has_come(peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let got = peer.peek(&mut [0]);
    peer.set_nonblocking(false).unwrap();
    match got {
        Ok(read) => read > 0,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    }
}

/// Asserts that nothing has come.
#[track_caller]
fn waits(peer: &TcpStream) {
    assert!(!has_come(peer));
}

#[test]
fn replies_wait_for_what_they_promise_or_show() {
    let house = House::logging();
    let (mut writer, _) = house.connect();
    let (mut other, _) = house.connect();
    ask(&mut other, "GET k", "$-1\r\n");
    send(&mut writer, "SET k v\nGET k");
    house.wait_for_records(1);
    send(&mut other, "GET k");
    house.settle();
    waits(&writer);
    waits(&other);
    // What is sent meanwhile is done behind the wait, so one writer does not outrun the disk.
    send(&mut other, "SET k w");
    house.settle();
    assert_eq!(house.oplog().cut(), 1);
    house.oplog().publish_durable(1);
    gets(&mut writer, "+OK\r\n$1\r\nv\r\n");
    gets(&mut other, "$1\r\nv\r\n");
    house.wait_for_records(2);
    waits(&other);
    house.oplog().publish_durable(2);
    gets(&mut other, "+OK\r\n");
    ask(&mut writer, "GET k", "$1\r\nw\r\n");
    // Once it is not promised any more, nobody waits.
    send(&mut writer, "SET k x");
    house.wait_for_records(3);
    waits(&writer);
    house.oplog().set_promise(Promise::Nothing);
    gets(&mut writer, "+OK\r\n");
    ask(&mut writer, "SET k y\nQUIT", "+OK\r\n+OK\r\n");
    house.stop();
}

/// Not even a part of many replies is sent before what was done first is on the disk.
#[test]
fn long_replies_wait_as_a_whole() {
    let house = House::logging();
    let (mut writer, _) = house.connect();
    let long = "x".repeat(400_000);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000\r\n{long}\r\n");
    writer.write_all(set.as_bytes()).unwrap();
    house.wait_for_records(1);
    house.oplog().publish_durable(1);
    gets(&mut writer, "+OK\r\n");
    send(&mut writer, "APPEND k y\nGET k\nGET k\nGET k\nQUIT");
    house.wait_for_records(2);
    waits(&writer);
    house.oplog().publish_durable(2);
    gets(&mut writer, ":400001\r\n");
    for _ in 0..3 {
        gets(&mut writer, &format!("$400001\r\n{long}y\r\n"));
    }
    gets(&mut writer, "+OK\r\n");
    house.stop();
}

#[test]
fn a_served_client_waits_for_its_record() {
    let house = House::logging();
    let (mut blocked, shared) = house.connect();
    let (mut pusher, _) = house.connect();
    send(&mut blocked, "BLPOP k 0");
    wait_for("the client to block", || shared.is_blocked());
    send(&mut pusher, "RPUSH k a");
    house.wait_for_records(2);
    wait_for("the client to be served", || !shared.is_blocked());
    house.settle();
    waits(&pusher);
    waits(&blocked);
    house.oplog().publish_durable(1);
    house.settle();
    // The push knows what has become of it.
    waits(&pusher);
    waits(&blocked);
    house.oplog().publish_durable(2);
    gets(&mut pusher, ":1\r\n");
    gets(&mut blocked, "*2\r\n$1\r\nk\r\n$1\r\na\r\n");
    // One that blocks with replies held back gets them before it is served.
    send(&mut blocked, "SET x v\nBLPOP k 0");
    house.wait_for_records(3);
    waits(&blocked);
    house.oplog().publish_durable(3);
    gets(&mut blocked, "+OK\r\n");
    wait_for("the client to block", || shared.is_blocked());
    house.stop();
}

/// A client that has written and runs a script without an end, and another one, where what is written is confirmed.
fn busy_script(house: &House) -> (TcpStream, TcpStream) {
    house.oplog().set_promise(Promise::Written);
    let (mut script, _) = house.connect();
    let (mut other, _) = house.connect();
    ask(&mut other, "CONFIG SET busy-reply-threshold 1", "+OK\r\n");
    send(&mut script, "SET k v\nEVAL 'while true do end' 0");
    let running = &house.server.scripts.running;
    wait_for("the script to be busy", || running.is_busy());
    (script, other)
}

/// A script holds all shards, and who keeps the log back may be waiting for one.
#[test]
fn a_busy_script_does_not_wait_for_the_log() {
    let house = House::logging();
    let (mut script, mut other) = busy_script(&house);
    ask(&mut other, "SCRIPT KILL", "+OK\r\n");
    let running = &house.server.scripts.running;
    wait_for("the script to end", || !running.is_busy());
    ask(&mut other, "PING", "+PONG\r\n");
    waits(&script);
    house.oplog().publish_written(1);
    gets(&mut script, "+OK\r\n-ERR Script killed by user");
    house.stop();
}

/// What was answered before a script is sent while it runs.
#[test]
fn replies_before_a_busy_script_are_sent_when_the_log_has_them() {
    let house = House::logging();
    let (mut script, mut other) = busy_script(&house);
    house.oplog().publish_written(1);
    gets(&mut script, "+OK\r\n");
    ask(&mut other, "SCRIPT KILL", "+OK\r\n");
    gets(&mut script, "-ERR Script killed by user");
    house.stop();
}

/// What is not on the disk is not confirmed to a client that is killed.
#[test]
fn a_killed_client_is_told_nothing() {
    let house = House::logging();
    let (mut writer, shared) = house.connect();
    send(&mut writer, "SET k v");
    house.wait_for_records(1);
    shared.raise(Signal::Kill);
    let mut rest = Vec::new();
    let _ = writer.read_to_end(&mut rest);
    assert!(rest.is_empty());
    house.stop();
}

#[test]
fn a_stop_waits_for_the_disk() {
    let house = House::logging();
    let (mut writer, _) = house.connect();
    send(&mut writer, "SET k v");
    house.wait_for_records(1);
    let server = house.server.clone();
    let stopping = thread::spawn(|| house.stop());
    wait_for("the stop", || server.lifecycle() == Lifecycle::Stopping);
    waits(&writer);
    server.keyspace.oplog.publish_durable(1);
    gets(&mut writer, "+OK\r\n");
    stopping.join().unwrap();
}

/// A log that falls behind slows writers down, whatever the policy, and nobody else.
#[test]
fn writers_do_not_run_away_from_the_log() {
    let house = House::logging();
    house.oplog().set_promise(Promise::Nothing);
    let (mut writer, _) = house.connect();
    let (mut reader, _) = house.connect();
    let long = "x".repeat(17 << 20);
    let set = format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{long}\r\n",
        long.len()
    );
    writer.write_all(set.as_bytes()).unwrap();
    gets(&mut writer, "+OK\r\n");
    send(&mut writer, "PING");
    house.settle();
    waits(&writer);
    ask(&mut reader, "STRLEN k", &format!(":{}\r\n", long.len()));
    let (mut merge, mut out) = (Merge::after(0), Vec::new());
    house.oplog().drain(&mut merge, &mut out, None);
    assert!(out.len() > long.len());
    gets(&mut writer, "+PONG\r\n");
    // One that wants no replies, too.
    ask(
        &mut writer,
        "CLIENT REPLY OFF\nECHO x\nCLIENT REPLY ON",
        "+OK\r\n",
    );
    send(&mut writer, "CLIENT REPLY OFF");
    writer.write_all(set.as_bytes()).unwrap();
    house.wait_for_records(2);
    send(&mut writer, "CLIENT REPLY ON");
    house.settle();
    waits(&writer);
    house.oplog().drain(&mut merge, &mut out, None);
    gets(&mut writer, "+OK\r\n");
    house.stop();
}
