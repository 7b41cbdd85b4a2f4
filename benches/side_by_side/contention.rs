//! What it costs that several threads want the same: commands on one key of all connections, beside
//! the same commands on a million keys, with 1 to 16 I/O threads of both servers.
//!
//! With more threads than cores a thread may lose its processor in the middle of a command, while it
//! holds what the others want: that is part of what is looked for, so the number of threads does not
//! go by the cores. Every run counts its replies; that no increment is lost or doubled is a test
//! (`tests/it/contention.rs`).

use anyhow::Result;

use crate::collections::Load;
use crate::data::{Data, Kind};
use crate::load::Draw;
use crate::options::Options;
use crate::{Bench, Emit, scaling};

/// I/O threads of the servers.
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];
const PIPELINES: [u64; 2] = [1, 64];

/// One table per number of threads, and one of speed-ups.
pub(crate) fn run(bench: &Bench, emit: Emit) -> Result<()> {
    scaling::sweep(bench, &loads(&bench.options)?, &THREADS, emit)
}

/// Each command on one key and on many; those on collections only where they are contended.
fn loads(options: &Options) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    let mut add = |name: &str, data, command: &str, draws: &[Draw], pipeline| {
        loads.extend(scaling::wanted(
            options, name, data, command, draws, pipeline,
        )?);
        anyhow::Ok(())
    };
    let strings = Data::new(Kind::Text, options.keys, 1);
    let spread = [("one key", 1), ("many keys", options.keys)];
    for pipeline in PIPELINES {
        for (which, keys) in spread {
            let draw = &[Draw::below(keys)];
            let set = "SET key:%0 fedcba9876543210";
            add(
                &format!("GET {which}"),
                strings,
                "GET key:%0",
                draw,
                pipeline,
            )?;
            add(&format!("SET {which}"), strings, set, draw, pipeline)?;
            let incr = "INCR cnt:%0";
            add(&format!("INCR {which}"), strings, incr, draw, pipeline)?;
        }
    }
    let (key, element) = (Draw::below(1), Draw::below(1000));
    let fields = Data::new(Kind::WideCounters, 1, 1000);
    let hincrby = "HINCRBY key:%0 fld:%1 1";
    add("HINCRBY one hash", fields, hincrby, &[key, element], 64)?;
    let scored = Data::new(Kind::Scored, 1, 1000);
    let zincrby = "ZINCRBY key:%0 1 mem:%1";
    add(
        "ZINCRBY one sorted set",
        scored,
        zincrby,
        &[key, element],
        64,
    )?;
    Ok(loads)
}
