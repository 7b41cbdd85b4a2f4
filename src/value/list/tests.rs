//! List values in both encodings: when they convert, and against a vector.

use super::*;
use crate::ds::entry::{Entry, Meta};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::ds::table::{Slot, Table};
use crate::util::rng::Rng;
use crate::value::Type;

const FEW: Limits = Limits {
    hash_max_listpack_entries: 0,
    hash_max_listpack_value: 0,
    list_max_listpack_size: 8,
    list_compress_depth: 1,
    set_max_intset_entries: 0,
    set_max_listpack_entries: 0,
    set_max_listpack_value: 0,
    zset_max_listpack_entries: 0,
    zset_max_listpack_value: 0,
};

/// One key with a list.
struct Key {
    table: Table<Entry>,
    slot: Slot,
    limits: Limits,
}

impl Key {
    fn new(end: End, elements: &[&[u8]], limits: Limits) -> Key {
        let hash = KeyHash::with_seed(HashFunction::Fast, 1);
        let mut table = Table::new(0, hash);
        let elements = elements.iter().copied();
        let slot = with_new_value(end, elements, &limits, |enc, value| {
            let meta = Meta {
                type_: Type::List as u8,
                enc: enc as u8,
                lru: 0,
            };
            table.insert(hash.hash(b"key"), Entry::new(b"key", meta, value, None))
        });
        Key {
            table,
            slot,
            limits,
        }
    }

    fn list(&mut self) -> ListMut<'_> {
        ListMut::new(EntrySlot::new(&mut self.table, self.slot), self.limits)
    }

    fn view(&self) -> ListRef<'_> {
        ListRef::new(self.table.get(self.slot).value())
    }

    fn encoding(&self) -> Encoding {
        let encoding = Encoding::from_nibble(self.table.get(self.slot).enc());
        let is_listpack = matches!(self.view(), ListRef::Listpack(_));
        assert_eq!(is_listpack, encoding == Encoding::Listpack);
        encoding
    }

    fn texts(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let len = self.view().len();
        self.view()
            .walk_range(0..len, End::Tail, |value| all.push(value.to_vec()));
        all
    }

    fn push(&mut self, end: End, elements: &[&[u8]]) -> usize {
        self.list().push(end, elements.iter().copied())
    }
}

#[test]
fn bounds_name_what_they_name_in_redis() {
    for (start, stop, wanted) in [
        (0, -1, 0..5),
        (1, 2, 1..3),
        (-2, -1, 3..5),
        (-100, 1, 0..2),
        (3, 100, 3..5),
        (4, 4, 4..5),
        (5, 9, 0..0),
        (3, 2, 0..0),
        (-1, -2, 0..0),
        (0, -6, 0..0),
        (i64::MIN, i64::MAX, 0..5),
        (i64::MAX, i64::MIN, 0..0),
        (i64::MIN, i64::MIN, 0..0),
    ] {
        assert_eq!(range(5, start, stop), wanted, "{start} {stop}");
    }
    assert_eq!(range(0, 0, -1), 0..0);
    let key = Key::new(End::Tail, &[b"a", b"b"], FEW);
    let index = |index| key.view().index(index);
    assert_eq!([index(0), index(1), index(2)], [Some(0), Some(1), None]);
    assert_eq!([index(-1), index(-2), index(-3)], [Some(1), Some(0), None]);
    assert_eq!([index(i64::MAX), index(i64::MIN)], [None, None]);
}

#[test]
fn a_list_grows_before_it_is_too_long_and_shrinks_late() {
    let mut key = Key::new(End::Tail, &[b"1", b"2", b"3"], FEW);
    assert_eq!(key.push(End::Head, &[b"0", b"-1"]), 5);
    assert_eq!(key.push(End::Tail, &[b"4", b"5", b"6"]), 8);
    assert_eq!(key.encoding(), Encoding::Listpack);
    assert_eq!(key.push(End::Tail, &[b"7"]), 9);
    assert_eq!(key.encoding(), Encoding::Quicklist);
    // Down to one node, but not half of it.
    key.list().pop(End::Tail, 1, |_| {});
    key.list().pop(End::Head, 3, |_| {});
    assert_eq!(key.encoding(), Encoding::Quicklist);
    key.list().pop(End::Head, 1, |_| {});
    assert_eq!(key.encoding(), Encoding::Listpack);
    assert_eq!(key.texts(), [b"3", b"4", b"5", b"6"]);
}

#[test]
fn a_list_may_be_new_and_long() {
    let elements: Vec<&[u8]> = vec![b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i"];
    let key = Key::new(End::Head, &elements, FEW);
    assert_eq!(key.encoding(), Encoding::Quicklist);
    assert!(key.texts().iter().eq(elements.iter().rev()));
    let key = Key::new(End::Head, &elements[..8], FEW);
    assert_eq!(key.encoding(), Encoding::Listpack);
    assert!(key.texts().iter().eq(elements[..8].iter().rev()));
    let key = Key::new(End::Tail, &[&[b'x'; 8193]], Limits::default());
    assert_eq!(key.encoding(), Encoding::Quicklist);
}

#[test]
fn changes_that_find_nothing_may_convert_all_the_same() {
    // As in Valkey, which converts before it looks.
    let elements: Vec<&[u8]> = vec![b"a"; 8];
    let mut key = Key::new(End::Tail, &elements, FEW);
    assert!(!key.list().insert(b"pivot", true, b"b"));
    assert_eq!(key.encoding(), Encoding::Quicklist);
    let mut key = Key::new(End::Tail, &elements, FEW);
    assert!(!key.list().set(8, b"b"));
    assert_eq!(key.encoding(), Encoding::Quicklist);
    assert_eq!(key.list().remove_equal(b"b", 9, End::Head), 0);
    assert_eq!(key.texts(), elements);
}

#[test]
fn changes_are_those_of_a_vector_in_both_encodings() {
    let mut rng = Rng::from_seed(1);
    let mut encodings = [0; 2];
    for _ in 0..60 {
        let mut key = Key::new(End::Tail, &[b"first"], FEW);
        let mut model = vec![b"first".to_vec()];
        for _ in 0..100 {
            one_change(&mut rng, &mut key, &mut model);
            assert_eq!(key.texts(), model);
            encodings[usize::from(key.encoding() == Encoding::Listpack)] += 1;
        }
    }
    assert!(encodings.iter().all(|&seen| seen > 1000), "{encodings:?}");
}

fn one_change(rng: &mut Rng, key: &mut Key, model: &mut Vec<Vec<u8>>) {
    let text = rng.below(12).to_string().into_bytes();
    let end = if rng.below(2) == 0 {
        End::Head
    } else {
        End::Tail
    };
    let index = rng.index(model.len());
    match rng.below(8) {
        0..3 => {
            let more: Vec<&[u8]> = [&text[..], b"x", b""][..1 + rng.index(3)].to_vec();
            assert_eq!(key.push(end, &more), model.len() + more.len());
            for text in more {
                let at = if end == End::Head { 0 } else { model.len() };
                model.insert(at, text.to_vec());
            }
        }
        3 if model.len() > 1 => {
            let count = 1 + rng.index(model.len().min(8) - 1);
            let mut popped = Vec::new();
            key.list()
                .pop(end, count, |value| popped.push(value.to_vec()));
            let at = if end == End::Head {
                0
            } else {
                model.len() - count
            };
            let mut wanted: Vec<Vec<u8>> = model.drain(at..at + count).collect();
            if end == End::Tail {
                wanted.reverse();
            }
            assert_eq!(popped, wanted);
        }
        4 => {
            let from_end = index as i64 - model.len() as i64;
            let index_said = if rng.below(2) == 0 {
                index as i64
            } else {
                from_end
            };
            assert!(key.list().set(index_said, &text));
            model[index] = text;
        }
        5 => {
            let (pivot, after) = (rng.below(12).to_string(), rng.below(2) == 0);
            let found = model.iter().position(|text| text == pivot.as_bytes());
            assert_eq!(
                key.list().insert(pivot.as_bytes(), after, &text),
                found.is_some()
            );
            if let Some(at) = found {
                model.insert(at + usize::from(after), text);
            }
        }
        6 if model.iter().any(|other| *other != text) => {
            let count = 1 + rng.index(3);
            let mut hits: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
            if end == End::Tail {
                hits.reverse();
            }
            hits.truncate(count);
            assert_eq!(key.list().remove_equal(&text, count, end), hits.len());
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                !hits.contains(&(at - 1))
            });
        }
        _ => {
            let from = end;
            let to = if rng.below(2) == 0 {
                End::Head
            } else {
                End::Tail
            };
            let moved = match from {
                End::Head => model.remove(0),
                End::Tail => model.pop().unwrap_or_default(),
            };
            key.list()
                .rotate(from, to, |element| assert_eq!(element, moved));
            let at = if to == End::Head { 0 } else { model.len() };
            model.insert(at, moved);
            if model.len() > 30 {
                key.list().keep(2..model.len() - 20);
                model.truncate(model.len() - 20);
                model.drain(..2);
            }
        }
    }
}
