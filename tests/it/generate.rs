//! Random commands out of a table of templates, the same for the same seed.
//!
//! A template is what one would read in the documentation. Upper-case words are literals, lower-case
//! words are placeholders (see `fill`), and brackets, whose parts must not nest the same kind:
//! `[A|B x]?` one alternative or none, `[A|B x]*` none to three in any order (so that options that
//! exclude each other meet), `(key val)+` one to four times, `(key val)#` often, to grow a value.
//!
//! To add a command: one row in `templates`. Two servers that run the same commands a moment apart
//! must agree, so some commands are never generated (`unfit`): expiries that fall due while a test
//! runs (they are minutes away or long past), waits of more than a moment, and what asks for a
//! random order and shows it.

use std::collections::BTreeSet;

use crate::differences::{DIFFERENCES, Difference, Peer, Words};
use crate::positions;
use crate::templates::{DWELLINGS, GROUPS, Template};

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
    /// Seconds, or an array of them, apart by no more than the test has taken.
    Seconds,
    /// Milliseconds, or an array of them, apart by no more than the test has taken.
    Millis,
    /// The same but for times, or how long ago they were, where XPENDING and XINFO show them.
    Times,
    /// The same types and lengths in every place, whatever the elements: random choices.
    Shape,
    /// Numbers at most 2 apart: peers count keys that are born expired until they come upon them.
    Count,
    /// The same type of reply, whatever is in it.
    Kind,
    /// A map with the same keys in the same order, whatever the values.
    MapKeys,
    /// Not sent in a batch: a SCAN of any kind that is followed to its end, compared as a set.
    Scan,
}

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

/// A source of commands, with what it dwells on.
pub(crate) struct Generator {
    /// The source of everything random in an episode.
    pub(crate) rng: Rng,
    /// The group most commands come from.
    dwell: Option<usize>,
    total: usize,
}

impl Generator {
    /// The commands of `seed`.
    pub(crate) fn new(seed: u64) -> Generator {
        let mut rng = Rng::new(seed);
        let dwell = Some(rng.below(DWELLINGS + 1)).filter(|group| *group < DWELLINGS);
        let mut made = Generator {
            rng,
            dwell,
            total: 0,
        };
        made.total = made.weighted().map(|(weight, _)| weight).sum();
        made
    }

    /// All templates with how often they are chosen.
    fn weighted(&self) -> impl Iterator<Item = (usize, &'static Template)> + use<> {
        let dwell = self.dwell;
        GROUPS.iter().enumerate().flat_map(move |(group, rows)| {
            let factor = if dwell == Some(group) { 10 } else { 1 };
            rows.iter().map(move |row| (row.weight * factor, row))
        })
    }

    /// The next command.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            let mut step = self.any_step();
            if !unfit(&step.argv) {
                step.loosen();
                return step;
            }
        }
    }

    fn any_step(&mut self) -> Step {
        let mut ticket = self.rng.below(self.total);
        let (_, template) = self
            .weighted()
            .find(|(weight, _)| {
                let hit = ticket < *weight;
                ticket = ticket.wrapping_sub(*weight);
                hit
            })
            .expect("the ticket is below the total");
        let rng = &mut self.rng;
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
}

impl Step {
    /// The place of the cursor in a SCAN, HSCAN, SSCAN or ZSCAN.
    pub(crate) fn cursor_at(&self) -> usize {
        if self.argv[0].len() == 4 { 1 } else { 2 }
    }

    /// Whether it is SORT or SORT_RO.
    pub(crate) fn sorts(&self) -> bool {
        let name = self.argv[0].to_ascii_lowercase();
        name == b"sort" || name == b"sort_ro"
    }

    /// Whether it takes members out of a set without taking all: which ones is random.
    pub(crate) fn pops_some(&self) -> bool {
        self.argv[0].eq_ignore_ascii_case(b"spop") && !self.takes_all()
    }

    /// Whether Kivi and Valkey do the same, with one reply, and go on.
    pub(crate) fn does_the_same(&self) -> bool {
        const OTHERS: &[&str] = &[
            "client",
            "config",
            "debug",
            "quit",
            "reset",
            "shutdown",
            "save",
            "bgsave",
            "bgrewriteaof",
            "hello",
            "auth",
        ];
        let words = Words::of(&self.argv);
        let is_known = |d: &Difference| d.peer.is_none_or(|peer| peer == Peer::Valkey9);
        let mut known = DIFFERENCES.iter().filter(|difference| is_known(difference));
        let differs = known.any(|difference| (difference.when)(&words));
        !words.among(OTHERS) && !self.pops_some() && !differs
    }

    /// Whether the count of a random choice is beyond all sizes.
    fn takes_all(&self) -> bool {
        number_in(&self.argv, 2).is_some_and(|count| count >= 10_000)
    }

    /// What damage or several options together have left without a defined order.
    fn loosen(&mut self) {
        let has = |word: &str| has(&self.argv, word);
        match self.argv[0].to_ascii_lowercase().as_slice() {
            // A set has no order, and BY without an asterisk asks for no other.
            b"sort" | b"sort_ro" if !has("store") => {
                let as_it_comes = |pair: &[Vec<u8>]| {
                    pair[0].eq_ignore_ascii_case(b"by") && !pair[1].contains(&b'*')
                };
                if self.argv.windows(2).any(as_it_comes) {
                    self.agree = [Agree::AnyOrder, Agree::Shape][usize::from(has("limit"))];
                } else if has("by") && has("alpha") {
                    self.agree = Agree::AnyOrder;
                }
            }
            b"spop" | b"srandmember" | b"hrandfield" | b"zrandmember" => {
                self.agree = match self.takes_all() {
                    true if has("withvalues") || has("withscores") => Agree::Pairs,
                    true => Agree::AnyOrder,
                    false => Agree::Shape,
                };
            }
            _ => {}
        }
    }
}

/// Whether `word` is among the arguments, in any case of letters.
fn has(argv: &[Vec<u8>], word: &str) -> bool {
    argv[1..]
        .iter()
        .any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

/// The number in place `at`, if there is one.
fn number_in(argv: &[Vec<u8>], at: usize) -> Option<i64> {
    std::str::from_utf8(argv.get(at)?).ok()?.parse().ok()
}

/// Whether two servers could not be expected to agree on the command, or not soon.
fn unfit(argv: &[Vec<u8>]) -> bool {
    expires_soon(argv)
        || waits(argv)
        || asks_for_millions(argv)
        || has_ties(argv)
        || sets_far_bits(argv)
        || asks_for_young(argv)
        || takes_the_time(argv)
}

/// Whether the id of an entry comes by the clock.
fn takes_the_time(argv: &[Vec<u8>]) -> bool {
    argv[0].eq_ignore_ascii_case(b"xadd") && argv.iter().any(|arg| arg.starts_with(b"*"))
}

/// Whether XREAD's or XREADGROUP's timeout is none of [`STREAM_WAITS`].
fn waits_for_streams(argv: &[Vec<u8>]) -> bool {
    let is_wait = |arg: &[u8]| STREAM_WAITS.iter().any(|wait| wait.as_bytes() == arg);
    let waits = |pair: &[Vec<u8>]| pair[0].eq_ignore_ascii_case(b"block") && !is_wait(&pair[1]);
    argv[0].to_ascii_lowercase().starts_with(b"xread") && argv.windows(2).any(waits)
}

/// Whether a blocking command's timeout is none of [`WAITS`].
fn waits(argv: &[Vec<u8>]) -> bool {
    let timeout = match argv[0].to_ascii_lowercase().as_slice() {
        b"blpop" | b"brpop" | b"blmove" | b"brpoplpush" | b"bzpopmin" | b"bzpopmax" => argv.last(),
        b"blmpop" | b"bzmpop" => argv.get(1),
        _ => return waits_for_streams(argv),
    };
    !timeout.is_some_and(|timeout| WAITS.iter().any(|wait| wait.as_bytes() == timeout))
}

/// Whether a negative count asks for more elements than one wants to read.
fn asks_for_millions(argv: &[Vec<u8>]) -> bool {
    let name = argv[0].to_ascii_lowercase();
    let random = [b"hrandfield".as_slice(), b"srandmember", b"zrandmember"].contains(&&*name);
    random && number_in(argv, 2).is_some_and(|count| count < -1000 && count != i64::MIN)
}

/// Whether it would make a bitmap of megabytes, which every other command has to read then.
fn sets_far_bits(argv: &[Vec<u8>]) -> bool {
    const NEAR: i64 = 1 << 20;
    const OUT_OF_RANGE: i64 = 1 << 32;
    let is_far = |arg: &Vec<u8>| {
        let text = std::str::from_utf8(arg).unwrap_or_default();
        let number = text.trim_start_matches('#').parse::<i64>();
        number.is_ok_and(|number| (NEAR..OUT_OF_RANGE).contains(&number))
    };
    let name = argv[0].to_ascii_lowercase();
    (name == b"setbit" || name == b"bitfield") && argv.iter().any(is_far)
}

/// Whether SORT compares other texts than the elements, whose order is undefined where these are
/// the same, and shows or keeps more than which elements there are.
fn has_ties(argv: &[Vec<u8>]) -> bool {
    argv[0].to_ascii_lowercase().starts_with(b"sort")
        && has(argv, "alpha")
        && has(argv, "by")
        && (has(argv, "store") || has(argv, "limit") || has(argv, "get"))
}

/// Whether damage has made an age that pending entries may reach while the test runs.
fn asks_for_young(argv: &[Vec<u8>]) -> bool {
    let name = argv[0].to_ascii_lowercase();
    let is_young = |at: usize| number_in(argv, at).is_some_and(|ms| (1..1_000_000).contains(&ms));
    let claims = name == b"xclaim" || name == b"xautoclaim";
    let mut words = argv.iter().enumerate();
    let is_idle =
        |(at, word): (usize, &Vec<u8>)| word.eq_ignore_ascii_case(b"idle") && is_young(at + 1);
    claims && is_young(4) || name.starts_with(b"x") && words.any(is_idle)
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
        b"pexpire" | b"psetex" | b"hpexpire" => second,
        b"expire" | b"setex" | b"hexpire" => second && argv[2].len() <= 3,
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
            b'#' => *rng.pick(&[5, 20, 60, 130, 140, 300, 520]),
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
        "small" => word_of(rng, &["0", "1", "2", "4", "-1", "x"]),
        "count" => word_of(rng, &["1", "2", "10", "1000", "0", "-1", "x"]),
        "type" => word_of(rng, TYPES),
        "db" => database(rng),
        "secs" => relative(rng, 1),
        "ms" => relative(rng, 1000),
        "at" => absolute(rng, 1),
        "atms" => absolute(rng, 1000),
        "glob" => word_of(rng, GLOBS),
        "any" => nasty(rng),
        _ => fill_collection(rng, word),
    }
}

/// [`fill`] for what collections have.
fn fill_collection(rng: &mut Rng, word: &str) -> Vec<u8> {
    match word {
        "akey" => any_key(rng),
        "hkey" => typed_key(rng, "h"),
        "lkey" => typed_key(rng, "l"),
        "skey" => typed_key(rng, "s"),
        "zkey" => typed_key(rng, "z"),
        "szkey" => {
            let prefix = if rng.chance(70) { "z" } else { "s" };
            typed_key(rng, prefix)
        }
        "xkey" if rng.chance(95) => numbered(rng, "x", 3),
        "wkey" | "xkey" => [b"w_".to_vec(), element(rng)].concat(),
        "field" => field(rng),
        "member" => member(rng),
        "imember" => integer_member(rng),
        "elem" => element(rng),
        "nfield" => numbered(rng, "n", 800),
        "nmember" => numbered(rng, "n", 800),
        "nint" => numbered(rng, "", 800),
        "score" => score(rng),
        "sbound" => score_bound(rng),
        "lex" => lex_bound(rng),
        "index" => offset(rng),
        "near" => word_of(rng, &["1", "2", "0", "-1", "1", "3"]),
        "weight" => word_of(
            rng,
            &[
                "1", "2", "0", "-1", "0.5", "inf", "-inf", "nan", "x", "1e308",
            ],
        ),
        "rank" => word_of(
            rng,
            &["1", "2", "-1", "-2", "0", "3", "-9223372036854775808", "x"],
        ),
        "lcount" => word_of(
            rng,
            &[
                "1",
                "2",
                "3",
                "5",
                "0",
                "100",
                "-1",
                "x",
                "9223372036854775807",
            ],
        ),
        "rcount" => word_of(rng, RANDOM_COUNTS),
        "agg" => word_of(rng, &["SUM", "MIN", "MAX", "min", "AVG"]),
        "dir" => word_of(rng, &["ASC", "DESC"]),
        "side" => word_of(
            rng,
            &["LEFT", "RIGHT", "LEFT", "RIGHT", "left", "RIGHT", "UP"],
        ),
        "minmax" => word_of(rng, &["MIN", "MAX", "MIN", "MAX", "max", "SUM"]),
        "wait" => word_of(rng, WAITS),
        "fglob" => word_of(rng, &["*", "f*", "m[0-5]", "n1*", "n?", "[0-9]*", "", "?"]),
        "few" => word_of(rng, &["0", "1", "4", "16", "64", "128", "512", "x", "-1"]),
        "fill" => word_of(
            rng,
            &["-1", "-2", "-3", "-5", "0", "1", "3", "10", "128", "x"],
        ),
        word if word.starts_with('b') => fill_bits(rng, word),
        "tkey" | "tgroup" | "tconsumer" | "tid" | "tfrom" | "trange" | "tidle" | "tage" => {
            fill_group(rng, word)
        }
        word if word.starts_with('g') => positions::fill(rng, word),
        "pkey" | "pelem" | "plimit" => fill_hyperloglog(rng, word),
        literal if rng.chance(10) => literal.to_lowercase().into_bytes(),
        literal => literal.as_bytes().to_vec(),
    }
}

/// [`fill`] for consumer groups of streams.
fn fill_group(rng: &mut Rng, word: &str) -> Vec<u8> {
    match word {
        "tgroup" | "tconsumer" if rng.chance(3) => value(rng),
        "tgroup" => numbered(rng, "g", 3),
        "tconsumer" => numbered(rng, "c", 3),
        "tid" => stream_id(rng),
        "tfrom" if rng.chance(60) => word_of(rng, &["0", "0-0", "$", "9", "9-5"]),
        "tfrom" => stream_id(rng),
        "trange" if rng.chance(50) => word_of(rng, &["-", "+", "-", "+", "(9-3"]),
        "trange" => stream_id(rng),
        "tread" if rng.chance(50) => word_of(rng, &["0", "0", "$", "+", ">", "9", "9-5"]),
        "tread" => stream_id(rng),
        "twait" => word_of(rng, STREAM_WAITS),
        // What is delivered while a test runs stays younger than 1000 s; more is said of some.
        "tidle" => word_of(rng, &["0", "0", "0", "1000000", "1000000", "-1", "x"]),
        "tage" => word_of(rng, &["0", "-1", "x", "100000000", "100000000"]),
        _ => typed_key(rng, "t"),
    }
}

/// An id that an entry has which the templates add, mostly.
fn stream_id(rng: &mut Rng) -> Vec<u8> {
    match rng.below(24) {
        0 => number(rng),
        1 => word_of(
            rng,
            &["-", "+", "$", ">", "*", "(9-1", "9-", "9-x", "10-0", "0-0"],
        ),
        2 => nasty(rng),
        3..=5 => format!("{}-{}", rng.below(9), rng.below(3)).into_bytes(),
        _ => format!("9-{}", rng.below(40)).into_bytes(),
    }
}

/// [`fill`] for HyperLogLogs.
fn fill_hyperloglog(rng: &mut Rng, word: &str) -> Vec<u8> {
    match word {
        "pkey" if rng.chance(5) => key(rng),
        "pkey" => typed_key(rng, "p"),
        "pelem" if rng.chance(80) => numbered(rng, "e", 4000),
        "pelem" => element(rng),
        "plimit" => word_of(
            rng,
            &["3000", "3000", "300", "60", "20", "16000", "0", "-1", "x"],
        ),
        _ => panic!("unknown placeholder {word}"),
    }
}

/// [`fill`] for bitmaps.
fn fill_bits(rng: &mut Rng, word: &str) -> Vec<u8> {
    match word {
        "bkey" if rng.chance(5) => key(rng),
        "bkey" => typed_key(rng, "b"),
        "bit" => word_of(rng, &["0", "1", "0", "1", "0", "1", "0", "1", "2", "x"]),
        "boff" => bit_offset(rng),
        "bindex" => (rng.below(400) as i64 - 100).to_string().into_bytes(),
        "bop" => word_of(rng, &["AND", "OR", "XOR", "and", "NOT", "NAND"]),
        "bover" => word_of(rng, &["WRAP", "SAT", "FAIL", "sat", "NONE"]),
        "btype" => bit_type(rng),
        "bplace" if rng.chance(40) => numbered(rng, "#", 30),
        "bplace" => bit_offset(rng),
        "bint" if rng.chance(30) => (rng.next() as i64 >> rng.below(64))
            .to_string()
            .into_bytes(),
        _ => number(rng),
    }
}

/// The position of a bit, mostly near others.
fn bit_offset(rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => rng.pick(EDGES).as_bytes().to_vec(),
        1 => rng.below(300_000).to_string().into_bytes(),
        2 => word_of(rng, &["#1", "#", "#-1", "#2305843009213693953", "-1"]),
        3..=5 => rng.below(40_000).to_string().into_bytes(),
        6..=10 => (rng.below(40) * 8).to_string().into_bytes(),
        _ => rng.below(200).to_string().into_bytes(),
    }
}

/// The type of a field of a bitmap, and what is none.
fn bit_type(rng: &mut Rng) -> Vec<u8> {
    let sign = rng.pick(&["i", "u"]);
    match rng.below(12) {
        0 => word_of(
            rng,
            &["u64", "i65", "u0", "i0", "i", "", "x8", "U8", "i08", "u-1"],
        ),
        1..=2 => word_of(rng, &["i64", "u63", "i1", "u1"]),
        3..=5 => format!("{sign}{}", 1 + rng.below(63)).into_bytes(),
        _ => format!("{sign}{}", [4, 8, 16, 32][rng.below(4)]).into_bytes(),
    }
}

/// The first words of all templates, in lower case.
pub(crate) fn commands_with_templates() -> BTreeSet<String> {
    let rows = GROUPS.iter().flat_map(|rows| rows.iter());
    rows.map(|row| {
        row.text
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_lowercase()
    })
    .collect()
}

pub(crate) fn word_of(rng: &mut Rng, words: &[&str]) -> Vec<u8> {
    rng.pick(words).as_bytes().to_vec()
}

fn numbered(rng: &mut Rng, prefix: &str, count: usize) -> Vec<u8> {
    format!("{prefix}{}", rng.below(count)).into_bytes()
}

/// Timeouts that are over in a moment, or none: nothing else waits for the test.
const STREAM_WAITS: &[&str] = &["1", "2", "1", "2", "-1", "x", "1.5", "9223372036854775807"];

/// See [`waits`].
const WAITS: &[&str] = &[
    "0.001", "0.002", "0.001", "0.002", "0.001", "0.002", "0.001", "0.002", "0.0001", "1e-3",
    "0x0.004", "1e-10", "-1", "nan", "inf", "-inf", "abc", "", " 0.001", "0.001 ", "1e20", "1e400",
];

const TYPES: &[&str] = &[
    "string", "STRING", "list", "hash", "set", "zset", "ZSet", "stream", "nonsense",
];

const RANDOM_COUNTS: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "-1",
    "-3",
    "-20",
    "1000",
    "x",
    "1.5",
    "-9223372036854775808",
    "9223372036854775807",
];

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

/// A key of any type; which one it has follows from its first letter, mostly.
fn any_key(rng: &mut Rng) -> Vec<u8> {
    match *rng.pick(&["k", "h", "l", "s", "z", "b", "p", "g"]) {
        "k" => key(rng),
        prefix => numbered(rng, prefix, 5),
    }
}

/// A key of the type that `prefix` stands for, mostly.
pub(crate) fn typed_key(rng: &mut Rng, prefix: &str) -> Vec<u8> {
    match rng.below(40) {
        0..=1 => any_key(rng),
        2 => [prefix.as_bytes(), b"\x00\xff\r\n"].concat(),
        _ => numbered(rng, prefix, 5),
    }
}

fn field(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0..=12 => numbered(rng, "f", 8),
        13..=15 => number(rng),
        16 => vec![b'f'; *rng.pick(&[20, 63, 64, 65])],
        17 => Vec::new(),
        _ => value(rng),
    }
}

fn member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0..=10 => numbered(rng, "m", 10),
        11..=15 => number(rng),
        16 => vec![b'm'; *rng.pick(&[20, 63, 64, 65])],
        17 => Vec::new(),
        _ => value(rng),
    }
}

/// Mostly what an intset takes, in all of its widths.
fn integer_member(rng: &mut Rng) -> Vec<u8> {
    const WIDE: &[i64] = &[
        32_767,
        32_768,
        -32_768,
        -32_769,
        2_147_483_647,
        2_147_483_648,
        -2_147_483_648,
        -2_147_483_649,
        i64::MAX,
        i64::MIN,
    ];
    match rng.below(12) {
        0 => rng.pick(WIDE).to_string().into_bytes(),
        1 => number(rng),
        _ => numbered(rng, "", 20),
    }
}

fn element(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0..=9 => numbered(rng, "e", 6),
        10..=15 => numbered(rng, "", 12),
        16 => float(rng),
        _ => value(rng),
    }
}

fn score(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0..=6 => (rng.below(9) as i64 - 3).to_string().into_bytes(),
        7 => number(rng),
        8..=9 => float(rng),
        10 => word_of(rng, &["inf", "-inf", "+inf", "1e308", "-1e308", "4.9e-324"]),
        _ => word_of(
            rng,
            &[
                "0.1",
                "0.2",
                "0.30000000000000004",
                "1e21",
                "123456789012345680",
            ],
        ),
    }
}

fn score_bound(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0..=2 => word_of(rng, &["-inf", "+inf", "inf"]),
        3..=5 => [b"(".to_vec(), score(rng)].concat(),
        6 => word_of(
            rng,
            &["(", "((1", "[1", "(inf", "(-inf", "nan", "(nan", "-", "+"],
        ),
        _ => score(rng),
    }
}

fn lex_bound(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0..=2 => word_of(rng, &["-", "+"]),
        3..=6 => [b"[".to_vec(), member(rng)].concat(),
        7..=10 => [b"(".to_vec(), member(rng)].concat(),
        _ => word_of(
            rng,
            &["[", "(", "", "m1", "-inf", "+inf", "++", "--", "[n4", "(n5"],
        ),
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
        "LIMIT",
        "WITHSCORES",
        "INCR",
        "FIELDS",
        "LEFT",
        "(1",
        "[a",
        "-",
        "+",
        "inf",
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
