//! INFO and CONFIG against those of a real Valkey, field by field: sections, names, order, form and value.
//!
//! The same is done to both servers, then all that they tell is compared. A field that only one of them
//! has, or whose value differs by nature, stands in a list here, with the reason; a line of a list that is no
//! longer needed is a failure, too. Nothing of the real server's answers is kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Client, Reply, encode};
use crate::harness::{Server, eventually};

/// Sections, and fields, that Valkey has and Kivi has not.
const MISSING: &[(&str, &str)] = &[
    ("valkey_version", "Kivi is not Valkey: `kivi_version`"),
    ("valkey_release_stage", "the same"),
    ("module", "Lua is no module of Kivi's"),
];

/// Those that Kivi has and Valkey has not.
const OWN: &[(&str, &str)] = &[
    ("# Threads", "a section of Redis 8"),
    (
        "# Keysizes",
        "a section of Redis 8; shown by `everything` only",
    ),
    ("kivi_version", "instead of `valkey_version`"),
    ("redis_mode", "what Redis calls `server_mode`"),
    ("used_memory_peak_time", "a field of Redis 8"),
    ("mem_replica_full_sync_buffer", "a field of Redis 8"),
    ("expired_subkeys", "a field of Redis 8"),
];

/// Fields whose form is the same and whose value is not.
const VARYING: &[(&str, &str)] = &[
    ("server_name", "another server"),
    ("redis_build_id", "another build"),
    ("gcc_version", "another compiler"),
    (
        "monotonic_clock",
        "Kivi reads the TSC where the kernel trusts it",
    ),
    ("process_id", "a process of its own"),
    ("run_id", "random"),
    ("tcp_port", "a port of its own"),
    ("listener0", "the same"),
    ("executable", "a program of its own"),
    ("io_threads_active", "Kivi's default is a worker per core"),
    ("server_time_usec", "time"),
    ("uptime_in_seconds", "time"),
    ("lru_clock", "time"),
    ("client_recent_max_input_buffer", "sizes of buffers"),
    ("client_recent_max_output_buffer", "sizes of buffers"),
    ("rdb_last_save_time", "time"),
    (
        "total_net_output_bytes",
        "the texts of both differ in length",
    ),
    ("total_writes_processed", "what goes into one write"),
    ("total_reads_processed", "what is found by one read"),
    ("expire_cycle_cpu_milliseconds", "time"),
    ("master_replid", "random"),
    (
        "lazyfreed_objects",
        "Kivi frees all large values in the background",
    ),
    (
        "clients_in_timeout_table",
        "looked at while one comes or goes",
    ),
    ("dump_payload_sanitizations", "Kivi examines every payload"),
    (
        "reply_buffer_shrinks",
        "Kivi has no buffers of replies that could shrink",
    ),
    ("db0", "time"),
    (
        "engines_total_memory_overhead",
        "Kivi's engine has no table of engines",
    ),
];

/// Beginnings of names of such fields.
const VARYING_FAMILIES: &[(&str, &str)] = &[
    ("used_memory", "memory"),
    ("allocator_", "memory"),
    ("rss_overhead", "memory"),
    ("mem_", "memory"),
    ("engines_total_used", "memory"),
    ("instantaneous_", "rates"),
    ("used_cpu", "time"),
    ("used_active_time", "time"),
    ("eventloop_", "time, and how often threads wake up"),
    (
        "io_threaded_",
        "Kivi's workers read and write for themselves",
    ),
    ("cmdstat_", "time"),
    ("latency_percentiles_usec_", "time"),
];

/// Fields that are written in another form.
const OTHER_FORM: &[(&str, &str)] = &[(
    "engine_0",
    "Lua is built in: no module, no version of an interface",
)];

/// Sections whose lines come in the order of a table of the server's.
const UNORDERED: [&str; 3] = ["# Commandstats", "# Latencystats", "# Errorstats"];

/// What is done before the figures are compared; `|` between words.
const DONE: &[&str] = &[
    "SET|a|1",
    "SET|s|text|EX|1000",
    "GET|a",
    "GET|nokey",
    "INCR|s",
    "NONSENSE|x",
    "GET",
    "HSET|h|f|v|g|w",
    "HEXPIRE|h|1000|FIELDS|1|f",
    "RPUSH|l|1|2|3",
    "XADD|st|1-1|f|v",
    "PFADD|hll|a",
    "SELECT|3",
    "SET|other|1",
    "SELECT|0",
    "EVAL|return 1|0",
    "EVAL|return redis.call('INCR', KEYS[1])|1|a",
    "FUNCTION|LOAD|#!lua name=lib\nredis.register_function('f', function() return 1 end)",
    "FCALL|f|0",
    "AUTH|nobody|x",
    "MULTI",
    "SET|m|1",
    "EXEC",
    "WATCH|a",
    "RESTORE|r|0|nonsense",
    "PUBLISH|channel|message",
    "CONFIG|GET|port",
    "OBJECT|ENCODING|a",
    "DEL|m",
];

/// A section as it was told.
#[derive(Debug)]
struct Section {
    heading: String,
    fields: Vec<(String, String)>,
}

fn told(client: &mut Client, arguments: &[&str]) -> Vec<Section> {
    let argv: Vec<&str> = std::iter::once("INFO")
        .chain(arguments.iter().copied())
        .collect();
    let text = client.cmd(&argv).text();
    let mut sections: Vec<Section> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if line.starts_with("# ") {
            sections.push(Section {
                heading: line.to_owned(),
                fields: Vec::new(),
            });
            continue;
        }
        let (name, value) = line.split_once(':').expect(line);
        let section = sections.last_mut().expect("a heading comes first");
        section.fields.push((name.to_owned(), value.to_owned()));
    }
    sections
}

/// Headings, and how many empty lines are where.
fn outline(client: &mut Client, arguments: &str) -> Vec<String> {
    let mut argv = vec!["INFO"];
    argv.extend(arguments.split_whitespace());
    let text = client.cmd(&argv).text();
    assert!(text.is_empty() || text.ends_with("\r\n"), "{arguments}");
    let lines = text.split("\r\n");
    lines
        .filter(|line| line.is_empty() || line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn is_in(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

fn varies(name: &str) -> bool {
    let of_family = |(beginning, _): &(&str, &str)| name.starts_with(beginning);
    is_in(VARYING, name) || VARYING_FAMILIES.iter().any(of_family)
}

/// What a value looks like: two that are written in the same way have the same form.
fn form(value: &str) -> String {
    if value.contains('=') {
        let parts = value.split(',').map(|part| match part.split_once('=') {
            Some((name, value)) => format!("{name}={}", form(value)),
            None => form(part),
        });
        return parts.collect::<Vec<_>>().join(",");
    }
    let number = value.strip_prefix('-').unwrap_or(value);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if value.len() == 40 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return "id".to_owned();
    }
    let (body, unit) = match number.as_bytes().last() {
        Some(b'%') => (&number[..number.len() - 1], "%"),
        Some(b'B' | b'K' | b'M' | b'G' | b'T') => (&number[..number.len() - 1], "bytes"),
        _ => (number, ""),
    };
    match body.split_once('.') {
        _ if is_digits(body) && unit == "bytes" => "human".to_owned(),
        _ if is_digits(body) => format!("integer{unit}"),
        Some((whole, part)) if is_digits(whole) && is_digits(part) => match unit {
            "bytes" => "human".to_owned(),
            _ => format!("{} digits{unit}", part.len()),
        },
        _ => "text".to_owned(),
    }
}

/// Brings a server into the state that is compared; the clients keep it there.
fn prepare(server: &Server) -> (Client, Vec<Client>) {
    let mut client = server.connect();
    let mut others = Vec::new();
    for command in [
        "SUBSCRIBE|channel",
        "PSUBSCRIBE|c*",
        "SSUBSCRIBE|shard",
        "CLIENT|TRACKING|ON|BCAST|PREFIX|x",
    ] {
        let mut other = server.connect();
        other.cmd(&command.split('|').collect::<Vec<_>>());
        others.push(other);
    }
    let mut waiting = server.connect();
    waiting.send(&encode(&["BLPOP", "empty", "1000"]));
    others.push(waiting);
    eventually("the client to wait", || {
        let sections = told(&mut client, &["clients"]);
        let mut fields = sections.iter().flat_map(|section| &section.fields);
        fields
            .any(|(name, value)| name == "blocked_clients" && value == "1")
            .then_some(())
    });
    // From here on all that is counted is the same.
    client.cmd(&["CONFIG", "RESETSTAT"]);
    for command in DONE {
        client.send(&encode(&command.split('|').collect::<Vec<_>>()));
        client.read();
    }
    (client, others)
}

/// The sections of both, by heading.
fn by_heading(sections: &[Section]) -> BTreeMap<&str, &Section> {
    let named = sections.iter().map(|section| (&*section.heading, section));
    named.collect()
}

#[test]
fn info_is_that_of_valkey_field_by_field() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let (mut ours, _keep_ours) = prepare(&kivi);
    let (mut theirs, _keep_theirs) = prepare(&valkey);
    let arguments = ["everything", "debug"];
    // What is counted by INFO itself is there from the second one on.
    told(&mut ours, &arguments);
    told(&mut theirs, &arguments);
    let (ours, theirs) = (told(&mut ours, &arguments), told(&mut theirs, &arguments));
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    let (our_headings, their_headings) = (by_heading(&ours), by_heading(&theirs));
    let mut keep = |name: &str, list: &[(&'static str, &'static str)]| {
        let listed = list.iter().find(|(listed, _)| *listed == name);
        if let Some((listed, _)) = listed {
            used.insert(*listed);
        }
        listed.is_none()
    };
    let headings = |sections: &[Section], list, keep: &mut dyn FnMut(&str, _) -> bool| {
        let names = sections.iter().map(|section| section.heading.clone());
        names.filter(|name| keep(name, list)).collect::<Vec<_>>()
    };
    let their_order = headings(&theirs, MISSING, &mut keep);
    assert_eq!(headings(&ours, OWN, &mut keep), their_order);
    for heading in &their_order {
        let (our, their) = (our_headings[&**heading], their_headings[&**heading]);
        let names = |section: &Section, list, keep: &mut dyn FnMut(&str, _) -> bool| {
            let names = section.fields.iter().map(|(name, _)| name.clone());
            let mut names: Vec<String> = names.filter(|name| keep(name, list)).collect();
            if UNORDERED.contains(&&**heading) {
                names.sort();
            }
            names
        };
        let their_names = names(their, MISSING, &mut keep);
        assert_eq!(names(our, OWN, &mut keep), their_names, "{heading}");
        let our_values: BTreeMap<_, _> = our.fields.iter().cloned().collect();
        let their_values: BTreeMap<_, _> = their.fields.iter().cloned().collect();
        for name in &their_names {
            let (our, their) = (&our_values[name], &their_values[name]);
            if is_in(OTHER_FORM, name) {
                assert_ne!(form(our), form(their), "{name}");
            } else if form(our) != form(their) {
                wrong.push(format!(
                    "{heading}: {name}:{our}, in another form than {their}"
                ));
            } else if our != their && !varies(name) {
                wrong.push(format!("{heading}: {name}:{our} instead of {their}"));
            }
        }
    }
    assert!(wrong.is_empty(), "INFO differs:\n{}", wrong.join("\n"));
    for (name, reason) in MISSING.iter().chain(OWN) {
        assert!(used.contains(name), "{name} is no difference: {reason}");
    }
    let all = theirs.iter().flat_map(|section| &section.fields);
    let all: Vec<&str> = all.map(|(name, _)| &**name).collect();
    for (name, reason) in VARYING {
        assert!(all.contains(name), "{name} is no field: {reason}");
    }
    for (beginning, reason) in VARYING_FAMILIES {
        let has_one = all.iter().any(|name| name.starts_with(beginning));
        assert!(has_one, "{beginning} begins no field: {reason}");
    }
}

#[test]
fn sections_are_asked_for_as_in_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let (mut ours, mut theirs) = (kivi.connect(), valkey.connect());
    let is_common = |line: &String| !is_in(MISSING, line) && !is_in(OWN, line);
    for arguments in [
        "",
        "default",
        "DEFAULT",
        "all",
        "everything",
        "Everything debug",
        "all default",
        "server",
        "SERVER server",
        "keyspace cpu nosuch Server cpu",
        "commandstats default",
        "debug clients",
        "cluster_info cluster",
        "scriptingengines modules",
        "errorstats latencystats",
        "stats persistence memory replication",
        "nosuch",
        "\"\"",
        "sentinel",
        "default default everything",
    ] {
        // Without the empty lines, where a section is missing; with them, where none is.
        let (our, their) = (
            outline(&mut ours, arguments),
            outline(&mut theirs, arguments),
        );
        if our.iter().chain(&their).all(is_common) {
            assert_eq!(our, their, "INFO {arguments}");
        }
        let common = |lines: Vec<String>| -> Vec<String> {
            let lines = lines.into_iter().filter(is_common);
            lines.filter(|line| !line.is_empty()).collect()
        };
        assert_eq!(common(our), common(their), "INFO {arguments}");
    }
}

/// The threads' figures are those of what was done, and each client is counted where it is.
#[test]
fn threads_and_loops_tell_what_was_done() {
    let server = Server::kivi(&["--io-threads", "2"]);
    let mut client = server.connect();
    client.cmd(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        client.cmd(&["PING"]);
    }
    let mut others: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    // A connection belongs to a thread once that has answered.
    for other in &mut others {
        other.cmd(&["PING"]);
    }
    for _ in 0..3 {
        let mut batch = Vec::new();
        (0..50).for_each(|_| batch.extend(encode(&["PING"])));
        batch.extend(encode(&["ECHO", "end"]));
        client.send(&batch);
        while client.read().1.text() != "end" {}
    }
    let fields: BTreeMap<String, String> = told(&mut client, &["everything", "debug"])
        .into_iter()
        .flat_map(|section| section.fields)
        .collect();
    let number = |name: &str| fields[name].parse::<u64>().expect(name);
    let mut sums = [0; 3];
    for thread in ["io_thread_0", "io_thread_1"] {
        for (sum, part) in sums.iter_mut().zip(fields[thread].split(',')) {
            *sum += part.split_once('=').unwrap().1.parse::<u64>().unwrap();
        }
    }
    assert_eq!(sums[0], 1 + others.len() as u64, "clients");
    assert_eq!(sums[1], number("total_reads_processed"));
    assert_eq!(sums[2], number("total_writes_processed"));
    assert!(!fields.contains_key("io_thread_2"));
    let cycles = number("eventloop_cycles");
    assert!((100..10_000).contains(&cycles), "{cycles}");
    assert!(number("eventloop_cmd_per_cycle_max") >= 17, "{fields:?}");
    let (sum, max) = (
        number("eventloop_duration_sum"),
        number("eventloop_duration_max"),
    );
    assert!(max <= sum && sum > 0, "{max} of {sum}");
    // The command that asks has not ended yet.
    assert!(number("eventloop_duration_cmd_sum") <= sum);
    eventually("the cron to be counted", || {
        let told = told(&mut client, &["debug"]);
        let cron = told[0].fields.iter().find(|field| field.0.contains("cron"));
        (cron.unwrap().1 != "0").then_some(())
    });
}

/// Directives that are listed by Kivi and by neither Valkey nor Redis 8.
const OWN_DIRECTIVES: &[(&str, &str)] = &[
    ("io-threads-do-reads", "Redis 7's: always so"),
    ("lua-memory-limit", "Lua's memory can be limited"),
    (
        "metrics-port",
        "the port for metrics, health and the console",
    ),
    ("metrics-bind", "the same"),
    ("console-enabled", "the same"),
    ("unauthenticated-timeout", "how long strangers may stay"),
    ("request-timeout", "how long a request may take to come"),
    ("proxy-protocol-trusted", "proxies that are believed"),
    ("audit-log-file", "a log of who did what"),
    ("audit-log-categories", "the same"),
];

/// Directives with another default, and how it comes.
const OTHER_DEFAULTS: &[(&str, &str)] = &[
    ("activedefrag", "moving data holds up nobody"),
    ("dir", "where the server was started"),
    ("disable-thp", "huge pages do no harm without fork"),
    ("io-threads", "a worker per core"),
    ("port", "a port of its own"),
    ("syslog-ident", "another name"),
];

fn directives(client: &mut Client) -> BTreeMap<String, String> {
    let reply = client.cmd(&["CONFIG", "GET", "*"]);
    let pairs = reply.items().chunks(2);
    pairs.map(|pair| (pair[0].text(), pair[1].text())).collect()
}

#[test]
fn config_get_is_that_of_valkey_field_by_field() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let Some(redis) = Server::redis_8(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let [ours, theirs, redis] = [&kivi, &valkey, &redis].map(|s| directives(&mut s.connect()));
    for (name, value) in &theirs {
        let our = ours
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        let differs = is_in(OTHER_DEFAULTS, name);
        assert!(our == value || differs, "{name}: {our} instead of {value}");
        assert_eq!(form(our), form(value), "{name}: {our} and {value}");
    }
    for (name, value) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
        match redis.get(name) {
            Some(their) => assert_eq!(value, their, "{name} of Redis 8"),
            None => assert!(is_in(OWN_DIRECTIVES, name), "{name} is nobody's"),
        }
    }
    for (name, reason) in OWN_DIRECTIVES {
        assert!(ours.contains_key(*name), "{name}: {reason}");
    }
    // `port` and `dir` always differ, `io-threads` does not on one core.
    for (name, reason) in OTHER_DEFAULTS.iter().filter(|row| row.0 != "io-threads") {
        assert_ne!(ours[*name], theirs[*name], "{name} is the same: {reason}");
    }
}

/// Values that some directives take and others refuse.
const VALUES: &[&str] = &[
    "",
    "abc",
    "yes",
    "no",
    "-1",
    "0",
    "1",
    "7",
    "1000",
    "99999999999999999999",
    "1k",
    "2mb",
    "50%",
    "1.5",
    "-1.5",
    "a b",
    "a\nb",
    "\r\n",
    "\x1b[2J",
    "x'y\"z",
    "normal 0 0 0",
    "5 5 5",
    "x 1 2",
    "everysec",
    "--port 1",
    "\u{e9}",
];

/// Directives that are not set here.
const NOT_SET: &[(&str, &str)] = &[
    ("port", "the connection would go to another server"),
    ("tls-port", "the same"),
    ("bind", "the same"),
    (
        "io-threads",
        "the number of Kivi's workers is fixed at the start",
    ),
    ("maxclients", "needs what the machine allows"),
    ("dir", "both would write elsewhere"),
    (
        "oom-score-adj",
        "the oracle's root has no /proc, so Valkey cannot set it",
    ),
    ("requirepass", "the connection would have to log in"),
    ("activedefrag", "Debian's allocator cannot do it"),
    (
        "maxmemory-policy",
        "Kivi also names Redis 8.6's policies in the error",
    ),
    ("cluster-blacklist-ttl", "Valkey takes negative times, too"),
    ("rdma-bind", "only a server built with RDMA knows it"),
];

/// What Kivi answers to directives whose feature is still to come.
const NOT_YET: &[u8] = b"this directive is not supported by Kivi yet";

/// What it answers to texts that would forge lines of INFO or of the log; Valkey takes most of them.
const CONTROL: &[u8] = b"argument must not contain control characters";

#[test]
fn config_set_takes_and_refuses_what_valkey_does() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let (mut ours, mut theirs) = (kivi.connect(), valkey.connect());
    let (our_defaults, defaults) = (directives(&mut ours), directives(&mut theirs));
    let mut wrong = Vec::new();
    let (mut compared, mut later) = (0, BTreeSet::new());
    for (name, default) in &defaults {
        if is_in(NOT_SET, name) {
            continue;
        }
        for value in VALUES {
            let our = ours.cmd(&["CONFIG", "SET", name, value]);
            let their = theirs.cmd(&["CONFIG", "SET", name, value]);
            let shown = [&mut ours, &mut theirs].map(|client| client.raw(&["CONFIG", "GET", name]));
            // A default may be a value that cannot be set; then nothing was set.
            let back = ours.cmd(&["CONFIG", "SET", name, &our_defaults[name]]);
            theirs.cmd(&["CONFIG", "SET", name, default]);
            let is_forgery = value.contains(char::is_control) && is_error(&our, CONTROL);
            if is_forgery {
                continue;
            }
            if is_not_yet(&our) || is_not_yet(&back) {
                later.insert(name.clone());
            } else if our != their {
                wrong.push(format!("{name} {value:?}: {our:?} instead of {their:?}"));
            }
            if shown[0] != shown[1] && !later.contains(name) && !is_in(OTHER_DEFAULTS, name) {
                wrong.push(format!("{name} {value:?}: shown is {shown:?}"));
            }
            compared += 1;
        }
    }
    assert!(
        wrong.is_empty(),
        "CONFIG SET differs:\n{}",
        wrong.join("\n")
    );
    assert!(compared > 5_000, "{compared} values were compared only");
    for (name, value) in directives(&mut ours) {
        let is_back = value == our_defaults[&name] || later.contains(&name);
        assert!(is_back, "{name} was not set back");
    }
}

fn is_not_yet(reply: &Reply) -> bool {
    is_error(reply, NOT_YET)
}

fn is_error(reply: &Reply, end: &[u8]) -> bool {
    matches!(reply, Reply::Error(text) if text.ends_with(end))
}

/// A directive that is left out by a name that nobody has, or twice, is not left out for a reason.
#[test]
fn what_is_not_compared_is_known_and_named_once() {
    let kivi = Server::kivi(&[]);
    let known = directives(&mut kivi.connect());
    for list in [NOT_SET, OTHER_DEFAULTS, OWN_DIRECTIVES] {
        let mut names = BTreeSet::new();
        for (name, _) in list {
            assert!(known.contains_key(*name), "nobody knows {name}");
            assert!(names.insert(name), "{name} is there twice");
        }
    }
}
