//! Files of directives: how they are changed by lines, with names that there are and values that fit them more
//! often than not. With changed bytes only, nearly every file ends at a name that is unknown.

use kivi::config::{Directive, directives};
use kivi::util::rng::Rng;
use libfuzzer_sys::fuzzer_mutate;

use crate::{put, words};

/// Values of directives whose default is a number.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "-2",
    "-5",
    "2",
    "16",
    "64",
    "100",
    "511",
    "1024",
    "6379",
    "65535",
    "65536",
    "1k",
    "1kb",
    "5mb",
    "1GB",
    "10%",
    "100%",
    "0x10",
    "0600",
    "777",
    "1.5",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "18446744073709551615",
];

/// Values of the others.
const TEXTS: &[&str] = &[
    "",
    "yes",
    "no",
    "YES",
    "auto",
    "default",
    "always",
    "everysec",
    "debug",
    "verbose",
    "notice",
    "warning",
    "nothing",
    "noeviction",
    "allkeys-lru",
    "volatile-ttl",
    "KEA",
    "Elg",
    "upstart",
    "systemd",
    "nosave force",
    "now",
    "local0",
    "optional",
    "CN",
    "TLSv1.2 TLSv1.3",
    "127.0.0.1",
    "* -::*",
    "::1",
    "10.0.0.0/8",
    "900 1 300 10",
    "900 1",
    "normal 0 0 0",
    "replica 256mb 64mb 60",
    "pubsub 32mb 8mb 60 normal 1 1 1",
    "CONFIG hidden",
    "GET \"\"",
    "alice on nopass ~* +@all",
    "default off",
    "0-1",
    "0,2,4-6",
    "secret",
    "/tmp/x",
    "name with blanks",
    "\\x01\\xff\\n",
    "a'b",
];

/// A changed input, in place of the one in the first `size` bytes of `data`: a byte of choices, of which the
/// first bit says that it is TOML, and a file. How long it is.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = Rng::from_seed(seed.into());
    if size == 0 || rng.below(4) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let choice = match rng.below(16) {
        0 => rng.next_u64() as u8,
        _ => data[0],
    };
    let is_toml = choice & 1 == 1;
    let mut lines: Vec<Vec<u8>> = data[1..size]
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for _ in 0..1 + rng.below(3) {
        change(&mut lines, is_toml, &mut rng);
    }
    let mut changed = vec![choice];
    changed.extend(lines.join(&b'\n'));
    put(data, max_size, changed)
}

fn change(lines: &mut Vec<Vec<u8>>, is_toml: bool, rng: &mut Rng) {
    let at = rng.index(lines.len() + 1);
    let is_line = at < lines.len();
    match rng.below(12) {
        0 | 1 if is_line => drop(lines.remove(at)),
        2 if is_line => {
            let copy = lines[rng.index(lines.len())].clone();
            lines.insert(at, copy);
        }
        3 if is_line => {
            let other = rng.index(lines.len());
            lines.swap(at, other);
        }
        4 if is_line => {
            let word = words::any(rng);
            let place = rng.index(lines[at].len() + 1);
            lines[at].splice(place..place, word);
        }
        5 => lines.insert(at, b"# a remark".to_vec()),
        _ => lines.insert(at, line(is_toml, rng)),
    }
}

fn line(is_toml: bool, rng: &mut Rng) -> Vec<u8> {
    let all = directives();
    let directive = all[rng.index(all.len())];
    let mut name = directive.name.to_owned();
    if !directive.aliases.is_empty() && rng.below(2) == 0 {
        name = directive.aliases[rng.index(directive.aliases.len())].into();
    }
    if rng.below(16) == 0 {
        name.make_ascii_uppercase();
    }
    let value = value(directive, rng);
    match (is_toml, rng.below(4)) {
        (false, 0) => format!("{name} \"{value}\""),
        (false, 1) => format!("  {name}\t'{value}' "),
        (false, _) => format!("{name} {value}"),
        // Numbers and what is on or off may stand by themselves.
        (true, 0) => match &value[..] {
            "yes" => format!("{name} = true"),
            "no" => format!("{name} = false"),
            other => format!("{name} = {other}"),
        },
        (true, 1) => {
            let words: Vec<String> = value.split(' ').map(|word| format!("{word:?}")).collect();
            format!("{name} = [{}]", words.join(", "))
        }
        (true, 2) => format!("{name} = [{value:?}, [\"a\", \"1\"]]"),
        (true, _) => format!("\"{name}\" = {value:?} # a remark"),
    }
    .into_bytes()
}

fn value(directive: &Directive, rng: &mut Rng) -> String {
    let default = directive.default;
    let is_number = default.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    match rng.below(8) {
        0 => default.into(),
        1 => TEXTS[rng.index(TEXTS.len())].into(),
        _ if is_number => NUMBERS[rng.index(NUMBERS.len())].into(),
        _ if matches!(default, "yes" | "no") => ["yes", "no"][rng.index(2)].into(),
        _ => TEXTS[rng.index(TEXTS.len())].into(),
    }
}
