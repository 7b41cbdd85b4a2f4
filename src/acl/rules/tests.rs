//! Rules: what they are told again as (every line is what Valkey 9.1.2 says), and that a wrong one
//! changes nothing, whatever it looks like.

use super::super::describe::describe_user;
use super::super::tests::{catalog, world};
use super::*;
use crate::util::rng::Rng;

fn words(line: &str) -> Vec<&[u8]> {
    line.split('|').map(str::as_bytes).collect()
}

/// A new user with rules, told again; `|` stands between rules.
fn told(line: &str) -> String {
    let line = line.replace("||", "\u{1}");
    let words: Vec<Vec<u8>> = words(&line)
        .iter()
        .map(|word| {
            String::from_utf8_lossy(word)
                .replace('\u{1}', "|")
                .into_bytes()
        })
        .collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let catalog = catalog();
    let world = world(&catalog);
    match apply(&Rights::new_user(world), &words, world) {
        Ok(rights) => String::from_utf8(describe_user(&rights)).unwrap(),
        Err(error) => String::from_utf8_lossy(&error.text()).into_owned(),
    }
}

#[test]
fn rules_are_told_again_as_valkey_does() {
    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    for (rules, expected) in [
        ("on|~x*", "on ~x* resetchannels -@all"),
        ("ON|RESET", "off resetchannels -@all"),
        ("nopass|>a", &format!("off #{A} resetchannels -@all")),
        (
            &format!("#{A}|>a"),
            &format!("off #{A} resetchannels -@all"),
        ),
        (">a|>b|<b", &format!("off #{A} resetchannels -@all")),
        (&format!(">a|!{A}|nopass"), "off nopass resetchannels -@all"),
        ("+get|-get", "off resetchannels -@all -get"),
        ("+@all|-get|+GET", "off resetchannels +@all +get"),
        ("+get||x|+get", "off resetchannels -@all +get"),
        ("+get||X|+get||x", "off resetchannels -@all +get||x"),
        ("+config||get|-config", "off resetchannels -@all -config"),
        (
            "+config|-config||get",
            "off resetchannels -@all +config -config||get",
        ),
        (
            "+@read|+get|-@read|+@read",
            "off resetchannels -@all +get +@read",
        ),
        (
            "+get|+mget|-get|-mget",
            "off resetchannels -@all -get -mget",
        ),
        ("+select||0|+@all", "off resetchannels +@all"),
        ("%R~a|%W~a", "off ~a resetchannels -@all"),
        ("%R", "off %R~ resetchannels -@all"),
        ("%Wr~a|%R~b~c", "off ~a %R~b~c resetchannels -@all"),
        ("~a|allkeys|resetkeys|~b", "off ~b resetchannels -@all"),
        ("&a|&b|&a", "off resetchannels &a &b -@all"),
        ("allchannels", "off &* -@all"),
        ("db=3,1,1", "off resetchannels db=1,3 -@all"),
        ("DB= +01|db=2", "off resetchannels db=2 -@all"),
        ("db=1|resetdbs", "off resetchannels resetdbs -@all"),
        ("db=1|alldbs", "off resetchannels -@all"),
        (
            "(+get ~x)|(db=1)",
            "off resetchannels -@all (~x resetchannels -@all +get) \
          (resetchannels db=1 -@all)",
        ),
        (
            "(+get||~x)",
            "off resetchannels -@all (~x resetchannels -@all +get)",
        ),
        (
            "(|+get|)",
            "off resetchannels -@all (resetchannels -@all +get)",
        ),
        (
            "(\"unbalanced)",
            "off resetchannels -@all (resetchannels -@all)",
        ),
        ("(~x)|clearselectors", "off resetchannels -@all"),
        ("on\0x|+get\0x", "on resetchannels -@all +get"),
        ("|", "off resetchannels -@all"),
        (
            "sanitize-payload|skip-sanitize-payload",
            "off resetchannels -@all",
        ),
    ] {
        let rules = rules.replace("(+get||~x)", "(+get|~x)");
        let expected = expected.replace("||", "|");
        assert_eq!(told(&rules), expected, "{rules:?}");
    }
}

#[test]
fn what_is_wrong_is_said_as_valkey_does() {
    for (rules, expected) in [
        ("+nosuch", RuleError::Unknown),
        ("-get||x", RuleError::Unknown),
        ("+@nosuch", RuleError::Unknown),
        ("+", RuleError::Unknown),
        ("+get||", RuleError::Syntax),
        ("+get||a b", RuleError::Syntax),
        ("+config||nosuch", RuleError::Unknown),
        ("+config||get||x", RuleError::FirstArgOfSubcommand),
        ("foo", RuleError::Syntax),
        ("\0", RuleError::Syntax),
        (")", RuleError::Syntax),
        ("(on)", RuleError::Syntax),
        ("((+get))", RuleError::Syntax),
        ("(\"\")", RuleError::Syntax),
        ("~a b", RuleError::Syntax),
        ("~a\0", RuleError::Syntax),
        ("%X~s", RuleError::Syntax),
        ("%RR~s", RuleError::Syntax),
        ("%~s", RuleError::Syntax),
        ("~*|~b", RuleError::AllKeysAlready),
        ("&*|&b", RuleError::AllChannelsAlready),
        ("#zz", RuleError::BadHash),
        ("<a", RuleError::NoSuchPassword),
        ("db=", RuleError::Syntax),
        ("db=1,", RuleError::Syntax),
        ("db=1,,2", RuleError::Syntax),
        ("db=1 ", RuleError::Syntax),
        ("db=-1", RuleError::DatabaseRange),
        ("db=2147483648", RuleError::DatabaseRange),
        ("db=99999999999999999999,x", RuleError::DatabaseRange),
    ] {
        let told = told(rules);
        let end = format!("': {}", expected.text());
        let is_it = told.starts_with("Error in ACL SETUSER modifier '") && told.ends_with(&end);
        assert!(is_it, "{rules:?}: {told}");
    }
    let told = told("on|(+get|~x");
    let expected = "Unmatched parenthesis in acl selector starting at '(+get'.";
    assert_eq!(told, expected);
}

/// Valkey 9.1.2 takes it, and can read neither its own ACL LIST nor its file of users again.
#[test]
fn no_rule_in_parentheses_ends_with_one_or_has_quotes() {
    for rules in [
        "(~a))",
        "(+get &a) ~b)",
        "(%R~a) +get)",
        r#"("~a\"b" +get)"#,
        r#"("~it's" +get)"#,
    ] {
        let told = told(rules);
        let expected = format!("Error in ACL SETUSER modifier '{rules}': Syntax error");
        assert_eq!(told, expected);
    }
    assert_eq!(told("~a)"), "off ~a) resetchannels -@all");
}

/// Words out of which rules may come.
const PIECES: &[&str] = &[
    "+",
    "-",
    "@",
    "|",
    "~",
    "%",
    "R",
    "W",
    "&",
    "*",
    "(",
    ")",
    " ",
    "\"",
    "'",
    "\\x20",
    "get",
    "set",
    "config",
    "all",
    "read",
    "write",
    "dangerous",
    "on",
    "off",
    "reset",
    "nopass",
    "resetkeys",
    "allkeys",
    "allchannels",
    "resetchannels",
    "allcommands",
    "nocommands",
    "db=",
    "alldbs",
    "resetdbs",
    "clearselectors",
    ",",
    "1",
    "99",
    "-1",
    "\0",
    "\n",
    "\t",
    ">",
    "<",
    "#",
    "!",
    "a",
    "b?",
    "[x",
    "00000000000000000000000000000000",
];

fn random_rule(rng: &mut Rng) -> Vec<u8> {
    let count = 1 + rng.index(4);
    let pieces = (0..count).map(|_| PIECES[rng.index(PIECES.len())]);
    pieces.collect::<String>().into_bytes()
}

/// No rule, however odd, does harm: what is accepted can be told again, and that makes the same user.
#[test]
fn whatever_is_accepted_can_be_told_again() {
    let catalog = catalog();
    let world = world(&catalog);
    let mut rng = Rng::from_seed(9);
    let mut accepted = 0;
    for _ in 0..30_000 {
        let count = 1 + rng.index(4);
        let rules: Vec<Vec<u8>> = (0..count).map(|_| random_rule(&mut rng)).collect();
        let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
        let Ok(rights) = apply(&Rights::new_user(world), &rules, world) else {
            continue;
        };
        accepted += 1;
        let told = describe_user(&rights);
        let again: Vec<&[u8]> = told.split(|&byte| byte == b' ').collect();
        let again = apply(&Rights::new_user(world), &again, world);
        let again = again.map(|rights| describe_user(&rights));
        assert_eq!(again, Ok(told), "{rules:?}");
    }
    assert!(accepted > 1000, "{accepted}");
}
