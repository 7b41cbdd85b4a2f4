//! Client-side caching: who is told that a key is no longer what it read.
//!
//! Two ways to track. **By key**: what a client has read is remembered in the keys' shards
//! (`db::listen`), so that a write to a key which nobody tracks pays nothing; whoever touches such a
//! key has its trackers told while the shard is still held ([`Tracking::invalidate`]), and they are
//! forgotten. **By prefix** (BCAST): nothing is remembered of what was read; all keys that a batch of
//! commands has changed are told together, a message for each prefix, before the batch's replies are
//! sent ([`Tracking::broadcast`]). Writes record their keys while there are prefixes, and those only
//! that may have one (`db::prefixes`).
//!
//! What a client's own command makes worthless it is told behind the reply ([`Tracking::tell_own`]).
//! The message goes into the inbox of the client, or of the one that it has named (REDIRECT), which
//! is looked up each time: if it has gone, the client is told that instead.
//!
//! Invariants: a client is in `members` exactly while its mode is `ON`, and under a prefix in
//! `Prefixes` exactly while it has that prefix; both change under the lock, and who tells holds it
//! for reading, so nothing is posted for a client that has switched tracking off. Locks: after
//! shards, before inboxes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::acl::{Rights, User};
use crate::client::inbox::{Invalidate, Push};
use crate::client::tracking::Mode;
use crate::client::{Client, ClientId, Registry, Shared};
use crate::db::notice::{Changed, Invalidated, Own};
use crate::db::{DbIndex, Keyspace};
use crate::resp::write::ReplyWriter;
use crate::util::check::{Checked, holds};

mod overlap;
mod prefixes;

pub use overlap::Overlap;

use prefixes::Prefixes;

/// What clients are sent, shared by all of them; `None`: nothing.
type Message = Option<Arc<Vec<u8>>>;

/// See the module's text.
pub struct Tracking {
    clients: Arc<Registry>,
    table: RwLock<Table>,
    /// Prefixes made so far: tells whether a prefix was there when a key was changed.
    prefixes_made: AtomicU64,
}

#[derive(Default)]
struct Table {
    members: HashMap<ClientId, Arc<Shared>>,
    prefixes: Prefixes,
}

/// A key that was changed when so many prefixes had been made.
pub struct Change {
    /// What was changed by whom.
    pub changed: Changed,
    /// See [`Tracking::age`].
    pub age: u64,
}

/// What a client asks for.
pub struct Wish<'a> {
    /// Options; `ON` need not be among them.
    pub mode: Mode,
    /// Who is told instead, 0 for nobody.
    pub redirect: ClientId,
    /// Prefixes for BCAST, none of which overlaps with another or one that the client has.
    pub prefixes: &'a [&'a [u8]],
}

impl Tracking {
    /// Nobody tracks anything.
    pub fn new(clients: Arc<Registry>) -> Tracking {
        Tracking {
            clients,
            table: RwLock::default(),
            prefixes_made: AtomicU64::new(0),
        }
    }

    /// CLIENT TRACKING ON, also of a client that tracks already.
    pub fn enable(&self, client: &mut Client, wish: &Wish<'_>, keyspace: &Keyspace) {
        let every: &[&[u8]] = &[b""];
        let prefixes = match wish.mode.has(Mode::BCAST) {
            true if wish.prefixes.is_empty() => every,
            true => wish.prefixes,
            false => &[],
        };
        let shared = client.shared.clone();
        let mut table = self.table.write();
        for &prefix in prefixes {
            let made = self.prefixes_made.load(Ordering::Relaxed);
            if table.prefixes.join(prefix, &shared, made) {
                let filter = &keyspace.tracked.prefixes;
                filter.add(prefix, table.prefixes.all());
                self.prefixes_made.store(made + 1, Ordering::Relaxed);
            }
        }
        keyspace.interest.set_prefixes(!table.prefixes.is_empty());
        shared.tracking.set(wish.mode.and(Mode::ON), wish.redirect);
        client.tracking.follow(&shared.tracking, prefixes);
        table.members.insert(shared.id, shared);
    }

    /// CLIENT TRACKING OFF, and the end of a client. What it has read stays remembered until it is
    /// touched, as in Redis.
    pub fn disable(&self, client: &mut Client, keyspace: &Keyspace) {
        let shared = &client.shared;
        if !shared.tracking.mode().has(Mode::ON) {
            return;
        }
        let mut table = self.table.write();
        for prefix in client.tracking.prefixes() {
            table.prefixes.leave(prefix, shared.id);
        }
        if table.prefixes.has_lost_many() {
            keyspace.tracked.prefixes.set(table.prefixes.all());
        }
        keyspace.interest.set_prefixes(!table.prefixes.is_empty());
        table.members.remove(&shared.id);
        shared.tracking.set(Mode::NONE, 0);
        client.tracking.follow(&shared.tracking, &[]);
    }

    /// Number of clients that track anything.
    pub fn client_count(&self) -> usize {
        self.table.read().members.len()
    }

    /// Number of different prefixes.
    pub fn prefix_count(&self) -> usize {
        self.table.read().prefixes.len()
    }

    /// Whether those who track are those who say so. While somebody begins or ends they may not be.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self, keyspace: &Keyspace) -> Checked {
        let table = self.table.read();
        for client in self.clients.all() {
            let (id, mode) = (client.id, client.tracking.mode());
            holds!(
                mode.has(Mode::ON) == table.members.contains_key(&id),
                "client {id} has the mode {mode:?}, not so in the table"
            );
        }
        for &id in table.members.keys() {
            let is_there = self.clients.get(id).is_some();
            holds!(is_there, "client {id} has gone, and tracks");
        }
        for prefix in table.prefixes.all() {
            let shown = prefix.escape_ascii();
            let mut members = table.prefixes.members(prefix).peekable();
            holds!(members.peek().is_some(), "nobody tracks the prefix {shown}");
            let is_wrong = |client: &&Arc<Shared>| {
                let mode = client.tracking.mode();
                !mode.has(Mode::BCAST) || !table.members.contains_key(&client.id)
            };
            let wrong = members.find(is_wrong).map(|client| client.id);
            holds!(wrong.is_none(), "{wrong:?} tracks the prefix {shown}");
            let is_let_through = keyspace.tracked.prefixes.may_match(prefix);
            holds!(
                is_let_through,
                "the filter does not know the prefix {shown}"
            );
        }
        holds!(
            keyspace.interest.wants_prefixes() || table.prefixes.is_empty(),
            "nobody records what has prefixes"
        );
        Ok(())
    }

    /// Whether a client's connection has ended.
    pub fn is_gone(&self, id: ClientId) -> bool {
        !self.table.read().members.contains_key(&id) && self.clients.get(id).is_none()
    }

    /// The moment of a change, as far as it decides whom it concerns.
    pub fn age(&self) -> u64 {
        self.prefixes_made.load(Ordering::Relaxed)
    }

    /// Tells those who have read these keys one by one. `by`: who has changed them; it is told by
    /// [`Tracking::tell_own`].
    pub fn invalidate(&self, invalidated: Vec<Invalidated>, by: ClientId) {
        let table = self.table.read();
        for Invalidated { key, trackers } in invalidated {
            let others = trackers.into_iter().filter(|&id| id != by);
            let clients = others.filter_map(|id| table.member_by_key(id));
            let mut clients = clients.peekable();
            if clients.peek().is_some() {
                self.send(clients, Some(encode([&*key].into_iter())));
            }
        }
    }

    /// Tells everybody but `by` that no copy is good any more (FLUSHALL).
    pub fn flush(&self, by: ClientId) {
        let table = self.table.read();
        let clients = table.members.values();
        self.send(clients.filter(|client| client.id != by), None);
    }

    /// Tells clients what their own commands have made worthless.
    pub fn tell_own(&self, own: Vec<Own>) {
        let table = self.table.read();
        for Own { by, key } in own {
            let (client, keys) = match &key {
                Some(key) => {
                    let client = table.member_by_key(by);
                    let client = client.filter(|client| !is_noloop(client));
                    (client, Some(encode([&**key].into_iter())))
                }
                None => (table.members.get(&by), None),
            };
            self.send(client.into_iter(), keys);
        }
    }

    /// Tells those who track prefixes what has changed: one message for each prefix, its keys in
    /// order. Who may not read a key is not told its name.
    pub fn broadcast(&self, changes: &[Change]) {
        let mut by_key: BTreeMap<&[u8], Told<'_>> = BTreeMap::new();
        for change in changes {
            let told = by_key.entry(&change.changed.key).or_insert(Told {
                change,
                dbs: SmallVec::new(),
            });
            // Of a key that was changed several times the last one counts.
            told.change = change;
            if !told.dbs.contains(&change.changed.db) {
                told.dbs.push(change.changed.db);
            }
        }
        let table = self.table.read();
        let mut by_prefix: BTreeMap<&[u8], Vec<&Told<'_>>> = BTreeMap::new();
        for (key, told) in &by_key {
            for (prefix, group) in table.prefixes.of(key) {
                if group.made < told.change.age {
                    by_prefix.entry(prefix).or_default().push(told);
                }
            }
        }
        for (prefix, keys) in by_prefix {
            self.tell(table.prefixes.members(prefix), &keys);
        }
    }

    /// Tells clients that track a prefix of the keys that begin with it.
    fn tell<'c>(&self, clients: impl Iterator<Item = &'c Arc<Shared>>, keys: &[&Told<'_>]) {
        let mut all = Vec::new();
        // What users are told who may not read every key.
        let mut by_user: Vec<(Arc<User>, Message)> = Vec::new();
        for client in clients {
            let user = client.user();
            let rights = user.as_ref().map(|user| user.rights());
            let limits = rights.as_deref().filter(|rights| !rights.is_unrestricted());
            let is_own = |told: &Told<'_>| told.change.changed.by == client.id;
            let message = if is_noloop(client) && keys.iter().any(|told| is_own(told)) {
                let others = keys.iter().copied().filter(|told| !is_own(told));
                encode_for(limits, others)
            } else if let (Some(limits), Some(user)) = (limits, user) {
                let known = by_user.iter().find(|(known, _)| Arc::ptr_eq(known, &user));
                match known {
                    Some((_, message)) => message.clone(),
                    None => {
                        let message = encode_for(Some(limits), keys.iter().copied());
                        by_user.push((user, message.clone()));
                        message
                    }
                }
            } else {
                all.push(client);
                continue;
            };
            if message.is_some() {
                self.send([client].into_iter(), message);
            }
        }
        if !all.is_empty() {
            self.send(all.into_iter(), encode_for(None, keys.iter().copied()));
        }
    }

    /// Tells clients, or those that they have named.
    fn send<'c>(&self, clients: impl Iterator<Item = &'c Arc<Shared>>, keys: Message) {
        let mut direct: SmallVec<[Arc<Shared>; 4]> = SmallVec::new();
        for client in clients {
            match client.tracking.redirect() {
                0 if knows_pushes(client) => direct.push(client.clone()),
                // It would be woken for nothing.
                0 => {}
                redirect => self.send_to(redirect, client, keys.clone()),
            }
        }
        let push = Push::Invalidate(Invalidate {
            keys,
            is_redirected: false,
        });
        self.clients.post_all(&direct, &push);
    }

    /// Tells the client that another one has named, or that one that it has gone.
    fn send_to(&self, redirect: ClientId, by: &Arc<Shared>, keys: Message) {
        match self.clients.get(redirect) {
            Some(target) => {
                if knows_pushes(&target) || target.is_subscriber() {
                    let push = Push::Invalidate(Invalidate {
                        keys,
                        is_redirected: true,
                    });
                    self.clients.post(&target, push);
                }
            }
            None => {
                by.tracking.note_broken();
                if knows_pushes(by) {
                    self.clients.post(by, Push::RedirectBroken(redirect));
                }
            }
        }
    }
}

/// A key that is to be told.
struct Told<'c> {
    /// Its last change.
    change: &'c Change,
    /// The databases in which it was changed.
    dbs: SmallVec<[DbIndex; 1]>,
}

/// The message of those keys that may be read with these rights; `None` if there is none.
fn encode_for<'t>(rights: Option<&Rights>, keys: impl Iterator<Item = &'t Told<'t>>) -> Message {
    let may_read = |told: &&Told<'_>| {
        rights.is_none_or(|rights| {
            let key = &told.change.changed.key;
            told.dbs.iter().any(|&db| rights.may_read(key, db))
        })
    };
    let keys: Vec<&[u8]> = keys
        .filter(may_read)
        .map(|told| &*told.change.changed.key)
        .collect();
    (!keys.is_empty()).then(|| encode(keys.into_iter()))
}

impl Table {
    /// A client that tracks by key.
    fn member_by_key(&self, id: ClientId) -> Option<&Arc<Shared>> {
        let member = self.members.get(&id);
        member.filter(|client| !client.tracking.mode().has(Mode::BCAST))
    }
}

fn knows_pushes(client: &Shared) -> bool {
    client.resp.load(Ordering::Relaxed) > 2
}

fn is_noloop(client: &Shared) -> bool {
    client.tracking.mode().has(Mode::NOLOOP)
}

/// An array of keys in RESP.
fn encode<'k>(keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Arc<Vec<u8>> {
    let mut out = ReplyWriter::new();
    out.array(keys.len());
    keys.for_each(|key| out.bulk(key));
    Arc::new(out.to_vec())
}
