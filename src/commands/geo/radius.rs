//! Searches: GEOSEARCH, GEOSEARCHSTORE, and GEORADIUS and GEORADIUSBYMEMBER with their read-only
//! forms.
//!
//! The set is looked up and its type checked before anything else is read, and the member that the
//! search goes out from is looked up where it is named: the first thing that is wrong is the error.
//! A result to be stored is whole before its destination is written, so that this may be the set
//! that was searched.
//!
//! Invariant: the rows' key specs ([`store_position`]) and the handlers agree about which key is
//! written in every request that is not refused.

use super::{position, reply_distance, reply_position, unit_m};
use crate::commands::{self, CmdResult, Ctx, Next, c_text, zset};
use crate::db::Expire;
use crate::db::notice::EventClass;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::geo::{self, Area, Found, Order, Position, Shape};
use crate::value::zset::{Member, NewZset, ZsetRef, compare};

/// Which command it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS: a position and a radius come first.
    Radius { may_store: bool },
    /// GEORADIUSBYMEMBER: a member and a radius come first.
    RadiusByMember { may_store: bool },
    /// GEOSEARCH: everything is an option.
    Search,
    /// GEOSEARCHSTORE: the same, stored.
    SearchStore,
}

impl Form {
    /// Whether centre and shape are options.
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    /// Whether STORE and STOREDIST with a key are options.
    fn may_store(self) -> bool {
        match self {
            Form::Radius { may_store } | Form::RadiusByMember { may_store } => may_store,
            Form::Search | Form::SearchStore => false,
        }
    }
}

/// Whether an argument says where to store, and whether that is to be distances.
fn store_word(arg: &[u8]) -> Option<bool> {
    if commands::is(arg, "STORE") {
        Some(false)
    } else if commands::is(arg, "STOREDIST") {
        Some(true)
    } else {
        None
    }
}

/// Where the key is in which GEORADIUS or GEORADIUSBYMEMBER store, and whether distances: the last
/// one counts.
fn stored(argv: Argv<'_>) -> Option<(usize, bool)> {
    let (mut at, mut stored) = (5, None);
    while at + 1 < argv.len() {
        if let Some(is_distance) = argv.get(at).and_then(store_word) {
            at += 1;
            stored = Some((at, is_distance));
        }
        at += 1;
    }
    stored
}

/// Where the key behind STORE is, if that is where the result goes.
pub(super) fn store_position(argv: Argv<'_>) -> Option<usize> {
    stored(argv).and_then(|(at, is_distance)| (!is_distance).then_some(at))
}

/// The same behind STOREDIST.
pub(super) fn storedist_position(argv: Argv<'_>) -> Option<usize> {
    stored(argv).and_then(|(at, is_distance)| is_distance.then_some(at))
}

/// How the centre was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Member,
    Position,
}

/// What a request looks for and what it wants of it.
#[derive(Default)]
struct Request<'a> {
    /// A centre is given, which is not known if the set is missing.
    origin: Option<Origin>,
    centre: Position,
    /// With the metres of the unit it is given in.
    shape: Option<(Shape, f64)>,
    with_distance: bool,
    with_hash: bool,
    with_position: bool,
    order: Option<Order>,
    /// 0 is no limit.
    count: usize,
    /// Any points will do, the first that are found.
    any: bool,
    destination: Option<&'a [u8]>,
    stores_distance: bool,
}

impl<'a> Request<'a> {
    /// Reads what follows the keys. `zset`: the set that is searched.
    fn parse(
        args: &mut Args<'a>,
        form: Form,
        destination: Option<&'a [u8]>,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<Request<'a>, CmdError> {
        let mut request = Request {
            destination,
            ..Request::default()
        };
        match form {
            Form::Radius { .. } => {
                request.centre = position(args)?;
                request.shape = Some(circle(args)?);
            }
            Form::RadiusByMember { .. } => {
                let member = args.bytes()?;
                match zset {
                    Some(zset) => {
                        request.centre = position_of(zset, member)?;
                        request.shape = Some(circle(args)?);
                    }
                    // Radius and unit are not even looked at.
                    None => _ = args.many(2)?,
                }
            }
            Form::Search | Form::SearchStore => {}
        }
        while let Some(word) = args.option() {
            let is_known = request.parse_result(word, args, form)?
                || form.is_search() && request.parse_area(word, args, zset)?;
            if !is_known {
                return Err(CmdError::Syntax);
            }
        }
        request.check(args, form)?;
        Ok(request)
    }

    /// Reads an option about the result; false if it is none.
    fn parse_result(
        &mut self,
        word: &[u8],
        args: &mut Args<'a>,
        form: Form,
    ) -> Result<bool, CmdError> {
        let is = |name| commands::is(word, name);
        if is("WITHDIST") {
            self.with_distance = true;
        } else if is("WITHHASH") {
            self.with_hash = true;
        } else if is("WITHCOORD") {
            self.with_position = true;
        } else if is("ANY") {
            self.any = true;
        } else if is("ASC") {
            self.order = Some(Order::Ascending);
        } else if is("DESC") {
            self.order = Some(Order::Descending);
        } else if is("COUNT") && !args.is_empty() {
            let count = args.int()?;
            if count <= 0 {
                return Err(CmdError::text("ERR COUNT must be > 0"));
            }
            self.count = usize::try_from(count).unwrap_or(usize::MAX);
        } else if form == Form::SearchStore && is("STOREDIST") {
            self.stores_distance = true;
        } else if let Some(is_distance) = store_word(word)
            && form.may_store()
            && !args.is_empty()
        {
            self.destination = Some(args.bytes()?);
            self.stores_distance = is_distance;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads an option about what to search for; false if it is none, or does not go with those
    /// before it. Each may be repeated, and the last one counts.
    fn parse_area(
        &mut self,
        word: &[u8],
        args: &mut Args<'a>,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<bool, CmdError> {
        let is = |name, arguments| commands::is(word, name) && args.remaining() >= arguments;
        let (origin, shape) = (self.origin, self.shape.as_ref().map(|(shape, _)| shape));
        let is_polygon = matches!(shape, Some(Shape::Polygon(_)));
        let may_be = |new| !is_polygon && origin.is_none_or(|origin| origin == new);
        if is("FROMMEMBER", 1) && may_be(Origin::Member) {
            let member = args.bytes()?;
            self.origin = Some(Origin::Member);
            if let Some(zset) = zset {
                self.centre = position_of(zset, member)?;
            }
        } else if is("FROMLONLAT", 2) && may_be(Origin::Position) {
            self.origin = Some(Origin::Position);
            self.centre = position(args)?;
        } else if is("BYRADIUS", 2) && matches!(shape, None | Some(Shape::Circle { .. })) {
            self.shape = Some(circle(args)?);
        } else if is("BYBOX", 3) && matches!(shape, None | Some(Shape::Box { .. })) {
            self.shape = Some(rectangle(args)?);
        } else if is("BYPOLYGON", 2) && origin.is_none() && (shape.is_none() || is_polygon) {
            self.shape = Some(polygon(args)?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Refuses options that do not go together, and a search without centre or shape.
    fn check(&self, args: &Args<'_>, form: Form) -> Result<(), CmdError> {
        if self.destination.is_some()
            && (self.with_distance || self.with_hash || self.with_position)
        {
            return Err(CmdError::text(match form {
                Form::SearchStore => {
                    "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD \
                     options"
                }
                _ => {
                    "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and \
                     WITHCOORD options"
                }
            }));
        }
        let is_polygon = matches!(self.shape, Some((Shape::Polygon(_), _)));
        if form.is_search() && self.origin.is_none() && !is_polygon {
            return Err(one_of("FROMMEMBER or FROMLONLAT", args));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(one_of("BYRADIUS, BYBOX and BYPOLYGON", args));
        }
        if self.any && self.count == 0 {
            return Err(CmdError::text(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// The points that are wanted, in the order in which they are.
    fn search<'z>(&mut self, zset: ZsetRef<'z>) -> (Vec<Found<'z>>, f64) {
        let area = match self.shape.take() {
            Some((Shape::Polygon(corners), _)) => Area::of_polygon(corners),
            Some((shape, unit_m)) => Area {
                centre: self.centre,
                shape,
                unit_m,
            },
            None => return (Vec::new(), 1.0),
        };
        let limit = if self.any { self.count } else { 0 };
        let mut found = geo::search(zset, &area, limit);
        let wanted = match self.count {
            0 => found.len(),
            count => count.min(found.len()),
        };
        // Some of many have to be the nearest ones, or they would be any.
        let nearest = (self.count > 0 && !self.any).then_some(Order::Ascending);
        match self.order.or(nearest) {
            Some(order) => geo::sort(&mut found, order, wanted),
            None => found.truncate(wanted),
        }
        (found, area.unit_m)
    }

    fn reply(&self, out: &mut ReplyWriter, found: &[Found<'_>], unit_m: f64) {
        let extras = [self.with_distance, self.with_hash, self.with_position];
        let extras = extras.into_iter().filter(|&with| with).count();
        let mut text = Vec::with_capacity(24);
        out.array(found.len());
        for point in found {
            if extras > 0 {
                out.array(1 + extras);
            }
            zset::reply(out, point.member);
            if self.with_distance {
                reply_distance(out, point.distance_m / unit_m, &mut text);
            }
            if self.with_hash {
                out.integer(point.score as i64);
            }
            if self.with_position {
                reply_position(out, point.position, &mut text);
            }
        }
    }
}

fn one_of(options: &str, args: &Args<'_>) -> CmdError {
    let mut text = format!("ERR exactly one of {options} can be specified for ").into_bytes();
    // As it was written.
    text.extend_from_slice(c_text(args.argv().get(0).unwrap_or_default()));
    CmdError::owned(text)
}

/// The position of a member from which a search goes out.
fn position_of(zset: ZsetRef<'_>, member: &[u8]) -> Result<Position, CmdError> {
    let score = zset.score(member).ok_or_else(|| {
        let text = [b"ERR member ", c_text(member), b" does not exist"];
        CmdError::owned(text.concat())
    })?;
    Ok(Position::of_score(score))
}

/// The next argument as a length.
fn length(args: &mut Args<'_>, otherwise: &'static str) -> Result<f64, CmdError> {
    zset::score(args).map_err(|_| CmdError::text(otherwise))
}

/// The next arguments as a circle: a radius and its unit.
fn circle(args: &mut Args<'_>) -> Result<(Shape, f64), CmdError> {
    let radius = length(args, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CmdError::text("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { radius }, unit_m(args)?))
}

/// The next arguments as a box: width, height and their unit.
fn rectangle(args: &mut Args<'_>) -> Result<(Shape, f64), CmdError> {
    let width = length(args, "ERR need numeric width")?;
    let height = length(args, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(CmdError::text("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, unit_m(args)?))
}

/// The next arguments as a polygon: how many corners, and their positions.
fn polygon(args: &mut Args<'_>) -> Result<(Shape, f64), CmdError> {
    const NO_NUMBER: CmdError = CmdError::text("ERR invalid number of vertices");
    const TOO_FEW: CmdError =
        CmdError::text("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices");
    let count = args.int().map_err(|_| NO_NUMBER)?;
    let count = i32::try_from(count).map_err(|_| NO_NUMBER)?;
    let count = usize::try_from(count).map_err(|_| TOO_FEW)?;
    if count < 3 || args.remaining() / 2 < count {
        return Err(TOO_FEW);
    }
    let corners: Result<_, _> = (0..count).map(|_| position(args)).collect();
    Ok((Shape::Polygon(corners?), 1.0))
}

/// `GEORADIUS key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH]
/// [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]`
pub(super) fn georadius(ctx: &mut Ctx<'_>) -> CmdResult {
    search(ctx, Form::Radius { may_store: true })
}

/// GEORADIUS_RO, the same without STORE and STOREDIST
pub(super) fn georadius_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    search(ctx, Form::Radius { may_store: false })
}

/// `GEORADIUSBYMEMBER key member radius <M | KM | FT | MI>`, then as GEORADIUS
pub(super) fn georadiusbymember(ctx: &mut Ctx<'_>) -> CmdResult {
    search(ctx, Form::RadiusByMember { may_store: true })
}

/// GEORADIUSBYMEMBER_RO, the same without STORE and STOREDIST
pub(super) fn georadiusbymember_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    search(ctx, Form::RadiusByMember { may_store: false })
}

/// `GEOSEARCH key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius unit |
/// BYBOX width height unit | BYPOLYGON num-vertices longitude latitude ...> [ASC | DESC]
/// [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`
pub(super) fn geosearch(ctx: &mut Ctx<'_>) -> CmdResult {
    search(ctx, Form::Search)
}

/// `GEOSEARCHSTORE destination source`, then as GEOSEARCH, `[STOREDIST]`
pub(super) fn geosearchstore(ctx: &mut Ctx<'_>) -> CmdResult {
    search(ctx, Form::SearchStore)
}

fn search(ctx: &mut Ctx<'_>, form: Form) -> CmdResult {
    let destination = match form {
        Form::SearchStore => Some(ctx.args.bytes()?),
        _ => None,
    };
    let key = ctx.args.bytes()?;
    let limits = ctx.config.limits();
    let key_hash = ctx.db.keyspace().key_hash();
    let Ctx { args, db, out, .. } = ctx;
    let zset = zset::find(db, key)?;
    let mut request = Request::parse(args, form, destination, zset)?;
    let (found, unit_m) = zset.map_or_else(Default::default, |zset| request.search(zset));
    let Some(destination) = request.destination else {
        request.reply(out, &found, unit_m);
        return Ok(Next::Done);
    };
    let scored = found.iter().map(|point| match request.stores_distance {
        true => (point.member, point.distance_m / unit_m),
        false => (point.member, point.score),
    });
    let mut members: Vec<(Member<'_>, f64)> = scored.collect();
    members.sort_by(|&a, &b| compare(a, b));
    let len = members.len();
    if len == 0 {
        db.remove(destination);
        out.integer(0);
        return Ok(Next::Done);
    }
    let longest = members.iter().map(|(member, _)| member.len_bytes()).max();
    let longest = longest.unwrap_or_default();
    let new = NewZset::of(members.into_iter(), len, longest, &limits, key_hash);
    new.store(|enc, value| {
        let type_ = Type::Zset as u8;
        db.set(destination, type_, enc as u8, value, Expire::Never);
    });
    // Writing the key is one of the changes.
    db.effects.changes += len as u64 - 1;
    let event = match form.is_search() {
        true => "geosearchstore",
        false => "georadiusstore",
    };
    db.notify(EventClass::ZSET, event, destination);
    out.integer(len as i64);
    Ok(Next::Done)
}
