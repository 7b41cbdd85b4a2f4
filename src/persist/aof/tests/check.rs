//! `--check-aof`: the expected texts are what valkey-check-aof 9.1.2 wrote for the same files.

use std::fs;
use std::io::Cursor;

use super::super::check::{Check, check};
use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Whether all is well, and what is told, the folder written as `DIR`.
    fn run(&self, check_what: &Check, answer: &str) -> (bool, String) {
        let mut out = Vec::new();
        let mut answers = Cursor::new(answer.as_bytes().to_vec());
        let good = check(check_what, &mut answers, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        (good, out.replace(self.0.path().to_str().unwrap(), "DIR"))
    }

    fn check(&self, name: &str) -> (bool, String) {
        let file = self.0.path().join(name);
        let what = Check {
            file,
            ..Check::default()
        };
        self.run(&what, "")
    }
}

#[test]
fn faults_of_one_file() {
    let cases: [(&str, &str); 9] = [
        (
            "*1\r\n$5\r\nMULTI\r\n",
            "0x               8: Reached EOF before reading EXEC for MULTI\n\
             AOF analyzed: filename=DIR/f, size=15, ok_up_to=0, ok_up_to_line=4, diff=15\n",
        ),
        (
            "*1\r\n$5\r\nEXEC",
            "0x               8: Expected to read 7 bytes, got 4 bytes\n\
             AOF analyzed: filename=DIR/f, size=12, ok_up_to=0, ok_up_to_line=3, diff=12\n",
        ),
        (
            "*1\r\n$5\r\nEXECaaaa",
            "0x               8: Expected \\r\\n, got: 6161\n\
             AOF analyzed: filename=DIR/f, size=16, ok_up_to=0, ok_up_to_line=3, diff=16\n",
        ),
        (
            "*1\r\n$4\r\nEXEC\r\n",
            "0x               8: Unexpected EXEC in AOF DIR/f\n\
             AOF analyzed: filename=DIR/f, size=14, ok_up_to=0, ok_up_to_line=4, diff=14\n",
        ),
        (
            "*1\r\n#4\r\nEXEC\r\n",
            "0x               4: Expected prefix '$', got: '#'\n\
             AOF analyzed: filename=DIR/f, size=14, ok_up_to=0, ok_up_to_line=2, diff=14\n",
        ),
        (
            "*1\r\n$-4\r\nEXEC\r\n",
            "0x               4: Expected to read string of -4 bytes, which is not in the suitable range\n\
             AOF analyzed: filename=DIR/f, size=15, ok_up_to=0, ok_up_to_line=3, diff=15\n",
        ),
        (
            "*1\n$4\r\nEXEC\r\n",
            "0x               0: Expected \\r\\n, got: 0a00\n\
             AOF analyzed: filename=DIR/f, size=13, ok_up_to=0, ok_up_to_line=1, diff=13\n",
        ),
        (
            "hello*1\n$4\r\nEXEC\r\n",
            "AOF DIR/f format error\n\
             AOF analyzed: filename=DIR/f, size=18, ok_up_to=0, ok_up_to_line=1, diff=18\n",
        ),
        (
            "*1\r\n$4\r\nPING\r\n*1\r\n",
            "AOF analyzed: filename=DIR/f, size=18, ok_up_to=14, ok_up_to_line=5, diff=4\n",
        ),
    ];
    let folder = Folder::new();
    for (content, told) in cases {
        folder.put("f", content);
        let expected = format!(
            "Start checking Old-Style AOF\n{told}\
             AOF DIR/f is not valid. Use the --fix option to try fixing it.\n"
        );
        assert_eq!(folder.check("f"), (false, expected), "{content:?}");
    }
    folder.put("f", "");
    let empty = "Start checking Old-Style AOF\nAOF DIR/f is empty\n";
    assert_eq!(folder.check("f"), (true, empty.to_owned()));
    let missing = "Cannot open file DIR/none: No such file or directory\n";
    assert_eq!(folder.check("none"), (false, missing.to_owned()));
    // A length that no memory could hold.
    folder.put("f", "*1\r\n$9223372036854775805\r\nx");
    let told = folder.check("f").1;
    assert!(
        told.contains("Expected to read 9223372036854775807 bytes, got 1 bytes"),
        "{told}"
    );
}

const STAMPED: &str = "#TS:100\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n\
                       #TS:200\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nPI";

/// A log of a BASE and two INCR files, the last one stamped and torn.
fn parts() -> Folder {
    let folder = Folder::new();
    folder.put("b", "*1\r\n$4\r\nPING\r\n");
    folder.put("i1", "*1\r\n$4\r\nPING\r\n");
    folder.put("i2", STAMPED);
    let manifest = "file b seq 1 type b\nfile i1 seq 1 type i\nfile i2 seq 2 type i\n";
    folder.put("m", manifest);
    folder
}

const FIRST_PARTS: &str = "Start checking Multi Part AOF\n\
    Start to check BASE AOF (RESP format).\n\
    AOF analyzed: filename=b, size=14, ok_up_to=14, ok_up_to_line=4, diff=0\n\
    BASE AOF b is valid\n\
    Start to check INCR files.\n\
    AOF analyzed: filename=i1, size=14, ok_up_to=14, ok_up_to_line=7, diff=0\n\
    INCR AOF i1 is valid\n";

const TORN: &str = "0x              40: Expected to read 6 bytes, got 2 bytes\n\
    AOF analyzed: filename=i2, size=66, ok_up_to=41, ok_up_to_line=17, diff=25\n";

#[test]
fn a_log_of_several_files_is_mended_at_its_end() {
    let folder = parts();
    let invalid =
        format!("{FIRST_PARTS}{TORN}AOF i2 is not valid. Use the --fix option to try fixing it.\n");
    assert_eq!(folder.check("m"), (false, invalid));
    let file = folder.0.path().join("m");
    let fix = Check {
        file,
        fix: true,
        ..Check::default()
    };
    let shrink = "This will shrink the AOF i2 from 66 bytes, with 25 bytes, to 41 bytes\n\
                  Continue? [y/N]: ";
    for no in ["", "n\n", "\n", "ny\n"] {
        let told = format!("{FIRST_PARTS}{TORN}{shrink}Aborting...\n");
        assert_eq!(folder.run(&fix, no), (false, told));
    }
    let told = format!(
        "{FIRST_PARTS}{TORN}{shrink}Successfully truncated AOF i2\n\
         All AOF files and manifest are valid\n"
    );
    assert_eq!(folder.run(&fix, "y\n"), (true, told));
    assert_eq!(
        fs::read(folder.0.path().join("i2")).unwrap(),
        STAMPED.as_bytes()[..41]
    );
    assert!(folder.check("m").0);
    // Not the last one.
    folder.put("i1", "*1\r\n$4\r\nPI");
    let (good, told) = folder.run(&fix, "y\n");
    assert!(!good);
    assert!(told.ends_with("Failed to truncate AOF i1 because it is not the last file\n"));
    fs::remove_file(folder.0.path().join("i1")).unwrap();
    let (good, told) = folder.check("m");
    assert!(!good);
    let missing = "Cannot open file DIR/i1: No such file or directory, aborting...\n";
    assert!(told.ends_with(missing), "{told}");
}

#[test]
fn a_log_is_cut_at_a_timestamp() {
    let folder = parts();
    let to = |secs| Check {
        file: folder.0.path().join("m"),
        truncate_to_timestamp: Some(secs),
        ..Check::default()
    };
    let nothing_before = "Start checking Multi Part AOF\n\
        Start to check BASE AOF (RESP format).\n\
        Truncate nothing in AOF b to timestamp 50\n\
        BASE AOF b is valid\n\
        Start to check INCR files.\n\
        Truncate nothing in AOF i1 to timestamp 50\n\
        INCR AOF i1 is valid\n\
        AOF DIR/i2 has nothing before timestamp 50, aborting...\n";
    assert_eq!(folder.run(&to(50), ""), (false, nothing_before.to_owned()));
    let cut = "Start checking Multi Part AOF\n\
        Start to check BASE AOF (RESP format).\n\
        Truncate nothing in AOF b to timestamp 150\n\
        BASE AOF b is valid\n\
        Start to check INCR files.\n\
        Truncate nothing in AOF i1 to timestamp 150\n\
        INCR AOF i1 is valid\n\
        Successfully truncated AOF i2 to timestamp 150\n\
        All AOF files and manifest are valid\n";
    assert_eq!(folder.run(&to(150), ""), (true, cut.to_owned()));
    assert_eq!(
        fs::read(folder.0.path().join("i2")).unwrap(),
        STAMPED.as_bytes()[..32]
    );
    folder.put("i2", "#TS:1x\r\n");
    let (good, told) = folder.run(&to(150), "");
    assert!(
        !good && told.ends_with("Invalid timestamp annotation\n"),
        "{told}"
    );
    folder.put("i2", STAMPED);
    folder.put("i1", format!("{STAMPED}NG\r\n*1\r\n$4\r\nEXEC\r\n"));
    let (good, told) = folder.run(&to(150), "");
    assert!(!good);
    let refused = "Failed to truncate AOF DIR/i1 to timestamp 150 to offset 32 because it is not \
                   the last file.\n";
    assert!(told.contains(refused), "{told}");
}

#[test]
fn faults_of_a_manifest() {
    let folder = Folder::new();
    folder.put("m", "# comment\nfile a seq 1 type b\nbad line\n");
    let (good, told) = folder.check("m");
    assert!(!good);
    assert!(
        told.contains("*** FATAL AOF MANIFEST FILE ERROR ***"),
        "{told}"
    );
    assert!(told.contains(">>> 'bad line'"), "{told}");
    assert!(
        told.trim_end()
            .ends_with("Invalid AOF manifest file format"),
        "{told}"
    );
}
