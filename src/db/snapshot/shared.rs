//! Large strings that were put aside: they are not copied, so a key and the snapshot have one in common.
//!
//! Such a value counts as kept for the snapshot only when it is the snapshot's alone: when nobody holds it
//! but copies that were put aside, and this list. That is asked when a command that had to do with its key is
//! done, whatever it did (`ShardData::before_change` notes it), when a key has expired or was evicted, and when its
//! table was flushed. Somebody else may hold it then, a reply that is on its way, a key that it was copied to, a hash
//! that has grown beyond what is copied, so the walk asks again, of some values at a time: until then it counts
//! as if a key had it.
//!
//! Nothing is asked while no value is listed, and fields of hashes are looked through only while fields are.
//!
//! Invariants:
//! - a value that is the snapshot's alone remains so, since nobody takes it from there: who reads what was put aside
//!   does not keep it;
//! - its place is nobody else's while it is listed, since the list has it, too.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

// Not `sys::sync`'s: nothing is waited for while it is held, so models need not look into it.
use parking_lot::Mutex;

use crate::ds::collection::Collection;
use crate::ds::entry::{Entry, EntryRef, ValueRef, shared_bytes};

use super::{COPIED_ELEMENTS_MAX, Snapshot};

/// Values that are looked at again with each step of the walk.
const LOOKS: usize = 16;

/// Values, by where they are, and how many that are about to go hold each.
pub type Places = BTreeMap<usize, usize>;

/// See the module's text.
#[derive(Default)]
pub(super) struct SharedValues {
    inner: Mutex<Inner>,
    /// How many are listed, keys' and hash fields'. Whoever holds the shard of a key that was put aside sees at least
    /// those that it shares.
    strings: AtomicUsize,
    fields: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    by_place: BTreeMap<usize, SharedValue>,
    /// Values from here on are looked at next.
    next: usize,
}

struct SharedValue {
    value: Arc<Vec<u8>>,
    /// It was put aside with a hash.
    is_field: bool,
    /// How often it was put aside.
    copies: usize,
    /// It is the snapshot's alone, and counts.
    is_alone: bool,
}

/// Where a value is.
pub(super) fn place_of(value: &Arc<Vec<u8>>) -> usize {
    Arc::as_ptr(value).addr()
}

/// Calls `f` with the values of an entry that somebody else has, too. A collection that is not copied as a whole
/// has none.
pub(in crate::db) fn for_each_shared(entry: EntryRef<'_>, mut f: impl FnMut(&Arc<Vec<u8>>)) {
    let mut look = |value: ValueRef<'_>| {
        if let ValueRef::Shared(shared) = value
            && Arc::strong_count(shared) > 1
        {
            f(shared);
        }
    };
    match entry.value() {
        ValueRef::Collection(Collection::Hash(fields)) => {
            if fields.table.len() <= COPIED_ELEMENTS_MAX {
                fields.table.for_each(|field| look(field.value()));
            }
        }
        value => look(value),
    }
}

impl SharedValues {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.listed(false).load(Ordering::Relaxed) == 0
            && self.listed(true).load(Ordering::Relaxed) == 0
    }

    /// Whether an entry has to be looked at for some.
    pub(super) fn may_be_in(&self, entry: EntryRef<'_>) -> bool {
        let is_field = match entry.value() {
            ValueRef::Shared(_) => false,
            ValueRef::Collection(Collection::Hash(_)) => true,
            _ => return false,
        };
        self.listed(is_field).load(Ordering::Relaxed) > 0
    }

    fn listed(&self, is_field: bool) -> &AtomicUsize {
        match is_field {
            true => &self.fields,
            false => &self.strings,
        }
    }

    /// A value was put aside once more.
    pub(super) fn add(&self, value: &Arc<Vec<u8>>, is_field: bool) {
        let by_place = &mut self.inner.lock().by_place;
        let shared = by_place.entry(place_of(value)).or_insert_with(|| {
            self.listed(is_field).fetch_add(1, Ordering::Relaxed);
            SharedValue {
                value: value.clone(),
                is_field,
                copies: 0,
                is_alone: false,
            }
        });
        shared.copies += 1;
    }

    /// An entry that was put aside is about to go: what has to go with it, and what that counted for.
    pub(super) fn remove(&self, entry: EntryRef<'_>) -> Vec<(Arc<Vec<u8>>, u64)> {
        let mut values = Vec::new();
        let by_place = &mut self.inner.lock().by_place;
        for_each_shared(entry, |value| {
            let btree_map::Entry::Occupied(mut found) = by_place.entry(place_of(value)) else {
                return;
            };
            found.get_mut().copies -= 1;
            if found.get().copies == 0 {
                let shared = found.remove();
                self.listed(shared.is_field).fetch_sub(1, Ordering::Relaxed);
                let bytes = shared.counted_bytes();
                values.push((shared.value, bytes));
            }
        });
        values
    }
}

impl SharedValue {
    /// What it counts for, bytes.
    fn counted_bytes(&self) -> u64 {
        match self.is_alone {
            true => shared_bytes(&self.value) as u64,
            false => 0,
        }
    }

    /// Looks who has it, `leaving` of whom do not count: what it counts for more now.
    fn look(&mut self, leaving: usize) -> u64 {
        let before = self.counted_bytes();
        let ours = self.copies + 1;
        self.is_alone |= Arc::strong_count(&self.value) <= ours + leaving;
        self.counted_bytes() - before
    }
}

impl Snapshot {
    /// Counts a value if it is the snapshot's alone, or will be when `leaving` others have gone.
    pub(super) fn count_unshared(&self, place: usize, leaving: usize) {
        let mut shared = self.shared.inner.lock();
        let found = shared.by_place.get_mut(&place);
        self.hold(found.map_or(0, |shared| shared.look(leaving)));
    }

    /// As [`Snapshot::count_unshared`], of the values that come next.
    pub(super) fn count_some_unshared(&self) {
        if self.shared.is_empty() {
            return;
        }
        let mut shared = self.shared.inner.lock();
        let Inner { by_place, next } = &mut *shared;
        let (mut bytes, mut looks_left) = (0, LOOKS);
        let mut left = by_place.range_mut(*next..);
        for (place, shared) in left.by_ref().take(LOOKS) {
            bytes += shared.look(0);
            looks_left -= 1;
            *next = place + 1;
        }
        if looks_left > 0 {
            *next = 0;
        }
        self.hold(bytes);
    }

    /// Drops strings of `gone`, which has left the keyspace and is about to be freed, that somebody else has, too: that
    /// takes no time. Then counts what only the snapshot has when the rest is freed, of these and of values of `places`.
    /// Without a lock.
    pub(in crate::db) fn drop_shared(&self, gone: &mut Vec<Entry>, mut places: Places) {
        if self.shared.is_empty() {
            return;
        }
        gone.retain(|entry| {
            let stays = !matches!(entry.view().value(), ValueRef::Shared(_));
            let mut is_shared = false;
            for_each_shared(entry.view(), |value| {
                *places.entry(place_of(value)).or_default() += usize::from(stays);
                is_shared = true;
            });
            stays || !is_shared
        });
        for (place, leaving) in places {
            self.count_unshared(place, leaving);
        }
    }
}
