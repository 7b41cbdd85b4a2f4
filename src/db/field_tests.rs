//! Tests of fields that expire, of empty collections, of large values that are freed, and of keys
//! that somebody waits for. Hashes are built by hand: what they mean is `value`'s.

use std::collections::BTreeMap;

use super::access::Access;
use super::evict::Sweep;
use super::wait::{Request, Waiter, Waiting};
use super::{DbIndex, Evicted, Expire, Keyspace, Lookup, Policy};
use crate::ds::collection::{Collection, FieldTable};
use crate::ds::entry::{Entry, Meta, NewValue};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::ds::table::Table;
use crate::resp::parse::Argv;
use crate::util::rng::Rng;
use crate::value::{Encoding, Type};

const NOW_MS: u64 = 1_700_000_000_000;
const DBS: [DbIndex; 2] = [DbIndex(0), DbIndex(1)];

fn keyspace() -> Keyspace {
    Keyspace::new(4, 16, KeyHash::process(HashFunction::Fast))
}

/// Access to everything.
fn all(keyspace: &Keyspace, db: DbIndex, now_ms: u64) -> Access<'_> {
    Access::new(keyspace, keyspace.lock_all(), db, now_ms, true)
}

fn field_of(n: u32, expire_at_ms: Option<u64>) -> Entry {
    let value = NewValue::Int(n.into());
    Entry::new(&n.to_le_bytes(), Meta::default(), value, expire_at_ms)
}

/// Writes a hash whose fields 0, 1, 2, ... expire as told.
fn put_hash(access: &mut Access<'_>, key: &[u8], expiries: &[Option<u64>]) {
    let key_hash = KeyHash::process(HashFunction::Fast);
    let mut table = Table::new(0, key_hash);
    for (n, expire_at_ms) in (0..).zip(expiries) {
        let field = field_of(n, *expire_at_ms);
        table.insert(key_hash.hash(field.view().key()), field);
    }
    let fields = Collection::Hash(FieldTable::new(table));
    let meta = Meta {
        type_: Type::Hash as u8,
        enc: Encoding::Hashtable as u8,
        lru: 0,
    };
    let entry = Entry::new(key, meta, NewValue::Collection(Box::new(fields)), None);
    access.put(entry);
}

/// Sets the expiry of one field.
fn set_field(access: &mut Access<'_>, key: &[u8], n: u32, expire_at_ms: Option<u64>) {
    let mut found = access.find_mut(key).unwrap();
    let mut slot = found.slot_mut();
    let Some(Collection::Hash(fields)) = slot.collection_mut() else {
        panic!("a hash");
    };
    let name = n.to_le_bytes();
    let hash = fields.table.key_hash().hash(&name);
    match fields.table.find(hash, &name) {
        Some(at) => fields.table.set_expire(at, expire_at_ms),
        None => {
            fields.table.insert(hash, field_of(n, expire_at_ms));
        }
    }
}

/// How many fields a hash has; `None` if it is not there.
fn fields(access: &mut Access<'_>, key: &[u8]) -> Option<usize> {
    let entry = access.find(key, Lookup::Silent)?;
    Some(entry.value().as_collection().unwrap().len())
}

/// How many hashes are listed by the time at which a field is due.
fn listed(keyspace: &Keyspace) -> usize {
    let mut listed = 0;
    all(keyspace, DBS[0], NOW_MS).for_each_shard(|_, data| {
        let due = &data.side.field_due;
        assert_eq!(due.hashes().iter().sum::<u64>(), due.places().len() as u64);
        listed += due.places().len();
    });
    listed
}

#[test]
fn fields_are_deleted_when_they_are_due_and_the_hash_with_the_last() {
    let keyspace = keyspace();
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    put_hash(&mut access, b"all", &[Some(NOW_MS + 5), Some(NOW_MS + 9)]);
    put_hash(&mut access, b"some", &[Some(NOW_MS + 5), None]);
    put_hash(&mut access, b"none", &[None, None]);
    drop(access);
    assert_eq!(listed(&keyspace), 2);
    assert_eq!(keyspace.next_expire_at_ms(), NOW_MS + 5);
    assert_eq!(keyspace.expire_due(NOW_MS + 4), NOW_MS + 5);
    assert_eq!(keyspace.expire_due(NOW_MS + 5), NOW_MS + 9);
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    let sizes = |access: &mut Access<'_>| {
        [b"all".as_slice(), b"some", b"none"].map(|key| fields(access, key))
    };
    assert_eq!(sizes(&mut access), [Some(1), Some(1), Some(2)]);
    drop(access);
    assert_eq!(keyspace.expire_due(NOW_MS + 9), u64::MAX);
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    assert_eq!(sizes(&mut access), [None, Some(1), Some(2)]);
    let census = access.census(false);
    assert_eq!((census.stats.expired_fields, census.stats.expired), (3, 0));
    assert_eq!(census.databases[0].keys_with_fields, 0);
}

#[test]
fn fields_that_are_due_early_make_no_key_volatile() {
    let keyspace = Keyspace::new(64, 16, KeyHash::process(HashFunction::Fast));
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    for n in 0..400 {
        let key = format!("hash:{n}");
        put_hash(&mut access, key.as_bytes(), &[Some(NOW_MS + 5), None]);
    }
    for n in 0..100 {
        let key = format!("key:{n}");
        let expire = Expire::At(NOW_MS + 10_000 + 100 * n);
        access.set(key.as_bytes(), 0, 0, NewValue::Int(1), expire);
    }
    drop(access);
    keyspace.eviction.set(1, Policy::VolatileTtl, 5);
    let mut sweep = Sweep::default();
    let mut evict = || keyspace.evict_some(&mut sweep, NOW_MS, 0);
    for n in 0..100 {
        assert!(matches!(evict(), Evicted::Some { keys: 1, .. }));
        let mut access = all(&keyspace, DBS[0], NOW_MS);
        let key = format!("key:{n}");
        assert!(access.find(key.as_bytes(), Lookup::Silent).is_none());
        assert_eq!(access.size(DBS[0]).0, 499 - n);
    }
    assert_eq!(evict(), Evicted::Nothing);
    assert_eq!(listed(&keyspace), 400);
    // A hash that goes leaves the list.
    keyspace.eviction.set(1, Policy::AllKeysRandom, 5);
    let mut gone = 0;
    while let Evicted::Some { keys, .. } = evict() {
        gone += keys as usize;
        assert_eq!(listed(&keyspace), 400 - gone);
    }
    assert_eq!(gone, 400);
    // A large one is freed elsewhere.
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    put_hash(&mut access, b"large", &[None; 500]);
    drop(access);
    match evict() {
        Evicted::Some { keys: 1, bytes } => assert!(bytes > 500 * 16),
        other => panic!("{other:?}"),
    }
    assert_eq!(keyspace.lazyfree.pending() + keyspace.lazyfree.freed(), 1);
}

#[test]
fn many_fields_are_deleted_in_slices() {
    let keyspace = keyspace();
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    put_hash(&mut access, b"h", &vec![Some(NOW_MS + 1); 10_000]);
    drop(access);
    let mut removed = Vec::new();
    keyspace.expire_pass(NOW_MS + 1, &mut removed);
    let left = fields(&mut all(&keyspace, DBS[0], NOW_MS), b"h");
    assert_eq!(left, Some(10_000 - super::expire::SLICE_KEYS));
    keyspace.expire_due(NOW_MS + 1);
    assert_eq!(fields(&mut all(&keyspace, DBS[0], NOW_MS), b"h"), None);
}

/// What the hashes of two databases hold: fields by number with their expiry.
type Model = BTreeMap<(DbIndex, usize), BTreeMap<u32, Option<u64>>>;

/// Does one of the things that can happen to hashes, to the model as well.
fn happen(access: &mut Access<'_>, model: &mut Model, names: &[Vec<u8>], rng: &mut Rng) {
    let (db, now_ms, k) = (access.db(), access.now_ms(), rng.index(names.len()));
    let key = &names[k][..];
    match rng.below(12) {
        0..6 => {
            let expire_at_ms = match rng.below(3) {
                0 => None,
                _ => Some(now_ms + 1 + rng.below(50)),
            };
            let n = rng.below(5) as u32;
            if fields(access, key).is_some() {
                set_field(access, key, n, expire_at_ms);
                model.get_mut(&(db, k)).unwrap().insert(n, expire_at_ms);
            } else {
                put_hash(access, key, &[expire_at_ms]);
                model.insert((db, k), BTreeMap::from([(0, expire_at_ms)]));
            }
        }
        6 => {
            access.remove(key);
            model.remove(&(db, k));
        }
        7 => {
            access.set(key, 0, 0, NewValue::Int(1), Expire::Never);
            model.remove(&(db, k));
            access.remove(key);
        }
        8 => {
            let to = rng.index(names.len());
            if let Some(entry) = access.take(key) {
                access.put(entry.with_key(&names[to]));
                let moved = model.remove(&(db, k)).unwrap();
                model.insert((db, to), moved);
            }
        }
        9 => {
            access.swap(DBS[0], DBS[1]);
            let swapped = std::mem::take(model).into_iter();
            *model = swapped
                .map(|((db, k), fields)| ((DbIndex(1 - db.0), k), fields))
                .collect();
        }
        10 if rng.below(20) == 0 => {
            drop(access.flush(Some(db)));
            model.retain(|(of, _), _| *of != db);
        }
        _ => {}
    }
}

/// Random writes, moves, deletions and passing of time, against a model: after each step every hash
/// has the fields that it should, and whatever is due is listed.
#[test]
fn the_list_of_due_fields_follows_all_that_happens_to_hashes() {
    let keyspace = keyspace();
    let mut rng = Rng::from_seed(5);
    let mut model = Model::new();
    let mut now_ms = NOW_MS;
    let names: Vec<Vec<u8>> = (0..6).map(|n| format!("key{n}").into_bytes()).collect();
    for _ in 0..3_000 {
        let db = DBS[rng.index(2)];
        let mut access = all(&keyspace, db, now_ms);
        happen(&mut access, &mut model, &names, &mut rng);
        drop(access);
        now_ms += rng.below(4) * rng.below(10);
        keyspace.expire_due(now_ms);
        for fields in model.values_mut() {
            fields.retain(|_, at_ms| at_ms.is_none_or(|at_ms| at_ms > now_ms));
        }
        model.retain(|_, fields| !fields.is_empty());
        for db in DBS {
            let mut access = all(&keyspace, db, now_ms);
            for (k, name) in names.iter().enumerate() {
                let expected = model.get(&(db, k)).map(BTreeMap::len);
                assert_eq!(fields(&mut access, name), expected);
            }
        }
        let expiring = model
            .values()
            .filter(|fields| fields.values().any(Option::is_some));
        assert!(listed(&keyspace) >= expiring.count());
        assert!(listed(&keyspace) <= model.len());
    }
}

#[test]
fn an_emptied_collection_vanishes_and_a_large_one_is_freed_elsewhere() {
    let keyspace = keyspace();
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    drop(access.find_or_insert(
        b"s",
        Type::Set,
        Encoding::Listpack,
        NewValue::Bytes(b"1234567"),
    ));
    assert!(!access.exists(b"s", Lookup::Silent));
    let kept = access.find_or_insert(
        b"s",
        Type::Set,
        Encoding::Listpack,
        NewValue::Bytes(b"123456789"),
    );
    assert!(kept.is_new());
    drop(kept);
    assert!(access.exists(b"s", Lookup::Silent));
    put_hash(&mut access, b"h", &[None; 65]);
    put_hash(&mut access, b"small", &[None; 64]);
    assert!(access.remove(b"h") && access.remove(b"small"));
    let garbage = access.effects.rare.take().expect("a large value");
    drop(access);
    garbage.free(&keyspace);
    assert_eq!(keyspace.lazyfree.pending() + keyspace.lazyfree.freed(), 1);
}

#[test]
fn creating_a_key_that_somebody_waits_for_is_noted() {
    let keyspace = keyspace();
    let waiter = Waiter::new(Waiting {
        client_id: 1,
        db: DBS[0],
        command: 0,
        request: Request::new(Argv::new(b"", &[])),
        is_resp3: false,
        type_: Type::Hash,
        keys: vec![b"k".to_vec()],
        destination: None,
        gone: None,
        is_tracked: false,
        deadline_ms: None,
    });
    let mut access = all(&keyspace, DBS[0], NOW_MS);
    access.side(b"k").waiters.add(b"k", &waiter);
    let ready = |access: &mut Access<'_>| access.effects.take_ready().len();
    put_hash(&mut access, b"other", &[None]);
    assert_eq!(ready(&mut access), 0);
    put_hash(&mut access, b"k", &[None]);
    assert_eq!(ready(&mut access), 1, "put");
    access.set(b"k", 0, 0, NewValue::Int(1), Expire::Never);
    assert_eq!(ready(&mut access), 1, "another type");
    access.set(b"k", 0, 0, NewValue::Int(2), Expire::Never);
    assert_eq!(ready(&mut access), 0, "the same type");
    access.remove(b"k");
    drop(access.find_or_insert(
        b"k",
        Type::Set,
        Encoding::Listpack,
        NewValue::Bytes(b"123456789"),
    ));
    assert_eq!(ready(&mut access), 1, "created");
    drop(access.find_or_insert(b"k", Type::Set, Encoding::Listpack, NewValue::Bytes(b"")));
    assert_eq!(ready(&mut access), 0, "found");
    access.select(DBS[1]);
    put_hash(&mut access, b"k", &[None]);
    assert_eq!(ready(&mut access), 0, "another database");
    access.swap(DBS[0], DBS[1]);
    assert_eq!(ready(&mut access), 1, "swapped in");
}

/// A command that runs with the shards at hand finds nothing in others.
#[test]
fn partial_access_misses_what_it_does_not_hold() {
    let keyspace = Keyspace::new(64, 16, KeyHash::process(HashFunction::Fast));
    let other = (0..100u8).map(|n| vec![n]).find(|key| {
        keyspace.shard_of(keyspace.hash(key)) != keyspace.shard_of(keyspace.hash(b"k"))
    });
    let other = other.expect("64 shards");
    for key in [b"k", &other[..]] {
        let mut access = all(&keyspace, DBS[0], NOW_MS);
        access.set(key, 0, 0, NewValue::Int(1), Expire::Never);
    }
    let locks = keyspace.lock_one(keyspace.hash(b"k"));
    let mut access = Access::new(&keyspace, locks, DBS[0], NOW_MS, true);
    access.set_partial(true);
    assert!(access.exists(b"k", Lookup::Read) && !access.exists(&other, Lookup::Read));
    assert!(access.find_mut(&other).is_none() && access.take(&other).is_none());
    assert!(access.try_hold(&other) && access.exists(&other, Lookup::Read));
    let both = access.find_all(
        [&b"k"[..], b"no", &other].into_iter(),
        Lookup::Read,
        &[Type::String],
    );
    let both = both.unwrap();
    let found: Vec<bool> = both.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, false, true]);
}
