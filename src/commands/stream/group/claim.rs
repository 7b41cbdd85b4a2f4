//! XCLAIM and XAUTOCLAIM: pending entries change hands.
//!
//! What is pending although its entry was deleted is no longer pending once somebody asks for it. The
//! log repeats neither command: for each entry it gets an XCLAIM that leaves nothing to be decided,
//! of a deleted one with the consumer that had it, which takes it out when it is repeated. That a
//! consumer was created which then got nothing is not logged, as in Redis.

use smallvec::SmallVec;

use super::{Ids, counted_mut, idle_ms, interval_start, is, no_key_or_group, reply_entry};
use super::{reply_id, strict_id};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::Record;
use crate::db::notice::EventClass;
use crate::ds::entry::EntrySlot;
use crate::ds::stream::{ConsumerId, Entries, Group, Pending, Stream};
use crate::resp::write::ReplyWriter;
use crate::spec::{Args, CmdError};
use crate::value::stream::{IdText, StreamId, stream_mut};

/// Of which group of which key, and for whom.
#[derive(Clone, Copy)]
struct Names<'a> {
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
}

impl<'a> Names<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Names<'a>, CmdError> {
        Ok(Names {
            key: args.bytes()?,
            group: args.bytes()?,
            consumer: args.bytes()?,
        })
    }

    fn no_group(&self) -> CmdError {
        no_key_or_group(self.key, self.group)
    }
}

/// XCLAIM's options.
struct Options {
    /// IDLE or TIME, else now.
    delivered_at_ms: u64,
    /// RETRYCOUNT
    deliveries: Option<u64>,
    /// FORCE: what is not pending becomes so.
    force: bool,
    /// JUSTID
    just_id: bool,
    /// LASTID
    last_id: StreamId,
}

impl Options {
    /// Reads all arguments that are left.
    fn parse(args: &mut Args<'_>, now_ms: u64) -> Result<Options, CmdError> {
        let bad =
            |option| CmdError::owned(format!("ERR Invalid {option} option argument for XCLAIM"));
        let now = now_ms as i64;
        let mut options = Options {
            delivered_at_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        };
        let mut delivered_at = now;
        while let Some(option) = args.option() {
            let has_more = !args.is_empty();
            if is(option, "FORCE") {
                options.force = true;
            } else if is(option, "JUSTID") {
                options.just_id = true;
            } else if is(option, "IDLE") && has_more {
                let idle = args.int().map_err(|_| bad("IDLE"))?;
                delivered_at = now.saturating_sub(idle);
            } else if is(option, "TIME") && has_more {
                delivered_at = args.int().map_err(|_| bad("TIME"))?;
            } else if is(option, "RETRYCOUNT") && has_more {
                let count = args.int().map_err(|_| bad("RETRYCOUNT"))?;
                options.deliveries = u64::try_from(count).ok();
            } else if is(option, "LASTID") && has_more {
                options.last_id = strict_id(args.bytes()?, 0)?;
            } else {
                let option = crate::commands::c_text(option);
                return Err(CmdError::owned(
                    [b"ERR Unrecognized XCLAIM option '", option, b"'"].concat(),
                ));
            }
        }
        // A time that is still to come is another server's.
        if (0..=now).contains(&delivered_at) {
            options.delivered_at_ms = delivered_at as u64;
        }
        Ok(options)
    }
}

/// A consumer that takes entries over.
struct Claimer<'a> {
    names: Names<'a>,
    entries: &'a Entries,
    group: &'a mut Group,
    consumer: ConsumerId,
    record: Record<'a>,
    /// How much was changed.
    changes: u64,
    now_ms: u64,
}

impl<'a> Claimer<'a> {
    /// The consumer of this name, created if it is not there. It is seen.
    fn new(
        names: Names<'a>,
        entries: &'a Entries,
        group: &'a mut Group,
        mut record: Record<'a>,
        now_ms: u64,
    ) -> Claimer<'a> {
        record.dont_propagate();
        let mut changes = 0;
        let consumer = match group.consumer_id(names.consumer) {
            Some(consumer) => {
                group.consumer_mut(consumer).seen_at_ms = now_ms;
                consumer
            }
            None => {
                changes = 1;
                record.notify(EventClass::STREAM, "xgroup-createconsumer", names.key);
                group.create_consumer(names.consumer, now_ms)
            }
        };
        Claimer {
            names,
            entries,
            group,
            consumer,
            record,
            changes,
            now_ms,
        }
    }

    /// Takes an entry over, and answers it.
    fn take(&mut self, entry: Named<'_>, how: Pending, just_id: bool, out: &mut ReplyWriter) {
        self.group.set_pending(entry.id, how);
        self.group.consumer_mut(self.consumer).active_at_ms = Some(self.now_ms);
        match self.entries.get(entry.id).filter(|_| !just_id) {
            Some(entry) => reply_entry(out, &entry),
            None => reply_id(out, entry.id),
        }
        self.log(entry, how);
        self.changes += 1;
    }

    /// Has an entry that was deleted not be pending any more.
    fn forget(&mut self, entry: Named<'_>, was: Pending) {
        self.log(entry, was);
        self.group.ack(entry.id);
        self.changes += 1;
    }

    fn log(&mut self, entry: Named<'_>, pending: Pending) {
        if self.record.is_logged() {
            let Names { key, group, .. } = self.names;
            let id = IdText::new(entry.id);
            let id = entry.text.unwrap_or(id.as_bytes());
            log_claim(&mut self.record, (key, group), self.group, id, pending);
        }
    }
}

/// An entry's id, and how it was written, which is how Redis has the log repeat it.
#[derive(Clone, Copy)]
struct Named<'a> {
    id: StreamId,
    text: Option<&'a [u8]>,
}

/// Has the log repeat what a group knows of a pending entry, by the names of key and group and the
/// text of its id.
#[cold]
pub(in crate::commands::stream) fn log_claim(
    record: &mut Record<'_>,
    (key, name): (&[u8], &[u8]),
    group: &Group,
    id: &[u8],
    pending: Pending,
) {
    let last_id = IdText::new(group.last_id);
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    record.propagate_as([
        &b"XCLAIM"[..],
        key,
        name,
        &group.consumer(pending.consumer).name,
        b"0",
        id,
        b"TIME",
        time.format(pending.delivered_at_ms as i64).as_bytes(),
        b"RETRYCOUNT",
        count.format(pending.deliveries as i64).as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last_id.as_bytes(),
    ]);
}

/// Has the log repeat how far a group has read, by the names of key and group.
#[cold]
pub(in crate::commands::stream) fn log_last_id(
    record: &mut Record<'_>,
    (key, name): (&[u8], &[u8]),
    group: &Group,
) {
    let last_id = IdText::new(group.last_id);
    let mut read = itoa::Buffer::new();
    // The command takes no larger number.
    let entries_read = group
        .entries_read
        .map_or(-1, |read| i64::try_from(read).unwrap_or(i64::MAX));
    record.propagate_as([
        &b"XGROUP"[..],
        b"SETID",
        key,
        name,
        last_id.as_bytes(),
        b"ENTRIESREAD",
        read.format(entries_read).as_bytes(),
    ]);
}

/// The next argument as XCLAIM's and XAUTOCLAIM's min-idle-time.
fn min_idle_ms(args: &mut Args<'_>, command: &str) -> Result<i64, CmdError> {
    let bad = |_| {
        let text = format!("ERR Invalid min-idle-time argument for {command}");
        CmdError::owned(text)
    };
    Ok(args.int().map_err(bad)?.max(0))
}

/// The entries and the group of a stream.
fn parts<'s>(slot: &'s mut EntrySlot<'_>, group: &[u8]) -> Option<(&'s Entries, &'s mut Group)> {
    let (entries, groups) = stream_mut(slot).map(Stream::split_mut)?;
    Some((entries, groups.get_mut(group)?))
}

/// `XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds]
/// [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]`
pub(super) fn xclaim(ctx: &mut Ctx<'_>) -> CmdResult {
    let names = Names::parse(&mut ctx.args)?;
    let now_ms = ctx.clock_ms();
    let found = counted_mut(&mut ctx.db, names.key)?;
    let mut found = found.ok_or_else(|| names.no_group())?;
    let (mut slot, record) = found.slot_and_record();
    let parts = parts(&mut slot, names.group);
    let (entries, group) = parts.ok_or_else(|| names.no_group())?;
    let min_idle_ms = min_idle_ms(&mut ctx.args, "XCLAIM")?;
    let texts = ctx.args.rest();
    let mut ids = Ids::new();
    while let Some(Ok(id)) = ctx.args.peek().map(|arg| strict_id(arg, 0)) {
        ids.push(id);
        ctx.args.bytes()?;
    }
    let options = Options::parse(&mut ctx.args, now_ms)?;
    let is_ahead = options.last_id > group.last_id;
    group.last_id = group.last_id.max(options.last_id);
    let mut claimer = Claimer::new(names, entries, group, record, now_ms);
    let before = claimer.changes;
    let list = ctx.out.deferred_array();
    let mut count = 0;
    for (id, text) in ids.into_iter().zip(texts.iter()) {
        let text = Some(text);
        let entry = Named { id, text };
        count += claim(&mut claimer, entry, min_idle_ms, &options, ctx.out) as usize;
    }
    ctx.out.set_deferred(list, count);
    if is_ahead && claimer.changes == before {
        // Nothing that was logged says so.
        let names = (names.key, names.group);
        log_last_id(&mut claimer.record, names, claimer.group);
        claimer.changes += 1;
    }
    let changes = claimer.changes;
    found.add_untold_changes(changes);
    Ok(Next::Done)
}

/// Claims an entry; whether it was.
fn claim(
    claimer: &mut Claimer<'_>,
    entry: Named<'_>,
    min_idle_ms: i64,
    options: &Options,
    out: &mut ReplyWriter,
) -> bool {
    let pending = claimer.group.pending(entry.id);
    if !claimer.entries.contains(entry.id) {
        if let Some(pending) = pending {
            claimer.forget(entry, pending);
        }
        return false;
    }
    let counted = match pending {
        None if !options.force => return false,
        None => 1,
        Some(pending) => {
            if min_idle_ms > 0 && idle_ms(&pending, claimer.now_ms) < min_idle_ms {
                return false;
            }
            pending.deliveries
        }
    };
    let counted = counted.wrapping_add(!options.just_id as u64);
    let how = Pending {
        consumer: claimer.consumer,
        delivered_at_ms: options.delivered_at_ms,
        deliveries: options.deliveries.unwrap_or(counted),
    };
    claimer.take(entry, how, options.just_id, out);
    true
}

/// XAUTOCLAIM's options.
struct Scan {
    min_idle_ms: i64,
    start: StreamId,
    count: usize,
    just_id: bool,
}

impl Scan {
    /// Reads all arguments that are left.
    fn parse(args: &mut Args<'_>) -> Result<Scan, CmdError> {
        const BAD_COUNT: CmdError = CmdError::text("ERR COUNT must be > 0");
        const TOO_MANY: CmdError = CmdError::text(
            "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        );
        // Redis keeps room for so many ids, and refuses a count whose bytes are beyond all numbers,
        // or, in other words, more than there is memory for.
        const COUNT_MAX: i64 = i64::MAX / size_of::<StreamId>() as i64;
        const ROOM_MAX: i64 = (1 << 40) / size_of::<StreamId>() as i64;
        let mut scan = Scan {
            min_idle_ms: min_idle_ms(args, "XAUTOCLAIM")?,
            start: interval_start(args.bytes()?)?,
            count: 100,
            just_id: false,
        };
        while let Some(option) = args.option() {
            if is(option, "COUNT") && !args.is_empty() {
                scan.count = match args.int() {
                    Ok(count @ 1..=ROOM_MAX) => count as usize,
                    Ok(1..=COUNT_MAX) => return Err(TOO_MANY),
                    _ => return Err(BAD_COUNT),
                };
            } else if is(option, "JUSTID") {
                scan.just_id = true;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(scan)
    }
}

/// What XAUTOCLAIM has come upon.
#[derive(Default)]
struct Finds {
    /// In order; those whose entries are gone are marked.
    all: SmallVec<[(StreamId, Pending, bool); 8]>,
    /// How many of them have their entries.
    live: usize,
    /// Where the next scan goes on; the lowest id at the end.
    next: StreamId,
}

/// Looks for entries that have been pending for long, and for such as were deleted.
fn scan(entries: &Entries, group: &Group, scan: &Scan, now_ms: u64) -> Finds {
    /// How many are looked at for each that is wanted.
    const ATTEMPTS: usize = 10;
    let mut finds = Finds::default();
    let mut all = group.pending_range(scan.start, StreamId::MAX);
    let attempts = scan.count.saturating_mul(ATTEMPTS);
    for (id, pending) in all.by_ref().take(attempts) {
        let is_live = entries.contains(id);
        if is_live && scan.min_idle_ms > 0 && idle_ms(&pending, now_ms) < scan.min_idle_ms {
            continue;
        }
        finds.all.push((id, pending, is_live));
        finds.live += is_live as usize;
        if finds.all.len() == scan.count {
            break;
        }
    }
    finds.next = all.next().map(|(id, _)| id).unwrap_or_default();
    finds
}

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`
pub(super) fn xautoclaim(ctx: &mut Ctx<'_>) -> CmdResult {
    let names = Names::parse(&mut ctx.args)?;
    let now_ms = ctx.clock_ms();
    let found = ctx.db.find_mut_counted(names.key);
    let wanted = Scan::parse(&mut ctx.args)?;
    let mut found = found.ok_or_else(|| names.no_group())?;
    if found.entry().type_() != crate::value::Type::Stream as u8 {
        return Err(CmdError::WrongType);
    }
    let (mut slot, record) = found.slot_and_record();
    let parts = parts(&mut slot, names.group);
    let (entries, group) = parts.ok_or_else(|| names.no_group())?;
    let finds = scan(entries, group, &wanted, now_ms);
    let mut claimer = Claimer::new(names, entries, group, record, now_ms);
    ctx.out.array(3);
    reply_id(ctx.out, finds.next);
    ctx.out.array(finds.live);
    for &(id, was, is_live) in &finds.all {
        let entry = Named { id, text: None };
        if !is_live {
            claimer.forget(entry, was);
            continue;
        }
        let one_more = !wanted.just_id as u64;
        let how = Pending {
            consumer: claimer.consumer,
            delivered_at_ms: now_ms,
            deliveries: was.deliveries.wrapping_add(one_more),
        };
        claimer.take(entry, how, wanted.just_id, ctx.out);
    }
    ctx.out.array(finds.all.len() - finds.live);
    for &(id, _, _) in finds.all.iter().filter(|(_, _, is_live)| !is_live) {
        reply_id(ctx.out, id);
    }
    let changes = claimer.changes;
    found.add_untold_changes(changes);
    Ok(Next::Done)
}
