//! `/metrics`: names, form, truth; and the dashboard that is made of them.

use super::*;

/// A family of metrics: type, help, and samples by the rest of their lines.
#[derive(Default, Debug)]
struct Family {
    kind: String,
    help: String,
    samples: BTreeMap<String, f64>,
}

/// Reads the text, and sees that it is in order.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            let family = Family {
                help: help.into(),
                ..Family::default()
            };
            assert!(
                families.insert(name.into(), family).is_none(),
                "{name} twice"
            );
            last = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, last, "TYPE stands behind HELP");
            families.get_mut(name).unwrap().kind = kind.into();
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let family = families.get_mut(&last).expect(line);
            let name = sample.split('{').next().unwrap();
            let rest = name.strip_prefix(&*last).expect(line);
            let parts = ["_bucket", "_sum", "_count"];
            assert!(rest.is_empty() || (family.kind == "histogram" && parts.contains(&rest)));
            let value: f64 = value.parse().expect(line);
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let before = family.samples.insert(sample.into(), value);
            assert!(before.is_none(), "{line} twice");
        }
    }
    families
}

/// A sample's value.
#[track_caller]
fn value(web: &Web, sample: &str) -> f64 {
    let families = families(&web.get("/metrics").body);
    let mut samples = families.values().flat_map(|family| &family.samples);
    let found = samples.find(|(name, _)| *name == sample);
    *found.unwrap_or_else(|| panic!("{sample} is missing")).1
}

/// Whether there is such a sample.
fn has(web: &Web, sample: &str) -> bool {
    web.get("/metrics")
        .body
        .lines()
        .any(|line| line.starts_with(sample))
}

/// A server on which everything has happened that has a metric.
fn busy() -> Web {
    // Whatever is slow on a busy machine is not logged.
    let mut web = Web::new(&["--appendonly", "yes", "--slowlog-log-slower-than", "-1"]);
    for line in [
        "SET a 1",
        "SET b 2 EX 100",
        "GET a",
        "GET nothing",
        "INCR a b",
        "LPUSH a x",
        "NOSUCH",
        "HSET h f v",
        "HEXPIRE h 100 FIELDS 1 f",
        "EVAL 'return 1' 0",
    ] {
        web.test.run(line);
    }
    web
}

#[test]
fn names_follow_the_conventions() {
    let families = families(&busy().get("/metrics").body);
    assert!(families.len() > 70, "{}", families.len());
    for (name, family) in &families {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(is_word), "{name}");
        let is_own = name.starts_with("kivi_") || name.starts_with("process_");
        assert!(is_own, "{name}");
        assert!(
            family.help.ends_with('.') && family.help.len() > 5,
            "{name}"
        );
        assert!(family.help.len() < 200, "{name}");
        let is_total = name.ends_with("_total");
        match &*family.kind {
            "counter" => assert!(is_total, "{name}"),
            "gauge" | "histogram" => assert!(!is_total, "{name}"),
            kind => panic!("{name} is a {kind}"),
        }
        for unit in [
            "_ms", "_us", "_usec", "_kb", "_percent", "_perc", "_mb", "_minutes",
        ] {
            assert!(!name.trim_end_matches("_total").ends_with(unit), "{name}");
        }
    }
}

#[test]
fn commands_are_counted_as_info_counts_them() {
    let web = busy();
    for (sample, expected) in [
        ("kivi_commands_total{command=\"get\"}", 2.0),
        ("kivi_commands_total{command=\"lpush\"}", 1.0),
        ("kivi_command_failures_total{command=\"lpush\"}", 1.0),
        ("kivi_command_rejections_total{command=\"incr\"}", 1.0),
        ("kivi_error_replies_total{code=\"WRONGTYPE\"}", 1.0),
        ("kivi_error_replies_total{code=\"ERR\"}", 2.0),
        ("kivi_keyspace_hits_total", 1.0),
        ("kivi_keyspace_misses_total", 1.0),
        ("kivi_keys{db=\"0\"}", 3.0),
        ("kivi_keys_with_ttl{db=\"0\"}", 1.0),
        ("kivi_keys_with_field_ttl{db=\"0\"}", 1.0),
        ("kivi_acl_denied_total{reason=\"command\"}", 0.0),
        ("kivi_commandlog_entries{kind=\"slow\"}", 0.0),
        ("kivi_connected_clients", 1.0),
        ("kivi_scripts_cached", 1.0),
        ("kivi_keyspace_figures_age_seconds", 0.0),
    ] {
        assert_eq!(value(&web, sample), expected, "{sample}");
    }
    assert!(!has(&web, "kivi_commands_total{command=\"zadd\"}"));
    assert!(value(&web, "kivi_memory_used_bytes") > 0.0);
    assert!(value(&web, "process_open_fds") > 0.0);
    assert_eq!(
        value(&web, "process_start_time_seconds"),
        START_MS as f64 / 1000.0
    );
}

#[test]
fn the_parts_of_the_memory_are_all_of_it() {
    let web = busy();
    let families = families(&web.get("/metrics").body);
    let parts: f64 = families["kivi_memory_part_bytes"].samples.values().sum();
    let used = families["kivi_memory_used_bytes"].samples["kivi_memory_used_bytes"];
    // Of a process with other tests in it little is this server's; what is left is the dataset.
    assert_eq!(parts, used);
}

/// Every reply is in the histogram of its command, of batches and of the commands in transactions, too.
#[test]
fn responses_are_counted_while_somebody_may_ask() {
    let mut web = busy();
    let count = |web: &Web, command: &str| {
        let sample = format!("kivi_command_response_seconds_count{{command=\"{command}\"}}");
        value(web, &sample)
    };
    assert_eq!((count(&web, "get"), count(&web, "lpush")), (2.0, 1.0));
    for line in ["MULTI", "GET a", "GET a", "SET a 2", "EXEC"] {
        web.test.run(line);
    }
    assert_eq!((count(&web, "get"), count(&web, "exec")), (4.0, 1.0));
    let infinite = "kivi_command_response_seconds_bucket{command=\"get\",le=\"+Inf\"}";
    assert_eq!(value(&web, infinite), 4.0);
    // Off: nothing is counted, and on again it goes on.
    web.test.run("CONFIG SET metrics-port 0").is("+OK");
    web.test.run("GET a");
    assert_eq!(count(&web, "get"), 4.0);
    web.test.run("CONFIG RESETSTAT").is("+OK");
    web.test.run("GET a");
    assert!(!has(
        &web,
        "kivi_command_response_seconds_count{command=\"get\"}"
    ));
}

#[test]
fn what_is_overdue_is_told() {
    let mut web = Web::new(&[]);
    web.test.run("SET a 1 PX 1500").is("+OK");
    assert_eq!(value(&web, "kivi_expire_lag_seconds"), 0.0);
    web.test.clock.advance(4_000);
    // Nobody expires keys in tests.
    assert_eq!(value(&web, "kivi_expire_lag_seconds"), 2.5);
    assert_eq!(value(&web, "kivi_expired_stale_ratio"), 1.0);
    web.test
        .session
        .server()
        .keyspace
        .expire_due(web.test.clock.unix_ms());
    assert_eq!(value(&web, "kivi_expire_lag_seconds"), 0.0);
    assert_eq!(value(&web, "kivi_expired_keys_total"), 1.0);
}

/// A script that runs for long has all shards: whoever looks sees what was there before it began.
#[test]
fn nobody_waits_for_a_long_script() {
    let mut web = Web::new(&[]);
    web.test.run("SET a 1").is("+OK");
    assert_eq!(value(&web, "kivi_keys{db=\"0\"}"), 1.0);
    web.test.run("SET b 1").is("+OK");
    let server = web.test.session.server().clone();
    let gate = server.keyspace.gate.try_close().expect("nobody has it");
    gate.may_take_long();
    let locks = server.keyspace.lock_all();
    web.test.clock.advance(3_000);
    assert_eq!(value(&web, "kivi_keys{db=\"0\"}"), 1.0);
    assert_eq!(value(&web, "kivi_keyspace_figures_age_seconds"), 3.0);
    drop(locks);
    drop(gate.end_long());
    drop(gate);
    assert_eq!(value(&web, "kivi_keys{db=\"0\"}"), 2.0);
}

/// A client can invent codes of errors (scripts), but no lines.
#[test]
fn texts_of_clients_stay_in_their_labels() {
    let mut web = Web::new(&[]);
    web.test.run("EVAL \"return {err='A\\\"\\\\\\\\}B 1'}\" 0");
    web.test
        .run("EVAL \"return redis.error_reply('\u{e4}\\x7f x')\" 0");
    let text = web.get("/metrics").body;
    families(&text);
    assert!(
        text.contains("kivi_error_replies_total{code=\"A\\\"\\\\}B\"} 1\n"),
        "{text}"
    );
}

/// Every expression of the dashboard is about metrics that exist.
#[test]
fn the_dashboard_shows_what_is_exported() {
    let text = include_str!("../../../packaging/grafana/kivi.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let families = families(&busy().get("/metrics").body);
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() > 20, "{}", expressions.len());
    let mut seen = BTreeSet::new();
    for expression in expressions {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = expression.split(|c| !is_word(c));
        let names = names.filter(|word| word.starts_with("kivi_") || word.starts_with("process_"));
        let mut count = 0;
        for name in names {
            let parts = ["_bucket", "_sum", "_count"].iter();
            let of_histogram = |part| {
                let family = name.strip_suffix(part).and_then(|name| families.get(name));
                family.is_some_and(|family| family.kind == "histogram")
            };
            let is_known = families.contains_key(name) || parts.copied().any(of_histogram);
            assert!(is_known, "{name} of {expression}");
            seen.insert(name.to_owned());
            count += 1;
        }
        assert!(count > 0, "{expression}");
    }
    assert!(seen.len() > 20, "{seen:?}");
}

/// The expressions of all panels and variables.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (&**name, value) {
                    ("expr", Value::String(text)) => expressions.push(text.clone()),
                    _ => collect(value, expressions),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, expressions)),
        _ => {}
    }
}
