//! COMMAND and the counters of INFO against those of a real Valkey: they tell the truth. (INFO's fields and the
//! directives are in `figures`.)
//!
//! Compared live and normalised (order of sets and maps does not count), so nothing of the real
//! server's texts is kept here.

use std::collections::BTreeMap;

use crate::client::{Client, Reply, encode};
use crate::harness::{Server, eventually};

/// Every command of the first issue. A later issue adds its own.
const COMMANDS: &str = "append decr decrby delifeq get getdel getex getrange getset incr incrby \
    incrbyfloat lcs mget mset msetex msetnx psetex set setex setnx setrange strlen substr copy del \
    exists expire pexpire expireat pexpireat expiretime pexpiretime keys move object persist pttl \
    randomkey rename renamenx scan touch ttl type unlink auth client echo hello ping quit reset \
    select command config dbsize debug flushall flushdb info lolwut time shutdown role memory swapdb";

fn resp3(server: &Server) -> Client {
    let mut client = server.connect();
    client.cmd(&["HELLO", "3"]);
    client
}

/// A reply with the elements of sets and the pairs of maps in order, all the way down.
fn normalised(reply: &Reply) -> Reply {
    let all = |items: &[Reply]| items.iter().map(normalised).collect::<Vec<_>>();
    match reply {
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Set(items) => {
            let mut items = all(items);
            items.sort();
            Reply::Set(items)
        }
        Reply::Map(items) => {
            let items = all(items);
            let mut pairs: Vec<_> = items.chunks(2).map(<[Reply]>::to_vec).collect();
            // Whether there is a summary counts, not its words.
            for pair in pairs.iter_mut().filter(|pair| pair[0].text() == "summary") {
                pair[1] = Reply::Int(1);
            }
            pairs.sort();
            Reply::Map(pairs.concat())
        }
        other => other.clone(),
    }
}

fn map(reply: &Reply) -> BTreeMap<String, Reply> {
    reply
        .items()
        .chunks(2)
        .map(|pair| (pair[0].text(), pair[1].clone()))
        .collect()
}

#[test]
fn every_command_of_the_issue_is_there() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let missing: Vec<&str> = COMMANDS
        .split_whitespace()
        .filter(|name| client.cmd(&["COMMAND", "INFO", name]).items()[0] == Reply::Nil)
        .collect();
    assert!(missing.is_empty(), "no such commands: {missing:?}");
}

#[test]
fn command_info_is_that_of_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let server = Server::kivi(&[]);
    let (mut ours, mut theirs) = (resp3(&server), resp3(&valkey));
    let mut wrong = Vec::new();
    for info in ours.cmd(&["COMMAND"]).items().to_vec() {
        let name = info.items()[0].text();
        let their = theirs.cmd(&["COMMAND", "INFO", &name]).items()[0].clone();
        if their != Reply::Nil {
            compare_info(&name, &info, &their, &mut wrong);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Compares two rows of COMMAND; of the subcommands those that both have.
fn compare_info(name: &str, our: &Reply, their: &Reply, wrong: &mut Vec<String>) {
    const PARTS: [&str; 9] = [
        "name",
        "arity",
        "flags",
        "first",
        "last",
        "step",
        "categories",
        "tips",
        "key specs",
    ];
    for (part, label) in PARTS.iter().enumerate() {
        let (a, b) = (
            normalised(&our.items()[part]),
            normalised(&their.items()[part]),
        );
        if a != b {
            wrong.push(format!(
                "{name}: {label}\n  kivi   {}\n  valkey {}",
                brief(&a),
                brief(&b)
            ));
        }
    }
    let subcommands = |row: &Reply| -> BTreeMap<String, Reply> {
        row.items()[9]
            .items()
            .iter()
            .map(|sub| (sub.items()[0].text(), sub.clone()))
            .collect()
    };
    let theirs = subcommands(their);
    for (sub, row) in subcommands(our) {
        match theirs.get(&sub) {
            Some(their) => compare_info(&sub, &row, their, wrong),
            None => wrong.push(format!("{sub}: valkey has no such subcommand")),
        }
    }
}

fn brief(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Map(items) => {
            let items: Vec<String> = items.iter().map(brief).collect();
            format!("[{}]", items.join(" "))
        }
        Reply::Status(bytes) | Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn command_docs_are_those_of_valkey_but_for_their_words() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let server = Server::kivi(&[]);
    let (mut ours, mut theirs) = (resp3(&server), resp3(&valkey));
    let mut wrong = Vec::new();
    let theirs = map(&theirs.cmd(&["COMMAND", "DOCS"]));
    for (name, docs) in map(&ours.cmd(&["COMMAND", "DOCS"])) {
        let Some(their) = theirs.get(&name) else {
            continue;
        };
        compare_docs(&name, &docs, their, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Facts of commands that have more in Redis 8.2 than in Valkey; the tests beside the code say what.
const EXTENDED: [(&str, &str); 1] = [("bitop", "arguments")];

fn compare_docs(name: &str, our: &Reply, their: &Reply, wrong: &mut Vec<String>) {
    let (our, their) = (map(our), map(their));
    assert!(our.contains_key("summary"), "{name} has a summary");
    for field in [
        "since",
        "group",
        "arguments",
        "deprecated_since",
        "replaced_by",
        "doc_flags",
    ] {
        let (a, b) = (
            our.get(field).map(normalised),
            their.get(field).map(normalised),
        );
        if a != b && !EXTENDED.contains(&(name, field)) {
            let show = |part: &Option<Reply>| part.as_ref().map_or("nothing".to_owned(), brief);
            wrong.push(format!(
                "{name}: {field}\n  kivi   {}\n  valkey {}",
                show(&a),
                show(&b)
            ));
        }
    }
    if let (Some(ours), Some(theirs)) = (our.get("subcommands"), their.get("subcommands")) {
        let theirs = map(theirs);
        for (sub, docs) in map(ours) {
            if let Some(their) = theirs.get(&sub) {
                compare_docs(&sub, &docs, their, wrong);
            }
        }
    }
}

/// The lines of INFO as name and value.
fn info(client: &mut Client, sections: &[&str]) -> BTreeMap<String, String> {
    let argv: Vec<&str> = std::iter::once("INFO")
        .chain(sections.iter().copied())
        .collect();
    let text = client.cmd(&argv).text();
    assert!(
        text.is_empty() || text.ends_with("\r\n"),
        "INFO ends with a line end"
    );
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("INFO: {line}"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn info_has_what_tools_read() {
    const FIELDS: &str = "redis_version os arch_bits process_id run_id tcp_port \
        uptime_in_seconds uptime_in_days executable config_file connected_clients blocked_clients \
        maxclients used_memory used_memory_human used_memory_rss used_memory_peak maxmemory \
        maxmemory_policy mem_fragmentation_ratio total_connections_received \
        total_commands_processed instantaneous_ops_per_sec total_net_input_bytes \
        total_net_output_bytes rejected_connections expired_keys evicted_keys keyspace_hits \
        keyspace_misses used_cpu_sys used_cpu_user role connected_slaves";
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let fields = info(&mut client, &[]);
    let missing: Vec<&str> = FIELDS
        .split_whitespace()
        .filter(|name| !fields.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "INFO lacks {missing:?}");
    let memory: u64 = fields["used_memory"].parse().expect("a number");
    assert!(memory > 100_000, "used_memory is {memory}");
    client.cmd(&["SET", "big", &"x".repeat(10 << 20)]);
    let grown: u64 = info(&mut client, &["memory"])["used_memory"]
        .parse()
        .expect("a number");
    assert!(
        grown > memory + (10 << 20),
        "10 MB more are not seen: {memory} to {grown}"
    );
    client.cmd(&["DEL", "big"]);
    eventually("used_memory to fall again", || {
        let now: u64 = info(&mut client, &["memory"])["used_memory"]
            .parse()
            .expect("a number");
        (now < grown - (9 << 20)).then_some(())
    });
    let only = info(&mut client, &["server", "clients"]);
    assert!(only.contains_key("run_id") && only.contains_key("connected_clients"));
    assert!(
        !only.contains_key("used_memory"),
        "sections that were not asked for"
    );
}

#[test]
fn the_fields_of_client_list_are_those_of_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let server = Server::kivi(&[]);
    let fields = |server: &Server| -> Vec<String> {
        let list = server.connect().cmd(&["CLIENT", "INFO"]).text();
        let names = list
            .trim()
            .split(' ')
            .map(|field| field.split('=').next().expect("a name"));
        names.map(str::to_owned).collect()
    };
    assert_eq!(fields(&server), fields(&valkey));
}

/// Commands whose counters are compared; `|` between words.
const COUNTED: &[&str] = &[
    "SET|a|1",
    "GET|a",
    "GET|b",
    "GET|a|b",
    "INCR|a",
    "SET|t|text",
    "INCR|t",
    "MGET|a|b|t",
    "EXISTS|a|zz",
    "NONSENSE|x",
    "nonsense",
    "SET|a|b|NX|XX",
    "CLIENT|SETNAME|bad name",
    "CLIENT|NOSUCH",
    "client|id",
    "CONFIG|SET|timeout|abc",
    "AUTH|nobody|x",
    "SELECT|99",
    "TTL|a",
    "STRLEN|nokey",
    "GETEX|a",
    "GETDEL|nokey",
    "APPEND|t|x",
    "SETRANGE|t|-1|x",
    "RENAME|nokey|x",
    "OBJECT|ENCODING|a",
    "TYPE|nokey",
    "TOUCH|a|nokey",
    "COPY|a|c",
    "DEL|a|nokey",
    "HELLO|9",
    "EXPIRE|t|abc",
    "MSET|a",
    "MSET|x|1|y|2",
    "KEYS|*",
    "DBSIZE",
    "LCS|x|y",
    "CONFIG|GET|port",
    "COMMAND|COUNT",
    "UNLINK|x",
    "PERSIST|y",
    "RANDOMKEY",
    "GETRANGE|nokey|0|1",
    "ECHO|x",
];

#[test]
fn counters_tell_the_truth() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let server = Server::kivi(&[]);
    let mut all = Vec::new();
    for server in [&server, &valkey] {
        let mut client = server.connect();
        client.cmd(&["CONFIG", "RESETSTAT"]);
        for command in COUNTED {
            client.send(&encode(&command.split('|').collect::<Vec<_>>()));
            client.read();
        }
        let mut counted = BTreeMap::new();
        for (name, value) in info(&mut client, &["everything"]) {
            let (command, error) = (name.starts_with("cmdstat_"), name.starts_with("errorstat_"));
            let plain = [
                "keyspace_hits",
                "keyspace_misses",
                "total_error_replies",
                "total_commands_processed",
                "unexpected_error_replies",
                "expired_keys",
                "acl_access_denied_auth",
                "acl_access_denied_cmd",
                "acl_access_denied_key",
                "acl_access_denied_channel",
                "acl_access_denied_tls_cert",
                "acl_access_denied_db",
            ];
            if command || error || plain.contains(&name.as_str()) {
                let value: Vec<&str> = value
                    .split(',')
                    .filter(|part| !part.contains("usec"))
                    .collect();
                counted.insert(name, value.join(","));
            }
        }
        all.push(counted);
    }
    let (ours, theirs) = (&all[0], &all[1]);
    let mut wrong = Vec::new();
    for name in ours
        .keys()
        .chain(theirs.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        let (our, their) = (ours.get(name), theirs.get(name));
        if our != their {
            wrong.push(format!("{name}: {our:?} instead of {their:?}"));
        }
    }
    assert!(wrong.is_empty(), "counters differ:\n{}", wrong.join("\n"));
}

#[test]
fn resetstat_begins_again() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    for _ in 0..10 {
        client.cmd(&["GET", "nokey"]);
        client.cmd(&["NONSENSE"]);
    }
    let before = info(&mut client, &["everything"]);
    assert_eq!(before["keyspace_misses"], "10");
    assert_eq!(before["errorstat_ERR"], "count=10");
    assert!(
        before["cmdstat_get"].starts_with("calls=10,"),
        "{}",
        before["cmdstat_get"]
    );
    assert!(before.contains_key("latency_percentiles_usec_get"));
    assert_eq!(client.raw(&["CONFIG", "RESETSTAT"]), b"+OK\r\n");
    let after = info(&mut client, &["everything"]);
    assert_eq!(after["keyspace_misses"], "0");
    assert!(!after.contains_key("errorstat_ERR") && !after.contains_key("cmdstat_get"));
}
