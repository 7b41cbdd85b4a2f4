//! INFO keysizes, Redis 8.0's, and INFO bigkeys: how large values are, see `db::sizes`.
//!
//! Both are told only to those who ask for them by name (keysizes for `everything`, too): it is by being
//! asked for that they are counted. The names of large keys are shown in a form that breaks neither the
//! line nor its fields.

use std::fmt::Write as _;

use crate::db::sizes::{BINS, Large, SizesReport, bin_start};
use crate::value::Type;

use super::Report;

/// Keys that are counted before the others of the thread have their turn: half a millisecond or so.
pub(super) const BUDGET_KEYS: usize = 20_000;
/// How many of the largest keys of a type are told.
const LARGEST: usize = 10;
/// Types in the order of the lines, with what their sizes are called; Redis 8.0 does not tell of streams.
const HISTOGRAMS: [(Type, &str); 5] = [
    (Type::String, "strings_sizes"),
    (Type::List, "lists_items"),
    (Type::Set, "sets_items"),
    (Type::Zset, "zsets_items"),
    (Type::Hash, "hashes_items"),
];
const TYPES: [Type; 6] = [
    Type::String,
    Type::List,
    Type::Set,
    Type::Zset,
    Type::Hash,
    Type::Stream,
];
/// Letters for 2^10, 2^20 and so on.
const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];

pub(super) fn write(report: &mut Report<'_, '_>) {
    let sizes = report.sizes.take().unwrap_or_default();
    for (db, types) in sizes.databases.iter().enumerate() {
        for (type_, name) in HISTOGRAMS {
            if let Some(bins) = histogram(&types[type_ as usize]) {
                report.line(&format!("db{db}_distrib_{name}"), bins);
            }
        }
    }
    report.sizes = Some(sizes);
}

/// `1=19,2=655,1K=3`: how many are at least as large, and smaller than the next; nothing for none.
fn histogram(counts: &[u64; BINS]) -> Option<String> {
    let mut text = String::new();
    for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let start = bin_start(bin);
        let unit = start.checked_ilog2().unwrap_or(0) as usize / 10;
        let comma = if text.is_empty() { "" } else { "," };
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "{comma}{}{}={count}",
            start >> (10 * unit),
            UNITS[unit]
        );
    }
    (!text.is_empty()).then_some(text)
}

pub(super) fn write_largest(report: &mut Report<'_, '_>) {
    let sizes = report.sizes.take().unwrap_or_default();
    for type_ in TYPES {
        let largest = sizes.largest[type_ as usize].iter().take(LARGEST);
        for (place, large) in (1..).zip(largest) {
            report.line(
                &format!("largest_{}_{place}", type_.name()),
                shown(type_, large),
            );
        }
    }
    report.sizes = Some(sizes);
}

/// `db=0,bytes=4096,key=name`
fn shown(type_: Type, large: &Large) -> String {
    let unit = match type_ {
        Type::String => "bytes",
        Type::Stream => "entries",
        _ => "items",
    };
    let (db, size) = (large.db.0, large.size);
    let mut text = format!("db={db},{unit}={size},key=");
    for &byte in &large.key {
        match byte {
            b'\\' | b',' | b'=' | b':' | b'#' | 0..=0x20 | 0x7f.. => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            byte => text.push(byte.into()),
        }
    }
    text
}

/// Whether a request needs what is counted only when it is asked for.
pub(super) fn count(report: &mut Report<'_, '_>, may_wait: bool) -> bool {
    let budget = match may_wait {
        true => BUDGET_KEYS,
        false => usize::MAX,
    };
    let sizes: Option<SizesReport> = report.db.sizes(budget);
    report.sizes = sizes;
    report.sizes.is_some()
}
