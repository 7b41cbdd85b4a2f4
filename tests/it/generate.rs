//! Random commands out of a table of templates, the same for the same seed.
//!
//! A template is what one would read in the documentation. Upper-case words are literals, lower-case
//! words are placeholders (see `fill`), and three brackets, whose parts must not nest the same kind:
//! `[A|B x]?` one alternative or none, `[A|B x]*` none to three in any order (so that options that
//! exclude each other meet), `(key val)+` one to four times.
//!
//! To add a command: one row in [`TEMPLATES`]. Expiries never fall due while a test runs (they are
//! minutes away or long past), so that two servers that run the same commands a moment apart agree.

/// A small deterministic generator (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    /// The generator of `seed`.
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// How two replies to the same command must agree when their bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agree {
    /// Only byte for byte.
    Exact,
    /// The same elements in any order.
    AnyOrder,
    /// The same pairs in any order, as flat array or map.
    Pairs,
    /// Seconds, apart by no more than the test has taken.
    Seconds,
    /// Milliseconds, apart by no more than the test has taken.
    Millis,
    /// Numbers at most 2 apart: peers count keys that are born expired until they come upon them.
    Count,
    /// The same type of reply, whatever is in it.
    Kind,
    /// A map with the same keys in the same order, whatever the values.
    MapKeys,
    /// Not sent in a batch: a SCAN that is followed to its end, compared as a set.
    Scan,
}

/// A row of the table of templates.
pub(crate) struct Template {
    /// How often it is chosen, relative to the others.
    weight: usize,
    text: &'static str,
    agree: Agree,
    /// Whether arguments may be damaged at random.
    mutable: bool,
}

const fn t(weight: usize, text: &'static str, agree: Agree) -> Template {
    Template {
        weight,
        text,
        agree,
        mutable: true,
    }
}

const fn fixed(weight: usize, text: &'static str, agree: Agree) -> Template {
    Template {
        weight,
        text,
        agree,
        mutable: false,
    }
}

use Agree::{AnyOrder, Count, Exact, Kind, MapKeys, Millis, Pairs, Scan, Seconds};

/// Every command of the first issue, with all of its options.
const TEMPLATES: &[Template] = &[
    // Strings.
    t(10, "APPEND key val", Exact),
    t(6, "DECR key", Exact),
    t(6, "DECRBY key int", Exact),
    t(6, "DELIFEQ key val", Exact),
    t(20, "GET key", Exact),
    t(6, "GETDEL key", Exact),
    t(
        12,
        "GETEX key [EX secs|PX ms|EXAT at|PXAT atms|PERSIST]*",
        Exact,
    ),
    t(12, "GETRANGE key off off", Exact),
    t(4, "SUBSTR key off off", Exact),
    t(6, "GETSET key val", Exact),
    t(10, "INCR key", Exact),
    t(10, "INCRBY key int", Exact),
    t(14, "INCRBYFLOAT key float", Exact),
    t(
        12,
        "LCS key key [LEN|IDX|MINMATCHLEN small|WITHMATCHLEN]*",
        Exact,
    ),
    t(10, "MGET (key)+", Exact),
    t(10, "MSET (key val)+", Exact),
    t(
        10,
        "MSETEX 1 key val [NX|XX|EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]*",
        Exact,
    ),
    t(
        6,
        "MSETEX 2 key val key val [NX|XX]? [EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]?",
        Exact,
    ),
    t(4, "MSETEX int (key val)+", Exact),
    t(8, "MSETNX (key val)+", Exact),
    t(6, "PSETEX key ms val", Exact),
    t(20, "SET key val", Exact),
    t(
        24,
        "SET key val [NX|XX|IFEQ val|GET|EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]*",
        Exact,
    ),
    t(6, "SETEX key secs val", Exact),
    t(6, "SETNX key val", Exact),
    t(10, "SETRANGE key off val", Exact),
    t(6, "STRLEN key", Exact),
    // Generic.
    t(12, "COPY key key [DB db|REPLACE]*", Exact),
    t(12, "DEL (key)+", Exact),
    t(6, "UNLINK (key)+", Exact),
    t(8, "EXISTS (key)+", Exact),
    t(4, "TOUCH (key)+", Exact),
    t(12, "EXPIRE key secs [NX|XX|GT|LT]*", Exact),
    t(8, "PEXPIRE key ms [NX|XX|GT|LT]*", Exact),
    t(8, "EXPIREAT key at [NX|XX|GT|LT]*", Exact),
    t(8, "PEXPIREAT key atms [NX|XX|GT|LT]*", Exact),
    t(6, "EXPIRETIME key", Seconds),
    t(6, "PEXPIRETIME key", Millis),
    t(6, "TTL key", Seconds),
    t(6, "PTTL key", Millis),
    t(8, "PERSIST key", Exact),
    t(6, "KEYS glob", AnyOrder),
    t(6, "MOVE key db", Exact),
    t(8, "OBJECT ENCODING key", Exact),
    t(2, "OBJECT FREQ key", Exact),
    t(2, "OBJECT IDLETIME key", Seconds),
    t(2, "OBJECT REFCOUNT key", Exact),
    fixed(1, "OBJECT HELP", Kind),
    t(2, "OBJECT any key", Exact),
    fixed(2, "RANDOMKEY", Kind),
    t(8, "RENAME key key", Exact),
    t(8, "RENAMENX key key", Exact),
    t(8, "SCAN 0 [MATCH glob|COUNT count|TYPE type]*", Scan),
    t(2, "SCAN any [MATCH glob|COUNT count|TYPE type]*", Kind),
    t(6, "TYPE key", Exact),
    // Connection.
    t(2, "AUTH any", Exact),
    t(1, "AUTH DEFAULT any", Exact),
    t(1, "AUTH default any", Exact),
    t(3, "ECHO any", Exact),
    t(2, "PING", Exact),
    t(2, "PING any", Exact),
    t(1, "HELLO [2|3|4|any]?", MapKeys),
    t(1, "HELLO 2 [SETNAME any|AUTH default any|any]*", MapKeys),
    t(1, "HELLO 3 [SETNAME any|AUTH default any|any]*", MapKeys),
    t(6, "SELECT db", Exact),
    t(1, "RESET", Exact),
    t(2, "CLIENT GETNAME", Exact),
    t(2, "CLIENT SETNAME any", Exact),
    t(2, "CLIENT SETINFO [LIB-NAME|LIB-VER|any]? any", Exact),
    fixed(1, "CLIENT ID", Kind),
    fixed(1, "CLIENT INFO", Kind),
    fixed(1, "CLIENT LIST", Kind),
    t(1, "CLIENT LIST TYPE any", Kind),
    t(1, "CLIENT LIST ID any", Kind),
    fixed(1, "CLIENT KILL ID 987654321", Exact),
    fixed(1, "CLIENT KILL 127.0.0.1:1", Exact),
    fixed(1, "CLIENT KILL ID any-id", Exact),
    fixed(1, "CLIENT KILL TYPE nonsense", Exact),
    fixed(1, "CLIENT KILL SKIPME maybe", Exact),
    fixed(1, "CLIENT KILL USER nobody", Exact),
    t(1, "CLIENT NO-EVICT [ON|OFF|any]?", Exact),
    t(1, "CLIENT NO-TOUCH [ON|OFF|any]?", Exact),
    fixed(1, "CLIENT PAUSE 0", Exact),
    fixed(1, "CLIENT PAUSE -1", Exact),
    fixed(1, "CLIENT PAUSE abc", Exact),
    fixed(1, "CLIENT PAUSE 0 WRITE", Exact),
    fixed(1, "CLIENT PAUSE 0 SOMETIMES", Exact),
    fixed(1, "CLIENT UNPAUSE", Exact),
    fixed(1, "CLIENT UNPAUSE now", Exact),
    fixed(1, "CLIENT REPLY SKIP", Exact),
    fixed(1, "CLIENT REPLY OFF", Exact),
    fixed(1, "CLIENT REPLY ON", Exact),
    fixed(1, "CLIENT REPLY MAYBE", Exact),
    fixed(1, "CLIENT HELP", Kind),
    fixed(1, "CLIENT NONSENSE", Exact),
    // Server.
    fixed(1, "COMMAND COUNT", Kind),
    t(3, "COMMAND GETKEYS MSET (key val)+", Exact),
    t(2, "COMMAND GETKEYS GET key", Exact),
    t(2, "COMMAND GETKEYS MSETEX 2 key val key val", Exact),
    t(2, "COMMAND GETKEYS COPY key key", Exact),
    t(2, "COMMAND GETKEYSANDFLAGS SET key val [GET]?", Exact),
    t(2, "COMMAND GETKEYSANDFLAGS RENAME key key", Exact),
    t(2, "COMMAND GETKEYSANDFLAGS LCS key key", Exact),
    t(1, "COMMAND GETKEYS PING", Exact),
    t(1, "COMMAND GETKEYS any", Exact),
    t(1, "COMMAND INFO nonsense", Exact),
    t(1, "COMMAND DOCS nonsense", Exact),
    t(1, "COMMAND LIST FILTERBY any any", Exact),
    t(1, "COMMAND LIST FILTERBY PATTERN getr*", AnyOrder),
    t(1, "COMMAND LIST FILTERBY ACLCAT nonsense", Exact),
    fixed(1, "COMMAND HELP", Kind),
    t(2, "CONFIG GET databases", Pairs),
    t(2, "CONFIG GET timeout hash-max-listpack-entries", Pairs),
    t(1, "CONFIG GET nonsense*", Pairs),
    t(1, "CONFIG GET tcp-keepalive tcp-keep* TCP-KEEPALIVE", Pairs),
    fixed(1, "CONFIG SET timeout 0", Exact),
    fixed(1, "CONFIG SET timeout 5000", Exact),
    fixed(1, "CONFIG SET timeout abc", Exact),
    fixed(1, "CONFIG SET timeout -1", Exact),
    fixed(1, "CONFIG SET timeout 0 tcp-keepalive 300", Exact),
    fixed(1, "CONFIG SET timeout 1 timeout 2", Exact),
    fixed(1, "CONFIG SET timeout 7 tcp-keepalive abc", Exact),
    fixed(1, "CONFIG SET nonsense 1", Exact),
    fixed(1, "CONFIG SET timeout 9 nonsense 1", Exact),
    fixed(1, "CONFIG SET databases 17", Exact),
    fixed(1, "CONFIG SET loglevel loud", Exact),
    fixed(1, "CONFIG SET loglevel notice", Exact),
    fixed(1, "CONFIG SET timeout", Exact),
    fixed(1, "CONFIG SET timeout 1 tcp-keepalive", Exact),
    fixed(1, "CONFIG RESETSTAT", Exact),
    fixed(1, "CONFIG HELP", Kind),
    fixed(1, "CONFIG NONSENSE", Exact),
    t(8, "DBSIZE", Count),
    fixed(1, "DEBUG SLEEP 0", Exact),
    fixed(1, "DEBUG STRINGMATCH-LEN 10 a*", Exact),
    fixed(1, "DEBUG SET-ACTIVE-EXPIRE 1", Exact),
    t(1, "DEBUG NONSENSE", Exact),
    t(
        2,
        "DEBUG PROTOCOL [STRING|INTEGER|DOUBLE|NULL|ARRAY|SET|MAP|VERBATIM|TRUE|FALSE|BIGNUM|any]?",
        Exact,
    ),
    t(2, "FLUSHDB [SYNC|ASYNC|any]?", Exact),
    t(1, "FLUSHALL [SYNC|ASYNC|any]?", Exact),
    fixed(1, "LOLWUT", Kind),
    fixed(1, "TIME", Kind),
    fixed(1, "ROLE", Exact),
    fixed(1, "SHUTDOWN ABORT", Exact),
    fixed(1, "SHUTDOWN SOMETIMES", Exact),
    fixed(1, "SHUTDOWN SAVE NOSAVE", Exact),
    fixed(1, "SHUTDOWN ABORT NOW", Exact),
    t(3, "SWAPDB db db", Exact),
    t(2, "MEMORY USAGE key", Kind),
    t(1, "MEMORY USAGE key SAMPLES any", Kind),
    fixed(1, "MEMORY NONSENSE", Exact),
    fixed(1, "INFO keyspace", Kind),
    // Not commands at all.
    t(2, "NONSENSE (any)+", Exact),
    t(1, "any (any)+", Exact),
    t(1, "GETX", Exact),
    t(1, "nonsense|sub x", Exact),
    t(1, "client|id", Exact),
    t(1, "config|get x", Exact),
];

/// A generated command and how its replies must agree.
#[derive(Clone)]
pub(crate) struct Step {
    /// Command and arguments.
    pub(crate) argv: Vec<Vec<u8>>,
    /// What counts as the same reply.
    pub(crate) agree: Agree,
    /// Whether CLIENT REPLY keeps its reply back.
    pub(crate) silent: bool,
}

/// The next command.
pub(crate) fn step(rng: &mut Rng) -> Step {
    loop {
        let step = any_step(rng);
        if !expires_soon(&step.argv) {
            return step;
        }
    }
}

fn any_step(rng: &mut Rng) -> Step {
    let total: usize = TEMPLATES.iter().map(|t| t.weight).sum();
    let mut ticket = rng.below(total);
    let template = TEMPLATES
        .iter()
        .find(|t| {
            let hit = ticket < t.weight;
            ticket = ticket.wrapping_sub(t.weight);
            hit
        })
        .expect("the ticket is below the total");
    let mut argv = Vec::new();
    expand(rng, template.text, &mut argv);
    if template.mutable && rng.chance(8) {
        damage(rng, &mut argv);
    }
    if rng.chance(10) {
        change_case(rng, &mut argv[0]);
    }
    Step {
        argv,
        agree: template.agree,
        silent: false,
    }
}

/// Whether damage has made an expiry that falls due while the test runs.
fn expires_soon(argv: &[Vec<u8>]) -> bool {
    let name = argv[0].to_ascii_lowercase();
    let takes_expiry = name.ends_with(b"ex") || name.ends_with(b"expire") || name == b"set";
    let soon = |arg: &Vec<u8>| {
        let number = std::str::from_utf8(arg)
            .ok()
            .and_then(|text| text.parse::<i64>().ok());
        number.is_some_and(|n| (1..600_000).contains(&n))
    };
    let after_option = |pair: &[Vec<u8>]| {
        let (option, unit) = (pair[0].to_ascii_lowercase(), &pair[1]);
        let seconds_are_long = || unit.len() > 3;
        soon(unit) && (option == b"px" || (option == b"ex" && !seconds_are_long()))
    };
    let second = argv.get(2).is_some_and(soon);
    let positional = match name.as_slice() {
        b"pexpire" | b"psetex" => second,
        b"expire" | b"setex" => second && argv[2].len() <= 3,
        _ => false,
    };
    takes_expiry && (positional || argv.windows(2).any(after_option))
}

/// Appends the words of `text` to `argv`, with brackets resolved and placeholders filled.
fn expand(rng: &mut Rng, text: &str, argv: &mut Vec<Vec<u8>>) {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let close = match rest.as_bytes()[0] {
            b'[' => ']',
            b'(' => ')',
            _ => {
                let end = rest.find(' ').unwrap_or(rest.len());
                let word = &rest[..end];
                argv.push(fill(rng, word));
                rest = rest[end..].trim_start();
                continue;
            }
        };
        let end = rest.find(close).expect("closing bracket");
        let inner = &rest[1..end];
        let alternatives: Vec<&str> = inner.split('|').collect();
        let times = match rest.as_bytes()[end + 1] {
            b'?' => rng.below(2),
            b'*' => [0, 1, 1, 1, 2, 2, 3][rng.below(7)],
            b'+' => 1 + rng.below(4),
            other => panic!("unknown repetition {other} in {text}"),
        };
        for _ in 0..times {
            let alternative = *rng.pick(&alternatives);
            expand(rng, alternative, argv);
        }
        rest = rest[end + 2..].trim_start();
    }
}

/// The value of one word: a placeholder's, or the word itself (sometimes in lower case).
fn fill(rng: &mut Rng, word: &str) -> Vec<u8> {
    match word {
        "key" => key(rng),
        "val" => value(rng),
        "int" => number(rng),
        "off" => offset(rng),
        "float" => float(rng),
        "small" => rng
            .pick(&["0", "1", "2", "4", "-1", "x"])
            .as_bytes()
            .to_vec(),
        "count" => rng
            .pick(&["1", "2", "10", "1000", "0", "-1", "x"])
            .as_bytes()
            .to_vec(),
        "type" => rng
            .pick(&["string", "STRING", "list", "hash", "nonsense"])
            .as_bytes()
            .to_vec(),
        "db" => database(rng),
        "secs" => relative(rng, 1),
        "ms" => relative(rng, 1000),
        "at" => absolute(rng, 1),
        "atms" => absolute(rng, 1000),
        "glob" => rng.pick(GLOBS).as_bytes().to_vec(),
        "any" => nasty(rng),
        literal if rng.chance(10) => literal.to_lowercase().into_bytes(),
        literal => literal.as_bytes().to_vec(),
    }
}

const GLOBS: &[&str] = &[
    "*", "k*", "k?", "k[0-3]", "k[^0-3]", "k[3-0]", "\\k1", "h\\[*", "", "?", "[", "k[", "k[1",
    "*1*", "**", "\\", "k\\", "*\\", "[\\]]", "k[a-", "[^]", "[]", "K1", "*long*", "nomatch",
];

fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0 => Vec::new(),
        1 => b"bin\x00\xff\r\n".to_vec(),
        2 => [b"long".as_slice(), &[b'x'; 300]].concat(),
        3 => b"h[a]*?\\".to_vec(),
        4 => b"{tag}x".to_vec(),
        n => format!("k{}", n % 8).into_bytes(),
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0 => Vec::new(),
        1..=5 => number(rng),
        6..=7 => float(rng),
        8 => nasty(rng),
        9 => {
            let length = rng.below(100);
            (0..length).map(|_| rng.next() as u8).collect()
        }
        10 => vec![b'y'; *rng.pick(&[12, 20, 43, 44, 45, 63, 64, 65, 95, 96, 127, 128, 129])],
        11 => vec![b'z'; *rng.pick(&[500, 4096, 16_384, 20_000, 70_000])],
        12..=14 => (0..1 + rng.below(12)).map(|_| *rng.pick(b"abcd")).collect(),
        n => format!("v{n}").into_bytes(),
    }
}

fn number(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => rng.pick(EDGES).as_bytes().to_vec(),
        1 => (rng.next() as i64).to_string().into_bytes(),
        2 => rng.below(10_001).to_string().into_bytes(),
        _ => (rng.below(41) as i64 - 20).to_string().into_bytes(),
    }
}

fn offset(rng: &mut Rng) -> Vec<u8> {
    match rng.below(10) {
        0 => rng.pick(EDGES).as_bytes().to_vec(),
        1 => rng.below(5000).to_string().into_bytes(),
        _ => (rng.below(31) as i64 - 10).to_string().into_bytes(),
    }
}

fn float(rng: &mut Rng) -> Vec<u8> {
    const FLOATS: &[&str] = &[
        "0.1",
        "-0.1",
        "0.2",
        "1.5",
        "3.0e3",
        "5.0e-3",
        "1e17",
        "-1e17",
        "0",
        "-0",
        "1",
        "-1",
        "0.0001",
        "3.3333333333333333",
        "1234567.891",
        "1e-7",
        "100",
        "1e20",
        ".5",
        "5.",
        "1e5",
        "-3.25",
        "inf",
        "-inf",
        "nan",
        "+inf",
        "infinity",
        "1.5.5",
        "1e",
        "0x1p3",
        " 1",
        "1 ",
        "",
        "9.99999999",
    ];
    match rng.below(3) {
        0 => rng.pick(FLOATS).as_bytes().to_vec(),
        1 => format!("{}.{}", rng.below(1000) as i64 - 500, rng.below(100)).into_bytes(),
        _ => format!("{}.{:04}", rng.below(1_000_000), rng.below(10_000)).into_bytes(),
    }
}

fn database(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => rng
            .pick(&[
                "16",
                "-1",
                "15",
                "abc",
                "1.0",
                "",
                "2147483648",
                "99999999999",
            ])
            .as_bytes()
            .to_vec(),
        n => (n % 3).to_string().into_bytes(),
    }
}

/// A time from now: minutes to days away, or not in the future, or out of range. Two of the same
/// value hardly ever meet, so GT and LT do not depend on the millisecond.
fn relative(rng: &mut Rng, unit: i64) -> Vec<u8> {
    match rng.below(12) {
        0 => rng.pick(&["0", "-1", "-1000000"]).as_bytes().to_vec(),
        1 => rng.pick(EDGES).as_bytes().to_vec(),
        _ => ((1000 + rng.below(1_000_000) as i64) * unit)
            .to_string()
            .into_bytes(),
    }
}

/// A point in time around the year 2100 (which no relative one reaches), or long past, or out of
/// range.
fn absolute(rng: &mut Rng, unit: i64) -> Vec<u8> {
    match rng.below(12) {
        0 => rng.pick(&["0", "-1", "1", "1000"]).as_bytes().to_vec(),
        1 => rng.pick(EDGES).as_bytes().to_vec(),
        _ => ((ABSOLUTE_SECS + rng.below(1_000_000) as i64) * unit)
            .to_string()
            .into_bytes(),
    }
}

/// Where generated absolute expiries begin, in seconds; they end a million seconds later.
pub(crate) const ABSOLUTE_SECS: i64 = 4_102_444_800;

/// Numbers at which arithmetic goes wrong, and texts that are nearly numbers.
const EDGES: &[&str] = &[
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775",
    "18446744073709551615",
    "18446744073709551616",
    "4294967295",
    "4294967296",
    "2147483647",
    "2147483648",
    "-2147483648",
    "536870911",
    "536870912",
    "+1",
    " 1",
    "1 ",
    "01",
    "-0",
    "0x10",
    "1e3",
    "1.0",
    "",
    "-",
    "--1",
    "a",
];

fn nasty(rng: &mut Rng) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "",
        " ",
        "*",
        "NX",
        "XX",
        "GT",
        "EX",
        "PX",
        "GET",
        "KEEPTTL",
        "PERSIST",
        "MATCH",
        "COUNT",
        "TYPE",
        "DB",
        "REPLACE",
        "IDX",
        "LEN",
        "SAVE",
        "ON",
        "0",
        "-1",
        "1",
        "nan",
        "k1",
        "name",
        "with space",
        "a\r\nb",
        "nul\0in",
        "\t",
        "'",
        "\"",
        "\\x41",
        "%s%n",
        "{}",
        "default",
        "caf\u{e9}",
    ];
    match rng.below(10) {
        0 => vec![b'q'; *rng.pick(&[127, 128, 129, 200, 3000])],
        1 => rng.pick(EDGES).as_bytes().to_vec(),
        2 => vec![0xff, 0xfe, 0x80],
        _ => rng.pick(WORDS).as_bytes().to_vec(),
    }
}

/// Damages a command: too few or too many arguments, or a nasty one.
fn damage(rng: &mut Rng, argv: &mut Vec<Vec<u8>>) {
    let place = 1 + rng.below(argv.len());
    match rng.below(5) {
        0 if argv.len() > 1 => drop(argv.remove(place.min(argv.len() - 1))),
        1 if argv.len() > 1 => {
            let at = place.min(argv.len() - 1);
            argv[at] = nasty(rng);
        }
        2 if argv.len() > 1 => {
            let copy = argv[place.min(argv.len() - 1)].clone();
            argv.push(copy);
        }
        3 => {
            let extra = nasty(rng);
            argv.insert(place, extra);
        }
        _ => argv.truncate(place),
    }
}

fn change_case(rng: &mut Rng, word: &mut [u8]) {
    for byte in word {
        if rng.chance(50) {
            *byte = if byte.is_ascii_uppercase() {
                byte.to_ascii_lowercase()
            } else {
                byte.to_ascii_uppercase()
            };
        }
    }
}
