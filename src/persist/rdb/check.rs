//! `--check-rdb`: reads a file as a load would, keeps nothing, and tells what it found, in the words
//! of valkey-check-rdb.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::decode::{self, Checksum, FaultKind, LoadOptions, Record};
use crate::db::usage::Stamp;
use crate::ds::hash::{HashFunction, KeyHash};
use crate::value::Limits;

/// What was counted.
#[derive(Default)]
struct Counts {
    keys: u64,
    expires: u64,
    already_expired: u64,
    functions: u64,
}

/// Checks the file at `path` and writes what it finds to `out`; whether all is well.
pub fn check_file(path: &Path, now_ms: u64, out: &mut dyn Write) -> io::Result<bool> {
    let name = path.display();
    match File::open(path) {
        Ok(file) => {
            writeln!(out, "[offset 0] Checking RDB file {name}")?;
            Ok(check(file, now_ms, out)?.is_some())
        }
        Err(error) => {
            writeln!(out, "Cannot open file {name}: {error}")?;
            Ok(false)
        }
    }
}

/// Checks what a file begins with: how many bytes that takes, if all is well.
pub fn check(input: impl Read, now_ms: u64, out: &mut dyn Write) -> io::Result<Option<u64>> {
    let options = LoadOptions {
        limits: Limits::default(),
        key_hash: KeyHash::process(HashFunction::Fast),
        databases: u32::MAX,
        verify_checksum: true,
        now_ms,
        usage: Stamp::default(),
        drop_expired: false,
        relaxed_version: false,
    };
    let mut counts = Counts::default();
    let mut failed = None;
    let result = decode::load(input, &options, &mut |record, offset| {
        tell(record, offset, now_ms, &mut counts, out).map_err(|error| {
            failed = Some(error);
            String::new()
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    match &result {
        Ok(summary) => {
            let offset = summary.bytes;
            match summary.checksum {
                Checksum::Verified => writeln!(out, "[offset {offset}] Checksum OK")?,
                Checksum::Disabled => writeln!(
                    out,
                    "[offset {offset}] RDB file was saved with checksum disabled: no check performed."
                )?,
                Checksum::Ignored => {}
            }
            writeln!(out, "[offset {offset}] \\o/ RDB looks OK! \\o/")?;
        }
        Err(fault) => {
            writeln!(out, "--- RDB ERROR DETECTED ---")?;
            writeln!(out, "[offset {}] {}", fault.offset, fault.message)?;
            let reason = match fault.kind {
                FaultKind::Io => "the file cannot be read",
                FaultKind::Truncated => "the file ends too early",
                FaultKind::Checksum => "its bytes are not those that were written",
                FaultKind::Version => "no RDB file of a version that is known",
                FaultKind::Unsupported => "this server does not have it",
                FaultKind::Corrupt | FaultKind::Rejected => "the file is corrupt",
            };
            writeln!(out, "[additional info] {reason}")?;
        }
    }
    writeln!(out, "[info] {} keys read", counts.keys)?;
    writeln!(out, "[info] {} expires", counts.expires)?;
    writeln!(out, "[info] {} already expired", counts.already_expired)?;
    writeln!(out, "[info] {} functions", counts.functions)?;
    Ok(result.ok().map(|summary| summary.bytes))
}

/// Counts a record; some are worth a line.
fn tell(
    record: Record,
    offset: u64,
    now_ms: u64,
    counts: &mut Counts,
    out: &mut dyn Write,
) -> io::Result<()> {
    match record {
        Record::Aux(name, text) => {
            let (name, text) = (name.escape_ascii(), text.escape_ascii());
            writeln!(out, "[offset {offset}] AUX FIELD {name} = '{text}'")?;
        }
        Record::Select(db) => writeln!(out, "[offset {offset}] Selecting DB ID {}", db.0)?,
        Record::Resize { .. } => {}
        Record::Key { entry, .. } => {
            counts.keys += 1;
            if let Some(at_ms) = entry.view().expire_at_ms() {
                counts.expires += 1;
                counts.already_expired += u64::from(at_ms < now_ms);
            }
        }
        Record::Function(_) => counts.functions += 1,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
