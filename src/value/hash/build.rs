//! Hashes that are put together from a file or a payload, where nothing is to be trusted: every
//! field is checked to be there once.
//!
//! A hash is a listpack as long as the directives allow it, as Redis decides when it loads one:
//! their number counts as announced, before the first field is read. While it is a listpack, fields
//! are not compared one by one; that happens once, at the end.

use super::{Collection, Encoding, FieldTable, NewValue, Terms, new_entry};
use crate::ds::entry::Entry;
use crate::ds::listpack::{self, Listpack, Value};
use crate::ds::table::Table;
use crate::value::unique::are_unique;

/// A field is there twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Duplicate;

/// See the module's text.
pub struct Builder {
    form: Form,
    terms: Terms,
}

enum Form {
    List(Vec<u8>),
    Table(Table<Entry>),
}

impl Builder {
    /// Nothing yet of a hash that is said to have so many fields.
    pub fn new(fields: u64, terms: Terms) -> Builder {
        let form = match fields <= terms.entries_max {
            true => Form::List(listpack::EMPTY.to_vec()),
            false => Form::Table(empty_table(&terms)),
        };
        Builder { form, terms }
    }

    /// Adds a field; one with an expiry makes the hash a table.
    pub fn push(
        &mut self,
        field: &[u8],
        value: Value<'_>,
        expire_at_ms: Option<u64>,
    ) -> Result<(), Duplicate> {
        if let Form::List(bytes) = &mut self.form {
            let value_len = value.len_bytes();
            let stays = expire_at_ms.is_none()
                && self.terms.allow_bytes(field.len())
                && self.terms.allow_bytes(value_len)
                && listpack::fits(bytes.len(), field.len().saturating_add(value_len));
            if stays {
                listpack::append_all(bytes, [Value::from(field), value]);
                return Ok(());
            }
            let table = table_of(Listpack::new(bytes), &self.terms)?;
            self.form = Form::Table(table);
        }
        match &mut self.form {
            Form::Table(table) => add(table, field, value, expire_at_ms),
            Form::List(_) => Ok(()),
        }
    }

    /// Hands out encoding and value for a key's entry.
    pub fn store<R>(self, store: impl FnOnce(Encoding, NewValue<'_>) -> R) -> Result<R, Duplicate> {
        match self.form {
            Form::List(bytes) => store_listpack(&bytes, self.terms, store),
            Form::Table(table) => Ok(store_table(table, store)),
        }
    }
}

/// Stores a valid listpack of fields and values, an even number of elements: as it is, or as a table
/// if there are too many.
pub fn store_listpack<R>(
    bytes: &[u8],
    terms: Terms,
    store: impl FnOnce(Encoding, NewValue<'_>) -> R,
) -> Result<R, Duplicate> {
    let list = Listpack::new(bytes);
    if !terms.allow_fields(list.len() / 2) {
        let table = table_of(list, &terms)?;
        return Ok(store_table(table, store));
    }
    match are_unique(list.iter().step_by(2), terms.key_hash) {
        true => Ok(store(Encoding::Listpack, NewValue::Bytes(bytes))),
        false => Err(Duplicate),
    }
}

fn store_table<R>(table: Table<Entry>, store: impl FnOnce(Encoding, NewValue<'_>) -> R) -> R {
    let collection = Collection::Hash(FieldTable::new(table));
    store(
        Encoding::Hashtable,
        NewValue::Collection(Box::new(collection)),
    )
}

fn empty_table(terms: &Terms) -> Table<Entry> {
    let mut table = Table::new(0, terms.key_hash);
    table.set_clock_ms(terms.now_ms);
    table
}

fn table_of(list: Listpack<'_>, terms: &Terms) -> Result<Table<Entry>, Duplicate> {
    let mut table = empty_table(terms);
    let mut digits = itoa::Buffer::new();
    let mut elements = list.iter();
    while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
        add(&mut table, field.bytes(&mut digits), value, None)?;
    }
    Ok(table)
}

fn add(
    table: &mut Table<Entry>,
    field: &[u8],
    value: Value<'_>,
    expire_at_ms: Option<u64>,
) -> Result<(), Duplicate> {
    let hash = table.key_hash().hash(field);
    if table.find(hash, field).is_some() {
        return Err(Duplicate);
    }
    table.insert(hash, new_entry(field, value, expire_at_ms));
    Ok(())
}
