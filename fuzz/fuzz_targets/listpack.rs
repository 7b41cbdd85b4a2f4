//! Listpacks: any bytes are refused or can be read, edited, and read again.
//!
//! The first byte chooses the edit, the second its place, the third how many elements it removes;
//! the rest is a listpack (the first bit of the first byte says whether its header is put right) and
//! also what the edit inserts.
#![no_main]

use kivi::ds::listpack::{self, HEADER_BYTES, Listpack, Value};
use kivi::ds::quicklist::{End, Fill, Quicklist};
use kivi_fuzz::payloads;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fn texts(list: &[u8]) -> Vec<Vec<u8>> {
    Listpack::new(list).iter().map(Value::to_vec).collect()
}

/// Every way of reading agrees with the first.
fn read(list: &[u8]) -> Vec<Vec<u8>> {
    let view = Listpack::new(list);
    let all = texts(list);
    assert_eq!(view.len(), all.len());
    assert!(
        view.iter()
            .rev()
            .map(Value::to_vec)
            .eq(all.iter().rev().cloned())
    );
    for (index, text) in all.iter().enumerate() {
        let at = view.seek(index as i64).expect("there are so many");
        assert_eq!(view.seek(index as i64 - all.len() as i64), Some(at));
        assert!(view.value(at).eq_bytes(text));
        let found = view.find(HEADER_BYTES, text, 0).expect("it is there");
        assert!(found <= at && view.value(found).eq_bytes(text));
    }
    all
}

fuzz_target!(|data: &[u8]| {
    let [choice, place, remove, list @ ..] = data else {
        return;
    };
    let mut list = list.to_vec();
    if choice & 1 == 1 && list.len() > HEADER_BYTES {
        let len = (list.len() as u32).to_le_bytes();
        list[..4].copy_from_slice(&len);
        list[4..6].copy_from_slice(&[0xFF, 0xFF]);
        if let Some(end) = list.last_mut() {
            *end = 0xFF;
        }
    }
    if !listpack::validate(&list) {
        return;
    }
    let mut model = read(&list);
    let texts: Vec<&[u8]> = data.chunks(1 + usize::from(choice >> 3)).take(3).collect();

    let index = usize::from(*place) % (model.len() + 1);
    let end = model.len().min(index + usize::from(*remove));
    let view = Listpack::new(&list);
    let at = view.seek(index as i64).unwrap_or(view.end());
    let removed = listpack::splice(&mut list, at, usize::from(*remove), texts.iter().copied());
    assert_eq!(removed, end - index);
    model.splice(index..end, texts.iter().map(|text| text.to_vec()));
    assert!(listpack::validate(&list));
    assert_eq!(read(&list), model);

    // The same elements in a long list.
    let fill = Fill::new(i32::from(*place) % 8 - 4);
    let depth = u32::from(*remove) % 3;
    let mut long = Quicklist::from_listpack(Listpack::new(&listpack::EMPTY), fill, depth);
    model
        .iter()
        .for_each(|text| long.push(End::Tail, text[..].into()));
    let mut popped = Vec::new();
    long.pop(End::Tail, model.len(), |value| popped.push(value.to_vec()));
    model.reverse();
    assert_eq!(popped, model);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    payloads::mutate_listpack(3, data, size, max_size, seed)
});
