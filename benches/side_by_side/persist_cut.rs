//! The longest pause of any client at the start of a BGSAVE of many keys: the moment in which a
//! server forks, or cuts in some other way.
//!
//! A few clients are watched meanwhile (`watch`). The same time without a BGSAVE is the control; it
//! shows what the machine itself adds.
//!
//! Both servers stay alive between the rounds, since filling them takes longer than all the rest.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::Client;
use crate::options::Mode;
use crate::persist_writer::fill;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::watch::{CLIENTS, PERIOD, watch};

/// How long the clients are watched from the BGSAVE on.
const WATCHED: Duration = Duration::from_millis(300);
/// Starts of a BGSAVE per round: a start is short and takes little time to repeat.
const STARTS: usize = 3;

/// Fills the servers once, then starts BGSAVEs in turn.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let keys = options.cut_keys;
    let mut tables = Vec::new();
    for mode in options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!("Start of a BGSAVE, {keys} keys: {}", mode.title()));
        let target = (!options.quick).then_some(Target::AtMost(2.0));
        let contenders = bench.contenders.len();
        let mut control = Row::new("longest pause without a BGSAVE", "ms", contenders);
        let mut start = Row::new("longest pause at its start", "ms", contenders).target(target);
        let mut reply = Row::new("time to the reply of BGSAVE", "ms", contenders);
        let mut servers = Vec::new();
        for index in 0..contenders {
            let server = Contender::start(bench, index, mode, &[])?;
            fill(&mut server.connect()?, 0..keys)?;
            server.connect()?.expect_keys(keys)?;
            server.quiet()?;
            servers.push(server);
        }
        for round in 0..options.rounds * STARTS {
            for index in bench.order(round) {
                let figures = observe(&servers[index], keys)
                    .with_context(|| bench.contenders[index].name.clone())?;
                control.push(index, figures.control_ms);
                start.push(index, figures.start_ms);
                reply.push(index, figures.reply_ms);
            }
        }
        table.push(control);
        table.push(start);
        table.push(reply);
        table.note(format!(
            "{CLIENTS} clients, {} GETs per second each, watched for {} ms; {STARTS} starts a round.",
            1000 / PERIOD.as_millis(),
            WATCHED.as_millis()
        ));
        tables.push(table);
    }
    Ok(tables)
}

struct Figures {
    control_ms: f64,
    start_ms: f64,
    reply_ms: f64,
}

fn observe(server: &Server, keys: u64) -> Result<Figures> {
    let mut saver = server.connect()?;
    let (control, ()) = watch(server, keys, Client::probe, || {
        thread::sleep(WATCHED);
        Ok(())
    })?;
    let (start, reply) = watch(server, keys, Client::probe, || {
        let begin = Instant::now();
        saver.call(&[b"BGSAVE"])?;
        let replied = begin.elapsed();
        thread::sleep(WATCHED);
        Ok(replied)
    })?;
    // The next start needs the end of this save.
    finish(&mut saver)?;
    server.quiet()?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(Figures {
        control_ms: ms(control),
        start_ms: ms(start),
        reply_ms: ms(reply),
    })
}

/// Waits for the end of the running save.
fn finish(saver: &mut Client) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(600);
    while saver.info("persistence", "rdb_bgsave_in_progress")? != 0 {
        ensure!(Instant::now() < deadline, "a BGSAVE does not end");
        thread::sleep(Duration::from_millis(50));
    }
    let status = saver.info_word("persistence", "rdb_last_bgsave_status")?;
    ensure!(status == "ok", "the BGSAVE ended with status {status}");
    Ok(())
}
