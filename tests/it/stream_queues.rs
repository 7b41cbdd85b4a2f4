//! The same random commands on streams of many clients to Kivi and to Valkey: who is served with what,
//! what becomes of groups, and what is left.
//!
//! Ids come from a clock of the test's own, so both servers make the same entries; times are either
//! given (XCLAIM TIME, IDLE), which shows in the replies, or the test's few seconds, which are taken out
//! of the replies (see [`timeless`]). At the end XINFO STREAM FULL and GROUPS of every stream are
//! compared, with the figures of the radix tree, and the bytes of DUMP without groups.
//!
//! The play is that of `queues`; one test has clients that wait, the other long pipelines.

use crate::client::{Client, Reply};
use crate::generate::Rng;
use crate::harness::Server;
use crate::queues::{CLIENTS, Script, compare_with};

#[test]
fn streams_serve_in_the_order_of_valkey_9() {
    if let Some(valkey) = Server::valkey(&[]) {
        compare_with(&valkey, &mut Streams::new(3, true));
    }
}

#[test]
fn streams_become_what_they_become_in_valkey_9() {
    if let Some(valkey) = Server::valkey(&[]) {
        compare_with(&valkey, &mut Streams::new(40, false));
    }
}

/// What XCLAIM IDLE sets (six and a half days), and what is asked for as the least.
const IDLE_MS: &str = "550000000";
const LEAST_IDLE_MS: &str = "400000000";

struct Streams {
    /// The most commands that are sent together.
    depth: usize,
    waits: bool,
    /// The clock for ids.
    now: u64,
}

impl Script for Streams {
    fn begin(&mut self, rng: &mut Rng) -> Vec<String> {
        self.now = 10;
        let entries = rng.pick(&["100", "3", "2", "7", "0"]);
        let bytes = rng.pick(&["4096", "4096", "60", "0", "300"]);
        vec![
            // Two compressors need not find the same.
            "CONFIG SET rdbcompression no".to_owned(),
            format!("CONFIG SET stream-node-max-entries {entries}"),
            format!("CONFIG SET stream-node-max-bytes {bytes}"),
        ]
    }

    fn commands(&mut self, rng: &mut Rng, gentle: bool) -> Vec<String> {
        let gentle = gentle || !self.waits;
        let count = 1 + rng.below(self.depth);
        let some = |streams: &mut Streams, rng: &mut Rng| -> Vec<String> {
            (0..count).map(|_| streams.command(rng, gentle)).collect()
        };
        if rng.chance(8) {
            let end = *rng.pick(&["EXEC", "EXEC", "EXEC", "DISCARD"]);
            let mut commands = vec!["MULTI".to_owned()];
            commands.extend(some(self, rng));
            commands.push(end.to_owned());
            return commands;
        }
        some(self, rng)
    }

    fn seen(&self, reply: Reply) -> Reply {
        timeless(reply)
    }

    fn keyspace(&self, client: &mut Client) -> Vec<(String, Reply)> {
        let keys = client.keys();
        keys.into_iter()
            .map(|key| {
                let value = value(client, &key);
                (key, value)
            })
            .collect()
    }
}

/// All there is to know of a key.
fn value(client: &mut Client, key: &str) -> Reply {
    if client.cmd(&["TYPE", key]).bytes() != b"stream" {
        return client.cmd(&["GET", key]);
    }
    let mut all = vec![
        client.cmd(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"]),
        client.cmd(&["XINFO", "GROUPS", key]),
        client.cmd(&["XREVRANGE", key, "+", "-"]),
    ];
    let groups = all[1].items().iter().map(|group| group.items()[1].text());
    for group in groups.collect::<Vec<String>>() {
        all.push(client.cmd(&["XINFO", "CONSUMERS", key, &group]));
        all.push(client.cmd(&["XPENDING", key, &group]));
        all.push(client.cmd(&["XGROUP", "DESTROY", key, &group]));
    }
    // Without the type, of which there are three, the version, and the checksum over them.
    let dump = client.cmd(&["DUMP", key]);
    let bytes = dump.bytes();
    all.push(Reply::Bulk(bytes[1..bytes.len() - 10].to_vec()));
    Reply::Array(all.into_iter().map(timeless).collect())
}

/// A reply without the time that the test takes: points in time are 1 if they are of the last days,
/// idle times in milliseconds are 0, or what has been set, roughly.
fn timeless(reply: Reply) -> Reply {
    let inside = |items: Vec<Reply>| -> Vec<Reply> {
        let is_pending = matches!(
            items[..],
            [Reply::Bulk(_), Reply::Bulk(_), Reply::Int(_), Reply::Int(_)]
        );
        let mut names = vec![false];
        names.extend(items.iter().map(
            |item| matches!(item, Reply::Bulk(name) if name == b"idle" || name == b"inactive"),
        ));
        let zip = items.into_iter().zip(names).enumerate();
        zip.map(|(at, (item, named))| match item {
            Reply::Int(ms @ 0..100_000) if named || (is_pending && at == 2) => {
                Reply::Int(if ms < 60_000 { 0 } else { ms })
            }
            other => timeless(other),
        })
        .collect()
    };
    match reply {
        Reply::Int(ms @ 1_000_000_000_000..) => Reply::Int(1 + ms / 1_000_000_000_000_000),
        Reply::Int(ms @ 100_000_000..) => Reply::Int(ms / 10_000_000),
        Reply::Array(items) => Reply::Array(inside(items)),
        Reply::Map(items) => Reply::Map(inside(items)),
        other => other,
    }
}

fn key(rng: &mut Rng) -> String {
    format!("x{}", rng.below(4))
}

fn group(rng: &mut Rng) -> String {
    (*rng.pick(&["g", "g", "g", "h", "h", "other"])).to_owned()
}

fn consumer(rng: &mut Rng) -> String {
    (*rng.pick(&["alice", "bob", "bob", "c"])).to_owned()
}

fn count(rng: &mut Rng) -> String {
    (*rng.pick(&["", "", "COUNT 1 ", "COUNT 2 ", "COUNT 5 ", "COUNT 0 "])).to_owned()
}

impl Streams {
    fn new(depth: usize, waits: bool) -> Streams {
        Streams {
            depth,
            waits,
            now: 10,
        }
    }

    /// The id of a new entry, which is rarely too small.
    fn new_id(&mut self, rng: &mut Rng) -> String {
        self.now += [0, 1, 1, 1, 2, 30, 200][rng.below(7)];
        match rng.below(20) {
            0 => format!("{}-1", self.now / 2),
            1 => format!("{}-0", self.now),
            2..=9 => format!("{}-*", self.now),
            10..=12 => {
                self.now += 1;
                format!("{}-{}", self.now, rng.below(5))
            }
            13 => {
                self.now += 1;
                format!("{}-{}", self.now, rng.next() >> 20)
            }
            _ => {
                self.now += 1;
                format!("{}-1", self.now)
            }
        }
    }

    /// An id that may be one of an entry.
    fn id(&self, rng: &mut Rng) -> String {
        let back = [3, 10, 40, self.now][rng.below(4)];
        let ms = self.now + 2 - (rng.below(back as usize) as u64).min(self.now);
        match rng.below(6) {
            0 => format!("{ms}"),
            1 => format!("{ms}-0"),
            2 => format!("{ms}-2"),
            _ => format!("{ms}-1"),
        }
    }

    fn ids(&self, rng: &mut Rng) -> String {
        let ids: Vec<String> = (0..1 + rng.below(5)).map(|_| self.id(rng)).collect();
        ids.join(" ")
    }

    fn bound(&self, rng: &mut Rng, open: &str) -> String {
        match rng.below(6) {
            0 | 1 => open.to_owned(),
            2 => format!("({}", self.id(rng)),
            3 => (*rng.pick(&["-", "+", "("])).to_owned(),
            _ => self.id(rng),
        }
    }

    fn trim(&self, rng: &mut Rng) -> String {
        let how = *rng.pick(&["", "= ", "~ ", "~ "]);
        let limit = if how == "~ " && rng.chance(40) {
            format!(" LIMIT {}", rng.pick(&["0", "1", "3", "20"]))
        } else {
            String::new()
        };
        if rng.chance(60) {
            let most = rng.pick(&["0", "1", "3", "5", "10", "30"]);
            format!("MAXLEN {how}{most}{limit}")
        } else {
            format!("MINID {how}{}{limit}", self.id(rng))
        }
    }

    fn add(&mut self, rng: &mut Rng) -> String {
        let key = key(rng);
        let trim = if rng.chance(12) {
            format!("{} ", self.trim(rng))
        } else {
            String::new()
        };
        let made = if rng.chance(5) { "NOMKSTREAM " } else { "" };
        let id = self.new_id(rng);
        let long = "y".repeat([3, 20, 70, 300][rng.below(4)]);
        let fields = match rng.below(12) {
            0..=5 => format!("a {} b {}", rng.below(10), rng.below(100_000)),
            6 => format!("b 1 a {long}"),
            7 => format!("a {long}"),
            8 => format!("a -{} b {}", rng.next(), rng.next()),
            9 => format!("field {long} {} -5 z 0", rng.below(70_000)),
            _ => format!("a {} b -{}", rng.below(9000), rng.below(9_000_000)),
        };
        format!("XADD {key} {made}{trim}{id} {fields}")
    }

    /// A random command; a `gentle` one does not wait.
    fn command(&mut self, rng: &mut Rng, gentle: bool) -> String {
        let wait = if gentle { 0 } else { rng.below(100) };
        match wait {
            1..=22 => self.read(rng, "BLOCK 0 "),
            23..=45 => self.read_group(rng, "BLOCK 0 "),
            _ => match rng.below(100) {
                0..=34 => self.add(rng),
                35..=38 => self.read(rng, ""),
                39..=54 => self.read_group(rng, ""),
                55..=62 => self.manage(rng),
                63..=82 => self.claim(rng),
                83..=92 => self.look(rng),
                _ => self.other(rng),
            },
        }
    }

    /// The keys of a read, and one word for each.
    fn streams(rng: &mut Rng, word: impl Fn(&mut Rng) -> String) -> String {
        let count = 1 + [0, 0, 0, 1, 2][rng.below(5)];
        let keys: Vec<String> = (0..count).map(|_| key(rng)).collect();
        let words: Vec<String> = (0..count).map(|_| word(rng)).collect();
        format!("STREAMS {} {}", keys.join(" "), words.join(" "))
    }

    fn read(&self, rng: &mut Rng, block: &str) -> String {
        let count = count(rng);
        let after = |rng: &mut Rng| match rng.below(10) {
            0..=4 => "$".to_owned(),
            5 => "+".to_owned(),
            6 => "0".to_owned(),
            _ => self.id(rng),
        };
        format!("XREAD {count}{block}{}", Streams::streams(rng, after))
    }

    fn read_group(&self, rng: &mut Rng, block: &str) -> String {
        let (group, consumer, count) = (group(rng), consumer(rng), count(rng));
        let ack = if rng.chance(15) { "NOACK " } else { "" };
        let after = |rng: &mut Rng| match rng.below(12) {
            0 => "0".to_owned(),
            1 => self.id(rng),
            _ => ">".to_owned(),
        };
        let streams = Streams::streams(rng, after);
        format!("XREADGROUP GROUP {group} {consumer} {count}{block}{ack}{streams}")
    }

    fn manage(&self, rng: &mut Rng) -> String {
        let (key, group, consumer) = (key(rng), group(rng), consumer(rng));
        let from = match rng.below(6) {
            0..=2 => "0".to_owned(),
            3 => "$".to_owned(),
            _ => self.id(rng),
        };
        let read = match rng.below(8) {
            0 => format!(" ENTRIESREAD {}", rng.below(20)),
            1 => " ENTRIESREAD -1".to_owned(),
            _ => String::new(),
        };
        match rng.below(20) {
            0..=9 => format!("XGROUP CREATE {key} {group} {from} MKSTREAM{read}"),
            10 => format!("XGROUP CREATE {key} {group} {from}{read}"),
            11..=13 => format!("XGROUP SETID {key} {group} {from}{read}"),
            14 => format!("XGROUP DESTROY {key} {group}"),
            15..=16 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            _ => format!("XGROUP CREATECONSUMER {key} {group} {consumer}"),
        }
    }

    fn claim(&self, rng: &mut Rng) -> String {
        let (key, group, consumer) = (key(rng), group(rng), consumer(rng));
        let least = *rng.pick(&["0", "0", "0", LEAST_IDLE_MS]);
        let (ids, count) = (self.ids(rng), count(rng));
        let just = *rng.pick(&["", "", " JUSTID"]);
        match rng.below(10) {
            0..=3 => format!("XACK {key} {group} {ids}"),
            4..=6 => {
                let mut options = String::new();
                for _ in 0..rng.below(3) {
                    options += &match rng.below(6) {
                        0 => " TIME 1000".to_owned(),
                        1 => format!(" IDLE {IDLE_MS}"),
                        2 => format!(" RETRYCOUNT {}", rng.below(9)),
                        3 => format!(" LASTID {}", self.id(rng)),
                        _ => " FORCE".to_owned(),
                    };
                }
                format!("XCLAIM {key} {group} {consumer} {least} {ids}{options}{just}")
            }
            7 => {
                let idle = *rng.pick(&["", "IDLE 0 ", "IDLE 400000000 "]);
                let (from, to) = (self.bound(rng, "-"), self.bound(rng, "+"));
                let who = [String::new(), format!(" {consumer}")][rng.below(2)].clone();
                format!("XPENDING {key} {group} {idle}{from} {to} 10{who}")
            }
            _ => {
                let from = self.bound(rng, "0");
                format!("XAUTOCLAIM {key} {group} {consumer} {least} {from} {count}{just}")
                    .replace("  ", " ")
                    .trim_end()
                    .to_owned()
            }
        }
    }

    fn look(&self, rng: &mut Rng) -> String {
        let (key, group, count) = (key(rng), group(rng), count(rng));
        match rng.below(10) {
            0 => format!("XLEN {key}"),
            1 => {
                let (from, to) = (self.bound(rng, "-"), self.bound(rng, "+"));
                format!("XRANGE {key} {from} {to} {count}")
            }
            2 => {
                let (from, to) = (self.bound(rng, "+"), self.bound(rng, "-"));
                format!("XREVRANGE {key} {from} {to} {count}")
            }
            3 => format!("XPENDING {key} {group}"),
            4 => format!("XINFO STREAM {key}"),
            5..=6 => format!("XINFO GROUPS {key}"),
            7 => format!("XINFO CONSUMERS {key} {group}"),
            _ => format!("XINFO STREAM {key} FULL {count}"),
        }
        .trim_end()
        .to_owned()
    }

    /// What takes away entries and streams, or sets them anew.
    fn other(&self, rng: &mut Rng) -> String {
        let (key, other) = (key(rng), key(rng));
        match rng.below(40) {
            0..=14 => format!("XDEL {key} {}", self.ids(rng)),
            15..=19 => format!("XTRIM {key} {}", self.trim(rng)),
            20..=22 => {
                let more = rng.below(30);
                format!("XSETID {key} {}-1 ENTRIESADDED {more}", self.now)
            }
            23 => format!("XSETID {key} {}", self.id(rng)),
            24 => format!(
                "XSETID {key} {} MAXDELETEDID {}",
                self.id(rng),
                self.id(rng)
            ),
            25..=26 => format!("DEL {key}"),
            27 => format!("RENAME {key} {other}"),
            28..=29 => format!("COPY {key} {other} REPLACE"),
            30 => format!("MOVE {key} {}", rng.below(2)),
            31 => format!("SELECT {}", rng.below(2)),
            32 if rng.chance(20) => format!("SET {key} text"),
            33 if rng.chance(30) => "FLUSHDB".to_owned(),
            34..=36 => format!("CLIENT UNBLOCK id:{}", rng.below(CLIENTS)),
            37 => format!("CLIENT UNBLOCK id:{} ERROR", rng.below(CLIENTS)),
            _ => format!("XLEN {key}"),
        }
    }
}
