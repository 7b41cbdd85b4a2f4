//! Where Kivi and real servers differ on purpose, or real servers among themselves: what the
//! differential test lets pass, each with the reason. Valkey 9.1 is what Kivi follows, so most rows
//! concern Debian's Redis 7.0.
//!
//! To add a difference: one row in [`DIFFERENCES`], as narrow as can be.

use crate::positions;

/// Whom Kivi is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// 7.0.15, which Debian has.
    Redis7,
    /// 9.1, which Kivi follows.
    Valkey9,
}

/// What a known difference allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    /// The command is not sent: it would change the two keyspaces differently.
    NotSent,
    /// Both reply with an error, of any text.
    OtherError,
    /// We reply with an error, whatever the peer replies.
    Error,
    /// The same number, written in another way.
    SameNumber,
    /// The same number, written by the peer with more digits.
    LongerNumber,
    /// As many elements.
    AsMany,
    /// Any reply: the command changes nothing that later replies show.
    AnyReply,
}

/// One known difference between a peer and Kivi.
pub(crate) struct Difference {
    /// `None`: with every peer.
    pub(crate) peer: Option<Peer>,
    /// Which commands.
    pub(crate) when: fn(&Words) -> bool,
    /// What is allowed.
    pub(crate) allow: Allow,
    reason: &'static str,
}

/// A command in lower case, for the predicates of [`DIFFERENCES`].
pub(crate) struct Words(pub(crate) Vec<String>);

impl Words {
    pub(crate) fn of(argv: &[Vec<u8>]) -> Words {
        Words(
            argv.iter()
                .map(|a| String::from_utf8_lossy(a).to_lowercase())
                .collect(),
        )
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.0[0] == name
    }

    pub(crate) fn are(&self, name: &str, sub: &str) -> bool {
        self.is(name) && self.0.get(1).is_some_and(|s| s == sub)
    }

    /// One of HSCAN, SSCAN and ZSCAN.
    fn scans_one(&self) -> bool {
        self.among(&["hscan", "sscan", "zscan"])
    }

    fn is_blocking(&self) -> bool {
        let name = self.0[0].as_str();
        self.among(&["blmove", "brpoplpush"]) || name.starts_with('b') && name.contains("pop")
    }

    /// Stores a part of what a search finds.
    fn stores_some(&self) -> bool {
        let stores = self.has("store") || self.has("storedist") || self.is("geosearchstore");
        stores && self.has("count")
    }

    pub(crate) fn among(&self, names: &[&str]) -> bool {
        names.contains(&self.0[0].as_str())
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.0[1..].iter().any(|w| w == word)
    }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            w.0[0].starts_with("eval")
                || w.0[0].starts_with("fcall")
                || w.among(&["script", "function"])
        },
        allow: Allow::OtherError,
        reason: "other words, and where in which script an error came up is told in another way",
    },
    Difference {
        peer: Some(Peer::Valkey9),
        when: |w| {
            let noscript = ["save", "acl", "latency", "slowlog", "commandlog", "module"];
            let is_named = noscript.iter().any(|name| w.has(name));
            (w.0[0].starts_with("fcall") && w.has("fany") && is_named)
                || (w.0[0].starts_with("eval") && is_named)
        },
        allow: Allow::AnyReply,
        reason: "errors of redis.call say \"This Redis command\", as README says",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("script", "show"),
        allow: Allow::AnyReply,
        reason: "it came with Valkey 8.0",
    },
    Difference {
        peer: None,
        when: |w| w.are("function", "list") && w.0.iter().any(|word| word.contains(['\r', '\n'])),
        allow: Allow::NotSent,
        reason: "Valkey's error repeats ends of lines, which breaks the protocol",
    },
    Difference {
        peer: None,
        when: |w| w.are("script", "debug") && !w.has("no"),
        allow: Allow::NotSent,
        reason: "there is no debugger, as README says",
    },
    Difference {
        peer: None,
        when: |w| {
            (w.is("script") || w.is("function")) && w.0.iter().any(|word| word.contains('\0'))
        },
        allow: Allow::AnyReply,
        reason: "Valkey reads the name of a subcommand up to its first NUL",
    },
    Difference {
        peer: None,
        when: |w| (w.is("save") || w.is("bgsave") || w.is("bgrewriteaof")) && w.0.len() == 1,
        allow: Allow::NotSent,
        reason: "they write files beside each other; `persistence.rs` compares the replies",
    },
    Difference {
        peer: None,
        when: |w| w.are("debug", "stringmatch-len"),
        allow: Allow::NotSent,
        reason: "these servers do not have it",
    },
    Difference {
        peer: None,
        when: |w| w.is("command") && (w.0.len() < 3 || w.has("*")),
        allow: Allow::AnyReply,
        reason: "whole lists come in the order of a hash table; `server.rs` compares their contents",
    },
    Difference {
        peer: None,
        when: |w| {
            let is_sort = w.is("sort") || w.is("sort_ro");
            is_sort && w.has("nosort") && !w.has("store")
        },
        allow: Allow::AsMany,
        reason: "any key may hold a set by now, whose order is that of a hash table; the tests of \
                 SORT itself cover lists and sorted sets",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("bitcount") && w.0.len() == 3,
        allow: Allow::AnyReply,
        reason: "7.0 does not take a beginning without an end",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("bitcount") || w.is("bitpos"),
        allow: Allow::Error,
        reason: "7.0 looks the key up before it reads the range",
    },
    Difference {
        peer: None,
        when: |w| w.are("command", "docs"),
        allow: Allow::AnyReply,
        reason: "the summaries are our own words; `server.rs` compares the rest",
    },
    Difference {
        peer: None,
        when: |w| w.are("config", "get") && w.has("*"),
        allow: Allow::AnyReply,
        reason: "all directives: paths and ports differ, and so do versions",
    },
    Difference {
        peer: None,
        when: |w| {
            w.0.iter().any(|a| a.contains('\0'))
                && (w.is("hello") || w.are("client", "setname") || w.are("client", "setinfo"))
        },
        allow: Allow::NotSent,
        reason: "Valkey 9.1 reads a name up to its first NUL; a name with NUL may as well be refused",
    },
    Difference {
        peer: None,
        when: |w| {
            let odd = |a: &String| {
                let digits = a.trim_start().trim_start_matches(['+', '-']);
                let begun = digits.starts_with(|c: char| c.is_ascii_digit());
                begun && a.parse::<i64>().map_or(true, |n| n.to_string() != *a)
            };
            w.is("command") && w.0[1].starts_with("getkeys") && w.0.iter().any(odd)
        },
        allow: Allow::AnyReply,
        reason: "there they take a number of keys with signs, spaces or text about it",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            let index = w.0.get(2).and_then(|word| word.parse::<i64>().ok());
            w.is("lset") && index.is_some_and(|index| i32::try_from(index).is_err())
        },
        allow: Allow::NotSent,
        reason: "Valkey cuts the index of LSET to 32 bits; in 7.0 one beyond them is out of range",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("delifeq") || w.is("msetex") || (w.is("set") && w.has("ifeq")),
        allow: Allow::NotSent,
        reason: "DELIFEQ, MSETEX and SET IFEQ came with Valkey 8.1 to 9.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("command") && w.has("msetex"),
        allow: Allow::AnyReply,
        reason: "MSETEX came with Valkey 9.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("command", "getkeys") || w.are("command", "getkeysandflags"),
        allow: Allow::OtherError,
        reason: "7.0 demands one argument more, so it complains of other things",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "setinfo") || w.are("client", "no-touch"),
        allow: Allow::AnyReply,
        reason: "CLIENT SETINFO and NO-TOUCH came with 7.2",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "capa") || w.are("client", "import-source"),
        allow: Allow::AnyReply,
        reason: "CLIENT CAPA and IMPORT-SOURCE came with Valkey 8.0 and 8.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "kill") || w.are("client", "list"),
        allow: Allow::AnyReply,
        reason: "the filters of CLIENT KILL and LIST were rewritten in Valkey 8.1 and 9.0",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("config", "set") && w.has("loglevel"),
        allow: Allow::OtherError,
        reason: "the level `nothing` came with Valkey 8, and the text lists the levels",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("getex"),
        allow: Allow::Error,
        reason: "7.0 looks for the key before it reads the options",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("object", "encoding"),
        allow: Allow::AnyReply,
        reason: "the longest embstr grew from 44 bytes",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("scan") && (w.has("nonsense") || w.has("type") || !digits(&w.0, 1)),
        allow: Allow::AnyReply,
        reason: "7.0 takes unknown types and negative cursors",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("object") && (w.has("refcount") || w.has("idletime")),
        allow: Allow::AnyReply,
        reason: "7.0 shares small integers, and does not touch keys in some writes",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("scan") && !digits(&w.0, 1),
        allow: Allow::OtherError,
        reason: "7.0 reads the options before the cursor",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "getname") || w.is("hello"),
        allow: Allow::AnyReply,
        reason: "7.0 applies the options of a HELLO up to the one that fails",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("command", "info") || w.are("command", "docs"),
        allow: Allow::AnyReply,
        reason: "tips and subcommands were added since",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("memory"),
        allow: Allow::AnyReply,
        reason: "7.0 finds keys that have expired",
    },
    Difference {
        peer: None,
        when: |w| w.among(HASH_9) && w.0.get(1).is_some_and(|key| key == "fields"),
        allow: Allow::NotSent,
        reason: "Valkey 9.1 takes a key of that name for the word before the number of fields",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.among(HASH_9) || (w.is("hscan") && w.has("novalues")),
        allow: Allow::NotSent,
        reason: "expiring fields, HGETDEL and HSCAN NOVALUES came with Valkey 8.0 to 9.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            let rank = (w.is("zrank") || w.is("zrevrank")) && w.0.len() == 4;
            rank || (w.is("zscan") && w.has("noscores"))
        },
        allow: Allow::NotSent,
        reason: "ZRANK WITHSCORE came with 7.2, ZSCAN NOSCORES with Valkey 8.0",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.scans_one() && !digits(&w.0, 2),
        allow: Allow::AnyReply,
        reason: "7.0 takes nearly any cursor",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is_blocking(),
        allow: Allow::OtherError,
        reason: "7.0 takes an infinite timeout for a negative one",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("config") && w.0.iter().any(|a| a.contains("max-listpack")),
        allow: Allow::AnyReply,
        reason: "small sets of strings came with 7.2, and with them set-max-listpack-*",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("command", "list"),
        allow: Allow::AnyReply,
        reason: "commands were added since",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("debug") && w.0.iter().any(|a| a.contains('\0')),
        allow: Allow::OtherError,
        reason: "7.0 repeats the subcommand up to its first NUL",
    },
    Difference {
        peer: None,
        when: |w| w.is("bitfield") && w.has("sat") && w.has("set") && w.has("-9223372036854775808"),
        allow: Allow::NotSent,
        reason: "theirs overflows and takes the least number there is for one that is too large",
    },
    Difference {
        peer: Some(Peer::Valkey9),
        when: |w| w.is("msetex") && w.has("pxat") && w.has("2147483647"),
        allow: Allow::NotSent,
        reason: "keys of the past stay there until they are looked up, which DEBUG DIGEST-VALUE does not",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("debug", "digest-value"),
        allow: Allow::AnyReply,
        reason: "7.0 mixes in scores with 17 digits, Valkey with as many as it takes",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("debug", "object"),
        allow: Allow::AnyReply,
        reason: "it takes an option since",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.0[0].starts_with('z') || w.0[0].starts_with("bz"),
        allow: Allow::SameNumber,
        reason: "7.0 writes scores with 17 digits, Valkey with as many as it takes",
    },
    Difference {
        peer: Some(Peer::Valkey9),
        when: |w| w.0[0].starts_with('z') || w.0[0].starts_with("bz"),
        allow: Allow::LongerNumber,
        reason: "of a thousand scores Valkey writes up to four with more digits than it takes",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "capa") || w.are("client", "import-source"),
        allow: Allow::AnyReply,
        reason: "they came with Valkey 8.0 and 8.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            let odd = |word: &String| {
                let score = word.trim_start_matches('(');
                score.starts_with(' ') || score.starts_with("0x")
            };
            let is_scored = w.0[0].starts_with('z') || w.0[0].starts_with("geo");
            is_scored && w.0.iter().any(odd)
        },
        allow: Allow::NotSent,
        reason: "7.0 takes scores with spaces before them, and hexadecimal ones",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            let negative = |pair: &[String]| pair[0] == "limit" && pair[1].starts_with('-');
            w.0[0].starts_with('z') && w.0.windows(2).any(negative)
        },
        allow: Allow::NotSent,
        reason: "since 7.2 negative offsets count from the end, in large sorted sets",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.0[0].starts_with("sort") && !w.has("alpha"),
        allow: Allow::AnyReply,
        reason: "7.0 takes empty elements for zero, and an earlier ERANGE for one of its own",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.0[0].starts_with("sort") && !w.has("alpha") && w.has("store"),
        allow: Allow::NotSent,
        reason: "7.0 takes empty elements for zero, and an earlier ERANGE for one of its own",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("lrem") && w.has("-9223372036854775808"),
        allow: Allow::NotSent,
        reason: "7.0 takes a count it cannot negate",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("lpos") && w.has("-9223372036854775808"),
        allow: Allow::Error,
        reason: "7.0 takes a rank it cannot negate",
    },
    Difference {
        peer: None,
        when: |w| w.is("pfselftest") && w.0.len() == 1,
        allow: Allow::NotSent,
        reason: "it takes seconds there, and fails with a low hll-sparse-max-bytes",
    },
    Difference {
        peer: None,
        when: |w| w.are("pfdebug", "simd") && w.0.get(2).is_some_and(|s| s != "on" && s != "off"),
        allow: Allow::NotSent,
        reason: "Valkey sends two replies to one request",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("pfdebug", "simd"),
        allow: Allow::AnyReply,
        reason: "it has no such subcommand",
    },
    Difference {
        peer: None,
        when: |w| w.among(STREAM_8_2),
        allow: Allow::NotSent,
        reason: "Redis 8.2's: none of the peers has it",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("commandlog") || w.are("slowlog", "help") || w.are("latency", "help"),
        allow: Allow::AnyReply,
        reason: "COMMANDLOG came with Valkey 8.1, and the texts of HELP were changed",
    },
    Difference {
        peer: None,
        when: |w| w.is("hotkeys"),
        allow: Allow::NotSent,
        reason: "Redis 8.6's: none of the peers has it",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("xinfo"),
        allow: Allow::AnyReply,
        reason: "7.0 shows fewer times, has other names, and counts what groups have read otherwise",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("xgroup", "createconsumer"),
        allow: Allow::AnyReply,
        reason: "XCLAIM and XAUTOCLAIM that claim nothing make no consumer in 7.0",
    },
    Difference {
        peer: None,
        when: |w| {
            let stores = w.0.iter().filter(|word| *word == "store").count();
            w.is("command") && w.has("sort") && stores > 1
        },
        allow: Allow::AnyReply,
        reason: "there any word STORE counts; as the command reads it, the second one is a key",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("xread") && w.has("+"),
        allow: Allow::AnyReply,
        reason: "7.0 knows no last entry",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("xsetid"),
        allow: Allow::OtherError,
        reason: "7.0 looks at the last entry before it looks at what was deleted",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("xreadgroup") && w.has("+"),
        allow: Allow::OtherError,
        reason: "7.0 knows no last entry",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.0[0].starts_with("geo") && (w.has("bypolygon") || w.stores_some()),
        allow: Allow::NotSent,
        reason: "7.0 has no polygons; of equally distant points it stores others where a COUNT leaves some",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.0[0].starts_with("geo") && w.has("count"),
        allow: Allow::AsMany,
        reason: "of equally distant points 7.0 shows others where a COUNT leaves some",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.0[0].starts_with("geo"),
        allow: Allow::OtherError,
        reason: "7.0 has other texts for a member that is missing, and knows two shapes",
    },
    Difference {
        peer: Some(Peer::Valkey9),
        when: |w| positions::has_polygon_around_a_pole(&w.0),
        allow: Allow::NotSent,
        reason: "Valkey searches where its memory happens to say",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            let is_huge = |word: &String| word.parse::<i64>().is_ok_and(|ms| ms > 1 << 60);
            w.among(&["xread", "xreadgroup"]) && w.has("block") && w.0.iter().any(is_huge)
        },
        allow: Allow::NotSent,
        reason: "7.0 adds a timeout to the time without looking whether it can, and waits for ever",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| {
            let streams = w.0.iter().position(|word| word == "streams");
            let behind = streams.map_or(0, |at| w.0.len() - at - 1);
            w.among(&["xread", "xreadgroup"]) && !behind.is_multiple_of(2)
        },
        allow: Allow::OtherError,
        reason: "7.0 names XREAD in the error of both",
    },
];

/// Commands that Redis 8.2 has, but neither of the peers.
const STREAM_8_2: &[&str] = &["xackdel", "xdelex"];

/// Commands on hashes that Redis 7.0 does not have.
const HASH_9: &[&str] = &[
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hgetdel",
    "hgetex",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hsetex",
    "httl",
];

fn digits(words: &[String], index: usize) -> bool {
    words
        .get(index)
        .is_some_and(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn every_difference_has_a_reason() {
    for difference in DIFFERENCES {
        assert!(difference.reason.len() > 20, "{}", difference.reason);
    }
}
