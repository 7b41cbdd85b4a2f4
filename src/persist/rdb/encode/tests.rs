//! Tests of the encoding. Bytes that are spelled out are those that Valkey 9.1.2 writes, but for the
//! form of short sets and compressed strings.

use super::*;
use crate::db::DbIndex;
use crate::db::usage::Usage;
use crate::ds::collection::FieldTable;
use crate::ds::entry::{Entry, NewValue};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::ds::intset;
use crate::ds::listpack::{self, Listpack};
use crate::ds::quicklist::{End, Fill, Quicklist};
use crate::ds::table::Table;
use crate::ds::zset::Zset;
use crate::util::lzf;

const PLAIN: EncodeOptions = EncodeOptions {
    compress: false,
    usage: None,
};
const COMPRESSED: EncodeOptions = EncodeOptions {
    compress: true,
    usage: None,
};

fn stamp(measure: Measure, now_secs: u64) -> Stamp {
    let usage = Usage::default();
    usage.set(measure, false, 10, 1);
    usage.stamp(now_secs * 1000)
}

fn new(type_: Type, enc: Encoding, value: NewValue<'_>) -> Entry {
    with_expiry(type_, enc, value, None)
}

fn with_expiry(type_: Type, enc: Encoding, value: NewValue<'_>, at_ms: Option<u64>) -> Entry {
    let meta = Meta {
        type_: type_ as u8,
        enc: enc as u8,
        lru: 1000,
    };
    Entry::new(b"k", meta, value, at_ms)
}

fn encoded(value: &Entry, options: &EncodeOptions) -> Vec<u8> {
    let mut out = Vec::new();
    entry(&mut out, value.view(), options);
    out
}

fn string_of(text: &[u8], compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    text::string(&mut out, text, compress);
    out
}

/// The string that was written, and the bytes behind it.
fn read_string(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    match bytes[0] {
        0xC0 => ((bytes[1] as i8).to_string().into(), &bytes[2..]),
        0xC1 => {
            let int = i16::from_le_bytes(bytes[1..3].try_into().unwrap());
            (int.to_string().into(), &bytes[3..])
        }
        0xC2 => {
            let int = i32::from_le_bytes(bytes[1..5].try_into().unwrap());
            (int.to_string().into(), &bytes[5..])
        }
        0xC3 => {
            let (compressed, rest) = read_length(&bytes[1..]);
            let (len, rest) = read_length(rest);
            let mut text = Vec::new();
            assert!(lzf::decompress(&rest[..compressed], len, &mut text));
            (text, &rest[compressed..])
        }
        _ => {
            let (len, rest) = read_length(bytes);
            (rest[..len].to_vec(), &rest[len..])
        }
    }
}

fn read_length(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes[0] >> 6 {
        0 => (bytes[0].into(), &bytes[1..]),
        1 => (
            usize::from(bytes[0] & 0x3F) << 8 | usize::from(bytes[1]),
            &bytes[2..],
        ),
        _ => {
            assert_eq!(bytes[0], 0x80);
            let len = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
            (len as usize, &bytes[5..])
        }
    }
}

#[test]
fn lengths() {
    for (len, bytes) in [
        (0, &[0][..]),
        (63, &[63]),
        (64, &[0x40, 64]),
        (16_383, &[0x7F, 0xFF]),
        (16_384, &[0x80, 0, 0, 0x40, 0]),
        (u64::from(u32::MAX), &[0x80, 0xFF, 0xFF, 0xFF, 0xFF]),
        (1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
        (
            u64::MAX,
            &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ),
    ] {
        let mut out = Vec::new();
        text::length(&mut out, len);
        assert_eq!(out, bytes, "{len}");
    }
}

#[test]
fn integers_of_32_bits_have_forms_of_their_own() {
    for (text, bytes) in [
        ("0", &b"\xC0\0"[..]),
        ("-1", b"\xC0\xFF"),
        ("127", b"\xC0\x7F"),
        ("-128", b"\xC0\x80"),
        ("128", b"\xC1\x80\0"),
        ("-129", b"\xC1\x7F\xFF"),
        ("32767", b"\xC1\xFF\x7F"),
        ("32768", b"\xC2\0\x80\0\0"),
        ("-32769", b"\xC2\xFF\x7F\xFF\xFF"),
        ("2147483647", b"\xC2\xFF\xFF\xFF\x7F"),
        ("-2147483648", b"\xC2\0\0\0\x80"),
        ("2147483648", b"\x0A2147483648"),
        ("-2147483649", b"\x0B-2147483649"),
        ("-0", b"\x02-0"),
        ("01", b"\x0201"),
        ("+1", b"\x02+1"),
        ("", b"\0"),
        ("-", b"\x01-"),
    ] {
        assert_eq!(string_of(text.as_bytes(), true), bytes, "{text}");
        if let Ok(int) = text.parse::<i64>()
            && int.to_string() == text
        {
            let value = new(Type::String, Encoding::Int, NewValue::Int(int));
            assert_eq!(encoded(&value, &COMPRESSED), [b"\0\x01k", bytes].concat());
        }
    }
    let least = new(Type::String, Encoding::Int, NewValue::Int(i64::MIN));
    assert_eq!(
        encoded(&least, &COMPRESSED),
        b"\0\x01k\x14-9223372036854775808"
    );
}

#[test]
fn long_strings_are_compressed_where_that_gains_four_bytes() {
    // Not wanted, too short, without repetitions.
    assert_eq!(string_of(&[b'a'; 40], false)[..2], *b"\x28a");
    assert_eq!(string_of(&[b'a'; 20], true)[..2], *b"\x14a");
    let different: Vec<u8> = (0..64).collect();
    assert_eq!(string_of(&different, true)[..3], *b"\x40\x40\0");
    // Long enough, and around the lengths at which lengths grow.
    for len in [
        21, 22, 67, 68, 69, 100, 300, 16_384, 16_387, 16_388, 20_000, 3_000_000,
    ] {
        let text = vec![b'a'; len];
        let bytes = string_of(&text, true);
        assert_eq!(bytes[0], 0xC3);
        assert!(bytes.len() < len - 4);
        assert_eq!(read_string(&bytes), (text, &b""[..]), "{len}");
        let (compressed, rest) = read_length(&bytes[1..]);
        assert_eq!(read_length(rest).1.len(), compressed);
    }
    // Half of it repeats.
    let text: Vec<u8> = (0..=255).chain([7; 200]).collect();
    assert_eq!(read_string(&string_of(&text, true)), (text, &b""[..]));
    // Written behind what is there already.
    let mut out = b"before".to_vec();
    text::string(&mut out, &[b'x'; 1000], true);
    assert_eq!(read_string(&out[6..]).0, [b'x'; 1000]);
}

#[test]
fn large_strings_are_read_where_they_are() {
    let text: Vec<u8> = (0..100_000u32)
        .map(|i| (i.wrapping_mul(i) >> 5) as u8)
        .collect();
    let value = new(Type::String, Encoding::Raw, NewValue::Bytes(&text));
    let bytes = encoded(&value, &PLAIN);
    assert_eq!(bytes[..8], *b"\0\x01k\x80\0\x01\x86\xA0");
    assert_eq!(bytes[8..], text);
}

#[test]
fn opcodes_stand_before_the_type() {
    let at_ms = Some(2_222_222_222_222);
    let value = with_expiry(Type::String, Encoding::Embstr, NewValue::Bytes(b"x"), at_ms);
    let expiry = b"\xFC\x8E\x23\xC4\x66\x05\x02\0\0";
    let key = b"\0\x01k\x01x";
    for (usage, opcode) in [
        (None, &b""[..]),
        (Some(stamp(Measure::Lru, 1005)), b"\xF8\x05"),
        (Some(stamp(Measure::Lrm, 1100)), b"\xF8\x40\x64"),
        // It was accessed after the moment of the snapshot.
        (Some(stamp(Measure::Lru, 999)), b"\xF8\0"),
        (
            Some(stamp(Measure::Lru, 16_001_000)),
            b"\xF8\x80\0\xF4\x24\0",
        ),
        // 1000 is a counter of 232, as of minute 3.
        (Some(stamp(Measure::Lfu, 180)), b"\xF9\xE8"),
        (Some(stamp(Measure::Lfu, 5 * 60)), b"\xF9\xE6"),
        (Some(stamp(Measure::Lfu, 60)), b"\xF9\xE8"),
    ] {
        let options = EncodeOptions { usage, ..PLAIN };
        assert_eq!(
            encoded(&value, &options),
            [expiry, opcode, key].concat(),
            "{usage:?}"
        );
    }
}

#[test]
fn short_collections_are_their_bytes() {
    let elements = listpack::from_elements([Value::Bytes(b"f"), Value::from(&b"v"[..])]);
    let listpack = b"\x0D\x0D\0\0\0\x02\0\x81f\x02\x81v\x02\xFF";
    for (type_, enc, bytes, expected) in [
        (
            Type::Hash,
            Encoding::Listpack,
            &elements[..],
            [b"\x10\x01k", &listpack[..]].concat(),
        ),
        // A list of one node, which is packed.
        (
            Type::List,
            Encoding::Listpack,
            &elements,
            [b"\x12\x01k\x01\x02", &listpack[..]].concat(),
        ),
        (
            Type::Set,
            Encoding::Listpack,
            &elements,
            b"\x02\x01k\x02\x01f\x01v".to_vec(),
        ),
        (
            Type::Set,
            Encoding::Intset,
            &intset::from_sorted([1, 2, 300].into_iter()),
            b"\x0B\x01k\x0E\x02\0\0\0\x03\0\0\0\x01\0\x02\0\x2C\x01".to_vec(),
        ),
        // What a sorted set is kept without comes back.
        (
            Type::Zset,
            Encoding::Listpack,
            b"\x02\0\x81a\x02\x01\x01\x81b\x02\x832.5\x04",
            b"\x11\x01k\x14\x14\0\0\0\x04\0\x81a\x02\x01\x01\x81b\x02\x832.5\x04\xFF".to_vec(),
        ),
    ] {
        let value = new(type_, enc, NewValue::Bytes(bytes));
        assert_eq!(encoded(&value, &PLAIN), expected, "{type_:?} {enc:?}");
        assert_eq!(encoded(&value, &COMPRESSED), expected, "{type_:?} {enc:?}");
    }
}

#[test]
fn members_of_a_short_set_are_integers_where_they_can_be() {
    let members: [&[u8]; 4] = [b"a", b"7", b"-40000", b"12345678901"];
    let bytes = listpack::from_elements(members);
    let value = new(Type::Set, Encoding::Listpack, NewValue::Bytes(&bytes));
    let expected = b"\x02\x01k\x04\x01a\xC0\x07\xC2\xC0\x63\xFF\xFF\x0B12345678901";
    assert_eq!(encoded(&value, &PLAIN), expected);
}

fn table(entries: impl IntoIterator<Item = Entry>) -> Table<Entry> {
    let hash = KeyHash::with_seed(HashFunction::Fast, 1);
    let mut table = Table::new(0, hash);
    for entry in entries {
        let hash = hash.hash(entry.view().key());
        table.insert(hash, entry);
    }
    table
}

fn field(name: &str, value: NewValue<'_>, at_ms: Option<u64>) -> Entry {
    Entry::new(name.as_bytes(), Meta::default(), value, at_ms)
}

fn hash_of(fields: impl IntoIterator<Item = Entry>) -> Collection {
    Collection::Hash(FieldTable::new(table(fields)))
}

fn quicklist() -> Collection {
    let mut list = Quicklist::from_listpack(Listpack::new(&listpack::EMPTY), Fill::new(2), 0);
    for element in ["a", "1", "b"] {
        list.push(End::Tail, Value::from(element.as_bytes()));
    }
    list.push(End::Tail, Value::Bytes(&[b'x'; 10_000]));
    Collection::List(list)
}

fn zset() -> Collection {
    let hash = KeyHash::with_seed(HashFunction::Fast, 1);
    let mut zset = Zset::new(hash);
    for (member, score) in [("a", 1.0), ("b", f64::NEG_INFINITY), ("3", 2.5)] {
        zset.insert(hash.hash(member.as_bytes()), member.as_bytes(), score);
    }
    Collection::Zset(zset)
}

/// Types and encodings of large collections, with one of each.
fn large() -> Vec<(Type, Encoding, Collection)> {
    let fields = || {
        (0..40).map(|i| {
            let value = match i % 2 {
                0 => NewValue::Int(i),
                _ => NewValue::Bytes(b"value"),
            };
            field(&format!("field{i}"), value, None)
        })
    };
    let expiring = fields().chain([field("last", NewValue::Int(1), Some(3_333_333_333_333))]);
    let members = (0..40).map(|i| field(&i.to_string(), NewValue::Bytes(b""), None));
    vec![
        (Type::List, Encoding::Quicklist, quicklist()),
        (Type::Zset, Encoding::Skiplist, zset()),
        (Type::Hash, Encoding::Hashtable, hash_of(fields())),
        (Type::Hash, Encoding::Hashtable, hash_of(expiring)),
        (
            Type::Set,
            Encoding::Hashtable,
            Collection::Set(table(members)),
        ),
    ]
}

#[test]
fn large_collections_are_their_elements() {
    let list = quicklist();
    let value = new(
        Type::List,
        Encoding::Quicklist,
        NewValue::Collection(Box::new(list)),
    );
    let bytes = encoded(&value, &PLAIN);
    let start = b"\x12\x01k\x03\x02\x0C\x0C\0\0\0\x02\0\x81a\x02\x01\x01\xFF\
                  \x02\x0A\x0A\0\0\0\x01\0\x81b\x02\xFF\x01\x67\x10xxx";
    assert_eq!(bytes[..start.len()], *start);
    assert_eq!(bytes.len(), start.len() + 9997);

    let value = new(
        Type::Zset,
        Encoding::Skiplist,
        NewValue::Collection(Box::new(zset())),
    );
    let expected = b"\x05\x01k\x03\xC0\x03\0\0\0\0\0\0\x04\x40\x01a\0\0\0\0\0\0\xF0\x3F\
                     \x01b\0\0\0\0\0\0\xF0\xFF";
    assert_eq!(encoded(&value, &PLAIN), expected);

    let members = Collection::Set(table([field("77", NewValue::Bytes(b""), None)]));
    let value = new(
        Type::Set,
        Encoding::Hashtable,
        NewValue::Collection(Box::new(members)),
    );
    assert_eq!(encoded(&value, &PLAIN), b"\x02\x01k\x01\xC0\x4D");

    let fields = hash_of([field("f", NewValue::Bytes(b"v"), None)]);
    let value = new(
        Type::Hash,
        Encoding::Hashtable,
        NewValue::Collection(Box::new(fields)),
    );
    assert_eq!(encoded(&value, &PLAIN), b"\x04\x01k\x01\x01f\x01v");
}

#[test]
fn fields_that_expire_need_valkey_s_form() {
    for (at_ms, expiry) in [
        (Some(3_333_333_333_333), *b"\x55\x35\x26\x1A\x08\x03\0\0"),
        (None, [0xFF; 8]),
    ] {
        // One of the two decides for both.
        let fields = hash_of([
            field("f1", NewValue::Int(12), at_ms),
            field("g", NewValue::Int(1), Some(1)),
        ]);
        let value = new(
            Type::Hash,
            Encoding::Hashtable,
            NewValue::Collection(Box::new(fields)),
        );
        let bytes = encoded(&value, &PLAIN);
        assert_eq!(bytes[..4], *b"\x16\x01k\x02");
        let field = [&b"\x02f1\xC0\x0C"[..], &expiry].concat();
        assert!(bytes.windows(field.len()).any(|part| part == field));
        assert_eq!(bytes.len(), 4 + field.len() + 12);
        assert_eq!(Version::of(value.view().value()), Version::Valkey80);
        let payload = dump(value.view(), &PLAIN);
        assert_eq!(payload[payload.len() - 10..][..2], *b"\x50\0");
    }
}

#[test]
fn whole_and_in_pieces_is_the_same() {
    for (type_, enc, collection) in large() {
        for compress in [false, true] {
            let options = EncodeOptions {
                compress,
                usage: Some(stamp(Measure::Lru, 1234)),
            };
            let (kind, at_ms) = (LargeKind::of(&collection), Some(5_000));
            let mut pieces = Vec::new();
            let head = LargeHead {
                key: b"k",
                meta: Meta {
                    type_: type_ as u8,
                    enc: enc as u8,
                    lru: 1000,
                },
                expire_at_ms: at_ms,
                kind,
                len: collection.save_len(),
            };
            large_head(&mut pieces, &head, &options);
            for_each_element(&collection, &mut |element| {
                large_element(&mut pieces, kind, element, &options);
            });
            let copy = NewValue::Collection(Box::new(collection.duplicate()));
            let mut whole = encoded(&with_expiry(type_, enc, copy, at_ms), &options);
            // Tables with the same content may have it in another order.
            for bytes in [&mut pieces, &mut whole] {
                if !matches!(type_, Type::List | Type::Zset) {
                    bytes.sort_unstable();
                }
            }
            assert_eq!(pieces, whole, "{type_:?}");
        }
    }
}

#[test]
fn a_payload_ends_with_its_version_and_checksum() {
    // As Valkey 9.1.2, but for the version and so the checksum.
    let value = new(
        Type::String,
        Encoding::Embstr,
        NewValue::Bytes(b"12345678901"),
    );
    let payload = dump(value.view(), &PLAIN);
    assert_eq!(payload[..15], *b"\0\x0B12345678901\x0A\0");
    let checksum = format::crc64(0, &payload[..15]);
    assert_eq!(payload[15..], checksum.to_le_bytes());
    // As Redis 7.0.15 answers.
    let value = new(Type::String, Encoding::Embstr, NewValue::Bytes(b"hello"));
    let payload = b"\0\x05hello\x0A\0cr\xDFve4 \x0A";
    assert_eq!(dump(value.view(), &PLAIN), payload);
}

#[test]
fn the_frame_of_a_file() {
    let aux = Aux {
        redis_version: "7.2.4",
        kivi_version: "0.1.0",
        ctime_unix_secs: 1_795_000_000,
        used_memory_bytes: 5_000_000_000,
        aof_base: true,
    };
    let mut out = Vec::new();
    header(&mut out, Version::Redis10, &aux);
    let rest = b"\xFA\x09redis-ver\x057.2.4\xFA\x08kivi-ver\x050.1.0\xFA\x0Aredis-bits\xC0\x40\
                 \xFA\x05ctime\xC2\xC0\x86\xFD\x6A\xFA\x08used-mem\x0A5000000000\
                 \xFA\x08aof-base\xC0\x01";
    assert_eq!(out, [b"REDIS0010", &rest[..]].concat());
    out.clear();
    header(&mut out, Version::Valkey80, &aux);
    assert_eq!(out, [b"VALKEY080", &rest[..]].concat());

    out.clear();
    select(&mut out, DbIndex(5), 70, 3);
    select(&mut out, DbIndex(100), 1, 0);
    end(&mut out);
    assert_eq!(out, b"\xFE\x05\xFB\x40\x46\x03\xFE\x40\x64\xFB\x01\0\xFF");
}
