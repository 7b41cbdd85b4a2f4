//! What the console shows of the server: figures, clients, the slow log.

use crate::resp::read::Reply;
use crate::server::KIVI_VERSION;
use crate::stats::responses::BOUNDS_NS;
use crate::stats::{CommandStat, Responses};
use crate::sys::process::{self, CpuOf};
use crate::sys::tsc;

use super::super::figures::Figures;
use super::super::health;
use super::super::json::Json;
use super::super::router::Desk;
use super::super::visitor::{Refusal, Visitor};

/// Most clients that are shown.
const CLIENTS_MAX: usize = 200;
/// Entries of the slow log that are shown.
const SLOW_MAX: &[u8] = b"100";
/// Percentiles of each command.
const PERCENTILES: [(&str, f64); 3] = [("p50_us", 50.0), ("p99_us", 99.0), ("p999_us", 99.9)];

/// JSON, or why there is none.
pub(super) type Found = Result<String, Refusal>;

/// The figures of the front page, to whoever may run INFO. What changes from one look to the next is
/// the page's to find out.
pub(super) fn overview(desk: &Desk, visitor: Visitor) -> Found {
    visitor.allowed(desk, &[b"INFO"])?;
    let user = visitor.user().to_vec();
    // He is no client any more when these are counted.
    drop(visitor);
    let figures = Figures::gather(desk, true);
    Ok(Json::object(|json| {
        json.string("user", &user);
        server(&figures, json);
        json.member("memory", |json| memory(&figures, json));
        json.member("clients", |json| {
            json.plain("connected", figures.crowd.connected);
            json.plain("blocked", figures.crowd.blocked);
            json.plain("max", figures.config.maxclients);
        });
        totals(&figures, json);
        json.array("databases", |json| databases(&figures, json));
        latency(&figures, json);
        json.array("commands", |json| commands(&figures, json));
    }))
}

fn server(figures: &Figures, json: &mut Json) {
    let server = &figures.server;
    json.string("version", KIVI_VERSION.as_bytes());
    json.plain("now_ms", figures.now_ms);
    json.plain("started_at_ms", server.started_at_ms);
    json.plain("port", figures.config.port);
    json.plain("pid", process::pid());
    json.plain("io_threads", figures.config.io_threads);
    json.string("obstacles", health::obstacles(server).as_bytes());
    let cpu = process::cpu_times(CpuOf::Process);
    json.plain("cpu_secs", (cpu.user + cpu.system).as_secs_f64());
}

fn memory(figures: &Figures, json: &mut Json) {
    let memory = &figures.memory;
    json.plain("used_bytes", memory.used_bytes);
    json.plain("peak_bytes", memory.peak_bytes);
    json.plain("rss_bytes", memory.rss_bytes);
    json.plain("dataset_bytes", memory.dataset_bytes());
    let eviction = &figures.server.keyspace.eviction;
    json.plain("max_bytes", eviction.limit_bytes());
    json.string("policy", eviction.policy().as_str().as_bytes());
}

fn totals(figures: &Figures, json: &mut Json) {
    use std::sync::atomic::Ordering::Relaxed;
    let (sum, census, server) = (&figures.sum, &figures.census, &figures.server);
    let book = server.persist.book().clone();
    json.member("totals", |json| {
        json.plain("commands", sum.commands_total);
        json.plain("errors", sum.errors_total);
        json.plain("net_in_bytes", sum.net_in_bytes);
        json.plain("net_out_bytes", sum.net_out_bytes);
        json.plain("hits", census.stats.hits);
        json.plain("misses", census.stats.misses);
        json.plain("expired", census.stats.expired);
        let evicted = &server.keyspace.eviction.taking.evicted_keys;
        json.plain("evicted", evicted.load(Relaxed));
        json.plain(
            "connections",
            server.stats.connections_received.load(Relaxed),
        );
    });
    json.member("persistence", |json| {
        let unsaved = server.keyspace.changes().saturating_sub(book.changes_saved);
        json.plain("unsaved_changes", unsaved);
        json.plain("last_save_secs", book.last_save_secs);
        json.plain("bgsave_failed", book.bgsave_failed);
        json.plain("aof", figures.config.appendonly);
    });
}

fn databases(figures: &Figures, json: &mut Json) {
    let databases = figures.census.databases.iter().enumerate();
    for (index, db) in databases.filter(|(_, db)| db.keys > 0) {
        json.item(|json| {
            json.plain("db", index);
            json.plain("keys", db.keys);
            json.plain("with_ttl", db.expires);
        });
    }
}

/// All commands' responses together: bounds in microseconds, and how many took at most as long.
fn latency(figures: &Figures, json: &mut Json) {
    let mut all = Responses::default();
    for responses in figures.sum.commands.iter().flat_map(|stat| &stat.responses) {
        all.add(responses);
    }
    json.member("responses", |json| {
        json.array("bounds_us", |json| {
            BOUNDS_NS.iter().for_each(|ns| json.item_plain(ns / 1000));
        });
        json.array("cumulative", |json| {
            all.cumulative().for_each(|count| json.item_plain(count));
        });
    });
}

fn commands(figures: &Figures, json: &mut Json) {
    let names = figures.table.full_names().into_iter();
    let named = names.zip(&figures.sum.commands);
    for (name, stat) in named.filter(|(_, stat)| stat.calls > 0 || stat.rejected > 0) {
        json.item(|json| command(name, stat, json));
    }
}

fn command(name: &str, stat: &CommandStat, json: &mut Json) {
    json.string("name", name.as_bytes());
    json.plain("calls", stat.calls);
    json.plain("failed", stat.failed + stat.rejected);
    json.plain("usec", tsc::ticks_to_us(stat.ticks));
    for (name, percentile) in PERCENTILES {
        let latency = stat.latency.as_ref();
        let us = latency.map(|latency| latency.percentile(percentile) as f64 / 1000.0);
        json.plain_or_null(name, us);
    }
}

/// The lines of CLIENT LIST as objects.
pub(super) fn clients(desk: &Desk, visitor: &mut Visitor) -> Found {
    let (Reply::Bulk(text) | Reply::Verbatim { text, .. }) =
        visitor.call(desk, &[b"CLIENT", b"LIST"])?
    else {
        return Ok("{}".to_owned());
    };
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    // The visitor himself is the last one.
    let lines = lines.iter().filter(|line| !line.is_empty());
    let own = format!("id={} ", visitor.id());
    let lines: Vec<_> = lines
        .filter(|line| !line.starts_with(own.as_bytes()))
        .collect();
    Ok(Json::object(|json| {
        json.plain("total", lines.len());
        json.array("clients", |json| {
            for line in lines.into_iter().take(CLIENTS_MAX) {
                json.item(|json| {
                    for field in line.split(|&byte| byte == b' ') {
                        let at = memchr::memchr(b'=', field).unwrap_or(field.len());
                        let value = field.get(at + 1..).unwrap_or_default();
                        json.string(&String::from_utf8_lossy(&field[..at]), value);
                    }
                });
            }
        });
    }))
}

/// The entries of SLOWLOG, latest first.
pub(super) fn slowlog(desk: &Desk, visitor: &mut Visitor) -> Found {
    let reply = visitor.call(desk, &[b"SLOWLOG", b"GET", SLOW_MAX])?;
    let Reply::Array(entries) = reply else {
        return Ok("{}".to_owned());
    };
    Ok(Json::object(|json| {
        json.array("entries", |json| {
            for entry in &entries {
                json.item(|json| slow(entry, json));
            }
        });
    }))
}

fn slow(entry: &Reply, json: &mut Json) {
    let Reply::Array(parts) = entry else {
        return;
    };
    for (name, part) in ["id", "at_secs", "usec", "args", "addr", "name"]
        .iter()
        .zip(parts)
    {
        match part {
            Reply::Int(n) => json.plain(name, n),
            Reply::Bulk(text) => json.string(name, text),
            Reply::Array(args) => json.array(name, |json| {
                for arg in args {
                    if let Reply::Bulk(text) = arg {
                        json.item_string(text);
                    }
                }
            }),
            _ => {}
        }
    }
}
