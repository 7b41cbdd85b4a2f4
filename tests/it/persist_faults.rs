//! Faults of the disk and of the files: full, read-only, gone, torn, corrupt, in use by another.
//!
//! Every test runs against Kivi and, where the oracle is installed, against Valkey: what is asked of
//! Kivi here is what Valkey does, unless the test says otherwise. In each case a client gets an
//! error that says so, or the server ends with a clear message; the old snapshot stays as it was, and
//! what was acknowledged stays.
//!
//! A full disk is a small tmpfs that the test fills (as root only: without the right to mount, the
//! test returns early, like those that need a peer).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::{Client, Reply};
use crate::harness::{Server, eventually, is_stand_in, kivi_to_end};
use crate::store::{ALWAYS, EVERY_SECOND, Store, await_rest, bgrewriteaof, bgsave, info};

/// Runs a test with every kind of server that it can ask.
fn with_servers(test: impl Fn(Store)) {
    for kind in ["kivi", "valkey"] {
        if let Some(store) = Store::of(kind) {
            test(store);
        }
    }
}

const OK: &[u8] = b"OK";

fn ok(reply: &Reply) -> bool {
    matches!(reply, Reply::Status(bytes) if bytes == OK)
}

/// The text of an error reply.
fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("not an error: {other:?}"),
    }
}

fn assert_says(said: &str, part: &str, what: &str) {
    assert!(said.contains(part), "{what}: no {part:?} in:\n{said}");
}

/// A small file system of its own in a store's folder.
struct Disk {
    path: PathBuf,
    inside: String,
}

impl Disk {
    /// `None` without the right to mount.
    fn small(store: &Store) -> Option<Disk> {
        let path = store.path("disk");
        fs::create_dir(&path).expect("a folder to mount on");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(&path)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no right to mount a small disk");
            return None;
        }
        Some(Disk {
            path,
            inside: store.inside("disk"),
        })
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.path.join("ballast")).expect("the ballast");
        let block = [b'x'; 4096];
        while file.write_all(&block).is_ok() {}
    }

    /// Gives the space back.
    fn free(&self) {
        fs::remove_file(self.path.join("ballast")).expect("the ballast");
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("the disk");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into()
            })
            .collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still be there, since it was made before this.
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

/// `count` keys with values of 100 bytes that cannot be compressed much.
fn write_keys(client: &mut Client, prefix: &str, count: u64) {
    for number in 0..count {
        let mut value = String::new();
        let mut state = number + 1;
        while value.len() < 100 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            value.push_str(&format!("{:x}", state >> 40));
        }
        let reply = client.cmd(&["SET", &format!("{prefix}:{number}"), &value]);
        assert!(ok(&reply), "{reply:?}");
    }
}

#[test]
fn a_full_disk_fails_a_save_and_keeps_the_old_one() {
    with_servers(|store| {
        let Some(disk) = Disk::small(&store) else {
            return;
        };
        let args = ["--dir", &disk.inside, "--save", "3600 1"];
        let server = store.start(&args);
        let mut client = server.connect();
        write_keys(&mut client, "old", 1000);
        assert_eq!(bgsave(&mut client), "ok");
        let old = fs::read(disk.path.join("dump.rdb")).expect("the snapshot");
        write_keys(&mut client, "new", 4000);
        disk.fill();
        assert_eq!(bgsave(&mut client), "err");
        let refused = error(&client.cmd(&["SET", "a", "b"]));
        assert_says(
            &refused,
            " is configured to save RDB snapshots, but it's currently unable",
            "a write after a failed save",
        );
        let read = client.cmd(&["EXISTS", "new:0"]);
        assert_eq!(read, Reply::Int(1), "reading goes on");
        let ping = error(&client.cmd(&["PING"]));
        assert_says(&ping, "MISCONF", "PING after a failed save");
        assert_says(&error(&client.cmd(&["SAVE"])), "ERR", "SAVE");
        let there = fs::read(disk.path.join("dump.rdb")).expect("the snapshot");
        assert!(there == old, "{}: the old snapshot has changed", store.kind);
        let names = disk.names();
        assert!(
            !names.iter().any(|name| name.starts_with("temp-")),
            "{}: a temporary file stays and takes the space: {names:?}",
            store.kind
        );
        // Whoever does not want to be stopped says so.
        let set = ["CONFIG", "SET", "stop-writes-on-bgsave-error"];
        assert!(ok(&client.cmd(&[&set[..], &["no"]].concat())));
        assert!(ok(&client.cmd(&["SET", "a", "b"])));
        assert!(ok(&client.cmd(&[&set[..], &["yes"]].concat())));
        assert_says(&error(&client.cmd(&["SET", "a", "c"])), "MISCONF", "SET");
        // With space again all is well.
        disk.free();
        assert_eq!(bgsave(&mut client), "ok");
        assert!(ok(&client.cmd(&["SET", "a", "c"])));
        store.accepted("check-rdb", &disk.path.join("dump.rdb"));
        drop(server);
    });
}

#[test]
fn a_full_disk_stops_writes_to_a_log_until_there_is_space() {
    with_servers(|store| {
        let Some(disk) = Disk::small(&store) else {
            return;
        };
        let args = [EVERY_SECOND, &["--dir", &disk.inside]].concat();
        let server = store.start(&args);
        let mut client = server.connect();
        write_keys(&mut client, "key", 1000);
        disk.fill();
        // What is written first may still be acknowledged, since it is only due within a second.
        let mut acked = 0;
        let refused = eventually("writes to be refused", || {
            match client.cmd(&["SET", &format!("late:{acked}"), &"x".repeat(5000)]) {
                Reply::Error(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                _ => {
                    acked += 1;
                    None
                }
            }
        });
        assert_says(
            &refused,
            "MISCONF Errors writing to the AOF file: No space left on device",
            "a write to a full log",
        );
        assert_eq!(info(&mut client, "aof_last_write_status"), "err");
        assert_eq!(client.cmd(&["EXISTS", "key:0"]), Reply::Int(1));
        disk.free();
        eventually("writes to be taken again", || {
            ok(&client.cmd(&["SET", "again", "1"])).then_some(())
        });
        assert_eq!(info(&mut client, "aof_last_write_status"), "ok");
        shut_down(client, server);
        store.accepted("check-aof", &manifest(&disk));
        let server = store.start(&args);
        let mut client = server.connect();
        let there = client.cmd(&["EXISTS", "key:0", "key:999", "again"]);
        assert_eq!(there, Reply::Int(3), "{}", store.kind);
        for number in 0..acked {
            let there = client.cmd(&["EXISTS", &format!("late:{number}")]);
            assert_eq!(there, Reply::Int(1), "{}: late:{number}", store.kind);
        }
        drop(server);
    });
}

fn manifest(disk: &Disk) -> PathBuf {
    disk.path.join("appendonlydir/appendonly.aof.manifest")
}

/// Ends a server in order, without a snapshot.
fn shut_down(mut client: Client, mut server: Server) {
    client.send(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n");
    server.wait_exit();
}

#[test]
fn a_full_disk_ends_a_server_that_must_sync_always() {
    with_servers(|store| {
        let Some(disk) = Disk::small(&store) else {
            return;
        };
        let args = [ALWAYS, &["--dir", &disk.inside]].concat();
        let mut server = store.start(&args);
        let mut client = server.connect();
        write_keys(&mut client, "key", 1000);
        disk.fill();
        let mut acked = 0;
        loop {
            let set = ["SET".to_owned(), format!("late:{acked}"), "x".repeat(5000)];
            match client.try_raw(&set) {
                Ok(reply) if *reply == *b"+OK\r\n" => acked += 1,
                Ok(other) => panic!("{other:?}"),
                Err(_) => break,
            }
        }
        let status = server.wait_exit();
        assert_eq!(status.code(), Some(1), "{}", server.log());
        assert_says(
            &server.log(),
            "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...",
            store.kind,
        );
        disk.free();
        let server = store.start(&args);
        let mut client = server.connect();
        assert_eq!(client.cmd(&["EXISTS", "key:0", "key:999"]), Reply::Int(2));
        for number in 0..acked {
            let there = client.cmd(&["EXISTS", &format!("late:{number}")]);
            assert_eq!(there, Reply::Int(1), "{}: late:{number}", store.kind);
        }
        drop(server);
    });
}

#[test]
fn a_full_disk_fails_a_rewrite_and_the_log_goes_on() {
    with_servers(|store| {
        let Some(disk) = Disk::small(&store) else {
            return;
        };
        let args = [EVERY_SECOND, &["--dir", &disk.inside]].concat();
        let server = store.start(&args);
        let mut client = server.connect();
        write_keys(&mut client, "key", 5000);
        // Room for the log to go on, not for the rewritten one.
        let ballast = disk.path.join("ballast");
        let mut file = fs::File::create(&ballast).expect("the ballast");
        while room(&disk.path) > 200_000 {
            file.write_all(&[b'x'; 4096]).expect("ballast");
        }
        assert_eq!(bgrewriteaof(&mut client), "err");
        assert!(ok(&client.cmd(&["SET", "after", "1"])));
        drop(file);
        fs::remove_file(&ballast).expect("the ballast");
        assert_eq!(bgrewriteaof(&mut client), "ok");
        assert!(ok(&client.cmd(&["SET", "after", "2"])));
        shut_down(client, server);
        store.accepted("check-aof", &manifest(&disk));
        let server = store.start(&args);
        let mut client = server.connect();
        assert_eq!(client.cmd(&["GET", "after"]).text(), "2");
        assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(5001));
        drop(server);
    });
}

/// Bytes that a file system has left.
fn room(path: &Path) -> u64 {
    let output = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(path)
        .output()
        .expect("df");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().expect("a line of df");
    line.trim().parse().expect("a number of bytes")
}

/// Without the right to overrule permissions, which root has.
const WITHOUT_POWER: &[&str] = &["setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_read_only_folder_fails_a_save() {
    with_servers(|store| {
        let server = store.start_through(WITHOUT_POWER, &["--save", "3600 1"]);
        let mut client = server.connect();
        write_keys(&mut client, "key", 10);
        assert_eq!(bgsave(&mut client), "ok");
        let old = fs::read(store.path("dump.rdb")).expect("the snapshot");
        set_mode(&store.path(""), 0o555);
        write_keys(&mut client, "more", 10);
        assert_eq!(bgsave(&mut client), "err");
        assert_says(&error(&client.cmd(&["SAVE"])), "ERR", store.kind);
        assert_says(
            &error(&client.cmd(&["SET", "a", "b"])),
            "MISCONF",
            store.kind,
        );
        let there = fs::read(store.path("dump.rdb")).expect("the snapshot");
        assert!(there == old, "{}: the old snapshot has changed", store.kind);
        set_mode(&store.path(""), 0o755);
        assert!(ok(&client.cmd(&["SAVE"])));
        assert!(ok(&client.cmd(&["SET", "a", "b"])));
    });
}

#[test]
fn a_read_only_folder_fails_a_rewrite_and_a_switch_to_the_log() {
    with_servers(|store| {
        let server = store.start_through(WITHOUT_POWER, EVERY_SECOND);
        let mut client = server.connect();
        write_keys(&mut client, "key", 10);
        set_mode(&store.path("appendonlydir"), 0o555);
        client.cmd(&["BGREWRITEAOF"]);
        await_rest(&mut client);
        write_keys(&mut client, "more", 10);
        set_mode(&store.path("appendonlydir"), 0o755);
        assert_eq!(bgrewriteaof(&mut client), "ok");
        shut_down(client, server);
        let server = store.start(EVERY_SECOND);
        assert_eq!(server.connect().cmd(&["DBSIZE"]), Reply::Int(20));
    });
    with_servers(|store| {
        let server = store.start_through(WITHOUT_POWER, &[]);
        let mut client = server.connect();
        write_keys(&mut client, "key", 10);
        set_mode(&store.path(""), 0o555);
        let reply = client.cmd(&["CONFIG", "SET", "appendonly", "yes"]);
        assert_says(&error(&reply), "ERR", store.kind);
        assert!(ok(&client.cmd(&["SET", "a", "b"])), "{}", store.kind);
        set_mode(&store.path(""), 0o755);
        assert!(ok(&client.cmd(&["CONFIG", "SET", "appendonly", "yes"])));
        await_rest(&mut client);
        assert!(ok(&client.cmd(&["SET", "a", "c"])));
        shut_down(client, server);
        let server = store.start(EVERY_SECOND);
        let mut client = server.connect();
        assert_eq!(client.cmd(&["GET", "a"]).text(), "c");
        assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(11));
    });
}

#[test]
fn a_folder_that_is_removed_fails_a_save() {
    with_servers(|store| {
        let folder = store.path("sub");
        fs::create_dir(&folder).expect("a folder");
        let inside = store.inside("sub");
        let args = ["--enable-protected-configs", "yes", "--save", "3600 1"];
        let server = store.start(&[&args[..], &["--dir", &inside]].concat());
        let mut client = server.connect();
        write_keys(&mut client, "key", 10);
        fs::remove_dir_all(&folder).expect("removing the folder");
        assert_eq!(bgsave(&mut client), "err", "{}", store.kind);
        assert_says(&error(&client.cmd(&["SAVE"])), "ERR", store.kind);
        assert_says(
            &error(&client.cmd(&["SET", "a", "b"])),
            "MISCONF",
            store.kind,
        );
        // A new place can be named while the server runs.
        let new = store.inside("");
        assert!(ok(&client.cmd(&["CONFIG", "SET", "dir", &new])));
        assert_eq!(bgsave(&mut client), "ok", "{}", store.kind);
        store.accepted("check-rdb", &store.path("dump.rdb"));
    });
}

#[test]
fn a_log_that_is_removed_is_told_at_the_next_start() {
    with_servers(|store| {
        let server = store.start(EVERY_SECOND);
        let mut client = server.connect();
        write_keys(&mut client, "key", 10);
        fs::remove_file(store.log_file("incr.aof")).expect("removing the log");
        assert!(ok(&client.cmd(&["SET", "a", "b"])), "{}", store.kind);
        drop(server);
        let said = store.refused(EVERY_SECOND);
        assert_says(&said, "appendonly.aof.1.incr.aof", store.kind);
    });
}

#[test]
fn a_removed_log_is_made_good_by_a_rewrite() {
    with_servers(|store| {
        let server = store.start(EVERY_SECOND);
        let mut client = server.connect();
        write_keys(&mut client, "key", 10);
        fs::remove_file(store.log_file("incr.aof")).expect("removing the log");
        assert_eq!(bgrewriteaof(&mut client), "ok", "{}", store.kind);
        write_keys(&mut client, "more", 10);
        shut_down(client, server);
        let server = store.start(EVERY_SECOND);
        assert_eq!(server.connect().cmd(&["DBSIZE"]), Reply::Int(20));
    });
}

/// A store whose log holds some keys, and one whole increment.
fn logged(store: &Store) {
    let server = store.start(EVERY_SECOND);
    let mut client = server.connect();
    write_keys(&mut client, "key", 100);
    shut_down(client, server);
}

#[test]
fn a_manifest_that_is_wrong_stops_the_start() {
    // What stands in the manifest, and what the server says about it.
    let cases = [
        (
            "file a.aof seq 1 type b\nfile gone.aof seq 1 type i\n",
            "AOF file a.aof",
        ),
        (
            "file ../x seq 1 type b\n",
            "File can't be a path, just a filename",
        ),
        (
            "file a.aof seq x type b\n",
            "Invalid AOF manifest file format",
        ),
        ("file a.aof seq 1 type q\n", "Unknown AOF file type"),
        ("file a.aof type b\n", "Invalid AOF manifest file format"),
        ("nonsense\n", "Invalid AOF manifest file format"),
        ("\n", "Invalid AOF manifest file format"),
        (
            "file a.aof seq 1 type b\nfile b.aof seq 2 type b\n",
            "Found duplicate base file information",
        ),
        (
            "file a.aof seq 2 type i\nfile b.aof seq 1 type i\n",
            "Found a non-monotonic sequence number",
        ),
        ("", "Found an empty AOF manifest"),
    ];
    with_servers(|store| {
        logged(&store);
        let manifest = store.log_file("manifest");
        for (text, reason) in cases {
            fs::write(&manifest, text).expect("writing the manifest");
            let said = store.refused(EVERY_SECOND);
            assert_says(&said, reason, &format!("{}, {text:?}", store.kind));
        }
    });
}

/// Valkey lets two servers write to one folder, and each destroys what the other has: Kivi does not.
#[test]
fn two_servers_do_not_share_a_folder() {
    let store = Store::kivi();
    let server = store.start(ALWAYS);
    let mut client = server.connect();
    write_keys(&mut client, "key", 10);
    let said = store.refused(ALWAYS);
    assert_says(&said, "used by another server", "a second server");
    let mut client = server.connect();
    assert!(ok(&client.cmd(&["SET", "a", "b"])), "the first goes on");
    // Killed, it leaves nothing that would keep the next one out.
    drop(server);
    let server = store.start(ALWAYS);
    assert_eq!(server.connect().cmd(&["DBSIZE"]), Reply::Int(11));
}

#[test]
fn a_torn_tail_is_cut_or_refused() {
    with_servers(|store| {
        logged(&store);
        let log = store.log_file("incr.aof");
        let whole = fs::read(&log).expect("the log");
        let tails: [&[u8]; 4] = [
            b"*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$5\r\nhal",
            b"*3\r\n$3\r\nSET\r\n",
            b"*",
            b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$1\r\nx\r\n",
        ];
        for tail in tails {
            let what = format!("{}, {}", store.kind, tail.escape_ascii());
            fs::write(&log, [&whole[..], tail].concat()).expect("tearing the log");
            let refused = [EVERY_SECOND, &["--aof-load-truncated", "no"]].concat();
            let said = store.refused(&refused);
            assert_says(
                &said,
                "Unexpected end of file reading the append only file",
                &what,
            );
            let server = store.start(EVERY_SECOND);
            assert_says(&server.log(), "Truncating the AOF", &what);
            let mut client = server.connect();
            assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(100), "{what}");
            // What comes after the cut is read next time.
            assert!(ok(&client.cmd(&["SET", "after", "1"])));
            shut_down(client, server);
            store.accepted("check-aof", &store.log_file("manifest"));
            let server = store.start(EVERY_SECOND);
            assert_eq!(server.connect().cmd(&["DBSIZE"]), Reply::Int(101), "{what}");
        }
    });
}

#[test]
fn corruption_in_the_middle_of_a_log_stops_the_start() {
    with_servers(|store| {
        logged(&store);
        let log = store.log_file("incr.aof");
        let whole = fs::read(&log).expect("the log");
        let middle = whole.len() / 2;
        let at = middle
            + whole[middle..]
                .iter()
                .position(|b| *b == b'*')
                .expect("a command");
        for wrong in [&b"!"[..], b"*x", b"*3\r\n#", b"*999999999999\r\n"] {
            let mut bytes = whole.clone();
            bytes[at..at + wrong.len()].copy_from_slice(wrong);
            fs::write(&log, &bytes).expect("corrupting the log");
            let what = format!("{}, {}", store.kind, wrong.escape_ascii());
            let said = store.refused(EVERY_SECOND);
            assert_says(&said, "Bad file format reading the append only file", &what);
            let there = fs::read(&log).expect("the log");
            assert!(there == bytes, "{what}: the file was changed");
            // The tools agree that it is bad, Kivi's own too.
            let refused = store.complaint("check-aof", &store.log_file("manifest"));
            assert!(refused.is_some() || store.kind == "valkey", "{what}");
            if store.kind == "kivi" && !is_stand_in() {
                let manifest = store.log_file("manifest").display().to_string();
                let output = kivi_to_end(&store.path(""), &["--check-aof", &manifest], &[], b"");
                assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
            }
        }
        // A tail that is torn is forgiven in the last file only.
        fs::write(&log, &whole[..whole.len() - 5]).expect("tearing the log");
        let folder = log.parent().expect("a folder");
        let text = "file appendonly.aof.1.base.rdb seq 1 type b\n\
                    file appendonly.aof.1.incr.aof seq 1 type i\n\
                    file appendonly.aof.2.incr.aof seq 2 type i\n";
        let second = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n";
        fs::write(folder.join("appendonly.aof.2.incr.aof"), second).expect("a second file");
        fs::write(store.log_file("manifest"), text).expect("the manifest");
        let said = store.refused(EVERY_SECOND);
        assert_says(&said, "truncated file is not the last file", store.kind);
    });
}

#[test]
fn a_command_that_is_unknown_in_a_log_stops_the_start() {
    with_servers(|store| {
        logged(&store);
        let log = store.log_file("incr.aof");
        let mut file = OpenOptions::new().append(true).open(&log).expect("the log");
        file.write_all(b"*1\r\n$5\r\nBOGUS\r\n*1\r\n$4\r\nPING\r\n")
            .expect("writing");
        let said = store.refused(EVERY_SECOND);
        assert_says(&said, "nknown command 'BOGUS'", store.kind);
    });
}

#[test]
fn a_snapshot_that_is_cut_or_corrupt_stops_the_start() {
    with_servers(|store| {
        let server = store.start(&[]);
        let mut client = server.connect();
        write_keys(&mut client, "key", 100);
        assert!(ok(&client.cmd(&["SAVE"])));
        drop(server);
        let file = store.path("dump.rdb");
        let whole = fs::read(&file).expect("the snapshot");
        store.accepted("check-rdb", &file);
        let mut cases: Vec<(Vec<u8>, &str)> = vec![
            (
                whole[..whole.len() / 2].to_vec(),
                "Unexpected EOF reading RDB file",
            ),
            (
                whole[..whole.len() - 4].to_vec(),
                "Unexpected EOF reading RDB file",
            ),
            (
                [b"KAPUTT123"[..].to_vec(), whole[9..].to_vec()].concat(),
                "Wrong signature",
            ),
        ];
        let mut flipped = whole.clone();
        let last = flipped.len() - 20;
        flipped[last] ^= 1;
        cases.push((flipped, "RDB checksum"));
        for (bytes, reason) in cases {
            fs::write(&file, &bytes).expect("writing the snapshot");
            let said = store.refused(&[]);
            assert_says(&said, reason, store.kind);
            let there = fs::read(&file).expect("the snapshot");
            assert!(there == bytes, "{}: the file was changed", store.kind);
        }
        fs::remove_file(&file).expect("removing the snapshot");
        fs::create_dir(&file).expect("a folder in its place");
        store.refused(&[]);
    });
}
