//! What is done ten times a second whether anybody asks or not: rates are sampled, the memory's
//! peak is noted, and clients that idle past `timeout`, do not log in, leave a request unfinished or
//! let too many replies wait for too long are closed.
//!
//! Clients are looked at in turns, all of them once in about a second, so that many cost no more at
//! a time than few.

use std::sync::atomic::Ordering;

use crate::client::inbox::OutputClass;
use crate::client::{Shared, Signal};
use crate::config::{Config, OutputLimit};
use crate::persist::state::Marks;
use crate::server::Server;
use crate::stats::{CRON_HZ, Metric};
use crate::sys::alloc;
use crate::sys::process::{self, CpuOf};
use crate::util::rng::Rng;

/// How long the start may take to settle.
const STARTUP_MS: u64 = 1000;
/// Fewest clients looked at in one run, if there are as many.
const CLIENTS_MIN: usize = 64;
/// Most keys that are made untracked in one run, if there are too many.
const UNTRACKED_MAX: usize = 10_000;

/// One run; to be called [`CRON_HZ`] times a second, by the main thread.
pub(super) fn tick(server: &Server) {
    let now_ms = server.clock.unix_ms();
    let (commands, net_in, net_out) = server.stats.totals();
    let sampler = &server.stats.sampler;
    sampler.sample(Metric::Commands, commands, now_ms);
    sampler.sample(Metric::NetIn, net_in, now_ms);
    sampler.sample(Metric::NetOut, net_out, now_ms);
    let turns = server.stats.turns();
    sampler.sample(Metric::Cycles, turns.count, now_ms);
    sampler.sample_per(Metric::CycleUs, turns.us, turns.count, 1);
    let used_bytes = alloc::allocated_bytes();
    server.stats.note_memory(used_bytes, now_ms);
    note_startup(server, used_bytes, now_ms);
    *server.stats.main_cpu.lock() = process::cpu_times(CpuOf::Thread);
    server.stats.hot.tick(now_ms);
    server.keyspace.forget_idle_sizes(now_ms);
    look_after_clients(server, now_ms);
    limit_tracked(server);
}

/// When `tracking-table-max-keys` was lowered, nobody need read for it to be kept.
fn limit_tracked(server: &Server) {
    let keys_max = server.config().tracking_table_max_keys;
    let tracked = server.keyspace.tracked.keys.load(Ordering::Relaxed);
    if keys_max > 0 && tracked > keys_max {
        let (keyspace, mut rng) = (&server.keyspace, Rng::from_os());
        keyspace.limit_tracked(keys_max, UNTRACKED_MAX, &mut rng);
    }
}

/// Threads take their memory as they start, some of them after the server is ready: what is in use
/// before the first client comes belongs to the start.
fn note_startup(server: &Server, used_bytes: u64, now_ms: u64) {
    let just_started = now_ms.saturating_sub(server.started_at_ms) <= STARTUP_MS;
    let has_loaded =
        server.persist.marks().has(Marks::LOADING) || server.persist.book().loaded_keys > 0;
    if just_started && !has_loaded && server.stats.connections_received.load(Ordering::Relaxed) == 0
    {
        server
            .memory_startup_bytes
            .store(used_bytes, Ordering::Relaxed);
    }
}

fn look_after_clients(server: &Server, now_ms: u64) {
    let config = server.config();
    let share = server.clients.len().div_ceil(CRON_HZ as usize);
    let (mut input_max, mut output_max) = (0, 0);
    for client in server.clients.next_round(share.max(CLIENTS_MIN)) {
        // Whoever has forgotten to say that something has changed.
        server.clients.account(&client);
        input_max = input_max.max(client.query_buffer_capacity.load(Ordering::Relaxed));
        let inbox_bytes = client.inbox_bytes.load(Ordering::Relaxed);
        output_max =
            output_max.max(client.output_memory_bytes.load(Ordering::Relaxed) + inbox_bytes);
        if client.has(Signal::Kill) {
            continue;
        }
        if let Some(why) = why_close(server, &client, &config, now_ms) {
            tracing::debug!(
                "Closing {why} client id={} addr={}",
                client.id,
                client.endpoint.addr
            );
            client.raise(Signal::Kill);
        } else if is_over_limit(&client, output_limit(&client, &config), now_ms) {
            server.clients.cut_off(&client);
        }
    }
    server.stats.recent_input.note(input_max as u64, now_ms);
    server.stats.recent_output.note(output_max as u64, now_ms);
}

/// Why a client has had its time, if it has.
fn why_close(
    server: &Server,
    client: &Shared,
    config: &Config,
    now_ms: u64,
) -> Option<&'static str> {
    if is_idle(client, config, now_ms) {
        return Some("idle");
    }
    if is_stranger_for_long(server, client, config, now_ms) {
        return Some("unauthenticated");
    }
    is_stuck(client, config, now_ms).then_some("stuck")
}

/// Has had to log in for longer than `unauthenticated-timeout`, and has not.
fn is_stranger_for_long(server: &Server, client: &Shared, config: &Config, now_ms: u64) -> bool {
    if client.authenticated.load(Ordering::Relaxed) || !server.acl.must_log_in() {
        client.stranger_since_ms.store(now_ms, Ordering::Relaxed);
        return false;
    }
    let timeout_ms = u64::from(config.unauthenticated_timeout_secs) * 1000;
    let since_ms = client.stranger_since_ms.load(Ordering::Relaxed);
    timeout_ms > 0 && now_ms.saturating_sub(since_ms) > timeout_ms
}

/// Has begun a request, and sent nothing more of it for longer than `request-timeout`.
fn is_stuck(client: &Shared, config: &Config, now_ms: u64) -> bool {
    let timeout_ms = u64::from(config.request_timeout_secs) * 1000;
    let since_ms = client.unfinished_since_ms.load(Ordering::Relaxed);
    timeout_ms > 0 && since_ms > 0 && now_ms.saturating_sub(since_ms) > timeout_ms
}

/// Silent for longer than `timeout`, and neither because it waits for the server nor because it listens.
fn is_idle(client: &Shared, config: &Config, now_ms: u64) -> bool {
    let timeout_ms = u64::from(config.timeout_secs) * 1000;
    // Who has just ended a wait has said before when that was.
    timeout_ms > 0
        && !client.paused.load(Ordering::Acquire)
        && !client.is_attended.load(Ordering::Acquire)
        && !client.is_blocked()
        && !client.is_monitor.load(Ordering::Relaxed)
        && !client.is_subscriber()
        && now_ms.saturating_sub(client.last_interaction_ms.load(Ordering::Relaxed)) > timeout_ms
}

fn output_limit<'c>(client: &Shared, config: &'c Config) -> &'c OutputLimit {
    let limits = &config.client_output_buffer_limit;
    match client.output_class() {
        OutputClass::Normal => &limits.normal,
        OutputClass::Replica => &limits.replica,
        OutputClass::PubSub => &limits.pubsub,
    }
}

/// More replies waiting than the hard limit allows, or than the soft limit does for longer than it
/// allows. (The hard limit is watched where replies are queued, too: here is seen that it was
/// lowered.)
fn is_over_limit(client: &Shared, limit: &OutputLimit, now_ms: u64) -> bool {
    let waiting = client.waiting_bytes();
    if limit.hard_bytes > 0 && waiting > limit.hard_bytes {
        return true;
    }
    let since = &client.soft_limit_since_ms;
    if limit.soft_bytes == 0 || waiting <= limit.soft_bytes {
        since.store(0, Ordering::Relaxed);
        return false;
    }
    match since.load(Ordering::Relaxed) {
        0 => {
            since.store(now_ms, Ordering::Relaxed);
            false
        }
        since_ms => now_ms.saturating_sub(since_ms) > limit.soft_secs.saturating_mul(1000),
    }
}

#[cfg(test)]
mod tests {
    use crate::db::{Access, DbIndex};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::client::{Client, Endpoint};
    use crate::config::{self, Invocation};
    use crate::util::clock::Clock;

    const START_MS: u64 = 1_700_000_000_000;

    fn server(directives: &[&str]) -> Server {
        let args = directives.iter().map(|arg| (*arg).into());
        let Ok(Invocation::Run(sources)) = config::parse(args, []) else {
            panic!("no run")
        };
        let (store, _) = config::load(&sources).unwrap();
        Server::new(store, Clock::fake(START_MS))
    }

    fn connect(server: &Server) -> Arc<Shared> {
        let endpoint = Endpoint {
            addr: "127.0.0.1:1".into(),
            laddr: "127.0.0.1:6379".into(),
            local: true,
            unix: false,
        };
        server.clients.connect(endpoint, -1, server.clock.unix_ms())
    }

    #[test]
    fn tracked_keys_over_the_limit_are_forgotten() {
        let server = server(&["--tracking-table-max-keys", "5"]);
        let keyspace = &server.keyspace;
        for number in 0..20_000 {
            let key = format!("k{number}").into_bytes();
            let locks = keyspace.lock_one(keyspace.hash(&key));
            let mut access = Access::new(keyspace, locks, DbIndex(0), START_MS, false);
            access.track(&key, 1, |_| false);
        }
        let tracked = || keyspace.tracked.keys.load(Ordering::Relaxed);
        assert_eq!(tracked(), 20_000);
        tick(&server);
        assert_eq!(tracked(), 20_000 - UNTRACKED_MAX as u64);
        tick(&server);
        assert_eq!(tracked(), 5);
        assert_eq!(keyspace.tracked.items.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn idle_clients_are_closed() {
        let server = server(&["--timeout", "30"]);
        let (idle, busy, paused) = (connect(&server), connect(&server), connect(&server));
        paused.paused.store(true, Ordering::Relaxed);
        let attended = connect(&server);
        attended.is_attended.store(true, Ordering::Relaxed);
        server.clock.advance(30_000);
        tick(&server);
        assert!(!idle.has(Signal::Kill));
        busy.last_interaction_ms
            .store(server.clock.unix_ms(), Ordering::Relaxed);
        server.clock.advance(1);
        tick(&server);
        assert!(idle.has(Signal::Kill));
        assert!(!busy.has(Signal::Kill) && !paused.has(Signal::Kill));
        assert!(!attended.has(Signal::Kill));
    }

    #[test]
    fn without_timeout_nobody_is_idle() {
        let server = server(&[]);
        let client = connect(&server);
        client
            .unfinished_since_ms
            .store(START_MS, Ordering::Relaxed);
        server.clock.advance(1_000_000_000);
        tick(&server);
        assert!(!client.has(Signal::Kill));
    }

    #[test]
    fn whoever_must_log_in_has_a_minute() {
        let server = server(&["--requirepass", "secret"]);
        let (stranger, friend) = (connect(&server), connect(&server));
        friend.authenticated.store(true, Ordering::Relaxed);
        let in_vain = Client::new(connect(&server), &server.acl);
        server.clock.advance(60_000);
        tick(&server);
        assert!(!stranger.has(Signal::Kill));
        server.clock.advance(1);
        tick(&server);
        assert!(stranger.has(Signal::Kill) && in_vain.shared.has(Signal::Kill));
        assert!(!friend.has(Signal::Kill));
        // It becomes a stranger again (RESET): the time counts from then.
        friend.authenticated.store(false, Ordering::Relaxed);
        server.clock.advance(60_000);
        tick(&server);
        assert!(!friend.has(Signal::Kill));
        server.clock.advance(1);
        tick(&server);
        assert!(friend.has(Signal::Kill));
    }

    #[test]
    fn time_counts_only_while_a_password_is_required() {
        let server = server(&["--unauthenticated-timeout", "5"]);
        let early = Client::new(connect(&server), &server.acl);
        let other = connect(&server);
        server.clock.advance(100_000);
        tick(&server);
        server.acl.set_default_password(b"secret");
        let late = Client::new(connect(&server), &server.acl);
        server.clock.advance(5_000);
        tick(&server);
        assert!(!late.shared.has(Signal::Kill) && !other.has(Signal::Kill));
        server.clock.advance(1);
        tick(&server);
        assert!(late.shared.has(Signal::Kill) && other.has(Signal::Kill));
        assert!(!early.shared.has(Signal::Kill), "it came without one");
        let server =
            super::tests::server(&["--requirepass", "x", "--unauthenticated-timeout", "0"]);
        let stranger = connect(&server);
        server.clock.advance(1_000_000_000);
        tick(&server);
        assert!(!stranger.has(Signal::Kill));
    }

    #[test]
    fn a_request_that_does_not_go_on_ends_its_client() {
        let server = server(&["--request-timeout", "3"]);
        let (stuck, slow, idle) = (connect(&server), connect(&server), connect(&server));
        for client in [&stuck, &slow] {
            client
                .unfinished_since_ms
                .store(START_MS, Ordering::Relaxed);
        }
        server.clock.advance(3_000);
        tick(&server);
        assert!(!stuck.has(Signal::Kill));
        slow.unfinished_since_ms
            .store(server.clock.unix_ms(), Ordering::Relaxed);
        server.clock.advance(1);
        tick(&server);
        assert!(stuck.has(Signal::Kill));
        assert!(!slow.has(Signal::Kill) && !idle.has(Signal::Kill));
    }

    #[test]
    fn the_soft_limit_gives_time() {
        let server = server(&["--client-output-buffer-limit", "normal 1000 100 10"]);
        let denied = || server.clients.output_disconnections.load(Ordering::Relaxed);
        let client = connect(&server);
        client.output_bytes.store(101, Ordering::Relaxed);
        tick(&server);
        server.clock.advance(10_000);
        tick(&server);
        assert!(!client.has(Signal::Kill));
        // Below the limit once: the time starts again.
        client.output_bytes.store(100, Ordering::Relaxed);
        tick(&server);
        client.output_bytes.store(500, Ordering::Relaxed);
        tick(&server);
        server.clock.advance(10_000);
        tick(&server);
        assert!(!client.has(Signal::Kill));
        server.clock.advance(1);
        tick(&server);
        assert!(client.has(Signal::Kill));
        assert_eq!(denied(), 1);
        tick(&server);
        assert_eq!(denied(), 1, "counted once");
    }

    #[test]
    fn the_hard_limit_gives_none() {
        let server = server(&["--client-output-buffer-limit", "normal 1000 0 0"]);
        let client = connect(&server);
        client.output_bytes.store(1000, Ordering::Relaxed);
        tick(&server);
        assert!(!client.has(Signal::Kill));
        client.output_bytes.store(1001, Ordering::Relaxed);
        tick(&server);
        assert!(client.has(Signal::Kill));
    }

    #[test]
    fn every_client_gets_its_turn_within_a_second() {
        let server = server(&["--timeout", "1"]);
        let clients: Vec<_> = (0..1000).map(|_| connect(&server)).collect();
        server.clock.advance(1_001);
        tick(&server);
        let closed = |clients: &[Arc<Shared>]| {
            clients
                .iter()
                .filter(|client| client.has(Signal::Kill))
                .count()
        };
        assert_eq!(closed(&clients), 100);
        (1..CRON_HZ).for_each(|_| tick(&server));
        assert_eq!(closed(&clients), 1000);
    }

    #[test]
    fn the_start_ends_with_the_first_client() {
        let server = server(&[]);
        let startup = || server.memory_startup_bytes.swap(0, Ordering::Relaxed);
        tick(&server);
        assert!(startup() > 0);
        server
            .stats
            .connections_received
            .store(1, Ordering::Relaxed);
        tick(&server);
        assert_eq!(startup(), 0);
        server
            .stats
            .connections_received
            .store(0, Ordering::Relaxed);
        server.clock.advance(STARTUP_MS + 1);
        tick(&server);
        assert_eq!(startup(), 0, "too late");
    }

    #[test]
    fn figures_are_sampled() {
        let server = server(&[]);
        let worker = server.stats.add_worker();
        let client = connect(&server);
        client.query_buffer_capacity.store(4096, Ordering::Relaxed);
        client.note_output(77, 96);
        for _ in 0..=16 {
            worker.lock().commands_total += 50;
            worker.lock().net_in_bytes += 1000;
            tick(&server);
            server.clock.advance(100);
        }
        let now_ms = server.clock.unix_ms();
        assert_eq!(server.stats.sampler.rate(Metric::Commands), 500);
        assert_eq!(server.stats.sampler.rate(Metric::NetIn), 10_000);
        assert_eq!(server.stats.sampler.rate(Metric::NetOut), 0);
        assert_eq!(server.stats.recent_input.get(now_ms), 4096);
        assert_eq!(server.stats.recent_output.get(now_ms), 96);
        assert!(server.stats.memory_peak_bytes.load(Ordering::Relaxed) > 0);
        // The system tells of a thread's time when it has been there for a while.
        let used = || process::cpu_times(CpuOf::Thread);
        while used().user.is_zero() {}
        tick(&server);
        assert!(server.stats.main_cpu.lock().user > Duration::ZERO);
    }
}
