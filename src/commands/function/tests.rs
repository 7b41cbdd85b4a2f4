//! FUNCTION, FCALL, and libraries in snapshots and logs.

use crate::commands::tests::Test;
use crate::commands::tests::transcript::Transcript;

/// What Valkey 9.1.2 answers.
const VALKEY: &str = include_str!("valkey.txt");

#[test]
fn everything_is_as_valkey_has_it() {
    let transcript = Transcript {
        text: VALKEY,
        variants: 2,
        least: 1200,
    };
    transcript.replay(|_| Test::new(), str::to_owned);
}

#[test]
fn every_row_is_in_the_transcript() {
    let text = VALKEY.to_ascii_lowercase();
    for row in super::COMMANDS {
        assert!(text.contains(&format!("\n{} ", row.name)), "{}", row.name);
        for sub in row.subcommands {
            let line = format!("\n{} {}", row.name, sub.name);
            assert!(text.contains(&line), "{line}");
        }
    }
}
