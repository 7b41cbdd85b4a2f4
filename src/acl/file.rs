//! The file of users (`aclfile`): a line `user name rule ...` for each, as ACL LIST shows them.
//!
//! A file is taken over as a whole or not at all; everything that is wrong with it is told, with the
//! numbers of the lines. It is written beside the old one, synced, and renamed over it, so that a crash
//! leaves the old or the new file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::sys::files::{self, os_text};

use super::describe::describe_user;
use super::rights::Rights;
use super::rules::{self, RuleError, RulesError, World, has_spaces};
use super::users::{Acl, Changed};

/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Why a file was not taken over; the text is what ACL LOAD says, without a code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileError(pub Vec<u8>);

impl Acl {
    /// ACL LOAD: the users of a file, and no others.
    pub fn load_file(&self, path: &Path, world: World<'_>) -> Result<Vec<Changed>, FileError> {
        let shown = path.display();
        let content = read(path).map_err(|error| {
            let text = format!(
                "Error loading ACLs, opening file '{shown}': {}",
                os_text(&error)
            );
            FileError(text.into_bytes())
        })?;
        let users = parse(&shown.to_string(), &content, world)?;
        Ok(self.replace_users(users))
    }

    /// ACL SAVE.
    pub fn save_file(&self, path: &Path) -> io::Result<()> {
        let _turn = self.no_changes();
        let mut content = Vec::new();
        for user in self.users() {
            content.extend_from_slice(b"user ");
            content.extend_from_slice(&user.name);
            content.push(b' ');
            content.extend_from_slice(&describe_user(&user.rights()));
            content.push(b'\n');
        }
        files::replace(path, &content)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.len() {
        0..=FILE_BYTES_MAX => fs::read(path),
        _ => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
    }
}

/// The users that a file describes.
fn parse(
    path: &str,
    content: &[u8],
    world: World<'_>,
) -> Result<BTreeMap<Vec<u8>, Rights>, FileError> {
    let mut users = BTreeMap::new();
    let mut errors = Vec::new();
    for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let start = line.iter().position(|byte| !is_blank(byte));
        let end = line.iter().rposition(|byte| !is_blank(byte));
        let (Some(start), Some(end)) = (start, end) else {
            continue;
        };
        let wrong = parse_line(&line[start..=end], &mut users, world);
        for error in wrong.err().unwrap_or_default() {
            errors.extend_from_slice(&error.text(path, number));
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(FileError(errors))
}

/// What is wrong with a line.
enum LineError {
    NoUser,
    BadName(Vec<u8>),
    Duplicate(Vec<u8>),
    Rules(RulesError),
}

impl LineError {
    fn text(&self, path: &str, number: usize) -> Vec<u8> {
        let at = format!("{path}:{number}");
        let parts: [&[u8]; 3] = match self {
            LineError::NoUser => [
                at.as_bytes(),
                b" should start with user keyword followed by the username. ",
                b"",
            ],
            LineError::BadName(name) => {
                let text = [at.as_bytes(), b": username '", name].concat();
                return [&b"'"[..], &text, b"' contains invalid characters. "].concat();
            }
            LineError::Duplicate(name) => {
                let line = format!("' found on line {number}. ");
                return [&b"WARNING: Duplicate user '"[..], name, line.as_bytes()].concat();
            }
            LineError::Rules(RulesError::Unmatched(_)) => [
                at.as_bytes(),
                b": Unmatched parenthesis in selector definition.",
                b"",
            ],
            LineError::Rules(RulesError::Rule(rule, error @ RuleError::Unknown)) => {
                let text = format!("': {}. ", error.text());
                let start = [at.as_bytes(), b": Error in applying operation '"].concat();
                return [&start[..], rule, text.as_bytes()].concat();
            }
            LineError::Rules(RulesError::Rule(_, error)) => {
                [at.as_bytes(), b": ", error.text().as_bytes()]
            }
        };
        let ends = matches!(self, LineError::Rules(RulesError::Rule(..)));
        [&parts.concat()[..], if ends { b". " } else { b"" }].concat()
    }
}

fn parse_line(
    line: &[u8],
    users: &mut BTreeMap<Vec<u8>, Rights>,
    world: World<'_>,
) -> Result<(), Vec<LineError>> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
        return Err(vec![LineError::NoUser]);
    };
    if has_spaces(name) {
        return Err(vec![LineError::BadName(name.to_vec())]);
    }
    if users.contains_key(name) {
        return Err(vec![LineError::Duplicate(name.to_vec())]);
    }
    let new = Rights::new_user(world);
    users.insert(name.to_vec(), new.clone());
    let rules: Vec<&[u8]> = words.collect();
    // A NUL would end a word early that looks longer.
    if let Some(rule) = rules.iter().find(|rule| rule.contains(&0)) {
        let error = RulesError::Rule(rule.to_vec(), RuleError::Syntax);
        return Err(vec![LineError::Rules(error)]);
    }
    match rules::apply_to_end(&new, &rules, world) {
        Ok(rights) => {
            users.insert(name.to_vec(), rights);
            Ok(())
        }
        Err(errors) => Err(worth_telling(errors)),
    }
}

/// Every name that is not known; of other errors the first one, since more may come of it.
fn worth_telling(errors: Vec<RulesError>) -> Vec<LineError> {
    let mut has_other = false;
    let mut is_told = |error: &RulesError| {
        let is_unknown = matches!(error, RulesError::Rule(_, RuleError::Unknown));
        let is_told = is_unknown || !has_other;
        has_other |= !is_unknown;
        is_told
    };
    let told = errors.into_iter().filter(|error| is_told(error));
    told.map(LineError::Rules).collect()
}
