//! Geo commands: the rows of the family, adding points, and what is asked about single ones.
//!
//! Searches are in `geo/radius.rs`. What positions are and how those near another are found is
//! `value::geo`'s. A geo set is a sorted set: points are added to it as members are, and all commands
//! of sorted sets work on it.

use smallvec::SmallVec;

use super::zset::{self, add};
use super::{CmdResult, Command, Ctx, Next, command};
use crate::resp::write::ReplyWriter;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::util::num;
use crate::value::geo::{self, Position};
use crate::value::zset::ZsetRef;

mod radius;

#[cfg(test)]
mod tests;

const READ: Flags = Flags::READONLY;
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// Reads members for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Changes scores.
const UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::UPDATE);
/// Replaces the value.
const REPLACE: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

const SEARCH_COMPLEXITY: &str = "O(N + log(M)) where N is the number of points in the cells that \
                                 cover the shape and M that of all points.";

/// The key that STORE or STOREDIST names in GEORADIUS and GEORADIUSBYMEMBER. `from`: the argument
/// from which on Valkey searches.
const fn store(from: i16) -> KeySpec {
    KeySpec::keyword("STORE", from, radius::store_position, REPLACE).varying(|_| REPLACE)
}

/// See [`store`].
const fn storedist(from: i16) -> KeySpec {
    KeySpec::keyword("STOREDIST", from, radius::storedist_position, REPLACE).varying(|_| REPLACE)
}

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("geoadd", -5, STORE, geoadd)
        .element(4)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, UPDATE)])
        .docs(
            Group::Geo,
            "3.2.0",
            "O(log(N)) for each point that is added, where N is the number of points.",
            "Adds points to a geo set or moves them; options tell which of them, and what is \
             counted.",
        )
        .syntax(
            "key#0 condition(NX|XX)?@6.2.0 change=CH?@6.2.0 \
             data{longitude:double latitude:double member}*",
        ),
    command("geodist", -4, READ, geodist)
        .element(2)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Geo,
            "3.2.0",
            "O(1)",
            "Returns the distance between two points.",
        )
        .syntax("key#0 member1 member2 unit(M|KM|FT|MI)?"),
    command("geohash", -2, READ, geohash)
        .element(2)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Geo,
            "3.2.0",
            "O(N) where N is the number of members asked for.",
            "Returns the positions of points as Geohash texts.",
        )
        .syntax("key#0 member?*"),
    command("geopos", -2, READ, geopos)
        .element(2)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Geo,
            "3.2.0",
            "O(N) where N is the number of members asked for.",
            "Returns the longitudes and latitudes of points.",
        )
        .syntax("key#0 member?*"),
    command(
        "georadius",
        -6,
        STORE.and(Flags::MOVABLEKEYS),
        radius::georadius,
    )
    .acl(AclCategories::GEO)
    .keys(&[KeySpec::at(1, FETCH), store(6), storedist(6)])
    .docs(
        Group::Geo,
        "3.2.0",
        SEARCH_COMPLEXITY,
        "Returns or stores the points that are no farther from a position than a radius.",
    )
    .syntax(
        "key#0 longitude:double latitude:double radius:double unit(M|KM|FT|MI) WITHCOORD? \
         WITHDIST? WITHHASH? count-block{COUNT=count:integer ANY?@6.2.0}? order(ASC|DESC)? \
         store(STORE=storekey#1\"key\"|STOREDIST=storedistkey#2\"key\")?",
    ),
    command("georadius_ro", -6, READ, radius::georadius_ro)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Geo,
            "3.2.10",
            SEARCH_COMPLEXITY,
            "Returns the points that are no farther from a position than a radius.",
        )
        .syntax(
            "key#0 longitude:double latitude:double radius:double unit(M|KM|FT|MI) WITHCOORD? \
             WITHDIST? WITHHASH? count-block{COUNT=count:integer ANY?@6.2.0}? order(ASC|DESC)?",
        ),
    command(
        "georadiusbymember",
        -5,
        STORE.and(Flags::MOVABLEKEYS),
        radius::georadiusbymember,
    )
    .acl(AclCategories::GEO)
    .keys(&[KeySpec::at(1, FETCH), store(5), storedist(5)])
    .docs(
        Group::Geo,
        "3.2.0",
        SEARCH_COMPLEXITY,
        "Returns or stores the points that are no farther from one of them than a radius.",
    )
    .syntax(
        "key#0 member radius:double unit(M|KM|FT|MI) WITHCOORD? WITHDIST? WITHHASH? \
         count-block{COUNT=count:integer ANY?}? order(ASC|DESC)? \
         store(STORE=storekey#1\"key\"|STOREDIST=storedistkey#2\"key\")?",
    ),
    command(
        "georadiusbymember_ro",
        -5,
        READ,
        radius::georadiusbymember_ro,
    )
    .acl(AclCategories::GEO)
    .keys(&[KeySpec::at(1, FETCH)])
    .docs(
        Group::Geo,
        "3.2.10",
        SEARCH_COMPLEXITY,
        "Returns the points that are no farther from one of them than a radius.",
    )
    .syntax(
        "key#0 member radius:double unit(M|KM|FT|MI) WITHCOORD? WITHDIST? WITHHASH? \
         count-block{COUNT=count:integer ANY?}? order(ASC|DESC)?",
    ),
    command("geosearch", -7, READ, radius::geosearch)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Geo,
            "6.2.0",
            SEARCH_COMPLEXITY,
            "Returns the points that are within a circle, a box or a polygon.",
        )
        .syntax(
            "key#0 from(FROMMEMBER=member|FROMLONLAT=fromlonlat{longitude:double \
             latitude:double})? by(circle{BYRADIUS=radius:double unit(M|KM|FT|MI)}|\
             box{BYBOX=width:double height:double unit(M|KM|FT|MI)}|\
             polygon{BYPOLYGON=num-vertices:integer vertices{longitude:double \
             latitude:double}*}@9.0.0) order(ASC|DESC)? count-block{COUNT=count:integer ANY?}? \
             WITHCOORD? WITHDIST? WITHHASH?",
        ),
    command("geosearchstore", -8, STORE, radius::geosearchstore)
        .acl(AclCategories::GEO)
        .keys(&[KeySpec::at(1, REPLACE), KeySpec::at(2, FETCH)])
        .docs(
            Group::Geo,
            "6.2.0",
            SEARCH_COMPLEXITY,
            "Sets a key to the points that are within a circle, a box or a polygon.",
        )
        .syntax(
            "destination#0 source#1 from(FROMMEMBER=member|FROMLONLAT=fromlonlat{longitude:double \
             latitude:double})? by(circle{BYRADIUS=radius:double unit(M|KM|FT|MI)}|\
             box{BYBOX=width:double height:double unit(M|KM|FT|MI)}|\
             polygon{BYPOLYGON=num-vertices:integer vertices{longitude:double \
             latitude:double}*}@9.0.0) order(ASC|DESC)? count-block{COUNT=count:integer ANY?}? \
             STOREDIST?",
        ),
];

/// The next two arguments as a position on the map.
fn position(args: &mut Args<'_>) -> Result<Position, CmdError> {
    let position = Position {
        longitude: zset::score(args)?,
        latitude: zset::score(args)?,
    };
    match position.is_on_map() {
        true => Ok(position),
        false => Err(CmdError::owned(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            position.longitude, position.latitude
        ))),
    }
}

/// The next argument as a unit of length: its metres.
fn unit_m(args: &mut Args<'_>) -> Result<f64, CmdError> {
    let unit = args.bytes()?;
    let is = |word| super::is(unit, word);
    if is("m") {
        Ok(1.0)
    } else if is("km") {
        Ok(1000.0)
    } else if is("ft") {
        Ok(0.3048)
    } else if is("mi") {
        Ok(1609.34)
    } else {
        Err(CmdError::text(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        ))
    }
}

/// Answers a distance: a string also in RESP3.
fn reply_distance(out: &mut ReplyWriter, distance: f64, text: &mut Vec<u8>) {
    text.clear();
    num::fmt_fixed_4(distance, text);
    out.bulk(text);
}

/// Answers a position.
fn reply_position(out: &mut ReplyWriter, position: Position, text: &mut Vec<u8>) {
    out.array(2);
    for coordinate in [position.longitude, position.latitude] {
        text.clear();
        num::fmt_double_plain(coordinate, text);
        out.double_text(text);
    }
}

/// `GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]`
fn geoadd(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let mut request = add::Request::default();
    let options = ctx.args.rest();
    // Nearly all requests begin with a number.
    while let Some(word) = ctx.args.peek() {
        if !word.first().is_some_and(u8::is_ascii_alphabetic) {
            break;
        }
        if super::is(word, "NX") {
            request.options.only_new = true;
        } else if super::is(word, "XX") {
            request.options.only_old = true;
        } else if super::is(word, "CH") {
            request.counts_changes = true;
        } else {
            break;
        }
        ctx.args.bytes()?;
    }
    let options = options.iter().take(options.len() - ctx.args.remaining());
    let options: SmallVec<[&[u8]; 2]> = options.collect();
    let contradict = request.options.only_new && request.options.only_old;
    if ctx.args.is_empty() || !ctx.args.remaining().is_multiple_of(3) || contradict {
        return Err(CmdError::Syntax);
    }
    request.pairs.reserve(ctx.args.remaining() / 3);
    while !ctx.args.is_empty() {
        let score = position(&mut ctx.args)?.score();
        request.push(score, ctx.args.bytes()?);
    }
    let changes = ctx.db.effects.changes;
    let next = add::add(ctx, key, &request)?;
    if ctx.db.is_logged() && ctx.db.effects.changes > changes {
        propagate(ctx, key, &options, &request);
    }
    Ok(next)
}

/// Has the log repeat a ZADD: it is read by those who compute other scores, too.
#[cold]
fn propagate(ctx: &mut Ctx<'_>, key: &[u8], options: &[&[u8]], request: &add::Request<'_>) {
    let scores = request
        .pairs
        .iter()
        .map(|&(score, _)| (score as u64).to_string());
    let scores: Vec<String> = scores.collect();
    let mut words = vec![&b"ZADD"[..], key];
    words.extend(options);
    for (score, &(_, member)) in scores.iter().zip(&request.pairs) {
        words.extend([score.as_bytes(), member]);
    }
    ctx.db.propagate_as(words.iter().copied());
}

/// `GEODIST key member1 member2 [M | KM | FT | MI]`
fn geodist(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let (from, to) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let unit_m = match ctx.args.remaining() {
        0 => 1.0,
        1 => unit_m(&mut ctx.args)?,
        _ => return Err(CmdError::Syntax),
    };
    let zset = zset::find(&mut ctx.db, key)?;
    let position = |member| Some(Position::of_score(zset?.score(member)?));
    match position(from).zip(position(to)) {
        Some((from, to)) => {
            let distance = geo::distance_m(from, to) / unit_m;
            reply_distance(ctx.out, distance, &mut Vec::with_capacity(24));
        }
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// `GEOHASH key [member [member ...]]`
fn geohash(ctx: &mut Ctx<'_>) -> CmdResult {
    for_each_member(ctx, |out, position| match position {
        Some(position) => out.bulk(&position.text()),
        None => out.null(),
    })
}

/// `GEOPOS key [member [member ...]]`
fn geopos(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut text = Vec::with_capacity(24);
    for_each_member(ctx, |out, position| match position {
        Some(position) => reply_position(out, position, &mut text),
        None => out.null_array(),
    })
}

/// Answers an array with something for each member.
fn for_each_member(
    ctx: &mut Ctx<'_>,
    mut reply: impl FnMut(&mut ReplyWriter, Option<Position>),
) -> CmdResult {
    let key = ctx.args.bytes()?;
    let zset: Option<ZsetRef<'_>> = zset::find(&mut ctx.db, key)?;
    let members = ctx.args.rest();
    ctx.out.array(members.len());
    for member in members.iter() {
        let score = zset.and_then(|zset| zset.score(member));
        reply(ctx.out, score.map(Position::of_score));
    }
    Ok(Next::Done)
}
