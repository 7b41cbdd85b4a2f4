//! Counts the replies in a stream of RESP2 bytes without building them.
//!
//! A load run reads gigabytes of replies and needs to know of them only that they are all there and
//! that none is an error. Bytes come in pieces of any size; the scanner keeps what it must across
//! pieces (an unfinished line, the bytes of a string still to skip), never a whole reply.

use anyhow::{Context, Result, bail};

/// The state of one connection's stream.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Replies seen to their end.
    pub(crate) complete: u64,
    /// Replies among them that are nil or an empty array: a lookup that found nothing.
    pub(crate) empty: u64,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Bytes of a string, with its CR LF, that are still to come.
    skip: usize,
    /// Values that the current reply still lacks; 0 between replies.
    missing: u64,
}

impl Scanner {
    /// Takes the next bytes of the stream; an error reply is an error.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.feed_until(bytes, u64::MAX).map(|_| ())
    }

    /// The same until `replies` replies are complete; how many bytes it took for that.
    pub(crate) fn feed_until(&mut self, bytes: &[u8], replies: u64) -> Result<usize> {
        let mut at = 0;
        while self.complete < replies {
            if self.skip > 0 {
                let now = self.skip.min(bytes.len() - at);
                self.skip -= now;
                at += now;
                if self.skip > 0 {
                    break;
                }
                self.value_ends();
                continue;
            }
            let unread = &bytes[at..];
            let Some(end) = unread.iter().position(|&b| b == b'\n') else {
                self.partial.extend_from_slice(unread);
                at = bytes.len();
                break;
            };
            at += end + 1;
            if self.partial.is_empty() {
                self.line(&unread[..end])?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(&unread[..end]);
                self.line(&whole)?;
            }
        }
        Ok(at)
    }

    /// Whether the stream stands between two replies.
    pub(crate) fn at_rest(&self) -> bool {
        self.missing == 0 && self.skip == 0 && self.partial.is_empty()
    }

    /// A line without its LF.
    fn line(&mut self, line: &[u8]) -> Result<()> {
        let (&kind, rest) = line.split_first().context("an empty reply line")?;
        let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
        let outermost = self.missing == 0;
        if outermost {
            self.missing = 1;
        }
        match kind {
            b'+' | b':' => self.value_ends(),
            b'-' => {
                // Some repeat the arguments at length.
                let text = &rest[..rest.len().min(60)];
                bail!("error reply: {}", String::from_utf8_lossy(text))
            }
            b'$' => match count(rest)? {
                Some(length) => self.skip = length + 2,
                None => {
                    self.empty += u64::from(outermost);
                    self.value_ends();
                }
            },
            b'*' => {
                let values = count(rest)?.unwrap_or(0);
                self.empty += u64::from(outermost && values == 0);
                self.missing += values as u64;
                self.value_ends();
            }
            _ => bail!("not a RESP2 reply: {}", line.escape_ascii()),
        }
        Ok(())
    }

    fn value_ends(&mut self) {
        self.missing -= 1;
        self.complete += u64::from(self.missing == 0);
    }
}

/// The number behind `$` or `*`; `None` for -1.
fn count(digits: &[u8]) -> Result<Option<usize>> {
    if digits == b"-1" {
        return Ok(None);
    }
    let mut value = 0usize;
    for &digit in digits {
        let digit = usize::from(digit.wrapping_sub(b'0'));
        let next = value.checked_mul(10).and_then(|v| v.checked_add(digit));
        match next {
            Some(next) if digit < 10 => value = next,
            _ => bail!("not a length: {}", digits.escape_ascii()),
        }
    }
    Ok(Some(value))
}
