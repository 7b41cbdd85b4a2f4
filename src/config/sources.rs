//! Where values come from: built-in defaults, file, standard input, environment, command line;
//! later wins.
//!
//! Every source is first turned into lines (a name, arguments, a place to name in errors), so that
//! one function checks them all. Lines of one source add up where a directive may be repeated;
//! the first line of a later source starts anew (except `rename-command`, `user` and `loadmodule`,
//! which always add). An unknown name or a wrong value stops the load; a directive whose feature
//! is still to come gives one warning.
//!
//! Nothing is changed in the process: working directory, limits, log are for `boot` to apply.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::grammar::{include_paths, join_args, split_args};
use super::kind::{Context, Value};
use super::store::{ConfigStore, default_values};
use super::table::{Row, Status, directives, find_name, names};
use super::toml_file;
use crate::sys::files::os_text;

/// How deep files may include files.
const INCLUDE_DEPTH_MAX: usize = 16;
/// How many files may be included in all.
const INCLUDES_MAX: usize = 1000;
/// Wrong letters of a name of which another one may have been meant.
const NEAR: usize = 2;
/// What the variables of the environment start with.
pub(super) const ENV_PREFIX: &str = "KIVI_";

/// Everything that a start reads its configuration from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The configuration file, if one is named: `.toml` is read as TOML, else as redis.conf.
    pub file: Option<PathBuf>,
    /// Reads redis.conf lines from standard input (`-`), after the file.
    pub stdin: bool,
    /// The `KIVI_` variables of the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Directives of the command line, in order: name and arguments.
    pub args: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// Something that the log should tell at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a configuration cannot be used. `Display` is the whole message for stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// File, `standard input`, `environment` or `command line`.
    pub source: String,
    /// Line number in `source`, from 1; 0: none.
    pub line: usize,
    /// The offending text; may be empty.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration error in {}", self.source)?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        if !self.text.is_empty() {
            write!(f, "\n    {}", self.text)?;
        }
        write!(f, "\n{}", self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// Where a line stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    source: Arc<str>,
    line: usize,
    text: String,
}

impl Place {
    fn new(source: &Arc<str>, line: usize, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
        Place {
            source: Arc::clone(source),
            line,
            text,
        }
    }

    fn error(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError {
            source: self.source.to_string(),
            line: self.line,
            text: self.text.clone(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.source),
            line => write!(f, "{}, line {line}", self.source),
        }
    }
}

/// A directive as one source gives it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: Vec<u8>,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) place: Place,
}

/// The folder that relative paths begin in.
pub(super) fn working_dir() -> Result<PathBuf, ConfigError> {
    std::env::current_dir().map_err(|error| ConfigError {
        source: "working directory".to_owned(),
        line: 0,
        text: String::new(),
        reason: os_text(&error),
    })
}

/// Reads all sources.
pub fn load(sources: &Sources) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    load_from(sources, working_dir()?, &mut std::io::stdin().lock())
}

/// [`load`] with a working directory and a standard input of the caller's.
pub(super) fn load_from(
    sources: &Sources,
    cwd: PathBuf,
    stdin: &mut dyn Read,
) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let file = sources.file.as_ref().map(|file| cwd.join(file));
    let mut loader = Loader::new(&cwd);
    if let Some(file) = &file {
        loader.add(FileReader::new(&cwd).read_main(file, None)?)?;
    }
    if sources.stdin {
        let place = Place::new(&"standard input".into(), 0, b"");
        let mut bytes = Vec::new();
        stdin
            .read_to_end(&mut bytes)
            .map_err(|error| place.error(os_text(&error)))?;
        let mut reader = FileReader::new(&cwd);
        reader.read_conf(&place.source, &bytes)?;
        loader.add(reader.lines)?;
    }
    loader.add(env_lines(&sources.env, &cwd)?)?;
    loader.add(args_lines(&sources.args, &cwd)?)?;
    let warnings = loader.warnings();
    Ok((ConfigStore::new(loader.values, file, cwd), warnings))
}

/// The values that a configuration file alone would give, `content` standing in for what is on
/// disk under its name.
pub(super) fn file_values(
    file: &Path,
    content: Vec<u8>,
    cwd: &Path,
) -> Result<Vec<Value>, ConfigError> {
    let mut loader = Loader::new(cwd);
    loader.add(FileReader::new(cwd).read_main(file, Some(content))?)?;
    Ok(loader.values)
}

/// Whether a file is read as TOML.
pub(super) fn is_toml(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// Applies lines to the values, source by source.
struct Loader<'a> {
    values: Vec<Value>,
    cwd: &'a Path,
    /// The number of the source being applied.
    source: usize,
    /// For every row, the source and the place that set it last.
    set_by: Vec<Option<(usize, Place)>>,
}

impl<'a> Loader<'a> {
    fn new(cwd: &'a Path) -> Self {
        let values = default_values(cwd);
        Loader {
            set_by: vec![None; values.len()],
            values,
            cwd,
            source: 0,
        }
    }

    /// Applies the lines of the next source.
    fn add(&mut self, lines: Vec<Line>) -> Result<(), ConfigError> {
        self.source += 1;
        for line in lines {
            let name =
                find_name(&line.name).ok_or_else(|| line.place.error(unknown(&line.name)))?;
            let (Row(row), directive) = (name.row, name.row.directive());
            let first = self.set_by[row]
                .as_ref()
                .is_none_or(|(by, _)| *by != self.source);
            let old = &self.values[row];
            let context = Context {
                name: directive.name,
                old,
                first,
                cwd: self.cwd,
            };
            let value = directive.kind.parse(&line.args, context);
            self.values[row] = value.map_err(|reason| line.place.error(reason))?;
            self.set_by[row] = Some((self.source, line.place));
        }
        Ok(())
    }

    /// One warning for every directive that asks for what Kivi cannot do yet.
    fn warnings(&self) -> Vec<Warning> {
        let defaults = default_values(self.cwd);
        let mut warnings = Vec::new();
        for (row, directive) in directives().iter().enumerate() {
            let value = &self.values[row];
            let Some((_, place)) = &self.set_by[row] else {
                continue;
            };
            let plain = *value == defaults[row];
            if directive.status == Status::Later && !plain {
                warnings.push(Warning(format!(
                    "directive '{}' is not supported by Kivi yet and has no effect ({place})",
                    directive.name
                )));
            }
        }
        warnings
    }
}

/// Says that a name is unknown, and which one may have been meant.
pub(super) fn unknown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let near = names()
        .iter()
        .map(|known| (distance(&name, known.name), known.name));
    match near.min() {
        Some((1..=NEAR, near)) if name.len() > 3 => {
            format!("unknown directive '{name}'; did you mean '{near}'?")
        }
        _ => format!("unknown directive '{name}'"),
    }
}

/// Letters to insert, delete or replace to turn `a` into `b`; beyond [`NEAR`] it may say too few.
fn distance(a: &str, b: &str) -> usize {
    let longer = a.len().abs_diff(b.len());
    if longer > NEAR {
        return longer;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Turns a file and all that it includes into lines.
pub(super) struct FileReader<'a> {
    lines: Vec<Line>,
    /// What is wrong, if that is no reason to stop.
    problems: Option<Vec<ConfigError>>,
    cwd: &'a Path,
    /// The files being read, the main one first: what must not be included again.
    open: Vec<PathBuf>,
    included: usize,
}

impl<'a> FileReader<'a> {
    fn new(cwd: &'a Path) -> Self {
        FileReader {
            lines: Vec::new(),
            problems: None,
            cwd,
            open: Vec::new(),
            included: 0,
        }
    }

    /// A reader that goes on behind what is wrong.
    pub(super) fn lenient(cwd: &'a Path) -> Self {
        FileReader {
            problems: Some(Vec::new()),
            ..FileReader::new(cwd)
        }
    }

    /// The lines of `file` that can be read, and why others cannot.
    pub(super) fn read_all(
        mut self,
        file: &Path,
    ) -> Result<(Vec<Line>, Vec<ConfigError>), ConfigError> {
        let place = Place::new(&file.to_string_lossy().into(), 0, b"");
        self.open
            .push(file.canonicalize().unwrap_or_else(|_| file.to_owned()));
        self.read_file(file, None, &place)?;
        Ok((self.lines, self.problems.unwrap_or_default()))
    }

    /// Notes what is wrong, or stops because of it.
    fn note(&mut self, result: Result<(), ConfigError>) -> Result<(), ConfigError> {
        match (result, &mut self.problems) {
            (Err(error), Some(problems)) => {
                problems.push(error);
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// The lines of `file`, or of `content` in its stead.
    fn read_main(
        mut self,
        file: &Path,
        content: Option<Vec<u8>>,
    ) -> Result<Vec<Line>, ConfigError> {
        let place = Place::new(&file.to_string_lossy().into(), 0, b"");
        self.open
            .push(file.canonicalize().unwrap_or_else(|_| file.to_owned()));
        self.read_file(file, content, &place)?;
        Ok(self.lines)
    }

    /// `asked_at`: where to say that the file cannot be read.
    fn read_file(
        &mut self,
        file: &Path,
        content: Option<Vec<u8>>,
        asked_at: &Place,
    ) -> Result<(), ConfigError> {
        let content = match content {
            Some(content) => content,
            None => std::fs::read(file).map_err(|error| {
                let reason = format!("can't read '{}': {}", file.display(), os_text(&error));
                asked_at.error(reason)
            })?,
        };
        let source: Arc<str> = file.to_string_lossy().into();
        match is_toml(file) {
            true => self.read_toml(&source, &content),
            false => self.read_conf(&source, &content),
        }
    }

    fn read_conf(&mut self, source: &Arc<str>, content: &[u8]) -> Result<(), ConfigError> {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        for (index, text) in content.split(|b| *b == b'\n').enumerate() {
            let text = text.trim_ascii();
            if text.is_empty() || text[0] == b'#' {
                continue;
            }
            let place = Place::new(source, index + 1, text);
            let result = self.read_line(text, place);
            self.note(result)?;
        }
        Ok(())
    }

    fn read_line(&mut self, text: &[u8], place: Place) -> Result<(), ConfigError> {
        if text.contains(&0) {
            return Err(place.error("a NUL byte in the line"));
        }
        let args = split_args(text).ok_or_else(|| place.error("unbalanced quotes"))?;
        self.push(args, place)
    }

    fn read_toml(&mut self, source: &Arc<str>, content: &[u8]) -> Result<(), ConfigError> {
        let text = std::str::from_utf8(content)
            .map_err(|_| Place::new(source, 0, b"").error("the file is not UTF-8"))?;
        let place = |at: usize| {
            let (before, after) = content.split_at(at.min(content.len()));
            let start = before
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |newline| newline + 1);
            let end = after
                .iter()
                .position(|b| *b == b'\n')
                .map_or(content.len(), |n| at + n);
            let number = before.iter().filter(|b| **b == b'\n').count() + 1;
            Place::new(source, number, &content[start..end])
        };
        let entries = toml_file::entries(text);
        for entry in entries.map_err(|wrong| place(wrong.at).error(wrong.reason))? {
            for args in entry.lines {
                let line = std::iter::once(entry.key.clone().into_bytes())
                    .chain(args)
                    .collect();
                let result = self.push(line, place(entry.span.start));
                self.note(result)?;
            }
        }
        Ok(())
    }

    /// Takes a line in, or the file that it includes.
    fn push(&mut self, mut args: Vec<Vec<u8>>, place: Place) -> Result<(), ConfigError> {
        if args.is_empty() {
            return Ok(());
        }
        let name = args.remove(0);
        if !name.eq_ignore_ascii_case(b"include") {
            self.lines.push(Line { name, args, place });
            return Ok(());
        }
        let [path] = args.as_slice() else {
            return Err(place.error("wrong number of arguments"));
        };
        let path = self.cwd.join(OsStr::from_bytes(path));
        for file in include_paths(&path).map_err(|reason| place.error(reason))? {
            self.include(&file, &place)?;
        }
        Ok(())
    }

    fn include(&mut self, file: &Path, place: &Place) -> Result<(), ConfigError> {
        let identity = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        self.included += 1;
        if self.open.contains(&identity) {
            return Err(place.error(format!("'{}' includes itself", file.display())));
        }
        if self.open.len() > INCLUDE_DEPTH_MAX || self.included > INCLUDES_MAX {
            return Err(place.error("too many includes"));
        }
        self.open.push(identity);
        self.read_file(file, None, place)?;
        self.open.pop();
        Ok(())
    }
}

/// What variables of Kivi's own tests and benchmarks start with, behind `KIVI_`.
const OWN_VARIABLES: &[&str] = &["TEST_", "BENCH_", "FUZZ_", "MODEL_", "CHECKS_"];

/// Whether a variable that starts with `KIVI_` is none of a user's settings: those of Kivi's own
/// tests and benchmarks, and the links that Kubernetes and Docker set for services called kivi, or
/// kivi-something.
fn is_foreign_variable(rest: &str, value: &[u8]) -> bool {
    let own = rest == "ORACLE" || OWN_VARIABLES.iter().any(|own| rest.starts_with(own));
    // A service's name may have more words, of which a link's own begins behind any.
    let behind_words = rest.match_indices('_').map(|(at, _)| &rest[at + 1..]);
    own || std::iter::once(rest)
        .chain(behind_words)
        .any(|link| is_service_link(link, value))
}

/// Whether `link` is what Kubernetes and Docker put behind the name of a service.
fn is_service_link(link: &str, value: &[u8]) -> bool {
    let is_url = || {
        [&b"tcp://"[..], b"udp://", b"sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme))
    };
    match link.strip_prefix("PORT") {
        Some("") => is_url(),
        Some(port) => port
            .strip_prefix('_')
            .is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit())),
        None => {
            matches!(link, "SERVICE_HOST" | "SERVICE_PORT") || link.starts_with("SERVICE_PORT_")
        }
    }
}

fn env_lines(env: &[(OsString, OsString)], cwd: &Path) -> Result<Vec<Line>, ConfigError> {
    let mut reader = FileReader::new(cwd);
    let source: Arc<str> = "environment".into();
    for (variable, value) in env {
        let Some(rest) = variable
            .to_str()
            .and_then(|name| name.strip_prefix(ENV_PREFIX))
        else {
            continue;
        };
        let value = value.as_bytes();
        if is_foreign_variable(rest, value) {
            continue;
        }
        let place = Place::new(&source, 0, variable.as_bytes());
        let name = rest.to_ascii_lowercase().replace('_', "-").into_bytes();
        let kind = find_name(&name).map(|name| name.row.directive().kind);
        // A directive that may be repeated takes several lines; else the value is one argument,
        // whatever is in it.
        let lines: Vec<Vec<Vec<u8>>> = match kind {
            Some(kind) if kind.takes_several() => value
                .split(|b| *b == b'\n')
                .map(|line| match split_args(line) {
                    Some(args) if args.is_empty() => Ok(vec![Vec::new()]),
                    Some(args) => Ok(args),
                    None => Err(place.error("unbalanced quotes")),
                })
                .collect::<Result<_, _>>()?,
            _ => vec![vec![value.to_vec()]],
        };
        for args in lines {
            reader.push(
                std::iter::once(name.clone()).chain(args).collect(),
                place.clone(),
            )?;
        }
    }
    Ok(reader.lines)
}

fn args_lines(args: &[(Vec<u8>, Vec<Vec<u8>>)], cwd: &Path) -> Result<Vec<Line>, ConfigError> {
    let mut reader = FileReader::new(cwd);
    let source: Arc<str> = "command line".into();
    for (name, args) in args {
        let line: Vec<Vec<u8>> = std::iter::once(name).chain(args).cloned().collect();
        let text = [b"--", join_args(line.iter().map(Vec::as_slice)).as_slice()].concat();
        reader.push(line, Place::new(&source, 0, &text))?;
    }
    Ok(reader.lines)
}
