//! Random calls of the scripts, as their applications make them.

use crate::client::Reply;
use crate::generate::Rng;

/// Makes calls, one after the other, and learns from replies what there is to be finished.
pub(super) struct Calls {
    rng: Rng,
    /// Milliseconds.
    now: u64,
    /// Jobs that were taken, each with the token of who has it.
    taken: Vec<(String, String)>,
    /// The last call takes a job for this token.
    takes_for: Option<String>,
    /// Reserved jobs.
    reserved: Vec<String>,
    reserves: bool,
    made: u64,
}

/// A script with its keys and arguments.
type Call = (&'static str, Vec<String>, Vec<String>);

fn call(name: &'static str, keys: &[&str], args: &[&str]) -> Call {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    (name, owned(keys), owned(args))
}

impl Calls {
    pub(super) fn new(rng: Rng) -> Calls {
        Calls {
            rng,
            now: 1_700_000_000_000,
            taken: Vec::new(),
            takes_for: None,
            reserved: Vec::new(),
            reserves: false,
            made: 0,
        }
    }

    /// The next request; `request` makes it of a script's name, keys and arguments.
    pub(super) fn next(
        &mut self,
        request: impl Fn(&str, &[String], &[String]) -> Vec<String>,
    ) -> Vec<String> {
        self.now += self.rng.below(20) as u64;
        self.made += 1;
        (self.takes_for, self.reserves) = (None, false);
        if self.rng.chance(8) {
            return self.function();
        }
        let (name, keys, args) = match self.rng.below(6) {
            0 => self.lock(),
            1 => self.limit(),
            2 | 3 => self.queue(),
            4 => self.list_queue(),
            _ => self.other(),
        };
        request(name, &keys, &args)
    }

    /// Looks at the reply to the last request.
    pub(super) fn learn(&mut self, reply: &Reply) {
        let items = match reply {
            Reply::Array(items) if items.len() == 2 => items,
            _ => return,
        };
        match (self.takes_for.take(), &items[1]) {
            (Some(token), Reply::Bulk(_)) => self.taken.push((items[1].text(), token)),
            (None, Reply::Bulk(_)) if self.reserves => self.reserved.push(items[1].text()),
            _ => {}
        }
    }

    fn name(&mut self, kind: &str, count: usize) -> String {
        format!("{kind}:{}", self.rng.below(count))
    }

    fn lock(&mut self) -> Call {
        let (lock, owner) = (self.name("lock", 3), self.name("owner", 3));
        let shared = self.name("shared", 3);
        match self.rng.below(9) {
            0 => call("lock", &[&lock], &[&owner, "600000"]),
            1 => call("unlock", &[&lock], &[&owner]),
            2 => call("renew", &[&lock], &[&owner, "700000"]),
            3 | 4 => call("reentrant_lock", &[&shared], &["600000", &owner]),
            5 | 6 => call(
                "reentrant_unlock",
                &[&shared, "channel"],
                &["0", "600000", &owner],
            ),
            7 => call("read_lock", &["rw"], &["600000", &owner]),
            _ => call("write_lock", &["rw"], &["600000", &owner]),
        }
    }

    fn limit(&mut self) -> Call {
        let now = self.now.to_string();
        let user = self.rng.below(3);
        let key = |kind: &str| format!("{kind}:{user}");
        let request = self.made.to_string();
        match self.rng.below(5) {
            0 => call("limit_window", &[&key("window")], &["20", "600000"]),
            1 => call(
                "limit_sliding",
                &[&key("sliding")],
                &["10", "200", &now, &request],
            ),
            2 => {
                let (tokens, at) = (key("tokens"), key("timestamp"));
                let seconds = (self.now / 10).to_string();
                let requested = (1 + self.rng.below(4)).to_string();
                call(
                    "limit_bucket",
                    &[&tokens, &at],
                    &["3", "15", &seconds, &requested],
                )
            }
            3 => call("limit_cell", &[&key("cell")], &["5", "0.013", &now]),
            _ => call(
                "semaphore",
                &[&key("permits")],
                &[&request, "4", &now, "300"],
            ),
        }
    }

    fn queue(&mut self) -> Call {
        let now = self.now.to_string();
        let token = self.name("worker", 4);
        match self.rng.below(12) {
            0..=3 => {
                let data = format!("{{\"n\":{}}}", self.made);
                let delay = ["0", "0", "40", "500"][self.rng.below(4)];
                let priority = ["0", "0", "1", "20"][self.rng.below(4)];
                let order = *self.rng.pick(&["fifo", "lifo"]);
                call(
                    "queue_add",
                    &[
                        "q:wait",
                        "q:delayed",
                        "q:prio",
                        "q:id",
                        "q:events",
                        "q:counter",
                    ],
                    &["q", "work", &data, &now, delay, priority, order],
                )
            }
            4..=6 => {
                self.takes_for = Some(token.clone());
                call(
                    "queue_take",
                    &["q:wait", "q:active", "q:prio", "q:delayed", "q:events"],
                    &["q", &now, &token, "600000"],
                )
            }
            7 | 8 => self.finish(&now),
            9 => {
                let keys = ["q:active", "q:wait", "q:events"];
                call("queue_stalled", &keys, &["q", &now])
            }
            10 => call(
                "queue_counts",
                &[
                    "q:wait",
                    "q:active",
                    "q:prio",
                    "q:delayed",
                    "q:completed",
                    "q:none",
                    "q:events",
                ],
                &[],
            ),
            _ if self.rng.chance(10) => {
                call("queue_obliterate", &["q:wait", "q:prio"], &["q", "3"])
            }
            _ => self.finish(&now),
        }
    }

    /// Finishes a job that was taken, or one that was not.
    fn finish(&mut self, now: &str) -> Call {
        let (id, token) = match self.taken.is_empty() || self.rng.chance(5) {
            true => (self.rng.below(50).to_string(), "nobody".to_owned()),
            false => {
                let at = self.rng.below(self.taken.len());
                self.taken.swap_remove(at)
            }
        };
        let outcome = *self.rng.pick(&["completed", "failed"]);
        let keys = [
            "q:active",
            "q:completed",
            "q:failed",
            "q:delayed",
            "q:events",
        ];
        let args = ["q", &id, &token, now, "a result", outcome, "3", "100", "10"];
        call("queue_finish", &keys, &args)
    }

    fn list_queue(&mut self) -> Call {
        let at = (self.now + 100).to_string();
        let now = self.now.to_string();
        let keys = ["l", "l:reserved", "l:notify"];
        match self.rng.below(8) {
            0 | 1 => {
                let count = 1 + self.rng.below(5);
                let jobs: Vec<String> = (0..count)
                    .map(|i| format!("{{\"attempts\":{}}}", self.made * 1000 + i as u64 * 100))
                    .collect();
                let mut args = vec!["l"];
                args.extend(jobs.iter().map(|job| &**job));
                call("push_batch", &["l", "queues"], &args)
            }
            2 | 3 => {
                self.reserves = true;
                call("reserve", &keys, &[&at])
            }
            4 => call("migrate", &["l:reserved", "l", "l:notify"], &[&now, "-1"]),
            5 => call("migrate", &["l:delayed", "l", "l:notify"], &[&now, "150"]),
            6 => match self.reserved.pop() {
                Some(job) => call("release", &["l:delayed", "l:reserved"], &[&job, &at]),
                None => call("size", &["l", "l:delayed", "l:reserved"], &[]),
            },
            _ => call("zpop", &["l:delayed"], &[&now]),
        }
    }

    fn other(&mut self) -> Call {
        let now = self.now.to_string();
        let (one, two) = (self.name("account", 4), self.name("account", 4));
        let amount = (self.rng.below(50) as i64 - 5).to_string();
        let player = self.name("player", 8);
        let tag = self.rng.below(20).to_string();
        match self.rng.below(12) {
            0 | 1 => call("transfer", &[&one, &two], &[&amount]),
            2 => call(
                "audit",
                &["account:0", "account:1", "account:2", "account:3"],
                &[],
            ),
            3 => call("audit_any", &[], &["account:", "4"]),
            4 => call("checkout", &[&one, &two], &["1", "2"]),
            5 => call("session", &[&self.name("session", 2)], &[&player, "1000"]),
            6 => call("leaderboard", &["board", "names"], &[&player, &amount]),
            7 => call("dedupe", &["seen"], &[&player, &tag, &one, &tag]),
            8 => call("deliver", &["u", "u:index", "l"], &[&tag, &now]),
            9 => call("acknowledge", &["u", "u:index"], &[&tag]),
            10 => {
                let before = (self.now - 100).to_string();
                call("restore", &["u", "u:index", "l"], &[&before])
            }
            // What is too little, or of the wrong type.
            _ => match self.rng.below(3) {
                0 => call("transfer", &["board", &one], &[&amount]),
                1 => call("limit_bucket", &["tokens:9"], &["1", "2", "3", "4"]),
                _ => call("session", &["seen"], &["1", "2"]),
            },
        }
    }

    fn function(&mut self) -> Vec<String> {
        let (one, two) = (self.name("account", 4), self.name("account", 4));
        let list = self.name("capped", 2);
        let words: Vec<&str> = match self.rng.below(7) {
            0 => vec!["FCALL", "hset", "1", "names", &one, &two],
            1 => vec!["FCALL", "push_capped", "1", &list, &one, &two, "x"],
            2 => vec!["FCALL", "transfer", "2", &one, &two, "3"],
            3 => vec!["FCALL_RO", "sizes", "4", &list, "board", "seen", "none"],
            4 => vec!["FCALL", "sizes", "3", "names", "q:wait", "q:events"],
            5 => vec!["FCALL_RO", "hset", "1", "names", "a", "b"],
            _ => vec!["FCALL", "ticket", "0"],
        };
        words.into_iter().map(str::to_owned).collect()
    }
}
