//! What commands do if one comes after the other: the sequential Redis that histories are compared
//! with, over a few keys and the commands that [`generate`](super::generate) sends.
//!
//! To add a command: a row in [`COMMANDS`], a function, and a way for it to be generated.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::checker::Spec;
use crate::client::{Reply, show_command};

/// Command and arguments.
pub(crate) type Words = Vec<Vec<u8>>;

/// What was asked of the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A command.
    Command(Words),
    /// Commands between MULTI and EXEC.
    Transaction(Vec<Words>),
    /// The same behind WATCH of a key that held this text then (`None`: nothing).
    Guarded(Vec<u8>, Option<Vec<u8>>, Vec<Words>),
}

/// A request and its reply; `None` if that never came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) reply: Option<Reply>,
    /// Between which moments it was carried out, Unix ms: what the server took the time for.
    pub(crate) between_ms: (u64, u64),
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = |commands: &[Words]| -> String {
            let shown: Vec<String> = commands.iter().map(|words| show_command(words)).collect();
            shown.join("; ")
        };
        match &self.request {
            Request::Command(words) => write!(f, "{}", show_command(words))?,
            Request::Transaction(commands) => write!(f, "MULTI; {}; EXEC", all(commands))?,
            Request::Guarded(key, seen, commands) => {
                let seen = seen.as_deref().map(String::from_utf8_lossy);
                let key = String::from_utf8_lossy(key);
                write!(f, "WATCH {key} = {seen:?}; MULTI; {}; EXEC", all(commands))?;
            }
        }
        match &self.reply {
            Some(reply) => write!(f, " -> {reply:?}"),
            None => write!(f, " -> ?"),
        }
    }
}

/// A value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Hash(Fields),
    /// Members with their scores, which are integers here.
    Zset(BTreeMap<Vec<u8>, i64>),
}

/// The fields of a hash with their values.
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// A value and when it expires, Unix ms.
type Held = (Value, Option<u64>);

/// A few keys.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State(BTreeMap<Vec<u8>, Held>);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, (value, due)) in &self.0 {
            let text = |bytes: &Vec<u8>| bytes.escape_ascii().to_string();
            write!(f, "{} = ", text(key))?;
            match value {
                Value::Text(held) => write!(f, "{}", text(held))?,
                Value::List(list) => f.debug_list().entries(list.iter().map(text)).finish()?,
                Value::Set(set) => f.debug_set().entries(set.iter().map(text)).finish()?,
                Value::Hash(hash) => {
                    let pairs = hash.iter().map(|(field, held)| (text(field), text(held)));
                    f.debug_map().entries(pairs).finish()?;
                }
                Value::Zset(zset) => {
                    let pairs = zset.iter().map(|(member, score)| (text(member), score));
                    f.debug_map().entries(pairs).finish()?;
                }
            }
            match due {
                Some(at_ms) => write!(f, " until {at_ms}, ")?,
                None => write!(f, ", ")?,
            }
        }
        Ok(())
    }
}

/// Whether a reply is what was expected; what a script adds to an error does not count.
fn is_same(seen: &Reply, expected: &Reply) -> bool {
    match (seen, expected) {
        (Reply::Error(seen), Reply::Error(expected)) => {
            let rest = seen.strip_prefix(&expected[..]);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" script: "))
        }
        (Reply::Array(seen), Reply::Array(expected)) => {
            let mut pairs = seen.iter().zip(expected);
            seen.len() == expected.len() && pairs.all(|(seen, expected)| is_same(seen, expected))
        }
        _ => seen == expected,
    }
}

/// A sequential Redis.
pub(crate) struct Redis;

impl Spec for Redis {
    type Op = Call;
    type State = State;

    /// One for each moment at which it may have been carried out, as far as that makes a difference.
    fn steps(state: &State, call: &Call) -> Vec<State> {
        let moments = state.moments(call);
        moments
            .into_iter()
            .filter_map(|now_ms| step(state, call, now_ms))
            .collect()
    }

    fn only_reads(call: &Call) -> bool {
        match &call.request {
            Request::Command(words) => {
                // A script may have done something before it failed.
                let is_script = words[0][0].is_ascii_lowercase();
                let fails = matches!(call.reply, Some(Reply::Error(_)));
                (fails && !is_script) || READS.iter().any(|name| words[0] == name.as_bytes())
            }
            Request::Transaction(_) => false,
            Request::Guarded(..) => call.reply == Some(Reply::Nil),
        }
    }
}

/// Commands that only read.
const READS: &[&str] = &[
    "GET",
    "STRLEN",
    "MGET",
    "EXISTS",
    "TYPE",
    "LLEN",
    "LRANGE",
    "SCARD",
    "SISMEMBER",
    "HGET",
    "HLEN",
    "ZSCORE",
    "ZCARD",
];

/// The state behind a request that is carried out at this moment, unless it would have replied
/// something else.
fn step(state: &State, call: &Call, now_ms: u64) -> Option<State> {
    let mut next = state.clone();
    let fits = |reply: Reply| match &call.reply {
        Some(seen) => is_same(seen, &reply),
        None => true,
    };
    let all = |next: &mut State, commands: &[Words]| {
        Reply::Array(
            commands
                .iter()
                .map(|words| next.run(words, now_ms))
                .collect(),
        )
    };
    match &call.request {
        Request::Command(words) => fits(next.run(words, now_ms)).then_some(next),
        Request::Transaction(commands) => fits(all(&mut next, commands)).then_some(next),
        // A transaction that was not carried out has done nothing. Whether it had to be is asked
        // of those that were.
        Request::Guarded(..) if call.reply == Some(Reply::Nil) => Some(next),
        Request::Guarded(key, seen, commands) => {
            next.forget_due(key, now_ms);
            let text = match next.0.get(key) {
                Some((Value::Text(text), _)) => Some(text),
                _ => None,
            };
            match (text == seen.as_ref(), &call.reply) {
                (true, _) => fits(all(&mut next, commands)).then_some(next),
                // Its reply never came: it may have failed.
                (false, None) => Some(next),
                (false, Some(_)) => None,
            }
        }
    }
}

/// Why a command does nothing.
type Failed = &'static str;

const WRONG_TYPE: Failed = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_AN_INTEGER: Failed = "ERR value is not an integer or out of range";
const SAME_KEY: Failed = "ERR source and destination objects are the same";
const NO_SUCH_KEY: Failed = "ERR no such key";
const HASH_NOT_AN_INTEGER: Failed = "ERR hash value is not an integer";

type Run = fn(&mut State, &[Vec<u8>]) -> Result<Reply, Failed>;

/// The commands by name. Those in lower case are scripts, see [`on_the_wire`].
const COMMANDS: &[(&str, Run)] = &[
    ("GET", |state, args| {
        Ok(bulk(state.text(&args[0])?.cloned()))
    }),
    ("SET", set),
    ("SETNX", |state, args| {
        let is_new = !state.0.contains_key(&args[0]);
        if is_new {
            state.put(&args[0], Value::Text(args[1].clone()));
        }
        Ok(Reply::Int(is_new as i64))
    }),
    ("GETSET", |state, args| {
        let old = bulk(state.text(&args[0])?.cloned());
        state.put(&args[0], Value::Text(args[1].clone()));
        Ok(old)
    }),
    ("GETDEL", |state, args| {
        let old = bulk(state.text(&args[0])?.cloned());
        state.0.remove(&args[0]);
        Ok(old)
    }),
    ("INCR", |state, args| increment(state, &args[0], 1)),
    ("DECRBY", |state, args| {
        increment(state, &args[0], -number(&args[1]))
    }),
    ("APPEND", |state, args| {
        let mut text = state.text(&args[0])?.cloned().unwrap_or_default();
        text.extend_from_slice(&args[1]);
        let len = text.len() as i64;
        state.change(&args[0], Value::Text(text));
        Ok(Reply::Int(len))
    }),
    ("STRLEN", |state, args| {
        Ok(Reply::Int(state.text(&args[0])?.map_or(0, Vec::len) as i64))
    }),
    ("MGET", |state, args| {
        let texts = args
            .iter()
            .map(|key| bulk(state.text(key).ok().flatten().cloned()));
        Ok(Reply::Array(texts.collect()))
    }),
    ("MSET", |state, args| {
        for pair in args.chunks(2) {
            state.put(&pair[0], Value::Text(pair[1].clone()));
        }
        Ok(ok())
    }),
    ("MSETNX", |state, args| {
        let all_new = args.chunks(2).all(|pair| !state.0.contains_key(&pair[0]));
        for pair in args.chunks(2).filter(|_| all_new) {
            state.put(&pair[0], Value::Text(pair[1].clone()));
        }
        Ok(Reply::Int(all_new as i64))
    }),
    ("cas", |state, args| {
        let is_it = state.text(&args[0])? == Some(&args[1]);
        if is_it {
            state.put(&args[0], Value::Text(args[2].clone()));
        }
        Ok(Reply::Int(is_it as i64))
    }),
    ("DEL", |state, args| {
        let gone = args.iter().filter(|key| state.0.remove(*key).is_some());
        Ok(Reply::Int(gone.count() as i64))
    }),
    ("EXISTS", |state, args| {
        let there = args.iter().filter(|key| state.0.contains_key(*key));
        Ok(Reply::Int(there.count() as i64))
    }),
    ("RENAME", |state, args| {
        let held = state.0.remove(&args[0]).ok_or(NO_SUCH_KEY)?;
        state.0.insert(args[1].clone(), held);
        Ok(ok())
    }),
    ("RENAMENX", |state, args| {
        if !state.0.contains_key(&args[0]) {
            return Err(NO_SUCH_KEY);
        }
        let is_new = !state.0.contains_key(&args[1]);
        if is_new && let Some(held) = state.0.remove(&args[0]) {
            state.0.insert(args[1].clone(), held);
        }
        Ok(Reply::Int(is_new as i64))
    }),
    ("COPY", |state, args| {
        let replaces = args.len() > 2;
        if args[0] == args[1] {
            return Err(SAME_KEY);
        }
        let Some(held) = state.0.get(&args[0]).cloned() else {
            return Ok(Reply::Int(0));
        };
        if state.0.contains_key(&args[1]) && !replaces {
            return Ok(Reply::Int(0));
        }
        state.0.insert(args[1].clone(), held);
        Ok(Reply::Int(1))
    }),
    ("TYPE", |state, args| {
        let name: &[u8] = match state.0.get(&args[0]) {
            None => b"none",
            Some((Value::Text(_), _)) => b"string",
            Some((Value::List(_), _)) => b"list",
            Some((Value::Set(_), _)) => b"set",
            Some((Value::Hash(_), _)) => b"hash",
            Some((Value::Zset(_), _)) => b"zset",
        };
        Ok(Reply::Status(name.to_vec()))
    }),
    // What is due already goes with the next look at it.
    ("PEXPIREAT", |state, args| {
        let at_ms = number(&args[1]) as u64;
        let held = state.0.get_mut(&args[0]);
        Ok(Reply::Int(
            held.map(|held| held.1 = Some(at_ms)).is_some() as i64
        ))
    }),
    ("PERSIST", |state, args| {
        let due = state.0.get_mut(&args[0]).and_then(|held| held.1.take());
        Ok(Reply::Int(due.is_some() as i64))
    }),
    ("LPUSH", |state, args| push(state, args, true)),
    ("RPUSH", |state, args| push(state, args, false)),
    ("LPOP", |state, args| Ok(bulk(pop(state, &args[0], true)?))),
    ("RPOP", |state, args| Ok(bulk(pop(state, &args[0], false)?))),
    ("LLEN", |state, args| {
        Ok(Reply::Int(
            state.list(&args[0])?.map_or(0, VecDeque::len) as i64
        ))
    }),
    ("LRANGE", |state, args| {
        let list = state.list(&args[0])?.into_iter().flatten();
        Ok(Reply::Array(list.cloned().map(Reply::Bulk).collect()))
    }),
    ("LMOVE", |state, args| {
        let (from_left, to_left) = (args[2] == b"LEFT", args[3] == b"LEFT");
        state.list(&args[0])?;
        if state.0.contains_key(&args[0]) {
            state.list(&args[1])?;
        }
        let Some(element) = pop(state, &args[0], from_left)? else {
            return Ok(Reply::Nil);
        };
        push(state, &[args[1].clone(), element.clone()], to_left)?;
        Ok(Reply::Bulk(element))
    }),
    // One that waits is a LMOVE of the moment when it is served, or when it finds nothing.
    ("BLMOVE", |state, args| {
        State::call(state, "LMOVE", &args[..4])
    }),
    ("BLPOP", |state, args| {
        for key in &args[..args.len() - 1] {
            if let Some(element) = pop(state, key, true)? {
                return Ok(Reply::Array(vec![
                    Reply::Bulk(key.clone()),
                    Reply::Bulk(element),
                ]));
            }
        }
        Ok(Reply::Nil)
    }),
    // What a script has done before it fails is not taken back.
    ("take", |state, args| {
        let element = pop(state, &args[0], true)?;
        if let Some(element) = &element {
            push(state, &[args[1].clone(), element.clone()], false)?;
        }
        Ok(bulk(element))
    }),
    ("SADD", |state, args| {
        let mut set = state.set(&args[0])?.cloned().unwrap_or_default();
        let is_new = set.insert(args[1].clone());
        state.change(&args[0], Value::Set(set));
        Ok(Reply::Int(is_new as i64))
    }),
    ("SREM", |state, args| {
        let mut set = state.set(&args[0])?.cloned().unwrap_or_default();
        let was_there = set.remove(&args[1]);
        state.change(&args[0], Value::Set(set));
        Ok(Reply::Int(was_there as i64))
    }),
    ("SCARD", |state, args| {
        Ok(Reply::Int(
            state.set(&args[0])?.map_or(0, BTreeSet::len) as i64
        ))
    }),
    ("SISMEMBER", |state, args| {
        let set = state.set(&args[0])?;
        Ok(Reply::Int(
            set.is_some_and(|set| set.contains(&args[1])) as i64
        ))
    }),
    ("SMOVE", |state, args| {
        let Some(mut from) = state.set(&args[0])?.cloned() else {
            return Ok(Reply::Int(0));
        };
        let mut to = state.set(&args[1])?.cloned().unwrap_or_default();
        let moves = from.contains(&args[2]);
        if moves && args[0] != args[1] {
            from.remove(&args[2]);
            to.insert(args[2].clone());
            state.change(&args[0], Value::Set(from));
            state.change(&args[1], Value::Set(to));
        }
        Ok(Reply::Int(moves as i64))
    }),
    ("HSET", |state, args| {
        let mut hash = state.hash(&args[0])?.cloned().unwrap_or_default();
        let is_new = hash.insert(args[1].clone(), args[2].clone()).is_none();
        state.change(&args[0], Value::Hash(hash));
        Ok(Reply::Int(is_new as i64))
    }),
    ("HINCRBY", |state, args| {
        let mut hash = state.hash(&args[0])?.cloned().unwrap_or_default();
        let old = hash.get(&args[1]).map_or(Some(0), |text| integer(text));
        let new = old.ok_or(HASH_NOT_AN_INTEGER)? + number(&args[2]);
        hash.insert(args[1].clone(), new.to_string().into());
        state.change(&args[0], Value::Hash(hash));
        Ok(Reply::Int(new))
    }),
    ("HGET", |state, args| {
        let hash = state.hash(&args[0])?;
        Ok(bulk(hash.and_then(|hash| hash.get(&args[1])).cloned()))
    }),
    ("HDEL", |state, args| {
        let mut hash = state.hash(&args[0])?.cloned().unwrap_or_default();
        let was_there = hash.remove(&args[1]).is_some();
        state.change(&args[0], Value::Hash(hash));
        Ok(Reply::Int(was_there as i64))
    }),
    ("HLEN", |state, args| {
        Ok(Reply::Int(
            state.hash(&args[0])?.map_or(0, BTreeMap::len) as i64
        ))
    }),
    ("ZADD", |state, args| {
        let mut zset = state.zset(&args[0])?.cloned().unwrap_or_default();
        let is_new = zset.insert(args[2].clone(), number(&args[1])).is_none();
        state.change(&args[0], Value::Zset(zset));
        Ok(Reply::Int(is_new as i64))
    }),
    ("ZINCRBY", |state, args| {
        let mut zset = state.zset(&args[0])?.cloned().unwrap_or_default();
        let score = zset.entry(args[2].clone()).or_default();
        *score += number(&args[1]);
        let score = score.to_string().into();
        state.change(&args[0], Value::Zset(zset));
        Ok(Reply::Bulk(score))
    }),
    ("ZPOPMIN", |state, args| {
        let mut zset = state.zset(&args[0])?.cloned().unwrap_or_default();
        let least = zset
            .iter()
            .map(|(member, score)| (*score, member.clone()))
            .min();
        let Some((score, member)) = least else {
            return Ok(Reply::Array(Vec::new()));
        };
        zset.remove(&member);
        state.change(&args[0], Value::Zset(zset));
        Ok(Reply::Array(vec![
            Reply::Bulk(member),
            Reply::Bulk(score.to_string().into()),
        ]))
    }),
    ("ZSCORE", |state, args| {
        let score = state.zset(&args[0])?.and_then(|zset| zset.get(&args[1]));
        Ok(bulk(score.map(|score| score.to_string().into())))
    }),
    ("ZCARD", |state, args| {
        Ok(Reply::Int(
            state.zset(&args[0])?.map_or(0, BTreeMap::len) as i64
        ))
    }),
];

/// A request as it is sent: what has no command is a script.
pub(crate) fn on_the_wire(words: &[Vec<u8>]) -> Words {
    const CAS: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
        redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0";
    const TAKE: &str = "local element = redis.call('LPOP', KEYS[1]) \
        if element then redis.call('RPUSH', KEYS[2], element) end return element";
    let (script, keys) = match &words[0][..] {
        b"cas" => (CAS, "1"),
        b"take" => (TAKE, "2"),
        _ => return words.to_vec(),
    };
    let head = ["EVAL", script, keys].map(|word| word.as_bytes().to_vec());
    head.into_iter().chain(words[1..].iter().cloned()).collect()
}

impl State {
    /// Moments between which nothing becomes due that a request may look at.
    fn moments(&self, call: &Call) -> Vec<u64> {
        let (from_ms, to_ms) = call.between_ms;
        let commands: &[Words] = match &call.request {
            Request::Command(words) => std::slice::from_ref(words),
            Request::Transaction(commands) | Request::Guarded(_, _, commands) => commands,
        };
        let set = commands.iter().filter(|words| words[0] == b"PEXPIREAT");
        let set = set.map(|words| number(&words[2]) as u64);
        let held = self.0.values().filter_map(|(_, due)| *due);
        let between = held
            .chain(set)
            .filter(|at_ms| (from_ms + 1..=to_ms).contains(at_ms));
        let mut moments: Vec<u64> = between.chain([from_ms]).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    fn forget_due(&mut self, key: &[u8], now_ms: u64) {
        let held = self.0.get(key);
        if held.is_some_and(|(_, due)| due.is_some_and(|at_ms| at_ms <= now_ms)) {
            self.0.remove(key);
        }
    }

    fn run(&mut self, words: &[Vec<u8>], now_ms: u64) -> Reply {
        let name = std::str::from_utf8(&words[0]).expect("a name");
        // No other words are names of keys.
        words.iter().for_each(|word| self.forget_due(word, now_ms));
        let reply = self.call(name, &words[1..]);
        words.iter().for_each(|word| self.forget_due(word, now_ms));
        reply.unwrap_or_else(|error| Reply::Error(error.into()))
    }

    fn call(&mut self, name: &str, args: &[Vec<u8>]) -> Result<Reply, Failed> {
        let row = COMMANDS.iter().find(|(known, _)| *known == name);
        row.unwrap_or_else(|| panic!("{name} has no row")).1(self, args)
    }

    fn text(&self, key: &[u8]) -> Result<Option<&Vec<u8>>, Failed> {
        match self.0.get(key) {
            None => Ok(None),
            Some((Value::Text(text), _)) => Ok(Some(text)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn list(&self, key: &[u8]) -> Result<Option<&VecDeque<Vec<u8>>>, Failed> {
        match self.0.get(key) {
            None => Ok(None),
            Some((Value::List(list), _)) => Ok(Some(list)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn set(&self, key: &[u8]) -> Result<Option<&BTreeSet<Vec<u8>>>, Failed> {
        match self.0.get(key) {
            None => Ok(None),
            Some((Value::Set(set), _)) => Ok(Some(set)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn hash(&self, key: &[u8]) -> Result<Option<&Fields>, Failed> {
        match self.0.get(key) {
            None => Ok(None),
            Some((Value::Hash(hash), _)) => Ok(Some(hash)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn zset(&self, key: &[u8]) -> Result<Option<&BTreeMap<Vec<u8>, i64>>, Failed> {
        match self.0.get(key) {
            None => Ok(None),
            Some((Value::Zset(zset), _)) => Ok(Some(zset)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    /// A new value without an expiry.
    fn put(&mut self, key: &[u8], value: Value) {
        self.0.insert(key.to_vec(), (value, None));
    }

    /// Another state of a value, which keeps its expiry; one without elements goes.
    fn change(&mut self, key: &[u8], value: Value) {
        let is_empty = match &value {
            Value::Text(_) => false,
            Value::List(list) => list.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Zset(zset) => zset.is_empty(),
        };
        let due = self.0.remove(key).and_then(|(_, due)| due);
        if !is_empty {
            self.0.insert(key.to_vec(), (value, due));
        }
    }
}

fn set(state: &mut State, args: &[Vec<u8>]) -> Result<Reply, Failed> {
    let may = match args.get(2).map(|option| &option[..]) {
        Some(b"NX") => !state.0.contains_key(&args[0]),
        Some(b"XX") => state.0.contains_key(&args[0]),
        _ => true,
    };
    if !may {
        return Ok(Reply::Nil);
    }
    state.put(&args[0], Value::Text(args[1].clone()));
    Ok(ok())
}

fn increment(state: &mut State, key: &[u8], by: i64) -> Result<Reply, Failed> {
    let old = state.text(key)?.map_or(Some(0), |text| integer(text));
    let new = old.ok_or(NOT_AN_INTEGER)? + by;
    state.change(key, Value::Text(new.to_string().into()));
    Ok(Reply::Int(new))
}

fn push(state: &mut State, args: &[Vec<u8>], at_left: bool) -> Result<Reply, Failed> {
    let mut list = state.list(&args[0])?.cloned().unwrap_or_default();
    for element in &args[1..] {
        match at_left {
            true => list.push_front(element.clone()),
            false => list.push_back(element.clone()),
        }
    }
    let len = list.len() as i64;
    state.change(&args[0], Value::List(list));
    Ok(Reply::Int(len))
}

fn pop(state: &mut State, key: &[u8], at_left: bool) -> Result<Option<Vec<u8>>, Failed> {
    let Some(mut list) = state.list(key)?.cloned() else {
        return Ok(None);
    };
    let element = match at_left {
        true => list.pop_front(),
        false => list.pop_back(),
    };
    state.change(key, Value::List(list));
    Ok(element)
}

fn ok() -> Reply {
    Reply::Status(b"OK".to_vec())
}

fn bulk(text: Option<Vec<u8>>) -> Reply {
    text.map_or(Reply::Nil, Reply::Bulk)
}

/// An integer as Redis writes it.
fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A number that the generator has written.
fn number(text: &[u8]) -> i64 {
    integer(text).expect("a number")
}
