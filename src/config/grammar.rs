//! The grammar of redis.conf: lines, arguments, quotes; and its inverse, for CONFIG REWRITE.
//!
//! A line is blank, a comment (`#` first), or a name and arguments separated by blanks. An
//! argument may be quoted: `"..."` knows `\n \r \t \b \a \xHH` and takes any other byte after a
//! `\` as itself; `'...'` knows only `\'`. A closing quote must be followed by a blank or the end.
//! Everything is bytes: a file may hold comments in any encoding and passwords of any kind.
//!
//! Invariant: `split_args(join_args(args)) == args`.

use super::special::os_text;
use std::path::{Component, Path, PathBuf};

/// Splits a line into its arguments; `None`: a quote is not closed, or not followed by a blank.
pub(super) fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut args = Vec::new();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|b| is_blank(**b)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(args);
        }
        let (arg, tail) = one_arg(rest)?;
        args.push(arg);
        rest = tail;
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The argument at the start of `rest`, and what follows it. As in Redis, a quote may open in
/// the middle of an argument, and always ends it when it closes.
fn one_arg(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut arg = Vec::new();
    loop {
        let Some((first, tail)) = rest.split_first() else {
            return Some((arg, rest));
        };
        match first {
            b'"' => return quoted(tail, arg, double_quoted_byte),
            b'\'' => return quoted(tail, arg, single_quoted_byte),
            blank if is_blank(*blank) => return Some((arg, rest)),
            byte => arg.push(*byte),
        }
        rest = tail;
    }
}

/// One byte of a quoted argument: what it stands for (`None`: the closing quote) and the rest.
type QuotedByte = fn(&[u8]) -> Option<(Option<u8>, &[u8])>;

fn quoted(mut rest: &[u8], mut arg: Vec<u8>, next: QuotedByte) -> Option<(Vec<u8>, &[u8])> {
    loop {
        let (byte, tail) = next(rest)?;
        rest = tail;
        match byte {
            Some(byte) => arg.push(byte),
            None if rest.first().is_none_or(|b| is_blank(*b)) => return Some((arg, rest)),
            None => return None,
        }
    }
}

fn double_quoted_byte(rest: &[u8]) -> Option<(Option<u8>, &[u8])> {
    match rest {
        [b'"', tail @ ..] => Some((None, tail)),
        [b'\\', b'x', high, low, tail @ ..]
            if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
        {
            let digit = |b: u8| (b as char).to_digit(16).unwrap_or_default() as u8;
            Some((Some(digit(*high) << 4 | digit(*low)), tail))
        }
        [b'\\', escaped, tail @ ..] => {
            let byte = match escaped {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => *other,
            };
            Some((Some(byte), tail))
        }
        [byte, tail @ ..] => Some((Some(*byte), tail)),
        [] => None,
    }
}

fn single_quoted_byte(rest: &[u8]) -> Option<(Option<u8>, &[u8])> {
    match rest {
        [b'\'', tail @ ..] => Some((None, tail)),
        [b'\\', b'\'', tail @ ..] => Some((Some(b'\''), tail)),
        [byte, tail @ ..] => Some((Some(*byte), tail)),
        [] => None,
    }
}

/// Writes arguments so that [`split_args`] reads them back, quoting those that need it.
pub(super) fn join_args<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        if !line.is_empty() {
            line.push(b' ');
        }
        let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'\\".contains(b);
        if !arg.is_empty() && arg.iter().all(plain) && arg[0] != b'#' {
            line.extend_from_slice(arg);
        } else {
            quote(arg, &mut line);
        }
    }
    line
}

fn quote(arg: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in arg {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            b' '..=b'~' => line.push(*byte),
            _ => line.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    line.push(b'"');
}

/// Whether `text` matches the glob `pattern`: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Both as they are;
/// lower them first to ignore case. Linear in `text` for every `*`, never exponential.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the latest `*` when what follows it does not fit.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        let matched = text.get(t).and_then(|byte| glob_byte(&pattern[p..], *byte));
        match (matched, &mut retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after_star, from))) if *from < text.len() => {
                *from += 1;
                (p, t) = (*after_star, *from);
            }
            _ => return false,
        }
    }
}

/// How many bytes of `pattern` (no `*`) match `byte`, if they do.
fn glob_byte(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', class @ ..] => {
            let negated = class.first() == Some(&b'^');
            let mut at = usize::from(negated);
            let mut found = false;
            while let Some(low) = class.get(at).filter(|b| **b != b']') {
                if let (b'\\', Some(escaped)) = (low, class.get(at + 1)) {
                    found |= *escaped == byte;
                    at += 2;
                } else if let (Some(b'-'), Some(high)) = (class.get(at + 1), class.get(at + 2)) {
                    found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                    at += 3;
                } else {
                    found |= *low == byte;
                    at += 1;
                }
            }
            let used = (1 + at + 1).min(pattern.len());
            (found != negated).then_some(used)
        }
        [first, ..] => (*first == byte).then_some(1),
    }
}

/// Whether a name asks for a pattern at all.
pub(super) fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|b| b"*?[".contains(b))
}

/// The files that the path of an `include` names, sorted; a path without a pattern names itself.
pub(super) fn include_paths(path: &Path) -> Result<Vec<PathBuf>, String> {
    use std::os::unix::ffi::OsStrExt;
    if !is_glob(path.as_os_str().as_bytes()) {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        let name = component.as_os_str();
        if !matches!(component, Component::Normal(_)) || !is_glob(name.as_bytes()) {
            found.iter_mut().for_each(|path| path.push(component));
            found.retain(|path| path.exists());
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let entries = match folder.read_dir() {
                Ok(entries) => entries,
                Err(error) if folder.is_dir() => return Err(os_text(&error)),
                Err(_) => continue,
            };
            for entry in entries {
                let entry = entry.map_err(|error| os_text(&error))?.file_name();
                let hidden =
                    entry.as_bytes().starts_with(b".") && !name.as_bytes().starts_with(b".");
                if !hidden && glob(name.as_bytes(), entry.as_bytes()) {
                    next.push(folder.join(entry));
                }
            }
        }
        found = next;
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<String>> {
        let text = |arg: Vec<u8>| String::from_utf8(arg).unwrap();
        Some(split_args(line.as_bytes())?.into_iter().map(text).collect())
    }

    #[test]
    fn lines_split_as_in_redis() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  a \t b  ", &["a", "b"]),
            (r#"save """#, &["save", ""]),
            (r#"x "a b" 'c d'"#, &["x", "a b", "c d"]),
            (r#""\n\r\t\x41\"\\\q""#, &["\n\r\tA\"\\q"]),
            (r"'\n\'x'", &[r"\n'x"]),
            (r#"a"b c""#, &["ab c"]),
            (r"a\b", &[r"a\b"]),
            (r#""\xZZ""#, &["xZZ"]),
        ];
        for (line, args) in cases {
            assert_eq!(split(line).unwrap(), *args, "{line}");
        }
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\", "x \"", "a\"b"] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_joined_splits_back() {
        let all: Vec<u8> = (0..=255).collect();
        let cases: &[&[&[u8]]] = &[
            &[b"requirepass", b"a b\"c\nd"],
            &[b"x", b"", b"#y", b"'", b"\\", b"\\x41"],
            &[b"x", &all],
        ];
        for args in cases {
            let line = join_args(args.iter().copied());
            assert!(!line.contains(&b'\n') && !line.contains(&0));
            assert_eq!(split_args(&line).unwrap(), *args);
        }
        assert_eq!(join_args([&b"port"[..], b"1"]), b"port 1");
    }

    #[test]
    fn globs() {
        let yes = [
            ("*", ""),
            ("*", "port"),
            ("p*t", "port"),
            ("p?rt", "port"),
            ("p[a-o]rt", "port"),
            ("p[^a]rt", "port"),
            ("*-*-*", "a-b-c"),
            (r"\*", "*"),
            ("[o-a]", "c"),
            ("[abc", "b"),
            ("a*b*c", "axxbyyc"),
            ("**", "x"),
        ];
        for (pattern, text) in yes {
            assert!(
                glob(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        let no = [
            ("", "a"),
            ("p?rt", "prt"),
            ("p[^o]rt", "port"),
            ("a*b", "ac"),
            ("port", "ports"),
            ("?", ""),
            ("[", "x"),
            ("*x", ""),
        ];
        for (pattern, text) in no {
            assert!(
                !glob(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        let (pattern, text) = ("*a".repeat(200), "a".repeat(3000) + "b");
        assert!(!glob(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn includes_expand_sorted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".c.conf", "d.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = include_paths(&folder.path().join("*.conf")).unwrap();
        let expected = ["a.conf", "b.conf"].map(|name| folder.path().join(name));
        assert_eq!(found, expected);
        assert_eq!(
            include_paths(Path::new("/nonexistent/*/x.conf")).unwrap(),
            [""; 0].map(PathBuf::from)
        );
        assert_eq!(
            include_paths(Path::new("/x")).unwrap(),
            [PathBuf::from("/x")]
        );
    }
}
