//! Keys, lookups, and expiry.

use std::sync::atomic::Ordering;

use super::super::figures::Figures;
use super::text::{Text, ms, us};

pub(super) fn write(figures: &Figures, text: &mut Text) {
    let census = &figures.census;
    let databases = census.databases.iter().enumerate();
    let databases: Vec<_> = databases
        .filter(|(_, db)| db.keys > 0)
        .map(|(index, db)| (index.to_string(), db))
        .collect();
    for (name, help, value) in [
        (
            "kivi_keys",
            "Keys by database.",
            (|db| db.keys.to_string()) as fn(&crate::db::DbCensus) -> String,
        ),
        (
            "kivi_keys_with_ttl",
            "Keys that will expire, by database.",
            |db| db.expires.to_string(),
        ),
        (
            "kivi_keys_with_field_ttl",
            "Hashes with fields that will expire, by database.",
            |db| db.keys_with_fields.to_string(),
        ),
        (
            "kivi_ttl_mean_seconds",
            "What keys that will expire have still to live on average, estimated, by database.",
            |db| ms(db.avg_ttl_ms()),
        ),
    ] {
        text.gauges(name, help);
        for (index, db) in &databases {
            text.sample(name, &[("db", index)], value(db));
        }
    }
    text.gauge(
        "kivi_keyspace_figures_age_seconds",
        "How old the figures of the keyspace are: more than 0 while a script or command has it for \
         itself for long.",
        ms(figures.census_age_ms),
    );
    let counters = census.stats;
    text.counter(
        "kivi_keyspace_hits_total",
        "Lookups of keys that found them.",
        counters.hits,
    );
    text.counter(
        "kivi_keyspace_misses_total",
        "Lookups of keys that did not.",
        counters.misses,
    );
    text.counter(
        "kivi_keyspace_changes_total",
        "Changes of the dataset.",
        figures.server.keyspace.changes(),
    );
    waiting(figures, text);
}

fn waiting(figures: &Figures, text: &mut Text) {
    let (census, tracked) = (&figures.census, &figures.server.keyspace.tracked);
    for (name, help, value) in [
        (
            "kivi_blocking_keys",
            "Keys that some client waits for.",
            census.blocking_keys,
        ),
        (
            "kivi_watched_keys",
            "Keys that some client watches.",
            census.watched_keys,
        ),
        (
            "kivi_tracked_keys",
            "Keys that are remembered for client side caching.",
            tracked.keys.load(Ordering::Relaxed),
        ),
    ] {
        text.gauge(name, help, value);
    }
}

pub(super) fn expiry(figures: &Figures, text: &mut Text) {
    let (census, keyspace) = (&figures.census, &figures.server.keyspace);
    text.counter(
        "kivi_expired_keys_total",
        "Keys deleted because they had expired.",
        census.stats.expired,
    );
    text.counter(
        "kivi_expired_fields_total",
        "Fields of hashes deleted because they had expired.",
        census.stats.expired_fields,
    );
    let overdue_ms = figures.now_ms.saturating_sub(keyspace.next_expire_at_ms());
    text.gauge(
        "kivi_expire_lag_seconds",
        "How long the expiry that is due first has been due, and is not done.",
        ms(overdue_ms),
    );
    text.gauge(
        "kivi_expired_stale_ratio",
        "Share of the keys with a TTL that have expired and are not deleted yet, estimated.",
        // Of no keys at all it is -0.
        census.stale_percent() / 100.0 + 0.0,
    );
    text.counter(
        "kivi_expire_cycle_seconds_total",
        "Time spent deleting what has expired.",
        us(keyspace.expire_clock.cycle_us()),
    );
}
