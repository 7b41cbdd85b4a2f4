//! DEBUG CHECK-KEYSPACE and CHECK-CLIENTS: whether everything is as its modules promise.
//!
//! The keyspace is looked at while nobody else has any of it, so what is found is exact at any time.
//! Clients go on meanwhile: what they say of themselves and what is known of them elsewhere changes in
//! two steps, so a fault counts that is still there when everybody is quiet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::ClientId;
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::{Check, Waiter};
use crate::resp::parse::Argv;
use crate::util::check::Checked;
use crate::value::Type;

/// Only who looks at the keyspace needs all of it.
pub(super) fn needs_all(argv: Argv<'_>) -> bool {
    let name = argv.get(1);
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"check-keyspace"))
}

/// `DEBUG CHECK-KEYSPACE`
pub(super) fn check_keyspace(ctx: &mut Ctx<'_>) -> CmdResult {
    let check = ctx.db.check();
    ctx.out.map(3);
    for (name, figure) in [("keys", check.keys), ("bytes", check.bytes)] {
        ctx.out.bulk(name.as_bytes());
        ctx.out.integer(figure as i64);
    }
    reply_faults(ctx, &check);
    Ok(Next::Done)
}

/// `DEBUG CHECK-CLIENTS`
pub(super) fn check_clients(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut check = Check::default();
    let server = ctx.server;
    check.note(|| "channels".into(), server.pubsub.check());
    let tracking = server.tracking.check(&server.keyspace);
    check.note(|| "tracking".into(), tracking);
    check.note(|| "memory".into(), server.clients.check_memory());
    check.note(|| "monitors".into(), server.monitors.check());
    check_waiters(ctx, &mut check);
    ctx.out.map(2);
    ctx.out.bulk(b"clients");
    ctx.out.integer(ctx.server.clients.len() as i64);
    reply_faults(ctx, &check);
    Ok(Next::Done)
}

fn reply_faults(ctx: &mut Ctx<'_>, check: &Check) {
    ctx.out.bulk(b"faults");
    let more = (check.more_faults > 0).then(|| format!("and {} more", check.more_faults));
    ctx.out.array(check.faults.len() + more.iter().len());
    for fault in check.faults.iter().chain(&more) {
        ctx.out.bulk(fault.as_bytes());
    }
}

/// Who waits stands under each of its keys, and nobody waits for what is there.
fn check_waiters(ctx: &mut Ctx<'_>, check: &mut Check) {
    let clients = &ctx.server.clients;
    let mut places: BTreeMap<ClientId, usize> = BTreeMap::new();
    ctx.db.for_each_waiter(|key, waiter, is_there| {
        let id = waiter.waiting.client_id;
        *places.entry(id).or_default() += 1;
        let own = clients.get(id).and_then(|client| client.waiter());
        let is_own = own.is_some_and(|own| Arc::ptr_eq(&own, waiter));
        let checked = check_waiter(waiter, is_own, is_there);
        let place = || format!("client {id}, waiting for {}", key.escape_ascii());
        check.note(place, checked);
    });
    for client in clients.all() {
        let Some(waiter) = client.waiter() else {
            continue;
        };
        let mut keys: Vec<&[u8]> = waiter.waiting.keys.iter().map(|key| &**key).collect();
        keys.sort_unstable();
        keys.dedup();
        let found = places.get(&client.id).copied().unwrap_or_default();
        let checked = match found == keys.len() {
            true => Ok(()),
            false => Err(format!("it waits for {} keys, under {found}", keys.len())),
        };
        check.note(|| format!("client {}", client.id), checked);
    }
}

fn check_waiter(waiter: &Waiter, is_own: bool, is_there: bool) -> Checked {
    if !is_own {
        return Err("it does not, or has gone".into());
    }
    // Whether there is something to read in a stream depends on ids, too.
    if is_there && waiter.waiting.type_ != Type::Stream && !waiter.is_decided() {
        return Err("the key is there".into());
    }
    Ok(())
}
