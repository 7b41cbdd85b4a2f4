//! What users may do, compared with Valkey: random commands are asked about with ACL DRYRUN for users with
//! rights of all kinds, and the answers must be the same bytes.
//!
//! So the keys, channels and databases of every command, and whether each is read or written, are those of
//! Valkey. What may differ stands in [`is_malformed`] and [`differs`].
//!
//! Environment: `KIVI_TEST_STEPS` commands; `KIVI_TEST_SEED` runs one episode only.

use crate::client::{Client, Raw, encode, show_command};
use crate::differences::Words;
use crate::generate::Generator;
use crate::harness::{Server, episodes};

const STEPS_DEFAULT: u64 = 6_000;
const STEPS_PER_EPISODE: u64 = 200;

/// Users and their rules. The keys of generated commands begin with a letter of their type, and end with a
/// number.
const USERS: &[(&str, &str)] = &[
    ("read", "+@all %R~* &* alldbs"),
    ("write", "+@all %W~* &* alldbs"),
    ("some", "+@all %R~*1 %W~*2 ~*3 &c* db=0"),
    ("first", "+@all ~*1 ~*a &1* db=0 db=1"),
    (
        "commands",
        "+@read +@write -@dangerous -set +config|get ~* &*",
    ),
    (
        "selectors",
        "+@read %R~*1 (+@write %W~*2) (+@all ~*3 &* db=0) (+publish &a*)",
    ),
    ("nobody", "-@all"),
];

/// Answers of a server to one command, by user.
fn ask(client: &mut Client, argv: &[Vec<u8>]) -> Vec<Raw> {
    let requests = USERS.iter().map(|(user, _)| {
        let dryrun = ["ACL", "DRYRUN", user].map(|word| word.as_bytes().to_vec());
        encode(&[&dryrun[..], argv].concat())
    });
    client.send(&requests.collect::<Vec<_>>().concat());
    USERS.iter().map(|_| client.read().0).collect()
}

/// Requests whose keys nobody can tell, since they are not well-formed. Kivi asks for those that were found
/// before that turned out, as they may be touched all the same (PFMERGE without sources); Valkey for none, or
/// takes `1.0` for a number of keys, which its command does not.
fn is_malformed(kivi: &mut Client, argv: &[Vec<u8>]) -> bool {
    let getkeys = ["COMMAND", "GETKEYS"].map(|word| word.as_bytes().to_vec());
    kivi.cmd(&[&getkeys[..], argv].concat()).is_error()
}

#[test]
fn users_may_do_what_they_may_in_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let mut server = Server::kivi(&[]);
    let (mut kivi, mut real) = (server.connect(), valkey.connect());
    for (user, rules) in USERS {
        let words: Vec<&str> = ["ACL", "SETUSER", user]
            .into_iter()
            .chain(rules.split(' '))
            .collect();
        let words: Vec<String> = join_selectors(&words);
        for client in [&mut kivi, &mut real] {
            assert_eq!(client.cmd(&words).text(), "OK", "{user}");
        }
    }
    let seeds = episodes(STEPS_DEFAULT, STEPS_PER_EPISODE);
    let steps = (seeds.end - seeds.start) * STEPS_PER_EPISODE;
    let (mut allowed, mut denied, mut found) = (0, 0, Vec::new());
    for seed in seeds {
        let mut commands = Generator::new(seed);
        for _ in 0..STEPS_PER_EPISODE {
            let argv = commands.step().argv;
            let (ours, theirs) = (ask(&mut kivi, &argv), ask(&mut real, &argv));
            for ((our, their), (user, _)) in ours.iter().zip(&theirs).zip(USERS) {
                match *our == b"+OK\r\n" {
                    true => allowed += 1,
                    false => denied += 1,
                }
                let is_allowed = |raw: &Raw| *raw == b"+OK\r\n";
                let is_one = is_allowed(our) != is_allowed(their);
                let is_known = is_one && is_malformed(&mut kivi, &argv);
                if our != their && !is_known && !differs(&argv) && found.len() < 20 {
                    let command = show_command(&argv);
                    found.push(format!("{user}: {command}\n  {our:?}\n  {their:?}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let enough = steps as usize;
    assert!(allowed > enough && denied > enough, "{allowed} {denied}");
    server.assert_alive();
}

/// Commands that only one of the two has, or whose categories say something else.
fn differs(argv: &[Vec<u8>]) -> bool {
    let words = Words::of(argv);
    words.among(&["hotkeys", "xackdel", "xdelex", "lolwut"])
}

/// A selector in parentheses is one argument.
fn join_selectors(words: &[&str]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(open) if open.starts_with('(') && !open.ends_with(')') => {
                open.push(' ');
                open.push_str(word);
            }
            _ => joined.push((*word).to_owned()),
        }
    }
    joined
}
