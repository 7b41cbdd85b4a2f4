//! Large strings that were put aside: they are not copied, so a key and the snapshot have one in common.
//!
//! Such a value counts as kept for the snapshot only when it is the snapshot's alone: when nobody holds it
//! but copies that were put aside, and this list. That is asked when a command that had to do with its key is
//! done, whatever it did (`ShardData::before_change` notes it), and when a key has expired or was evicted.
//! Somebody else may hold it then, a reply that is on its way or a key that it was copied to, so the walk asks
//! again, of some values with each slice.
//!
//! Invariant: a value that is the snapshot's alone remains so, since nobody takes it from there.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;

// Not `sys::sync`'s: nothing is waited for while it is held, so models need not look into it.
use parking_lot::Mutex;

use crate::db::keyspace::DbIndex;
use crate::ds::collection::Collection;
use crate::ds::entry::{Entry, EntryRef, ValueRef, shared_bytes};

use super::{COPIED_ELEMENTS_MAX, Snapshot};

/// Values that are looked at again with each slice of the walk.
const LOOKS: usize = 16;

/// Values, by where they are.
pub type Places = BTreeSet<usize>;

/// See the module's text.
#[derive(Default)]
pub(super) struct SharedValues(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_place: BTreeMap<usize, SharedValue>,
    /// Values from here on are looked at next.
    next: usize,
}

struct SharedValue {
    value: Arc<Vec<u8>>,
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
    /// A value was put aside once more.
    pub(super) fn add(&self, value: &Arc<Vec<u8>>) {
        let by_place = &mut self.0.lock().by_place;
        let shared = by_place
            .entry(place_of(value))
            .or_insert_with(|| SharedValue {
                value: value.clone(),
                copies: 0,
                is_alone: false,
            });
        shared.copies += 1;
    }

    /// What was put aside with these values is about to go: what has to go with it, and what that counted for.
    pub(super) fn remove(&self, places: &[(DbIndex, usize)]) -> (Vec<Arc<Vec<u8>>>, u64) {
        let (mut values, mut bytes) = (Vec::new(), 0);
        if places.is_empty() {
            return (values, bytes);
        }
        let by_place = &mut self.0.lock().by_place;
        for (_, place) in places {
            let btree_map::Entry::Occupied(mut found) = by_place.entry(*place) else {
                debug_assert!(false, "a value that was put aside is not listed");
                continue;
            };
            found.get_mut().copies -= 1;
            if found.get().copies == 0 {
                let shared = found.remove();
                bytes += shared.counted_bytes();
                values.push(shared.value);
            }
        }
        (values, bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().by_place.is_empty()
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
        let mut shared = self.shared.0.lock();
        let found = shared.by_place.get_mut(&place);
        self.hold(found.map_or(0, |shared| shared.look(leaving)));
    }

    /// As [`Snapshot::count_unshared`], of the values that come next.
    pub(super) fn count_some_unshared(&self) {
        let mut shared = self.shared.0.lock();
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

    /// Drops those of `gone`, which have left the keyspace, that share values with somebody, which takes no time.
    /// Then counts what only the snapshot has of these, and of values of `places`. Without a lock.
    pub(in crate::db) fn drop_shared(&self, gone: &mut Vec<Entry>, mut places: Places) {
        if !self.is_running() {
            return;
        }
        gone.retain(|entry| {
            let mut is_shared = false;
            for_each_shared(entry.view(), |value| {
                places.insert(place_of(value));
                is_shared = true;
            });
            !is_shared
        });
        for place in places {
            self.count_unshared(place, 0);
        }
    }
}
