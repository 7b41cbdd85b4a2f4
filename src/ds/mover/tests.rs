//! Blocks of all kinds move; sparse runs are emptied. Structures have moves in their own random tests.

use super::*;
use crate::ds::entry::{Meta, NewValue, ValueRef};

fn address<T: ?Sized>(of: &T) -> usize {
    std::ptr::from_ref(of).cast::<u8>().addr()
}

#[test]
fn boxes_and_vectors_move_with_what_they_hold() {
    let mut mover = Mover::of_all();
    let mut boxed = Box::new([7u64; 5]);
    let before = address(&*boxed);
    mover.move_box(&mut boxed);
    assert_eq!(*boxed, [7; 5]);
    assert_ne!(address(&*boxed), before);
    mover.move_box(&mut Box::new(()));

    let mut vec = Vec::with_capacity(100);
    vec.extend_from_slice(b"abc");
    let before = vec.as_ptr();
    mover.move_vec(&mut vec);
    assert_eq!((&vec[..], vec.capacity()), (&b"abc"[..], 100));
    assert_ne!(vec.as_ptr(), before);

    let mut bytes: Box<[u8]> = b"abc".as_slice().into();
    mover.move_bytes(&mut bytes);
    assert_eq!(&bytes[..], b"abc");
    assert_eq!((mover.moved, mover.left), (3, 0));
    // What comes from no run stays, and so does nothing.
    let mut large = vec![1u8; BLOCK_BYTES_MAX + 1];
    let before = large.as_ptr();
    mover.move_vec(&mut large);
    mover.move_bytes(&mut Box::default());
    mover.move_vec(&mut Vec::<u8>::new());
    assert_eq!(large.as_ptr(), before);
    assert_eq!(mover.moved, 3);
}

#[test]
fn a_shared_value_moves_unless_somebody_holds_it() {
    let mut mover = Mover::of_all();
    let shared = Arc::new(vec![b'x'; 20_000]);
    let value = NewValue::Shared(shared.clone());
    let mut entry = Entry::new(b"key", Meta::default(), value, None);
    assert!(!mover.move_value(entry.view_mut(), 0));
    assert_eq!(mover.moved, 0);
    let text = shared.as_ptr();
    drop(shared);
    assert!(!mover.move_value(entry.view_mut(), 0));
    assert_eq!(mover.moved, 1);
    match entry.view().value() {
        ValueRef::Shared(bytes) => assert_eq!((bytes.as_ptr(), bytes.len()), (text, 20_000)),
        other => panic!("{other:?}"),
    }
}

/// Sparse runs are emptied, and what is in them lies in fewer runs then.
#[test]
#[cfg(not(any(miri, kivi_system_alloc)))]
fn what_is_left_of_many_comes_together() {
    use crate::ds::hash::{HashFunction, KeyHash};
    use crate::sys::alloc::bypass_thread_cache;

    // On a thread without a cache; other tests use other sizes.
    let work = || {
        bypass_thread_cache();
        let hash = KeyHash::with_seed(HashFunction::Fast, 1);
        let mut table = Table::<Entry>::new(0, hash);
        let key_of = |number: u32| number.to_string().into_bytes();
        for number in 0..20_000 {
            let (key, value) = (key_of(number), vec![b'v'; 1500]);
            let entry = Entry::new(&key, Meta::default(), NewValue::Bytes(&value), None);
            table.insert(hash.hash(&key), entry);
        }
        for number in (0..20_000).filter(|number| number % 10 != 3) {
            let key = key_of(number);
            let slot = table.find(hash.hash(&key), &key).unwrap();
            drop(std::hint::black_box(table.remove(slot)));
        }
        let sparse = Runs::read().unwrap();
        let mut moved = 0;
        for _ in 0..6 {
            let runs = Runs::read().unwrap();
            let mut cursor = 0;
            loop {
                let mut mover = Mover::new(&runs);
                cursor = mover.relocate_keys(&mut table, cursor, 0, |_| {});
                moved += mover.keys_moved;
                if cursor == 0 {
                    break;
                }
            }
        }
        let dense = Runs::read().unwrap();
        let won = sparse.wasted_bytes().saturating_sub(dense.wasted_bytes());
        assert!(won > 20_000 * 1500 / 2, "{won} bytes, {moved} moves");
        assert!((1000..6000).contains(&moved), "{moved} moves");
        for number in (3..20_000).step_by(10) {
            let key = key_of(number);
            assert!(table.find(hash.hash(&key), &key).is_some());
        }
    };
    std::thread::spawn(work).join().unwrap();
}
