//! Rules as people write them (`on >secret ~cache:* +get (~log:* +xadd)`), applied to a user's rights:
//! all of them, or none.
//!
//! What a rule means, and what is said of a wrong one, is Valkey's, byte for byte; so is what C's
//! functions see of a word, which ends for them with a NUL. A new rule is a line in [`of_user`], if it
//! is about the user, or in [`of_selector`], if it can stand in parentheses, too.

use std::collections::BTreeSet;

use crate::spec::args::c_str;
use crate::util::ascii::split_args;

use super::catalog::{Catalog, category};
use super::selector::{Access, Selector};
use super::{PasswordHash, Rights, hash_password};

/// What rules refer to.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The commands.
    pub catalog: &'a Catalog,
    /// How many databases there are.
    pub databases: u32,
    /// `acl-pubsub-default`: a new selector may use all channels.
    pub all_channels: bool,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// It names no command or category.
    Unknown,
    /// It is none.
    Syntax,
    /// A pattern of keys after `allkeys`.
    AllKeysAlready,
    /// A pattern of channels after `allchannels`.
    AllChannelsAlready,
    /// Not the hash of a password.
    BadHash,
    /// A password to be removed that is not there.
    NoSuchPassword,
    /// `+config|get|maxmemory`.
    FirstArgOfSubcommand,
    /// A database that cannot be.
    DatabaseRange,
    /// `+get|a`, `+get|b`, and so on without an end.
    TooMany,
}

impl RuleError {
    /// Said of the rule.
    pub const fn text(self) -> &'static str {
        match self {
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::AllKeysAlready => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does \
                 not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AllChannelsAlready => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and \
                 does not have any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::FirstArgOfSubcommand => {
                "Allowing first-arg of a subcommand is not supported"
            }
            RuleError::DatabaseRange => "The provided database ID is out of range",
            RuleError::TooMany => "Too many first arguments of commands",
        }
    }
}

/// Why rules were not applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RulesError {
    /// A selector that begins with this word does not end.
    Unmatched(Vec<u8>),
    /// This one is wrong.
    Rule(Vec<u8>, RuleError),
}

impl RulesError {
    /// What is said of it, without an error code.
    pub fn text(&self) -> Vec<u8> {
        match self {
            RulesError::Unmatched(word) => [
                &b"Unmatched parenthesis in acl selector starting at '"[..],
                c_str(word),
                b"'.",
            ]
            .concat(),
            RulesError::Rule(rule, error) => [
                &b"Error in ACL SETUSER modifier '"[..],
                c_str(rule),
                b"': ",
                error.text().as_bytes(),
            ]
            .concat(),
        }
    }
}

impl RulesError {
    /// What is said of a user in the configuration.
    pub fn in_configuration(&self, user: &[u8]) -> Vec<u8> {
        match self {
            RulesError::Unmatched(_) => {
                let start = self.text();
                [&start[..], b" It is of the user named '", user, b"'."].concat()
            }
            RulesError::Rule(rule, error) => [
                &b"Error loading ACL rule '"[..],
                c_str(rule),
                b"' for the user named '",
                user,
                b"': ",
                error.text().as_bytes(),
            ]
            .concat(),
        }
    }
}

/// Puts the words of selectors together that white space has cut apart.
fn merged(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, RulesError> {
    let mut rules = Vec::with_capacity(words.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for &word in words {
        match open.take() {
            Some((start, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(c_str(word));
                match word.ends_with(b")") {
                    true => rules.push(selector),
                    false => open = Some((start, selector)),
                }
            }
            None if word.starts_with(b"(") && !word.ends_with(b")") => {
                open = Some((word, word.to_vec()));
            }
            None => rules.push(word.to_vec()),
        }
    }
    match open {
        Some((start, _)) => Err(RulesError::Unmatched(start.to_vec())),
        None => Ok(rules),
    }
}

/// The rights that come of applying rules to these.
pub fn apply(rights: &Rights, words: &[&[u8]], world: World<'_>) -> Result<Rights, RulesError> {
    apply_to_end(rights, words, world).map_err(|mut errors| errors.swap_remove(0))
}

/// As [`apply`], but tells of every rule that is wrong.
pub fn apply_to_end(
    rights: &Rights,
    words: &[&[u8]],
    world: World<'_>,
) -> Result<Rights, Vec<RulesError>> {
    let mut rights = rights.clone();
    let mut errors = Vec::new();
    for rule in merged(words).map_err(|error| vec![error])? {
        if let Err(error) = of_user(&mut rights, &rule, world) {
            errors.push(RulesError::Rule(rule, error));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    rights.compile(world);
    Ok(rights)
}

/// Applies one rule about a user.
fn of_user(rights: &mut Rights, rule: &[u8], world: World<'_>) -> Result<(), RuleError> {
    let word = c_str(rule).to_ascii_lowercase();
    match &word[..] {
        // Nothing is a rule, too, if it is no more than that.
        b"" if rule.is_empty() => {}
        b"on" => rights.is_enabled = true,
        b"off" => rights.is_enabled = false,
        b"nopass" => {
            rights.nopass = true;
            rights.passwords.clear();
        }
        b"resetpass" => {
            rights.nopass = false;
            rights.passwords.clear();
        }
        // Payloads are looked at whatever a user is.
        b"sanitize-payload" | b"skip-sanitize-payload" => {}
        b"clearselectors" => rights.selectors.truncate(1),
        b"reset" => *rights = Rights::new_user(world),
        _ => match rule {
            [b'>', password @ ..] => add_password(rights, hash_password(password)),
            [b'#', hash @ ..] => add_password(rights, parse_hash(hash)?),
            [b'<', password @ ..] => remove_password(rights, hash_password(password))?,
            [b'!', hash @ ..] => remove_password(rights, parse_hash(hash)?)?,
            [b'(', inner @ .., b')'] => {
                let selector = selector_of(inner, world)?;
                rights.selectors.push(selector);
            }
            _ => of_selector(rights.root_mut(), rule, world)?,
        },
    }
    Ok(())
}

fn add_password(rights: &mut Rights, hash: PasswordHash) {
    rights.nopass = false;
    if !rights.passwords.contains(&hash) {
        rights.passwords.push(hash);
    }
}

fn remove_password(rights: &mut Rights, hash: PasswordHash) -> Result<(), RuleError> {
    let at = rights.passwords.iter().position(|known| *known == hash);
    rights
        .passwords
        .remove(at.ok_or(RuleError::NoSuchPassword)?);
    Ok(())
}

/// 64 hexadecimal digits, lower case.
fn parse_hash(digits: &[u8]) -> Result<PasswordHash, RuleError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(RuleError::BadHash),
    };
    let mut hash = PasswordHash::default();
    if digits.len() != 2 * hash.len() {
        return Err(RuleError::BadHash);
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(hash)
}

/// A selector of the rules between parentheses. Whose quotes do not match has none, as in Valkey. None may end with a
/// parenthesis, since what is told of the user, or saved, would end there, nor have quotes in it, which would begin
/// there.
fn selector_of(inner: &[u8], world: World<'_>) -> Result<Selector, RuleError> {
    let mut selector = Selector::new(world.all_channels);
    for rule in split_args(inner).unwrap_or_default() {
        if rule.ends_with(b")") || rule.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            return Err(RuleError::Syntax);
        }
        of_selector(&mut selector, &rule, world)?;
    }
    Ok(selector)
}

/// Applies one rule that can stand in parentheses.
fn of_selector(selector: &mut Selector, rule: &[u8], world: World<'_>) -> Result<(), RuleError> {
    let word = c_str(rule).to_ascii_lowercase();
    match &word[..] {
        b"allkeys" | b"~*" => selector.set_all_keys(true),
        b"resetkeys" => selector.set_all_keys(false),
        b"allchannels" | b"&*" => selector.set_all_channels(true),
        b"resetchannels" => selector.set_all_channels(false),
        b"alldbs" => selector.set_all_dbs(true),
        b"resetdbs" => selector.set_all_dbs(false),
        b"allcommands" | b"+@all" => selector.all_commands(true),
        b"nocommands" | b"-@all" => selector.all_commands(false),
        [b'd', b'b', b'=', list @ ..] => selector.set_dbs(parse_dbs(list)?),
        _ => return of_signed(selector, rule, world),
    }
    Ok(())
}

/// Applies a rule whose first letter says what it is about.
fn of_signed(selector: &mut Selector, rule: &[u8], world: World<'_>) -> Result<(), RuleError> {
    match rule {
        [b'~', pattern @ ..] => add_keys(selector, pattern, Access::ALL),
        [b'%', ..] if selector.all_keys => Err(RuleError::AllKeysAlready),
        [b'%', rest @ ..] => {
            let (access, pattern) = parse_access(rest)?;
            add_keys(selector, pattern, access)
        }
        [b'&', ..] if selector.all_channels => Err(RuleError::AllChannelsAlready),
        [b'&', pattern @ ..] => match has_spaces(pattern) {
            true => Err(RuleError::Syntax),
            false => selector.add_channels(pattern),
        },
        [sign @ (b'+' | b'-'), b'@', ..] => {
            let name = c_str(&rule[1..]);
            let category = category(&name[1..]).ok_or(RuleError::Unknown)?;
            selector.category(name, category, *sign == b'+', world.catalog);
            Ok(())
        }
        [b'+', name @ ..] => allow_command(selector, c_str(name), world.catalog),
        [b'-', name @ ..] => {
            let id = world.catalog.find(c_str(name));
            selector.command(id.ok_or(RuleError::Unknown)?, false, world.catalog);
            Ok(())
        }
        _ => Err(RuleError::Syntax),
    }
}

fn add_keys(selector: &mut Selector, pattern: &[u8], access: Access) -> Result<(), RuleError> {
    match has_spaces(pattern) {
        _ if selector.all_keys => Err(RuleError::AllKeysAlready),
        true => Err(RuleError::Syntax),
        false => selector.add_keys(pattern, access),
    }
}

/// The letters behind a `%`, and the pattern behind their `~`.
fn parse_access(rest: &[u8]) -> Result<(Access, &[u8]), RuleError> {
    let mut access = Access::NONE;
    let mut at = 0;
    while let Some(letter) = rest.get(at) {
        at += 1;
        let more = match letter.to_ascii_uppercase() {
            b'R' if !access.has(Access::READ) => Access::READ,
            b'W' if !access.has(Access::WRITE) => Access::WRITE,
            b'~' => break,
            _ => return Err(RuleError::Syntax),
        };
        access = access.and(more);
    }
    match access {
        Access::NONE => Err(RuleError::Syntax),
        access => Ok((access, &rest[at..])),
    }
}

/// `+get`, `+config|set`, `+select|0`.
fn allow_command(selector: &mut Selector, name: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
    let Some(bar) = memchr::memrchr(b'|', name) else {
        let id = catalog.find(name).ok_or(RuleError::Unknown)?;
        selector.command(id, true, catalog);
        return Ok(());
    };
    let (command, part) = (&name[..bar], &name[bar + 1..]);
    let id = catalog.find(command).ok_or(RuleError::Unknown)?;
    let entry = catalog.entry(id).ok_or(RuleError::Unknown)?;
    if entry.parent.is_some() {
        return Err(RuleError::FirstArgOfSubcommand);
    }
    // One with spaces could not be told again.
    if part.is_empty() || has_spaces(part) {
        return Err(RuleError::Syntax);
    }
    if entry.subcommands.is_empty() {
        return selector.first_arg(id, part, name);
    }
    let id = catalog.find(name).ok_or(RuleError::Unknown)?;
    selector.command(id, true, catalog);
    Ok(())
}

/// Numbers between commas, as C's `strtol` reads them.
fn parse_dbs(mut list: &[u8]) -> Result<BTreeSet<u32>, RuleError> {
    let mut dbs = BTreeSet::new();
    loop {
        while list
            .first()
            .is_some_and(|&byte| crate::util::num::is_c_space(byte))
        {
            list = &list[1..];
        }
        let negative = list.first() == Some(&b'-');
        if let [b'+' | b'-', rest @ ..] = list {
            list = rest;
        }
        let digits = list.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(RuleError::Syntax);
        }
        let (number, rest) = list.split_at(digits);
        let rest = match rest {
            [] => None,
            [b',', rest @ ..] => Some(rest),
            _ => return Err(RuleError::Syntax),
        };
        let number = number.iter().try_fold(0u32, |number, digit| {
            number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
        });
        match number {
            Some(number) if number <= i32::MAX as u32 && !(negative && number > 0) => {
                dbs.insert(number);
            }
            _ => return Err(RuleError::DatabaseRange),
        }
        match rest {
            Some(rest) => list = rest,
            None => return Ok(dbs),
        }
    }
}

/// Whether a name or pattern could not be told again as one word.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter()
        .any(|&byte| byte == 0 || crate::util::num::is_c_space(byte))
}

#[cfg(test)]
mod tests;
