//! What is asked at once (bits, sorted patterns) against what each selector says alone, by plain means.

use super::*;
use crate::acl::patterns::{MASKED_MAX, Mask, Patterns};
use crate::util::glob::glob_match;

fn random_text(rng: &mut Rng, alphabet: &[u8], len_max: usize) -> Vec<u8> {
    let len = rng.index(len_max + 1);
    (0..len)
        .map(|_| alphabet[rng.index(alphabet.len())])
        .collect()
}

const ACCESSES: [Access; 3] = [Access::READ, Access::WRITE, Access::ALL];
const NEEDS: [Access; 4] = [Access::NONE, Access::READ, Access::WRITE, Access::ALL];

#[test]
fn sorted_patterns_find_what_each_pattern_matches() {
    let mut rng = Rng::from_seed(1);
    let mut found = 0;
    for round in 0..3000 {
        let count = rng.index(24);
        // Few stars and many words, or anything.
        let alphabet: &[u8] = if round % 2 == 0 {
            b"aab*"
        } else {
            b"ab*?[]\\\xff"
        };
        let patterns: Vec<(usize, Vec<u8>, Access)> = (0..count)
            .map(|_| {
                let pattern = random_text(&mut rng, alphabet, 10);
                (rng.index(MASKED_MAX), pattern, ACCESSES[rng.index(3)])
            })
            .collect();
        let all: Mask = if rng.index(4) == 0 {
            1 << rng.index(MASKED_MAX)
        } else {
            0
        };
        let given = patterns
            .iter()
            .map(|(at, pattern, access)| (*at, &pattern[..], *access));
        let made = Patterns::new(all, given);
        for _ in 0..20 {
            let text = random_text(&mut rng, b"aab\xff*", 12);
            let needed = NEEDS[rng.index(4)];
            let wanted = rng.next_u64() as Mask;
            let one_by_one = patterns.iter().fold(all, |mask, (at, pattern, access)| {
                let matches = access.has(needed) && glob_match(pattern, &text, false);
                mask | (matches as Mask) << at
            });
            found += usize::from(one_by_one & !all != 0);
            let seen = made.matching(&text, needed, wanted);
            assert_eq!(
                seen,
                one_by_one & wanted,
                "{patterns:?} {text:?} {needed:?}"
            );
        }
    }
    assert!(found > 5000, "{found}");
}

/// Rules out of which users are made.
const RULES: &[&str] = &[
    "+@all",
    "+@read",
    "-@write",
    "+get",
    "-get",
    "+set",
    "+mget",
    "+getset",
    "+copy",
    "+exists",
    "+zunionstore",
    "+select",
    "+select|1",
    "+select|0",
    "+get|a1",
    "+swapdb",
    "+flushall",
    "+publish",
    "+subscribe",
    "+psubscribe",
    "+ping",
    "+config|get",
    "+config",
    "-config|set",
    "~a*",
    "~b",
    "~*",
    "%R~a*",
    "%W~b*",
    "%R~*",
    "%W~*",
    "~*1",
    "~?1",
    "%R~[ab]?",
    "~",
    "resetkeys",
    "&c*",
    "&d",
    "&*",
    "&c?",
    "resetchannels",
    "db=0",
    "db=1,2",
    "db=0,99",
    "alldbs",
    "resetdbs",
];

fn random_rights(rng: &mut Rng, world: World<'_>) -> Rights {
    let mut rules: Vec<String> = Vec::new();
    let some = |rng: &mut Rng| -> Vec<&str> {
        (0..rng.index(8))
            .map(|_| RULES[rng.index(RULES.len())])
            .collect()
    };
    rules.extend(some(rng).into_iter().map(str::to_owned));
    let selectors = match rng.index(8) {
        // More than there are bits.
        0 => 20,
        _ => rng.index(6),
    };
    for _ in 0..selectors {
        rules.push(format!("({})", some(rng).join(" ")));
    }
    let mut rights = Rights::new_user(world);
    for rule in rules {
        // One that does not fit to those before is left out.
        if let Ok(more) = rules::apply(&rights, &[rule.as_bytes()], world) {
            rights = more;
        }
    }
    rights
}

fn random_request(rng: &mut Rng) -> Asked {
    const ARGS: &[&str] = &[
        "a1", "a", "b", "b1", "c", "cx", "d", "c*", "0", "1", "2", "99", "x", "",
    ];
    let command = rng.index(ROWS.len()) as u16;
    let mut words: Vec<&[u8]> = vec![ROWS[usize::from(command)].name.as_bytes()];
    for _ in 0..1 + rng.index(4) {
        words.push(ARGS[rng.index(ARGS.len())].as_bytes());
    }
    Asked::new(command, rng.index(3) as u32, &words)
}

#[test]
fn all_selectors_at_once_say_what_one_of_them_says_alone() {
    let catalog = catalog();
    let world = world(&catalog);
    let mut rng = Rng::from_seed(2);
    let mut counts = [0; 2];
    for _ in 0..2000 {
        let rights = random_rights(&mut rng, world);
        for _ in 0..20 {
            let asked = random_request(&mut rng);
            let request = asked.request();
            let told = rights.check(&request);
            let alone = rights.check_one_by_one(&request);
            assert_eq!(
                told,
                alone,
                "{:?} {rights:?}",
                String::from_utf8_lossy(&asked.bytes)
            );
            counts[usize::from(told.is_ok())] += 1;
        }
    }
    assert!(counts.iter().all(|&count| count > 2500), "{counts:?}");
}
