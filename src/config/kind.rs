//! What a directive's value may be: text -> `Value` -> text.
//!
//! A `Kind` checks the arguments of a line (or the one argument of CONFIG SET) and says what is
//! wrong in Valkey's words. A `Value` that exists has passed its kind. `FromValue` turns it into
//! the type of a `Config` field. The kinds with a grammar of their own are in `special`.
//!
//! To add a kind: a variant, its arm in `Kind::parse`, and an arm in `render` and `lines` if its
//! value needs a new shape.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::special;
use crate::db::EventClass;
use crate::spec::AclCategories;
use crate::util::network::Network;
use crate::util::num::{parse_i64, parse_memory};

/// What is wrong with a value, in the words of the reply.
pub(super) type Reason = Cow<'static, str>;

/// A checked value of a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// yes or no.
    Bool(bool),
    /// A number, or a memory size in bytes; a negative `MemoryOrPercent` is a percentage.
    Int(i128),
    /// One word of a fixed set, spelled as CONFIG GET shows it.
    Word(&'static str),
    /// Free text, as bytes.
    Text(Vec<u8>),
    /// Several words, in the form that CONFIG GET shows.
    Words(Vec<Vec<u8>>),
    /// The arguments of every line of a directive that may be repeated.
    Lines(Vec<Vec<Vec<u8>>>),
    /// Output buffer limits.
    Limits(OutputLimits),
}

/// Which values a directive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number within a range.
    Int { min: i64, max: i64 },
    /// `hz`: a whole number that is then brought into its useful range.
    Hz,
    /// `io-threads`: 0 means one per core.
    Threads,
    /// Mode bits in octal.
    Octal { max: i64 },
    /// Bytes with an optional unit: b, k, kb, m, mb, g, gb (k is 1000, kb 1024).
    Memory { min: i128, max: i128 },
    /// The same, where negative numbers are allowed too.
    SignedMemory { min: i128, max: i128 },
    /// The same, or `N%`.
    MemoryOrPercent,
    /// One of these words, any case.
    Word(&'static [&'static str]),
    /// `log-format`: the words of Valkey, and `plain` for `legacy`.
    LogFormat,
    /// `oom-score-adj`: `relative` is shown as `yes`.
    OomScoreAdj,
    /// Free text.
    Text(Check),
    /// An existing directory.
    Dir,
    /// `bind`.
    Bind,
    /// `proxy-protocol-trusted`: addresses and networks.
    Networks,
    /// `save`.
    Save,
    /// `client-output-buffer-limit`.
    OutputLimits,
    /// `latency-tracking-info-percentiles`.
    Percentiles,
    /// `audit-log-categories`: names with or without their `@`.
    AclCategories,
    /// `notify-keyspace-events`.
    EventFlags,
    /// `oom-score-adj-values`.
    OomScores,
    /// `shutdown-on-sigint` and `shutdown-on-sigterm`.
    ShutdownFlags,
    /// `replicaof`.
    ReplicaOf,
    /// `rename-command`: two arguments, repeated.
    RenameCommand,
    /// One argument or more, repeated.
    Lines,
    /// `include`, which the loader acts upon.
    Include,
    /// A name that once had a meaning: one argument, forgotten at once.
    Ignored,
}

/// What is asked of a free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// No NUL, which the system calls cannot take.
    Any,
    /// Nothing: a secret may hold any byte.
    Secret,
    /// Not empty.
    NotEmpty,
    /// Not empty and without a separator.
    FileName,
    /// A template of the process title.
    Title,
    /// A host name, or empty.
    HostName,
    /// A name of a cluster node, or empty.
    NodeName,
    /// What a cluster node may announce as its address, or empty.
    AnnounceIp,
    /// An IPv4 address, or empty.
    Ipv4,
    /// An IPv6 address, or empty.
    Ipv6,
}

impl Check {
    /// Whether it has a word of its own for what may stand in a text.
    pub(super) fn names_its_letters(self) -> bool {
        use Check::*;
        matches!(self, HostName | NodeName | AnnounceIp | Ipv4 | Ipv6)
    }
}

/// What parsing a value may depend on besides its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The directive's canonical name, for error texts.
    pub(super) name: &'static str,
    /// The value so far, which a repeated line adds to.
    pub(super) old: &'a Value,
    /// The first line of this directive in its source: an older source is replaced, not added to.
    pub(super) first: bool,
    /// Where relative directories start.
    pub(super) cwd: &'a Path,
}

impl Kind {
    /// Whether a line may hold several arguments, which one argument may hold as well, separated
    /// by single spaces.
    fn takes_words(self) -> bool {
        use Kind::*;
        matches!(
            self,
            Bind | Networks
                | Save
                | OutputLimits
                | Percentiles
                | AclCategories
                | OomScores
                | ShutdownFlags
                | ReplicaOf
        )
    }

    /// Whether further lines of the same source add to the value instead of replacing it.
    pub(super) fn repeats(self) -> bool {
        matches!(
            self,
            Kind::Save | Kind::OutputLimits | Kind::RenameCommand | Kind::Lines
        )
    }

    /// Whether a line takes more than one argument.
    pub(super) fn takes_several(self) -> bool {
        self.takes_words() || matches!(self, Kind::RenameCommand | Kind::Lines)
    }

    /// The value that the arguments of a line stand for.
    pub(super) fn parse(self, args: &[Vec<u8>], context: Context<'_>) -> Result<Value, Reason> {
        if self.takes_words() {
            return match args {
                [one] => {
                    let words: Vec<_> = one.split(|b| *b == b' ').map(<[u8]>::to_vec).collect();
                    self.parse_words(&words, context)
                }
                _ => self.parse_words(args, context),
            };
        }
        match (self, args) {
            (Kind::RenameCommand, [_, _]) | (Kind::Lines, [_, ..]) => {
                let mut lines = match context.old {
                    Value::Lines(lines) => lines.clone(),
                    _ => Vec::new(),
                };
                lines.push(args.to_vec());
                Ok(Value::Lines(lines))
            }
            (Kind::RenameCommand | Kind::Lines, _) => Err(WRONG_NUMBER.into()),
            (_, [arg]) => self.parse_one(arg, context),
            _ => Err(WRONG_NUMBER.into()),
        }
    }

    fn parse_words(self, words: &[Vec<u8>], context: Context<'_>) -> Result<Value, Reason> {
        match self {
            Kind::Bind => special::bind(words),
            Kind::Networks => special::networks(words),
            Kind::Save => special::save(words, context),
            Kind::OutputLimits => special::output_limits(words, context.old),
            Kind::Percentiles => special::percentiles(words),
            Kind::AclCategories => special::acl_categories(words),
            Kind::OomScores => special::oom_scores(words),
            Kind::ShutdownFlags => special::shutdown_flags(words),
            _ => special::replicaof(words),
        }
    }

    fn parse_one(self, arg: &[u8], context: Context<'_>) -> Result<Value, Reason> {
        match self {
            Kind::Bool if arg.eq_ignore_ascii_case(b"yes") => Ok(Value::Bool(true)),
            Kind::Bool if arg.eq_ignore_ascii_case(b"no") => Ok(Value::Bool(false)),
            Kind::Bool => Err("argument must be 'yes' or 'no'".into()),
            Kind::Int { min, max } => integer(arg, min, max),
            Kind::Hz => match integer(arg, 0, i64::from(i32::MAX))? {
                Value::Int(hz) => Ok(Value::Int(hz.clamp(HZ_MIN, HZ_MAX))),
                other => Ok(other),
            },
            Kind::Threads => integer(arg, 0, THREADS_MAX),
            Kind::Octal { max } => octal(arg, max),
            Kind::Memory { min, max } => memory(arg, min, max),
            Kind::SignedMemory { min, max } => match parse_i64(arg) {
                Some(number) if number < 0 => in_range(number.into(), min, max),
                _ => memory(arg, min, max),
            },
            Kind::MemoryOrPercent => memory_or_percent(arg),
            Kind::Word(words) => word(arg, words),
            Kind::LogFormat if arg.eq_ignore_ascii_case(b"plain") => Ok(Value::Word("legacy")),
            Kind::LogFormat => word(arg, &["legacy", "logfmt", "json"]),
            Kind::OomScoreAdj if arg.eq_ignore_ascii_case(b"relative") => Ok(Value::Word("yes")),
            Kind::OomScoreAdj => word(arg, &["no", "yes", "relative", "absolute"]),
            Kind::Text(check) => special::text(arg, check, context.name),
            Kind::Dir => special::dir(arg, context.cwd),
            Kind::EventFlags => special::event_flags(arg),
            Kind::Ignored | Kind::Include => Ok(Value::Text(Vec::new())),
            _ => Err(WRONG_NUMBER.into()),
        }
    }

    /// The value as CONFIG GET shows it.
    pub(super) fn render(self, value: &Value) -> Vec<u8> {
        match value {
            Value::Bool(true) => b"yes".to_vec(),
            Value::Bool(false) => b"no".to_vec(),
            Value::Int(number) => match self {
                Kind::Octal { .. } => format!("{number:o}").into_bytes(),
                Kind::MemoryOrPercent if *number < 0 => format!("{}%", -number).into_bytes(),
                _ => number.to_string().into_bytes(),
            },
            Value::Word(word) => word.as_bytes().to_vec(),
            // Valkey does not show it behind an A.
            Value::Text(text) if self == Kind::EventFlags && text.starts_with(b"A") => text
                .iter()
                .copied()
                .filter(|&letter| letter != b'n')
                .collect(),
            Value::Text(text) => text.clone(),
            Value::Words(words) => words.join(&b' '),
            Value::Lines(lines) => {
                let lines: Vec<_> = lines.iter().map(|words| words.join(&b' ')).collect();
                lines.join(&b'\n')
            }
            Value::Limits(limits) => special::render_limits(limits).into_bytes(),
        }
    }

    /// The arguments of the lines that set this value in a configuration file.
    pub(super) fn lines(self, value: &Value) -> Vec<Vec<Vec<u8>>> {
        match value {
            Value::Lines(lines) => lines.clone(),
            Value::Limits(limits) => special::limit_lines(limits),
            Value::Words(words) if words.is_empty() && self == Kind::ReplicaOf => {
                vec![vec![b"no".to_vec(), b"one".to_vec()]]
            }
            Value::Words(words) if words.is_empty() => vec![vec![Vec::new()]],
            Value::Words(words) => vec![words.clone()],
            Value::Text(text) => vec![vec![text.clone()]],
            _ => vec![vec![self.render(value)]],
        }
    }

    /// What the values look like, for `redis.conf.example`; none for free text.
    #[cfg(test)]
    pub(super) fn describe(self) -> Option<String> {
        match self {
            Kind::Bool => Some("yes or no".to_owned()),
            Kind::Int { min, max } => Some(match max {
                i64::MAX => format!("a number from {min}"),
                _ => format!("a number from {min} to {max}"),
            }),
            Kind::Threads => Some(format!("a number from 0 to {THREADS_MAX}")),
            Kind::Memory { .. } | Kind::SignedMemory { .. } => Some("a memory size".to_owned()),
            Kind::MemoryOrPercent => Some("a memory size or a percentage".to_owned()),
            Kind::Word(words) => Some(words.join(", ")),
            _ => None,
        }
    }
}

/// Said of a line with too few or too many arguments.
const WRONG_NUMBER: &str = "wrong number of arguments";
/// Bounds of the effective `hz`.
const HZ_MIN: i128 = 1;
const HZ_MAX: i128 = 500;
/// Most worker threads.
const THREADS_MAX: i64 = 1024;

fn in_range(number: i128, min: i128, max: i128) -> Result<Value, Reason> {
    match (min..=max).contains(&number) {
        true => Ok(Value::Int(number)),
        false => Err(format!("argument must be between {min} and {max} inclusive").into()),
    }
}

fn integer(arg: &[u8], min: i64, max: i64) -> Result<Value, Reason> {
    let number = parse_i64(arg).ok_or("argument couldn't be parsed into an integer")?;
    in_range(number.into(), min.into(), max.into())
}

fn octal(arg: &[u8], max: i64) -> Result<Value, Reason> {
    let text = std::str::from_utf8(arg).unwrap_or("x").trim_start();
    let bits = match text {
        "" => 0,
        _ => i64::from_str_radix(text, 8)
            .map_err(|_| "argument couldn't be parsed as an octal number")?,
    };
    match (0..=max).contains(&bits) {
        true => Ok(Value::Int(bits.into())),
        false => Err(format!("argument must be between 0 and {max:o} inclusive").into()),
    }
}

fn memory(arg: &[u8], min: i128, max: i128) -> Result<Value, Reason> {
    let bytes = parse_memory(arg).ok_or("argument must be a memory value")?;
    in_range(bytes.into(), min, max)
}

fn memory_or_percent(arg: &[u8]) -> Result<Value, Reason> {
    const WRONG: &str = "argument must be a memory or percent value";
    if let Some(number) = arg.strip_suffix(b"%") {
        let percent = parse_i64(number)
            .filter(|percent| *percent >= 0)
            .ok_or(WRONG)?;
        return match percent {
            0..=100 => Ok(Value::Int(-i128::from(percent))),
            _ => Err("percentage argument must be less or equal to 100".into()),
        };
    }
    let bytes = parse_memory(arg).ok_or(WRONG)?;
    in_range(bytes.into(), 0, u64::MAX.into())
}

/// The one of `words` that `arg` is, any case.
pub(super) fn word(arg: &[u8], words: &[&'static str]) -> Result<Value, Reason> {
    match words
        .iter()
        .find(|word| arg.eq_ignore_ascii_case(word.as_bytes()))
    {
        Some(word) => Ok(Value::Word(word)),
        None => Err(not_one_of(words)),
    }
}

/// Says which words there are.
pub(super) fn not_one_of(words: &[&str]) -> Reason {
    format!(
        "argument(s) must be one of the following: {}",
        words.join(", ")
    )
    .into()
}

/// One address of `bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAddress {
    /// A host name or address without the `-`; `*` is every IPv4 address, `::*` every IPv6 one.
    pub address: String,
    /// Written with a leading `-`: an address that is not there is no error.
    pub optional: bool,
}

impl BindAddress {
    /// The address, and whether it is optional.
    pub fn parts(&self) -> (&str, bool) {
        (&self.address, self.optional)
    }
}

/// A pair of `save`: a snapshot is written when both have been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last snapshot.
    pub secs: u64,
    /// Changes since then.
    pub changes: u64,
}

/// How a shutdown goes about it: options of SHUTDOWN, `shutdown-on-sigint`, `shutdown-on-sigterm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShutdownFlags {
    /// Save even when there are no save points.
    pub save: bool,
    /// Do not save.
    pub nosave: bool,
    /// Stop even when saving fails.
    pub force: bool,
}

/// Limits of one client class; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Close at once above this many bytes.
    pub hard_bytes: u64,
    /// Close when above this many bytes for `soft_secs`.
    pub soft_bytes: u64,
    /// Seconds that a client may stay above the soft limit.
    pub soft_secs: u64,
}

/// `client-output-buffer-limit`: one limit per client class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with subscriptions.
    pub pubsub: OutputLimit,
}

/// `notify-keyspace-events`: which events are published, and on which channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotifyFlags {
    /// `K`: on `__keyspace@<db>__:<key>`.
    pub keyspace: bool,
    /// `E`: on `__keyevent@<db>__:<event>`.
    pub keyevent: bool,
    /// Their classes.
    pub classes: EventClass,
}

/// Conversion of a checked value into the type of a `Config` field. A value of another shape
/// cannot come from a row whose kind fits the field (a test builds every field); it becomes the
/// type's neutral value.
pub(super) trait FromValue {
    fn from_value(value: &Value) -> Self;
}

macro_rules! from_int {
    ($($ty:ty),*) => {$(
        impl FromValue for $ty {
            fn from_value(value: &Value) -> Self {
                match value {
                    Value::Int(number) => <$ty>::try_from(*number).unwrap_or_default(),
                    _ => 0,
                }
            }
        }
    )*};
}
from_int!(u16, u32, u64, usize, i32, i64);

/// `maxmemory-clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryShare {
    /// So many bytes; 0 for no limit.
    Bytes(u64),
    /// So much of `maxmemory`.
    Percent(u64),
}

impl MemoryShare {
    /// In bytes, of this much; 0 for no limit.
    pub fn bytes_of(self, maxmemory_bytes: u64) -> u64 {
        match self {
            MemoryShare::Bytes(bytes) => bytes,
            MemoryShare::Percent(percent) => {
                let bytes = u128::from(maxmemory_bytes) * u128::from(percent) / 100;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

impl FromValue for MemoryShare {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Int(number) if *number < 0 => {
                MemoryShare::Percent(u64::try_from(-number).unwrap_or(0))
            }
            value => MemoryShare::Bytes(u64::from_value(value)),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Self {
        matches!(value, Value::Bool(true))
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Text(text) => text.clone(),
            _ => Vec::new(),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Self {
        String::from_utf8_lossy(&Vec::from_value(value)).into_owned()
    }
}

impl FromValue for Option<String> {
    fn from_value(value: &Value) -> Self {
        Some(String::from_value(value)).filter(|text| !text.is_empty())
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Self {
        OsString::from_vec(Vec::from_value(value)).into()
    }
}

impl FromValue for Option<PathBuf> {
    fn from_value(value: &Value) -> Self {
        Some(PathBuf::from_value(value)).filter(|path| !path.as_os_str().is_empty())
    }
}

fn words(value: &Value) -> &[Vec<u8>] {
    match value {
        Value::Words(words) => words,
        _ => &[],
    }
}

impl FromValue for Vec<BindAddress> {
    fn from_value(value: &Value) -> Self {
        let address = |word: &Vec<u8>| {
            let word = String::from_utf8_lossy(word);
            let (optional, address) = match word.strip_prefix('-') {
                Some(address) => (true, address),
                None => (false, &*word),
            };
            BindAddress {
                address: address.to_owned(),
                optional,
            }
        };
        words(value).iter().map(address).collect()
    }
}

impl FromValue for Vec<Network> {
    fn from_value(value: &Value) -> Self {
        let network = |word: &Vec<u8>| std::str::from_utf8(word).ok()?.parse().ok();
        words(value).iter().filter_map(network).collect()
    }
}

impl FromValue for Vec<SavePoint> {
    fn from_value(value: &Value) -> Self {
        let number = |word: &Vec<u8>| std::str::from_utf8(word).ok()?.parse().ok();
        let point = |pair: &[Vec<u8>]| {
            Some(SavePoint {
                secs: number(&pair[0])?,
                changes: number(&pair[1])?,
            })
        };
        words(value).chunks_exact(2).filter_map(point).collect()
    }
}

impl FromValue for ShutdownFlags {
    fn from_value(value: &Value) -> Self {
        let has = |name: &str| words(value).iter().any(|word| word == name.as_bytes());
        ShutdownFlags {
            save: has("save"),
            nosave: has("nosave"),
            force: has("force"),
        }
    }
}

impl FromValue for AclCategories {
    fn from_value(value: &Value) -> Self {
        let is_named = |(_, name): &&(AclCategories, &str)| {
            let mut words = words(value).iter();
            words.any(|word| word == name.as_bytes())
        };
        let named = AclCategories::NAMES.iter().filter(is_named);
        named.fold(AclCategories::NONE, |all, (one, _)| all.and(*one))
    }
}

impl FromValue for [i64; 3] {
    fn from_value(value: &Value) -> Self {
        let number = |word: &Vec<u8>| std::str::from_utf8(word).ok()?.parse().ok();
        let mut numbers = words(value).iter().filter_map(number);
        std::array::from_fn(|_| numbers.next().unwrap_or(0))
    }
}

impl FromValue for Vec<f64> {
    fn from_value(value: &Value) -> Self {
        let number = |word: &Vec<u8>| std::str::from_utf8(word).ok()?.parse().ok();
        words(value).iter().filter_map(number).collect()
    }
}

impl FromValue for Vec<(Vec<u8>, Vec<u8>)> {
    fn from_value(value: &Value) -> Self {
        let Value::Lines(lines) = value else {
            return Vec::new();
        };
        let pair = |line: &Vec<Vec<u8>>| match line.as_slice() {
            [old, new] => Some((old.clone(), new.clone())),
            _ => None,
        };
        lines.iter().filter_map(pair).collect()
    }
}

impl FromValue for Vec<Vec<Vec<u8>>> {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Lines(lines) => lines.clone(),
            _ => Vec::new(),
        }
    }
}

impl FromValue for NotifyFlags {
    fn from_value(value: &Value) -> Self {
        let mut flags = NotifyFlags::default();
        for letter in Vec::from_value(value) {
            match letter {
                b'K' => flags.keyspace = true,
                b'E' => flags.keyevent = true,
                letter => flags.classes.0 |= EventClass::of_letter(letter).0,
            }
        }
        flags
    }
}

impl FromValue for OutputLimits {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Limits(limits) => *limits,
            _ => OutputLimits::default(),
        }
    }
}
