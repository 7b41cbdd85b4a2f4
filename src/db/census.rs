//! Figures about the keyspace as a whole, for INFO: counters, sizes, memory of the tables, and what
//! is left to live.
//!
//! Shards are looked at one after the other, each locked for a moment, so the figures of different
//! shards are of slightly different moments, and the cost does not grow with the number of keys.
//!
//! How long keys have still to live is estimated: some keys with a TTL are drawn from every shard,
//! and the mean of a shard's draws counts as much as the shard has keys with a TTL. With few keys
//! all of them are drawn. That takes most of the time, so an estimate is told for a moment ([`Sampled`]).

use crate::ds::entry::Entry;
use crate::ds::footprint;
use crate::ds::table::Table;
use crate::util::rng::Rng;
#[cfg(doc)]
use crate::util::sampled::Sampled;

use super::access::Access;
use super::keyspace::ShardStats;

/// Keys with a TTL that are drawn per database, about.
const DRAWS: usize = 512;
/// Fewest that are drawn from a shard's table, if it has as many.
const DRAWS_PER_TABLE_MIN: usize = 4;

/// What [`Access::census`] found.
#[derive(Clone, Default, Debug)]
pub struct Census {
    /// Counters of all shards together.
    pub stats: ShardStats,
    /// Memory of the tables without the entries in them, bytes; of the databases' and what they begin with.
    pub table_bytes: u64,
    /// Memory of what is known of keys besides: who waits for them or tracks them, and when fields
    /// of theirs expire.
    pub side_bytes: u64,
    /// Keys that somebody waits for.
    pub blocking_keys: u64,
    /// Of those, keys with somebody whose wait ends when they go.
    pub blocking_keys_on_nokey: u64,
    /// Keys that somebody watches.
    pub watched_keys: u64,
    /// By database; databases beyond the last are empty.
    pub databases: Vec<DbCensus>,
}

/// One database.
#[derive(Clone, Copy, Default, Debug)]
pub struct DbCensus {
    /// Keys.
    pub keys: u64,
    /// Keys with a TTL.
    pub expires: u64,
    /// Memory of its tables without the entries in them, bytes.
    pub table_bytes: u64,
    /// Of that, what tells when keys expire.
    pub expires_bytes: u64,
    /// Hashes with fields that have a TTL (`keys_with_volatile_items`).
    pub keys_with_fields: u64,
    /// Of those, the ones with a field that is past its expiry and not deleted yet.
    pub stale_with_fields: u64,
    ttls: Ttls,
}

/// What is known of those keys of a database that have a TTL, by estimate.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ttls {
    /// For how many keys the sums stand.
    keys: u64,
    /// Sum of what they have still to live, ms.
    sum_ms: f64,
    /// How many of them are past their expiry and not deleted yet.
    stale: f64,
}

/// How keys with a TTL are drawn.
struct Draws {
    /// From each table.
    each: usize,
    rng: Rng,
}

impl DbCensus {
    /// Mean of what keys with a TTL have still to live, milliseconds; 0 when there are none.
    pub fn avg_ttl_ms(&self) -> u64 {
        match self.expires {
            0 => 0,
            _ => (self.ttls.sum_ms / self.ttls.keys.max(1) as f64) as u64,
        }
    }

    fn add(&mut self, table: &Table<Entry>, draws: Option<&mut Draws>, now_ms: u64) {
        self.keys += table.len() as u64;
        self.table_bytes += table.memory_bytes() as u64;
        self.expires_bytes += table.expires_bytes() as u64;
        let expires = table.expires_len();
        self.expires += expires as u64;
        let Some(draws) = draws.filter(|_| expires > 0) else {
            return;
        };
        let (mut drawn, mut ttl_sum_ms, mut stale) = (0u64, 0u64, 0u64);
        table.sample_expiries(draws.each, &mut || draws.rng.next_u64(), |at_ms| {
            drawn += 1;
            stale += (at_ms <= now_ms) as u64;
            ttl_sum_ms = ttl_sum_ms.saturating_add(at_ms.saturating_sub(now_ms));
        });
        if drawn > 0 {
            let weight = expires as f64 / drawn as f64;
            self.ttls.keys += expires as u64;
            self.ttls.sum_ms += ttl_sum_ms as f64 * weight;
            self.ttls.stale += stale as f64 * weight;
        }
    }
}

impl Census {
    /// Share of the keys with a TTL that are past their expiry and not deleted yet, percent.
    pub fn stale_percent(&self) -> f64 {
        let (mut keys, mut stale) = (0, 0.0);
        for db in self.databases.iter().filter(|db| db.expires > 0) {
            keys += db.ttls.keys;
            stale += db.ttls.stale;
        }
        stale * 100.0 / keys.max(1) as f64
    }

    /// The same of the hashes with fields that have a TTL, percent.
    pub fn stale_fields_percent(&self) -> f64 {
        let sum = |figure: fn(&DbCensus) -> u64| self.databases.iter().map(figure).sum::<u64>();
        let (keys, stale) = (
            sum(|db| db.keys_with_fields),
            sum(|db| db.stale_with_fields),
        );
        stale as f64 * 100.0 / keys.max(1) as f64
    }
}

impl Access<'_> {
    /// Looks at all shards; how long keys have still to live only when `with_ttl` says so.
    pub fn census(&mut self, with_ttl: bool) -> Census {
        let now_ms = self.now_ms();
        let (keyspace, known) = (self.keyspace(), &self.keyspace().ttls);
        let known_ttls = known.get(now_ms);
        let draws = || Draws {
            each: (DRAWS / keyspace.shards()).max(DRAWS_PER_TABLE_MIN),
            rng: Rng::from_os(),
        };
        let mut draws = (with_ttl && known_ttls.is_none()).then(draws);
        let mut census = Census::default();
        self.for_each_shard(|_, shard| {
            census.stats.hits += shard.stats.hits;
            census.stats.misses += shard.stats.misses;
            census.stats.expired += shard.stats.expired;
            census.stats.expired_fields += shard.stats.expired_fields;
            census.blocking_keys += shard.side.waiters.keys() as u64;
            census.blocking_keys_on_nokey += shard.side.waiters.keys_to_go() as u64;
            let heads = shard.tables.capacity() * size_of::<Table<Entry>>();
            census.table_bytes += footprint::block_bytes(heads) as u64;
            census.side_bytes += shard.side.memory_bytes() as u64;
            census.watched_keys += shard.side.listeners.watched_keys() as u64;
            if census.databases.len() < shard.tables.len() {
                census
                    .databases
                    .resize_with(shard.tables.len(), DbCensus::default);
            }
            for (db, table) in census.databases.iter_mut().zip(&shard.tables) {
                census.table_bytes += table.memory_bytes() as u64;
                db.add(table, draws.as_mut(), now_ms);
            }
            let due = &shard.side.field_due;
            for (db, hashes) in census.databases.iter_mut().zip(due.hashes()) {
                db.keys_with_fields += hashes;
            }
            let stale = due.places().iter().take_while(|place| place.0 <= now_ms);
            for (_, db, _) in stale {
                if let Some(db) = census.databases.get_mut(db.0 as usize) {
                    db.stale_with_fields += 1;
                }
            }
        });
        let ttls = census.databases.iter_mut().map(|db| &mut db.ttls);
        match known_ttls {
            Some(known) => ttls.zip(known).for_each(|(ttls, known)| *ttls = known),
            None if with_ttl && !self.gave_up() => {
                known.set(now_ms, ttls.map(|ttls| *ttls).collect())
            }
            None => {}
        }
        census
    }
}
