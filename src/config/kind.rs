//! What a directive's value may be: parsing, checking and showing it.

use std::path::PathBuf;

/// A checked value of a directive.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// yes or no.
    Bool(bool),
    /// A number or a memory size in bytes.
    Int(i64),
    /// One word of a fixed set, spelled as CONFIG GET shows it.
    Word(&'static str),
    /// Free text, as bytes.
    Text(Vec<u8>),
    /// Several words.
    Words(Vec<Vec<u8>>),
    /// Output buffer limits.
    Limits(OutputLimits),
}

/// One address of `bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAddress {
    /// A host name or address without the `-`; `*` is every IPv4 address, `::*` every IPv6 one.
    pub address: String,
    /// Written with a leading `-`: an address that is not there is no error.
    pub optional: bool,
}

/// Limits of one client class; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Close at once above this many bytes.
    pub hard_bytes: u64,
    /// Close when above this many bytes for `soft_secs`.
    pub soft_bytes: u64,
    /// Seconds that a client may stay above the soft limit.
    pub soft_secs: u64,
}

/// `client-output-buffer-limit`: one limit per client class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with subscriptions.
    pub pubsub: OutputLimit,
}

/// Conversion of a checked value into the type of a `Config` field.
pub(super) trait FromValue {
    fn from_value(value: &Value) -> Self;
}

macro_rules! from_int {
    ($($ty:ty),*) => {$(
        impl FromValue for $ty {
            fn from_value(value: &Value) -> Self {
                match value {
                    Value::Int(n) => <$ty>::try_from(*n).unwrap_or_default(),
                    _ => unreachable!("a number"),
                }
            }
        }
    )*};
}
from_int!(u16, u32, u64, usize);

impl FromValue for bool {
    fn from_value(value: &Value) -> Self {
        matches!(value, Value::Bool(true))
    }
}

fn text(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) => text,
        _ => unreachable!("a text"),
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Self {
        text(value).to_vec()
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Self {
        String::from_utf8_lossy(text(value)).into_owned()
    }
}

impl FromValue for Option<String> {
    fn from_value(value: &Value) -> Self {
        let text = String::from_value(value);
        (!text.is_empty()).then_some(text)
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Self {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(text(value).to_vec()).into()
    }
}

impl FromValue for Option<PathBuf> {
    fn from_value(value: &Value) -> Self {
        (!text(value).is_empty()).then(|| PathBuf::from_value(value))
    }
}

fn words(value: &Value) -> &[Vec<u8>] {
    match value {
        Value::Words(words) => words,
        _ => unreachable!("words"),
    }
}

impl FromValue for Vec<BindAddress> {
    fn from_value(value: &Value) -> Self {
        let address = |word: &Vec<u8>| {
            let word = String::from_utf8_lossy(word);
            let (optional, address) = match word.strip_prefix('-') {
                Some(address) => (true, address),
                None => (false, &*word),
            };
            BindAddress {
                address: address.to_owned(),
                optional,
            }
        };
        words(value)
            .iter()
            .filter(|word| !word.is_empty())
            .map(address)
            .collect()
    }
}

impl FromValue for Vec<f64> {
    fn from_value(value: &Value) -> Self {
        let number = |word: &Vec<u8>| std::str::from_utf8(word).ok()?.parse().ok();
        words(value).iter().filter_map(number).collect()
    }
}

impl FromValue for Vec<(Vec<u8>, Vec<u8>)> {
    fn from_value(value: &Value) -> Self {
        words(value)
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
    }
}

impl FromValue for OutputLimits {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Limits(limits) => *limits,
            _ => unreachable!("output limits"),
        }
    }
}
