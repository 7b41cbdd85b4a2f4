//! The `.toml` front end: the same names and values as redis.conf, in TOML.
//!
//! Keys stand at the top level. A string, number or boolean is one argument (`true` is `yes`).
//! An array gives several arguments (`bind = ["127.0.0.1", "-::1"]`); for a directive that may be
//! repeated it gives several lines, each a string that is split like a line of redis.conf, or an
//! array of arguments (`save = ["900 1", "300 10"]`, `rename-command = [["CONFIG", ""]]`).
//!
//! An entry keeps the span of its text, so that CONFIG REWRITE replaces exactly that.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::grammar::split_args;
use super::kind::{Kind, Value};
use super::table::find;

/// The arguments of the lines that one entry stands for.
type Lines = Vec<Vec<Vec<u8>>>;

/// One key with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) lines: Lines,
    /// Where the key starts and the value ends, in bytes.
    pub(super) span: Range<usize>,
    /// The value alone.
    pub(super) value_span: Range<usize>,
}

/// What is wrong with a file, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) reason: String,
}

/// The entries of a file in the order they stand in it.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, Wrong> {
    let table = DeTable::parse(text).map_err(|error| Wrong {
        at: error.span().map_or(0, |span| span.start),
        reason: error.message().replace('\n', " "),
    })?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        let name = key.get_ref().to_string();
        let lines = lines(&name, value)?;
        let (start, value_span) = (key.span().start, value.span());
        entries.push(Entry {
            key: name,
            lines,
            span: start..value_span.end,
            value_span,
        });
    }
    entries.sort_by_key(|entry| entry.span.start);
    Ok(entries)
}

fn lines(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Lines, Wrong> {
    let kind = find(name.as_bytes()).map(|directive| directive.kind);
    let repeats = kind.is_some_and(Kind::repeats);
    match value.get_ref() {
        DeValue::Array(array) if kind == Some(Kind::Include) => {
            array.iter().map(|path| Ok(vec![scalar(path)?])).collect()
        }
        DeValue::Array(array) if repeats && !all_numbers(array) => array.iter().map(line).collect(),
        DeValue::Array(array) => Ok(vec![array.iter().map(scalar).collect::<Result<_, _>>()?]),
        DeValue::String(_) if matches!(kind, Some(Kind::RenameCommand | Kind::Lines)) => {
            Ok(vec![line(value)?])
        }
        _ => Ok(vec![vec![scalar(value)?]]),
    }
}

fn all_numbers(array: &DeArray<'_>) -> bool {
    !array.is_empty() && array.iter().all(|value| value.get_ref().is_integer())
}

fn line(value: &Spanned<DeValue<'_>>) -> Result<Vec<Vec<u8>>, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => match split_args(text.as_bytes()) {
            Some(args) if args.is_empty() => Ok(vec![Vec::new()]),
            Some(args) => Ok(args),
            None => Err(wrong(value, "unbalanced quotes")),
        },
        DeValue::Array(array) => array.iter().map(scalar).collect(),
        _ => Err(wrong(value, "expected a string or an array of arguments")),
    }
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Result<Vec<u8>, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.as_bytes().to_vec()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            match i128::from_str_radix(&digits, number.radix()) {
                Ok(number) => Ok(number.to_string().into_bytes()),
                Err(_) => Err(wrong(value, "number out of range")),
            }
        }
        DeValue::Float(number) => Ok(number.as_str().as_bytes().to_vec()),
        DeValue::Boolean(true) => Ok(b"yes".to_vec()),
        DeValue::Boolean(false) => Ok(b"no".to_vec()),
        DeValue::Datetime(_) => Err(wrong(value, "a date has no meaning here")),
        DeValue::Table(_) => Err(wrong(
            value,
            "directives stand at the top level, not in tables",
        )),
        DeValue::Array(_) => Err(wrong(value, "an array has no meaning here")),
    }
}

fn wrong(value: &Spanned<DeValue<'_>>, reason: &str) -> Wrong {
    Wrong {
        at: value.span().start,
        reason: reason.to_owned(),
    }
}

/// The TOML text of a value, which [`entries`] reads back; `None`: it holds bytes that are not
/// UTF-8, which TOML cannot.
pub(super) fn value_text(kind: Kind, value: &Value) -> Option<String> {
    let lines = kind.lines(value);
    let arg = |arg: &Vec<u8>| Some(toml::Value::from(std::str::from_utf8(arg).ok()?));
    let value = match value {
        Value::Bool(flag) => toml::Value::from(*flag),
        Value::Int(number) if !matches!(kind, Kind::Octal { .. }) && *number >= 0 => {
            match i64::try_from(*number) {
                Ok(number) => toml::Value::from(number),
                Err(_) => toml::Value::from(number.to_string()),
            }
        }
        _ if lines.iter().all(|args| args.len() == 1) && lines.len() == 1 => arg(&lines[0][0])?,
        _ if lines.len() == 1 && !kind.repeats() => {
            lines[0].iter().map(arg).collect::<Option<Vec<_>>>()?.into()
        }
        _ => {
            let line = |args: &Vec<Vec<u8>>| {
                Some(toml::Value::from(
                    args.iter().map(arg).collect::<Option<Vec<_>>>()?,
                ))
            };
            lines.iter().map(line).collect::<Option<Vec<_>>>()?.into()
        }
    };
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<(String, Vec<Vec<String>>)> {
        let text_of = |arg: Vec<u8>| String::from_utf8(arg).unwrap();
        let line = |args: Vec<Vec<u8>>| args.into_iter().map(text_of).collect();
        let entries = entries(text).unwrap().into_iter();
        entries
            .map(|e| (e.key, e.lines.into_iter().map(line).collect()))
            .collect()
    }

    #[test]
    fn values_become_arguments() {
        let text = r#"
            port = 7_000
            unixsocketperm = "700"   # a comment
            daemonize = false
            bind = ["127.0.0.1", "-::1"]
            save = ["900 1", "300 10"]
            rename-command = [["CONFIG", ""], "FLUSHALL 'x y'"]
            user = "alice on"
            requirepass = "a \"b\" c"
            latency-tracking-info-percentiles = [50, 99.9]
            include = ["a.conf", "b c.toml"]
            client-output-buffer-limit = "normal 0 0 0"
        "#;
        let expected: &[(&str, &[&[&str]])] = &[
            ("port", &[&["7000"]]),
            ("unixsocketperm", &[&["700"]]),
            ("daemonize", &[&["no"]]),
            ("bind", &[&["127.0.0.1", "-::1"]]),
            ("save", &[&["900", "1"], &["300", "10"]]),
            ("rename-command", &[&["CONFIG", ""], &["FLUSHALL", "x y"]]),
            ("user", &[&["alice", "on"]]),
            ("requirepass", &[&["a \"b\" c"]]),
            ("latency-tracking-info-percentiles", &[&["50", "99.9"]]),
            ("include", &[&["a.conf"], &["b c.toml"]]),
            ("client-output-buffer-limit", &[&["normal 0 0 0"]]),
        ];
        let found = args(text);
        assert_eq!(found.len(), expected.len());
        for ((key, lines), (name, wanted)) in found.iter().zip(expected) {
            assert_eq!(
                (key.as_str(), lines.as_slice()),
                (
                    *name,
                    &wanted
                        .iter()
                        .map(|line| { line.iter().map(|arg| arg.to_string()).collect::<Vec<_>>() })
                        .collect::<Vec<_>>()[..]
                )
            );
        }
        assert_eq!(args("save = [900, 1]")[0].1, [["900", "1"]]);
        assert_eq!(args("save = \"\"")[0].1, [[""]]);
        assert_eq!(args("save = [\"\"]")[0].1, [[""]]);
    }

    #[test]
    fn wrong_files_say_where() {
        for (text, at) in [
            ("port = ", 7),
            ("a = 1\n[x]\ny = 1", 6),
            ("a = 1979-05-27", 4),
        ] {
            assert_eq!(entries(text).unwrap_err().at, at, "{text}");
        }
        assert!(entries("port = [[1]]").is_err());
        assert!(entries("port = 1\nport = 2").is_err());
    }
}
