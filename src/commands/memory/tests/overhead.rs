//! The overhead that INFO tells against what has gone: clients and whatever they have set up besides keys is
//! no part of the dataset.

use super::accounting::{alone, used_bytes};
use crate::commands::tests::Test;

/// How far the overhead may be from what was taken, in hundredths.
const OFF_MAX: i64 = 12;
/// What may be taken besides, bytes.
const SLACK_BYTES: i64 = 24 * 1024;

fn overhead_bytes(t: &mut Test) -> i64 {
    // What was sampled is too old by then.
    t.clock.advance(100);
    let text = t.run("INFO memory").text();
    let (_, rest) = text.split_once("used_memory_overhead:").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// Looks at what `work` takes, and at what is told of it.
fn look(t: &mut Test, what: &str, report: &mut String, work: impl FnOnce(&mut Test)) {
    // Whatever looking sets up is there.
    overhead_bytes(t);
    let (used, told) = (used_bytes(t) as i64, overhead_bytes(t));
    work(t);
    let (taken, grown) = (used_bytes(t) as i64 - used, overhead_bytes(t) - told);
    let (off, most) = (taken - grown, SLACK_BYTES + taken * OFF_MAX / 100);
    println!("{what}: {taken} bytes, {grown} of them told: {off} off, of {most}");
    if off.abs() > most {
        *report += &format!("{what}: {grown} bytes, not {taken}\n");
    }
}

/// A client, its session's buffers apart, which are no connection's.
fn clients(t: &Test, count: usize) -> Vec<Test> {
    let mut clients: Vec<Test> = (0..count).map(|_| t.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.run("PING").is("+PONG"));
    clients
}

fn fill(t: &mut Test, others: &mut [Test], report: &mut String) {
    look(t, "channels", report, |_| {
        for (number, client) in others[..100].iter_mut().enumerate() {
            for channel in 0..20 {
                client.run(&format!("SUBSCRIBE channel:{number}:{channel}"));
            }
            // Not looked at apart: what is guessed of a tree grows by a node at another time than the tree.
            client.run("SUBSCRIBE all");
        }
    });
    look(t, "patterns", report, |_| {
        for (number, client) in others[..100].iter_mut().enumerate() {
            for pattern in 0..10 {
                client.run(&format!("PSUBSCRIBE pattern:{number}:{pattern}*"));
            }
        }
    });
    look(t, "watched keys", report, |_| {
        for (number, client) in others[100..].iter_mut().enumerate() {
            for key in 0..100 {
                client.run(&format!("WATCH watched:{number}:{key}"));
            }
        }
    });
    look(t, "tracked keys", report, |t| {
        t.run("CLIENT TRACKING ON").is("+OK");
        for key in 0..20_000 {
            t.run(&format!("GET tracked:{key:08}"));
        }
        t.run("CLIENT TRACKING OFF").is("+OK");
    });
    look(t, "scripts", report, |t| {
        for number in 0..2000 {
            t.run(&format!("SCRIPT LOAD 'return {number}'"));
        }
    });
    look(t, "figures of commands", report, |t| {
        for command in [
            "STRLEN", "LLEN", "SCARD", "ZCARD", "HLEN", "XLEN", "TTL", "TYPE",
        ] {
            t.run(&format!("{command} nokey"));
        }
    });
    look(t, "tables", report, |t| {
        for number in 0..20_000 {
            t.run(&format!("SET k{number} 1"));
        }
        for number in 0..20_000 {
            t.run(&format!("DEL k{number}"));
        }
    });
    others
        .iter_mut()
        .for_each(|client| client.run("RESET").is("+RESET"));
}

#[test]
fn what_is_no_dataset_is_told() {
    alone(module_path!(), "what_is_no_dataset_is_told", || {
        let mut t = Test::new();
        t.run("HELLO 3");
        // Slow ones would be kept, on a busy machine.
        t.run("CONFIG SET slowlog-log-slower-than -1").is("+OK");
        let mut others = clients(&t, 200);
        let mut left = Vec::new();
        for round in 0..3 {
            let mut report = String::new();
            fill(&mut t, &mut others, &mut report);
            // From then on much finds room that is there already.
            assert!(round > 0 || report.is_empty(), "{report}");
            t.run("SCRIPT FLUSH").is("+OK");
            t.run("FLUSHALL").is("+OK");
            // Their histograms grow with the slowest command.
            t.run("CONFIG RESETSTAT").is("+OK");
            left.push(used_bytes(&t) as i64);
        }
        assert!((left[2] - left[1]).abs() < SLACK_BYTES, "{left:?}");
    });
}
