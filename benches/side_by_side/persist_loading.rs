//! Seconds from the start of a server to the moment when it has loaded its data, out of an RDB
//! file and out of a log that holds one SET per key and no snapshot.
//!
//! The files are written once by the server itself, which is then ended and started again on them
//! in every round; they are in the page cache, for both servers. The state is asked every 5 ms.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::options::Mode;
use crate::persist::save;
use crate::persist_writer::fill;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// What is loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Rdb,
    Log,
}

impl Form {
    /// More arguments of the server. The log is not synced as it is written, and never rewritten.
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Rdb => &[],
            Self::Log => &[
                "--appendonly",
                "yes",
                "--appendfsync",
                "no",
                "--auto-aof-rewrite-percentage",
                "0",
            ],
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Rdb => "load the RDB file",
            Self::Log => "load the log",
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::Rdb => 0.6,
            Self::Log => 0.7,
        }
    }
}

/// The two forms, each with its own servers.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let keys = bench.options.save_keys;
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!("Loading {keys} keys: {}", mode.title()));
        for form in [Form::Rdb, Form::Log] {
            measure(bench, mode, form)?
                .into_iter()
                .for_each(|row| table.push(row));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(bench: &Bench, mode: Mode, form: Form) -> Result<[Row; 2]> {
    let contenders = bench.contenders.len();
    let target = (!bench.options.quick).then_some(Target::RatioAtMost(form.limit()));
    let mut seconds = Row::new(form.label(), "s", contenders).target(target);
    let mut size = Row::new("size of what is loaded", "MB", contenders);
    let mut servers = Vec::new();
    for index in 0..contenders {
        let mut server = Contender::start(bench, index, mode, form.args())?;
        write(&mut server, form, bench.options.save_keys)?;
        size.push(index, bytes_below(server.folder())? as f64 / 1e6);
        servers.push(server);
    }
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = &mut servers[index];
            let time = server.start_again()?;
            let loaded = server.connect()?.expect_keys(bench.options.save_keys);
            loaded
                .with_context(|| format!("{}, {}", bench.contenders[index].name, form.label()))?;
            seconds.push(index, time.as_secs_f64());
            server.shut_down()?;
        }
    }
    Ok([seconds, size])
}

/// Fills the server, sees to its files and ends it.
fn write(server: &mut Server, form: Form, keys: u64) -> Result<()> {
    let mut client = server.connect()?;
    fill(&mut server.connect()?, 0..keys)?;
    client.expect_keys(keys)?;
    if form == Form::Rdb {
        save(&mut client, || Ok(()))?;
    }
    server.shut_down()?;
    let least = keys * 64;
    let found = bytes_below(server.folder())?;
    ensure!(found > least, "{found} bytes were written for {keys} keys");
    Ok(())
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(sum)
}
