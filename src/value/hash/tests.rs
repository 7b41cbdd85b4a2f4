//! Hashes against a map, in both forms, with limits low enough that they convert all the time.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ds::hash::HashFunction;
use crate::value::Type;

const KEY: &[u8] = b"key";

/// A table with one key, whose value is a hash.
struct Stored {
    table: Table<Entry>,
    slot: Slot,
    terms: Terms,
}

impl Stored {
    fn new(entries_max: u64, value_bytes_max: u64) -> Stored {
        let key_hash = KeyHash::with_seed(HashFunction::Fast, 1);
        let mut table = Table::new(0, key_hash);
        let meta = Meta {
            type_: Type::Hash as u8,
            enc: Encoding::Listpack as u8,
            lru: 7,
        };
        let entry = Entry::new(KEY, meta, NewValue::Bytes(&listpack::EMPTY), Some(99));
        let slot = table.insert(key_hash.hash(KEY), entry);
        let terms = Terms {
            entries_max,
            value_bytes_max,
            key_hash,
            now_ms: 1_000,
        };
        Stored { table, slot, terms }
    }

    fn edit(&mut self) -> HashMut<EntrySlot<'_>> {
        HashMut::new(EntrySlot::new(&mut self.table, self.slot), self.terms)
    }

    fn view(&self) -> HashRef<'_> {
        HashRef::new(self.table.get(self.slot).value(), self.terms.now_ms)
    }

    fn encoding(&self) -> Encoding {
        let entry = self.table.get(self.slot);
        assert_eq!(entry.key(), KEY);
        assert_eq!(entry.expire_at_ms(), Some(99));
        assert_eq!((entry.type_(), entry.lru()), (Type::Hash as u8, 7));
        let encoding = Encoding::from_nibble(entry.enc());
        let is_list = matches!(self.view(), HashRef::Listpack(_));
        assert_eq!(is_list, encoding == Encoding::Listpack);
        encoding
    }
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn random_text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0..=3 => format!("f{}", rng.below(20)).into_bytes(),
        4 => (rng.next_u64() as i64 >> rng.below(64))
            .to_string()
            .into_bytes(),
        5 => rng.below(10).to_string().into_bytes(),
        6 => vec![b'x'; rng.index(12)],
        _ => (0..rng.below(6)).map(|_| rng.next_u64() as u8).collect(),
    }
}

/// All that can be read of a hash, against the model.
fn compare(stored: &Stored, model: &Model, rng: &mut Rng) {
    let hash = stored.view();
    assert_eq!(hash.len(), model.len());
    assert_eq!(hash.is_empty(), model.is_empty());
    let owned = |(field, value): Pair<'_>| (text(field).into_owned(), text(value).into_owned());
    let wanted: Vec<(Vec<u8>, Vec<u8>)> = model
        .iter()
        .map(|(field, (value, _))| (field.clone(), value.clone()))
        .collect();
    let mut all: Vec<_> = hash.iter().map(owned).collect();
    all.sort();
    assert_eq!(all, wanted);
    let mut scanned = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = hash.scan(cursor, 1, |pair| scanned.push(owned(pair)));
        if cursor == 0 {
            break;
        }
    }
    scanned.sort();
    assert_eq!(scanned, wanted);
    for (field, (value, expire_at_ms)) in model {
        assert_eq!(text(hash.get(field).unwrap()), &value[..]);
        assert!(hash.contains(field));
        assert_eq!(hash.expire_at_ms(field), Some(*expire_at_ms));
    }
    let absent = random_text(rng);
    if !model.contains_key(&absent) {
        assert!(hash.get(&absent).is_none() && !hash.contains(&absent));
        assert_eq!(hash.expire_at_ms(&absent), None);
    }
    match hash.random(rng) {
        Some((field, value)) => assert_eq!(text(value), &model[&*text(field)].0[..]),
        None => assert!(model.is_empty()),
    }
}

/// One random change of both; what it says of itself must agree.
fn change(stored: &mut Stored, model: &mut Model, rng: &mut Rng) {
    let now_ms = stored.terms.now_ms;
    let (field, value) = (random_text(rng), random_text(rng));
    let old = model.get(&field).cloned();
    let at_ms = now_ms + 1 + rng.below(50);
    let mut hash = stored.edit();
    match rng.below(12) {
        0..=3 => {
            let (ttl, expire) = match rng.below(6) {
                0 => (Ttl::At(at_ms), Some(at_ms)),
                1 => (Ttl::Keep, old.as_ref().and_then(|(_, expire)| *expire)),
                _ => (Ttl::Never, None),
            };
            assert_eq!(
                hash.set(&field, Value::from(&value[..]), ttl),
                old.is_none()
            );
            model.insert(field, (value, expire));
        }
        4 => {
            let place = hash.find(&field);
            let found = hash.get(place).map(|value| text(value).into_owned());
            assert_eq!(found, old.as_ref().map(|(value, _)| value.clone()));
            assert_eq!(
                hash.expire_at_ms(place),
                old.as_ref().map(|(_, expire)| *expire)
            );
            hash.set_at(
                place,
                &field,
                Value::Int(rng.below(1 << 40) as i64),
                Ttl::Keep,
            );
            let set = text(hash.view().get(&field).unwrap()).into_owned();
            model.insert(field, (set, old.and_then(|(_, expire)| expire)));
        }
        5..=7 => {
            assert_eq!(hash.delete(&field), old.is_some());
            model.remove(&field);
        }
        8 => {
            let expire = (rng.below(3) > 0).then_some(at_ms);
            hash.set_expire(&field, expire);
            if let Some((_, old)) = model.get_mut(&field) {
                *old = expire;
            }
        }
        9 => {
            let texts: Vec<Vec<u8>> = (0..2 * rng.below(5)).map(|_| random_text(rng)).collect();
            let pairs = texts.chunks(2).map(|pair| (&pair[0][..], &pair[1][..]));
            let before = model.len();
            for (field, value) in pairs.clone() {
                model.insert(field.to_vec(), (value.to_vec(), None));
            }
            let created = match hash.is_list() && rng.below(2) == 0 {
                true => hash.drafted(list_bytes(pairs.clone()), |draft| draft.set_all(pairs)),
                false => hash.set_all(pairs),
            };
            assert_eq!(created, model.len() - before);
        }
        10 => {
            hash.take_expired(rng.index(4), drop);
        }
        _ => {
            stored.terms.now_ms += rng.below(20);
            let now_ms = stored.terms.now_ms;
            model.retain(|_, (_, expire)| expire.is_none_or(|at_ms| at_ms > now_ms));
        }
    }
}

#[test]
fn hashes_are_maps() {
    let mut rng = Rng::from_seed(3);
    let mut encodings = BTreeSet::new();
    for round in 0..150 {
        let limits = [(512, 64), (0, 64), (8, 64), (20, 5)][round % 4];
        let mut stored = Stored::new(limits.0, limits.1);
        let mut model = Model::new();
        let mut was_table = false;
        for _ in 0..150 {
            change(&mut stored, &mut model, &mut rng);
            compare(&stored, &model, &mut rng);
            let is_table = stored.encoding() == Encoding::Hashtable;
            assert!(is_table || !was_table, "it never goes back");
            was_table = is_table;
            encodings.insert(is_table);
        }
    }
    assert_eq!(encodings.len(), 2);
}

#[test]
fn what_is_too_much_makes_a_table() {
    let set = |stored: &mut Stored, field: &[u8], value: &[u8]| {
        stored.edit().set(field, Value::from(value), Ttl::Never);
        stored.encoding()
    };
    let mut stored = Stored::new(2, 3);
    assert_eq!(set(&mut stored, b"abc", b"123"), Encoding::Listpack);
    assert_eq!(set(&mut stored, b"b", b""), Encoding::Listpack);
    assert_eq!(set(&mut stored, b"b", b"xyz"), Encoding::Listpack);
    assert_eq!(set(&mut stored, b"c", b""), Encoding::Hashtable);
    for (field, value) in [(&b"abcd"[..], &b"1"[..]), (b"a", b"1234"), (b"a", b"-100")] {
        let mut stored = Stored::new(2, 3);
        assert_eq!(set(&mut stored, field, value), Encoding::Hashtable);
        assert_eq!(text(stored.view().get(field).unwrap()), value);
    }
    // Also a change of what is there, when the limit has been lowered since.
    let mut stored = Stored::new(2, 3);
    assert_eq!(set(&mut stored, b"a", b"1"), Encoding::Listpack);
    stored.terms.entries_max = 0;
    assert_eq!(set(&mut stored, b"a", b"2"), Encoding::Hashtable);
}

#[test]
fn several_are_judged_together_by_set_all_only() {
    let thrice = [(&b"a"[..], &b"1"[..]), (b"a", b"2"), (b"a", b"3")];
    let mut stored = Stored::new(2, 3);
    assert_eq!(stored.edit().set_each(thrice.into_iter(), Ttl::Never), 1);
    assert_eq!(stored.encoding(), Encoding::Listpack);
    assert_eq!(stored.edit().set_all(thrice.into_iter()), 0);
    assert_eq!(stored.encoding(), Encoding::Hashtable);
    assert_eq!(text(stored.view().get(b"a").unwrap()), &b"3"[..]);
}

#[test]
fn an_expiry_makes_a_table_and_none_does_not() {
    let mut stored = Stored::new(512, 64);
    stored.edit().set(b"a", Value::Int(1), Ttl::Keep);
    stored.edit().set_expire(b"a", None);
    stored.edit().set_expire(b"absent", Some(2_000));
    assert_eq!(stored.encoding(), Encoding::Listpack);
    stored.edit().set_expire(b"a", Some(2_000));
    assert_eq!(stored.encoding(), Encoding::Hashtable);
    assert!(!stored.view().may_have_expired());
    stored.terms.now_ms = 2_000;
    assert!(stored.view().may_have_expired());
    assert_eq!(stored.view().len(), 0);
    assert!(stored.view().random(&mut Rng::from_seed(1)).is_none());
    assert!(!stored.edit().delete(b"a"), "it has expired");
    assert!(stored.edit().set(b"a", Value::Int(1), Ttl::At(3_000)));
    assert_eq!(stored.view().expire_at_ms(b"a"), Some(Some(3_000)));
}

#[test]
fn numbers_take_the_smaller_form() {
    let mut stored = Stored::new(0, 64);
    let mut form = |text: &[u8]| {
        stored.edit().set(b"a", Value::from(text), Ttl::Never);
        matches!(stored.view().get(b"a"), Some(ValueRef::Int(_)))
    };
    assert!(!form(b"1234567"));
    assert!(form(b"12345678"));
    assert!(!form(b"-123456"));
    assert!(form(b"-1234567"));
    assert!(!form(b"0000000000001"));
}

#[test]
fn random_fields_are_about_equally_likely() {
    for entries_max in [0, 512] {
        let mut stored = Stored::new(entries_max, 64);
        for i in 0..10u8 {
            stored.edit().set(&[i], Value::Int(0), Ttl::Never);
        }
        let mut rng = Rng::from_seed(5);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            let (field, _) = stored.view().random(&mut rng).unwrap();
            seen[usize::from(text(field)[0])] += 1;
        }
        assert!(
            seen.iter().all(|&times| (850..1150).contains(&times)),
            "{seen:?}"
        );
    }
}

#[test]
fn a_draft_stores_what_was_put_into_it() {
    let terms = Stored::new(2, 64).terms;
    let mut draft = HashMut::new(Draft::with_capacity(0), terms);
    assert!(draft.set(b"a", Value::Int(1), Ttl::Never));
    assert!(!draft.set(b"a", Value::Int(2), Ttl::Never));
    let mut small = draft.into_home();
    let (enc, value) = small.value();
    assert_eq!(enc, Encoding::Listpack);
    let NewValue::Bytes(bytes) = value else {
        panic!("bytes")
    };
    assert_eq!(bytes, listpack::from_elements([&b"a"[..], b"2"]));
    let mut draft = HashMut::new(Draft::with_capacity(0), terms);
    draft.set(b"a", Value::Int(1), Ttl::At(5_000));
    let mut large = draft.into_home();
    let (enc, value) = large.value();
    assert_eq!(enc, Encoding::Hashtable);
    assert!(matches!(value, NewValue::Collection(collection) if collection.len() == 1));
}
