//! What a small collection costs per key and a large one per element: growth of the resident memory
//! (and of `used_memory`) of a fresh server while a client writes them, as in `memory`.

use anyhow::Result;

use crate::Bench;
use crate::data::{Data, Kind};
use crate::memory::Memory;
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// Elements of a small value.
const SMALL: u64 = 10;

/// What is measured, and the part of the rival's cost that it may have.
const SMALL_VALUES: [(Kind, &str, Option<f64>); 5] = [
    (Kind::Fields, "hash of 10 (8 B, 10 B)", Some(0.9)),
    (Kind::Items, "list of 10 x 10 B", Some(0.9)),
    (Kind::Integers, "set of 10 integers", Some(0.9)),
    (Kind::Members, "set of 10 x 16 B", Some(0.9)),
    (Kind::Scored, "zset of 10 x 16 B", Some(0.9)),
];
const ONE_VALUE: [(Kind, &str, Option<f64>); 6] = [
    (Kind::WideFields, "hash (16 B, 16 B)", Some(0.8)),
    (Kind::Members, "set of 16 B", Some(0.8)),
    (Kind::Integers, "set of integers", None),
    (Kind::Scored, "zset of 16 B, integers", Some(0.6)),
    (Kind::Fractions, "zset of 16 B, fractions", Some(0.6)),
    (Kind::Items, "list of 10 B", None),
];

/// Both tables of every mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let (keys, elements) = ((bench.options.keys / 4).max(1), bench.options.elements);
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let title = format!("Memory per key, {keys} small values: {}", mode.title());
        let mut table = bench.table(title);
        for (kind, name, limit) in SMALL_VALUES {
            let data = Data::new(kind, keys, SMALL);
            add(bench, &mut table, mode, (name, data, keys, limit));
        }
        tables.push(table);
        let title = format!("Memory per element of one value: {}", mode.title());
        let mut table = bench.table(title);
        for (kind, name, limit) in ONE_VALUE {
            let data = Data::one(kind, elements);
            let name = format!("{name}, {elements} elements");
            add(bench, &mut table, mode, (&name, data, elements, limit));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// A kind of data in words, the data, what its cost is divided by, and the target.
type Case<'a> = (&'a str, Data, u64, Option<f64>);

/// Adds the rows of one kind of data, or that it failed.
fn add(bench: &Bench, table: &mut Table, mode: Mode, case: Case) {
    if bench.options.wants(case.0) {
        match measure(bench, mode, case) {
            Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
            Err(error) => table.fail(case.0, &error),
        }
    }
}

fn measure(bench: &Bench, mode: Mode, (name, data, units, limit): Case) -> Result<[Row; 2]> {
    let contenders = bench.contenders.len();
    let target = limit.filter(|_| !bench.options.quick);
    let target = target.map(Target::RatioAtMost);
    let mut rss = Row::new(format!("RSS, {name}"), "B", contenders).target(target);
    let mut used = Row::new(format!("used_memory, {name}"), "B", contenders);
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = Contender::start(bench, index, mode, &[])?;
            let grown = grow(bench, &server, data, units)?;
            rss.push(index, grown.0);
            used.push(index, grown.1);
        }
    }
    Ok([rss, used])
}

fn grow(bench: &Bench, server: &Server, data: Data, units: u64) -> Result<(f64, f64)> {
    let mut control = server.connect()?;
    let base = Memory::settled(server, &mut control, &bench.options)?;
    data.write(server)?;
    let memory = Memory::settled(server, &mut control, &bench.options)?;
    Ok(memory.per_key_since(base, units))
}
