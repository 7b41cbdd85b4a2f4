//! One value of every type, built byte by byte as the servers that had it wrote it.

use super::*;
use crate::ds::listpack;
use crate::persist::rdb::format::kind;
use crate::util::lzf;

/// A value as it lies in a file.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    pub(crate) type_: u8,
    pub(crate) body: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) encoding: &'static str,
}

pub(crate) fn length(len: usize) -> Vec<u8> {
    match len {
        0..64 => vec![len as u8],
        64..16_384 => vec![0x40 | (len >> 8) as u8, len as u8],
        _ => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
    }
}

/// A string as its bytes.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes.len())[..], bytes].concat()
}

/// A number, then strings.
pub(crate) fn counted(count: usize, strings: &[&str]) -> Vec<u8> {
    let mut bytes = length(count);
    for string in strings {
        bytes.extend_from_slice(&text(string.as_bytes()));
    }
    bytes
}

/// A compressed string.
pub(crate) fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    assert!(lzf::compress(bytes, bytes.len(), &mut packed));
    let lengths = [length(packed.len()), length(bytes.len())].concat();
    [&[0xC3][..], &lengths, &packed].concat()
}

/// A ziplist of heads with their data.
pub(crate) fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut before, mut last) = (Vec::new(), 0, 10);
    for entry in entries {
        last = 10 + body.len();
        match before {
            0..254 => body.push(before as u8),
            _ => {
                body.push(254);
                body.extend_from_slice(&(before as u32).to_le_bytes());
            }
        }
        body.extend_from_slice(entry);
        before = 10 + body.len() - last;
    }
    let mut bytes = (11 + body.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&(last as u32).to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.push(0xFF);
    bytes
}

pub(crate) fn listpack_of(elements: &[&str]) -> Vec<u8> {
    listpack::from_elements(elements.iter().map(|element| element.as_bytes()))
}

fn hash(fields: &[(&str, &str, Option<u64>)]) -> Content {
    let fields = fields.iter().map(|(field, value, at_ms)| {
        let value = (value.as_bytes().to_vec(), *at_ms);
        (field.as_bytes().to_vec(), value)
    });
    Content::Hash(fields.collect())
}

fn list<const N: usize>(elements: [&str; N]) -> Content {
    Content::List(texts(elements))
}

fn set<const N: usize>(members: [&str; N]) -> Content {
    Content::Set(texts(members).into_iter().collect())
}

fn zset(members: &[(&str, f64)]) -> Content {
    let members = members
        .iter()
        .map(|(member, score)| (member.as_bytes().to_vec(), *score));
    Content::Zset(members.collect())
}

pub(crate) fn case(
    name: &'static str,
    version: u16,
    type_: u8,
    body: Vec<u8>,
    content: Content,
    encoding: &'static str,
) -> Case {
    Case {
        name,
        version,
        type_,
        body,
        content,
        encoding,
    }
}

pub(crate) fn strings() -> Vec<Case> {
    let string = |name, body, text: &str, encoding| {
        let content = Content::Text(text.into());
        case(name, 6, kind::STRING, body, content, encoding)
    };
    let long = "0123456789".repeat(30);
    let repeated = "ab".repeat(100);
    vec![
        string("short", text(b"hello"), "hello", "embstr"),
        string("empty", text(b""), "", "embstr"),
        string("int as text", text(b"-12"), "-12", "int"),
        string("int 8", vec![0xC0, 0x85], "-123", "int"),
        string("int 16", vec![0xC1, 0xFE, 0xFF], "-2", "int"),
        string("int 32", vec![0xC2, 0, 0, 0, 0x80], "-2147483648", "int"),
        string("long", text(long.as_bytes()), &long, "raw"),
        string("lzf", compressed(repeated.as_bytes()), &repeated, "raw"),
        string(
            "length of 32 bits",
            [&[0x80, 0, 0, 0, 2][..], b"ab"].concat(),
            "ab",
            "embstr",
        ),
        string(
            "length of 64 bits",
            [&[0x81, 0, 0, 0, 0, 0, 0, 0, 2][..], b"ab"].concat(),
            "ab",
            "embstr",
        ),
    ]
}

pub(crate) fn lists_and_sets() -> Vec<Case> {
    let abc = || list(["a", "12", "c"]);
    let listpack = text(&listpack_of(&["a", "12", "c"]));
    let old = text(&ziplist(&[b"\x01a", b"\xFE\x0C", b"\x01c"]));
    let quicklist_2 = [
        length(3),
        length(2),
        listpack.clone(),
        length(1),
        text(b"plain"),
        length(2),
        text(&listpack_of(&["d"])),
    ]
    .concat();
    let one_node = [length(1), length(2), listpack.clone()].concat();
    let intset = b"\x02\0\0\0\x02\0\0\0\xFE\xFF\x05\0";
    vec![
        case(
            "list",
            6,
            kind::LIST,
            counted(3, &["a", "12", "c"]),
            abc(),
            "listpack",
        ),
        case(
            "list of ziplist",
            6,
            kind::LIST_ZIPLIST,
            old.clone(),
            abc(),
            "quicklist",
        ),
        case(
            "quicklist",
            9,
            kind::LIST_QUICKLIST,
            [length(2), old.clone(), old].concat(),
            list(["a", "12", "c", "a", "12", "c"]),
            "quicklist",
        ),
        case(
            "quicklist 2",
            10,
            kind::LIST_QUICKLIST_2,
            quicklist_2,
            list(["a", "12", "c", "plain", "d"]),
            "quicklist",
        ),
        case(
            "quicklist of a node",
            10,
            kind::LIST_QUICKLIST_2,
            one_node,
            abc(),
            "listpack",
        ),
        case(
            "set",
            6,
            kind::SET,
            counted(2, &["x", "y"]),
            set(["x", "y"]),
            "listpack",
        ),
        case(
            "set of ints",
            6,
            kind::SET,
            counted(2, &["7", "-3"]),
            set(["7", "-3"]),
            "intset",
        ),
        case(
            "intset",
            6,
            kind::SET_INTSET,
            text(intset),
            set(["-2", "5"]),
            "intset",
        ),
        case(
            "set of listpack",
            11,
            kind::SET_LISTPACK,
            text(&listpack_of(&["x", "12"])),
            set(["x", "12"]),
            "listpack",
        ),
    ]
}

pub(crate) fn zsets() -> Vec<Case> {
    let members = || zset(&[("b", -1.5), ("a", 2.0), ("c", f64::INFINITY)]);
    let old = [
        length(3),
        text(b"c"),
        vec![254],
        text(b"b"),
        vec![4],
        b"-1.5".to_vec(),
        text(b"a"),
        vec![1, b'2'],
    ]
    .concat();
    let binary = [
        length(3),
        text(b"c"),
        f64::INFINITY.to_le_bytes().to_vec(),
        text(b"a"),
        2f64.to_le_bytes().to_vec(),
        text(b"b"),
        (-1.5f64).to_le_bytes().to_vec(),
    ]
    .concat();
    let elements = ["b", "-1.5", "a", "2", "c", "inf"];
    let ziplist = ziplist(&[
        b"\x01b",
        b"\x04-1.5",
        b"\x01a",
        b"\xF3",
        b"\x01c",
        b"\x03inf",
    ]);
    let ordered = text(&listpack_of(&elements));
    let unordered = text(&listpack_of(&["c", "inf", "b", "-1.5", "a", "2"]));
    vec![
        case("zset", 6, kind::ZSET, old, members(), "listpack"),
        case("zset 2", 8, kind::ZSET_2, binary, members(), "listpack"),
        case(
            "zset of ziplist",
            6,
            kind::ZSET_ZIPLIST,
            text(&ziplist),
            members(),
            "listpack",
        ),
        case(
            "zset of listpack",
            10,
            kind::ZSET_LISTPACK,
            ordered,
            members(),
            "listpack",
        ),
        case(
            "zset in no order",
            10,
            kind::ZSET_LISTPACK,
            unordered,
            members(),
            "listpack",
        ),
    ]
}

pub(crate) fn hashes() -> Vec<Case> {
    let plain = || hash(&[("f", "v", None), ("g", "12", None)]);
    let at = NOW_MS + 5000;
    let expiring = || hash(&[("f", "v", Some(at)), ("g", "12", None)]);
    let fields = counted(2, &["f", "v", "g", "12"]);
    let zipmap = b"\x02\x01f\x01\0v\x01g\x02\x0312...\xFF";
    let old = ziplist(&[b"\x01f", b"\x01v", b"\x01g", b"\xFD"]);
    let hash_2 = [
        counted(2, &["f", "v"]),
        at.to_le_bytes().to_vec(),
        text(b"g"),
        vec![0xC0, 12],
        (-1i64).to_le_bytes().to_vec(),
    ]
    .concat();
    let relative = [
        (at - 10).to_le_bytes().to_vec(),
        length(2),
        vec![11],
        text(b"f"),
        text(b"v"),
        vec![0],
        text(b"g"),
        text(b"12"),
    ]
    .concat();
    let absolute = [
        length(2),
        [&[0x81][..], &at.to_be_bytes()].concat(),
        text(b"f"),
        text(b"v"),
        vec![0],
        text(b"g"),
        text(b"12"),
    ]
    .concat();
    let triples = text(&listpack_of(&["f", "v", &at.to_string(), "g", "12", "0"]));
    let with_first = [at.to_le_bytes().to_vec(), triples.clone()].concat();
    let table = "hashtable";
    vec![
        case("hash", 6, kind::HASH, fields, plain(), "listpack"),
        case(
            "zipmap",
            2,
            kind::HASH_ZIPMAP,
            text(zipmap),
            plain(),
            "listpack",
        ),
        case(
            "hash of ziplist",
            6,
            kind::HASH_ZIPLIST,
            text(&old),
            plain(),
            "listpack",
        ),
        case(
            "hash of listpack",
            10,
            kind::HASH_LISTPACK,
            text(&listpack_of(&["f", "v", "g", "12"])),
            plain(),
            "listpack",
        ),
        case("hash 2", 80, kind::VALKEY_HASH_2, hash_2, expiring(), table),
        case(
            "hash metadata",
            12,
            kind::REDIS_HASH_METADATA,
            relative,
            expiring(),
            table,
        ),
        case(
            "hash metadata, early",
            12,
            kind::REDIS_HASH_METADATA_PRE_GA,
            absolute,
            expiring(),
            table,
        ),
        case(
            "listpack ex",
            12,
            kind::REDIS_HASH_LISTPACK_EX,
            with_first,
            expiring(),
            table,
        ),
        case(
            "listpack ex, early",
            12,
            kind::REDIS_HASH_LISTPACK_EX_PRE_GA,
            triples,
            expiring(),
            table,
        ),
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let streams = streams::cases();
    let groups = [strings(), lists_and_sets(), zsets(), hashes(), streams];
    groups.into_iter().flatten().collect()
}
