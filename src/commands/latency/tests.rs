//! LATENCY, as recorded of Valkey 9.1.2.

use crate::commands::tests::{START_MS, Test};
use crate::stats::latency::Latency;

use super::*;

/// A server whose monitor notes what takes 10 ms.
fn watched() -> Test {
    Test::with(&[
        "--enable-debug-command",
        "yes",
        "--latency-monitor-threshold",
        "10",
    ])
}

/// What a verbatim string says.
fn said(test: &mut Test, line: &str) -> String {
    let reply = test.run(line).0;
    let text = String::from_utf8(reply).unwrap();
    let (head, body) = text.split_once("\r\n").unwrap();
    assert!(head.starts_with('$'), "{text}");
    body.strip_suffix("\r\n").unwrap().to_owned()
}

fn note(test: &Test, event: &'static str, samples: &[u64]) {
    let latency = &test.session.server().stats.latency;
    for ms in samples {
        latency.note(event, *ms, test.clock.unix_ms());
        test.clock.advance(1000);
    }
}

#[test]
fn what_takes_long_is_noted() {
    let mut t = watched();
    t.run("LATENCY LATEST").is("*0");
    // A little more than a millisecond less or more than the threshold: ticks are measured.
    t.run("DEBUG SLEEP 0.0085");
    t.run("DEBUG SLEEP 0.0205");
    t.clock.advance(1000);
    t.run("DEBUG SLEEP 0.0505");
    let latest = t.run("LATENCY LATEST").text();
    assert_eq!(latest, "*1 *6 $7 command :1700000001 :50 :50 :70 :2");
    t.run("LATENCY HISTORY command")
        .is("*2 *2 :1700000000 :20 *2 :1700000001 :50");
    t.run("LATENCY HISTORY COMMAND").is("*0");
    t.run("LATENCY RESET COMMAND fast-command command").is(":1");
    t.run("LATENCY LATEST").is("*0");
    t.run("CONFIG SET latency-monitor-threshold 0").is("+OK");
    t.run("DEBUG SLEEP 0.03");
    t.run("LATENCY LATEST").is("*0");
}

/// A transaction is an event, and so is what it runs.
#[test]
fn transactions_are_commands() {
    let mut t = watched();
    for line in ["MULTI", "DEBUG SLEEP 0.0205", "EXEC"] {
        t.run(line);
    }
    t.run("LATENCY LATEST").has("$7 command :1700000000 :20");
}

#[test]
fn mistakes_are_told_in_valkeys_words() {
    let mut t = Test::new();
    t.run("LATENCY")
        .is("-ERR wrong number of arguments for 'latency' command");
    t.run("LATENCY NOSUCH")
        .is("-ERR unknown subcommand 'NOSUCH'. Try LATENCY HELP.");
    t.run("LATENCY GRAPH nosuch")
        .is("-ERR No samples available for event 'nosuch'");
    t.run("LATENCY HISTORY nosuch").is("*0");
    t.run("LATENCY LATEST x")
        .is("-ERR wrong number of arguments for 'latency|latest' command");
    t.run("LATENCY GRAPH")
        .is("-ERR wrong number of arguments for 'latency|graph' command");
    t.run("LATENCY RESET a b").is(":0");
    t.run("CONFIG SET latency-monitor-threshold -1").is(
        "-ERR CONFIG SET failed (possibly related to argument 'latency-monitor-threshold') - \
         argument must be between 0 and 9223372036854775807 inclusive",
    );
}

#[test]
fn a_graph_has_a_column_for_each_sample() {
    let mut t = watched();
    note(&t, "command", &[20, 50, 31]);
    let line = "-".repeat(80);
    assert_eq!(
        said(&mut t, "LATENCY GRAPH command"),
        format!(
            "command - high 50 ms, low 20 ms (all time high 50 ms)\n{line}\n \
             # \n | \n |o\n_||\n   \n321\nsss\n"
        )
    );
    t.run("LATENCY GRAPH Command").has("No samples available");
    // Labels of different lengths, and more than one line.
    t.clock.advance(4_000_000);
    note(&t, "command", &[1; 90]);
    let graph = said(&mut t, "LATENCY GRAPH command");
    let lines: Vec<&str> = graph.lines().collect();
    assert_eq!(lines[2].len(), 80);
    assert_eq!(&lines[7][..5], "11111", "hours, then minutes");
    assert_eq!(&lines[8][..5], "hhhmm");
    assert_eq!(lines[10], "", "between two blocks");
    assert_eq!(lines[11].len(), 13);
    note(&t, "one", &[7]);
    t.clock.advance(3 * 86_400_000);
    let graph = said(&mut t, "LATENCY GRAPH one");
    assert_eq!(
        graph.lines().skip(2).collect::<Vec<_>>(),
        [" ", " ", " ", "_", " ", "3", "d"]
    );
}

#[test]
fn the_doctor_has_nothing_to_say_at_first() {
    let mut t = Test::new();
    t.run("LATENCY DOCTOR")
        .has("I'm sorry, Dave, I can't do that.");
    t.run("CONFIG SET latency-monitor-threshold 10");
    assert_eq!(
        said(&mut t, "LATENCY DOCTOR"),
        "No latency spike was observed during the lifetime of this Valkey instance, not in the \
         slightest bit.\n"
    );
    note(&t, "expire-cycle", &[12]);
    let report = said(&mut t, "LATENCY DOCTOR");
    assert!(report.contains("1. expire-cycle: 1 latency spikes (average 12ms, mean deviation 0ms, period 1.00 sec). Worst all time event 12ms.\n"), "{report}");
    assert!(report.contains("not easy to fix"), "{report}");
    // It goes on telling what it knows.
    t.run("CONFIG SET latency-monitor-threshold 0");
    assert_eq!(said(&mut t, "LATENCY DOCTOR"), report);
}

#[test]
fn the_doctor_gives_advice() {
    let mut t = watched();
    note(&t, "command", &[20, 50]);
    note(&t, "command", &[31]);
    t.clock.set_ms(START_MS + 2000);
    let report = said(&mut t, "LATENCY DOCTOR");
    assert_eq!(
        report,
        "Latency spikes are observed in this Valkey instance.\n\n\
         1. command: 3 latency spikes (average 33ms, mean deviation 10ms, period 0.67 sec). Worst all \
         time event 50ms.\n\n\
         Here is some advice for you:\n\n\
         - Check your Slow Log to understand what are the commands you are running which are too slow \
         to execute. Please check https://valkey.io/commands/slowlog for more information.\n"
    );
    for (line, advice) in [
        (
            "CONFIG SET slowlog-log-slower-than -1",
            "If the Slow log is disabled",
        ),
        (
            "CONFIG SET slowlog-log-slower-than 20000",
            "Please use 'CONFIG SET slowlog-log-slower-than 10000'.\n",
        ),
        ("CONFIG SET slowlog-max-len 0", "Try to enable the Slow Log"),
    ] {
        t.run(line).is("+OK");
        let report = said(&mut t, "LATENCY DOCTOR");
        assert!(report.contains(advice), "{line}: {report}");
    }
}

/// Every event that is told somewhere has its advice, or is known to have none; and all advice is reached.
#[test]
fn every_event_is_known_to_the_doctor() {
    let advised = [
        "command",
        "fast-command",
        "aof-write-pending-fsync",
        "aof-write-active-child",
        "aof-write-alone",
        "aof-fsync-always",
        "aof-rename",
        "eviction-cycle",
    ];
    let mut t = Test::with(&[
        "--appendfsync",
        "always",
        "--latency-monitor-threshold",
        "1",
        "--slowlog-log-slower-than",
        "-1",
    ]);
    for event in advised {
        t.run("LATENCY RESET");
        note(&t, event, &[5]);
        t.run("LATENCY DOCTOR").has("Here is some advice for you");
    }
    let latency = Latency::default();
    advised
        .iter()
        .for_each(|event| latency.note(event, 1, START_MS));
    let config = t.session.server().config();
    let all = doctor::report(&latency.all(), &config, START_MS);
    let told = all.lines().filter(|line| line.starts_with("- ")).count();
    // The slow log is either off or to be tuned.
    assert_eq!(told, 11, "{all}");
}

#[test]
fn histograms_are_told_of_commands_that_ran() {
    let mut t = Test::new();
    for line in [
        "SET a b",
        "GET a",
        "GET a",
        "CONFIG GET port",
        "NOSUCH",
        "GET",
    ] {
        t.run(line);
    }
    t.run("DEBUG SLEEP 1.2");
    t.run("DEBUG SLEEP 0.6");
    t.run("LATENCY HISTOGRAM debug nosuch")
        .is("*2 $5 debug *4 $5 calls :2 $14 histogram_usec *2 :1073741 :2");
    let names = |reply: String| -> Vec<String> {
        let words: Vec<&str> = reply.split(' ').collect();
        let calls = words.windows(4).filter(|four| four[3] == "calls");
        calls.map(|four| four[0].to_owned()).collect()
    };
    let told = names(
        t.run("LATENCY HISTOGRAM get nosuch Config config|get CONFIG|SET")
            .text(),
    );
    assert_eq!(told, ["get", "config|get", "config|get"]);
    let told = names(t.run("LATENCY HISTOGRAM").text());
    for name in ["set", "get", "config|get", "debug", "latency|histogram"] {
        assert!(told.iter().any(|of| of == name), "{name} in {told:?}");
    }
    t.run("HELLO 3");
    t.run("LATENCY HISTOGRAM get")
        .has("%1 $3 get %2 $5 calls :2 $14 histogram_usec %");
    // What was counted stays when counting ends.
    t.run("CONFIG SET latency-tracking no");
    t.run("GET a");
    t.run("LATENCY HISTOGRAM get").has("$5 calls :2");
    t.run("CONFIG RESETSTAT");
    t.run("LATENCY HISTOGRAM get").is("%0");
}
