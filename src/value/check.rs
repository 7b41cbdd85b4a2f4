//! Whether a value is what its type and its encoding say.
//!
//! Limits of encodings are not looked at: a value keeps the encoding that it has when the directives
//! change.

use std::collections::HashSet;

use super::zset::ZsetRef;
use super::{Encoding, Type, is_empty, string};
use crate::ds::collection::Collection;
use crate::ds::entry::{Entry, EntryRef, ValueRef};
use crate::ds::listpack::{self, Listpack};
use crate::ds::table::Table;
use crate::ds::{intset, table};
use crate::util::check::{Checked, holds};

/// Looks at all of a value.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn check(entry: EntryRef<'_>) -> Checked {
    let (type_, enc) = (
        Type::from_nibble(entry.type_()),
        Encoding::from_nibble(entry.enc()),
    );
    holds!(
        type_ as u8 == entry.type_() && enc as u8 == entry.enc(),
        "type {} and encoding {}",
        entry.type_(),
        entry.enc()
    );
    holds!(
        !is_empty(entry.type_(), entry.value()),
        "an empty {}",
        type_.name()
    );
    let checked = match entry.value() {
        ValueRef::Collection(collection) => check_large(type_, enc, collection),
        value => check_small(type_, enc, value, entry),
    };
    let (type_, enc) = (type_.name(), enc.name());
    checked.map_err(|fault| format!("{type_} as {enc}: {fault}"))
}

fn check_large(type_: Type, enc: Encoding, collection: &Collection) -> Checked {
    match (type_, enc, collection) {
        (Type::List, Encoding::Quicklist, Collection::List(list)) => list.check(),
        (Type::Set, Encoding::Hashtable, Collection::Set(members)) => {
            members.check()?;
            holds!(members.expires_len() == 0, "members that expire");
            check_entries(members, |value| matches!(value, ValueRef::Bytes(b"")))
        }
        (Type::Zset, Encoding::Skiplist, Collection::Zset(zset)) => zset.check(),
        (Type::Hash, Encoding::Hashtable, Collection::Hash(fields)) => {
            fields.table.check()?;
            let (noted_ms, next_ms) = (fields.noted_at_ms, fields.table.next_expire_at_ms());
            holds!(
                noted_ms <= next_ms,
                "fields expire at {next_ms}, which is noted as {noted_ms}"
            );
            holds!(
                fields.table.expires_len() == 0 || noted_ms != table::NO_EXPIRY,
                "fields expire, and nobody knows"
            );
            check_entries(&fields.table, |value| value.as_collection().is_none())
        }
        (Type::Stream, Encoding::Stream, Collection::Stream(stream)) => stream.check(),
        _ => Err("it is stored as something else".into()),
    }
}

fn check_entries(entries: &Table<Entry>, is_right: impl Fn(ValueRef<'_>) -> bool) -> Checked {
    let wrong = entries.iter().find(|entry| !is_right(entry.value()));
    let wrong = wrong.map(|entry| entry.key().escape_ascii().to_string());
    holds!(wrong.is_none(), "{wrong:?} has a value that it cannot have");
    Ok(())
}

fn check_small(type_: Type, enc: Encoding, value: ValueRef<'_>, entry: EntryRef<'_>) -> Checked {
    let bytes = value.as_bytes();
    match (type_, enc, bytes) {
        (Type::String, Encoding::Int, None) => Ok(()),
        (Type::String, Encoding::Embstr | Encoding::Raw, Some(_)) => {
            let len = string::len(value);
            holds!(
                enc == Encoding::Raw || len <= string::EMBEDDED_BYTES_MAX,
                "{len} bytes"
            );
            Ok(())
        }
        (Type::List, Encoding::Listpack, Some(bytes)) => checked_listpack(bytes).map(drop),
        (Type::Set, Encoding::Listpack, Some(bytes)) => all_different(bytes, 1),
        (Type::Hash, Encoding::Listpack, Some(bytes)) => {
            let len = checked_listpack(bytes)?.len();
            holds!(len.is_multiple_of(2), "{len} fields and values");
            all_different(bytes, 2)
        }
        (Type::Set, Encoding::Intset, Some(bytes)) => {
            holds!(intset::validate(bytes), "the bytes are no intset");
            Ok(())
        }
        (Type::Zset, Encoding::Listpack, Some(_)) => ZsetRef::of(entry).check(),
        _ => Err("it is stored as something else".into()),
    }
}

fn checked_listpack(bytes: &[u8]) -> Checked<Listpack<'_>> {
    holds!(listpack::validate(bytes), "the bytes are no listpack");
    Ok(Listpack::new(bytes))
}

/// Every so manyeth element, from the first on, is there once.
fn all_different(bytes: &[u8], step: usize) -> Checked {
    let names = checked_listpack(bytes)?.iter().step_by(step);
    let mut seen = HashSet::new();
    for name in names.map(|name| name.to_vec()) {
        let shown = name.escape_ascii().to_string();
        holds!(seen.insert(name), "{shown} is there twice");
    }
    Ok(())
}
