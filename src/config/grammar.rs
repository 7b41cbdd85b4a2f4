//! Lines of redis.conf: split into arguments, joined again for CONFIG REWRITE, and the files that
//! an `include` names.
//!
//! A line is blank, a comment (`#` first), or a name and arguments separated by blanks, which may
//! be quoted; `util::ascii` knows the grammar. Everything is bytes: a file may hold comments in any
//! encoding and passwords of any kind.
//!
//! Invariant: `split_args(join_args(args)) == args`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::sys::files::os_text;
use crate::util::ascii;
use crate::util::glob::glob_match;

/// Splits a line into its arguments; `None`: a quote is not closed.
pub(super) fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    ascii::split_args(line).map(|words| words.into_vec())
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
            ascii::repr_arg(arg, &mut line);
        }
    }
    line
}

/// Whether a name asks for a pattern at all.
pub(super) fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|b| b"*?[".contains(b))
}

/// The files that the path of an `include` names, sorted; a path without a pattern names itself.
pub(super) fn include_paths(path: &Path) -> Result<Vec<PathBuf>, String> {
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
                if !hidden && glob_match(name.as_bytes(), entry.as_bytes(), false) {
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
            (r#"a"b c"d"#, &["ab cd"]),
            ("'a'b", &["ab"]),
            (r"a\b", &[r"a\b"]),
            (r#""\xZZ""#, &["xZZ"]),
        ];
        for (line, args) in cases {
            assert_eq!(split(line).unwrap(), *args, "{line}");
        }
        for line in ["\"a", "'a", "\"a\\", "\"a\\\"", "x \"", "a\"b"] {
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
