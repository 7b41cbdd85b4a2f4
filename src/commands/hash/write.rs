//! HSET, HMSET, HSETNX, HDEL, HGETDEL: fields that come and go.

use super::expire::log_deleted;
use super::{
    BAD_NUMFIELDS, all_null, edit, fields, find_mut, note_expired, pairs, reply_or_null, terms,
    wrong_arity,
};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::db::{Access, KeyMut};
use crate::ds::listpack::Value;
use crate::resp::parse::Argv;
use crate::spec::CmdError;
use crate::value::Type;
use crate::value::hash::{Draft, HashMut, Home, Place, Terms, Ttl, list_bytes};

/// `HSET key field value [field value ...]`
pub(super) fn hset(ctx: &mut Ctx<'_>) -> CmdResult {
    let created = set_fields(ctx)?;
    ctx.out.integer(created as i64);
    Ok(Next::Done)
}

/// `HMSET key field value [field value ...]`
pub(super) fn hmset(ctx: &mut Ctx<'_>) -> CmdResult {
    set_fields(ctx)?;
    ctx.out.ok();
    Ok(Next::Done)
}

/// Sets what the arguments say; how many fields are new.
fn set_fields(ctx: &mut Ctx<'_>) -> Result<usize, CmdError> {
    let key = ctx.args.bytes()?;
    let args = ctx.args.rest();
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity(ctx));
    }
    let terms = terms(ctx);
    write_pairs(&mut ctx.db, key, args, terms, How::AllAtOnce)
}

/// How pairs are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As HSET: what is too much in all makes a table before anything is set; no field keeps or
    /// gets an expiry.
    AllAtOnce,
    /// As HSETEX: one after the other.
    Each(Ttl),
}

impl How {
    /// The events of fields' being set.
    #[inline]
    fn tell(self, found: &mut KeyMut<'_>) {
        found.notify(EventClass::HASH, "hset");
        if let How::Each(Ttl::At(_)) = self {
            found.notify(EventClass::HASH, "hexpire");
        }
    }

    fn write<H: Home>(self, hash: &mut HashMut<H>, args: Argv<'_>) -> usize {
        match self {
            // One is judged as it is set.
            How::AllAtOnce if args.len() == 2 => hash.set_each(pairs(args), Ttl::Never),
            How::AllAtOnce => hash.set_all(pairs(args)),
            How::Each(ttl) => hash.set_each(pairs(args), ttl),
        }
    }
}

/// Writes pairs of field and value; how many fields are new. As many changes as there are pairs.
pub(super) fn write_pairs(
    db: &mut Access<'_>,
    key: &[u8],
    args: Argv<'_>,
    terms: Terms,
    how: How,
) -> Result<usize, CmdError> {
    let changes = args.len() as u64 / 2;
    let room = |args| match how {
        // It becomes a table at once.
        How::Each(Ttl::At(_)) => 0,
        _ if changes > terms.entries_max => 0,
        _ => list_bytes(pairs(args)),
    };
    if let Some(mut found) = find_mut(db, key)? {
        found.add_changes(changes);
        let mut hash = edit(&mut found, terms);
        let created = match args.len() > 2 && hash.is_list() {
            true => hash.drafted(room(args), |draft| how.write(draft, args)),
            false => how.write(&mut hash, args),
        };
        let expired = hash.expired();
        note_expired(&mut found, expired);
        how.tell(&mut found);
        return Ok(created);
    }
    let mut draft = HashMut::new(Draft::with_capacity(room(args)), terms);
    let created = how.write(&mut draft, args);
    let mut draft = draft.into_home();
    let (enc, value) = draft.value();
    let mut found = db.find_or_insert(key, Type::Hash, enc, value);
    found.add_changes(changes);
    how.tell(&mut found);
    Ok(created)
}

/// HSETNX key field value
pub(super) fn hsetnx(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let pair = ctx.args.rest();
    let (field, value) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let terms = terms(ctx);
    let mut had_expired = false;
    let done = if let Some(mut found) = find_mut(&mut ctx.db, key)? {
        let mut hash = edit(&mut found, terms);
        let place = hash.find(field);
        let done = hash.get(place).is_none();
        if done {
            hash.set_at(place, field, Value::from(value), Ttl::Never);
        }
        let expired = hash.expired();
        found.add_changes(done as u64);
        note_expired(&mut found, expired);
        if done {
            found.notify(EventClass::HASH, "hset");
        }
        had_expired = expired > 0;
        done
    } else {
        write_pairs(&mut ctx.db, key, pair, terms, How::AllAtOnce)?;
        true
    };
    if had_expired {
        ctx.db.propagate_as([&b"HSET"[..], key, field, value]);
    }
    ctx.out.integer(done as i64);
    Ok(Next::Done)
}

/// `HDEL key field [field ...]`
pub(super) fn hdel(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let fields = ctx.args.rest();
    let terms = terms(ctx);
    let mut deleted = Deleted::default();
    if let Some(mut found) = find_mut(&mut ctx.db, key)? {
        let mut hash = edit(&mut found, terms);
        for field in fields.iter() {
            let place = hash.find(field);
            deleted.delete(&mut hash, place, field);
        }
        deleted.tell(&mut found);
    }
    ctx.out.integer(deleted.count as i64);
    deleted.log(ctx, key, fields);
    Ok(Next::Done)
}

/// `HGETDEL key FIELDS numfields field [field ...]`
pub(super) fn hgetdel(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let fields = fields(&mut ctx.args, BAD_NUMFIELDS)?;
    let terms = terms(ctx);
    let Some(mut found) = find_mut(&mut ctx.db, key)? else {
        return all_null(ctx, fields.len());
    };
    let mut hash = edit(&mut found, terms);
    let mut deleted = Deleted::default();
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let place = hash.find(field);
        reply_or_null(ctx.out, hash.get(place));
        deleted.delete(&mut hash, place, field);
    }
    deleted.tell(&mut found);
    drop(found);
    deleted.log(ctx, key, fields);
    Ok(Next::Done)
}

/// What became of fields that are to be deleted.
#[derive(Default)]
struct Deleted<'f> {
    count: u64,
    /// These had expired, so that they are not there, and are left alone, as in Valkey.
    left: Vec<&'f [u8]>,
}

impl<'f> Deleted<'f> {
    fn delete<H: Home>(&mut self, hash: &mut HashMut<H>, place: Place, field: &'f [u8]) {
        match hash.has_expired(place) {
            true => self.left.push(field),
            false => self.count += hash.delete_at(place) as u64,
        }
    }

    fn tell(&self, found: &mut KeyMut<'_>) {
        found.add_changes(self.count);
        if self.count > 0 {
            found.notify(EventClass::HASH, "hdel");
        }
    }

    /// For the log those that were left would be there.
    fn log(mut self, ctx: &mut Ctx<'_>, key: &[u8], fields: Argv<'_>) {
        if self.count > 0 && !self.left.is_empty() {
            self.left.sort_unstable();
            let fields = fields.iter();
            let deleted = fields.filter(|field| self.left.binary_search(field).is_err());
            log_deleted(ctx, key, &deleted.collect::<Vec<&[u8]>>());
        }
    }
}
