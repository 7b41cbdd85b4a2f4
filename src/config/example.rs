//! `redis.conf.example`, made from the table, so that the two cannot part.

use super::grammar::join_args;
use super::kind::Kind;
use super::rows::THEMES;
use super::table::{Directive, Status};

const INTRODUCTION: &str = "\
# Example configuration of Kivi.
#
# Start with a file:      kivi-server /etc/kivi.conf
# Check a file:           kivi-server /etc/kivi.conf --check-config
# Read standard input:    kivi-server - < kivi.conf
#
# Every directive may also be given as a variable of the environment (KIVI_PORT=7000) and on the
# command line (--port 7000). Later wins: built-in defaults, this file, standard input,
# environment, command line. A file whose name ends in `.toml` holds the same names in TOML.
#
# The lines below show the defaults; remove the `#` in front of a directive to set it. A comment
# takes a whole line. An argument with blanks is quoted: '...' knows only \\' and \"...\" knows
# \\n, \\r, \\t, \\xHH, \\\" and \\\\. Memory sizes take units: 1k is 1000 bytes, 1kb is 1024 bytes;
# likewise m, mb, g and gb, in any case.
#
# [later] marks a directive whose feature is still to come: it is accepted here with a warning in
#         the log, and CONFIG SET refuses it.
# [no effect] marks a directive that is accepted for compatibility and never has an effect.
";

/// The text of `redis.conf.example`.
fn example() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (theme, directives) in THEMES {
        text.push_str(&format!(
            "\n{}\n#\n# {theme}\n#\n{}\n",
            "#".repeat(80),
            "#".repeat(80)
        ));
        for directive in *directives {
            text.push('\n');
            text.push_str(&entry(directive));
        }
    }
    text
}

fn entry(directive: &Directive) -> String {
    let mark = match directive.status {
        Status::Working => "",
        Status::Accepted => "[no effect] ",
        Status::Later => "[later] ",
    };
    let mut text = wrap(&format!("{mark}{}", directive.doc));
    if let Some(values) = directive.kind.describe() {
        text.push_str(&wrap(&format!("Values: {values}.")));
    }
    if !directive.aliases.is_empty() {
        text.push_str(&wrap(&format!(
            "Also called {}.",
            directive.aliases.join(", ")
        )));
    }
    for arguments in arguments(directive) {
        text.push_str(&format!("# {} {arguments}\n", directive.name));
    }
    text
}

/// The arguments of the lines that set a directive to its default, or show its form.
fn arguments(directive: &Directive) -> Vec<String> {
    let one = match directive.kind {
        Kind::Include => "/etc/kivi.d/*.conf",
        Kind::RenameCommand => "CONFIG \"\"",
        Kind::Lines if directive.name == "user" => "alice on >secret ~* +@all",
        Kind::Lines => "/path/to/module.so",
        Kind::ReplicaOf => "no one",
        Kind::Ignored => "0",
        Kind::OutputLimits => {
            let words: Vec<_> = directive.default.split(' ').collect();
            let line = |class: &[&str]| class.join(" ").replace("slave", "replica");
            return words.chunks(4).map(line).collect();
        }
        kind if kind.takes_several() && !directive.default.is_empty() => directive.default,
        _ => {
            let quoted = join_args([directive.default.as_bytes()]);
            return vec![String::from_utf8_lossy(&quoted).into_owned()];
        }
    };
    vec![one.to_owned()]
}

/// Comment lines of at most 100 columns.
fn wrap(text: &str) -> String {
    const WIDTH: usize = 96;
    let (mut lines, mut line) = (String::new(), String::from("#"));
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::sources::{Sources, load_from};
    use super::super::store::default_values;
    use super::super::table::{directives, find};
    use super::*;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/redis.conf.example");

    /// `KIVI_TEST_BLESS=1 cargo test example` writes the file.
    #[test]
    fn the_example_file_is_made_from_the_table() {
        if std::env::var_os("KIVI_TEST_BLESS").is_some() {
            std::fs::write(PATH, example()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(PATH).unwrap(), example());
    }

    /// Removes the `#` of every default and loads the result: the defaults, and no warning.
    #[test]
    fn the_example_gives_the_defaults() {
        let text = example();
        for directive in directives() {
            let line = format!("\n# {} ", directive.name);
            assert!(text.contains(&line), "{} is missing", directive.name);
        }
        let default = |line: &&str| {
            let name = line
                .strip_prefix("# ")
                .and_then(|line| line.split(' ').next());
            name.and_then(|name| find(name.as_bytes()))
                .is_some_and(|directive| {
                    let forms = [Kind::Include, Kind::RenameCommand, Kind::Lines];
                    !forms.contains(&directive.kind)
                })
        };
        let lines = text.lines().filter(default);
        let conf: String = lines.map(|line| format!("{}\n", &line[2..])).collect();
        let file = tempfile::Builder::new().suffix(".conf").tempfile().unwrap();
        std::fs::write(file.path(), conf).unwrap();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        };
        let cwd = std::path::PathBuf::from("/");
        let loaded = load_from(&sources, cwd.clone(), &mut std::io::empty());
        let (store, warnings) = loaded.unwrap();
        assert_eq!(warnings, []);
        assert_eq!(store.values, default_values(&cwd));
    }
}
