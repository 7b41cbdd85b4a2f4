//! HSETEX and HGETEX: fields with their expiry, and the options of both.
//!
//! The words before FIELDS are read first, all of them, then the fields, then the key is looked at,
//! and only then is a time read as a number. A time that has passed deletes the fields.

use smallvec::SmallVec;

use super::expire::{log_changed, log_deleted};
use super::write::{How, write_pairs};
use super::{
    BAD_NUMFIELDS, all_null, before_fields, counted, edit, find, find_mut, is_word, note_expired,
    pairs, reply_or_null, terms,
};
use crate::commands::expire::{Since, Unit, unix_ms};
use crate::commands::{CmdResult, Ctx, Next, typed_or_create};
use crate::db::notice::EventClass;
use crate::resp::parse::Argv;
use crate::spec::args::c_str;
use crate::spec::{Args, CmdError};
use crate::util::num;
use crate::value::Type;
use crate::value::hash::{Draft, Ttl};

/// Whether something has to be there, or must not be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Absent,
    Present,
}

/// What is to become of the expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry<'a> {
    Keep,
    Persist,
    /// A time, not yet read as a number.
    At(Unit, Since, &'a [u8]),
}

impl Expiry<'_> {
    /// The same option, if not the same time.
    fn is_like(self, other: Expiry<'_>) -> bool {
        match (self, other) {
            (Expiry::At(unit, since, _), Expiry::At(other_unit, other_since, _)) => {
                (unit, since) == (other_unit, other_since)
            }
            (this, other) => this == other,
        }
    }
}

/// Which options a command takes beside EX, PX, EXAT and PXAT.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    Hsetex,
    Hgetex,
}

/// Options as they were given. Of two that exclude each other only the same one may be repeated.
#[derive(Default)]
struct Options<'a> {
    key: Option<Condition>,
    fields: Option<Condition>,
    expiry: Option<Expiry<'a>>,
}

impl<'a> Options<'a> {
    /// Reads all of `args`.
    fn parse(mut args: Args<'a>, taker: Taker) -> Result<Options<'a>, CmdError> {
        let mut options = Options::default();
        let (sets, gets) = (taker == Taker::Hsetex, taker == Taker::Hgetex);
        while let Some(word) = args.option() {
            let word = c_str(word).to_ascii_uppercase();
            match &word[..] {
                b"NX" if sets => only(&mut options.key, Condition::Absent)?,
                b"XX" if sets => only(&mut options.key, Condition::Present)?,
                b"FNX" if sets => only(&mut options.fields, Condition::Absent)?,
                b"FXX" if sets => only(&mut options.fields, Condition::Present)?,
                b"KEEPTTL" if sets => options.expire(Expiry::Keep)?,
                b"PERSIST" if gets => options.expire(Expiry::Persist)?,
                b"EX" => options.expire_at(Unit::Seconds, Since::Now, &mut args)?,
                b"PX" => options.expire_at(Unit::Millis, Since::Now, &mut args)?,
                b"EXAT" => options.expire_at(Unit::Seconds, Since::Epoch, &mut args)?,
                b"PXAT" => options.expire_at(Unit::Millis, Since::Epoch, &mut args)?,
                _ => return Err(CmdError::Syntax),
            }
        }
        Ok(options)
    }

    fn expire_at(&mut self, unit: Unit, since: Since, args: &mut Args<'a>) -> Result<(), CmdError> {
        self.expire(Expiry::At(unit, since, args.bytes()?))
    }

    fn expire(&mut self, expiry: Expiry<'a>) -> Result<(), CmdError> {
        if self.expiry.is_some_and(|before| !before.is_like(expiry)) {
            return Err(CmdError::Syntax);
        }
        self.expiry = Some(expiry);
        Ok(())
    }

    /// The time that was given, Unix ms; possibly past.
    fn expire_at_ms(&self, ctx: &Ctx<'_>) -> Result<Option<u64>, CmdError> {
        match self.expiry {
            Some(Expiry::At(unit, since, time)) => time_to_come(ctx, time, unit, since).map(Some),
            _ => Ok(None),
        }
    }
}

fn only(given: &mut Option<Condition>, condition: Condition) -> Result<(), CmdError> {
    if given.is_some_and(|before| before != condition) {
        return Err(CmdError::Syntax);
    }
    *given = Some(condition);
    Ok(())
}

/// A time as a client gives it, in Unix ms: not negative, but possibly past.
pub(super) fn time_to_come(
    ctx: &Ctx<'_>,
    time: &[u8],
    unit: Unit,
    since: Since,
) -> Result<u64, CmdError> {
    let time = num::parse_i64(time).ok_or(CmdError::NotInteger)?;
    let now_ms = i64::try_from(ctx.clock_ms()).unwrap_or(i64::MAX);
    let at_ms = match time {
        0.. => unix_ms(time, unit, since, now_ms),
        _ => None,
    };
    at_ms
        .and_then(|at_ms| u64::try_from(at_ms).ok())
        .ok_or(CmdError::InvalidExpire(ctx.command.row.name.into()))
}

/// `HSETEX key [NX | XX] [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds |`
/// `PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]`
pub(super) fn hsetex(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let options = Options::parse(before_fields(&mut ctx.args)?, Taker::Hsetex)?;
    let args = counted(&mut ctx.args, 2, BAD_NUMFIELDS)?;
    // A hash is there as long as its fields are stored.
    let is_there = find_mut(&mut ctx.db, key)?.is_some();
    ctx.db.set_counting(false);
    if options
        .key
        .is_some_and(|wanted| is_there != (wanted == Condition::Present))
    {
        ctx.out.integer(0);
        return Ok(Next::Done);
    }
    let expire_at_ms = options.expire_at_ms(ctx)?;
    if let Some(wanted) = options.fields
        && !fields_are(ctx, key, args, wanted)?
    {
        ctx.out.integer(0);
        return Ok(Next::Done);
    }
    let now_ms = ctx.now_ms();
    let ttl = match (expire_at_ms, options.expiry) {
        (Some(at_ms), _) if at_ms <= now_ms => {
            delete_fields(ctx, key, args)?;
            ctx.out.integer(1);
            return Ok(Next::Done);
        }
        (Some(at_ms), _) => Ttl::At(at_ms),
        (None, Some(Expiry::Keep)) => Ttl::Keep,
        (None, _) => Ttl::Never,
    };
    let terms = terms(ctx);
    let lapsed = match ttl == Ttl::Keep && ctx.db.is_logged() {
        true => Lapsed::among(ctx, key, args)?,
        false => Lapsed::default(),
    };
    write_pairs(&mut ctx.db, key, args, terms, How::Each(ttl))?;
    if ctx.db.is_logged() {
        log_hsetex(ctx, key, &options, expire_at_ms, &lapsed);
    }
    ctx.out.integer(1);
    Ok(Next::Done)
}

/// Fields that are to be set, have expired, and are still stored.
#[derive(Default)]
struct Lapsed<'a> {
    fields: Vec<&'a [u8]>,
    /// Nothing else is in the hash.
    are_all: bool,
}

impl<'a> Lapsed<'a> {
    fn among(ctx: &mut Ctx<'_>, key: &[u8], args: Argv<'a>) -> Result<Lapsed<'a>, CmdError> {
        let terms = terms(ctx);
        let Some(mut found) = find_mut(&mut ctx.db, key)? else {
            return Ok(Lapsed::default());
        };
        let hash = edit(&mut found, terms);
        let fields = pairs(args).map(|(field, _)| field);
        let mut fields: Vec<&[u8]> = fields
            .filter(|field| hash.has_expired(hash.find(field)))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        let are_all = fields.len() == hash.view().stored_len();
        Ok(Lapsed { fields, are_all })
    }
}

/// A relative time becomes an absolute one, and what decided whether to write is left out. Fields that have
/// expired have no expiry to keep: they are deleted first, unless the key would go with them, and its own expiry.
fn log_hsetex(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    options: &Options<'_>,
    expire_at_ms: Option<u64>,
    lapsed: &Lapsed<'_>,
) {
    if !lapsed.are_all && !lapsed.fields.is_empty() {
        let deletes = [&b"HDEL"[..], key].into_iter();
        ctx.db
            .also_propagate(deletes.chain(lapsed.fields.iter().copied()));
    }
    let is_absolute = match options.expiry {
        Some(Expiry::At(unit, since, _)) => (unit, since) == (Unit::Millis, Since::Epoch),
        _ => true,
    };
    if is_absolute && options.key.is_none() && options.fields.is_none() && !lapsed.are_all {
        return;
    }
    let argv = ctx.args.argv();
    let mut digits = itoa::Buffer::new();
    let mut head: SmallVec<[&[u8]; 4]> = SmallVec::new();
    head.extend([&argv[0], key]);
    match (expire_at_ms, options.expiry) {
        (Some(at_ms), _) => head.extend([&b"PXAT"[..], digits.format(at_ms).as_bytes()]),
        (None, Some(Expiry::Keep)) if !lapsed.are_all => head.push(b"KEEPTTL"),
        _ => {}
    }
    let at = argv.iter().position(|arg| is_word(arg, "FIELDS"));
    let fields = argv.iter().skip(at.unwrap_or(argv.len()));
    ctx.db.propagate_as(head.into_iter().chain(fields));
}

/// Whether all fields are there, or none.
fn fields_are(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    args: Argv<'_>,
    wanted: Condition,
) -> Result<bool, CmdError> {
    let terms = terms(ctx);
    let mut found = find_mut(&mut ctx.db, key)?;
    let hash = found.as_mut().map(|found| edit(found, terms));
    let is_there = |field| {
        let view = hash.as_ref().map(|hash| hash.view());
        view.is_some_and(|view| view.contains(field))
    };
    Ok(pairs(args).all(|(field, _)| is_there(field) == (wanted == Condition::Present)))
}

/// Sets fields that expire in this moment: deletes them. As many changes as were stored. To those who
/// want to know, the fields were there for that moment, and the key as well.
fn delete_fields(ctx: &mut Ctx<'_>, key: &[u8], args: Argv<'_>) -> Result<(), CmdError> {
    let terms = terms(ctx);
    let mut empty = Draft::with_capacity(0);
    let (enc, value) = empty.value();
    let mut found = typed_or_create(&mut ctx.db, key, Type::Hash, enc, value)?;
    let mut hash = edit(&mut found, terms);
    let deleted = pairs(args).map(|(field, _)| field);
    let mut is_stored = |field: &&[u8]| {
        let place = hash.find(field);
        hash.has_expired(place) | hash.delete_at(place)
    };
    let deleted: Vec<&[u8]> = deleted.filter(|field| is_stored(field)).collect();
    found.add_changes(deleted.len() as u64);
    found.add_expired_fields(args.len() / 2);
    for event in ["hset", "hexpire", "hexpired"] {
        found.notify(EventClass::HASH, event);
    }
    drop(found);
    if !deleted.is_empty() {
        log_deleted(ctx, key, &deleted);
    }
    Ok(())
}

/// `HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds |`
/// `PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]`
pub(super) fn hgetex(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let options = Options::parse(before_fields(&mut ctx.args)?, Taker::Hgetex)?;
    let fields = counted(&mut ctx.args, 1, BAD_NUMFIELDS)?;
    // A read for the statistics, whatever follows.
    find(&mut ctx.db, key)?;
    ctx.db.set_counting(false);
    let expire_at_ms = options.expire_at_ms(ctx)?;
    let terms = terms(ctx);
    let Some(mut found) = find_mut(&mut ctx.db, key)? else {
        return all_null(ctx, fields.len());
    };
    let mut hash = edit(&mut found, terms);
    let mut changed: SmallVec<[&[u8]; 8]> = SmallVec::new();
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let place = hash.find(field);
        reply_or_null(ctx.out, hash.get(place));
        match (hash.expire_at_ms(place), expire_at_ms) {
            (None, _) => continue,
            (Some(_), Some(at_ms)) if at_ms <= terms.now_ms => drop(hash.delete_at(place)),
            (Some(_), Some(at_ms)) => hash.set_expire(field, Some(at_ms)),
            (Some(Some(_)), None) if options.expiry == Some(Expiry::Persist) => {
                hash.set_expire(field, None);
            }
            (Some(_), None) => continue,
        }
        changed.push(field);
    }
    let changes = changed.len() as u64;
    found.add_changes(changes);
    match expire_at_ms {
        _ if changes == 0 => {}
        Some(at_ms) if at_ms <= terms.now_ms => note_expired(&mut found, changes),
        Some(_) => found.notify(EventClass::HASH, "hexpire"),
        None => found.notify(EventClass::HASH, "hpersist"),
    }
    drop(found);
    if !changed.is_empty() && ctx.db.is_logged() {
        log_changed(ctx, key, expire_at_ms, &changed);
    }
    Ok(Next::Done)
}
