//! Tests of the decoding: what each type becomes, what files are made of, and that nothing that comes
//! in does harm.

mod corpus;
mod damage;
mod files;
mod streams;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::db::usage::Usage;
use crate::ds::entry::EntryRef;
use crate::ds::hash::HashFunction;
use crate::ds::stream::shown;
use crate::persist::rdb::format::opcode;
use crate::value::hash::{self, HashRef};
use crate::value::list::{End, ListRef};
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Encoding, Type, stream, string};

pub(in crate::persist::rdb) const NOW_MS: u64 = 1_700_000_000_000;

pub(in crate::persist::rdb) fn options() -> LoadOptions {
    LoadOptions {
        limits: Limits::default(),
        key_hash: KeyHash::process(HashFunction::Fast),
        databases: 16,
        verify_checksum: true,
        now_ms: NOW_MS,
        usage: Usage::default().stamp(NOW_MS),
        drop_expired: true,
        relaxed_version: false,
    }
}

/// What a value holds, whatever its encoding.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    /// Fields with values and expiries.
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>),
    /// Members in their order.
    Zset(Vec<(Vec<u8>, f64)>),
    /// All that it consists of.
    Stream(Vec<String>),
}

pub(super) fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn content(entry: EntryRef<'_>) -> Content {
    match Type::from_nibble(entry.type_()) {
        Type::String => {
            let mut digits = itoa::Buffer::new();
            Content::Text(string::bytes(entry.value(), &mut digits).to_vec())
        }
        Type::List => {
            let list = ListRef::new(entry.value());
            let mut elements = Vec::new();
            list.walk_range(0..list.len(), End::Tail, |element| {
                elements.push(element.to_vec());
            });
            Content::List(elements)
        }
        Type::Set => {
            let set = SetRef::of(entry);
            let members: BTreeSet<Vec<u8>> = set.iter().map(|member| member.to_vec()).collect();
            assert_eq!(members.len(), set.len());
            Content::Set(members)
        }
        Type::Stream => {
            let stream = stream::stream(entry.value()).expect("a stream");
            Content::Stream(shown::stream(stream))
        }
        Type::Hash => {
            // Fields that have expired are looked at, too.
            let hash = HashRef::new(entry.value(), 0);
            let fields = hash.iter().map(|(field, value)| {
                let field = hash::text(field).into_owned();
                let expire_at_ms = hash.expire_at_ms(&field).expect("a field");
                (field, (hash::text(value).into_owned(), expire_at_ms))
            });
            let fields: BTreeMap<_, _> = fields.collect();
            assert_eq!(fields.len(), hash.len());
            Content::Hash(fields)
        }
        Type::Zset => {
            let set = ZsetRef::of(entry);
            let members = set.range(0, usize::MAX);
            let members: Vec<(Vec<u8>, f64)> = members
                .map(|(member, score)| (member.to_vec(), score))
                .collect();
            assert_eq!(members.len(), set.len());
            for (member, score) in &members {
                assert_eq!(set.score(member), Some(*score));
            }
            Content::Zset(members)
        }
    }
}

/// A payload of DUMP with a footer that is right.
pub(super) fn payload(type_: u8, body: &[u8], version: u16) -> Vec<u8> {
    let mut bytes = vec![type_];
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

pub(super) fn restored(
    type_: u8,
    body: &[u8],
    version: u16,
    options: &LoadOptions,
) -> std::result::Result<Entry, RestoreError> {
    let key = RestoredKey {
        key: b"key",
        expire_at_ms: None,
        idle_secs: None,
        frequency: None,
    };
    restore(&payload(type_, body, version), &key, options)
}

/// A file of these records, with its end and its checksum.
pub(super) fn file(version: u32, records: &[u8]) -> Vec<u8> {
    let mut bytes = match Line::of_version(version) {
        Line::Redis => format!("REDIS{version:04}").into_bytes(),
        Line::Valkey => format!("VALKEY{version:03}").into_bytes(),
    };
    bytes.extend_from_slice(records);
    bytes.push(opcode::EOF);
    if version >= 5 {
        let checksum = crc64(0, &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// A key's record.
pub(super) fn key_record(key: &str, type_: u8, body: &[u8]) -> Vec<u8> {
    [&[type_], &corpus::text(key.as_bytes())[..], body].concat()
}

/// What a file holds, and the summary.
pub(super) fn loaded(
    bytes: &[u8],
    options: &LoadOptions,
) -> std::result::Result<(Vec<Record>, LoadSummary), Fault> {
    let mut records = Vec::new();
    let summary = load(bytes, options, &mut |record, _| {
        records.push(record);
        Ok(())
    })?;
    Ok((records, summary))
}

/// The only key of a file.
pub(super) fn only_key(bytes: &[u8], options: &LoadOptions) -> Entry {
    let (records, _) = loaded(bytes, options).expect("a valid file");
    let keys = records.into_iter().filter_map(|record| match record {
        Record::Key { entry, .. } => Some(entry),
        _ => None,
    });
    let mut keys: Vec<Entry> = keys.collect();
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

pub(super) fn encoding_of(entry: EntryRef<'_>) -> &'static str {
    Encoding::from_nibble(entry.enc()).name()
}
