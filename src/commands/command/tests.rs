//! COMMAND against what Valkey 9.1.2 answered, and the whole table against its facts.

use serde_json::{Map, Value, json};

use crate::commands::CommandTable;
use crate::commands::tests::Test;
use crate::resp::read::Reply;
use crate::spec::syntax;

/// Facts of Valkey 9.1.2's commands, as far as Kivi has them.
const REFERENCE: &str = include_str!("../../../tests/it/reference/commands.json");

/// Where Kivi means to differ: full name, fact, and what Kivi says.
fn intended_differences() -> Vec<(&'static str, &'static str, Value)> {
    let operations = ["and", "or", "xor", "not", "diff", "diff1", "andor", "one"];
    let operations = operations.map(|name| {
        let mut facts = json!({
            "name": name, "type": "pure-token", "display_text": name,
            "token": name.to_ascii_uppercase(),
        });
        // Redis's.
        if !["and", "or", "xor", "not"].contains(&name) {
            facts["since"] = json!("8.2.0");
        }
        facts
    });
    vec![(
        "bitop",
        "arguments",
        json!([
            {"name": "operation", "type": "oneof", "arguments": operations},
            {"name": "destkey", "type": "key", "display_text": "destkey", "key_spec_index": 0},
            {
                "name": "key", "type": "key", "display_text": "key", "key_spec_index": 1,
                "flags": ["multiple"],
            },
        ]),
    )]
}

/// The first reply in `bytes`, which must be the only one.
fn parsed(bytes: &[u8]) -> Reply {
    let mut replies = Reply::parse_all(bytes).expect("a well-formed reply");
    assert_eq!(replies.len(), 1);
    replies.remove(0)
}

/// A reply as JSON: sets sorted, maps as objects, unless their keys are no text.
fn json_of(reply: &Reply) -> Value {
    match reply {
        Reply::Simple(text) | Reply::Bulk(text) => {
            Value::from(String::from_utf8(text.clone()).unwrap())
        }
        Reply::Int(n) => json!(n),
        Reply::Array(items) => items.iter().map(json_of).collect(),
        Reply::Set(items) => {
            let mut items: Vec<Value> = items.iter().map(json_of).collect();
            items.sort_by_key(Value::to_string);
            items.into()
        }
        Reply::Map(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| {
                let name = json_of(name).as_str().unwrap().to_string();
                (name, json_of(value))
            });
            pairs.collect::<Map<String, Value>>().into()
        }
        other => panic!("{other:?} in COMMAND"),
    }
}

const INFO_FIELDS: [&str; 10] = [
    "name",
    "arity",
    "flags",
    "first_key",
    "last_key",
    "step",
    "acl_categories",
    "tips",
    "key_specs",
    "subcommands",
];

/// COMMAND INFO's and COMMAND DOCS' answers about one command in the form of the reference.
fn facts(info: &Value, docs: &Value) -> Value {
    let mut facts = Map::new();
    for (name, value) in INFO_FIELDS.iter().zip(info.as_array().unwrap()) {
        facts.insert((*name).into(), value.clone());
    }
    for (name, value) in docs.as_object().unwrap() {
        match &name[..] {
            "summary" | "complexity" => assert_ne!(value, "", "{info}"),
            "subcommands" => {}
            _ => {
                facts.insert(name.clone(), value.clone());
            }
        }
    }
    assert!(
        docs["summary"].is_string() && docs["complexity"].is_string(),
        "{info}"
    );
    let subcommands = info[9].as_array().unwrap().iter().map(|sub| {
        let name = sub[0].as_str().unwrap();
        self::facts(sub, &docs["subcommands"][name])
    });
    let mut subcommands: Vec<Value> = subcommands.collect();
    subcommands.sort_by_key(|sub| sub["name"].to_string());
    facts.insert("subcommands".into(), subcommands.into());
    facts.into()
}

/// Sorts what the reference keeps in no particular order.
fn normal(facts: &Value) -> Value {
    let mut facts = facts.clone();
    fn sort(value: &mut Value) {
        value.as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    for set in ["flags", "acl_categories", "tips"] {
        sort(&mut facts[set]);
    }
    for spec in facts["key_specs"].as_array_mut().unwrap() {
        sort(&mut spec["flags"]);
    }
    // A set in RESP3.
    sort(&mut facts["key_specs"]);
    fn sort_flags(arguments: &mut Value) {
        for argument in arguments.as_array_mut().into_iter().flatten() {
            // The reference has no texts.
            argument.as_object_mut().unwrap().remove("summary");
            if let Some(flags) = argument.get_mut("flags") {
                sort(flags);
            }
            if let Some(parts) = argument.get_mut("arguments") {
                sort_flags(parts);
            }
        }
    }
    if let Some(arguments) = facts.get_mut("arguments") {
        sort_flags(arguments);
    }
    for subcommand in facts["subcommands"].as_array_mut().unwrap() {
        *subcommand = normal(subcommand);
    }
    facts
}

fn compare(kivi: &Value, valkey: &Value, wrong: &mut Vec<String>) {
    let name = kivi["name"].as_str().unwrap();
    let differences = intended_differences();
    for (field, expected) in valkey.as_object().unwrap() {
        if field == "subcommands" {
            continue;
        }
        let intended = differences
            .iter()
            .find(|(n, f, _)| (*n, *f) == (name, &field[..]));
        let expected = intended.map_or(expected, |(_, _, value)| value);
        if &kivi[&field[..]] != expected {
            wrong.push(format!(
                "{name} {field}: {} instead of {expected}",
                kivi[&field[..]]
            ));
        }
    }
    for field in kivi.as_object().unwrap().keys() {
        if valkey.get(field).is_none() {
            wrong.push(format!("{name}: no {field} in Valkey"));
        }
    }
    let subcommands = |facts: &Value| facts["subcommands"].as_array().unwrap().clone();
    pair(&subcommands(kivi), &subcommands(valkey), wrong);
}

/// Compares both lists name by name.
fn pair(kivi: &[Value], valkey: &[Value], wrong: &mut Vec<String>) {
    for theirs in valkey {
        match kivi.iter().find(|ours| ours["name"] == theirs["name"]) {
            Some(ours) => compare(ours, &normal(theirs), wrong),
            None => wrong.push(format!("{} is missing", theirs["name"])),
        }
    }
    for ours in kivi {
        if !valkey.iter().any(|theirs| ours["name"] == theirs["name"]) {
            wrong.push(format!("{} is not in the reference", ours["name"]));
        }
    }
}

#[test]
fn the_table_says_what_valkey_says() {
    let mut test = Test::new();
    test.run("HELLO 3");
    let infos = json_of(&parsed(&test.run("COMMAND").0));
    let docs = json_of(&parsed(&test.run("COMMAND DOCS").0));
    let infos = infos.as_array().unwrap();
    let kivi: Vec<Value> = infos
        .iter()
        .map(|info| normal(&facts(info, &docs[info[0].as_str().unwrap()])))
        .collect();
    let valkey: Vec<Value> = serde_json::from_str(REFERENCE).unwrap();
    let mut wrong = Vec::new();
    pair(&kivi, &valkey, &mut wrong);
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    test.run("COMMAND COUNT").is(&format!(":{}", kivi.len()));
}

#[test]
fn every_row_follows_the_notation_and_is_documented() {
    let table = CommandTable::new(&[]).unwrap();
    for command in table.commands() {
        for command in std::iter::once(command).chain(&command.subcommands) {
            let docs = &command.row.docs;
            let parsed = syntax::parse(docs.syntax);
            assert!(
                parsed.is_ok(),
                "{}: {}",
                command.full_name,
                parsed.unwrap_err()
            );
        }
    }
}

#[test]
fn info_in_both_protocols() {
    let mut test = Test::new();
    test.run("COMMAND INFO get").is(
        "*1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags \
         *2 +RO +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys \
         *4 $4 type $5 range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0",
    );
    test.run("COMMAND INFO client|kill").is(
        "*1 *10 $11 client|kill :-3 *4 +admin +noscript +loading +stale :0 :0 :0 \
         *4 +@admin +@slow +@dangerous +@connection *0 *0 *0",
    );
    test.run("COMMAND INFO mset").is(
        "*1 *10 $4 mset :-3 *2 +write +denyoom :1 :-1 :2 *3 +@write +@string +@slow \
         *2 $26 request_policy:multi_shard $29 response_policy:all_succeeded *1 *6 $5 flags \
         *2 +OW +update $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys \
         *4 $4 type $5 range $4 spec *6 $7 lastkey :-1 $7 keystep :2 $5 limit :0 *0",
    );
    test.run("HELLO 3");
    test.run("COMMAND INFO nosuch GeT").is(
        "*2 _ *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast ~0 ~1 %3 \
         $5 flags ~2 +RO +access $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 \
         $9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0",
    );
    test.run("COMMAND INFO set").is(
        "*1 *10 $3 set :-3 ~2 +write +denyoom :1 :1 :1 ~3 +@write +@string +@slow ~0 ~1 %4 \
         $5 notes $48 RW and ACCESS due to the optional `GET` argument \
         $5 flags ~4 +RW +access +update +variable_flags $12 begin_search %2 $4 type $5 index \
         $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 \
         $7 keystep :1 $5 limit :0 *0",
    );
}

#[test]
fn what_is_no_command_is_null() {
    let mut test = Test::new();
    for name in [
        "nosuch",
        "client|nosuch",
        "get|",
        "|get",
        "client|kill|x",
        "\"\"",
        "post",
        "host:",
    ] {
        test.run(&format!("COMMAND INFO {name}")).is("*1 $-1");
        test.run(&format!("COMMAND DOCS {name}")).is("*0");
    }
    let Reply::Array(all) = parsed(&test.run("COMMAND").0) else {
        panic!()
    };
    let Reply::Array(info) = parsed(&test.run("COMMAND INFO").0) else {
        panic!()
    };
    assert_eq!(all, info);
    test.run("COMMAND COUNT").is(&format!(":{}", all.len()));
    let text = test.run("COMMAND LIST").text();
    assert!(!text.contains("post") && !text.contains("host:"), "{text}");
    test.run("COMMAND FOO")
        .is("-ERR unknown subcommand 'FOO'. Try COMMAND HELP.");
    test.run("COMMAND COUNT a")
        .is("-ERR wrong number of arguments for 'command|count' command");
    test.run("COMMAND HELP x")
        .is("-ERR wrong number of arguments for 'command|help' command");
    test.run("COMMAND GETKEYS")
        .is("-ERR wrong number of arguments for 'command|getkeys' command");
}

#[test]
fn lists_are_filtered() {
    let mut test = Test::new();
    test.run("COMMAND LIST FILTERBY PATTERN *ent|KILL")
        .is("*1 $11 client|kill");
    test.run("COMMAND LIST FILTERBY PATTERN GET")
        .is("*1 $3 get");
    test.run("COMMAND LIST filterby pattern cl*|k*")
        .is("*1 $11 client|kill");
    test.run("COMMAND LIST FILTERBY PATTERN \"\"").is("*0");
    test.run("COMMAND LIST FILTERBY MODULE x").is("*0");
    test.run("COMMAND LIST FILTERBY ACLCAT @string").is("*0");
    test.run("COMMAND LIST FILTERBY ACLCAT nosuch").is("*0");
    let strings = test.run("COMMAND LIST FILTERBY ACLCAT STRing").text();
    assert!(
        strings.starts_with("*24 ") && strings.contains("$6 append"),
        "{strings}"
    );
    for wrong in [
        "FOO",
        "FILTERBY",
        "FILTERBY foo bar",
        "FILTERBY MODULE",
        "FILTERBY PATTERN a b",
    ] {
        test.run(&format!("COMMAND LIST {wrong}"))
            .is("-ERR syntax error");
    }
}

#[test]
fn keys_of_a_command() {
    let mut test = Test::new();
    for (line, reply) in [
        ("get a", "*1 $1 a"),
        ("GET a", "*1 $1 a"),
        ("mset a 1 b 2", "*2 $1 a $1 b"),
        ("mset a 1 b", "*2 $1 a $1 b"),
        ("msetex 2 a 1 b 2", "*2 $1 a $1 b"),
        ("msetex 1 a b ex", "*1 $1 a"),
        ("lcs a b", "*2 $1 a $1 b"),
        ("set a b get", "*1 $1 a"),
        ("eval x 1 a b", "*1 $1 a"),
        // There need be none.
        ("eval x 0 a", "*0"),
        ("eval x 2 a", "*0"),
        ("evalsha_ro x -1 a", "*0"),
        (
            "get",
            "-ERR Invalid number of arguments specified for command",
        ),
        (
            "get a b",
            "-ERR Invalid number of arguments specified for command",
        ),
        (
            "mget",
            "-ERR Invalid number of arguments specified for command",
        ),
        (
            "msetex 1 a",
            "-ERR Invalid number of arguments specified for command",
        ),
        (
            "msetex 3 a 1 b 2",
            "-ERR Invalid arguments specified for command",
        ),
        (
            "msetex x a 1 b 2",
            "-ERR Invalid arguments specified for command",
        ),
        (
            "msetex 0 a b",
            "-ERR Invalid arguments specified for command",
        ),
        (
            "msetex -1 a b",
            "-ERR Invalid arguments specified for command",
        ),
        (
            "msetex 9223372036854775807 a b",
            "-ERR Invalid arguments specified for command",
        ),
        ("nosuch a b", "-ERR Invalid command specified"),
        ("client nosuch", "-ERR Invalid command specified"),
        ("host: a", "-ERR Invalid command specified"),
        ("POST", "-ERR Invalid command specified"),
        ("ping", "-ERR The command has no key arguments"),
        ("client", "-ERR The command has no key arguments"),
        ("client kill", "-ERR The command has no key arguments"),
        (
            "command getkeys get a",
            "-ERR The command has no key arguments",
        ),
    ] {
        let reply_to = test.run(&format!("COMMAND GETKEYS {line}")).text();
        assert_eq!(reply_to, reply, "{line}");
    }
}

#[test]
fn keys_and_what_is_done_with_them() {
    let mut test = Test::new();
    for (line, reply) in [
        ("set a b", "*1 *2 $1 a *2 +OW +update"),
        ("set a b EX 10 GET", "*1 *2 $1 a *3 +RW +access +update"),
        ("set a b get get", "*1 *2 $1 a *3 +RW +access +update"),
        ("set a GET", "*1 *2 $1 a *2 +OW +update"),
        (
            "mset a 1 b 2",
            "*2 *2 $1 a *2 +OW +update *2 $1 b *2 +OW +update",
        ),
        ("getex a", "*1 *2 $1 a *3 +RW +access +update"),
        ("delifeq a b", "*1 *2 $1 a *2 +RM +delete"),
        ("msetex 1 a b", "*1 *2 $1 a *2 +OW +update"),
        (
            "msetex 5 a b",
            "-ERR Invalid arguments specified for command",
        ),
        (
            "get",
            "-ERR Invalid number of arguments specified for command",
        ),
        ("ping", "-ERR The command has no key arguments"),
        ("nosuch", "-ERR Invalid command specified"),
    ] {
        let reply_to = test.run(&format!("COMMAND GETKEYSANDFLAGS {line}")).text();
        assert_eq!(reply_to, reply, "{line}");
    }
    test.run("HELLO 3");
    test.run("COMMAND GETKEYSANDFLAGS set a b")
        .is("*1 *2 $1 a ~2 +OW +update");
}

#[test]
fn docs_in_both_protocols() {
    let mut test = Test::new();
    let summary = "Answers its argument.";
    let len = summary.len();
    test.run("COMMAND DOCS nosuch ECHO").is(&format!(
        "*2 $4 echo *10 $7 summary ${len} {summary} $5 since $5 1.0.0 $5 group $10 connection \
         $10 complexity $4 O(1) $9 arguments *1 *6 $4 name $7 message $4 type $6 string \
         $12 display_text $7 message"
    ));
    test.run("HELLO 3");
    let text = test.run("COMMAND DOCS client|kill").text();
    for part in [
        "%1 $11 client|kill %5 $7 summary ",
        " $5 since $5 2.4.0 $5 group $10 connection $10 complexity ",
        " $9 arguments *1 %3 $4 name $6 filter $4 type $5 oneof $9 arguments *2 %4 $4 name \
         $10 old-format $4 type $6 string $12 display_text $7 ip:port $16 deprecated_since \
         $6 2.8.12 %4 $4 name $10 new-format $4 type $5 oneof $5 flags ~1 +multiple $9 arguments \
         *27 %6 $4 name $9 client-id $4 type $7 integer $12 display_text $9 client-id $5 token \
         $2 ID $5 since $6 2.8.12 $5 flags ~2 +optional +multiple %6 $4 name $11 client-type \
         $4 type $5 oneof $5 token $4 TYPE $5 since $6 2.8.12 $5 flags ~1 +optional $9 arguments \
         *6 %4 $4 name $6 normal $4 type $10 pure-token $12 display_text $6 normal $5 token \
         $6 NORMAL %5 ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let text = test.run("COMMAND DOCS client").text();
    for part in [" $11 subcommands %", " $14 client|getname %4 "] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_renamed_command_keeps_its_own_name_in_its_description() {
    let mut test = Test::with(&["--rename-command", "get", "fetch"]);
    test.run("COMMAND INFO get").is("*1 $-1");
    let text = test.run("COMMAND INFO fetch").text();
    assert!(text.starts_with("*1 *10 $3 get "), "{text}");
}

#[test]
fn help_is_framed_as_everywhere() {
    let text = Test::new().run("COMMAND HELP").text();
    let start = "*17 +COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with(" +HELP +    Print this help."), "{text}");
}
