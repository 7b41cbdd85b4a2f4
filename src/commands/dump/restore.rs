//! RESTORE: makes a key of what DUMP has answered. The payload is checked to its last byte before
//! the keyspace is touched.

use std::sync::atomic::Ordering;

use crate::commands::{CmdResult, Ctx, Next};
use crate::config::RdbVersionCheck;
use crate::db::lazyfree::Cause;
use crate::db::notice::EventClass;
use crate::persist::rdb::decode::{self, LoadOptions, RestoreError, RestoredKey};
use crate::spec::CmdError;
use crate::util::num;

/// The largest LFU counter.
const FREQ_MAX: i64 = 255;

/// What the arguments behind the payload say.
#[derive(Default)]
struct Options {
    replace: bool,
    absttl: bool,
    idle_secs: Option<u64>,
    freq: Option<u8>,
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub(super) fn restore(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, ttl, payload) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let options = options(ctx)?;
    if !options.replace && ctx.db.find_mut(key).is_some() {
        return Err(CmdError::text("BUSYKEY Target key name already exists."));
    }
    let ttl = num::parse_i64(ttl).ok_or(CmdError::NotInteger)?;
    let Ok(ttl) = u64::try_from(ttl) else {
        return Err(CmdError::text("ERR Invalid TTL value, must be >= 0"));
    };
    let (now_ms, clock_ms) = (ctx.now_ms(), ctx.clock_ms());
    let expire_at_ms = match (ttl, options.absttl) {
        (0, _) => None,
        (at_ms, true) => Some(at_ms),
        // What is past the end of time has wrapped around in Redis, to long ago.
        (ttl, false) => Some(
            ttl.checked_add(clock_ms)
                .filter(|&at_ms| i64::try_from(at_ms).is_ok())
                .unwrap_or(0),
        ),
    };
    let restored = RestoredKey {
        key,
        expire_at_ms,
        idle_secs: options.idle_secs,
        frequency: options.freq,
    };
    let examined = &ctx.server.stats.payloads_examined;
    examined.fetch_add(1, Ordering::Relaxed);
    let entry = decode::restore(payload, &restored, &load_options(ctx)).map_err(error)?;
    if expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        if ctx.db.remove(key) {
            let deletion = ctx.db.keyspace().lazyfree.deletion(Cause::Command);
            ctx.db.propagate_as([deletion, key]);
        }
    } else {
        ctx.db.put_unused(entry);
        ctx.db.notify(EventClass::GENERIC, "restore", key);
        if let Some(at_ms) = expire_at_ms
            && !options.absttl
            && ctx.db.is_logged()
        {
            log_absolute(ctx, key, at_ms);
        }
    }
    ctx.out.ok();
    Ok(Next::Done)
}

/// Has the log repeat the request with an absolute time.
fn log_absolute(ctx: &mut Ctx<'_>, key: &[u8], at_ms: u64) {
    let argv = ctx.args.argv();
    let mut digits = itoa::Buffer::new();
    let head = [&argv[0], key, digits.format(at_ms).as_bytes()];
    let options = argv.iter().skip(3).chain([&b"ABSTTL"[..]]);
    ctx.db.propagate_as(head.into_iter().chain(options));
}

fn options(ctx: &mut Ctx<'_>) -> Result<Options, CmdError> {
    let mut options = Options::default();
    while !ctx.args.is_empty() {
        let has_value = ctx.args.remaining() > 1;
        if ctx.args.take("REPLACE") {
            options.replace = true;
        } else if ctx.args.take("ABSTTL") {
            options.absttl = true;
        } else if has_value && options.freq.is_none() && ctx.args.take("IDLETIME") {
            let invalid = CmdError::text("ERR Invalid IDLETIME value, must be >= 0");
            let secs = ctx.args.int()?;
            options.idle_secs = Some(u64::try_from(secs).map_err(|_| invalid)?);
        } else if has_value && options.idle_secs.is_none() && ctx.args.take("FREQ") {
            let invalid = CmdError::text("ERR Invalid FREQ value, must be >= 0 and <= 255");
            options.freq = Some(ctx.args.int_in(0, FREQ_MAX, invalid)? as u8);
        } else {
            return Err(CmdError::Syntax);
        }
    }
    Ok(options)
}

fn load_options(ctx: &Ctx<'_>) -> LoadOptions {
    let keyspace = ctx.db.keyspace();
    LoadOptions {
        limits: ctx.config.limits(),
        key_hash: keyspace.key_hash(),
        databases: keyspace.databases(),
        verify_checksum: true,
        now_ms: ctx.clock_ms(),
        usage: keyspace.usage.stamp(ctx.clock_ms()),
        drop_expired: false,
        relaxed_version: ctx.config.rdb_version_check == RdbVersionCheck::Relaxed,
    }
}

fn error(error: RestoreError) -> CmdError {
    match error {
        RestoreError::Footer => CmdError::text("ERR DUMP payload version or checksum are wrong"),
        RestoreError::Bad(fault) => {
            tracing::debug!("RESTORE: {fault}");
            CmdError::text("ERR Bad data format")
        }
    }
}

#[cfg(test)]
mod tests;
