//! Transcripts of a real server, replayed: a line is a request, how far it moved keyspace_hits,
//! keyspace_misses and rdb_changes_since_last_save, and its reply, with tabs between; two replies are
//! those in RESP2 and in RESP3, four those of all variants. `## ` begins a part on an empty keyspace.
//! A NUL is written `\0`.

use super::Test;

/// A transcript.
pub(crate) struct Transcript<'t> {
    /// Its lines.
    pub text: &'t str,
    /// Ways to replay it, the odd ones in RESP3.
    pub variants: usize,
    /// It has at least so many requests, counted in all variants.
    pub least: usize,
}

impl Transcript<'_> {
    /// Asserts that everything is as it was recorded, on the servers that `start` gives for each part of
    /// each variant, with requests and replies as `fill` makes them of what was recorded.
    #[track_caller]
    pub(crate) fn replay(&self, start: impl Fn(usize) -> Test, fill: impl Fn(&str) -> String) {
        let (mut requests, mut faults) = (0, String::new());
        for variant in 0..self.variants {
            let mut t = Test::new();
            for line in self.text.lines() {
                if line.starts_with("## ") {
                    t = start(variant);
                    t.run(["HELLO 2", "HELLO 3"][variant % 2]);
                    continue;
                }
                let mut fields = line.split('\t');
                let mut field = || fields.next().expect("three fields");
                let (request, moved) = (fill(field()), field());
                let replies: Vec<&str> = fields.collect();
                let reply = fill(replies[variant % replies.len()]);
                requests += 1;
                let before = t.counts();
                let answer = t.run(&request.replace("\\0", "\\x00")).text();
                let answer = answer.replace('\0', "\\0");
                let after = t.counts();
                let counts = (0..3).map(|i| (after[i] - before[i]).to_string());
                let counts = counts.collect::<Vec<_>>().join(" ");
                if answer != reply || counts != moved {
                    faults += &format!("{request}\n  {moved} {reply}\n  {counts} {answer}\n");
                }
            }
        }
        assert!(requests > self.least, "{requests}");
        assert!(faults.is_empty(), "recorded, then Kivi's:\n{faults}");
    }
}
