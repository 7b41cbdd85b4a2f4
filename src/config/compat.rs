//! `--check-compat` on a configuration file of Redis, Valkey or KeyDB: every line that Kivi would not
//! accept or not act upon, not only the first one, which is where a start stops.

use std::path::Path;

use super::kind::{Context, Value};
use super::sources::{ConfigError, FileReader, Line, unknown, working_dir};
use super::store::default_values;
use super::table::{Row, Status, find_name};

/// What others call what Kivi does by itself or by other names. (Their directive; what to do.)
const HINTS: &[(&str, &str)] = &[
    (
        "server-threads",
        "KeyDB: `io-threads`, by default all cores",
    ),
    ("server-thread-affinity", "KeyDB: `server-cpulist`"),
    (
        "min-clients-per-thread",
        "KeyDB: Kivi spreads clients by load",
    ),
    ("active-replica", "KeyDB: there is no active replication"),
    ("multi-master", "KeyDB: there is no active replication"),
    ("active-client-balancing", "KeyDB: Kivi always balances"),
    ("storage-provider", "KeyDB: data lives in memory only"),
    (
        "enable-async-commands",
        "KeyDB: Kivi's reads need no snapshots",
    ),
    (
        "enable-async-rehash",
        "KeyDB: Kivi's tables grow without rehashing at once",
    ),
    ("soft-shutdown", "KeyDB: not there"),
    ("db-s3-object", "KeyDB: not there"),
    ("scratch-file-path", "KeyDB: not needed"),
    (
        "proactor_threads",
        "Dragonfly: `io-threads`, by default all cores",
    ),
    ("cache_mode", "Dragonfly: `maxmemory-policy allkeys-lfu`"),
    (
        "dbfilename_format",
        "Dragonfly: its snapshots cannot be read",
    ),
    ("vm-enabled", "Redis before 2.6: gone"),
];

/// What is to be said of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It cannot be read, or its value is refused: the server would not start.
    Refused,
    /// No such directive: the server would not start.
    Unknown,
    /// Accepted with a warning; its feature is still to come.
    Later,
    /// Accepted, and without effect by nature: nothing to worry about.
    NoEffect,
}

/// One line of a file, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What kind it is.
    pub finding: Finding,
    /// The directive, or the line if there is none.
    pub name: String,
    /// File and line.
    pub place: String,
    /// Why, or what to do; may be empty.
    pub reason: String,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Survey {
    /// Directives in it, included files' too.
    pub directives: usize,
    /// In the order of the file.
    pub remarks: Vec<Remark>,
    /// Commands renamed by lines that are accepted.
    pub rename_command: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a file to its end, whatever is wrong in it.
///
/// # Errors
/// When it cannot be read at all.
pub fn survey(file: &Path) -> Result<Survey, ConfigError> {
    let cwd = working_dir()?;
    let (lines, problems) = FileReader::lenient(&cwd).read_all(&cwd.join(file))?;
    let mut survey = Survey {
        directives: lines.len(),
        ..Survey::default()
    };
    survey.remarks.extend(problems.into_iter().map(refused));
    let mut values = default_values(&cwd);
    let defaults = values.clone();
    for line in &lines {
        let remark = match find_name(&line.name) {
            None => Some(unknown_line(line)),
            Some(name) => read_line(line, name.row, &cwd, &mut values, &defaults),
        };
        survey.remarks.extend(remark);
    }
    let renamed = find_name(b"rename-command").map(|name| &values[name.row.0]);
    if let Some(Value::Lines(renamed)) = renamed {
        let pair = |line: &Vec<Vec<u8>>| match line.as_slice() {
            [old, new] => Some((old.clone(), new.clone())),
            _ => None,
        };
        survey.rename_command = renamed.iter().filter_map(pair).collect();
    }
    Ok(survey)
}

fn refused(error: ConfigError) -> Remark {
    Remark {
        finding: Finding::Refused,
        name: error.text,
        place: match error.line {
            0 => error.source,
            line => format!("{}, line {line}", error.source),
        },
        reason: error.reason,
    }
}

fn unknown_line(line: &Line) -> Remark {
    let name = String::from_utf8_lossy(&line.name).to_ascii_lowercase();
    let hint = HINTS.iter().find(|(known, _)| *known == name);
    // "unknown directive 'x'" is what the finding says already.
    let reason = match hint {
        Some((_, hint)) => (*hint).to_owned(),
        None => match unknown(&line.name).split_once("; ") {
            Some((_, guess)) => guess.to_owned(),
            None => String::new(),
        },
    };
    Remark {
        finding: Finding::Unknown,
        place: line.place.to_string(),
        name,
        reason,
    }
}

fn read_line(
    line: &Line,
    row: Row,
    cwd: &Path,
    values: &mut [Value],
    defaults: &[Value],
) -> Option<Remark> {
    let directive = row.directive();
    let remark = |finding, reason| {
        Some(Remark {
            finding,
            name: directive.name.to_owned(),
            place: line.place.to_string(),
            reason,
        })
    };
    let context = Context {
        name: directive.name,
        old: &values[row.0],
        first: false,
        cwd,
    };
    match directive.kind.parse(&line.args, context) {
        Err(reason) => return remark(Finding::Refused, reason.to_string()),
        Ok(value) => values[row.0] = value,
    }
    let value = &values[row.0];
    let is_plain = *value == defaults[row.0];
    match directive.status {
        Status::Later if !is_plain => remark(Finding::Later, String::new()),
        Status::Accepted if !is_plain => remark(Finding::NoEffect, directive.doc.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("keydb.conf"), dir.path().join("more.conf"));
        std::fs::write(&other, "hz 99999999999\nport 7000\n").unwrap();
        let text = format!(
            "port abc\nserver-threads 4\nmaxmemroy 1gb\nrequirepass \"x\nio-threads-do-reads yes\n\
             appendonly yes\nreplicaof 10.0.0.1 6379\nreplica-read-only yes\nrename-command GET g\n\
             include {}\ninclude /no/such/file.conf\n",
            other.display()
        );
        std::fs::write(&file, text).unwrap();
        let survey = survey(&file).unwrap();
        let found: Vec<_> = survey
            .remarks
            .iter()
            .map(|remark| (remark.finding, remark.name.as_str()))
            .collect();
        use Finding::*;
        let missing = "include /no/such/file.conf";
        assert_eq!(
            found,
            [
                (Refused, "requirepass \"x"),
                (Refused, missing),
                (Refused, "port"),
                (Unknown, "server-threads"),
                (Unknown, "maxmemroy"),
                (NoEffect, "io-threads-do-reads"),
                (Later, "replicaof"),
                (Refused, "hz"),
            ]
        );
        let remark = |name: &str| {
            let is = |remark: &&Remark| remark.name == name;
            survey.remarks.iter().find(is).unwrap()
        };
        assert!(remark("server-threads").reason.contains("io-threads"));
        assert!(remark("maxmemroy").reason.contains("maxmemory"));
        assert!(remark("port").place.ends_with("keydb.conf, line 1"));
        assert!(remark("hz").place.ends_with("more.conf, line 1"));
        assert_eq!(survey.rename_command, [(b"GET".to_vec(), b"g".to_vec())]);
        assert_eq!(survey.directives, 10);
        assert!(super::survey(&dir.path().join("none.conf")).is_err());
    }

    #[test]
    fn no_hint_is_about_a_directive_that_is_known() {
        for (name, _) in HINTS {
            assert!(find_name(name.as_bytes()).is_none(), "{name}");
        }
    }
}
