//! What others are told of a command's writes: events of keys (keyspace notifications), and keys
//! whose cached copies are no longer good (client-side caching).
//!
//! It is recorded where it happens ([`Access`](super::Access), [`KeyMut`](super::KeyMut), the expiry
//! cycle) and handed over in one place, `Keyspace::tell`, while the shards are still held: so the
//! order in which events of a key are told is the order in which they happened. Who is told stands
//! behind the [`Observer`] that the server installs; this layer knows no clients.
//!
//! Nothing is recorded, and no key copied, unless somebody is interested: what all commands read is
//! one word, [`Interest`]. Who tracks or watches single keys is known per shard (`db::listen`).
//!
//! To add a class of events: its bit in [`EventClass`], its letter in the directive's kind.

use std::sync::atomic::{AtomicU32, Ordering};

use super::keyspace::{DbIndex, Keyspace};
use super::listen::Trackers;

/// Classes of events, as `notify-keyspace-events` chooses them; a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventClass(pub u32);

impl EventClass {
    /// `g`: DEL, EXPIRE, RENAME, ...
    pub const GENERIC: EventClass = EventClass(1 << 0);
    /// `$`
    pub const STRING: EventClass = EventClass(1 << 1);
    /// `l`
    pub const LIST: EventClass = EventClass(1 << 2);
    /// `s`
    pub const SET: EventClass = EventClass(1 << 3);
    /// `h`
    pub const HASH: EventClass = EventClass(1 << 4);
    /// `z`
    pub const ZSET: EventClass = EventClass(1 << 5);
    /// `x`: a key (or fields of a hash) expired.
    pub const EXPIRED: EventClass = EventClass(1 << 6);
    /// `e`: a key was evicted.
    pub const EVICTED: EventClass = EventClass(1 << 7);
    /// `t`
    pub const STREAM: EventClass = EventClass(1 << 8);
    /// `m`: a read found no key. Not part of `A`.
    pub const KEY_MISS: EventClass = EventClass(1 << 9);
    /// `d`
    pub const MODULE: EventClass = EventClass(1 << 10);
    /// `n`: a key was created. Not part of `A`.
    pub const NEW: EventClass = EventClass(1 << 11);
}

impl EventClass {
    /// The class(es) of a letter of `notify-keyspace-events`; `A` is all but `m` and `n`.
    pub fn of_letter(letter: u8) -> EventClass {
        match letter {
            b'g' => EventClass::GENERIC,
            b'$' => EventClass::STRING,
            b'l' => EventClass::LIST,
            b's' => EventClass::SET,
            b'h' => EventClass::HASH,
            b'z' => EventClass::ZSET,
            b'x' => EventClass::EXPIRED,
            b'e' => EventClass::EVICTED,
            b't' => EventClass::STREAM,
            b'm' => EventClass::KEY_MISS,
            b'd' => EventClass::MODULE,
            b'n' => EventClass::NEW,
            b'A' => {
                let letters = b"g$lshzxetd".iter();
                let bits = letters.map(|&letter| EventClass::of_letter(letter).0);
                EventClass(bits.fold(0, |all, bit| all | bit))
            }
            _ => EventClass(0),
        }
    }
}

/// Somebody caches by prefixes (CLIENT TRACKING BCAST): every changed key is told.
const PREFIXES: u32 = 1 << 31;
/// Somebody looks at all commands (MONITOR).
const MONITORED: u32 = 1 << 30;

/// What anybody wants to know of every key: read before each command.
#[derive(Default, Debug)]
pub struct Interest(AtomicU32);

impl Interest {
    /// The bits, for [`Notices`].
    #[inline]
    pub(super) fn load(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Chooses the classes of events that are told (`notify-keyspace-events`); none when neither
    /// of its channels is wanted.
    pub fn set_events(&self, classes: EventClass) {
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |bits| {
                Some(bits & (PREFIXES | MONITORED) | classes.0)
            });
    }

    /// Whether every changed key is told.
    pub fn set_prefixes(&self, wanted: bool) {
        self.set(PREFIXES, wanted);
    }

    /// Whether somebody looks at all commands.
    pub fn set_monitored(&self, wanted: bool) {
        self.set(MONITORED, wanted);
    }

    /// See [`Interest::set_prefixes`].
    pub fn wants_prefixes(&self) -> bool {
        self.load() & PREFIXES != 0
    }

    /// Whether anything is told at all.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.load() != 0
    }

    /// See [`Interest::set_monitored`].
    #[inline]
    pub fn is_monitored(&self) -> bool {
        wants_commands(self.load())
    }

    fn set(&self, bit: u32, wanted: bool) {
        match wanted {
            true => self.0.fetch_or(bit, Ordering::AcqRel),
            false => self.0.fetch_and(!bit, Ordering::AcqRel),
        };
    }
}

/// Something happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its class.
    pub class: EventClass,
    /// Its name, as Redis calls it: `lpush`, `expired`.
    pub name: &'static str,
    /// The key's database.
    pub db: DbIndex,
    /// The key.
    pub key: Box<[u8]>,
}

/// A key whose cached copies are no longer good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalidated {
    /// The key; of which database does not matter, as in Redis.
    pub key: Box<[u8]>,
    /// The numbers of the clients that have read it, in order.
    pub trackers: Trackers,
}

/// A key that was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Its database.
    pub db: DbIndex,
    /// The key.
    pub key: Box<[u8]>,
    /// The number of the client that changed it; 0 if it expired, or the server itself did it.
    pub by: u64,
}

/// A copy that a client has made worthless itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    /// The client's number.
    pub by: u64,
    /// The key; `None` for all (FLUSHALL).
    pub key: Option<Box<[u8]>>,
}

/// What is told of a client's command when it has ended: what concerns the client itself comes after
/// its reply, and changes are told by the batch.
#[derive(Default, Debug)]
pub struct Afterwards {
    /// As [`Notices::changed`].
    pub changed: Vec<Changed>,
    /// Copies of the client itself.
    pub own: Vec<Own>,
}

impl Afterwards {
    /// Nothing is to be told.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.own.is_empty()
    }
}

/// What is to be told, in the order in which it happened.
#[derive(Default, Debug)]
pub struct Notices {
    /// Events of keys.
    pub events: Vec<Event>,
    /// Keys that were tracked one by one; they are no longer.
    pub invalidated: Vec<Invalidated>,
    /// Keys that the server itself has changed (they expired), for those who track prefixes: all that
    /// may have one of these. May repeat themselves. What clients have changed is in [`Afterwards`].
    pub changed: Vec<Changed>,
    /// FLUSHALL or FLUSHDB: no cached copy is good any more. The client that did it is told
    /// afterwards.
    pub flushed: bool,
}

impl Notices {
    /// Nothing is to be told.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.invalidated.is_empty()
            && self.changed.is_empty()
            && !self.flushed
    }
}

/// Who tells those who want to know.
pub trait Observer: Send + Sync {
    /// Tells what `by` (a client's number, 0 for the server itself) has done. Shards are held:
    /// implementations take no shard lock, and wait for nobody.
    fn tell(&self, notices: Notices, by: u64);
}

impl Keyspace {
    /// Has those who want to know told of what `by` has done. Under the locks under which it
    /// happened.
    #[cold]
    pub(super) fn tell(&self, notices: Notices, by: u64) {
        if let Some(observer) = self.observer.get() {
            observer.tell(notices, by);
        }
    }
}

/// Whether events of these classes are wanted, by the bits of [`Interest`].
#[inline]
pub(super) fn wants(interest: u32, class: EventClass) -> bool {
    interest & class.0 != 0
}

/// Whether every changed key is wanted, by the bits of [`Interest`].
#[inline]
pub(super) fn wants_changed(interest: u32) -> bool {
    interest & PREFIXES != 0
}

/// Whether somebody looks at all commands, by the bits of [`Interest`].
#[inline]
pub(super) fn wants_commands(interest: u32) -> bool {
    interest & MONITORED != 0
}
