//! Loading: order of files, torn tails, damage, the old form.

use super::*;

const MANIFEST: &str = "file appendonly.aof.1.base.rdb seq 1 type b\n\
                        file appendonly.aof.1.incr.aof seq 1 type i\n\
                        file appendonly.aof.2.incr.aof seq 2 type i\n";

fn disk_with(files: &[(&str, &[u8])]) -> FakeDisk {
    let disk = FakeDisk::new(DIR);
    disk.create_dir(&at("")).unwrap();
    disk.fsync_dir(Path::new(DIR)).unwrap();
    for (name, content) in files {
        disk.put(&at(name), content);
    }
    disk
}

/// The usual three files.
fn usual(first: &[u8], second: &[u8]) -> FakeDisk {
    disk_with(&[
        ("appendonly.aof.manifest", MANIFEST.as_bytes()),
        ("appendonly.aof.1.base.rdb", b"REDIS 1 2\n"),
        ("appendonly.aof.1.incr.aof", first),
        ("appendonly.aof.2.incr.aof", second),
    ])
}

fn load_with(disk: &FakeDisk, options: LoadOptions) -> (Result<Loaded, AofError>, Kept) {
    let mut kept = Kept::default();
    let aof = open(disk, Settings::default());
    let loaded = aof.and_then(|aof| {
        let loaded = aof.load(options, &mut kept)?;
        if loaded == Loaded::Ok {
            assert_eq!(aof.loaded_bytes(), aof.total_bytes());
        }
        Ok(loaded)
    });
    (loaded, kept)
}

fn load(disk: &FakeDisk) -> (Result<Loaded, AofError>, Kept) {
    load_with(disk, LOAD)
}

#[track_caller]
fn fails(disk: &FakeDisk, text: &str) {
    let before: Vec<_> = disk.paths().iter().map(|path| disk.content(path)).collect();
    let error = load(disk).0.expect_err("loaded");
    assert!(error.0.contains(text), "{error}");
    let after: Vec<_> = disk.paths().iter().map(|path| disk.content(path)).collect();
    assert_eq!(before, after, "something was changed");
}

#[test]
fn files_are_loaded_in_order() {
    let disk = usual(
        &requests(&[
            "SELECT 3", "SET a b", "MULTI", "SELECT 4", "SET c d", "EXEC", "DEL e",
        ]),
        &requests(&["SET f g"]),
    );
    let (loaded, kept) = load(&disk);
    assert_eq!(loaded, Ok(Loaded::Ok));
    assert_eq!(
        kept.lines,
        [
            "0:RPUSH l 1",
            "0:RPUSH l 2",
            "3:SET a b",
            "4:SET c d",
            "4:DEL e",
            "0:SET f g"
        ]
    );
    assert_eq!(
        kept.files,
        [
            "appendonly.aof.1.base.rdb",
            "appendonly.aof.1.incr.aof",
            "appendonly.aof.2.incr.aof"
        ]
    );
}

#[test]
fn no_log_and_an_empty_one_are_told_apart() {
    assert_eq!(load(&FakeDisk::new(DIR)).0, Ok(Loaded::NotExist));
    let empty = disk_with(&[
        ("appendonly.aof.manifest", b"file a seq 1 type i\n"),
        ("a", b""),
    ]);
    assert_eq!(load(&empty).0, Ok(Loaded::Empty));
    let bad = disk_with(&[("appendonly.aof.manifest", b"what\n")]);
    fails(&bad, "Invalid AOF manifest file format");
    let missing = disk_with(&[("appendonly.aof.manifest", MANIFEST.as_bytes())]);
    fails(
        &missing,
        "Unable to obtain the AOF file appendonly.aof.1.base.rdb length",
    );
}

#[test]
fn a_torn_tail_is_cut_off_or_refused() {
    let whole = requests(&["SET a b"]);
    let next = requests(&["SET c d"]);
    for cut in 1..next.len() {
        let torn = [&whole[..], &next[..cut]].concat();
        let disk = usual(b"", &torn);
        let strict = LoadOptions {
            truncated: false,
            ..LOAD
        };
        let refused = load_with(&disk, strict).0.unwrap_err();
        assert!(refused.0.starts_with(
            "Unexpected end of file reading the append only file appendonly.aof.2.incr.aof. You can"
        ));
        let (loaded, kept) = load(&disk);
        assert_eq!(loaded, Ok(Loaded::Truncated), "cut at {cut}");
        assert_eq!(kept.lines.last().unwrap(), "0:SET a b");
        assert_eq!(
            disk.content(&at("appendonly.aof.2.incr.aof")).unwrap(),
            whole
        );
        assert_eq!(load(&disk).0, Ok(Loaded::Ok));
    }
}

#[test]
fn an_open_transaction_is_cut_off_as_a_whole() {
    let whole = requests(&["SET a b"]);
    let open = requests(&["MULTI", "SET c d", "SET e f", "EXEC"]);
    for cut in 1..open.len() {
        let disk = usual(b"", &[&whole[..], &open[..cut]].concat());
        let (loaded, kept) = load(&disk);
        assert_eq!(loaded, Ok(Loaded::Truncated), "cut at {cut}");
        assert_eq!(kept.lines.last().unwrap(), "0:SET a b");
        assert_eq!(
            disk.content(&at("appendonly.aof.2.incr.aof")).unwrap(),
            whole
        );
    }
}

#[test]
fn only_the_last_file_with_data_may_be_torn() {
    let torn = &requests(&["SET a b", "SET c d"])[..40];
    let disk = usual(torn, &requests(&["SET e f"]));
    fails(
        &disk,
        "Fatal error: the truncated file is not the last file",
    );
    // A rewrite had just begun.
    let disk = usual(torn, b"");
    assert_eq!(load(&disk).0, Ok(Loaded::Truncated));
}

#[test]
fn zeros_at_the_end_are_what_a_power_failure_leaves() {
    let mut bytes = requests(&["SET a b"]);
    let whole = bytes.clone();
    bytes.resize(bytes.len() + 5000, 0);
    let disk = usual(b"", &bytes);
    assert_eq!(load(&disk).0, Ok(Loaded::Truncated));
    assert_eq!(
        disk.content(&at("appendonly.aof.2.incr.aof")).unwrap(),
        whole
    );
    bytes.push(b'*');
    fails(
        &usual(b"", &bytes),
        "Bad file format reading the append only file",
    );
}

/// They need not begin where a request does.
#[test]
fn zeros_within_a_request_count_as_its_end() {
    let whole = requests(&["SET a b"]);
    let next = requests(&["SET c d"]);
    let zeros = vec![0; 70_000];
    for cut in 1..next.len() {
        let disk = usual(b"", &[&whole[..], &next[..cut], &zeros].concat());
        assert_eq!(load(&disk).0, Ok(Loaded::Truncated), "at {cut}");
        let left = disk.content(&at("appendonly.aof.2.incr.aof"));
        assert_eq!(left.unwrap(), whole, "at {cut}");
    }
    // Damage before that is another matter: what follows it was there.
    let damages = ["*3\r\n$3\r\nSETx\r\n", "*3\r\n$3\r\nSET\r\n$99\r\na"];
    for damage in damages {
        let bytes = [damage.as_bytes(), b"\r\n", &whole, &next, &zeros].concat();
        fails(&usual(b"", &bytes), "Bad file format");
    }
}

/// Redis has loaded what a killed Kivi left, with the room that was reserved, and gone on behind it.
#[test]
fn what_redis_has_appended_behind_reserved_room_is_loaded() {
    let room = [vec![b'#'; 600_000], b"\n".to_vec()].concat();
    let (first, next) = (requests(&["SET a b"]), requests(&["SET c d"]));
    let whole = [&first[..], &room, &next].concat();
    let disk = usual(b"", &whole);
    let (loaded, kept) = load(&disk);
    assert_eq!(loaded, Ok(Loaded::Ok));
    assert_eq!(kept.lines[2..], ["0:SET a b", "0:SET c d"]);
    let disk = usual(b"", &whole[..whole.len() - 3]);
    assert_eq!(load(&disk).0, Ok(Loaded::Truncated));
    let unwritten = [&first[..], &room[..600_000], &next].concat();
    assert!(load(&usual(b"", &unwritten)).0.is_err());
}

#[test]
fn damage_in_the_middle_stops_the_start() {
    let lines: Vec<String> = (0..50).map(|n| format!("SET key:{n} value:{n}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let whole = requests(&lines);
    let names = |line: &String| line.contains(":SET key:");
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 7);
        let disk = usual(b"", &bytes);
        let (loaded, kept) = load(&disk);
        match loaded {
            // In a value; or in the last request, where it can be no more than a torn tail.
            Ok(Loaded::Ok) => assert_eq!(kept.lines.len(), 52),
            Ok(_) => {
                let lines = kept.lines.iter().filter(|line| names(line)).count();
                assert!(lines >= 49, "{lines} of 50 after damage at {place}");
            }
            Err(error) => assert!(error.0.contains("Bad file format"), "{error}"),
        }
    }
    // A length that claims everything that follows is no torn tail.
    let bytes = String::from_utf8(whole).unwrap();
    let bytes = bytes.replacen("$6\r\nkey:20", "$66666\r\nkey:20", 1);
    assert!(bytes.contains("66666"));
    fails(&usual(b"", bytes.as_bytes()), "Bad file format");
    let disk = usual(b"", b"hello");
    fails(
        &disk,
        "Bad file format reading the append only file appendonly.aof.2.incr.aof",
    );
    fails(&disk, "at offset 0");
}

#[test]
fn what_cannot_be_executed_stops_the_start() {
    let disk = usual(b"", &requests(&["SET a b", "NONSENSE x"]));
    fails(
        &disk,
        "Unknown command 'NONSENSE' reading the append only file appendonly.aof.2.incr.aof",
    );
    fails(
        &usual(b"", &requests(&["SELECT 16"])),
        "DB index 16 is out of range",
    );
    fails(
        &usual(b"", &requests(&["SELECT x"])),
        "DB index x is out of range",
    );
    let no_end = disk_with(&[
        ("appendonly.aof.manifest", MANIFEST.as_bytes()),
        ("appendonly.aof.1.base.rdb", b"REDIS 1 2"),
        ("appendonly.aof.1.incr.aof", b""),
        ("appendonly.aof.2.incr.aof", b""),
    ]);
    fails(
        &no_end,
        "Error reading the RDB base file appendonly.aof.1.base.rdb",
    );
}

#[test]
fn a_base_of_commands_is_loaded_as_well() {
    let disk = disk_with(&[
        (
            "appendonly.aof.manifest",
            b"file appendonly.aof.1.base.aof seq 1 type b\n",
        ),
        (
            "appendonly.aof.1.base.aof",
            &[&b"#TS:1\r\n"[..], &requests(&["SET a b"])].concat(),
        ),
    ]);
    let (loaded, kept) = load(&disk);
    assert_eq!(
        (loaded, &kept.lines[..]),
        (Ok(Loaded::Ok), &["0:SET a b".to_owned()][..])
    );
}

#[test]
fn a_file_of_before_redis_7_is_taken_over() {
    let old = Path::new(DIR).join("appendonly.aof");
    let content = [&b"VALKEY 1 2\n"[..], &requests(&["SET a b"])].concat();
    let operations = {
        let disk = FakeDisk::new(DIR);
        disk.put(&old, &content);
        assert_eq!(load(&disk).0, Ok(Loaded::Ok));
        disk.operations()
    };
    // The machine dies at any step of it: the next start finishes what was begun.
    for dies_at in 0..=operations {
        let disk = FakeDisk::new(DIR);
        disk.put(&old, &content);
        disk.fail(Some(crate::persist::disk::fake::Fault {
            at: dies_at,
            count: 1,
            kind: crate::persist::disk::fake::FaultKind::Dead,
        }));
        assert_eq!(load(&disk).0.is_ok(), dies_at == operations);
        disk.crash(&mut Rng::from_seed(dies_at));
        let (loaded, kept) = load(&disk);
        assert_eq!(loaded, Ok(Loaded::Ok), "{:?}", disk.paths());
        assert_eq!(kept.lines, ["0:RPUSH l 1", "0:RPUSH l 2", "0:SET a b"]);
        assert_eq!(
            text(&disk, "appendonly.aof.manifest"),
            "file appendonly.aof seq 1 type b\n"
        );
        assert_eq!(disk.content(&at("appendonly.aof")).unwrap(), content);
    }
    // Beside a log of its own it is left alone.
    let disk = usual(b"", b"");
    disk.put(&old, &content);
    assert_eq!(load(&disk).1.lines.len(), 2);
    assert!(disk.content(&old).is_some());
}
