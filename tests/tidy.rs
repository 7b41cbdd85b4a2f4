//! House rules that a compiler does not check: layers, headers, sizes, forbidden words.
//!
//! Every rule is a function from a file's text to complaints, so that planted snippets below show
//! it red. The rules are those of ARCHITECTURE.md and CONTRIBUTING.md; exceptions are the tables
//! [`LAYERS`], [`TABLES`] and [`MAY_SLEEP`], each with a reason.
//!
//! Rust is read by a small lexer (`blank`) that replaces comments and the insides of literals by
//! spaces, so that words in texts do not count.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the top layer down. A module may name those of rows below its own; within a row
/// it may name only itself.
const LAYERS: &[&[&str]] = &[
    &["boot"],
    // The socket for RESP, and the one for browsers.
    &["net", "http"],
    &["exec"],
    &["commands"],
    &["server"],
    // The first two deliver to clients; the third is what TLS is spoken with.
    &["pubsub", "tracking", "tls"],
    &["config", "client", "stats", "persist", "script"],
    &["acl"],
    &["db"],
    &["value"],
    &["spec"],
    &["resp"],
    &["ds"],
    &["util"],
    &["sys"],
];

/// Files that are tables: data, which may be long. (A path's end; the reason.)
const TABLES: &[(&str, &str)] = &[
    ("src/config/rows.rs", "the directives"),
    ("src/commands/docs.rs", "the texts of COMMAND DOCS"),
    ("tests/it/protocol_cases.rs", "requests and replies"),
];

/// Tests that may sleep, and why.
const MAY_SLEEP: &[(&str, &str)] =
    &[("tests/it/harness.rs", "the one polling loop, in eventually")];

const LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;
const UNSAFE_FOLDERS: [&str; 2] = ["src/ds/", "src/sys/"];

/// A source file: its path from the repository's root, its text, and the text without comments and
/// literals, line by line the same.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code: blank(text),
        }
    }

    /// The line (from 0) at which the tests begin; the number of lines when there are none.
    fn tests_start(&self) -> usize {
        let lines: Vec<&str> = self.code.lines().collect();
        if self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
        {
            return 0;
        }
        let opens_module =
            |line: &&str| line.trim_start().starts_with("mod ") && line.contains('{');
        let starts = |i: &usize| {
            let gate = lines[*i].trim_start().starts_with("#[cfg(test)]");
            gate && lines[i + 1..]
                .iter()
                .find(|line| !line.trim().is_empty())
                .is_some_and(opens_module)
        };
        (0..lines.len()).find(starts).unwrap_or(lines.len())
    }

    fn complaint(&self, line: usize, text: &str) -> String {
        format!("{}:{}: {text}", self.path, line + 1)
    }
}

/// Replaces comments and the insides of string and character literals by spaces.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        // What to blank, and where to go on.
        let (from, end, next) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => {
                let end = line_end(bytes, at);
                (at, end, end)
            }
            b'/' if bytes[at..].starts_with(b"/*") => {
                let end = comment_end(bytes, at);
                (at, end, end)
            }
            b'"' => {
                let end = string_end(bytes, at);
                (at + 1, end, end + 1)
            }
            b'r' if !is_word(bytes, at) && raw_hashes(bytes, at).is_some() => {
                let hashes = raw_hashes(bytes, at).expect("just seen");
                let end = raw_end(bytes, at + hashes + 2, hashes);
                (at + hashes + 2, end, end + 1 + hashes)
            }
            b'\'' => match char_end(bytes, at) {
                Some(end) => (at + 1, end, end + 1),
                None => (at, at, at + 1),
            },
            _ => (at, at, at + 1),
        };
        for byte in &mut out[from..end.min(bytes.len())] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = next;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |n| at + n)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The position of the closing quote of the string that opens at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end
}

/// The number of `#` of a raw string that begins with `r` at `at`.
fn raw_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_end(bytes: &[u8], at: usize, hashes: usize) -> usize {
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let found = bytes[at..].windows(close.len()).position(|w| w == close);
    found.map_or(bytes.len(), |n| at + n)
}

/// The closing quote of a character literal; `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().take(12).position(|b| *b == b'\'')?;
        return Some(at + 3 + close);
    }
    let rest = std::str::from_utf8(&bytes[at + 1..(at + 6).min(bytes.len())]);
    let valid = rest.map_or_else(|e| e.valid_up_to(), str::len);
    let first = std::str::from_utf8(&bytes[at + 1..at + 1 + valid])
        .ok()?
        .chars()
        .next()?;
    let close = at + 1 + first.len_utf8();
    (bytes.get(close) == Some(&b'\'')).then_some(close)
}

/// Whether the byte before `at` belongs to the same word.
fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
        && bytes[at - 1] != b'b'
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The module of the first level that a file belongs to, or `None` for the roots.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&module)).then_some(module)
}

/// Upward paths, and modules that the table does not know. Tests may look up.
fn layers(source: &Source, out: &mut Vec<String>) {
    let Some(module) = module_of(&source.path) else {
        return;
    };
    let Some(own) = layer_of(module) else {
        out.push(source.complaint(0, &format!("module {module} has no place in LAYERS")));
        return;
    };
    let tests = source.tests_start();
    let start_of_line = line_starts(&source.code);
    for (at, named) in crate_paths(&source.code) {
        let line = start_of_line.partition_point(|start| *start <= at) - 1;
        if line >= tests || named == module {
            continue;
        }
        match layer_of(&named) {
            Some(layer) if layer > own => {}
            Some(_) => {
                let text = format!("{module} may not name crate::{named}, which is not below it");
                out.push(source.complaint(line, &text));
            }
            // A macro or an item of the root.
            None => {}
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let ends = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| *b == b'\n')
        .map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).collect()
}

/// Every `crate::x` in `code`, also in groups (`crate::{a, b::c}`), with its position.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let rest = rest.trim_start();
        let first_word = |text: &str| -> String {
            text.trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = 0;
            for (offset, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => {
                        found.push((at, first_word(&group[item..offset])));
                        break;
                    }
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.push((at, first_word(&group[item..offset])));
                        item = offset + 1;
                    }
                    _ => {}
                }
            }
        } else {
            found.push((at, first_word(rest)));
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

/// `super` paths that climb to the root go around the layer rule.
fn climbing(source: &Source, out: &mut Vec<String>) {
    let Some(inside) = source.path.strip_prefix("src/") else {
        return;
    };
    let file = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = file.split('/').count();
    let tests = source.tests_start();
    for (index, line) in source.code.lines().enumerate() {
        let allowed = depth + usize::from(index >= tests);
        if line.contains(&"super::".repeat(allowed)) && module_of(&source.path).is_some() {
            out.push(source.complaint(index, "super climbs to the root: write crate::"));
        }
    }
}

fn header(source: &Source, out: &mut Vec<String>) {
    if !source.text.starts_with("//!") {
        out.push(source.complaint(0, "the file does not open with //! (what it is, the idea)"));
    }
}

fn size(source: &Source, out: &mut Vec<String>) {
    let total = source.text.lines().count();
    let lines = if source.path.starts_with("tests/") || source.path.ends_with("/tests.rs") {
        total
    } else {
        source.tests_start()
    };
    let exempt = TABLES.iter().any(|(path, _)| source.path.ends_with(path));
    let tests_only = source.path.ends_with("/tests.rs");
    if lines > LINES_MAX && !exempt && !tests_only {
        out.push(source.complaint(lines - 1, &format!("{lines} lines, at most {LINES_MAX}")));
    }
}

/// Functions outside of tests that are too long.
fn functions(source: &Source, out: &mut Vec<String>) {
    let lines: Vec<&str> = source.code.lines().collect();
    let end = source.tests_start();
    let mut index = 0;
    while index < end {
        let is_function = lines[index]
            .trim_start()
            .split(' ')
            .take(6)
            .any(|word| word == "fn");
        let indent = lines[index].len() - lines[index].trim_start().len();
        if is_function && !lines[index].trim_end().ends_with(';') {
            let close = format!("{}}}", " ".repeat(indent));
            let length = lines[index..]
                .iter()
                .position(|line| line.trim_end() == close);
            let length = length.map_or(1, |n| n + 1);
            let declared = lines[index..]
                .iter()
                .take(length)
                .any(|line| line.contains('{'));
            if declared && length > FUNCTION_LINES_MAX {
                let text = format!("a function of {length} lines, at most {FUNCTION_LINES_MAX}");
                out.push(source.complaint(index, &text));
            }
        }
        index += 1;
    }
}

fn columns(source: &Source, out: &mut Vec<String>) {
    for (index, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        let exempt = line.contains('"') || line.contains("://");
        if code.trim_end().chars().count() > COLUMNS_MAX && !exempt {
            out.push(source.complaint(index, &format!("more than {COLUMNS_MAX} columns")));
        }
    }
}

fn words(source: &Source, out: &mut Vec<String>) {
    // Put together here, so that this file does not complain of itself.
    let leftovers = [
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
        ["TO", "DO"].concat(),
    ];
    let macros = ["todo!", "unimplemented!", "dbg!"];
    let unsafe_allowed = UNSAFE_FOLDERS
        .iter()
        .any(|folder| source.path.starts_with(folder));
    let in_tests = source.tests_start();
    let may_sleep = MAY_SLEEP
        .iter()
        .any(|(path, _)| source.path.ends_with(path));
    for (index, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        if let Some(word) = leftovers.iter().find(|word| line.contains(*word)) {
            out.push(source.complaint(index, &format!("{word}: finish it")));
        }
        if let Some(name) = macros.iter().find(|name| code.contains(*name)) {
            out.push(source.complaint(index, &format!("{name} is not for this project")));
        }
        let has_unsafe = code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|w| w == "unsafe");
        if has_unsafe && !unsafe_allowed {
            out.push(source.complaint(index, "unsafe is for src/ds and src/sys"));
        }
        if index >= in_tests && code.contains("sleep(") && !may_sleep {
            out.push(source.complaint(index, "a test waits for conditions; it does not sleep"));
        }
    }
}

/// All rules on one file.
fn check(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, text);
    let mut out = Vec::new();
    for rule in [layers, climbing, header, size, functions, columns, words] {
        rule(&source, &mut out);
    }
    out
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path
                .file_name()
                .is_some_and(|name| name != "target" && name != "corpus")
            {
                rust_files(&path, out);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_house_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 5, "only {} files found", files.len());
    let mut complaints = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("reading a source file");
        let path = file
            .strip_prefix(root)
            .expect("inside")
            .to_string_lossy()
            .into_owned();
        complaints.extend(check(&path, &text));
    }
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

#[test]
fn exceptions_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, reason) in MAY_SLEEP {
        assert!(
            root.join(path).exists(),
            "{path} ({reason}) is gone: strike it off the list"
        );
    }
}

/// Complaints about ARCHITECTURE.md: what it says of the layers, and names in it that the code has not.
fn architecture(text: &str, sources: &[Words]) -> Vec<String> {
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Layers"));
    let rows = section.unwrap_or_default().lines();
    let rows = rows.filter(|line| line.starts_with("| `"));
    let modules = |row: &str| -> Vec<String> {
        let cell = row.split('|').nth(1).unwrap_or_default();
        let names = cell.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    };
    let told: Vec<Vec<String>> = rows.map(modules).collect();
    let mut out = Vec::new();
    if told != LAYERS {
        out.push(format!("ARCHITECTURE.md: the table of layers is {told:?}"));
    }
    for (index, line) in text.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2) {
            if !is_known(name, sources) {
                out.push(format!("ARCHITECTURE.md:{}: no {name}", index + 1));
            }
        }
    }
    out
}

/// Whether a file that is named is there, and each word of a path (`db::evict`, `Exec::run`) somewhere in the code: the
/// last one in the file of its module, if the path begins with one.
fn is_known(name: &str, sources: &[Words]) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if name.ends_with(".rs") {
        return sources.iter().any(|source| source.path.ends_with(name));
    }
    let parts: Vec<&str> = name.split("::").collect();
    let is_path = parts.len() > 1 && name.chars().all(|c| is_word(c) || c == ':');
    let is_type = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_word);
    if !is_path && !is_type {
        return true;
    }
    if !LAYERS.iter().any(|row| row.contains(&parts[0])) {
        let is_anywhere = |part: &&str| sources.iter().any(|source| source.words.contains(*part));
        return parts.iter().all(is_anywhere);
    }
    let module = |parts: &[&str]| {
        let path = format!("src/{}", parts.join("/"));
        let files = [format!("{path}.rs"), format!("{path}/mod.rs")];
        sources.iter().find(|source| files.contains(&source.path))
    };
    let (last, upper) = parts.split_last().expect("split gives one part at least");
    let is_named = |source: &Words| source.words.contains(*last);
    module(&parts).is_some() || module(upper).is_some_and(is_named)
}

/// A source file by its path, and the words in its code.
struct Words {
    path: String,
    words: HashSet<String>,
}

fn all_words() -> Vec<Words> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source file");
        let code = blank(&text);
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        Words {
            path: file
                .strip_prefix(root)
                .expect("inside")
                .display()
                .to_string(),
            words: words.map(str::to_owned).collect(),
        }
    };
    files.into_iter().map(read).collect()
}

#[test]
fn architecture_md_is_true_to_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let sources = all_words();
    let complaints = architecture(&text, &sources);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));

    for untrue in [
        "db::nobody",
        "db::evict::x::y",
        "Exec::goes_nowhere",
        "gone.rs",
        "NoSuchType",
    ] {
        assert!(!is_known(untrue, &sources), "{untrue}");
    }
    let without = text.replace("| `acl` |", "| `acl` `db` |");
    assert_eq!(architecture(&without, &sources).len(), 1);
}

/// Panics unless exactly the complaint with `part` comes of the file.
fn red(path: &str, text: &str, part: &str) {
    let complaints = check(path, text);
    let hit = complaints.len() == 1 && complaints[0].contains(part);
    assert!(
        hit,
        "expected one complaint with {part:?} of {path}: {complaints:?}"
    );
}

fn green(path: &str, text: &str) {
    let complaints = check(path, text);
    assert!(complaints.is_empty(), "{path}: {complaints:?}");
}

#[test]
fn upward_paths_are_seen() {
    red(
        "src/db/scan.rs",
        "//! x\nuse crate::commands::Row;\n",
        "may not name crate::commands",
    );
    red(
        "src/db.rs",
        "//! x\nfn f() { crate::net::send(); }\n",
        "src/db.rs:2: db may not name",
    );
    red(
        "src/db.rs",
        "//! x\nuse crate::{util::a, exec::{b, c}, value};\n",
        "crate::exec",
    );
    red(
        "src/db.rs",
        "//! x\nuse crate::{\n    util::a,\n    boot,\n};\n",
        "crate::boot",
    );
    red(
        "src/stats/mod.rs",
        "//! x\nuse crate::client::Client;\n",
        "crate::client",
    );
    red("src/novel.rs", "//! x\n", "no place in LAYERS");
    red(
        "src/db/scan.rs",
        "//! x\nuse super::super::net;\n",
        "climbs to the root",
    );
    green(
        "src/db/scan.rs",
        "//! x\nuse super::table;\nuse crate::{db::x, value::y, util};\n",
    );
    green(
        "src/exec/mod.rs",
        "//! x\nuse crate::commands::Row;\nuse crate::sys;\n",
    );
    green(
        "src/db.rs",
        "//! crate::net\n// crate::net\nconst A: &str = \"crate::net\";\n",
    );
    green(
        "src/db.rs",
        "//! x\n#[cfg(test)]\nmod tests {\n    use crate::exec::session;\n}\n",
    );
    green("src/main.rs", "//! x\nuse crate::boot;\n");
}

#[test]
fn other_faults_are_seen() {
    red("src/util/a.rs", "use std::fmt;\n", "does not open with //!");
    red(
        "src/util/a.rs",
        &format!("//! x\n{}", "// y\n".repeat(1000)),
        "1001 lines",
    );
    green(
        "src/config/rows.rs",
        &format!("//! x\n{}", "// y\n".repeat(3000)),
    );
    let tests =
        "//! x\n#[cfg(test)]\nmod tests {\n".to_owned() + &"    // y\n".repeat(2000) + "}\n";
    green("src/util/a.rs", &tests);
    let long = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(70));
    red("src/util/a.rs", &long, "a function of 72 lines");
    green(
        "src/util/a.rs",
        &format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(68)),
    );
    red(
        "src/util/a.rs",
        &format!("//! x\nlet a = {};\n", "b + ".repeat(30)),
        "columns",
    );
    green(
        "src/util/a.rs",
        &format!("//! x\n// see https://{}\n", "a".repeat(120)),
    );
    green(
        "src/util/a.rs",
        &format!("//! x\nlet a = \"{}\";\n", "a".repeat(120)),
    );
    red("src/util/a.rs", "//! x\nfn f() { todo!() }\n", "todo!");
    red(
        "src/util/a.rs",
        &format!("//! x\n// {}: later\n", ["FIX", "ME"].concat()),
        "finish it",
    );
    red(
        "src/util/a.rs",
        "//! x\nfn f() { unsafe { g() } }\n",
        "unsafe is for",
    );
    green("src/ds/a.rs", "//! x\nfn f() { unsafe { g() } }\n");
    green(
        "src/util/a.rs",
        "//! x\n#![deny(unsafe_code)]\nlet a = \"unsafe\"; // unsafe\n",
    );
    red(
        "tests/it/a.rs",
        "//! x\nfn f() { thread::sleep(second); }\n",
        "does not sleep",
    );
    let inside = "//! x\n#[cfg(test)]\nmod tests {\n    fn f() { sleep(1) }\n}\n";
    red("src/net/a.rs", inside, "src/net/a.rs:4: a test waits");
    green(
        "src/net/a.rs",
        "//! x\nfn f() { tokio::time::sleep(pause).await }\n",
    );
}

#[test]
fn literals_and_comments_are_blanked() {
    let keep = |text: &str| blank(text).split_whitespace().collect::<String>();
    assert_eq!(keep("a /* b /* c */ d */ e"), "ae");
    assert_eq!(keep("a // b\nc"), "ac");
    assert_eq!(keep(r#"f("x \" unsafe", y)"#), r#"f("",y)"#);
    assert_eq!(
        keep("f(r#\"x \" y\"#, b\"z\", br\"w\")"),
        "f(r#\"\"#,b\"\",br\"\")"
    );
    assert_eq!(
        keep("'x' b'\\'' '\\u{1F600}' 'é' <'a> &'static z"),
        "''b''''''<'a>&'staticz"
    );
    assert_eq!(keep("\"//\" a '\"' b \"/*\" c"), "\"\"a''b\"\"c");
    assert_eq!(blank("\"a\nb\" c").lines().count(), 2);
}
