//! The log of writes: order, grouping, sleeping and waiting.

use std::sync::Arc;
use std::task::Wake;
use std::thread;
use std::time::Instant;

use super::*;
use crate::util::rng::Rng;

/// Commands as one line each, arguments with spaces between.
#[track_caller]
pub(crate) fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let number = |bytes: &mut &[u8], kind: u8| -> usize {
        assert_eq!(bytes[0], kind);
        let end = bytes.iter().position(|&byte| byte == b'\r').unwrap();
        let number = std::str::from_utf8(&bytes[1..end]).unwrap().parse();
        *bytes = &bytes[end + 2..];
        number.unwrap()
    };
    while !bytes.is_empty() {
        let args = number(&mut bytes, b'*');
        let mut words = Vec::new();
        for _ in 0..args {
            let len = number(&mut bytes, b'$');
            words.push(String::from_utf8_lossy(&bytes[..len]).into_owned());
            assert_eq!(&bytes[len..len + 2], b"\r\n");
            bytes = &bytes[len + 2..];
        }
        lines.push(words.join(" "));
    }
    lines
}

fn append(oplog: &OpLog, db: u32, line: &str) -> u64 {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    oplog.append(DbIndex(db), words.into_iter())
}

fn drained(oplog: &OpLog, merge: &mut Merge, up_to: Option<u64>) -> Vec<String> {
    let mut out = b"*1\r\n$4\r\nPING\r\n".to_vec();
    let before = out.len();
    let drained = oplog.drain(merge, &mut out, up_to);
    assert_eq!(drained.bytes, out.len() - before);
    assert_eq!(drained.last_seq, merge.last_seq());
    lines(&out[before..])
}

#[test]
fn records_come_out_as_they_went_in() {
    let oplog = OpLog::new(4);
    let mut merge = Merge::after(0);
    assert_eq!(drained(&oplog, &mut merge, None), [""; 0]);
    assert_eq!(append(&oplog, 0, "SET k v"), 1);
    assert_eq!(append(&oplog, 0, "SET k 0123456789"), 2);
    assert_eq!(append(&oplog, 9, "DEL k"), 3);
    assert_eq!(oplog.cut(), 3);
    assert!(oplog.buffered_bytes() > 3 * HEAD_BYTES as u64);
    let expected = [
        "SELECT 0",
        "SET k v",
        "SET k 0123456789",
        "SELECT 9",
        "DEL k",
    ];
    assert_eq!(drained(&oplog, &mut merge, None), expected);
    assert_eq!(oplog.buffered_bytes(), 0);
    append(&oplog, 9, "DEL k");
    assert_eq!(drained(&oplog, &mut merge, None), ["DEL k"]);
    merge.forget_db();
    append(&oplog, 9, "DEL k");
    assert_eq!(drained(&oplog, &mut merge, None), ["SELECT 9", "DEL k"]);
}

#[test]
fn what_belongs_together_is_one_record() {
    let oplog = OpLog::new(1);
    let mut merge = Merge::after(0);
    let mut draft = Draft::default();
    assert_eq!(oplog.append_draft(&mut draft), None);
    draft.push(DbIndex(2), [&b"DEL"[..], b"k"].into_iter());
    assert_eq!(oplog.append_draft(&mut draft), Some(1));
    assert!(draft.is_empty());
    draft.push(DbIndex(2), [&b"DEL"[..], b"k"].into_iter());
    let srem = [&b"SREM"[..], b"k", b"member of a set"];
    draft.push(DbIndex(3), srem.into_iter());
    assert!(!draft.is_empty());
    assert_eq!(oplog.append_draft(&mut draft), Some(2));
    append(&oplog, 3, "DEL k");
    assert_eq!(
        drained(&oplog, &mut merge, None),
        [
            "SELECT 2",
            "DEL k",
            "MULTI",
            "DEL k",
            "SELECT 3",
            "SREM k member of a set",
            "EXEC",
            "DEL k",
        ]
    );
}

#[test]
fn a_drain_stops_at_a_record_and_goes_on_behind_it() {
    let oplog = OpLog::new(2);
    let mut merge = Merge::after(0);
    for n in 1..=6 {
        thread::scope(|scope| {
            // Threads of their own: both lanes are used.
            scope.spawn(|| append(&oplog, 0, &format!("SET k {n}")));
        });
    }
    let expected = ["SELECT 0", "SET k 1", "SET k 2"];
    assert_eq!(drained(&oplog, &mut merge, Some(2)), expected);
    assert_eq!(drained(&oplog, &mut merge, Some(2)), [""; 0]);
    assert_eq!(drained(&oplog, &mut merge, Some(1)), [""; 0]);
    append(&oplog, 0, "SET k 7");
    assert_eq!(drained(&oplog, &mut merge, Some(5)).len(), 3);
    assert_eq!(
        drained(&oplog, &mut merge, Some(100)),
        ["SET k 6", "SET k 7"]
    );
}

#[test]
fn what_was_left_over_from_before_is_skipped() {
    let oplog = OpLog::new(1);
    append(&oplog, 0, "SET k old");
    append(&oplog, 0, "SET k older");
    let mut merge = Merge::after(oplog.cut());
    append(&oplog, 1, "SET k new");
    assert_eq!(drained(&oplog, &mut merge, None), ["SELECT 1", "SET k new"]);
}

#[test]
fn a_large_record_keeps_no_room() {
    let oplog = OpLog::new(1);
    let mut merge = Merge::after(0);
    let long = vec![b'x'; LANE_BYTES_MAX];
    oplog.append(DbIndex(0), [&b"SET"[..], b"k", &long].into_iter());
    assert!(oplog.is_congested());
    let mut out = Vec::new();
    oplog.drain(&mut merge, &mut out, None);
    assert!(!oplog.is_congested());
    for _ in 0..2 {
        append(&oplog, 0, "SET k v");
        oplog.drain(&mut merge, &mut out, None);
    }
    assert!(merge.tails[0].bytes.capacity() <= KEEP_BYTES_MAX);
    assert!(oplog.lanes[0].0.lock().capacity() <= KEEP_BYTES_MAX);
}

/// Threads append under locks of keys; drains at random moments, to random numbers, together give
/// every record once, each key's in the order of its lock.
#[test]
fn threads_and_drains_at_random() {
    const THREADS: usize = 6;
    const RECORDS: usize = 3_000;
    const KEYS: usize = 3;
    let oplog = OpLog::new(4);
    let keys: Vec<Mutex<u64>> = (0..KEYS).map(|_| Mutex::default()).collect();
    let mut all = Vec::new();
    let mut merge = Merge::after(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (oplog, keys) = (&oplog, &keys);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(thread as u64);
                let mut draft = Draft::default();
                for _ in 0..RECORDS {
                    let key = rng.index(KEYS);
                    let mut version = keys[key].lock();
                    *version += 1;
                    let line = format!("SET {key} {version}");
                    let words = line.split(' ').map(str::as_bytes);
                    let words: Vec<&[u8]> = words.collect();
                    if rng.below(4) == 0 {
                        draft.push(DbIndex(key as u32), words.clone().into_iter());
                        *version += 1;
                        let next = version.to_string();
                        let words = [words[0], words[1], next.as_bytes()];
                        draft.push(DbIndex(key as u32), words.into_iter());
                        oplog.append_draft(&mut draft);
                    } else {
                        oplog.append(DbIndex(key as u32), words.into_iter());
                    }
                }
            });
        }
        let mut rng = Rng::from_seed(99);
        let mut out = Vec::new();
        while merge.last_seq() < (THREADS * RECORDS) as u64 {
            let up_to = match rng.below(3) {
                0 => Some(merge.last_seq() + rng.below(50)),
                _ => None,
            };
            let drained = oplog.drain(&mut merge, &mut out, up_to);
            assert!(up_to.is_none_or(|up_to| drained.last_seq <= up_to));
            all.append(&mut out);
            thread::yield_now();
        }
    });
    let mut versions = [0; KEYS];
    let mut db = String::new();
    let mut in_group = false;
    for line in lines(&all) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["SELECT", select] => {
                assert!(!in_group && select != db);
                db = select.into();
            }
            ["SET", key, version] => {
                assert_eq!(key, db);
                let last = &mut versions[key.parse::<usize>().unwrap()];
                *last += 1;
                assert_eq!(version.parse::<u64>(), Ok(*last));
            }
            ["MULTI"] => in_group = true,
            ["EXEC"] => in_group = false,
            _ => panic!("{line}"),
        }
    }
    for (version, key) in versions.iter().zip(&keys) {
        assert_eq!(*version, *key.lock());
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A client that waits for a record to be on the disk.
struct Client<'a> {
    woken: Arc<Woken>,
    oplog: &'a OpLog,
    seq: u64,
    enrolled: Option<u64>,
}

impl<'a> Client<'a> {
    fn of(oplog: &'a OpLog, seq: u64) -> Client<'a> {
        Client {
            woken: Arc::default(),
            oplog,
            seq,
            enrolled: None,
        }
    }

    fn is_ready(&mut self) -> bool {
        let waker = Waker::from(self.woken.clone());
        let mut cx = Context::from_waker(&waker);
        let poll = self
            .oplog
            .poll_promised(&mut cx, self.seq, &mut self.enrolled);
        poll.is_ready()
    }

    fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::SeqCst)
    }
}

#[test]
fn what_a_reply_shows_is_on_the_disk_if_that_is_promised() {
    let oplog = OpLog::new(1);
    oplog.set_promise(Promise::Durable);
    assert_eq!(oplog.shown_seq(0), 0, "off");
    oplog.set_on(true);
    assert_eq!(oplog.shown_seq(0), 0);
    let (own, last) = (append(&oplog, 0, "SET a 1"), append(&oplog, 0, "SET a 2"));
    assert!(own < last);
    assert_eq!((oplog.shown_seq(0), oplog.shown_seq(own)), (last, last));
    for promise in [Promise::Written, Promise::Nothing] {
        oplog.set_promise(promise);
        assert_eq!((oplog.shown_seq(0), oplog.shown_seq(own)), (0, own));
    }
}

#[test]
fn replies_wait_for_the_disk_as_long_as_that_is_promised() {
    let oplog = OpLog::new(1);
    assert!(Client::of(&oplog, 1).is_ready());
    oplog.set_on(true);
    assert!(Client::of(&oplog, 1).is_ready());
    oplog.set_promise(Promise::Durable);
    let mut clients: Vec<Client<'_>> = (1..=3).map(|seq| Client::of(&oplog, seq)).collect();
    for client in &mut clients {
        // Twice: who is polled again is woken once all the same.
        assert!(!client.is_ready() && !client.is_ready());
    }
    oplog.publish_durable(2);
    assert_eq!(
        clients.iter().map(Client::woken).collect::<Vec<_>>(),
        [1, 1, 0]
    );
    assert!(clients[0].is_ready() && clients[1].is_ready() && !clients[2].is_ready());
    // What is on the disk stays there.
    oplog.publish_durable(1);
    assert_eq!(oplog.durable_seq(), 2);
    assert!(Client::of(&oplog, 2).is_ready());
    oplog.set_promise(Promise::Nothing);
    assert_eq!(clients[2].woken(), 1);
    assert!(clients[2].is_ready());
    oplog.set_promise(Promise::Durable);
    let mut client = Client::of(&oplog, 4);
    assert!(!client.is_ready());
    // Woken without need, it waits on.
    oplog.set_promise(Promise::Durable);
    assert_eq!(client.woken(), 1);
    assert!(!client.is_ready());
    assert_eq!(client.woken(), 0);
    oplog.set_on(false);
    assert_eq!(client.woken(), 1);
    assert!(client.is_ready());
}

#[test]
fn the_consumer_sleeps_until_there_is_something_to_do() {
    let oplog = OpLog::new(1);
    let mut merge = Merge::after(0);
    let long = Duration::from_secs(600);
    let started = Instant::now();
    append(&oplog, 0, "SET k v");
    // There is something already.
    oplog.park(merge.last_seq(), long);
    drained(&oplog, &mut merge, None);
    oplog.park(merge.last_seq(), Duration::from_millis(1));
    // A call that comes too early is not lost.
    oplog.wake();
    oplog.park(merge.last_seq(), long);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            while merge.last_seq() < 100 {
                oplog.park(merge.last_seq(), long);
                oplog.drain(&mut merge, &mut Vec::new(), None);
            }
        });
        for _ in 0..99 {
            append(&oplog, 0, "SET k v");
            thread::yield_now();
        }
        consumer.join().unwrap();
    });
    assert!(started.elapsed() < long);
}

#[test]
fn a_record_that_is_written_is_enough_where_no_more_is_promised() {
    let oplog = OpLog::new(1);
    oplog.set_on(true);
    oplog.set_promise(Promise::Written);
    let mut clients: Vec<Client<'_>> = (1..=3).map(|seq| Client::of(&oplog, seq)).collect();
    for client in &mut clients {
        assert!(!client.is_ready());
    }
    oplog.publish_written(1);
    assert!(clients[0].is_ready() && !clients[1].is_ready());
    assert_eq!(oplog.durable_seq(), 0);
    // What is on the disk was written, too.
    oplog.publish_durable(2);
    assert_eq!(
        clients.iter().map(Client::woken).collect::<Vec<_>>(),
        [1, 1, 0]
    );
    assert!(clients[1].is_ready() && !clients[2].is_ready());
    // More is promised from now on.
    oplog.set_promise(Promise::Durable);
    oplog.publish_written(3);
    assert!(!clients[2].is_ready());
    oplog.publish_durable(3);
    assert!(clients[2].is_ready());
}

/// Between the look at what is promised and the waking, somebody may promise more.
#[test]
fn who_waits_for_the_disk_is_not_let_go_by_a_write() {
    let oplog = OpLog::new(1);
    oplog.set_on(true);
    oplog.set_promise(Promise::Durable);
    let mut client = Client::of(&oplog, 1);
    assert!(!client.is_ready());
    // What remains to be done in `publish_written`.
    oplog.written_seq.0.store(1, Ordering::SeqCst);
    oplog.wake_waiting(1);
    assert_eq!(client.woken(), 0);
    assert!(!client.is_ready());
    oplog.publish_durable(1);
    assert_eq!(client.woken(), 1, "it waits for ever");
    assert!(client.is_ready());
}
