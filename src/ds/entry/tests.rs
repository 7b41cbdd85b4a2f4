//! Tests of the entry at every border of its format.

use super::*;
use crate::ds::hash::HashFunction;
use crate::util::rng::Rng;

const LENGTHS: [usize; 10] = [0, 1, 7, 16, 255, 256, 16_383, 16_384, 65_535, 65_536];
const EXPIRIES: [Option<u64>; 3] = [None, Some(1_700_000_000_000), Some(u64::MAX)];
const META: Meta = Meta {
    type_: 0xB,
    enc: 0x5,
    lru: 0x1AB_CDEF,
};

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn expect(entry: &Entry, key: &[u8], value: &[u8], expire_at_ms: Option<u64>) {
    let view = entry.view();
    assert_eq!(view.key(), key);
    assert_eq!(view.meta(), META);
    assert_eq!(view.expire_at_ms(), expire_at_ms);
    match view.value() {
        ValueRef::Bytes(bytes) => assert_eq!(bytes, value),
        ValueRef::Shared(shared) => assert_eq!(&shared[..], value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keeps_keys_values_and_expiries_of_all_lengths() {
    for key_len in LENGTHS {
        for value_len in LENGTHS {
            for expire_at_ms in EXPIRIES {
                let (key, value) = (bytes(key_len, 1), bytes(value_len, 2));
                let mut entry = Entry::new(&key, META, NewValue::Bytes(&value), expire_at_ms);
                expect(&entry, &key, &value, expire_at_ms);
                let shared = matches!(entry.view().value(), ValueRef::Shared(_));
                assert_eq!(shared, value_len >= SHARED_MIN);
                for expire_at_ms in EXPIRIES {
                    entry.set_expire_at_ms(expire_at_ms);
                    expect(&entry, &key, &value, expire_at_ms);
                }
                let mut entry = Entry::new(&key, META, NewValue::Int(i64::MIN + 7), expire_at_ms);
                for expire_at_ms in EXPIRIES {
                    assert_eq!(entry.view().value(), ValueRef::Int(i64::MIN + 7));
                    assert_eq!(entry.view().key(), key);
                    entry.set_expire_at_ms(expire_at_ms);
                    assert_eq!(entry.view().expire_at_ms(), expire_at_ms);
                    assert_eq!(entry.view().meta(), META);
                }
            }
        }
    }
}

#[test]
fn sizes_are_what_the_design_says() {
    let size = |value: NewValue<'_>, expire_at_ms| {
        Entry::new(&[b'k'; 16], META, value, expire_at_ms)
            .view()
            .alloc_bytes(0)
    };
    assert_eq!(size(NewValue::Bytes(&[0; 16]), None), 40);
    assert_eq!(size(NewValue::Bytes(&[0; 16]), Some(1)), 48);
    assert_eq!(size(NewValue::Int(12345678), None), 32);
    assert_eq!(size(NewValue::Bytes(&[0; 100]), None), 128);
    assert_eq!(
        size(NewValue::Bytes(&[0; SHARED_MIN]), None),
        32 + 40 + SHARED_MIN
    );
    assert_eq!(size_of::<Entry>(), 8);
    assert_eq!(size_of::<Option<Entry>>(), 8);
}

#[test]
fn size_classes_are_jemallocs() {
    let classes = [
        16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640,
        768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192,
        10240, 12288, 14336, 16384, 20480,
    ];
    let mut class = classes.iter();
    let mut next = class.next().unwrap();
    for bytes in 1..=20480 {
        if bytes > *next {
            next = class.next().unwrap();
        }
        assert_eq!(size_class(bytes), *next);
    }
}

#[test]
fn changes_in_place_only_within_the_size_class() {
    for expire_at_ms in EXPIRIES {
        for key_len in [1, 16, 255, 256, 300] {
            let key = bytes(key_len, 3);
            for from in (0..300).step_by(7).chain([255, 256]) {
                for to in (0..300).step_by(11).chain([255, 256]) {
                    let (old, new) = (bytes(from, 4), bytes(to, 5));
                    let mut entry = Entry::new(&key, META, NewValue::Bytes(&old), expire_at_ms);
                    let before = entry.view().alloc_bytes(0);
                    let fresh = Entry::new(&key, META, NewValue::Bytes(&new), expire_at_ms);
                    let fits = fresh.view().alloc_bytes(0) == before;
                    assert_eq!(entry.view_mut().try_set_bytes(&new), fits);
                    expect(&entry, &key, if fits { &new } else { &old }, expire_at_ms);
                    assert_eq!(entry.view().alloc_bytes(0), before);
                }
                // To an integer and back.
                let value = bytes(from, 6);
                let mut entry = Entry::new(&key, META, NewValue::Bytes(&value), expire_at_ms);
                assert!(!entry.view_mut().set_int(5));
                if entry.view_mut().try_set_int(-77) {
                    assert_eq!(entry.view().value(), ValueRef::Int(-77));
                    assert_eq!(entry.view().key(), key);
                    assert_eq!(entry.view().expire_at_ms(), expire_at_ms);
                    assert!(entry.view_mut().set_int(78));
                    assert_eq!(entry.view().value(), ValueRef::Int(78));
                    assert!(entry.view_mut().value_bytes_mut().is_none());
                    assert!(entry.view_mut().try_set_bytes(&value));
                }
                expect(&entry, &key, &value, expire_at_ms);
            }
        }
    }
}

#[test]
fn changes_metadata_and_bytes() {
    let mut entry = Entry::new(b"key", META, NewValue::Bytes(b"value"), Some(9));
    entry.view_mut().set_lru(0xFF00_0001);
    entry.view_mut().set_enc(0xF3);
    entry.view_mut().set_type(0xF4);
    let meta = Meta {
        type_: 4,
        enc: 3,
        lru: 0x100_0001,
    };
    assert_eq!(entry.view().meta(), meta);
    entry.view_mut().value_bytes_mut().unwrap()[0] = b'V';
    assert_eq!(entry.view().value(), ValueRef::Bytes(b"Value"));
    assert_eq!(
        (entry.view().key(), entry.view().expire_at_ms()),
        (&b"key"[..], Some(9))
    );
    assert!(entry.view_mut().shared_mut().is_none());
    assert!(!entry.view_mut().try_set_bytes(&[0; SHARED_MIN]));
    assert!(format!("{entry:?}").contains("\"key\""));
}

#[test]
fn shared_values_are_copied_only_while_shared() {
    let value = bytes(SHARED_MIN + 100, 1);
    let mut entry = Entry::new(b"key", META, NewValue::Bytes(&value), None);
    let ValueRef::Shared(shared) = entry.view().value() else {
        panic!("inline")
    };
    let reply = Arc::clone(shared);
    // Somebody holds it: no change in place, and a writer gets a copy.
    assert!(!entry.view_mut().try_set_bytes(&bytes(SHARED_MIN, 2)));
    entry.view_mut().value_bytes_mut().unwrap()[0] ^= 0xFF;
    assert_eq!(reply[..], value[..]);
    let ValueRef::Shared(shared) = entry.view().value() else {
        panic!("inline")
    };
    assert_eq!(
        (Arc::strong_count(shared), Arc::strong_count(&reply)),
        (1, 1)
    );
    // Nobody does.
    let at = shared.as_ptr();
    assert!(entry.view_mut().try_set_bytes(&bytes(SHARED_MIN, 2)));
    assert!(!entry.view_mut().try_set_bytes(&bytes(SHARED_MIN - 1, 2)));
    assert!(!entry.view_mut().try_set_bytes(&bytes(SHARED_MIN * 4, 2)));
    entry.view_mut().shared_mut().unwrap().truncate(10);
    assert!(!entry.view_mut().try_set_int(1));
    entry.set_expire_at_ms(Some(5));
    expect(&entry, b"key", &bytes(10, 2), Some(5));
    let ValueRef::Shared(shared) = entry.view().value() else {
        panic!("inline")
    };
    assert_eq!(shared.as_ptr(), at);
    // A short one stays shared if it is handed over as such.
    let handed = Arc::new(b"short".to_vec());
    let entry = Entry::new(b"", META, NewValue::Shared(Arc::clone(&handed)), None);
    assert_eq!(Arc::strong_count(&handed), 2);
    drop(entry);
    assert_eq!(Arc::strong_count(&handed), 1);
}

fn slot_of(table: &mut Table<Entry>, key: &[u8], value: NewValue<'_>, at: Option<u64>) -> Slot {
    let hash = table.key_hash().hash(key);
    table.insert(hash, Entry::new(key, META, value, at))
}

#[test]
fn slots_splice_as_vectors_do() {
    let mut rng = Rng::from_seed(11);
    for (key_len, expire_at_ms) in [(3, None), (300, Some(7))] {
        let mut table: Table<Entry> = Table::new(0, KeyHash::process(HashFunction::Fast));
        let key = bytes(key_len, 1);
        let slot = slot_of(&mut table, &key, NewValue::Bytes(b""), expire_at_ms);
        let mut model: Vec<u8> = Vec::new();
        for round in 0..4_000 {
            // Grows through inline and shared sizes, then shrinks again.
            let growing = round % 2_000 < 1_000;
            let at = rng.index(model.len() + 1);
            let most = if growing { 5 } else { 60 };
            let remove = rng.index((model.len() - at).min(most) + 1);
            let insert = bytes(rng.index(if growing { 60 } else { 5 }), round as u8);
            let mut entry = EntrySlot::new(&mut table, slot);
            entry.splice(at, remove, &insert);
            model.splice(at..at + remove, insert.iter().copied());
            assert_eq!(entry.bytes(), model);
            if let Some(byte) = entry.bytes_mut().last_mut() {
                *byte = round as u8;
                *model.last_mut().unwrap() = round as u8;
            }
        }
        assert!(matches!(table.get(slot).value(), ValueRef::Shared(_)));
        let entry = table.remove(slot);
        expect(&entry, &key, &model, expire_at_ms);
    }
}

#[test]
fn collections_live_and_move_with_their_entry() {
    let key_hash = KeyHash::process(HashFunction::Fast);
    let mut table: Table<Entry> = Table::new(0, key_hash);
    let mut members: Table<Entry> = Table::new(0, key_hash);
    for n in 0..1_000u32 {
        let member = n.to_le_bytes();
        slot_of(&mut members, &member, NewValue::Bytes(b""), None);
    }
    let slot = slot_of(&mut table, b"set", NewValue::Bytes(b"compact"), Some(5));
    let mut entry = EntrySlot::new(&mut table, slot);
    assert!(entry.collection_mut().is_none());
    entry.set_value(9, NewValue::Collection(Box::new(Collection::Set(members))));
    assert_eq!((entry.view().enc(), entry.view().type_()), (9, META.type_));
    assert!(entry.bytes().is_empty() && entry.bytes_mut().is_empty());
    let Some(Collection::Set(members)) = entry.collection_mut() else {
        panic!("a set");
    };
    slot_of(members, b"one more", NewValue::Bytes(b""), None);
    table.set_expire(slot, None);
    let copy = table.get(slot).value().as_collection().unwrap().duplicate();
    let entry = table.remove(slot).with_key(&bytes(70_000, 3));
    assert_eq!(entry.view().key(), bytes(70_000, 3));
    assert_eq!(
        entry.view().value().as_collection().map(Collection::len),
        Some(1_001)
    );
    assert!(entry.view().alloc_bytes(0) > 1_001 * 16);
    drop(entry);
    let Collection::Set(members) = copy else {
        panic!("a set");
    };
    assert_eq!(members.len(), 1_001);
    let last = key_hash.hash(b"one more");
    assert!(members.find(last, b"one more").is_some());
}
