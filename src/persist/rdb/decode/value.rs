//! The values of keys: strings, lists, sets and sorted sets of every type that RDB has had; hashes
//! are in `hash`, streams in `stream`.
//!
//! A value becomes what this server would hold, as Redis decides when it loads one: the compact types
//! are kept as they are if they do not have too many elements for the directives (their lengths are
//! not looked at), the others grow while they are read. Everything is checked before it is used.
//!
//! To add a type: an arm in [`Values::read`], and its name in [`type_name`].

use std::sync::Arc;

use super::old;
use super::reader::{Reader, Text};
use super::{FaultKind, LoadOptions, Result};
use crate::ds::collection::Collection;
use crate::ds::entry::{Entry, Meta, NewValue};
use crate::ds::intset::{self, Intset};
use crate::ds::listpack::{self, Listpack, Value};
use crate::ds::quicklist::{Fill, Quicklist};
use crate::ds::zset::Builder;
use crate::persist::rdb::format::{Line, kind, node};
use crate::util::num;
use crate::value::list::End;
use crate::value::set::NewSet;
use crate::value::unique::are_unique;
use crate::value::zset::{self, NewZset};
use crate::value::{Encoding, Type, string};

/// What is known of a key besides its value.
pub(super) struct Head<'a> {
    pub(super) key: &'a [u8],
    pub(super) expire_at_ms: Option<u64>,
    pub(super) lru: u32,
}

impl Head<'_> {
    pub(super) fn entry(&self, type_: Type, enc: Encoding, value: NewValue<'_>) -> Loaded {
        let meta = Meta {
            type_: type_ as u8,
            enc: enc as u8,
            lru: self.lru,
        };
        Loaded::Entry(Entry::new(self.key, meta, value, self.expire_at_ms))
    }

    /// The encoding of a string: it is written before its key gets an expiry.
    #[inline]
    fn string_encoding(&self, len: usize) -> Encoding {
        let enc = string::encoding(self.key.len(), len, false);
        match self.expire_at_ms {
            Some(_) if enc == Encoding::Embstr => string::encoding_with_expire(self.key.len(), len),
            _ => enc,
        }
    }
}

/// What a key's value turned out to be.
pub(super) enum Loaded {
    Entry(Entry),
    /// A collection without elements, which no key holds.
    Empty,
    /// A hash whose fields have all expired.
    Expired,
}

/// Reads values.
pub(super) struct Values<'o> {
    pub(super) options: &'o LoadOptions,
    pub(super) line: Line,
}

impl Values<'_> {
    /// The value of a key, of the type `kind`.
    pub(super) fn read(
        &self,
        reader: &mut Reader<'_>,
        type_: u8,
        head: &Head<'_>,
    ) -> Result<Loaded> {
        match type_ {
            kind::STRING => string(reader, head),
            kind::LIST => self.list(reader, head),
            kind::SET => self.set(reader, head),
            kind::ZSET | kind::ZSET_2 => self.zset(reader, head, type_ == kind::ZSET_2),
            kind::HASH => self.hash(reader, head),
            kind::LIST_QUICKLIST => self.quicklist(reader, head, false),
            kind::LIST_QUICKLIST_2 => self.quicklist(reader, head, true),
            kind::LIST_ZIPLIST
            | kind::SET_INTSET
            | kind::SET_LISTPACK
            | kind::ZSET_ZIPLIST
            | kind::ZSET_LISTPACK
            | kind::HASH_ZIPMAP
            | kind::HASH_ZIPLIST
            | kind::HASH_LISTPACK => {
                let text = reader.string()?;
                let found = self.compact(type_, &text, head);
                found.map_err(|reason| reader.corrupt(reason))
            }
            kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
                self.stream(reader, type_, head)
            }
            kind::MODULE_PRE_GA => Err(reader.corrupt("Pre-release module format not supported")),
            kind::MODULE_2 => Err(module(reader)?),
            _ => self.of_one_line(reader, type_, head),
        }
    }

    /// Types whose numbers mean different things to Redis and to Valkey.
    fn of_one_line(&self, reader: &mut Reader<'_>, type_: u8, head: &Head<'_>) -> Result<Loaded> {
        match (self.line, type_) {
            (Line::Valkey, kind::VALKEY_HASH_2) => self.hash_2(reader, head),
            (Line::Redis, kind::REDIS_HASH_METADATA_PRE_GA) => {
                self.hash_metadata(reader, head, false)
            }
            (Line::Redis, kind::REDIS_HASH_METADATA) => self.hash_metadata(reader, head, true),
            (Line::Redis, kind::REDIS_HASH_LISTPACK_EX_PRE_GA) => {
                self.hash_listpack_ex(reader, head)
            }
            (Line::Redis, kind::REDIS_HASH_LISTPACK_EX) => {
                // When the first of its fields expires, which they say themselves.
                reader.milliseconds()?;
                self.hash_listpack_ex(reader, head)
            }
            _ => Err(reader.corrupt(format!("Unknown RDB encoding type {type_}"))),
        }
    }

    /// A value that is one string: its elements lie in it.
    fn compact(
        &self,
        type_: u8,
        text: &Text<'_>,
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        let mut digits = itoa::Buffer::new();
        let bytes = text.bytes(&mut digits);
        match type_ {
            kind::LIST_ZIPLIST => {
                let mut list = self.new_list();
                old::ziplist(bytes, |element| list.push(End::Tail, element))
                    .ok_or("List ziplist integrity check failed.")?;
                Ok(match list.is_empty() {
                    true => Loaded::Empty,
                    // Redis leaves it as it is, however short.
                    false => quicklist_entry(list, head),
                })
            }
            kind::SET_INTSET => self.intset(bytes, head),
            kind::SET_LISTPACK => self.set_listpack(bytes, head),
            kind::ZSET_ZIPLIST => {
                let list = old::listpack_of_ziplist(bytes)
                    .ok_or("Zset ziplist integrity check failed.")?;
                self.zset_listpack(&list, head)
            }
            kind::ZSET_LISTPACK => {
                checked_listpack(bytes).ok_or("Zset listpack integrity check failed.")?;
                self.zset_listpack(bytes, head)
            }
            kind::HASH_ZIPMAP => self.hash_zipmap(bytes, head),
            kind::HASH_ZIPLIST => {
                let list = old::listpack_of_ziplist(bytes)
                    .ok_or("Hash ziplist integrity check failed.")?;
                self.hash_listpack(&list, head)
            }
            _ => {
                checked_listpack(bytes).ok_or("Hash listpack integrity check failed.")?;
                self.hash_listpack(bytes, head)
            }
        }
    }

    fn new_list(&self) -> Quicklist {
        let limits = &self.options.limits;
        let empty = Listpack::new(&listpack::EMPTY);
        let fill = Fill::new(limits.list_max_listpack_size);
        Quicklist::from_listpack(empty, fill, limits.list_compress_depth)
    }

    /// The list, as a listpack if one node holds it all.
    fn list_entry(&self, list: Quicklist, head: &Head<'_>) -> Loaded {
        let fill = Fill::new(self.options.limits.list_max_listpack_size);
        match list.as_listpack(fill) {
            _ if list.is_empty() => Loaded::Empty,
            Some(bytes) => head.entry(Type::List, Encoding::Listpack, NewValue::Bytes(&bytes)),
            None => quicklist_entry(list, head),
        }
    }

    fn list(&self, reader: &mut Reader<'_>, head: &Head<'_>) -> Result<Loaded> {
        let len = reader.length()?;
        let mut list = self.new_list();
        for _ in 0..len {
            list.push(End::Tail, reader.string()?.value());
        }
        Ok(self.list_entry(list, head))
    }

    fn quicklist(&self, reader: &mut Reader<'_>, head: &Head<'_>, is_2: bool) -> Result<Loaded> {
        let nodes = reader.length()?;
        let mut list = self.new_list();
        for _ in 0..nodes {
            let container = if is_2 { reader.length()? } else { node::PACKED };
            let text = reader.string()?;
            let mut digits = itoa::Buffer::new();
            let bytes = text.bytes(&mut digits);
            let valid = match container {
                _ if bytes.is_empty() => Err("Quicklist integrity check failed."),
                node::PLAIN => {
                    list.push_plain(bytes);
                    Ok(())
                }
                node::PACKED if is_2 => match checked_listpack(bytes) {
                    Some(node) => {
                        list.push_listpack(node);
                        Ok(())
                    }
                    None => Err("Listpack integrity check failed."),
                },
                node::PACKED => match old::listpack_of_ziplist(bytes) {
                    Some(node) => {
                        list.push_listpack(Listpack::new(&node));
                        Ok(())
                    }
                    None => Err("Ziplist integrity check failed."),
                },
                _ => Err("Quicklist integrity check failed."),
            };
            valid.map_err(|reason| reader.corrupt(reason))?;
        }
        Ok(self.list_entry(list, head))
    }

    fn set(&self, reader: &mut Reader<'_>, head: &Head<'_>) -> Result<Loaded> {
        let limits = &self.options.limits;
        let len = reader.length()?;
        if len == 0 {
            return Ok(Loaded::Empty);
        }
        let enc = match len <= limits.set_max_intset_entries.min(intset::LEN_MAX as u64) {
            true => Encoding::Intset,
            false => Encoding::Hashtable,
        };
        let mut set = NewSet::new(enc, self.options.key_hash);
        let mut digits = itoa::Buffer::new();
        for _ in 0..len {
            let text = reader.string()?;
            if !set.add(text.bytes(&mut digits), limits) {
                return Err(reader.corrupt("Duplicate set members detected"));
            }
        }
        Ok(set_entry(set, head))
    }

    fn intset(&self, bytes: &[u8], head: &Head<'_>) -> std::result::Result<Loaded, &'static str> {
        if !intset::validate(bytes) {
            return Err("Intset integrity check failed.");
        }
        let set = Intset::new(bytes);
        if set.is_empty() {
            return Ok(Loaded::Empty);
        }
        if set.len() as u64 <= self.options.limits.set_max_intset_entries {
            return Ok(head.entry(Type::Set, Encoding::Intset, NewValue::Bytes(bytes)));
        }
        let mut table = NewSet::new(Encoding::Hashtable, self.options.key_hash);
        for member in set {
            table.push(Value::Int(member), &self.options.limits);
        }
        Ok(set_entry(table, head))
    }

    fn set_listpack(
        &self,
        bytes: &[u8],
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        let list = checked_listpack(bytes).ok_or("Set listpack integrity check failed.")?;
        if list.is_empty() {
            return Ok(Loaded::Empty);
        }
        let limits = &self.options.limits;
        let set = if list.len() as u64 > limits.set_max_listpack_entries {
            let mut set = NewSet::new(Encoding::Hashtable, self.options.key_hash);
            let mut digits = itoa::Buffer::new();
            let mut add = |member: Value<'_>| set.add(member.bytes(&mut digits), limits);
            list.iter().all(&mut add).then(|| set_entry(set, head))
        } else {
            let entry = || head.entry(Type::Set, Encoding::Listpack, NewValue::Bytes(bytes));
            are_unique(list.iter(), self.options.key_hash).then(entry)
        };
        set.ok_or("Duplicate set members detected")
    }

    fn zset(&self, reader: &mut Reader<'_>, head: &Head<'_>, is_2: bool) -> Result<Loaded> {
        let len = reader.length()?;
        if len == 0 {
            return Ok(Loaded::Empty);
        }
        let is_small = len <= self.options.limits.zset_max_listpack_entries;
        let mut members = Members::default();
        let mut large = Builder::new(self.options.key_hash);
        let mut member = Vec::new();
        for _ in 0..len {
            member.clear();
            reader.string_into(&mut member)?;
            let score = match is_2 {
                true => reader.double()?,
                false => reader.double_text()?,
            };
            if score.is_nan() {
                return Err(reader.corrupt("Zset with NAN score detected"));
            }
            if is_small {
                members.push(&member, score);
            } else if !put_once(&mut large, &member, score) {
                return Err(reader.corrupt("Duplicate zset fields detected"));
            }
        }
        if !is_small {
            return Ok(zset_entry(NewZset::Large(large.finish()), head));
        }
        let stored = self.sorted(members, head);
        stored.map_err(|reason| reader.corrupt(reason))
    }

    /// A sorted set of not too many members, in any order.
    fn sorted(
        &self,
        mut members: Members,
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        let (limits, key_hash) = (&self.options.limits, self.options.key_hash);
        members.sort();
        if !are_unique(members.iter().map(|(member, _)| member), key_hash) {
            return Err("Duplicate zset fields detected");
        }
        let (count, longest) = (members.spans.len(), members.longest);
        let set = NewZset::of(members.iter(), count, longest, limits, key_hash);
        Ok(zset_entry(set, head))
    }

    /// A valid listpack of members and scores, which may yet be wrong.
    fn zset_listpack(
        &self,
        bytes: &[u8],
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        let (limits, key_hash) = (&self.options.limits, self.options.key_hash);
        let list = Listpack::new(bytes);
        let (mut elements, mut digits) = (list.iter(), itoa::Buffer::new());
        let (mut members, mut is_sorted) = (0u64, true);
        let mut before = None;
        while let Some(member) = elements.next() {
            let score = elements
                .next()
                .ok_or("Zset listpack integrity check failed.")?;
            let score = score_of(score).ok_or("Zset listpack with invalid score detected")?;
            let this = (member, score);
            is_sorted &= before.is_none_or(|before| zset::compare(before, this).is_lt());
            before = Some(this);
            members += 1;
        }
        if members == 0 {
            return Ok(Loaded::Empty);
        }
        let pairs = || PairsOf(list.iter());
        if members > limits.zset_max_listpack_entries {
            let mut large = Builder::new(key_hash);
            for (member, score) in pairs() {
                if !put_once(&mut large, member.bytes(&mut digits), score) {
                    return Err("Duplicate zset fields detected");
                }
            }
            return Ok(zset_entry(NewZset::Large(large.finish()), head));
        }
        if !is_sorted {
            let mut unsorted = Members::default();
            pairs().for_each(|(member, score)| unsorted.push(member.bytes(&mut digits), score));
            return self.sorted(unsorted, head);
        }
        if !are_unique(list.iter().step_by(2), key_hash) {
            return Err("Duplicate zset fields detected");
        }
        Ok(zset_entry(NewZset::of_listpack(list), head))
    }
}

fn string(reader: &mut Reader<'_>, head: &Head<'_>) -> Result<Loaded> {
    let (enc, value) = match reader.string()? {
        Text::Int(int) => (Encoding::Int, NewValue::Int(int)),
        Text::Bytes(bytes) => match string::canonical_int(bytes) {
            Some(int) => (Encoding::Int, NewValue::Int(int)),
            None => (head.string_encoding(bytes.len()), NewValue::Bytes(bytes)),
        },
        Text::Owned(bytes) => {
            let enc = head.string_encoding(bytes.len());
            (enc, NewValue::Shared(Arc::new(bytes)))
        }
    };
    Ok(head.entry(Type::String, enc, value))
}

/// The fault of a value that belongs to a module; its name is in its number.
fn module(reader: &mut Reader<'_>) -> Result<Box<super::Fault>> {
    let id = reader.length()?;
    let message = format!(
        "The RDB file contains module data I can't load: no matching module type '{}'",
        module_name(id)
    );
    Ok(reader.fault(FaultKind::Unsupported, message))
}

/// The name of a module's type: nine letters of six bits each, above ten bits of version.
pub(super) fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |place: u32| {
        let index = id >> (64 - 6 * (place + 1)) & 63;
        char::from(LETTERS[index as usize])
    };
    (0..9).map(letter).collect()
}

/// The longest listpack that is read: writers go by the text in it, so it may be longer than
/// [`listpack::BYTES_MAX`] by what stands between. It does not grow further.
const LISTPACK_BYTES_MAX: usize = 2 * listpack::BYTES_MAX;

/// The bytes as a listpack if they are a valid one, not longer than one may be here.
pub(super) fn checked_listpack(bytes: &[u8]) -> Option<Listpack<'_>> {
    let valid = bytes.len() <= LISTPACK_BYTES_MAX && listpack::validate(bytes);
    valid.then(|| Listpack::new(bytes))
}

fn quicklist_entry(list: Quicklist, head: &Head<'_>) -> Loaded {
    let collection = Box::new(Collection::List(list));
    let value = NewValue::Collection(collection);
    head.entry(Type::List, Encoding::Quicklist, value)
}

fn set_entry(set: NewSet, head: &Head<'_>) -> Loaded {
    set.store(|enc, value| head.entry(Type::Set, enc, value))
}

fn zset_entry(set: NewZset, head: &Head<'_>) -> Loaded {
    set.store(|enc, value| head.entry(Type::Zset, enc, value))
}

/// Adds a member; false if it is there.
fn put_once(set: &mut Builder, member: &[u8], score: f64) -> bool {
    let mut is_new = true;
    set.put(member, |old| {
        is_new = old.is_none();
        score
    });
    is_new
}

/// The number that a score's text is; none is NaN.
pub(super) fn score_of_text(text: &[u8]) -> Option<f64> {
    num::parse_f64(text)
}

/// The score that an element of a listpack is.
fn score_of(element: Value<'_>) -> Option<f64> {
    match element {
        Value::Int(int) => Some(int as f64),
        Value::Bytes(text) => score_of_text(text),
    }
}

/// Members with their scores, of a listpack where both are valid.
struct PairsOf<'a>(listpack::Iter<'a>);

impl<'a> Iterator for PairsOf<'a> {
    type Item = (Value<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let (member, score) = (self.0.next()?, self.0.next()?);
        Some((member, score_of(score)?))
    }
}

/// Members of a sorted set that are to be put in order.
#[derive(Default)]
struct Members {
    text: Vec<u8>,
    /// Start and end of each one's text, and its score.
    spans: Vec<(usize, usize, f64)>,
    longest: usize,
}

impl Members {
    fn push(&mut self, member: &[u8], score: f64) {
        let start = self.text.len();
        self.text.extend_from_slice(member);
        self.spans.push((start, self.text.len(), score));
        self.longest = self.longest.max(member.len());
    }

    fn sort(&mut self) {
        let text = &self.text;
        let member =
            |&(start, end, score): &(usize, usize, f64)| (Value::Bytes(&text[start..end]), score);
        self.spans
            .sort_unstable_by(|a, b| zset::compare(member(a), member(b)));
    }

    fn iter(&self) -> impl Iterator<Item = (Value<'_>, f64)> {
        let member = |&(start, end, score): &(usize, usize, f64)| {
            (Value::from(&self.text[start..end]), score)
        };
        self.spans.iter().map(member)
    }
}

/// The name of a type, as valkey-check-rdb gives it.
pub fn type_name(line: Line, type_: u8) -> &'static str {
    match (type_, line) {
        (kind::STRING, _) => "string",
        (kind::LIST, _) => "list-linked",
        (kind::SET, _) => "set-hashtable",
        (kind::ZSET, _) => "zset-v1",
        (kind::HASH, _) => "hash-hashtable",
        (kind::ZSET_2, _) => "zset-v2",
        (kind::MODULE_PRE_GA, _) => "module-pre-release",
        (kind::MODULE_2, _) => "module-value",
        (kind::HASH_ZIPMAP, _) => "hash-zipmap",
        (kind::LIST_ZIPLIST, _) => "list-ziplist",
        (kind::SET_INTSET, _) => "set-intset",
        (kind::ZSET_ZIPLIST, _) => "zset-ziplist",
        (kind::HASH_ZIPLIST, _) => "hash-ziplist",
        (kind::LIST_QUICKLIST, _) => "quicklist",
        (kind::STREAM_LISTPACKS, _) => "stream",
        (kind::HASH_LISTPACK, _) => "hash-listpack",
        (kind::ZSET_LISTPACK, _) => "zset-listpack",
        (kind::LIST_QUICKLIST_2, _) => "quicklist-v2",
        (kind::STREAM_LISTPACKS_2, _) => "stream-v2",
        (kind::SET_LISTPACK, _) => "set-listpack",
        (kind::STREAM_LISTPACKS_3, _) => "stream-v3",
        (kind::VALKEY_HASH_2, Line::Valkey) => "hash-volatile-items",
        (kind::REDIS_HASH_METADATA_PRE_GA, Line::Redis) => "hash-hashtable-md-pre-release",
        (kind::REDIS_HASH_LISTPACK_EX_PRE_GA, Line::Redis) => "hash-listpack-md-pre-release",
        (kind::REDIS_HASH_METADATA, Line::Redis) => "hash-hashtable-md",
        (kind::REDIS_HASH_LISTPACK_EX, Line::Redis) => "hash-listpack-md",
        _ => "unknown",
    }
}
