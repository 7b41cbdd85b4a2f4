//! What values of each type become, and what is no valid one.

use super::corpus::{all, counted, length, listpack_of, text, ziplist};
use super::*;
use crate::persist::rdb::encode::{self, EncodeOptions};
use crate::persist::rdb::format::kind;
use crate::util::rng::Rng;

fn refused(type_: u8, body: &[u8]) -> String {
    for version in [9, 80] {
        match restored(type_, body, version, &options()) {
            Err(RestoreError::Bad(fault)) if version == 80 => return fault.message,
            Err(RestoreError::Bad(_)) => {}
            other => panic!("type {type_} of {body:?}: {other:?}"),
        }
    }
    unreachable!()
}

#[test]
fn every_type_is_read_from_payloads_and_files() {
    for case in all() {
        let name = case.name;
        let entry = restored(case.type_, &case.body, case.version, &options())
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(content(entry.view()), case.content, "{name}");
        assert_eq!(encoding_of(entry.view()), case.encoding, "{name}");
        let record = key_record("key", case.type_, &case.body);
        let entry = only_key(&file(case.version.into(), &record), &options());
        assert_eq!(content(entry.view()), case.content, "{name}");
        assert_eq!(entry.view().key(), b"key");
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let options_of = |compress| EncodeOptions {
        compress,
        usage: None,
    };
    for case in all() {
        let entry = restored(case.type_, &case.body, case.version, &options()).unwrap();
        for compress in [false, true] {
            let payload = encode::dump(entry.view(), &options_of(compress));
            let key = RestoredKey {
                key: b"key",
                expire_at_ms: Some(NOW_MS + 5),
                idle_secs: None,
                frequency: None,
            };
            let again = restore(&payload, &key, &options()).unwrap();
            assert_eq!(content(again.view()), case.content, "{}", case.name);
            assert_eq!(again.view().expire_at_ms(), Some(NOW_MS + 5));
        }
    }
}

#[test]
fn limits_choose_the_encoding() {
    let small = LoadOptions {
        limits: Limits {
            hash_max_listpack_entries: 1,
            set_max_intset_entries: 1,
            set_max_listpack_entries: 1,
            zset_max_listpack_entries: 1,
            list_max_listpack_size: 2,
            ..Limits::default()
        },
        ..options()
    };
    for case in all() {
        let entry = restored(case.type_, &case.body, case.version, &small).unwrap();
        assert_eq!(content(entry.view()), case.content, "{}", case.name);
        let encoding = match Type::from_nibble(entry.view().type_()) {
            Type::String => case.encoding,
            Type::List => "quicklist",
            Type::Set | Type::Hash => "hashtable",
            Type::Zset => "skiplist",
            Type::Stream => "stream",
        };
        assert_eq!(encoding_of(entry.view()), encoding, "{}", case.name);
    }
}

#[test]
fn long_elements_make_what_grows_large_but_not_what_is_compact() {
    let long = "x".repeat(65);
    let cases = [
        (kind::SET, counted(2, &["a", &long]), "hashtable"),
        (kind::HASH, counted(1, &["f", &long]), "hashtable"),
        (kind::HASH, counted(1, &[&long, "v"]), "hashtable"),
        (
            kind::SET_LISTPACK,
            text(&listpack_of(&["a", &long])),
            "listpack",
        ),
        (
            kind::HASH_LISTPACK,
            text(&listpack_of(&["f", &long])),
            "listpack",
        ),
        (
            kind::ZSET_LISTPACK,
            text(&listpack_of(&[&long, "1"])),
            "listpack",
        ),
    ];
    for (type_, body, encoding) in cases {
        let entry = restored(type_, &body, 11, &options()).unwrap();
        assert_eq!(encoding_of(entry.view()), encoding, "type {type_}");
    }
    let score = 1f64.to_le_bytes().to_vec();
    let body = [length(1), text(long.as_bytes()), score].concat();
    let entry = restored(kind::ZSET_2, &body, 11, &options()).unwrap();
    assert_eq!(encoding_of(entry.view()), "skiplist");
}

#[test]
fn elements_that_are_there_twice_are_refused() {
    let many = |count: usize| -> Vec<String> { (0..count).map(|n| format!("m{n}")).collect() };
    for count in [1, 40, 700] {
        let mut members = many(count);
        members.push("m0".to_owned());
        let refs: Vec<&str> = members.iter().map(|member| &**member).collect();
        let pairs: Vec<&str> = refs.iter().flat_map(|member| [*member, "1"]).collect();
        let scored: Vec<u8> = refs
            .iter()
            .flat_map(|member| [text(member.as_bytes()), 1f64.to_le_bytes().to_vec()].concat())
            .collect();
        refused(kind::SET, &counted(refs.len(), &refs));
        refused(kind::HASH, &counted(refs.len(), &pairs));
        refused(kind::ZSET_2, &[length(refs.len()), scored].concat());
        refused(kind::SET_LISTPACK, &text(&listpack_of(&refs)));
        refused(kind::HASH_LISTPACK, &text(&listpack_of(&pairs)));
        refused(kind::ZSET_LISTPACK, &text(&listpack_of(&pairs)));
    }
    refused(kind::SET, &counted(2, &["7", "7"]));
    // Also with different scores, and in different spellings.
    refused(
        kind::ZSET_LISTPACK,
        &text(&listpack_of(&["a", "1", "a", "2"])),
    );
    let spelled = b"\x0F\0\0\0\x02\0\x0C\x01\x8212\x03\xFF";
    let mut spelled = spelled.to_vec();
    spelled[0] = spelled.len() as u8;
    refused(kind::SET_LISTPACK, &text(&spelled));
    let zipmap = b"\x02\x01f\x01\0v\x01f\x01\0w\xFF";
    refused(kind::HASH_ZIPMAP, &text(zipmap));
    refused(
        kind::HASH_ZIPLIST,
        &text(&ziplist(&[b"\x01f", b"\x01v", b"\x01f", b"\x01v"])),
    );
}

#[test]
fn scores_are_numbers() {
    for score in ["nan", "NaN", "x", "", "1 ", "1e999", "--1"] {
        let body = text(&listpack_of(&["m", score]));
        refused(kind::ZSET_LISTPACK, &body);
        let old = [length(1), text(b"m"), text(score.as_bytes())].concat();
        refused(kind::ZSET, &old);
    }
    let nan = [length(1), text(b"m"), f64::NAN.to_le_bytes().to_vec()].concat();
    assert!(refused(kind::ZSET_2, &nan).contains("NAN score"));
    refused(kind::ZSET, &[length(1), text(b"m"), vec![253]].concat());
    for (written, score) in [
        ("-inf", f64::NEG_INFINITY),
        ("3.1600000000000001", 3.16),
        ("1e+20", 1e20),
        ("-0", 0.0),
        ("9007199254740993", 9007199254740992.0),
    ] {
        let body = [length(1), text(b"m"), text(written.as_bytes())].concat();
        let entry = restored(kind::ZSET, &body, 6, &options()).unwrap();
        let content = content(entry.view());
        assert_eq!(content, Content::Zset(vec![(b"m".to_vec(), score)]));
    }
}

#[test]
fn odd_numbers_of_elements_are_refused() {
    for elements in [&["a"][..], &["a", "1", "b"]] {
        refused(kind::HASH_LISTPACK, &text(&listpack_of(elements)));
        refused(kind::ZSET_LISTPACK, &text(&listpack_of(elements)));
    }
    let old = ziplist(&[b"\x01f", b"\x01v", b"\x01g"]);
    refused(kind::HASH_ZIPLIST, &text(&old));
    refused(kind::ZSET_ZIPLIST, &text(&old));
    let triples = text(&listpack_of(&["f", "v", "0", "g", "w"]));
    let ex = kind::REDIS_HASH_LISTPACK_EX_PRE_GA;
    assert!(restored(ex, &triples, 12, &options()).is_err());
}

#[test]
fn times_of_fields_are_checked() {
    let hash_2 = |at_ms: i64| [counted(1, &["f", "v"]), at_ms.to_le_bytes().to_vec()].concat();
    for at_ms in [-2, i64::MIN] {
        let refused = restored(kind::VALKEY_HASH_2, &hash_2(at_ms), 80, &options());
        assert!(refused.is_err(), "{at_ms}");
    }
    let last = restored(kind::VALKEY_HASH_2, &hash_2(i64::MAX), 80, &options());
    assert!(last.is_ok());
    for at_ms in ["-1", "x", "1.5", "99999999999999999999"] {
        let body = text(&listpack_of(&["f", "v", at_ms]));
        let ex = kind::REDIS_HASH_LISTPACK_EX_PRE_GA;
        assert!(restored(ex, &body, 12, &options()).is_err(), "{at_ms}");
    }
    // Relative to the first, past the end of time.
    let huge = [&[0x81][..], &u64::MAX.to_be_bytes()].concat();
    let body = [
        NOW_MS.to_le_bytes().to_vec(),
        length(1),
        huge,
        text(b"f"),
        text(b"v"),
    ]
    .concat();
    let refused = restored(kind::REDIS_HASH_METADATA, &body, 12, &options());
    assert!(refused.is_err());
}

#[test]
fn fields_that_have_expired_are_left_out_where_keys_are() {
    let past = NOW_MS - 1;
    let body = [
        counted(2, &["f", "v"]),
        past.to_le_bytes().to_vec(),
        text(b"g"),
        text(b"w"),
        (-1i64).to_le_bytes().to_vec(),
    ]
    .concat();
    let record = key_record("k", kind::VALKEY_HASH_2, &body);
    let fields = |options: &LoadOptions| {
        let entry = only_key(&file(80, &record), options);
        let Content::Hash(fields) = content(entry.view()) else {
            panic!("no hash");
        };
        fields.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(fields(&options()), texts(["g"]));
    let all = LoadOptions {
        drop_expired: false,
        ..options()
    };
    assert_eq!(fields(&all), texts(["f", "g"]));
    let only_past = [counted(1, &["f", "v"]), past.to_le_bytes().to_vec()].concat();
    let record = key_record("k", kind::VALKEY_HASH_2, &only_past);
    let (records, summary) = loaded(&file(80, &record), &options()).unwrap();
    assert!(records.is_empty());
    assert_eq!(summary.expired, 1);
}

#[test]
fn ziplists_are_checked_to_the_last_byte() {
    let good = ziplist(&[
        b"\x01a",
        b"\x40\x03abc",
        b"\x80\0\0\0\x02de",
        b"\xC0\x00\x80",
        b"\xF0\xFF\xFF\xFF",
        b"\xD0\0\0\0\x80",
        b"\xE0\0\0\0\0\0\0\0\x80",
        b"\xFE\x80",
        b"\xF1",
        b"\xFD",
    ]);
    let entry = restored(kind::LIST_ZIPLIST, &text(&good), 6, &options()).unwrap();
    let expected = [
        "a",
        "abc",
        "de",
        "-32768",
        "-1",
        "-2147483648",
        "-9223372036854775808",
        "-128",
        "0",
        "12",
    ];
    assert_eq!(content(entry.view()), Content::List(texts(expected)));
    // Every byte means something: the header, lengths back, heads, the end. Only data may change.
    for at in (0..10).chain([10, 11, 13, 14, good.len() - 1]) {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let result = restored(kind::LIST_ZIPLIST, &text(&bad), 6, &options());
            assert!(result.is_err(), "byte {at}, bit {bit}");
        }
    }
    // The number of elements is not known.
    let mut unknown = good.clone();
    unknown[8..10].fill(0xFF);
    assert!(restored(kind::LIST_ZIPLIST, &text(&unknown), 6, &options()).is_ok());
    // A long element before another.
    let long = [&[0x41, 0x2C][..], &[b'x'; 300]].concat();
    let with_long = ziplist(&[&long, b"\x01b"]);
    assert!(restored(kind::LIST_ZIPLIST, &text(&with_long), 6, &options()).is_ok());
}

#[test]
fn zipmaps_are_checked_to_the_last_byte() {
    for bad in [
        &b""[..],
        b"\xFF",
        b"\x01\xFF",
        b"\x02\x01f\x01\0v\xFF",
        b"\x01\x01f\x01\0v",
        b"\x01\x01f\x01\x05v\xFF",
        b"\x01\x01f\x09\0v\xFF",
        b"\x01\xFE\xFF\xFF\xFF\xFFf\x01\0v\xFF",
        b"\x01\x01f\x01\0v\xFF\xFF",
        b"\x01\x01f\xFF",
    ] {
        refused(kind::HASH_ZIPMAP, &text(bad));
    }
    let long = [
        &b"\xFE\x01f"[..],
        &[0xFE, 44, 1, 0, 0, 0],
        &[b'x'; 300],
        b"\xFF",
    ]
    .concat();
    let entry = restored(kind::HASH_ZIPMAP, &text(&long), 2, &options()).unwrap();
    assert_eq!(encoding_of(entry.view()), "hashtable");
}

#[test]
fn quicklist_nodes_are_packed_or_plain() {
    for body in [
        [length(1), length(3), text(b"x")].concat(),
        [length(1), length(1), text(b"")].concat(),
        [length(1), length(2), text(b"x")].concat(),
    ] {
        refused(kind::LIST_QUICKLIST_2, &body);
    }
    // Nodes without elements are passed over.
    let body = [
        length(2),
        length(2),
        text(&listpack_of(&[])),
        length(2),
        text(&listpack_of(&["a"])),
    ]
    .concat();
    let entry = restored(kind::LIST_QUICKLIST_2, &body, 10, &options()).unwrap();
    assert_eq!(content(entry.view()), Content::List(texts(["a"])));
    // An element that looks like an integer stays the text that it is.
    let body = [length(1), length(1), text(b"007")].concat();
    let entry = restored(kind::LIST_QUICKLIST_2, &body, 10, &options()).unwrap();
    assert_eq!(content(entry.view()), Content::List(texts(["007"])));
    assert_eq!(encoding_of(entry.view()), "quicklist");
}

/// Random collections of every size around the limits, against what they were made of.
#[test]
fn random_collections_come_out_as_they_went_in() {
    let mut rng = Rng::from_seed(7);
    for round in 0..200 {
        let count = 1 + rng.index(if round % 10 == 0 { 1500 } else { 150 });
        let mut names = BTreeSet::new();
        while names.len() < count {
            names.insert(match rng.below(3) {
                0 => rng.below(100_000).to_string(),
                1 => format!("-{}", rng.next_u64() >> rng.below(60)),
                _ => format!("m{:x}", rng.next_u64() >> rng.below(60)),
            });
        }
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let as_set: BTreeSet<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let body = counted(count, &names);
        let entry = restored(kind::SET, &body, 9, &options()).unwrap();
        assert_eq!(content(entry.view()), Content::Set(as_set));
        let entry = restored(kind::LIST, &body, 9, &options()).unwrap();
        let as_list = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        assert_eq!(content(entry.view()), Content::List(as_list));
        let mut scored: Vec<(Vec<u8>, f64)> = names
            .iter()
            .map(|name| (name.as_bytes().to_vec(), rng.below(50) as f64 / 4.0))
            .collect();
        let mut body = length(count);
        for (member, score) in &scored {
            body.extend(text(member));
            body.extend_from_slice(&score.to_le_bytes());
        }
        scored.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        let entry = restored(kind::ZSET_2, &body, 9, &options()).unwrap();
        assert_eq!(content(entry.view()), Content::Zset(scored));
    }
}
