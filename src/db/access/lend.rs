//! One command's access to shards that somebody else holds: a script holds what it needs, and lends each
//! of its commands what that one works on.
//!
//! What the commands do is one record: the effects go into the loan and come back with it
//! ([`Access::take_back`]), as those of a transaction's commands go from one to the next.

use smallvec::SmallVec;

use super::super::effects::Effects;
use super::super::keyspace::ShardId;
use super::{Access, DbIndex, FirstKey};

/// What a command needs of the shards that are held.
#[derive(Clone, Copy, Debug)]
pub enum Needs<'n> {
    /// None: it has no keys.
    Nothing,
    /// That of its only key, which has this hash.
    One(&'n [u8], u64),
    /// Those of keys with these hashes.
    Many(&'n [u64]),
    /// All.
    All,
}

/// How many lookups had found their keys, and how many had not, before a script looked into shards, by shard.
#[derive(Default, Debug)]
pub struct Lookups(Vec<(ShardId, u64, u64)>);

/// Shards of the keys of one command.
type Ids = SmallVec<[ShardId; 8]>;

impl<'k> Access<'k> {
    /// Lends what a command needs, for a database, with or without refreshing LRU clocks; `None` if not
    /// all of it is held. The effects have to come back: [`Access::take_back`].
    #[inline]
    pub fn lend(&mut self, needs: Needs<'_>, db: DbIndex, touch: bool) -> Option<Access<'_>> {
        let keyspace = self.keyspace;
        let mut first = FirstKey {
            at: 0,
            len: 0,
            hash: 0,
        };
        let locks = match needs {
            Needs::Nothing => keyspace.lock_none(),
            Needs::One(key, hash) => {
                first = FirstKey {
                    at: key.as_ptr() as usize,
                    len: key.len(),
                    hash,
                };
                self.locks.lend_one(keyspace.shard_of(hash))?
            }
            Needs::Many(hashes) => {
                let ids = ascending(hashes.iter().map(|hash| keyspace.shard_of(*hash)));
                self.locks.lend_many(&ids)?
            }
            Needs::All if self.locks.len() == keyspace.shards() => self.locks.lend_all(),
            Needs::All => return None,
        };
        let mut effects = std::mem::take(&mut self.effects);
        if !self.replays {
            effects.begin_next(keyspace.interest.load());
        }
        Some(Access {
            keyspace,
            locks,
            db,
            now_ms: if self.replays { 0 } else { self.clock_ms },
            clock_ms: self.clock_ms,
            stamp: self.stamp,
            touch,
            partial: false,
            gave_up: false,
            barred: false,
            replays: self.replays,
            first,
            effects,
        })
    }

    /// Ends [`Access::lend`].
    #[inline]
    pub fn take_back(&mut self, effects: Effects) {
        self.effects = effects;
    }

    /// Holds the shards of keys with these hashes, too: waits for those behind all that are held
    /// already, which keeps the order of locking. False if one of the others is in use, or someone has
    /// the keyspace for himself.
    pub fn hold_more(&mut self, hashes: &[u64]) -> bool {
        let keyspace = self.keyspace;
        let ids = ascending(hashes.iter().map(|hash| keyspace.shard_of(*hash)));
        let held = ids.into_iter().all(|id| {
            if self.locks.highest() < Some(id) {
                return self.locks.hold_next(keyspace, id);
            }
            self.locks.try_hold(keyspace, id)
        });
        self.look_at_log();
        held
    }
}

impl Access<'_> {
    /// Remembers the figures of lookups of shards that are held, those of keys with these hashes, unless they are
    /// known already.
    pub fn note_lookups(&self, hashes: &[u64], lookups: &mut Lookups) {
        for hash in hashes {
            let id = self.keyspace.shard_of(*hash);
            let place = lookups.0.binary_search_by_key(&id, |known| known.0);
            if let (Err(at), Some(shard)) = (place, self.locks.peek(id)) {
                let known = (id, shard.stats.hits, shard.stats.misses);
                lookups.0.insert(at, known);
            }
        }
    }

    /// Counts none of the lookups since [`Access::note_lookups`]: the shards are held still.
    #[cold]
    pub fn forget_lookups(&mut self, lookups: Lookups) {
        for (id, hits, misses) in lookups.0 {
            if let Some(shard) = self.locks.get(id) {
                (shard.stats.hits, shard.stats.misses) = (hits, misses);
            }
        }
    }
}

/// Each shard once, in the order in which they are locked.
fn ascending(ids: impl Iterator<Item = ShardId>) -> Ids {
    let mut ids: Ids = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
