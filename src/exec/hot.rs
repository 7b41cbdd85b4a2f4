//! What a command cost its keys, for a session of HOTKEYS.
//!
//! A command's time is that of INFO commandstats; its bytes are those of its request, as a client sends it in
//! the protocol, and of its reply. Both are divided equally between its keys. A transaction's commands count,
//! not its EXEC; of a script counts the call, with the keys that it declares, not what it calls; of a command
//! that blocks counts its being served.

use smallvec::SmallVec;

use crate::commands::Registered;
use crate::resp::parse::Argv;
use crate::spec::{Flags, keys};
use crate::stats::hot::Cost;

use super::{Exec, Moment};

impl Exec {
    /// Whether a session is going on.
    #[inline]
    pub(super) fn counts_hot(&self, moment: &Moment) -> bool {
        self.server.stats.hot.is_active(moment.now_ms)
    }

    /// Counts a command that has taken so many ticks, and bytes of the network.
    pub(super) fn count_hot(
        &self,
        moment: &Moment,
        command: &Registered,
        argv: Argv<'_>,
        (ticks, bytes): (u64, u64),
    ) {
        if command.row.flags.has(Flags::RUNS_QUEUE) {
            return;
        }
        let keys = || {
            let mut keys: SmallVec<[(&[u8], u64); 8]> = SmallVec::new();
            let _ = keys::for_each_key(command.row.keys, argv, |at, spec| {
                if spec.is_key()
                    && let Some(key) = argv.get(at)
                {
                    keys.push((key, self.server.keyspace.hash(key)));
                }
            });
            keys.into_iter()
        };
        let cost = Cost { ticks, bytes };
        let stats = &self.server.stats;
        stats.count_hot(&self.worker, moment.now_ms, cost, keys);
    }
}

/// Bytes of a request in the protocol.
pub(super) fn request_bytes(argv: Argv<'_>) -> usize {
    let line = |number: usize| 4 + number.checked_ilog10().unwrap_or(0) as usize;
    let args = argv.iter().map(|arg| line(arg.len()) + arg.len() + 2);
    line(argv.len()) + args.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::Span;

    #[test]
    fn a_request_has_the_length_that_it_has_in_the_protocol() {
        let arg = "a".repeat(1000);
        let words = ["SET", "", "k", "0123456789", &arg];
        let (mut bytes, mut spans, mut wire) = (String::new(), Vec::new(), "*5\r\n".to_string());
        for word in words {
            let (start, len) = (bytes.len() as u32, word.len() as u32);
            spans.push(Span { start, len });
            bytes.push_str(word);
            wire.push_str(&format!("${len}\r\n{word}\r\n"));
        }
        let argv = Argv::new(bytes.as_bytes(), &spans);
        assert_eq!(request_bytes(argv), wire.len());
    }
}
