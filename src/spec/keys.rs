//! Key positions as data: one evaluator for shard locks, ACL, COMMAND GETKEYS and prefetch.
//!
//! A spec says where the search begins and how the keys follow (Redis's key specifications:
//! <https://valkey.io/topics/key-specs/>). Every number that comes from a client is checked: a
//! request whose specs lead outside of it gives [`BadKeys`], never a panic.

use super::args::c_str;
use super::flags::bit_set;
use crate::resp::parse::Argv;
use crate::util::num;

bit_set! {
    /// What a command does with the keys of a spec.
    KeyFlags: u16 {
        /// Reads the value, changes nothing.
        RO = 0;
        /// Reads and changes.
        RW = 1;
        /// Overwrites without reading.
        OW = 2;
        /// Removes.
        RM = 3;
        /// Returns user data of it.
        ACCESS = 4;
        /// Changes user data of it.
        UPDATE = 5;
        /// Adds data and removes none.
        INSERT = 6;
        /// May remove data.
        DELETE = 7;
        /// Not a key, but treated as one for routing.
        NOT_KEY = 8;
        /// The spec may miss keys.
        INCOMPLETE = 9;
        /// The flags depend on the arguments.
        VARIABLE_FLAGS = 10;
    }
}

impl KeyFlags {
    /// Names as COMMAND INFO and GETKEYSANDFLAGS give them, in their order.
    pub const NAMES: &[(KeyFlags, &str)] = &[
        (KeyFlags::RO, "RO"),
        (KeyFlags::RW, "RW"),
        (KeyFlags::OW, "OW"),
        (KeyFlags::RM, "RM"),
        (KeyFlags::ACCESS, "access"),
        (KeyFlags::UPDATE, "update"),
        (KeyFlags::INSERT, "insert"),
        (KeyFlags::DELETE, "delete"),
        (KeyFlags::NOT_KEY, "not_key"),
        (KeyFlags::INCOMPLETE, "incomplete"),
        (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the search for keys begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// At this argument (the name is argument 0).
    Index(u16),
    /// Behind a word, in any case.
    Keyword {
        /// The word.
        keyword: &'static str,
        /// Where the search for it begins; negative: backwards, counted from the end.
        from: i16,
        /// Options in front of it, each with the number of arguments that it takes, which may look
        /// like the word.
        options: &'static [(&'static str, u16)],
    },
    /// No rule says it; see [`KeySpec::unknown`].
    Unknown,
}

/// How keys follow from where the search began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// From the beginning to `last` (relative; negative: counted from the end), every `step`th
    /// argument.
    Range {
        /// Last key relative to the first; -1 is the last argument.
        last: i32,
        /// Distance between keys.
        step: u16,
        /// If not 0, only so many times fewer arguments than there are belong to the keys, and a
        /// negative `last` counts from the end of those: 2 for half of them.
        limit: u16,
    },
    /// The number of keys is itself an argument.
    Keynum {
        /// Where the number is, relative to the beginning.
        num: u16,
        /// The first key, relative to the beginning.
        first: u16,
        /// Distance between keys.
        step: u16,
    },
    /// No rule says it; see [`KeySpec::unknown`].
    Unknown,
}

/// Finds the one key of an unknown spec, or of one behind a keyword, in a request: its position.
pub type Finder = fn(Argv<'_>) -> Option<usize>;

/// One key specification.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What happens to the keys.
    pub flags: KeyFlags,
    /// Where the search begins.
    pub begin: Begin,
    /// How the keys follow.
    pub find: Find,
    /// A remark that COMMAND INFO shows.
    pub notes: &'static str,
    /// What happens to the keys of one request, when that depends on its arguments; see
    /// [`KeySpec::varying`].
    pub varying: Option<fn(Argv<'_>) -> KeyFlags>,
    /// How the key of an unknown spec, or of one behind a keyword, is found.
    pub finder: Option<Finder>,
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn at(index: u16, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from argument `index` to `last` (relative; negative: from the end), every `step`th.
    pub const fn range(index: u16, last: i32, step: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            notes: "",
            varying: None,
            finder: None,
        }
    }

    /// Keys in the first half of what follows a word (XREAD's STREAMS), which stands at argument
    /// `from` or behind it and is none of the arguments of `options`.
    pub const fn halves(
        keyword: &'static str,
        from: i16,
        options: &'static [(&'static str, u16)],
        flags: KeyFlags,
    ) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Keyword {
                keyword,
                from,
                options,
            },
            find: Find::Range {
                last: -1,
                step: 1,
                limit: 2,
            },
            notes: "",
            varying: None,
            finder: None,
        }
    }

    /// As many keys as argument `index` says, beginning `first` behind it.
    pub const fn keynum(index: u16, first: u16, step: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find: Find::Keynum {
                num: 0,
                first,
                step,
            },
            notes: "",
            varying: None,
            finder: None,
        }
    }

    /// A key that no rule finds: the code of `finder` does, or nobody, when it does not stand in the
    /// request at all (SORT's patterns).
    pub const fn unknown(finder: Option<Finder>, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Unknown,
            find: Find::Unknown,
            notes: "",
            varying: None,
            finder,
        }
    }

    /// One key behind the word `keyword`, which is searched from argument `from` on. The finder says
    /// where it is in a request, since commands do not take every such word for it.
    pub const fn keyword(
        keyword: &'static str,
        from: i16,
        finder: Finder,
        flags: KeyFlags,
    ) -> KeySpec {
        KeySpec {
            begin: Begin::Keyword {
                keyword,
                from,
                options: &[],
            },
            find: Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            ..KeySpec::unknown(Some(finder), flags)
        }
    }

    /// Adds a remark.
    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }

    /// Says that `flags` decides what happens to the keys of a request; the spec's own flags tell
    /// the worst.
    pub const fn varying(mut self, flags: fn(Argv<'_>) -> KeyFlags) -> KeySpec {
        self.flags = self.flags.and(KeyFlags::VARIABLE_FLAGS);
        self.varying = Some(flags);
        self
    }

    /// False for what only looks like a key (a sharded channel).
    pub const fn is_key(&self) -> bool {
        !self.flags.has(KeyFlags::NOT_KEY)
    }

    /// What a request does with the keys of this spec.
    pub fn flags_in(&self, argv: Argv<'_>) -> KeyFlags {
        match self.varying {
            Some(flags) => flags(argv),
            None => self.flags,
        }
    }
}

/// The specs lead outside of the request: a wrong number of keys, say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadKeys;

/// Calls `found(position, spec)` for every key of the request, in the order of the specs.
pub fn for_each_key(
    specs: &'static [KeySpec],
    argv: Argv<'_>,
    mut found: impl FnMut(usize, &'static KeySpec),
) -> Result<(), BadKeys> {
    for spec in specs {
        let begin = match spec.begin {
            Begin::Index(begin) => begin as usize,
            Begin::Keyword {
                keyword,
                from,
                options,
            } if spec.finder.is_none() => {
                let from = usize::try_from(from).unwrap_or(1);
                behind_keyword(argv, keyword, from, options).ok_or(BadKeys)?
            }
            Begin::Keyword { .. } | Begin::Unknown => {
                if let Some(position) = spec.finder.and_then(|finder| finder(argv)) {
                    found(position, spec);
                }
                continue;
            }
        };
        let (first, last, step) = match spec.find {
            Find::Unknown => continue,
            Find::Range { last, step, limit } => {
                let end = match limit {
                    0 => argv.len(),
                    limit => begin + argv.len().saturating_sub(begin) / limit as usize,
                };
                let last = match last {
                    0.. => begin + last as usize,
                    _ => end
                        .checked_sub(last.unsigned_abs() as usize)
                        .ok_or(BadKeys)?,
                };
                (begin, last, step as usize)
            }
            Find::Keynum { num, first, step } => {
                let number = argv.get(begin + num as usize).ok_or(BadKeys)?;
                let number = num::parse_i64(number).and_then(|n| usize::try_from(n).ok());
                let number = number.filter(|&n| n > 0).ok_or(BadKeys)?;
                let first = begin + first as usize;
                let last = (number - 1)
                    .checked_mul(step as usize)
                    .and_then(|n| n.checked_add(first));
                (first, last.ok_or(BadKeys)?, step as usize)
            }
        };
        if last < first || last >= argv.len() {
            return Err(BadKeys);
        }
        for position in (first..=last).step_by(step) {
            found(position, spec);
        }
    }
    Ok(())
}

/// Where the arguments behind a keyword begin. It is the first one that no option takes; of a request
/// that is none, just the first one.
fn behind_keyword(
    argv: Argv<'_>,
    word: &str,
    start: usize,
    options: &[(&str, u16)],
) -> Option<usize> {
    let is = |at: usize, word: &str| c_str(&argv[at]).eq_ignore_ascii_case(word.as_bytes());
    let mut at = 1;
    while at < argv.len() {
        if at >= start && is(at, word) {
            return Some(at + 1);
        }
        let taken = options.iter().find(|(option, _)| is(at, option));
        at += 1 + taken.map_or(0, |&(_, arguments)| arguments as usize);
    }
    (start..argv.len())
        .find(|&at| is(at, word))
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::Span;

    fn keys(specs: &'static [KeySpec], argv: &[&str]) -> Result<Vec<usize>, BadKeys> {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for arg in argv {
            spans.push(Span {
                start: bytes.len() as u32,
                len: arg.len() as u32,
            });
            bytes.extend_from_slice(arg.as_bytes());
        }
        let mut found = Vec::new();
        let argv = Argv::new(&bytes, &spans);
        for_each_key(specs, argv, |position, _| found.push(position)).map(|()| found)
    }

    #[test]
    fn ranges_count_from_both_ends() {
        const DEL: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::RM)];
        const MSET: &[KeySpec] = &[KeySpec::range(1, -1, 2, KeyFlags::OW)];
        assert_eq!(keys(DEL, &["del", "a", "b"]), Ok(vec![1, 2]));
        assert_eq!(keys(MSET, &["mset", "a", "1", "b", "2"]), Ok(vec![1, 3]));
        assert_eq!(keys(DEL, &["del"]), Err(BadKeys));
    }

    #[test]
    fn keywords_are_no_arguments_of_options() {
        const OPTIONS: &[(&str, u16)] = &[("COUNT", 1), ("GROUP", 2)];
        const READ: &[KeySpec] = &[KeySpec::halves("STREAMS", 1, OPTIONS, KeyFlags::RO)];
        const READGROUP: &[KeySpec] = &[KeySpec::halves("STREAMS", 4, OPTIONS, KeyFlags::RO)];
        let cases: &[(&str, Result<Vec<usize>, BadKeys>)] = &[
            ("x STREAMS a 0", Ok(vec![2])),
            ("x streams a b 0 0", Ok(vec![2, 3])),
            ("x streams a b 0", Ok(vec![2])),
            ("x count 1 streams streams 0", Ok(vec![4])),
            ("x streams a", Err(BadKeys)),
            ("x streams", Err(BadKeys)),
            ("x foo bar", Err(BadKeys)),
            ("x count streams a 0", Ok(vec![3])),
            ("x foo streams a 0", Ok(vec![3])),
        ];
        for (line, expected) in cases {
            let argv: Vec<&str> = line.split(' ').collect();
            assert_eq!(&keys(READ, &argv), expected, "{line}");
        }
        let cases: &[(&str, Result<Vec<usize>, BadKeys>)] = &[
            ("x group streams streams streams a 0", Ok(vec![5])),
            ("x noack group g streams streams a 0", Ok(vec![6])),
            ("x streams a b c d 0", Err(BadKeys)),
        ];
        for (line, expected) in cases {
            let argv: Vec<&str> = line.split(' ').collect();
            assert_eq!(&keys(READGROUP, &argv), expected, "{line}");
        }
    }

    #[test]
    fn numbers_of_keys_that_lie_are_refused() {
        const MSETEX: &[KeySpec] = &[KeySpec::keynum(1, 1, 2, KeyFlags::OW)];
        assert_eq!(
            keys(MSETEX, &["msetex", "2", "a", "1", "b", "2"]),
            Ok(vec![2, 4])
        );
        for number in [
            "0",
            "-1",
            "3",
            "x",
            "9223372036854775807",
            "18446744073709551616",
        ] {
            assert_eq!(
                keys(MSETEX, &["msetex", number, "a", "1", "b", "2"]),
                Err(BadKeys),
                "{number}"
            );
        }
    }
}
