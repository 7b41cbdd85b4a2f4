//! Clients, what they have subscribed to, and the network.

use std::sync::atomic::Ordering;

use super::super::figures::Figures;
use super::text::Text;

pub(super) fn write(figures: &Figures, text: &mut Text) {
    let (server, crowd) = (&figures.server, &figures.crowd);
    for (name, help, value) in [
        ("kivi_connected_clients", "Clients.", crowd.connected),
        (
            "kivi_clients_max",
            "Most clients that are let in (maxclients).",
            figures.config.maxclients.into(),
        ),
        (
            "kivi_blocked_clients",
            "Clients that wait for a key, or for the end of CLIENT PAUSE.",
            crowd.blocked,
        ),
        (
            "kivi_watching_clients",
            "Clients that watch keys (WATCH).",
            crowd.watching,
        ),
        (
            "kivi_tracking_clients",
            "Clients that are told of changes of what they have cached.",
            server.tracking.client_count() as u64,
        ),
        (
            "kivi_pubsub_clients",
            "Clients that have subscribed to something.",
            server.pubsub.client_count(),
        ),
    ] {
        text.gauge(name, help, value);
    }
    connections(figures, text);
    subscriptions(figures, text);
}

fn connections(figures: &Figures, text: &mut Text) {
    let (server, stats) = (&figures.server, &figures.server.stats);
    text.counter(
        "kivi_connections_received_total",
        "Connections accepted, those that were refused then included.",
        stats.connections_received.load(Ordering::Relaxed),
    );
    text.counter(
        "kivi_connections_rejected_total",
        "Connections refused (maxclients, protected mode, no file descriptor).",
        stats.connections_rejected.load(Ordering::Relaxed),
    );
    const CUT_OFF: &str = "kivi_clients_cut_off_total";
    text.counters(
        CUT_OFF,
        "Clients disconnected by the server, by the limit that they met.",
    );
    for (limit, counter) in [
        (
            "client-query-buffer-limit",
            &stats.query_buffer_disconnections,
        ),
        (
            "client-output-buffer-limit",
            &server.clients.output_disconnections,
        ),
        ("maxmemory-clients", &server.clients.memory.evicted),
    ] {
        text.sample(
            CUT_OFF,
            &[("limit", limit)],
            counter.load(Ordering::Relaxed),
        );
    }
    const DENIED: &str = "kivi_acl_denied_total";
    text.counters(
        DENIED,
        "What users were denied, by reason; auth: logins refused.",
    );
    for (reason, counter) in [
        ("auth", &stats.auth_denied),
        ("command", &stats.commands_denied),
        ("key", &stats.keys_denied),
        ("channel", &stats.channels_denied),
        ("database", &stats.databases_denied),
        ("tls_cert", &stats.certificates_denied),
    ] {
        text.sample(
            DENIED,
            &[("reason", reason)],
            counter.load(Ordering::Relaxed),
        );
    }
}

fn subscriptions(figures: &Figures, text: &mut Text) {
    let pubsub = &figures.server.pubsub;
    const CHANNELS: &str = "kivi_pubsub_channels";
    text.gauges(
        CHANNELS,
        "Channels and patterns that somebody has subscribed to.",
    );
    for (kind, count) in [
        ("channel", pubsub.channel_count(false)),
        ("sharded", pubsub.channel_count(true)),
        ("pattern", pubsub.pattern_count()),
    ] {
        text.sample(CHANNELS, &[("kind", kind)], count);
    }
}

/// Until when the certificates are good that new connections are shown.
pub(super) fn certificates(figures: &Figures, text: &mut Text) {
    const EXPIRY: &str = "kivi_tls_certificate_expiry_timestamp_seconds";
    text.gauges(
        EXPIRY,
        "When a certificate of TLS ends, Unix time; nothing without TLS.",
    );
    let Some(context) = figures.server.tls.context() else {
        return;
    };
    for (whose, facts) in [("server", &context.certificate), ("ca", &context.authority)] {
        if let Some(facts) = facts {
            text.sample(EXPIRY, &[("certificate", whose)], facts.expires_at_secs);
        }
    }
}

pub(super) fn network(figures: &Figures, text: &mut Text) {
    let sum = &figures.sum;
    for (name, help, value) in [
        (
            "kivi_net_input_bytes_total",
            "Bytes read from clients.",
            sum.net_in_bytes,
        ),
        (
            "kivi_net_output_bytes_total",
            "Bytes written to clients.",
            sum.net_out_bytes,
        ),
        (
            "kivi_net_reads_total",
            "Reads from clients that brought something.",
            sum.reads,
        ),
        ("kivi_net_writes_total", "Writes to clients.", sum.writes),
    ] {
        text.counter(name, help, value);
    }
}
