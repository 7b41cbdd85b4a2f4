//! `/metrics`: the figures in Prometheus's text format.
//!
//! Names are Prometheus's convention: base units (seconds, bytes, ratios), `_total` for what only grows,
//! labels for what is told apart. Each is true by itself; nothing is a figure of another one, unless it is
//! a limit. Ids of things that users name (keys, clients, users) are no labels: they could be any number.
//!
//! To add a metric: a line in the function of its section. The tests look at its name and its help; the
//! dashboard (`packaging/grafana`) may then show it.

use super::figures::Figures;

mod clients;
mod commands;
mod keyspace;
mod memory;
mod persistence;
mod process;
mod text;

use text::Text;

const SECTIONS: &[fn(&Figures, &mut Text)] = &[
    process::server,
    process::workers,
    commands::write,
    commands::unusual,
    clients::write,
    clients::certificates,
    clients::network,
    memory::write,
    keyspace::write,
    keyspace::expiry,
    persistence::write,
    process::write,
];

/// The whole text.
pub(super) fn write(figures: &Figures) -> String {
    let mut text = Text::default();
    for section in SECTIONS {
        section(figures, &mut text);
    }
    text.finish()
}
