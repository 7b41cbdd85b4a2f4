//! Values as RDB files hold them: made whole, of every type, with the lengths, offsets and counts inside
//! that bytes changed at random never get right; and how files and payloads are changed with them.

use kivi::ds::listpack::{self, Value};
use kivi::persist::rdb::format::{kind, opcode};
use kivi::util::rng::Rng;
use libfuzzer_sys::fuzzer_mutate;

use crate::{put, words};

/// Types whose values are made here; of streams there are seeds.
const TYPES: &[u8] = &[
    kind::STRING,
    kind::LIST,
    kind::SET,
    kind::ZSET,
    kind::HASH,
    kind::ZSET_2,
    kind::HASH_ZIPMAP,
    kind::LIST_ZIPLIST,
    kind::SET_INTSET,
    kind::ZSET_ZIPLIST,
    kind::HASH_ZIPLIST,
    kind::LIST_QUICKLIST,
    kind::HASH_LISTPACK,
    kind::ZSET_LISTPACK,
    kind::LIST_QUICKLIST_2,
    kind::SET_LISTPACK,
    kind::VALKEY_HASH_2,
    kind::REDIS_HASH_LISTPACK_EX_PRE_GA,
    kind::REDIS_HASH_METADATA,
    kind::REDIS_HASH_LISTPACK_EX,
];

/// A changed input, in place of the one in the first `size` bytes of `data`: a byte of choices, and a file
/// behind its magic word, or a type with its value. How long it is.
pub fn mutate(is_file: bool, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = Rng::from_seed(seed.into());
    if size == 0 || rng.below(4) > 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut made = vec![match rng.below(2) {
        0 => data[0],
        _ => rng.next_u64() as u8,
    }];
    if is_file {
        for _ in 0..1 + rng.below(3) {
            record(&mut made, &mut rng);
        }
        made.extend_from_slice(&data[1..size]);
    } else {
        let type_ = TYPES[rng.index(TYPES.len())];
        made.push(type_);
        value(&mut made, type_, &mut rng);
    }
    half_by_libfuzzer(data, made, max_size, &mut rng)
}

/// Puts what was made there; one time in two libFuzzer changes it further.
fn half_by_libfuzzer(data: &mut [u8], made: Vec<u8>, max_size: usize, rng: &mut Rng) -> usize {
    let made_bytes = put(data, max_size, made);
    match rng.below(2) {
        0 => made_bytes,
        _ => fuzzer_mutate(data, made_bytes, max_size),
    }
}

/// As [`mutate`], for a listpack behind `head` bytes of choices: one in three is made whole.
pub fn mutate_listpack(
    head: usize,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> usize {
    let mut rng = Rng::from_seed(seed.into());
    if rng.below(3) > 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let kept = head.min(size);
    let mut made = data[..kept].to_vec();
    made.resize_with(head, || rng.next_u64() as u8);
    let most = if rng.below(8) == 0 { 300 } else { 12 };
    let elements: Vec<Element> = (0..rng.index(most)).map(|_| element(&mut rng)).collect();
    made.extend(listpack(&elements));
    if made.len() > max_size.min(data.len()) {
        return fuzzer_mutate(data, size, max_size);
    }
    half_by_libfuzzer(data, made, max_size, &mut rng)
}

/// What can stand wherever a record begins.
fn record(out: &mut Vec<u8>, rng: &mut Rng) {
    match rng.below(12) {
        0 => out.extend([opcode::SELECTDB, rng.below(20) as u8]),
        1 => out.extend([opcode::RESIZEDB, rng.below(64) as u8, rng.below(64) as u8]),
        2 => {
            out.push(opcode::AUX);
            string(out, b"redis-bits");
            string(out, &words::any(rng));
        }
        3 => {
            out.push(opcode::FUNCTION2);
            string(
                out,
                b"#!lua name=l\nredis.register_function('f', function() end)",
            );
        }
        4 => out.extend([opcode::SLOT_INFO, 1, 2, 3]),
        5 => out.extend([opcode::FREQ, rng.next_u64() as u8]),
        6 => out.extend([opcode::IDLE, rng.below(64) as u8]),
        _ => {
            if rng.below(3) == 0 {
                out.push(opcode::EXPIRETIME_MS);
                out.extend(moment(rng).to_le_bytes());
            }
            let type_ = TYPES[rng.index(TYPES.len())];
            out.push(type_);
            string(out, &words::any(rng));
            value(out, type_, rng);
        }
    }
}

/// Around the moment at which it is loaded, or none.
fn moment(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => 0,
        _ => crate::START_MS - 500 + rng.below(1000),
    }
}

fn value(out: &mut Vec<u8>, type_: u8, rng: &mut Rng) {
    let most = if rng.below(4) == 0 { 40 } else { 6 };
    let count = rng.index(most);
    match type_ {
        kind::STRING => word(out, rng),
        kind::LIST | kind::SET => repeat(out, count, |out, _| word(out, rng)),
        kind::ZSET => repeat(out, count, |out, _| {
            word(out, rng);
            let score = rng.below(9).to_string();
            match rng.below(4) {
                0 => out.push(253 + rng.below(3) as u8),
                _ => string(out, score.as_bytes()),
            }
        }),
        kind::ZSET_2 => repeat(out, count, |out, _| {
            word(out, rng);
            out.extend((rng.below(9) as f64 / 2.0).to_le_bytes());
        }),
        kind::HASH => repeat(out, 2 * count, |out, _| word(out, rng)),
        // Redis and Valkey have used one number for two forms.
        kind::VALKEY_HASH_2 if rng.below(2) == 0 => repeat(out, count, |out, _| {
            word(out, rng);
            word(out, rng);
            let at_ms = match rng.below(3) {
                0 => u64::MAX,
                _ => moment(rng),
            };
            out.extend(at_ms.to_le_bytes());
        }),
        kind::REDIS_HASH_METADATA | kind::REDIS_HASH_METADATA_PRE_GA => {
            if type_ == kind::REDIS_HASH_METADATA {
                out.extend(moment(rng).to_le_bytes());
            }
            repeat(out, count, |out, _| {
                length(out, rng.index(100));
                word(out, rng);
                word(out, rng);
            });
        }
        kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => repeat(out, count, |out, _| {
            let is_2 = type_ == kind::LIST_QUICKLIST_2;
            let container = 1 + rng.below(2);
            if is_2 {
                out.push(container as u8);
            }
            let node = match (is_2, container) {
                (true, 1) => words::any(rng),
                (true, _) => listpack(&elements(type_, 4, rng)),
                _ => ziplist(&elements(type_, 4, rng)),
            };
            string(out, &node);
        }),
        kind::REDIS_HASH_LISTPACK_EX => {
            out.extend(moment(rng).to_le_bytes());
            string(out, &listpack(&elements(type_, count, rng)));
        }
        kind::HASH_ZIPMAP => string(out, &zipmap(&elements(type_, count, rng))),
        kind::SET_INTSET => string(out, &intset(count, rng)),
        kind::LIST_ZIPLIST | kind::ZSET_ZIPLIST | kind::HASH_ZIPLIST => {
            string(out, &ziplist(&elements(type_, count, rng)));
        }
        _ => string(out, &listpack(&elements(type_, count, rng))),
    }
}

/// A count, and as many of what `each` writes.
fn repeat(out: &mut Vec<u8>, count: usize, mut each: impl FnMut(&mut Vec<u8>, usize)) {
    length(out, count);
    (0..count).for_each(|at| each(out, at));
}

/// An element of a compact value.
enum Element {
    Int(i64),
    Text(Vec<u8>),
}

/// Elements of so many members, as the type has them; mostly in the order that it asks for.
fn elements(type_: u8, count: usize, rng: &mut Rng) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut at_ms = moment(rng);
    for at in 0..count {
        elements.push(element(rng));
        match type_ {
            kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => elements.push(Element::Int(at as i64 / 2)),
            kind::HASH_ZIPLIST | kind::HASH_LISTPACK | kind::HASH_ZIPMAP => {
                elements.push(element(rng));
            }
            kind::REDIS_HASH_LISTPACK_EX | kind::REDIS_HASH_LISTPACK_EX_PRE_GA => {
                elements.push(element(rng));
                elements.push(Element::Int(at_ms as i64));
                at_ms += rng.below(3);
            }
            _ => {}
        }
    }
    if rng.below(8) == 0 {
        elements.push(element(rng));
    }
    elements
}

fn element(rng: &mut Rng) -> Element {
    match rng.below(3) {
        0 => Element::Int(rng.next_u64() as i64 >> rng.below(64)),
        1 => Element::Int(rng.below(16) as i64),
        _ => Element::Text(words::any(rng)),
    }
}

fn listpack(elements: &[Element]) -> Vec<u8> {
    let mut list = listpack::EMPTY.to_vec();
    for element in elements {
        let element = match element {
            Element::Int(int) => Value::Int(*int),
            Element::Text(text) => Value::from(&text[..]),
        };
        listpack::append(&mut list, element);
    }
    list
}

fn ziplist(elements: &[Element]) -> Vec<u8> {
    let (mut entries, mut before, mut last_at) = (Vec::new(), 0, 0);
    for element in elements {
        last_at = entries.len();
        match before {
            0..254 => entries.push(before as u8),
            _ => {
                entries.push(254);
                entries.extend((before as u32).to_le_bytes());
            }
        }
        ziplist_element(&mut entries, element);
        before = entries.len() - last_at;
    }
    let mut list = ((entries.len() + 11) as u32).to_le_bytes().to_vec();
    list.extend((last_at as u32 + 10).to_le_bytes());
    list.extend((elements.len() as u16).to_le_bytes());
    list.extend(entries);
    list.push(0xFF);
    list
}

fn ziplist_element(out: &mut Vec<u8>, element: &Element) {
    match element {
        Element::Int(int @ 0..13) => out.push(0xF1 + *int as u8),
        Element::Int(int) => {
            let (head, len) = match int.unsigned_abs() {
                0..0x80 => (0xFE, 1),
                0x80..0x8000 => (0xC0, 2),
                0x8000..0x80_0000 => (0xF0, 3),
                0x80_0000..0x8000_0000 => (0xD0, 4),
                _ => (0xE0, 8),
            };
            out.push(head);
            out.extend(&int.to_le_bytes()[..len]);
        }
        Element::Text(text) => {
            match text.len() {
                len @ 0..64 => out.push(len as u8),
                len => out.extend([0x40 | (len >> 8) as u8, len as u8]),
            }
            out.extend(text);
        }
    }
}

fn zipmap(elements: &[Element]) -> Vec<u8> {
    let mut map = vec![(elements.len() / 2) as u8];
    for (at, element) in elements.iter().enumerate() {
        let text = match element {
            Element::Int(int) => int.to_string().into_bytes(),
            Element::Text(text) => text.clone(),
        };
        match text.len() {
            len @ 0..254 => map.push(len as u8),
            len => {
                map.push(254);
                map.extend((len as u32).to_le_bytes());
            }
        }
        // Bytes that are not used, behind a value.
        let free = match at % 2 {
            0 => 0,
            _ => text.len() % 3,
        };
        if at % 2 == 1 {
            map.push(free as u8);
        }
        map.extend(text);
        map.extend(std::iter::repeat_n(0, free));
    }
    map.push(0xFF);
    map
}

fn intset(count: usize, rng: &mut Rng) -> Vec<u8> {
    let width = 2 << rng.below(3);
    let mut ints: Vec<i64> = (0..count)
        .map(|_| rng.next_u64() as i64 >> (64 - 8 * width + rng.below(8)))
        .collect();
    ints.sort_unstable();
    ints.dedup();
    let mut set = (width as u32).to_le_bytes().to_vec();
    set.extend((ints.len() as u32).to_le_bytes());
    for int in ints {
        set.extend(&int.to_le_bytes()[..width as usize]);
    }
    set
}

/// A string that is a word, or a number in one of its short forms.
fn word(out: &mut Vec<u8>, rng: &mut Rng) {
    match rng.below(6) {
        0 => out.extend([0xC0, rng.next_u64() as u8]),
        1 => out.extend([0xC1, rng.next_u64() as u8, rng.below(3) as u8]),
        2 => {
            out.push(0xC2);
            out.extend((rng.next_u64() as u32).to_le_bytes());
        }
        _ => string(out, &words::any(rng)),
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend(bytes);
}

fn length(out: &mut Vec<u8>, len: usize) {
    match len {
        0..64 => out.push(len as u8),
        64..16384 => out.extend([0x40 | (len >> 8) as u8, len as u8]),
        _ => {
            out.push(0x80);
            out.extend((len as u32).to_be_bytes());
        }
    }
}
