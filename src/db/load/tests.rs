//! Keys that come in bulk: found afterwards, with their expiries and those of their fields.

use super::*;
use crate::db::{Access, Lookup};
use crate::ds::collection::{Collection, FieldTable};
use crate::ds::entry::{Meta, NewValue};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::ds::table::Table;
use crate::value::{Encoding, Type};

const NOW_MS: u64 = 1_700_000_000_000;

fn keyspace(shards: usize) -> Keyspace {
    Keyspace::new(shards, 16, KeyHash::process(HashFunction::Fast))
}

fn string(key: &str, expire_at_ms: Option<u64>) -> Entry {
    let meta = Meta {
        type_: Type::String as u8,
        enc: Encoding::Embstr as u8,
        lru: 0,
    };
    let value = NewValue::Bytes(key.as_bytes());
    Entry::new(key.as_bytes(), meta, value, expire_at_ms)
}

fn value_of(keyspace: &Keyspace, db: DbIndex, key: &str) -> Option<Vec<u8>> {
    let locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
    let mut access = Access::new(keyspace, locks, db, NOW_MS, false);
    let entry = access.find(key.as_bytes(), Lookup::Silent)?;
    entry.value().as_bytes().map(<[u8]>::to_vec)
}

#[test]
fn every_key_is_found_in_its_database_and_no_change_is_counted() {
    for shards in [1, 8] {
        let keyspace = keyspace(shards);
        for db in [DbIndex(0), DbIndex(7)] {
            let entries = (0..5000).map(|n| string(&format!("{}:{n}", db.0), None));
            keyspace
                .insert_loaded(db, entries.collect(), NOW_MS)
                .unwrap();
        }
        for db in [DbIndex(0), DbIndex(7)] {
            for n in 0..5000 {
                let key = format!("{}:{n}", db.0);
                assert_eq!(value_of(&keyspace, db, &key), Some(key.clone().into()));
                assert_eq!(value_of(&keyspace, DbIndex(3), &key), None);
            }
        }
        assert_eq!(keyspace.changes(), 0);
    }
}

#[test]
fn a_key_that_is_there_already_is_told() {
    let keyspace = keyspace(4);
    let db = DbIndex(2);
    let first = vec![string("a", None), string("b", None)];
    keyspace.insert_loaded(db, first, NOW_MS).unwrap();
    let again = vec![string("c", None), string("b", None)];
    let refused = keyspace.insert_loaded(db, again, NOW_MS);
    assert_eq!(
        refused,
        Err(Duplicate {
            db,
            key: b"b".to_vec()
        })
    );
    let twice = vec![string("d", None), string("d", None)];
    assert!(keyspace.insert_loaded(DbIndex(0), twice, NOW_MS).is_err());
}

#[test]
fn expiries_of_keys_and_of_fields_are_kept_by_the_cycle() {
    let key_hash = KeyHash::process(HashFunction::Fast);
    let keyspace = keyspace(4);
    let mut fields = Table::new(0, key_hash);
    fields.set_clock_ms(NOW_MS);
    for (field, expire_at_ms) in [(b"a", Some(NOW_MS + 50)), (b"b", None)] {
        let value = NewValue::Bytes(b"1");
        let entry = Entry::new(field, Meta::default(), value, expire_at_ms);
        fields.insert(key_hash.hash(field), entry);
    }
    let meta = Meta {
        type_: Type::Hash as u8,
        enc: Encoding::Hashtable as u8,
        lru: 0,
    };
    let collection = Box::new(Collection::Hash(FieldTable::new(fields)));
    let hash = Entry::new(b"hash", meta, NewValue::Collection(collection), None);
    let entries = vec![
        string("soon", Some(NOW_MS + 100)),
        string("later", Some(NOW_MS + 10_000)),
        string("never", None),
        hash,
    ];
    keyspace.insert_loaded(DbIndex(0), entries, NOW_MS).unwrap();
    let published = |key: &str| {
        let shard = keyspace.shard(keyspace.shard_of(keyspace.hash(key.as_bytes())));
        shard
            .next_expire_at_ms
            .load(std::sync::atomic::Ordering::SeqCst)
    };
    assert!(published("soon") <= NOW_MS + 100);
    assert!(published("hash") <= NOW_MS + 50);
    assert!(published("later") <= NOW_MS + 10_000);
    keyspace.expire_due(NOW_MS + 200);
    assert_eq!(value_of(&keyspace, DbIndex(0), "soon"), None);
    assert!(value_of(&keyspace, DbIndex(0), "later").is_some());
    let locks = keyspace.lock_one(keyspace.hash(b"hash"));
    let mut access = Access::new(&keyspace, locks, DbIndex(0), NOW_MS + 200, false);
    let entry = access.find(b"hash", Lookup::Silent).unwrap();
    assert_eq!(entry.value().as_collection().unwrap().len(), 1);
}
