//! Lines, the limit of what waits, and the file.

use std::path::PathBuf;

use super::*;

fn line<'a>(command: &'a str, outcome: Outcome<'a>) -> Line<'a, std::iter::Empty<&'a [u8]>> {
    Line {
        at_us: 1_700_000_000_000_001,
        client: 7,
        user: b"default",
        login: None,
        addr: "127.0.0.1:50000",
        db: 0,
        command,
        keys: std::iter::empty(),
        by_script: false,
        outcome,
    }
}

fn with_keys<'a>(keys: &'a [&'a [u8]]) -> Line<'a, impl Iterator<Item = &'a [u8]>> {
    let Line {
        at_us,
        client,
        user,
        login,
        addr,
        db,
        command,
        by_script,
        outcome,
        ..
    } = line("del", Outcome::Ok);
    Line {
        at_us,
        client,
        user,
        login,
        addr,
        db,
        command,
        keys: keys.iter().copied(),
        by_script,
        outcome,
    }
}

fn text<'k>(line: Line<'_, impl Iterator<Item = &'k [u8]>>) -> String {
    let mut text = Vec::new();
    line.write(&mut text);
    String::from_utf8(text).expect("lines are ASCII")
}

/// A file of its own in the temporary directory, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let name = format!("kivi-audit-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        Scratch(path)
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_line_says_who_did_what() {
    assert_eq!(
        text(line("flushall", Outcome::Ok)),
        "{\"time\":\"2023-11-14T22:13:20.000001Z\",\"client\":7,\"user\":\"default\",\
         \"address\":\"127.0.0.1:50000\",\"db\":0,\"command\":\"flushall\",\"keys\":[],\
         \"outcome\":\"ok\"}\n"
    );
    let denied = Line {
        login: Some(b"alice"),
        by_script: true,
        ..line("auth", Outcome::Denied(b"NOPERM"))
    };
    let parsed: serde_json::Value = serde_json::from_str(&text(denied)).unwrap();
    assert_eq!(parsed["login"], "alice");
    assert_eq!(parsed["script"], true);
    assert_eq!(
        (&parsed["outcome"], &parsed["error"]),
        (&"denied".into(), &"NOPERM".into())
    );
}

#[test]
fn any_bytes_stay_on_one_line_and_can_be_told_apart() {
    let keys: [&[u8]; 4] = [b"a\n\"b\"\\", b"\xff\0", "\u{e4}".as_bytes(), &[b'k'; 300]];
    let text = text(with_keys(&keys));
    assert_eq!(text.matches('\n').count(), 1);
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parsed["keys"][0], "a\\n\\\"b\\\"\\\\");
    assert_eq!(parsed["keys"][1], "\\xff\\x00");
    assert_eq!(parsed["keys"][2], "\\xc3\\xa4");
    let long = parsed["keys"][3].as_str().unwrap();
    assert_eq!(long, format!("{}... (44 more bytes)", "k".repeat(256)));
    let many = vec![&b"k"[..]; 100];
    let parsed: serde_json::Value = serde_json::from_str(&self::text(with_keys(&many))).unwrap();
    assert_eq!(parsed["keys"].as_array().unwrap().len(), 64);
    assert_eq!(parsed["more_keys"], 36);
}

#[test]
fn dates_are_right() {
    for (secs, expected) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951_782_399, "2000-02-28T23:59:59.000000Z"),
        (951_782_400, "2000-02-29T00:00:00.000000Z"),
        (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
        (1_709_251_200, "2024-03-01T00:00:00.000000Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
    ] {
        assert_eq!(utc(secs * 1_000_000), expected);
    }
}

#[test]
fn what_is_told_is_in_the_file_when_the_log_ends() {
    let scratch = Scratch::new("whole");
    let audit = Audit::default();
    audit.start(&scratch.0).unwrap();
    assert!(audit.is_on());
    for _ in 0..1000 {
        audit.push(&render(line("config|set", Outcome::Error(b"ERR"))));
    }
    audit.stop();
    assert!(!audit.is_on());
    assert_eq!(scratch.lines().len(), 1000);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&scratch.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let missing = std::env::temp_dir().join("kivi-no-such-directory/audit.log");
    assert!(Audit::default().start(&missing).is_err());
}

#[test]
fn what_does_not_fit_is_counted_and_refusals_cannot_push_others_out() {
    let audit = Audit::default();
    let denied = text(line("get", Outcome::Denied(b"NOPERM")));
    let fitting = DENIED_BYTES_MAX / denied.len();
    for _ in 0..fitting + 100 {
        audit.push(&render(line("get", Outcome::Denied(b"NOPERM"))));
    }
    let dropped = || audit.shared.queue.lock().dropped;
    assert_eq!(dropped(), 100);
    audit.push(&render(line("flushall", Outcome::Ok)));
    assert_eq!(dropped(), 0, "there is room for what was done");
    while dropped() == 0 {
        audit.push(&render(line("flushall", Outcome::Ok)));
    }
    // What is missing behind the last line is said by the next one that is kept, in its place.
    let mut lines = Vec::new();
    let told = audit.shared.take(&mut lines).unwrap();
    assert!(lines.len() <= QUEUE_BYTES_MAX);
    let text = String::from_utf8(lines).unwrap();
    assert_eq!(text.matches("{\"dropped\":100}\n").count(), 1);
    let (before, behind) = text.split_once("{\"dropped\":100}\n").unwrap();
    assert_eq!(before.lines().count(), fitting);
    let kept = behind.lines().count() as u64;
    assert_eq!(told, fitting as u64 + 100 + kept);
    assert_eq!(dropped(), 1);
    audit.push(&render(line("save", Outcome::Ok)));
    let mut lines = Vec::new();
    assert_eq!(audit.shared.take(&mut lines), Some(2));
    assert!(lines.starts_with(b"{\"dropped\":1}\n{"));
    assert_eq!(dropped(), 0);
}

#[test]
fn a_file_that_cannot_be_written_loses_lines_and_says_so_later() {
    let scratch = Scratch::new("gone");
    let audit = Audit::default();
    audit.start(&scratch.0).unwrap();
    // A directory in its place cannot be written.
    std::fs::remove_file(&scratch.0).unwrap();
    std::fs::create_dir(&scratch.0).unwrap();
    audit.push(&render(line("flushall", Outcome::Ok)));
    while audit.shared.queue.lock().lost == 0 {
        std::thread::yield_now();
    }
    std::fs::remove_dir(&scratch.0).unwrap();
    audit.push(&render(line("save", Outcome::Ok)));
    audit.stop();
    let lines = scratch.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["dropped"], 1);
    assert_eq!(lines[1]["command"], "save");
}
