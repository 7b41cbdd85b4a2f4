//! The argument cursor that every handler reads its request through.
//!
//! The number grammar is `util::num`'s, Redis's own: no spaces, no plus, no leading zeros.

use crate::resp::parse::Argv;
use crate::util::num;

use super::CmdError;

/// The arguments of one request, name(s) included, with a position.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    argv: Argv<'a>,
    pos: usize,
}

impl<'a> Args<'a> {
    /// A cursor that stands behind the name(s): `skip` is 1, or 2 for a subcommand.
    #[inline]
    pub fn new(argv: Argv<'a>, skip: usize) -> Args<'a> {
        Args { argv, pos: skip }
    }

    /// The whole request, name included.
    pub fn argv(&self) -> Argv<'a> {
        self.argv
    }

    /// Arguments not yet read.
    #[inline]
    pub fn rest(&self) -> Argv<'a> {
        self.argv.from(self.pos)
    }

    /// How many arguments are not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.argv.len() - self.pos
    }

    /// True when all arguments are read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pos == self.argv.len()
    }

    /// The next argument, not consumed.
    #[inline]
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.argv.get(self.pos)
    }

    /// The next argument; a syntax error when there is none.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], CmdError> {
        let arg = self.argv.get(self.pos).ok_or(CmdError::Syntax)?;
        self.pos += 1;
        Ok(arg)
    }

    /// The next `count` arguments; a syntax error when there are fewer.
    pub fn many(&mut self, count: usize) -> Result<Argv<'a>, CmdError> {
        let rest = self.rest();
        let spans = rest.spans().get(..count).ok_or(CmdError::Syntax)?;
        self.pos += count;
        Ok(Argv::new(rest.bytes(), spans))
    }

    /// The next argument as an option word; `None` at the end. Compare with `eq_ignore_ascii_case`.
    #[inline]
    pub fn option(&mut self) -> Option<&'a [u8]> {
        let arg = self.argv.get(self.pos)?;
        self.pos += 1;
        Some(arg)
    }

    /// Consumes the next argument when it is `word` in any case.
    #[inline]
    pub fn take(&mut self, word: &str) -> bool {
        let hit = self
            .peek()
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        self.pos += hit as usize;
        hit
    }

    /// The next argument as a signed 64-bit integer.
    #[inline]
    pub fn int(&mut self) -> Result<i64, CmdError> {
        num::parse_i64(self.bytes()?).ok_or(CmdError::NotInteger)
    }

    /// The next argument as an integer of `min..=max`; outside of it the error is `otherwise`.
    pub fn int_in(&mut self, min: i64, max: i64, otherwise: CmdError) -> Result<i64, CmdError> {
        let value = self.int()?;
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(otherwise)
        }
    }

    /// A syntax error unless all arguments are read.
    pub fn finish(&self) -> Result<(), CmdError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(CmdError::Syntax)
        }
    }
}

/// What C's string functions see of an argument: nothing from a NUL on. Redis compares its option
/// words so and repeats them so in errors.
pub fn c_str(arg: &[u8]) -> &[u8] {
    match memchr::memchr(0, arg) {
        Some(end) => &arg[..end],
        None => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::Span;

    fn spans(words: &[&str]) -> (Vec<u8>, Vec<Span>) {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for word in words {
            spans.push(Span {
                start: bytes.len() as u32,
                len: word.len() as u32,
            });
            bytes.extend_from_slice(word.as_bytes());
        }
        (bytes, spans)
    }

    #[test]
    fn reads_in_order_and_rejects_leftovers() {
        let (bytes, spans) = spans(&["set", "k", "12", "nx"]);
        let mut args = Args::new(Argv::new(&bytes, &spans), 1);
        assert_eq!(args.bytes(), Ok(&b"k"[..]));
        assert_eq!(args.int(), Ok(12));
        assert_eq!(args.finish(), Err(CmdError::Syntax));
        assert!(!args.take("XX"));
        assert!(args.take("NX"));
        assert_eq!(args.finish(), Ok(()));
        assert_eq!(args.bytes(), Err(CmdError::Syntax));
    }

    #[test]
    fn several_are_read_at_once_or_not_at_all() {
        let (bytes, spans) = spans(&["mset", "a", "1", "b", "2"]);
        let mut args = Args::new(Argv::new(&bytes, &spans), 1);
        assert!(args.many(5).is_err());
        let pairs = args.many(3).unwrap();
        assert!(pairs.iter().eq([&b"a"[..], b"1", b"b"]));
        assert_eq!(args.bytes(), Ok(&b"2"[..]));
        assert!(args.many(0).unwrap().is_empty());
    }

    #[test]
    fn numbers_are_checked() {
        let (bytes, spans) = spans(&["x", "1.5", "7"]);
        let mut args = Args::new(Argv::new(&bytes, &spans), 1);
        assert_eq!(args.int(), Err(CmdError::NotInteger));
        assert_eq!(
            args.int_in(0, 5, CmdError::OffsetOutOfRange),
            Err(CmdError::OffsetOutOfRange)
        );
    }
}
