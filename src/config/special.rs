//! The values that have a grammar of their own: addresses, save points, output buffer limits,
//! percentiles, event letters, title templates, checked texts.
//!
//! Texts of errors are Valkey 9.1's; each function says what it accepts and in which form the
//! value is kept, which is the form that CONFIG GET shows.

use crate::sys::files::os_text;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::kind::{Check, Context, OutputLimit, OutputLimits, Reason, Value, not_one_of, word};
use crate::spec::AclCategories;
use crate::util::network::Network;
use crate::util::num::parse_memory;

/// Most addresses of one `bind`.
const BIND_ADDRESSES_MAX: usize = 16;
/// Most networks of one list: each new connection is compared with them.
const NETWORKS_MAX: usize = 256;
/// Bytes of a host name that a cluster node may announce.
const HOST_NAME_MAX: usize = 255;
/// Bounds of `oom-score-adj-values`.
const OOM_SCORES: std::ops::RangeInclusive<i64> = -2000..=2000;

/// Addresses; no words or one empty word mean no TCP listener.
pub(super) fn bind(words: &[Vec<u8>]) -> Result<Value, Reason> {
    if words.len() > BIND_ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".into());
    }
    if words.iter().any(|word| has_control(word)) {
        return Err(CONTROL.into());
    }
    Ok(Value::Words(
        words
            .iter()
            .filter(|word| !word.is_empty())
            .cloned()
            .collect(),
    ))
}

/// Addresses and networks of them; one empty word means none.
pub(super) fn networks(words: &[Vec<u8>]) -> Result<Value, Reason> {
    if words.len() > NETWORKS_MAX {
        return Err(format!("at most {NETWORKS_MAX} networks can be given").into());
    }
    let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).collect();
    for word in &words {
        if number::<Network>(word).is_none() {
            let text = "argument(s) must be IP addresses or networks such as 10.0.0.0/8";
            return Err(text.into());
        }
    }
    Ok(Value::Words(words.into_iter().cloned().collect()))
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Pairs of seconds and changes; one empty word means none. Lines of one source add up.
pub(super) fn save(words: &[Vec<u8>], context: Context<'_>) -> Result<Value, Reason> {
    const INVALID: &str = "Invalid save parameters";
    if let [only] = words
        && only.is_empty()
    {
        return Ok(Value::Words(Vec::new()));
    }
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(INVALID.into());
    }
    let mut points = match context.old {
        Value::Words(points) if !context.first => points.clone(),
        _ => Vec::new(),
    };
    for pair in words.chunks_exact(2) {
        let seconds = number::<i64>(&pair[0]).filter(|n| *n >= 1).ok_or(INVALID)?;
        let changes = number::<i32>(&pair[1]).filter(|n| *n >= 0).ok_or(INVALID)?;
        points.extend([
            seconds.to_string().into_bytes(),
            changes.to_string().into_bytes(),
        ]);
    }
    Ok(Value::Words(points))
}

/// `class hard soft seconds`, any number of times; a class not named keeps its limit.
pub(super) fn output_limits(words: &[Vec<u8>], old: &Value) -> Result<Value, Reason> {
    let mut limits = match old {
        Value::Limits(limits) => *limits,
        _ => OutputLimits::default(),
    };
    if words.iter().all(Vec::is_empty) && words.len() == 1 {
        return Ok(Value::Limits(limits));
    }
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for class in words.chunks_exact(4) {
        let limit = match class[0].to_ascii_lowercase().as_slice() {
            b"normal" => &mut limits.normal,
            b"slave" | b"replica" => &mut limits.replica,
            b"pubsub" => &mut limits.pubsub,
            _ => {
                let text = "Invalid client class specified in buffer limit configuration.";
                return Err(text.into());
            }
        };
        let parse = || {
            Some(OutputLimit {
                hard_bytes: parse_memory(&class[1])?,
                soft_bytes: parse_memory(&class[2])?,
                soft_secs: number::<i64>(&class[3])?.try_into().ok()?,
            })
        };
        *limit = parse()
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
    }
    Ok(Value::Limits(limits))
}

fn limit_classes(limits: &OutputLimits) -> [(&'static str, OutputLimit); 3] {
    [
        ("normal", limits.normal),
        ("slave", limits.replica),
        ("pubsub", limits.pubsub),
    ]
}

/// All classes on one line, with the class names of CONFIG GET.
pub(super) fn render_limits(limits: &OutputLimits) -> String {
    let one = |(class, limit): (&str, OutputLimit)| {
        format!(
            "{class} {} {} {}",
            limit.hard_bytes, limit.soft_bytes, limit.soft_secs
        )
    };
    limit_classes(limits).map(one).join(" ")
}

/// One line per class, as a configuration file has it.
pub(super) fn limit_lines(limits: &OutputLimits) -> Vec<Vec<Vec<u8>>> {
    let line = |(class, limit): (&str, OutputLimit)| {
        let class = if class == "slave" { "replica" } else { class };
        let numbers = [limit.hard_bytes, limit.soft_bytes, limit.soft_secs];
        std::iter::once(class.to_owned())
            .chain(numbers.map(|number| number.to_string()))
            .map(String::into_bytes)
            .collect()
    };
    limit_classes(limits).map(line).to_vec()
}

/// Numbers from 0 to 100, kept with ten significant digits; one empty word means none.
pub(super) fn percentiles(words: &[Vec<u8>]) -> Result<Value, Reason> {
    if let [only] = words
        && only.is_empty()
    {
        return Ok(Value::Words(Vec::new()));
    }
    let mut shown = Vec::new();
    for word in words {
        let percentile = number::<f64>(word)
            .filter(|number| !number.is_nan())
            .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&percentile) {
            return Err(
                "latency-tracking-info-percentiles parameters should sit between \
                        [0.0,100.0]"
                    .into(),
            );
        }
        let rounded: f64 = format!("{percentile:.9e}").parse().unwrap_or(percentile);
        shown.push(rounded.to_string().into_bytes());
    }
    Ok(Value::Words(shown))
}

/// Names of ACL categories, in the order of the table; one empty word means none.
pub(super) fn acl_categories(words: &[Vec<u8>]) -> Result<Value, Reason> {
    let of = |word: &[u8], name: &str| {
        let word = word.strip_prefix(b"@").unwrap_or(word);
        word.eq_ignore_ascii_case(name.trim_start_matches('@').as_bytes())
    };
    let names = || AclCategories::NAMES.iter().map(|(_, name)| *name);
    let given: Vec<&Vec<u8>> = words.iter().filter(|word| !word.is_empty()).collect();
    if let Some(wrong) = given
        .iter()
        .find(|word| !names().any(|name| of(word, name)))
    {
        let wrong = String::from_utf8_lossy(wrong);
        return Err(format!("Unknown ACL category '{wrong}'").into());
    }
    let is_given = |name: &&str| given.iter().any(|word| of(word, name));
    let shown = names().filter(is_given);
    Ok(Value::Words(
        shown.map(|name| name.as_bytes().to_vec()).collect(),
    ))
}

/// Three numbers from -2000 to 2000.
pub(super) fn oom_scores(words: &[Vec<u8>]) -> Result<Value, Reason> {
    if words.len() != 3 {
        return Err("wrong number of arguments".into());
    }
    let mut scores = Vec::new();
    for word in words {
        let score = number::<i64>(word)
            .filter(|score| OOM_SCORES.contains(score))
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        scores.push(score.to_string().into_bytes());
    }
    Ok(Value::Words(scores))
}

/// Words of SHUTDOWN, kept in this order without repetition; `default` stands for none.
pub(super) fn shutdown_flags(words: &[Vec<u8>]) -> Result<Value, Reason> {
    const FLAGS: &[&str] = &[
        "default", "save", "nosave", "now", "force", "safe", "failover",
    ];
    let mut given = Vec::new();
    for flag in words {
        match word(flag, FLAGS) {
            Ok(Value::Word(flag)) => given.push(flag),
            _ => return Err(not_one_of(FLAGS)),
        }
    }
    if given.is_empty() {
        return Err(not_one_of(FLAGS));
    }
    if given.contains(&"save") && given.contains(&"nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    let mut kept: Vec<Vec<u8>> = FLAGS[1..]
        .iter()
        .filter(|flag| given.contains(flag))
        .map(|flag| flag.as_bytes().to_vec())
        .collect();
    if kept.is_empty() {
        kept.push(b"default".to_vec());
    }
    Ok(Value::Words(kept))
}

/// Host and port, or `no one`, which is kept as no words.
pub(super) fn replicaof(words: &[Vec<u8>]) -> Result<Value, Reason> {
    let [host, port] = words else {
        return Err("wrong number of arguments".into());
    };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Value::Words(Vec::new()));
    }
    let port = number::<u16>(port).ok_or("Invalid primary port")?;
    Ok(Value::Words(vec![
        host.clone(),
        port.to_string().into_bytes(),
    ]))
}

/// Letters of event classes, kept in the server's order; all classes together are `A`. `n` behind it
/// is not shown (`Kind::render`), but kept.
pub(super) fn event_flags(arg: &[u8]) -> Result<Value, Reason> {
    /// What `A` stands for.
    const CLASSES: &[u8] = b"g$lshzxetd";
    if !arg
        .iter()
        .all(|flag| CLASSES.contains(flag) || b"AKEmn".contains(flag))
    {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
    }
    let has = |flag: u8| arg.contains(&flag);
    let all = has(b'A') || CLASSES.iter().all(|class| has(*class));
    let mut kept: Vec<u8> = match all {
        true => b"A".to_vec(),
        false => CLASSES
            .iter()
            .copied()
            .filter(|class| has(*class))
            .collect(),
    };
    kept.extend(b"nKEm".iter().filter(|flag| has(**flag)));
    Ok(Value::Text(kept))
}

/// An existing directory, kept as its absolute path.
pub(super) fn dir(arg: &[u8], cwd: &Path) -> Result<Value, Reason> {
    if arg.is_empty() {
        return Err("dir can't be empty".into());
    }
    if has_control(arg) {
        return Err(CONTROL.into());
    }
    let path = cwd.join(std::ffi::OsStr::from_bytes(arg));
    let path = path.canonicalize().map_err(|error| os_text(&error))?;
    match path.is_dir() {
        true => Ok(Value::Text(path.into_os_string().into_vec())),
        false => Err("Not a directory".into()),
    }
}

/// A text that passes `check`.
pub(super) fn text(arg: &[u8], check: Check, name: &str) -> Result<Value, Reason> {
    let wrong: Option<Reason> = match check {
        Check::Secret => None,
        _ if arg.contains(&0) => Some("argument must not contain a NUL byte".into()),
        // Some are shown on lines of their own (INFO, the log), which an end of a line would forge.
        _ if has_control(arg) && !check.names_its_letters() => Some(CONTROL.into()),
        Check::Any => None,
        Check::NotEmpty | Check::FileName if arg.is_empty() => {
            Some(format!("{name} can't be empty").into())
        }
        Check::FileName if arg.iter().any(|b| matches!(b, b'/' | b'\\')) => {
            Some(format!("{name} can't be a path, just a filename").into())
        }
        Check::NotEmpty | Check::FileName => None,
        Check::Title => (!valid_title(arg))
            .then_some("template format is invalid or contains unknown variables".into()),
        Check::HostName => host_name(arg),
        Check::NodeName => (!arg.iter().all(announceable))
            .then_some("Announced human node name contained invalid character".into()),
        Check::AnnounceIp => (!arg.iter().all(announceable))
            .then(|| format!("{name} contains invalid character").into()),
        Check::Ipv4 => (!arg.is_empty() && number::<Ipv4Addr>(arg).is_none())
            .then_some("Invalid IPv4 address".into()),
        Check::Ipv6 => (!arg.is_empty() && number::<Ipv6Addr>(arg).is_none())
            .then_some("Invalid IPv6 address".into()),
    };
    match wrong {
        Some(reason) => Err(reason),
        None => Ok(Value::Text(arg.to_vec())),
    }
}

/// Said of a text that could be taken for several lines, or moves a terminal's cursor.
const CONTROL: &str = "argument must not contain control characters";

fn has_control(arg: &[u8]) -> bool {
    arg.iter().any(u8::is_ascii_control)
}

/// Whether a cluster node may announce this byte: none that the nodes file uses as a mark.
fn announceable(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-./:_`".contains(byte) || *byte >= 0x80
}

fn host_name(arg: &[u8]) -> Option<Reason> {
    if arg.len() > HOST_NAME_MAX {
        return Some("Hostnames must be less than 256 characters".into());
    }
    let valid = arg
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(b));
    (!valid).then_some("Hostnames may only contain alphanumeric characters, hyphens or dots".into())
}

/// Whether every `{name}` is known (`{{` is a brace) and something will be left to show when the
/// title and the mode are empty, as they are at the time of checking.
fn valid_title(template: &[u8]) -> bool {
    const SHOWN: &[&[u8]] = &[
        b"listen-addr",
        b"port",
        b"tls-port",
        b"unixsocket",
        b"config-file",
    ];
    const MAYBE_EMPTY: &[&[u8]] = &[b"title", b"server-mode"];
    let mut shows = false;
    let mut rest = template;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'{' {
            shows |= *first != b' ';
        } else if let Some(tail) = tail.strip_prefix(b"{") {
            shows = true;
            rest = tail;
        } else {
            let Some(end) = tail.iter().position(|b| *b == b'}') else {
                return false;
            };
            let variable = &tail[..end];
            if !SHOWN.contains(&variable) && !MAYBE_EMPTY.contains(&variable) {
                return false;
            }
            shows |= SHOWN.contains(&variable);
            rest = &tail[end + 1..];
        }
    }
    shows
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    fn set(kind: Kind, arg: &str) -> Result<String, String> {
        let old = Value::Limits(OutputLimits::default());
        let context = Context {
            name: "name",
            old: &old,
            first: true,
            cwd: Path::new("/"),
        };
        match kind.parse(&[arg.as_bytes().to_vec()], context) {
            Ok(value) => Ok(String::from_utf8_lossy(&kind.render(&value)).into_owned()),
            Err(reason) => Err(reason.into_owned()),
        }
    }

    /// Asked of Valkey 9.1.2.
    #[test]
    fn values_show_as_valkey_shows_them() {
        let cases: &[(Kind, &str, &str)] = &[
            (Kind::Percentiles, "50 99", "50 99"),
            (Kind::Percentiles, "", ""),
            (
                Kind::Percentiles,
                "50.123456 99.99999",
                "50.123456 99.99999",
            ),
            (Kind::Percentiles, "1e1", "10"),
            (Kind::Percentiles, "99 50", "99 50"),
            (Kind::Percentiles, "-0", "-0"),
            (Kind::EventFlags, "KEA", "AKE"),
            (Kind::EventFlags, "g$", "g$"),
            (Kind::EventFlags, "Kx", "xK"),
            (Kind::EventFlags, "KEAmn", "AKEm"),
            (Kind::EventFlags, "KElshzxe$tdg", "AKE"),
            (Kind::EventFlags, "KEg$lshzxet", "g$lshzxetKE"),
            (Kind::EventFlags, "nKg", "gnK"),
            (Kind::EventFlags, "mn", "nm"),
            (Kind::EventFlags, "", ""),
            (Kind::OomScores, "-5 -3 1001", "-5 -3 1001"),
            (Kind::ShutdownFlags, "default now", "now"),
            (Kind::ShutdownFlags, "SAVE", "save"),
            (
                Kind::ShutdownFlags,
                "nosave force now failover safe",
                "nosave now force safe failover",
            ),
            (Kind::ShutdownFlags, "default", "default"),
            (Kind::Save, "900 1 300 10", "900 1 300 10"),
            (Kind::Save, "01 1", "1 1"),
            (Kind::Save, "900 0", "900 0"),
            (Kind::Save, "", ""),
            (
                Kind::OutputLimits,
                "NORMAL 0 0 0 normal 5 5 5",
                "normal 5 5 5 slave 0 0 0 pubsub 0 0 0",
            ),
            (
                Kind::OutputLimits,
                "replica 1mb 2 3 pubsub 1gb 5k 60",
                "normal 0 0 0 slave 1048576 2 3 pubsub 1073741824 5000 60",
            ),
            (
                Kind::OutputLimits,
                "",
                "normal 0 0 0 slave 0 0 0 pubsub 0 0 0",
            ),
            (
                Kind::OutputLimits,
                "normal 18446744073709551615 0 0",
                "normal 18446744073709551615 0 0 slave 0 0 0 pubsub 0 0 0",
            ),
            (Kind::MemoryOrPercent, "1%", "1%"),
            (Kind::MemoryOrPercent, "0%", "0"),
            (Kind::MemoryOrPercent, "100%", "100%"),
            (Kind::MemoryOrPercent, "1kb", "1024"),
            (Kind::SignedMemory { min: -1, max: 100 }, "-1", "-1"),
            (Kind::SignedMemory { min: -1, max: 5000 }, "1k", "1000"),
            (Kind::Hz, "0", "1"),
            (Kind::Hz, "501", "500"),
            (Kind::Octal { max: 0o777 }, "700", "700"),
            (Kind::Octal { max: 0o777 }, "", "0"),
            (Kind::Octal { max: 0o777 }, " 7", "7"),
            (Kind::LogFormat, "PLAIN", "legacy"),
            (Kind::OomScoreAdj, "Relative", "yes"),
            (Kind::Bool, "Yes", "yes"),
            (Kind::Bind, "127.0.0.1 -::1", "127.0.0.1 -::1"),
            (Kind::Bind, "", ""),
            (Kind::ReplicaOf, "a 1", "a 1"),
            (Kind::ReplicaOf, "No ONE", ""),
            (Kind::Dir, "/usr/../usr/bin/..", "/usr"),
        ];
        for (kind, arg, shown) in cases {
            assert_eq!(set(*kind, arg).as_deref(), Ok(*shown), "{kind:?} {arg:?}");
        }
    }

    /// Asked of Valkey 9.1.2.
    #[test]
    fn wrong_values_are_told_in_valkeys_words() {
        const PERCENTILES: &str = "Invalid latency-tracking-info-percentiles parameters";
        const PERCENTILE_RANGE: &str =
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        const LIMIT: &str =
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        const LIMITS: &str = "Wrong number of arguments in buffer limit configuration.";
        const OOM: &str = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
        const PERCENT: &str = "argument must be a memory or percent value";
        const SHUTDOWN: &str = "argument(s) must be one of the following: default, save, nosave, \
                                now, force, safe, failover";
        const INTEGER: &str = "argument couldn't be parsed into an integer";
        let many = "1.1.1.1 ".repeat(17);
        let cases: &[(Kind, &str, &str)] = &[
            (Kind::Percentiles, "101", PERCENTILE_RANGE),
            (Kind::Percentiles, "-1", PERCENTILE_RANGE),
            (Kind::Percentiles, "inf", PERCENTILE_RANGE),
            (Kind::Percentiles, "nan", PERCENTILES),
            (Kind::Percentiles, "0x10", PERCENTILES),
            (Kind::Percentiles, "50  99", PERCENTILES),
            (Kind::Percentiles, "50,99", PERCENTILES),
            (
                Kind::EventFlags,
                "K m",
                "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
            (Kind::OomScores, "0 200", "wrong number of arguments"),
            (Kind::OomScores, "-2001 0 0", OOM),
            (Kind::OomScores, "1.5 2 3", OOM),
            (
                Kind::ShutdownFlags,
                "save nosave",
                "shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
            (Kind::ShutdownFlags, "", SHUTDOWN),
            (Kind::ShutdownFlags, "save  now", SHUTDOWN),
            (Kind::Save, "900", "Invalid save parameters"),
            (Kind::Save, "0 1", "Invalid save parameters"),
            (Kind::Save, "900 -1", "Invalid save parameters"),
            (Kind::Save, "3600 1  300 100", "Invalid save parameters"),
            (Kind::Save, "1 1 ", "Invalid save parameters"),
            (Kind::OutputLimits, "normal 1 2", LIMITS),
            (Kind::OutputLimits, "normal 1 x 3", LIMIT),
            (Kind::OutputLimits, "normal 1 1 -5", LIMIT),
            (Kind::OutputLimits, "normal -1 0 0", LIMIT),
            (Kind::OutputLimits, "normal 0 0 9223372036854775808", LIMIT),
            (
                Kind::OutputLimits,
                "primary 1 2 3",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                Kind::MemoryOrPercent,
                "101%",
                "percentage argument must be less or equal to 100",
            ),
            (Kind::MemoryOrPercent, "-1%", PERCENT),
            (Kind::MemoryOrPercent, "05%", PERCENT),
            (Kind::MemoryOrPercent, "%", PERCENT),
            (
                Kind::SignedMemory { min: -1, max: 9 },
                "-2",
                "argument must be between -1 and 9 inclusive",
            ),
            (
                Kind::SignedMemory { min: -1, max: 9 },
                "-1k",
                "argument must be a memory value",
            ),
            (
                Kind::Hz,
                "-1",
                "argument must be between 0 and 2147483647 inclusive",
            ),
            (Kind::Hz, "05", INTEGER),
            (Kind::Hz, "+5", INTEGER),
            (Kind::Hz, " 5", INTEGER),
            (Kind::Hz, "-0", INTEGER),
            (Kind::Hz, "9223372036854775808", INTEGER),
            (
                Kind::Octal { max: 0o777 },
                "800",
                "argument couldn't be parsed as an octal number",
            ),
            (
                Kind::Octal { max: 0o777 },
                "1777",
                "argument must be between 0 and 777 inclusive",
            ),
            (
                Kind::Octal { max: 0o777 },
                "-1",
                "argument must be between 0 and 777 inclusive",
            ),
            (Kind::Bool, "no ", "argument must be 'yes' or 'no'"),
            (
                Kind::Bind,
                many.trim_end(),
                "Too many bind addresses specified.",
            ),
            (Kind::ReplicaOf, "a x", "Invalid primary port"),
            (Kind::ReplicaOf, "a 99999", "Invalid primary port"),
            (Kind::ReplicaOf, "", "wrong number of arguments"),
            (Kind::Dir, "/nonexistent", "No such file or directory"),
            (Kind::Dir, "/etc/passwd", "Not a directory"),
            (Kind::Dir, "", "dir can't be empty"),
            (
                Kind::Text(Check::FileName),
                "a/b",
                "name can't be a path, just a filename",
            ),
            (Kind::Text(Check::FileName), "", "name can't be empty"),
            (
                Kind::Text(Check::HostName),
                "a_b",
                "Hostnames may only contain alphanumeric characters, hyphens or dots",
            ),
            (
                Kind::Text(Check::NodeName),
                "a b",
                "Announced human node name contained invalid character",
            ),
            (
                Kind::Text(Check::AnnounceIp),
                "a,b",
                "name contains invalid character",
            ),
            (Kind::Text(Check::Ipv4), "::1", "Invalid IPv4 address"),
            (Kind::Text(Check::Ipv6), "1.1.1.1", "Invalid IPv6 address"),
        ];
        for (kind, arg, reason) in cases {
            assert_eq!(
                set(*kind, arg),
                Err((*reason).to_owned()),
                "{kind:?} {arg:?}"
            );
        }
    }

    #[test]
    fn memory_units() {
        let kind = Kind::Memory {
            min: 0,
            max: u64::MAX as i128,
        };
        let good = [
            ("1k", "1000"),
            ("1KB", "1024"),
            ("1m", "1000000"),
            ("1mb", "1048576"),
            ("1g", "1000000000"),
            ("1Gb", "1073741824"),
            ("1b", "1"),
            ("00010", "10"),
            ("", "0"),
            ("kb", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("17179869183g", "17179869183000000000"),
        ];
        for (arg, bytes) in good {
            assert_eq!(set(kind, arg).as_deref(), Ok(bytes), "{arg:?}");
        }
        let bad = [
            "1t",
            "1kbb",
            "+1",
            "-1",
            "1.5g",
            "0x10",
            "18446744073709551616",
            "1%",
            "-1kb",
            " 1",
            "1 ",
            "1 k",
            "18446744073709551615kb",
        ];
        for arg in bad {
            assert_eq!(
                set(kind, arg),
                Err("argument must be a memory value".to_owned()),
                "{arg:?}"
            );
        }
        let query = Kind::Memory {
            min: 1 << 20,
            max: i64::MAX as i128,
        };
        let range = "argument must be between 1048576 and 9223372036854775807 inclusive";
        for arg in ["", "0", "1048575", "9223372036854775808"] {
            assert_eq!(set(query, arg), Err(range.to_owned()), "{arg:?}");
        }
    }

    #[test]
    fn title_templates() {
        let kind = Kind::Text(Check::Title);
        for good in [
            "{title} {listen-addr} {server-mode}",
            "title}",
            "{{title}}",
            "{port}",
            "{{",
        ] {
            assert_eq!(set(kind, good).as_deref(), Ok(good));
        }
        for bad in [
            "{title} {foo}",
            "{title",
            "{title}",
            "{}",
            "",
            "  ",
            "{title }x",
            "{Title}x",
        ] {
            assert!(set(kind, bad).is_err(), "{bad:?}");
        }
    }
}
