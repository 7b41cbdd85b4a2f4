//! Values of the type hash: plain ones, and those of both lines whose fields expire.
//!
//! A field that has expired is left out where expired keys are, so is a hash of nothing but such.

use super::reader::Reader;
use super::value::{Head, Loaded, Values, checked_listpack};
use super::{Result, old};
use crate::ds::listpack::Value;
use crate::persist::rdb::format::NO_FIELD_EXPIRY;
use crate::value::Type;
use crate::value::hash::Terms;
use crate::value::hash::build::{self, Builder, Duplicate};

const DUPLICATE: &str = "Duplicate hash fields detected";
const EXPIRE_INVALID: &str = "Hash field with invalid expire time";

impl Values<'_> {
    fn terms(&self) -> Terms {
        let limits = &self.options.limits;
        Terms {
            entries_max: limits.hash_max_listpack_entries,
            value_bytes_max: limits.hash_max_listpack_value,
            key_hash: self.options.key_hash,
            now_ms: self.options.now_ms,
        }
    }

    /// Whether a field that expires then is left out.
    fn drops(&self, expire_at_ms: Option<u64>) -> bool {
        let expired = expire_at_ms.is_some_and(|at_ms| at_ms <= self.options.now_ms);
        expired && self.options.drop_expired
    }

    pub(super) fn hash(&self, reader: &mut Reader<'_>, head: &Head<'_>) -> Result<Loaded> {
        let len = reader.length()?;
        self.fields(reader, head, len, Builder::new(len, self.terms()), |_| {
            Ok(None)
        })
    }

    /// Valkey's hash with an expiry behind each field; such a hash is never compact.
    pub(super) fn hash_2(&self, reader: &mut Reader<'_>, head: &Head<'_>) -> Result<Loaded> {
        let len = reader.length()?;
        if len == 0 {
            return Ok(Loaded::Empty);
        }
        let mut hash = Builder::new(u64::MAX, self.terms());
        let (mut field, mut value, mut kept) = (Vec::new(), Vec::new(), 0u64);
        for _ in 0..len {
            field.clear();
            reader.string_into(&mut field)?;
            value.clear();
            reader.string_into(&mut value)?;
            let expire_at_ms = match reader.milliseconds()? {
                NO_FIELD_EXPIRY => None,
                at_ms => match u64::try_from(at_ms) {
                    Ok(at_ms) => Some(at_ms),
                    Err(_) => return Err(reader.corrupt(EXPIRE_INVALID)),
                },
            };
            if self.drops(expire_at_ms) {
                continue;
            }
            kept += 1;
            let pushed = hash.push(&field, Value::from(&value[..]), expire_at_ms);
            pushed.map_err(|Duplicate| reader.corrupt(DUPLICATE))?;
        }
        finish(reader, hash, kept, head)
    }

    /// Redis's hash with a time before each field: 0 for none, else one more than how long after the
    /// first of them it expires (`is_relative`), or when it does.
    pub(super) fn hash_metadata(
        &self,
        reader: &mut Reader<'_>,
        head: &Head<'_>,
        is_relative: bool,
    ) -> Result<Loaded> {
        let first_at_ms = match is_relative {
            true => u64::try_from(reader.milliseconds()?).ok(),
            false => Some(1),
        };
        let len = reader.length()?;
        let hash = Builder::new(len, self.terms());
        self.fields(reader, head, len, hash, |reader| {
            let ttl = reader.length()?;
            let at_ms = match ttl.checked_sub(1) {
                None => return Ok(None),
                Some(more) => first_at_ms.and_then(|first| first.checked_add(more)),
            };
            match at_ms.filter(|&at_ms| i64::try_from(at_ms).is_ok()) {
                Some(at_ms) => Ok(Some(at_ms)),
                None => Err(reader.corrupt(EXPIRE_INVALID)),
            }
        })
    }

    /// Fields with their values, each behind what `expiry` reads.
    fn fields(
        &self,
        reader: &mut Reader<'_>,
        head: &Head<'_>,
        len: u64,
        mut hash: Builder,
        expiry: impl Fn(&mut Reader<'_>) -> Result<Option<u64>>,
    ) -> Result<Loaded> {
        if len == 0 {
            return Ok(Loaded::Empty);
        }
        let (mut field, mut kept) = (Vec::new(), 0u64);
        for _ in 0..len {
            let expire_at_ms = expiry(reader)?;
            field.clear();
            reader.string_into(&mut field)?;
            let value = reader.string()?;
            if self.drops(expire_at_ms) {
                continue;
            }
            kept += 1;
            let pushed = hash.push(&field, value.value(), expire_at_ms);
            pushed.map_err(|Duplicate| reader.corrupt(DUPLICATE))?;
        }
        finish(reader, hash, kept, head)
    }

    /// Redis's short hash: a listpack of fields, values and when they expire, 0 for never.
    pub(super) fn hash_listpack_ex(
        &self,
        reader: &mut Reader<'_>,
        head: &Head<'_>,
    ) -> Result<Loaded> {
        let text = reader.string()?;
        let found = self.listpack_ex(text.bytes(&mut itoa::Buffer::new()), head);
        found.map_err(|reason| reader.corrupt(reason))
    }

    fn listpack_ex(
        &self,
        bytes: &[u8],
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        const INVALID: &str = "Hash listpackex integrity check failed.";
        let list = checked_listpack(bytes).ok_or(INVALID)?;
        if list.is_empty() {
            return Ok(Loaded::Empty);
        }
        let fields = list.len() as u64 / 3;
        let (mut hash, mut kept) = (Builder::new(fields, self.terms()), 0u64);
        let (mut elements, mut digits) = (list.iter(), itoa::Buffer::new());
        while let Some(field) = elements.next() {
            let (value, expiry) = elements.next().zip(elements.next()).ok_or(INVALID)?;
            let expiry = expiry.int().and_then(|at_ms| u64::try_from(at_ms).ok());
            let expire_at_ms = match expiry.ok_or(EXPIRE_INVALID)? {
                0 => None,
                at_ms => Some(at_ms),
            };
            if self.drops(expire_at_ms) {
                continue;
            }
            kept += 1;
            hash.push(field.bytes(&mut digits), value, expire_at_ms)
                .map_err(|Duplicate| DUPLICATE)?;
        }
        if kept == 0 {
            return Ok(Loaded::Expired);
        }
        hash.store(|enc, value| head.entry(Type::Hash, enc, value))
            .map_err(|Duplicate| DUPLICATE)
    }

    /// A valid listpack, of fields and values as far as it is an even number of elements.
    pub(super) fn hash_listpack(
        &self,
        bytes: &[u8],
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        let list = checked_listpack(bytes).filter(|list| list.len() % 2 == 0);
        let list = list.ok_or("Hash listpack integrity check failed.")?;
        if list.is_empty() {
            return Ok(Loaded::Empty);
        }
        let store = |enc, value: crate::ds::entry::NewValue<'_>| head.entry(Type::Hash, enc, value);
        build::store_listpack(bytes, self.terms(), store).map_err(|Duplicate| DUPLICATE)
    }

    pub(super) fn hash_zipmap(
        &self,
        bytes: &[u8],
        head: &Head<'_>,
    ) -> std::result::Result<Loaded, &'static str> {
        const INVALID: &str = "Zipmap integrity check failed.";
        let mut fields = 0;
        old::zipmap(bytes, |_, _| fields += 1).ok_or(INVALID)?;
        if fields == 0 {
            return Ok(Loaded::Empty);
        }
        let (mut hash, mut pushed) = (Builder::new(fields, self.terms()), Ok(()));
        let push = |field: &[u8], value: &[u8]| {
            pushed = pushed.and_then(|()| hash.push(field, Value::from(value), None));
        };
        old::zipmap(bytes, push).ok_or(INVALID)?;
        pushed.map_err(|Duplicate| DUPLICATE)?;
        hash.store(|enc, value| head.entry(Type::Hash, enc, value))
            .map_err(|Duplicate| DUPLICATE)
    }
}

fn finish(reader: &Reader<'_>, hash: Builder, kept: u64, head: &Head<'_>) -> Result<Loaded> {
    if kept == 0 {
        return Ok(Loaded::Expired);
    }
    hash.store(|enc, value| head.entry(Type::Hash, enc, value))
        .map_err(|Duplicate| reader.corrupt(DUPLICATE))
}
