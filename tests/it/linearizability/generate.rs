//! Random requests of one episode, over a few keys of its own: what each client sends, in batches.
//!
//! Every text that is written is a new one, so a read says whose write it has seen. Keys mostly keep
//! their types; now and then a command meets another type, or nothing.

use super::spec::{Request, Words};
use crate::generate::Rng;

/// Requests that are sent at once.
pub(crate) type Batch = Vec<Request>;

/// What an episode is about: how often each kind of command is sent, and whether keys expire.
pub(crate) struct Theme {
    pub(crate) name: &'static str,
    /// Templates: a word that begins with `$` is filled in, see [`Source::word`].
    templates: &'static [&'static str],
    /// Of 100 requests so many are transactions.
    transactions: usize,
}

pub(crate) const THEMES: &[Theme] = &[
    Theme {
        name: "one string",
        templates: &[
            "GET $t0",
            "GET $t0",
            "GET $t0",
            "SET $t0 $new",
            "SET $t0 $new",
            "GETSET $t0 $new",
            "SETNX $t0 $new",
            "SET $t0 $new XX",
            "GETDEL $t0",
            "APPEND $t0 $new",
            "STRLEN $t0",
            "cas $t0 $seen $new",
            "cas $t0 $seen $new",
        ],
        transactions: 10,
    },
    Theme {
        name: "counters",
        templates: &[
            "INCR $t",
            "INCR $t",
            "INCR $t0",
            "DECRBY $t 3",
            "GET $t",
            "MGET $t0 $t1 $t2",
            "HINCRBY $h $m 2",
            "HGET $h $m",
            "ZINCRBY $z 3 $m",
            "ZSCORE $z $m",
            "DEL $t",
        ],
        transactions: 15,
    },
    Theme {
        name: "strings, several at once",
        templates: &[
            "MSET $t0 $new $t1 $new $t2 $new",
            "MSET $t1 $new $t0 $new",
            "MGET $t0 $t1 $t2",
            "MGET $t2 $t1 $t0",
            "MSETNX $t0 $new $t2 $new",
            "RENAME $t $t",
            "RENAMENX $t $t'",
            "COPY $t $t' REPLACE",
            "COPY $t $t'",
            "DEL $t0 $t1",
            "EXISTS $t0 $t1 $t2",
            "SET $t $new",
            "GET $t",
            "TYPE $t",
        ],
        transactions: 20,
    },
    Theme {
        name: "lists",
        templates: &[
            "LPUSH $l $new",
            "RPUSH $l $new $new",
            "RPUSH $l $new",
            "LPOP $l",
            "RPOP $l",
            "LLEN $l",
            "LRANGE $l 0 -1",
            "LMOVE $l $l LEFT RIGHT",
            "LMOVE $l $l RIGHT LEFT",
            "take $l $l",
            "RENAME $l $l",
            "DEL $l",
            "EXISTS $l0 $l1",
        ],
        transactions: 15,
    },
    Theme {
        name: "waiting for lists",
        templates: &[
            "RPUSH $l $new",
            "RPUSH $l $new $new",
            "LPUSH $l $new",
            "BLPOP $l0 $l1 $wait",
            "BLPOP $l $wait",
            "BLMOVE $l $l LEFT RIGHT $wait",
            "LMOVE $l $l LEFT LEFT",
            "LLEN $l",
            "take $l $l",
            "RENAME $l $l",
        ],
        transactions: 15,
    },
    Theme {
        name: "elements",
        templates: &[
            "SADD $s $m",
            "SADD $s $m",
            "SREM $s $m",
            "SMOVE $s $s $m",
            "SISMEMBER $s $m",
            "SCARD $s",
            "HSET $h $m $new",
            "HGET $h $m",
            "HDEL $h $m",
            "HLEN $h",
            "ZADD $z 5 $m",
            "ZADD $z 3 $m",
            "ZPOPMIN $z",
            "ZINCRBY $z 4 $m",
            "ZCARD $z",
            "RENAME $s $s",
            "DEL $s $h",
            "COPY $z $z' REPLACE",
        ],
        transactions: 15,
    },
    Theme {
        name: "keys that expire",
        templates: &[
            "SET $t0 $new",
            "GET $t0",
            "GET $t0",
            "GET $t",
            "PEXPIREAT $t0 $soon",
            "PEXPIREAT $t $soon",
            "PERSIST $t0",
            "INCR $t1",
            "APPEND $t0 $new",
            "RENAME $t $t'",
            "COPY $t $t' REPLACE",
            "EXISTS $t0 $t1",
            "RPUSH $l $new",
            "PEXPIREAT $l $soon",
            "LPOP $l",
            "LLEN $l",
        ],
        transactions: 10,
    },
    Theme {
        name: "everything",
        templates: &[
            "SET $t $new",
            "GET $t",
            "INCR $t",
            "MSET $t $new $l $new",
            "RPUSH $l $new",
            "LPOP $l",
            "SADD $s $m",
            "SCARD $s",
            "RENAME $any $any",
            "COPY $any $any REPLACE",
            "TYPE $any",
            "DEL $any",
            "EXISTS $any $any",
            "cas $t $seen $new",
            "take $l $any",
            "LMOVE $l $any LEFT LEFT",
        ],
        transactions: 15,
    },
];

/// Where the requests of one client come from.
pub(crate) struct Source<'a> {
    pub(crate) rng: Rng,
    theme: &'a Theme,
    prefix: String,
    client: usize,
    written: usize,
    /// Unix ms.
    now_ms: u64,
}

impl Source<'_> {
    /// Of a client in an episode whose keys begin with `prefix`.
    pub(crate) fn new(theme: &Theme, prefix: String, client: usize, rng: Rng) -> Source<'_> {
        Source {
            rng,
            theme,
            prefix,
            client,
            written: 0,
            now_ms: 0,
        }
    }

    /// As if so much had been written already.
    pub(crate) fn written_from(&mut self, written: usize) {
        self.written = written;
    }

    /// The next requests that are sent at once, which may be transactions.
    pub(crate) fn batch(&mut self, now_ms: u64) -> Batch {
        self.now_ms = now_ms;
        let len = if self.rng.chance(30) {
            2 + self.rng.below(3)
        } else {
            1
        };
        let mut batch = Vec::new();
        for _ in 0..len {
            batch.push(match self.rng.chance(self.theme.transactions) {
                true => Request::Transaction(self.some()),
                false => Request::Command(self.command()),
            });
        }
        batch
    }

    /// Whether the next thing is a transaction behind WATCH; its key and its commands.
    pub(crate) fn guarded(&mut self) -> Option<(Vec<u8>, Vec<Words>)> {
        let is_next = self.rng.chance(self.theme.transactions / 2);
        is_next.then(|| (self.word("$t0"), self.some()))
    }

    fn some(&mut self) -> Vec<Words> {
        let len = 1 + self.rng.below(3);
        (0..len).map(|_| self.command()).collect()
    }

    fn command(&mut self) -> Words {
        let template = *self.rng.pick(self.theme.templates);
        template.split(' ').map(|word| self.word(word)).collect()
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        let key = |name: &str, at: usize| format!("{}:{name}{at}", self.prefix);
        let filled = match word {
            "$new" => {
                self.written += 1;
                format!("c{}w{}.", self.client, self.written)
            }
            // What somebody may have written.
            "$seen" => format!("c{}w{}.", self.rng.below(4), 1 + self.rng.below(6)),
            "$m" => format!("m{}", self.rng.below(3)),
            "$wait" => "0.02".to_owned(),
            "$soon" => (self.now_ms + self.rng.below(6) as u64).to_string(),
            "$any" => {
                let name = *self.rng.pick(&["t", "l", "s"]);
                format!("{}:{name}{}", self.prefix, self.rng.below(2))
            }
            // Another one than $t, or $z, is.
            "$t'" => key("t", 3),
            "$z'" => key("z", 3),
            "$t" => format!("{}:t{}", self.prefix, self.rng.below(3)),
            "$l" => format!("{}:l{}", self.prefix, self.rng.below(2)),
            "$s" => format!("{}:s{}", self.prefix, self.rng.below(2)),
            "$h" => key("h", 0),
            "$z" => key("z", 0),
            _ => match word.strip_prefix('$') {
                Some(name) => format!("{}:{name}", self.prefix),
                None => word.to_owned(),
            },
        };
        filled.into_bytes()
    }
}
