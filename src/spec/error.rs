//! Errors that a client sees. The text of each is Redis's, byte for byte, and stands here and nowhere else.

use std::borrow::Cow;
use std::fmt;

/// An error reply; [`CmdError::reply`] gives its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmdError {
    /// The key holds another type.
    WrongType,
    /// Options that do not go together or are unknown.
    Syntax,
    /// Not an integer, or out of the 64-bit range.
    NotInteger,
    /// Not a float.
    NotFloat,
    /// An increment that would leave the 64-bit range.
    IncrOverflow,
    /// A decrement that would leave the 64-bit range.
    DecrOverflow,
    /// An increment whose result is NaN or infinite.
    IncrNanOrInfinity,
    /// The key does not exist (RENAME, OBJECT, LSET).
    NoSuchKey,
    /// A database index past the configured number.
    DbIndexOutOfRange,
    /// A cursor that is no number.
    InvalidCursor,
    /// Source and destination are one and the same.
    SameObject,
    /// A value past proto-max-bulk-len.
    StringTooLong,
    /// An offset that is out of range.
    OffsetOutOfRange,
    /// Expiry that is negative, zero or overflows; the command's name follows.
    InvalidExpire(Cow<'static, str>),
    /// Wrong number of arguments, with the full name (`client|kill`).
    WrongArity(Cow<'static, str>),
    /// Not authenticated.
    NoAuth,
    /// The dataset is being loaded.
    Loading,
    /// Any other text, whole, code first.
    Text(Cow<'static, [u8]>),
}

impl CmdError {
    /// An error of a fixed text, code first (`"ERR ..."`).
    pub const fn text(text: &'static str) -> CmdError {
        CmdError::Text(Cow::Borrowed(text.as_bytes()))
    }

    /// An error of a composed text, code first.
    pub fn owned(text: impl Into<Vec<u8>>) -> CmdError {
        CmdError::Text(Cow::Owned(text.into()))
    }
}

impl CmdError {
    /// The whole text, code first, without the leading `-`. Bytes, since it may repeat what a client sent.
    pub fn reply(&self) -> Cow<'_, [u8]> {
        let text = match self {
            CmdError::WrongType => {
                "WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            CmdError::Syntax => "ERR syntax error",
            CmdError::NotInteger => "ERR value is not an integer or out of range",
            CmdError::NotFloat => "ERR value is not a valid float",
            CmdError::IncrOverflow => "ERR increment or decrement would overflow",
            CmdError::DecrOverflow => "ERR decrement would overflow",
            CmdError::IncrNanOrInfinity => "ERR increment would produce NaN or Infinity",
            CmdError::NoSuchKey => "ERR no such key",
            CmdError::DbIndexOutOfRange => "ERR DB index is out of range",
            CmdError::InvalidCursor => "ERR invalid cursor",
            CmdError::SameObject => "ERR source and destination objects are the same",
            CmdError::StringTooLong => {
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
            }
            CmdError::OffsetOutOfRange => "ERR offset is out of range",
            CmdError::InvalidExpire(command) => {
                return format!("ERR invalid expire time in '{command}' command")
                    .into_bytes()
                    .into();
            }
            CmdError::WrongArity(name) => {
                return format!("ERR wrong number of arguments for '{name}' command")
                    .into_bytes()
                    .into();
            }
            CmdError::NoAuth => "NOAUTH Authentication required.",
            CmdError::Loading => "LOADING Redis is loading the dataset in memory",
            CmdError::Text(text) => return Cow::Borrowed(text),
        };
        Cow::Borrowed(text.as_bytes())
    }
}

impl fmt::Display for CmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.reply()))
    }
}

impl std::error::Error for CmdError {}
