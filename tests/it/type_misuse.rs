//! What clients do wrong with streams, bitmaps, HyperLogLogs and coordinates: the bytes of Valkey's
//! replies, and nothing changed that it would not change.
//!
//! The same commands go to Kivi and to Valkey, in both protocols; after each table the keys are
//! compared. A line is a command, its words separated by blanks, with `\xNN` for any byte and `{N}` for
//! N letters x. Figures of time are not asked for.
//!
//! To add a case: a line in one of the tables in `reference/misuse`, or a table with its test.

use crate::client::{Client, Raw, Reply, show, show_command};
use crate::generate::Rng;
use crate::harness::{Server, env_number};

/// Both servers, with one connection each.
struct Pair {
    kivi: Server,
    valkey: Server,
}

impl Pair {
    fn start() -> Option<Pair> {
        // Two compressors need not find the same.
        let args = ["--rdbcompression", "no", "--enable-debug-command", "yes"];
        Some(Pair {
            valkey: Server::valkey(&args)?,
            kivi: Server::kivi(&args),
        })
    }

    /// Plays tables in both protocols.
    fn play(mut self, tables: &[&str]) {
        for protocol in ["2", "3"] {
            let mut clients = [&self.kivi, &self.valkey].map(Server::connect);
            for client in &mut clients {
                client.cmd(&["FLUSHALL"]);
                client.cmd(&["HELLO", protocol]);
            }
            let lines = tables.iter().flat_map(|table| table.lines());
            for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
                same(&mut clients, &words(line));
            }
            compare_keys(&mut clients);
        }
        self.kivi.assert_alive();
    }
}

/// Sends a command to both and compares the bytes of the replies, but for the idle times of XPENDING.
fn same(clients: &mut [Client; 2], argv: &[Vec<u8>]) {
    let times = argv[0].eq_ignore_ascii_case(b"XPENDING");
    let [ours, theirs] = clients.each_mut().map(|client| {
        let reply = client.raw(argv);
        if times { without_idle(reply) } else { reply }
    });
    assert!(
        ours == theirs,
        "{}\n  Kivi:   {}\n  Valkey: {}",
        show_command(argv),
        show(&ours),
        show(&theirs)
    );
}

/// What XPENDING tells of entries that wait for consumer `c`, without the milliseconds since their delivery.
fn without_idle(reply: Raw) -> Raw {
    const BEFORE: &[u8] = b"$1\r\nc\r\n:";
    let mut kept = Vec::new();
    let mut rest = &reply.0[..];
    while let Some(at) = rest.windows(BEFORE.len()).position(|part| part == BEFORE) {
        let (before, after) = rest.split_at(at + BEFORE.len());
        kept.extend_from_slice(before);
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit());
        rest = &after[digits.count()..];
    }
    kept.extend_from_slice(rest);
    Raw(kept)
}

/// Compares all keys: types and digests, and of streams all that is in a dump, groups too.
fn compare_keys(clients: &mut [Client; 2]) {
    let mut keys = clients
        .each_mut()
        .map(|client| client.cmd(&["KEYS", "*"]).items().to_vec());
    keys.iter_mut().for_each(|keys| keys.sort());
    assert_eq!(keys[0], keys[1]);
    for key in &keys[1] {
        let of_key = |words: &[&str]| -> Vec<Vec<u8>> {
            let words = words.iter().map(|word| word.as_bytes().to_vec());
            words.chain([key.bytes().to_vec()]).collect()
        };
        same(clients, &of_key(&["TYPE"]));
        same(clients, &of_key(&["DEBUG", "DIGEST-VALUE"]));
        if clients[0].cmd(&of_key(&["TYPE"])).bytes() != b"stream" {
            continue;
        }
        // Without the type, of which there are three, the version, and the checksum over them.
        let [ours, theirs] = clients.each_mut().map(|client| {
            let dump = client.cmd(&of_key(&["DUMP"]));
            dump.bytes()[1..dump.bytes().len() - 10].to_vec()
        });
        assert!(
            ours == theirs,
            "{}\n  Kivi:   {}\n  Valkey: {}",
            key.text(),
            show(&ours),
            show(&theirs)
        );
    }
}

/// The words of a line.
fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(word).collect()
}

fn word(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two hexadecimal digits"));
            rest = &hex[2..];
        } else if let Some((count, after)) = rest
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            bytes.extend(vec![b'x'; count.parse().expect("a number of letters")]);
            rest = after;
        } else {
            bytes.extend(first.to_string().as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    bytes
}

/// Every command with its least arguments; those that need a key have it second.
const COMMANDS: &[&str] = &[
    "XADD k 1-1 f v",
    "XRANGE k - +",
    "XREVRANGE k + -",
    "XLEN k",
    "XDEL k 1-1",
    "XTRIM k MAXLEN 0",
    "XSETID k 9-9",
    "XGROUP CREATE k g $",
    "XGROUP SETID k g $",
    "XGROUP DESTROY k g",
    "XGROUP CREATECONSUMER k g c",
    "XGROUP DELCONSUMER k g c",
    "XACK k g 1-1",
    "XPENDING k g",
    "XPENDING k g - + 10",
    "XCLAIM k g c 0 1-1",
    "XAUTOCLAIM k g c 0 0",
    "XINFO STREAM k",
    "XINFO STREAM k FULL",
    "XINFO GROUPS k",
    "XINFO CONSUMERS k g",
    "XREAD STREAMS k 0",
    "XREAD STREAMS k $",
    "XREADGROUP GROUP g c STREAMS k >",
    "XREADGROUP GROUP g c STREAMS k 0",
    "SETBIT k 7 1",
    "GETBIT k 7",
    "BITCOUNT k",
    "BITCOUNT k 0 1 BIT",
    "BITPOS k 1",
    "BITPOS k 0 0 -1 BYTE",
    "BITOP AND d k",
    "BITOP NOT d k",
    "BITFIELD k GET u8 0",
    "BITFIELD k SET u8 0 1",
    "BITFIELD_RO k GET u8 0",
    "PFADD k a",
    "PFCOUNT k",
    "PFMERGE k other",
    "PFMERGE d k",
    "PFDEBUG GETREG k",
    "PFDEBUG DECODE k",
    "PFDEBUG ENCODING k",
    "PFDEBUG TODENSE k",
    "PFSELFTEST",
    "GEOADD k 13.361389 38.115556 Palermo",
    "GEODIST k a b",
    "GEOHASH k a",
    "GEOPOS k a",
    "GEORADIUS k 15 37 200 km",
    "GEORADIUS_RO k 15 37 200 km",
    "GEORADIUSBYMEMBER k a 200 km",
    "GEORADIUSBYMEMBER_RO k a 200 km",
    "GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 200 km",
    "GEOSEARCH k FROMMEMBER a BYBOX 200 200 km",
    "GEOSEARCHSTORE d k FROMLONLAT 15 37 BYRADIUS 200 km",
];

#[test]
fn any_key_and_any_number_of_arguments() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let keys = [
        "",
        "SET k text",
        "SET k 12",
        "RPUSH k a",
        "HSET k a 1",
        "SADD k a",
        "ZADD k 1 a",
        "XADD k 5-5 a 1",
        "PFADD k a b c",
        "GEOADD k 15 37 a",
        "SETBIT k 100 1",
    ];
    let mut clients = [&pair.kivi, &pair.valkey].map(Server::connect);
    for made in keys {
        // The self test takes seconds without optimisation, whatever the keys.
        for command in COMMANDS.iter().filter(|command| **command != "PFSELFTEST") {
            for client in &mut clients {
                client.cmd(&["DEL", "k", "d", "other"]);
            }
            if !made.is_empty() {
                same(&mut clients, &words(made));
            }
            let all = words(command);
            // XINFO and XPENDING of a group that is there show times.
            let groups = "XGROUP DESTROY k g"
                .split(' ')
                .map(|word| word.as_bytes().to_vec());
            let groups: Vec<Vec<u8>> = groups.collect();
            same(&mut clients, &all);
            same(&mut clients, &groups);
            compare_keys(&mut clients);
        }
    }
    for command in COMMANDS {
        let all = words(command);
        for fewer in 1..all.len() {
            same(&mut clients, &all[..fewer]);
        }
        for extra in ["x", "", "COUNT", "0", "-1", "STREAMS", "\\xff\\x00"] {
            let mut more = all.clone();
            more.push(word(extra));
            same(&mut clients, &more);
            more.push(word("9223372036854775808"));
            same(&mut clients, &more);
        }
    }
    pair.kivi.assert_alive();
}

#[test]
fn ids_of_streams() {
    let Some(pair) = Pair::start() else { return };
    let mut tables = vec![IDS.to_owned()];
    // Every text for an id in every place where one can stand.
    for id in ODD_IDS {
        tables.push("DEL s\nXADD s 5-5 f v\nXADD s 7-0 f v\nXGROUP CREATE s g 0".to_owned());
        for place in ID_PLACES {
            tables.push(place.replace('@', id));
        }
        tables.push("XGROUP DESTROY s g".to_owned());
        for place in ID_WRITES {
            tables.push(format!(
                "DEL s t\nXADD s 5-5 f v\n{}\nXRANGE s - +\nXRANGE t - +",
                place.replace('@', id)
            ));
        }
    }
    tables.push("DEL s t".to_owned());
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    pair.play(&tables);
}

const ODD_IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "5",
    "5-5",
    "5-6",
    "6-*",
    "5-*",
    "4-*",
    "7-18446744073709551615",
    "18446744073709551615",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616",
    "18446744073709551615-18446744073709551616",
    "18446744073709551615-*",
    "9223372036854775808-9223372036854775808",
    "-1",
    "-",
    "+",
    "$",
    ">",
    "(",
    "((5",
    "(5",
    "(5-5",
    "(7-0",
    "(0-0",
    "(18446744073709551615-18446744073709551615",
    "(-",
    "(+",
    "5-",
    "-5",
    "5--5",
    "5-5-5",
    "5-5x",
    "05-05",
    "+5-5",
    "\\x205-5",
    "5-5\\x20",
    "5.5",
    "5e1",
    "0x5",
    "abc",
    "",
    "*-5",
    "*-*",
    "5-\\x00",
    "\\x00",
    "{127}",
    "{128}",
    "{300}",
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005-5",
];

/// Where an id is read: `@` stands for it.
const ID_PLACES: &[&str] = &[
    "XRANGE s @ +",
    "XRANGE s - @",
    "XRANGE s @ @",
    "XREVRANGE s @ -",
    "XREVRANGE s + @",
    "XREAD STREAMS s @",
    "XREAD COUNT 1 STREAMS s s @ 0",
    "XREADGROUP GROUP g c STREAMS s @",
    "XREADGROUP GROUP g c NOACK STREAMS s @",
    "XACK s g @",
    "XACK s g 1-1 @",
    "XPENDING s g @ + 5",
    "XPENDING s g - @ 5",
    "XPENDING s g @ @ 5 nobody",
    "XCLAIM s g c 99999999 @ JUSTID",
    "XCLAIM s g c 0 1-1 @ JUSTID",
    "XAUTOCLAIM s g c 99999999 @ JUSTID",
    "XAUTOCLAIM s g c 99999999 @ COUNT 5",
    "XGROUP SETID s g @",
    "XINFO GROUPS s",
];

/// Where it changes the stream.
const ID_WRITES: &[&str] = &[
    "XADD s @ f w",
    "XADD s NOMKSTREAM @ f w",
    "XADD t @ f w",
    "XADD s MINID @ 8-8 f w",
    "XADD s MINID ~ @ 8-8 f w",
    "XADD s MAXLEN @ 8-8 f w",
    "XDEL s @",
    "XDEL s 5-5 @",
    "XTRIM s MINID @",
    "XTRIM s MINID = @",
    "XTRIM s MAXLEN @",
    "XSETID s @",
    "XSETID s 9-9 ENTRIESADDED 5 MAXDELETEDID @",
    "XSETID s @ ENTRIESADDED 1 MAXDELETEDID 1-1",
    "XGROUP CREATE s g @",
    "XGROUP CREATE t g @ MKSTREAM",
    "XGROUP CREATE s g @ ENTRIESREAD 1",
];

const IDS: &str = include_str!("reference/misuse/ids.txt");

#[test]
fn options_of_streams() {
    let Some(pair) = Pair::start() else { return };
    pair.play(&[STREAM_OPTIONS, GROUP_OPTIONS, CLAIMS, DELETED]);
}

const STREAM_OPTIONS: &str = include_str!("reference/misuse/streams.txt");

const GROUP_OPTIONS: &str = include_str!("reference/misuse/groups.txt");

const CLAIMS: &str = include_str!("reference/misuse/claims.txt");

const DELETED: &str = include_str!("reference/misuse/deleted_entries.txt");

#[test]
fn bits_out_of_range() {
    let Some(pair) = Pair::start() else { return };
    pair.play(&[BITS]);
}

const BITS: &str = include_str!("reference/misuse/bits.txt");

#[test]
fn coordinates_and_polygons() {
    let Some(pair) = Pair::start() else { return };
    pair.play(&[GEO, POLYGONS]);
}

const GEO: &str = include_str!("reference/misuse/geo.txt");

const POLYGONS: &str = include_str!("reference/misuse/polygons.txt");

#[test]
fn values_that_are_nearly_hyperloglogs() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let mut clients = [&pair.kivi, &pair.valkey].map(Server::connect);
    for line in HYPERLOGLOGS
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        same_or_refused(&mut clients, &words(line));
    }
    let mut rng = Rng::new(env_number("KIVI_TEST_SEED", 1));
    for round in 0..env_number("KIVI_TEST_ROUNDS", 1500) / 5 {
        for client in &mut clients {
            client.cmd(&["DEL", "k", "d"]);
        }
        // One that is sparse, or dense, or just before that.
        let count = [3, 50, 700, 1500, 4000][rng.below(5)];
        let mut add = vec![b"PFADD".to_vec(), b"k".to_vec()];
        add.extend((0..count).map(|n| format!("{round}:{n}").into_bytes()));
        same(&mut clients, &add);
        if rng.chance(50) {
            same(&mut clients, &words("PFCOUNT k"));
        }
        let mut bytes = clients[1].cmd(&["GET", "k"]).bytes().to_vec();
        corrupt(&mut rng, &mut bytes);
        let set = vec![b"SET".to_vec(), b"k".to_vec(), bytes];
        for command in [
            "PFCOUNT k",
            "PFADD k a",
            "PFADD k 1 2 3 4 5 6 7 8 9",
            "PFCOUNT k other",
            "PFMERGE d k",
            "PFMERGE k other",
            "PFADD k",
            "PFDEBUG ENCODING k",
            "PFDEBUG DECODE k",
            "PFDEBUG GETREG k",
            "PFDEBUG TODENSE k",
        ] {
            same(&mut clients, &set);
            same(&mut clients, &words("DEL d"));
            same_or_refused(&mut clients, &words(command));
            same(&mut clients, &words("MGET k d other"));
        }
    }
    pair.kivi.assert_alive();
}

/// [`same`], but Kivi looks at all of a value before it believes any of it, where Valkey's commands
/// find out what is wrong when they come to it, or never: then the keys are made equal again.
fn same_or_refused(clients: &mut [Client; 2], argv: &[Vec<u8>]) {
    let [ours, theirs] = clients.each_mut().map(|client| client.raw(argv));
    if ours == theirs {
        return;
    }
    let value = clients[0].cmd(&["GET", "k"]);
    assert!(
        ours.starts_with(b"-INVALIDOBJ ") && !is_sound(value.bytes()),
        "{}\n  Kivi:   {}\n  Valkey: {}\n  k: {}",
        show_command(argv),
        show(&ours),
        show(&theirs),
        show(value.bytes())
    );
    for key in ["k", "d", "h", "other"] {
        match clients[0].cmd(&["GET", key]) {
            Reply::Nil => clients[1].cmd(&["DEL", key]),
            value => clients[1].cmd(&[b"SET".as_slice(), key.as_bytes(), value.bytes()]),
        };
    }
}

/// Whether it is a HyperLogLog: dense, or with runs for exactly 16384 registers.
fn is_sound(value: &[u8]) -> bool {
    let (Some(b"HYLL"), Some(body)) = (value.get(..4), value.get(16..)) else {
        return false;
    };
    match value[4] {
        0 => body.len() == 16384 * 6 / 8,
        1 => {
            let (mut registers, mut at) = (0, 0);
            while at < body.len() {
                let first = usize::from(body[at]);
                let (run, length) = match first >> 6 {
                    0 => ((first & 63) + 1, 1),
                    1 => match body.get(at + 1) {
                        Some(second) => (((first & 63) << 8 | usize::from(*second)) + 1, 2),
                        None => return false,
                    },
                    _ => ((first & 3) + 1, 1),
                };
                registers += run;
                at += length;
            }
            registers == 16384
        }
        _ => false,
    }
}

/// Changes, removes or adds bytes.
fn corrupt(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(3) {
        let place = match rng.below(4) {
            0 => rng.below(bytes.len().min(16)),
            1 => bytes.len() - 1 - rng.below(bytes.len().min(4)),
            _ => rng.below(bytes.len()),
        };
        match rng.below(6) {
            0 if place > 0 => bytes.truncate(place),
            1 => drop(bytes.remove(place)),
            2 => bytes.insert(place, rng.next() as u8),
            3 => bytes.extend(vec![0; rng.below(4)]),
            4 => bytes[place] = *rng.pick(&[0, 0xff, 0x7f, 0x80, 0x3f, 0x40]),
            _ => bytes[place] ^= 1 << rng.below(8),
        }
        if bytes.is_empty() {
            bytes.push(b'H');
        }
    }
}

const HYPERLOGLOGS: &str = include_str!("reference/misuse/hyperloglogs.txt");
