//! Whether the keyspace is what all its modules promise: for tests and DEBUG CHECK-KEYSPACE.
//!
//! Everything is looked at: each table with its index of expiries, each value with its encoding, and
//! what a shard knows of its keys besides. What is counted as it goes is counted anew and compared.
//! The bytes are the sum of what keys and tables say that they take, to be compared with what the
//! allocator says.
//!
//! To add something that must hold: here, or in the `check` of its module.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ds::collection::Collection;
use crate::ds::entry::{EntryRef, ValueRef};
use crate::ds::footprint;
use crate::ds::table::NO_EXPIRY;
use crate::util::check::{Checked, holds};
use crate::value;

use super::access::Access;
use super::keyspace::{DbIndex, Keyspace, Shard, ShardData, ShardId};
use super::wait::Waiter;

/// Faults that are told; more are only counted.
const FAULTS_MAX: usize = 100;

/// What a look at everything has found.
#[derive(Default, Debug)]
pub struct Check {
    /// Keys of all databases.
    pub keys: u64,
    /// Memory of keys, tables and what is known of keys besides, bytes.
    pub bytes: u64,
    /// What is not as it should be.
    pub faults: Vec<String>,
    /// How many faults there are besides.
    pub more_faults: u64,
    /// Values that several fields or keys share, each counted once.
    shared: HashSet<*const Vec<u8>>,
    tracked: (u64, u64),
    ghost_bytes: usize,
}

impl Check {
    /// Notes a fault, if there is one.
    pub fn note(&mut self, place: impl FnOnce() -> String, checked: Checked) {
        let Err(fault) = checked else { return };
        match self.faults.len() < FAULTS_MAX {
            true => self.faults.push(format!("{}: {fault}", place())),
            false => self.more_faults += 1,
        }
    }

    fn count(&mut self, entry: EntryRef<'_>) {
        self.keys += 1;
        self.bytes += entry.alloc_bytes(0) as u64;
        match entry.value() {
            ValueRef::Shared(shared) => self.count_shared(shared),
            ValueRef::Collection(Collection::Hash(fields)) => {
                for field in &fields.table {
                    if let ValueRef::Shared(shared) = field.value() {
                        self.count_shared(shared);
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes back what was counted before.
    fn count_shared(&mut self, shared: &Arc<Vec<u8>>) {
        if !self.shared.insert(Arc::as_ptr(shared)) {
            self.bytes -= footprint::block_bytes(shared.capacity()) as u64;
        }
    }
}

impl Access<'_> {
    /// Looks at everything. What concerns all shards together is compared only if all are held.
    pub fn check(&mut self) -> Check {
        let (keyspace, is_whole) = (self.keyspace(), self.holds_all());
        let mut check = Check::default();
        self.for_each_shard(|id, data| check_shard(keyspace, id, data, &mut check));
        let census = self.census(false);
        check.bytes += census.table_bytes + census.side_bytes;
        if is_whole {
            let checked = check_sums(keyspace, &check);
            check.note(|| "all shards".into(), checked);
        }
        check
    }

    /// Calls `visit` with every client that waits for a key, once for each of its keys, and with
    /// whether the key could be served: whether it is there with the type that is waited for.
    pub fn for_each_waiter(&mut self, mut visit: impl FnMut(&[u8], &Arc<Waiter>, bool)) {
        let keyspace = self.keyspace();
        self.for_each_shard(|_, data| {
            data.side.waiters.for_each(|key, waiter| {
                let (db, type_) = (waiter.waiting.db, waiter.waiting.type_);
                let table = data.table(db);
                let entry = table.and_then(|table| {
                    let slot = table.find(keyspace.hash(key), key)?;
                    Some(table.get(slot))
                });
                visit(
                    key,
                    waiter,
                    entry.is_some_and(|entry| entry.type_() == type_ as u8),
                );
            });
        });
    }
}

fn check_sums(keyspace: &Keyspace, check: &Check) -> Checked {
    let total = &keyspace.tracked;
    let load = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
    let (said, found) = ((load(&total.keys), load(&total.items)), check.tracked);
    holds!(
        said == found,
        "{said:?} keys are tracked by so many, in truth {found:?}"
    );
    let (said, found) = (keyspace.usage.ghost_bytes(), check.ghost_bytes);
    holds!(said == found, "{said} bytes of ghosts are {found}");
    Ok(())
}

fn check_shard(keyspace: &Keyspace, id: ShardId, data: &ShardData, check: &mut Check) {
    for (db, table) in (0..).map(DbIndex).zip(&data.tables) {
        let place = || format!("shard {}, database {}", id.0, db.0);
        check.note(place, table.check());
        for entry in table {
            check.count(entry);
            let checked = check_entry(keyspace, id, db, data, entry);
            let key = || format!("{} of database {}", entry.key().escape_ascii(), db.0);
            check.note(key, checked);
        }
    }
    let place = || format!("shard {}", id.0);
    check.note(place, data.side.waiters.check());
    match data.side.listeners.check() {
        Ok((keys, items)) => {
            check.tracked.0 += keys;
            check.tracked.1 += items;
        }
        Err(fault) => check.note(place, Err(fault)),
    }
    check.ghost_bytes += data.side.ghosts.memory_bytes();
    check.note(place, data.check_sizes(|key| keyspace.hash(key)));
    check.note(place, check_field_list(keyspace, data));
    check.note(place, check_next_expire(keyspace.shard(id), data));
    let is_saving = data.snapshot.is_some() || data.tables.iter().any(|table| table.is_saving());
    let checked = match is_saving && !keyspace.snapshot.is_running() {
        true => Err("it is being saved, and there is no snapshot".into()),
        false => Ok(()),
    };
    check.note(place, checked);
}

fn check_entry(
    keyspace: &Keyspace,
    id: ShardId,
    db: DbIndex,
    data: &ShardData,
    entry: EntryRef<'_>,
) -> Checked {
    let wanted = keyspace.shard_of(keyspace.hash(entry.key()));
    holds!(wanted == id, "in shard {}, not {}", id.0, wanted.0);
    value::check(entry)?;
    match entry.value().as_collection() {
        Some(Collection::Hash(fields)) if fields.noted_at_ms != NO_EXPIRY => {
            let place = (fields.noted_at_ms, db, entry.key().into());
            let is_listed = data.side.field_due.places().contains(&place);
            holds!(is_listed, "fields that expire, and are not listed");
        }
        Some(Collection::Stream(stream)) => {
            let has_consumers = stream.groups().have_consumers();
            holds!(
                !has_consumers || data.side.has_consumers_in(db),
                "consumers of which the shard does not know"
            );
        }
        _ => {}
    }
    Ok(())
}

/// Each hash of the list is there, and says so itself.
fn check_field_list(keyspace: &Keyspace, data: &ShardData) -> Checked {
    let mut hashes = vec![0; data.side.field_due.hashes().len()];
    for (at_ms, db, key) in data.side.field_due.places() {
        if let Some(hashes) = hashes.get_mut(db.0 as usize) {
            *hashes += 1;
        }
        let table = data.table(*db);
        let noted_ms = table.and_then(|table| {
            let entry = table.get(table.find(keyspace.hash(key), key)?);
            match entry.value().as_collection() {
                Some(Collection::Hash(fields)) => Some(fields.noted_at_ms),
                _ => None,
            }
        });
        holds!(
            noted_ms == Some(*at_ms),
            "fields of {} of database {} are listed for {at_ms}, it says {noted_ms:?}",
            key.escape_ascii(),
            db.0
        );
    }
    let said = data.side.field_due.hashes();
    holds!(
        said == hashes,
        "hashes with fields that expire are {said:?}, listed are {hashes:?}"
    );
    Ok(())
}

/// The time that the shard publishes is not too late.
fn check_next_expire(shard: &Shard, data: &ShardData) -> Checked {
    let keys = data.tables.iter().flatten();
    let of_keys = keys.filter_map(|entry| entry.expire_at_ms()).min();
    let of_fields = data.side.field_due.first_ms();
    let wanted_ms = of_keys.into_iter().chain(of_fields).min();
    let said_ms = shard.next_expire_at_ms.load(Ordering::SeqCst);
    holds!(
        wanted_ms.is_none_or(|at_ms| said_ms <= at_ms),
        "the first expiry is at {wanted_ms:?}, published is {said_ms}"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
