//! How many lookups a full cache answers: GET of a key drawn by Zipf's law, and SET of it if it is
//! missing, with room for a tenth of the keys.
//!
//! One connection sends batches of lookups, each behind the SETs that the one before made necessary.
//! The sequence of keys is the same for all servers, and for the ideal caches (`zipf`) whose figures
//! stand below the table. Room is given in two ways: the same `maxmemory` for all, as much as the rival
//! needs for a tenth of the keys, and the `maxmemory` with which each of them holds that many keys; it
//! is found while the cache warms up. The first half of the requests warms up, the second counts.
//!
//! Servers order keys by clocks, so it matters how fast the requests come. At full speed a cache may
//! turn over within a second; the rows with a rate are the same at a moderate pace, of all servers at
//! the same time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Bench;
use crate::client::{Client, encode, numbered};
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::zipf::{EXPONENT, Ideal, Zipf, ideal};

const VALUE: [u8; 100] = [b'v'; 100];
/// Lookups per batch.
const BATCH: usize = 32;
/// Parts of a run after which the number of keys is looked at.
const PARTS: usize = 40;
const SEED: u64 = 8;

/// How much memory servers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    SameMemory,
    SameKeys,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    policy: &'static str,
    room: Room,
    is_drifting: bool,
    /// At most so many requests per second.
    rate: Option<u64>,
}

impl Case {
    fn all(rate: u64) -> Vec<Self> {
        let mut cases = Vec::new();
        for policy in ["allkeys-lru", "allkeys-lfu"] {
            let case = Self {
                policy,
                room: Room::SameKeys,
                is_drifting: false,
                rate: None,
            };
            let room = Room::SameMemory;
            let is_drifting = true;
            cases.extend([
                case,
                Self { room, ..case },
                Self {
                    is_drifting,
                    ..case
                },
            ]);
            let rate = Some(rate);
            cases.extend((rate != Some(0)).then_some(Self { rate, ..case }));
        }
        cases
    }

    fn label(&self) -> String {
        let room = match self.room {
            Room::SameMemory => "same memory",
            Room::SameKeys => "same number of keys",
        };
        let drifting = if self.is_drifting { ", drifting" } else { "" };
        let rate = self.rate.map(|rate| format!(", {rate}/s"));
        let rate = rate.unwrap_or_default();
        format!("{}, {room}{drifting}{rate}", self.policy)
    }
}

/// All cases, each with fresh servers.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let keys = bench.options.keys;
    let zipf = Zipf::new(keys, EXPONENT);
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!(
            "Hits of GET (a miss is SET), {keys} keys by Zipf's law (s = {EXPONENT}), room for a \
             tenth: {}",
            mode.title()
        ));
        let needs = needs(bench, mode, keys / 10)?;
        for case in Case::all(bench.options.hit_rate) {
            let label = case.label();
            if bench.options.wants(&label) {
                match measure(bench, mode, case, &zipf, &needs) {
                    Ok((rows, note)) => {
                        rows.into_iter().for_each(|row| table.push(row));
                        table.note(note);
                    }
                    Err(error) => table.fail(&label, &error),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

/// What a server needs for the keys that there shall be room for.
#[derive(Clone, Copy, Debug)]
struct Needs {
    /// `used_memory` with all of them.
    bytes: u64,
    per_key: u64,
}

fn needs(bench: &Bench, mode: Mode, keys: u64) -> Result<Vec<Needs>> {
    let mut needs = Vec::new();
    for index in 0..bench.contenders.len() {
        let server = Contender::start(bench, index, mode, &[])?;
        let mut control = server.connect()?;
        let empty = control.info("memory", "used_memory")?;
        server.connect()?.fill(0..keys, 100, |out, number| {
            encode(out, &[b"SET", &numbered(b"key:", number), &VALUE]);
        })?;
        server.quiet()?;
        let bytes = control.info("memory", "used_memory")?;
        let per_key = bytes.saturating_sub(empty) / keys.max(1);
        needs.push(Needs { bytes, per_key });
    }
    Ok(needs)
}

/// The rows of one case, and what ideal caches would have had.
fn measure(
    bench: &Bench,
    mode: Mode,
    case: Case,
    zipf: &Zipf,
    needs: &[Needs],
) -> Result<(Vec<Row>, String)> {
    let options = &bench.options;
    let contenders = bench.contenders.len();
    let mut hits = Row::new(format!("{}: hits", case.label()), "%", contenders);
    let mut held = Row::new(format!("{}: keys held", case.label()), "k", contenders);
    let room = (options.keys / 10) as usize;
    let requests = match case.rate {
        None => options.hit_requests as usize,
        // A tenth of the keys, several times over.
        Some(_) => (options.hit_requests / 3) as usize,
    };
    let sequence = zipf.sequence(requests, case.is_drifting.then_some(room), SEED);
    for round in 0..options.rounds {
        let order = bench.order(round);
        let groups: Vec<&[usize]> = match case.rate {
            // One at a time, as they would take each other's processors.
            None => order.chunks(1).collect(),
            Some(_) => vec![&order],
        };
        for group in groups {
            let mut servers = Vec::new();
            for &index in group {
                let extra = ["--maxmemory-policy", case.policy];
                servers.push((index, Contender::start(bench, index, mode, &extra)?));
            }
            for (index, played) in play_all(&servers, case, needs, room, &sequence)? {
                hits.push(index, played.hits);
                held.push(index, played.held / 1000.0);
            }
        }
    }
    let (target, note) = judge(options.keys, case, zipf, &sequence, &held);
    let hits = hits.target((!options.quick).then_some(target));
    Ok((vec![hits, held], note))
}

/// What is enough, given what ideal caches of as many keys get out of it; these figures as a line.
fn judge(keys: u64, case: Case, zipf: &Zipf, sequence: &[u32], held: &Row) -> (Target, String) {
    let ours = (held.median(0) * 1000.0) as usize;
    let theirs = (held.median(1) * 1000.0) as usize;
    let at = |room: usize| ideal(sequence, keys, room, BATCH, sequence.len() / 2);
    let (our, their) = (at(ours), at(theirs));
    let enough = match case.policy {
        "allkeys-lru" => our.lru,
        _ => zipf.best(ours),
    };
    let line = |keys: usize, ideal: &Ideal| {
        let best = zipf.best(keys);
        let Ideal { lru, lfu } = ideal;
        format!("of {keys} keys: LRU {lru:.2} %, LFU {lfu:.2} %, the most popular {best:.2} %")
    };
    let note = format!(
        "{}: ideal caches {}; {}.",
        case.label(),
        line(ours, &our),
        line(theirs, &their)
    );
    let target = Target::Above {
        by: 1.0,
        enough: enough - 1.0,
    };
    (target, note)
}

/// Plays the sequence to all of the servers at the same time.
fn play_all(
    servers: &[(usize, Server)],
    case: Case,
    needs: &[Needs],
    room: usize,
    sequence: &[u32],
) -> Result<Vec<(usize, Played)>> {
    thread::scope(|scope| {
        let mut players = Vec::new();
        for (index, server) in servers {
            let needs = match case.room {
                // The rival's, whoever it is.
                Room::SameMemory => needs[1.min(needs.len() - 1)],
                Room::SameKeys => needs[*index],
            };
            let player = move || play(server, case, needs, room, sequence);
            players.push((*index, scope.spawn(player)));
        }
        let mut outcomes = Vec::new();
        for (index, player) in players {
            let played = player.join().map_err(|_| anyhow!("a player panicked"))??;
            outcomes.push((index, played));
        }
        Ok(outcomes)
    })
}

/// What became of a sequence.
struct Played {
    /// Percent, of its second half.
    hits: f64,
    /// The mean number of keys meanwhile.
    held: f64,
}

fn play(
    server: &Server,
    case: Case,
    needs: Needs,
    room: usize,
    sequence: &[u32],
) -> Result<Played> {
    let mut control = server.connect()?;
    let mut limit = needs.bytes;
    set_limit(&mut control, limit)?;
    let mut player = Player::new(server, case.rate)?;
    let parts = sequence.chunks(sequence.len().div_ceil(PARTS).next_multiple_of(BATCH));
    let (mut sum, mut count) = (0, 0u64);
    let mut done = 0;
    for part in parts {
        // Of a part that lies across the middle, all counts: it is one of many.
        player.play(part)?;
        done += part.len();
        let keys = control.dbsize()?;
        if done > sequence.len() / 2 {
            sum += keys;
            count += 1;
            continue;
        }
        player.forget();
        let is_full = control.info("stats", "evicted_keys")? > 0;
        if case.room == Room::SameKeys && is_full && done * 10 < sequence.len() * 4 {
            let more = (room as i64 - keys as i64) * needs.per_key as i64;
            limit = limit.saturating_add_signed(more);
            set_limit(&mut control, limit)?;
        }
    }
    let evicted = control.info("stats", "evicted_keys")?;
    ensure!(evicted > 0, "no key was evicted");
    Ok(Played {
        hits: player.hits as f64 * 100.0 / player.lookups as f64,
        held: sum as f64 / count as f64,
    })
}

fn set_limit(control: &mut Client, bytes: u64) -> Result<()> {
    let bytes = bytes.to_string();
    control.call(&[b"CONFIG", b"SET", b"maxmemory", bytes.as_bytes()])?;
    Ok(())
}

/// The client.
struct Player {
    client: Client,
    /// Between two batches, if there is a pace.
    period: Option<Duration>,
    next: Instant,
    missing: Vec<u32>,
    found: Vec<bool>,
    hits: u64,
    lookups: u64,
}

impl Player {
    fn new(server: &Server, rate: Option<u64>) -> Result<Self> {
        let period = rate.map(|rate| Duration::from_secs_f64(BATCH as f64 / rate as f64));
        Ok(Self {
            client: server.connect()?,
            period,
            next: Instant::now(),
            missing: Vec::new(),
            found: Vec::new(),
            hits: 0,
            lookups: 0,
        })
    }

    /// What comes now counts.
    fn forget(&mut self) {
        (self.hits, self.lookups) = (0, 0);
    }

    fn play(&mut self, sequence: &[u32]) -> Result<()> {
        for keys in sequence.chunks(BATCH) {
            if let Some(period) = self.period {
                thread::sleep(self.next.saturating_duration_since(Instant::now()));
                // What was missed in a pause of this program is not made up for.
                self.next = (self.next + period).max(Instant::now());
            }
            let missing = &self.missing;
            self.client.send(|out| {
                for &key in missing {
                    encode(out, &[b"SET", &numbered(b"key:", key.into()), &VALUE]);
                }
                for &key in keys {
                    encode(out, &[b"GET", &numbered(b"key:", key.into())]);
                }
            })?;
            self.client
                .expect_replies(self.missing.len() as u64)
                .context("SET")?;
            self.client.look_up(keys.len(), &mut self.found)?;
            self.missing.clear();
            for (&key, &found) in keys.iter().zip(&self.found) {
                match found {
                    true => self.hits += 1,
                    false => self.missing.push(key),
                }
            }
            self.lookups += keys.len() as u64;
        }
        Ok(())
    }
}
