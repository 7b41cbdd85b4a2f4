//! A snapshot as commands: the base of a log when `aof-use-rdb-preamble` is off.
//!
//! Each key becomes the commands that make it, as Redis writes them: SET; RPUSH, SADD, HMSET and ZADD
//! of at most `ELEMENTS_MAX` elements, fewer when they are long; HSETEX for fields that expire; PEXPIREAT. Elements are
//! gathered until there are that many, or the key ends. For streams see `stream`. Libraries of
//! functions come first.
//!
//! To add a type: an arm in `entry` and one in `element`.

use std::ops::ControlFlow;

use crate::db::DbIndex;
use crate::db::snapshot::Cut;
use crate::ds::collection::{Element, for_each_element};
use crate::ds::entry::{EntryRef, ValueRef};
use crate::ds::listpack::{Listpack, Value};
use crate::ds::quicklist::End;
use crate::persist::rdb::encode::{LargeHead, LargeKind};
use crate::persist::snapshot::{Checksum, Format, Libraries};
use crate::resp::request::{argc, bulk, request};
use crate::util::num;
use crate::value::hash::{self, HashRef};
use crate::value::list::ListRef;
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Type, string};

mod stream;

/// Elements per command.
const ELEMENTS_MAX: usize = 64;
/// A command with more is long enough: one of 4 GiB would be none.
const GATHERED_BYTES_MAX: usize = 8 << 20;

/// See the module's text.
pub struct Commands<'a> {
    /// When the log was rewritten, for `aof-timestamp-enabled`, Unix seconds.
    timestamp_secs: Option<u64>,
    libraries: Libraries<'a>,
    /// Arguments of the command that is being gathered, encoded, and elements in it.
    gathered: Vec<u8>,
    args: usize,
    elements: usize,
    /// The group that consumers are of, and the consumer with whom entries are pending.
    group: Vec<u8>,
    consumer: Vec<u8>,
}

fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    request(out, args.len(), args.iter().copied());
}

impl<'a> Commands<'a> {
    /// A snapshot with these libraries, and the time if it is to be told.
    pub fn new(libraries: Libraries<'a>, timestamp_secs: Option<u64>) -> Commands<'a> {
        Commands {
            timestamp_secs,
            libraries,
            gathered: Vec::new(),
            args: 0,
            elements: 0,
            group: Vec::new(),
            consumer: Vec::new(),
        }
    }

    fn arg(&mut self, text: &[u8]) {
        bulk(&mut self.gathered, text);
        self.args += 1;
    }

    fn value(&mut self, value: Value<'_>) {
        self.arg(value.bytes(&mut itoa::Buffer::new()));
    }

    fn score(&mut self, score: f64) {
        let mut text = Vec::new();
        num::fmt_double_17(score, &mut text);
        self.arg(&text);
    }

    /// An element has been gathered whole.
    fn gathered(&mut self, out: &mut Vec<u8>, key: &[u8], kind: LargeKind) {
        self.elements += 1;
        let is_long = self.gathered.len() > GATHERED_BYTES_MAX;
        if self.elements == ELEMENTS_MAX || is_long {
            self.send(out, key, kind);
        }
    }

    /// Writes the command that was gathered, if there is anything in it.
    fn send(&mut self, out: &mut Vec<u8>, key: &[u8], kind: LargeKind) {
        if self.args == 0 {
            return;
        }
        let name: &[u8] = match kind {
            LargeKind::List => b"RPUSH",
            LargeKind::Set => b"SADD",
            LargeKind::Hash { .. } => b"HMSET",
            LargeKind::Zset => b"ZADD",
            // Its commands are never gathered.
            LargeKind::Stream { .. } => return,
        };
        argc(out, self.args + 2);
        bulk(out, name);
        bulk(out, key);
        out.append(&mut self.gathered);
        (self.args, self.elements) = (0, 0);
    }

    fn element(&mut self, out: &mut Vec<u8>, key: &[u8], kind: LargeKind, element: Element<'_>) {
        match element {
            Element::Member(text) | Element::Plain(text) => self.arg(text),
            Element::Scored(member, score) => {
                self.score(score);
                self.arg(member);
            }
            Element::Field(field, value, None) => {
                self.arg(field);
                self.arg(&hash::text(value));
            }
            Element::Field(field, value, Some(at_ms)) => {
                let at_ms = at_ms.to_string();
                let value = hash::text(value);
                let head: [&[u8]; 6] = [b"HSETEX", key, b"PXAT", at_ms.as_bytes(), b"FIELDS", b"1"];
                argc(out, 8);
                head.iter().for_each(|text| bulk(out, text));
                bulk(out, field);
                bulk(out, &value);
                return;
            }
            Element::Listpack(bytes) => {
                for value in Listpack::new(bytes).iter() {
                    self.value(value);
                    self.gathered(out, key, kind);
                }
                return;
            }
            Element::Node(node) => return stream::node(out, key, &node),
            Element::Figures(figures) => return stream::figures(out, key, &figures),
            Element::Group(group) => {
                self.group.clear();
                self.group.extend_from_slice(group.name);
                return stream::group(out, key, &group);
            }
            // They are written with their consumers.
            Element::Pending(..) | Element::Consumers(_) => return,
            Element::Consumer(consumer) => {
                self.consumer.clear();
                self.consumer.extend_from_slice(consumer.name);
                return stream::consumer(out, key, &self.group, &consumer);
            }
            Element::PendingWith(some) => {
                return stream::pending_with(out, key, (&self.group, &self.consumer), some);
            }
        }
        self.gathered(out, key, kind);
    }

    fn expire(out: &mut Vec<u8>, key: &[u8], expire_at_ms: Option<u64>) {
        if let Some(at_ms) = expire_at_ms {
            command(out, &[b"PEXPIREAT", key, at_ms.to_string().as_bytes()]);
        }
    }

    fn collection(&mut self, out: &mut Vec<u8>, entry: EntryRef<'_>, kind: LargeKind) {
        let (key, value) = (entry.key(), entry.value());
        if let ValueRef::Collection(large) = value {
            for_each_element(large, &mut |element| self.element(out, key, kind, element));
            return self.send(out, key, kind);
        }
        match kind {
            LargeKind::List => {
                ListRef::new(value).walk(0, End::Tail, |value| {
                    self.value(value);
                    self.gathered(out, key, kind);
                    ControlFlow::<()>::Continue(())
                });
            }
            LargeKind::Set => {
                for member in SetRef::of(entry) {
                    self.value(member);
                    self.gathered(out, key, kind);
                }
            }
            LargeKind::Hash { .. } => {
                // A short hash has no fields that expire.
                for (field, value) in HashRef::new(value, 0).iter() {
                    self.arg(&hash::text(field));
                    self.arg(&hash::text(value));
                    self.gathered(out, key, kind);
                }
            }
            LargeKind::Zset => {
                for (member, score) in ZsetRef::of(entry).iter() {
                    self.score(score);
                    self.value(member);
                    self.gathered(out, key, kind);
                }
            }
            LargeKind::Stream { .. } => {}
        }
        self.send(out, key, kind);
    }
}

impl Format for Commands<'_> {
    fn at_cut(&mut self) {
        self.libraries.at_cut();
    }

    fn header(&mut self, out: &mut Vec<u8>, _: &Cut) {
        if let Some(secs) = self.timestamp_secs {
            out.extend_from_slice(format!("#TS:{secs}\r\n").as_bytes());
        }
        for source in self.libraries.sources() {
            command(out, &[b"FUNCTION", b"LOAD", source]);
        }
    }

    fn select(&mut self, out: &mut Vec<u8>, db: DbIndex, _: Option<(u64, u64)>) {
        command(out, &[b"SELECT", db.0.to_string().as_bytes()]);
    }

    fn entry(&mut self, out: &mut Vec<u8>, entry: EntryRef<'_>) {
        let key = entry.key();
        match Type::from_nibble(entry.type_()) {
            Type::String => {
                let mut digits = itoa::Buffer::new();
                let text = string::bytes(entry.value(), &mut digits);
                command(out, &[b"SET", key, text]);
            }
            Type::List => self.collection(out, entry, LargeKind::List),
            Type::Set => self.collection(out, entry, LargeKind::Set),
            Type::Zset => self.collection(out, entry, LargeKind::Zset),
            Type::Stream => {
                let has_consumers = true;
                self.collection(out, entry, LargeKind::Stream { has_consumers });
            }
            Type::Hash => {
                let fields_expire = false;
                self.collection(out, entry, LargeKind::Hash { fields_expire });
            }
        }
        Self::expire(out, key, entry.expire_at_ms());
    }

    fn large_head(&mut self, _: &mut Vec<u8>, _: &LargeHead<'_>) {}

    fn large_element(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>, element: Element<'_>) {
        self.element(out, head.key, head.kind, element);
    }

    fn large_end(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>) {
        self.send(out, head.key, head.kind);
        Self::expire(out, head.key, head.expire_at_ms);
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Option<Checksum> {
        None
    }
}
