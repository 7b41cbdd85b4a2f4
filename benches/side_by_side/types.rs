//! Server CPU per request of streams, bitmaps, HyperLogLogs and geo indexes, and the memory of an entry
//! of a stream.
//!
//! The loads are lists of rows like those of `collections`, which runs them; what they meet is written
//! by [`Fill`]. Readers of groups acknowledge what they have just read: each connection has a stream of
//! its own, whose entries have the ids 1, 2, 3, ..., so it knows which those are.

use anyhow::{Result, ensure};

use crate::Bench;
use crate::client::{Client, Reply, encode, encode_head, encode_word, numbered};
use crate::collections::{self, Load};
use crate::load::{Draw, Random};
use crate::memory::Memory;
use crate::options::{Mode, Options};
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// What commands on little may cost, as a part of the rival's cost.
const SHORT_LIMIT: f64 = 0.7;
/// The same for commands over much.
const LONG_LIMIT: f64 = 0.8;
/// What an entry of a stream may take.
const MEMORY_LIMIT: f64 = 0.9;

/// Bytes of the bitmap whose bits are counted and looked for.
const BITMAP_BYTES: usize = 100 * 1024;
/// Bytes of the bitmaps that are put together.
const WIDE_BYTES: usize = 1 << 20;
/// Bytes of the bitmap whose bits are set and read one by one.
const BITS_BYTES: u64 = 1 << 20;
/// Points of the geo index.
const POINTS: u64 = 100_000;
/// Entries that a group's reader takes at once.
const TAKEN: u64 = 10;
/// Fewest entries for each of a group's readers: no run is shorter.
const ENTRIES_MIN: u64 = 4000;
/// Commands per batch of a fill.
const BATCH: u64 = 100;

/// What is there before a load begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Streams with the entries 1, 2, 3, ... of two small fields.
    Streams {
        keys: u64,
        entries: u64,
        /// A group that has read nothing yet.
        group: bool,
    },
    /// HyperLogLogs of so many members each.
    Hlls { keys: u64, members: u64 },
    /// Bitmaps: `bits`, `random` (and `any:1` to `any:3`, longer), `zeros`, `ones`.
    Bitmaps,
    /// One geo index of points all over the world.
    Points,
}

impl Fill {
    /// Writes it all into an empty server and checks that it is there.
    pub(crate) fn write(self, server: &Server) -> Result<()> {
        let mut client = server.connect()?;
        match self {
            Fill::Streams {
                keys,
                entries,
                group,
            } => {
                client.fill(0..keys * entries, BATCH, |out, number| {
                    entry(out, number % keys, number / keys + 1);
                })?;
                if group {
                    client.fill(0..keys, BATCH, |out, key| {
                        let key = numbered(b"key:", key);
                        encode(out, &[b"XGROUP", b"CREATE", &key, b"group", b"0"]);
                    })?;
                }
                client.expect_keys(if entries == 0 { 0 } else { keys })?;
                expect(&mut client, b"XLEN", entries)
            }
            Fill::Hlls { keys, members } => {
                client.fill(0..keys * members, BATCH, |out, number| {
                    let key = numbered(b"key:", number % keys);
                    encode(out, &[b"PFADD", &key, &numbered(b"mem:", number / keys)]);
                })?;
                client.expect_keys(keys)
            }
            Fill::Bitmaps => bitmaps(&mut client),
            Fill::Points => {
                client.fill(0..POINTS, BATCH, point)?;
                expect(&mut client, b"ZCARD", POINTS)
            }
        }
    }
}

/// Checks the number that a command answers of the first key.
fn expect(client: &mut Client, command: &[u8], count: u64) -> Result<()> {
    let found = client.call(&[command, &numbered(b"key:", 0)])?;
    ensure!(
        found == Reply::Int(count.try_into()?),
        "{found:?} of {count} elements are there"
    );
    Ok(())
}

/// Appends the command that adds an entry of two small fields.
fn entry(out: &mut Vec<u8>, key: u64, id: u64) {
    let mut digits = itoa::Buffer::new();
    encode_head(out, 7);
    encode_word(out, b"XADD");
    encode_word(out, &numbered(b"key:", key));
    encode_word(out, digits.format(id).as_bytes());
    encode_word(out, b"user");
    encode_word(out, digits.format(10_000 + id % 90_000).as_bytes());
    encode_word(out, b"action");
    encode_word(out, b"clicked");
}

/// Appends the command that adds a point, anywhere.
fn point(out: &mut Vec<u8>, number: u64) {
    let random = Random(number).next();
    let part = |bits: u64, reach: f64| (bits as f64 / f64::from(u32::MAX) - 0.5) * reach;
    let longitude = part(random & 0xFFFF_FFFF, 360.0).to_string();
    let latitude = part(random >> 32, 170.0).to_string();
    encode_head(out, 5);
    encode_word(out, b"GEOADD");
    encode_word(out, &numbered(b"key:", 0));
    encode_word(out, longitude.as_bytes());
    encode_word(out, latitude.as_bytes());
    encode_word(out, &numbered(b"mem:", number));
}

fn bitmaps(client: &mut Client) -> Result<()> {
    let random = |len: usize, seed: u64| -> Vec<u8> {
        let mut random = Random(seed);
        let words = std::iter::repeat_with(|| random.next().to_le_bytes());
        words.flatten().take(len).collect()
    };
    let mut zeros = vec![0; BITMAP_BYTES];
    let mut ones = vec![0xFF; BITMAP_BYTES];
    (zeros[BITMAP_BYTES - 1], ones[BITMAP_BYTES - 1]) = (1, 0xFE);
    for (key, value) in [
        (&b"random"[..], random(BITMAP_BYTES, 1)),
        (b"zeros", zeros),
        (b"ones", ones),
        (b"any:1", random(WIDE_BYTES, 2)),
        (b"any:2", random(WIDE_BYTES, 3)),
        (b"any:3", random(WIDE_BYTES, 4)),
    ] {
        client.call(&[b"SET", key, &value])?;
    }
    let last_bit = (BITS_BYTES * 8 - 1).to_string();
    client.call(&[b"SETBIT", b"bits", last_bit.as_bytes(), b"1"])?;
    client.expect_keys(7)
}

/// All tables.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let (short, long) = (short(&bench.options)?, long()?);
    let title = "Streams, bitmaps, HyperLogLogs, geo";
    let mut tables = collections::run(bench, title, &short, SHORT_LIMIT)?;
    let title = "Bitmaps of 100 KiB and 1 MiB, 100,000 points";
    tables.extend(collections::run(bench, title, &long, LONG_LIMIT)?);
    tables.extend(memory(bench)?);
    Ok(tables)
}

/// Loads whose requests touch little.
fn short(options: &Options) -> Result<Vec<Load>> {
    let few = 1000;
    let connections = options.clients as u64;
    // Twice what is read, since connections are not served quite alike.
    let entries = (options.keys / connections).max(ENTRIES_MIN);
    let reads = (connections * entries / TAKEN / 2).max(1);
    let long = (options.elements / 10).max(1000);
    let stream = |keys, entries, group| Fill::Streams {
        keys,
        entries,
        group,
    };
    let (any_key, one_key) = (Draw::below(few), Draw::below(1));
    let value = Draw::digits(5);
    let xadd = "XADD key:%0 * user %1 action clicked";
    let acknowledged: Vec<String> = (0..TAKEN).map(|add| format!("%1+{add}")).collect();
    let xack = format!("XACK key:%0 group {}", acknowledged.join(" "));
    let readers = [
        "XREADGROUP GROUP group reader COUNT 10 STREAMS key:%0 >",
        &xack,
    ];
    let own = [
        Draw::connection(connections),
        Draw::counted(1, TAKEN, entries),
    ];
    let hlls = |keys, members| Fill::Hlls { keys, members };
    let member = Draw::below(1_000_000);
    // Without leading zeros, which are no numbers to a bitmap.
    let bit = collections::start_of(1, BITS_BYTES * 8);
    let degrees = [member, Draw::digits(2), Draw::digits(6), Draw::digits(6)];
    Ok(vec![
        Load::over(
            "XADD, one stream",
            stream(1, 100, false),
            &[xadd],
            &[one_key, value],
        )?
        .growing(options.keys),
        Load::over(
            "XADD, 1000 streams",
            stream(few, 10, false),
            &[xadd],
            &[any_key, value],
        )?
        .growing(options.keys),
        Load::over(
            "XREADGROUP of 10 + XACK of 10",
            stream(connections, entries, true),
            &readers,
            &own,
        )?
        .growing(2 * reads),
        Load::over(
            "XRANGE 100",
            stream(1, long, false),
            &["XRANGE key:%0 %1 %1+99"],
            &[one_key, collections::start_of(100, long)],
        )?,
        Load::over(
            "PFADD, dense",
            hlls(few, 10_000.min(options.elements / 10)),
            &["PFADD key:%0 mem:%1"],
            &[any_key, member],
        )?,
        Load::over(
            "PFADD, sparse",
            hlls(few, 10),
            &["PFADD key:%0 mem:%1"],
            &[any_key, member],
        )?
        .growing(few * 100),
        Load::over(
            "PFCOUNT",
            hlls(few, 1000.min(options.elements / 10)),
            &["PFCOUNT key:%0"],
            &[any_key],
        )?,
        Load::over(
            "SETBIT, 1 MiB",
            Fill::Bitmaps,
            &["SETBIT bits %0 1"],
            &[bit],
        )?,
        Load::over("GETBIT, 1 MiB", Fill::Bitmaps, &["GETBIT bits %0"], &[bit])?,
        Load::over(
            "GEOADD, 100,000 points",
            Fill::Points,
            &["GEOADD key:000000000000 %1.%2 %1.%3 mem:%0"],
            &degrees.map(|draw| Draw {
                high: if draw.width == 2 { 80 } else { draw.high },
                ..draw
            }),
        )?
        .growing(POINTS),
    ])
}

/// Loads whose requests go over much.
fn long() -> Result<Vec<Load>> {
    let point = [
        Draw::digits(2),
        Draw::digits(2),
        Draw::digits(6),
        Draw::digits(6),
    ];
    let bitop = |op: &str| {
        let command = format!("BITOP {op} result any:1 any:2 any:3");
        let label = format!("BITOP {op} of three 1 MiB");
        anyhow::Ok(Load::over(&label, Fill::Bitmaps, &[&command], &[])?.pipeline(4))
    };
    let search = "GEOSEARCH key:000000000000 FROMLONLAT %0.%2 %1.%3 BYRADIUS 500 km";
    let near = point.map(|draw| Draw {
        high: if draw.width == 2 { 80 } else { draw.high },
        ..draw
    });
    let over = |label: &str, command: &str| Load::over(label, Fill::Bitmaps, &[command], &[]);
    Ok(vec![
        over("BITCOUNT of 100 KiB", "BITCOUNT random")?,
        bitop("AND")?,
        bitop("OR")?,
        bitop("XOR")?,
        over("BITPOS 1 behind 100 KiB", "BITPOS zeros 1")?,
        over("BITPOS 0 behind 100 KiB", "BITPOS ones 0")?,
        Load::over("GEOSEARCH radius of 500 km", Fill::Points, &[search], &near)?.pipeline(4),
    ])
}

/// Memory per entry of one stream.
fn memory(bench: &Bench) -> Result<Vec<Table>> {
    let (label, entries) = (
        "entry of a stream, two small fields",
        bench.options.elements,
    );
    let contenders = bench.contenders.len();
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!("Memory, {entries} entries: {}", mode.title()));
        let target = (!bench.options.quick).then_some(Target::RatioAtMost(MEMORY_LIMIT));
        let mut rss = Row::new(format!("RSS, {label}"), "B", contenders).target(target);
        let mut used = Row::new(format!("used_memory, {label}"), "B", contenders);
        if !bench.options.wants(label) {
            continue;
        }
        for round in 0..bench.options.rounds {
            for index in bench.order(round) {
                let server = Contender::start(bench, index, mode, &[])?;
                let mut control = server.connect()?;
                let base = Memory::settled(&server, &mut control, &bench.options)?;
                let fill = Fill::Streams {
                    keys: 1,
                    entries,
                    group: false,
                };
                fill.write(&server)?;
                let memory = Memory::settled(&server, &mut control, &bench.options)?;
                let grown = memory.per_key_since(base, entries);
                rss.push(index, grown.0);
                used.push(index, grown.1);
            }
        }
        table.push(rss);
        table.push(used);
        tables.push(table);
    }
    Ok(tables)
}
