//! What a server that starts finds on disk.

use super::*;
use crate::config::{self, Invocation};
use crate::persist::disk::fake::FakeDisk;
use crate::util::clock::Clock;

const NOW_MS: u64 = 1_700_000_000_000;

fn server(directives: &[&str], file: Option<&[u8]>) -> Arc<Server> {
    let args = directives.iter().map(|arg| (*arg).into());
    let Ok(Invocation::Run(sources)) = config::parse(args, []) else {
        panic!("no run")
    };
    let (store, _) = config::load(&sources).unwrap();
    let dir = store.config().dir.clone();
    let disk = FakeDisk::new(dir.to_str().unwrap());
    if let Some(file) = file {
        disk.put(&dir.join("dump.rdb"), file);
    }
    Arc::new(Server::on_disk(store, Clock::fake(NOW_MS), Arc::new(disk)))
}

fn start(server: &Arc<Server>) -> Result<(), NotLoaded> {
    let table = Arc::new(CommandTable::new(&[]).unwrap());
    at_start(server, &table)
}

#[test]
fn no_file_is_an_empty_dataset() {
    let server = server(&[], None);
    assert_eq!(start(&server), Ok(()));
    assert!(server.persist.marks().is_empty());
}

#[test]
fn what_is_no_snapshot_stops_the_start() {
    for file in [
        &b""[..],
        b"RUBBISHRUBBISH",
        b"REDIS0011",
        b"REDIS9999\xff\0\0\0\0\0\0\0\0",
    ] {
        let server = server(&[], Some(file));
        assert_eq!(start(&server), Err(NotLoaded::Failed), "{file:?}");
        assert!(server.persist.marks().is_empty());
    }
}

#[test]
fn a_stop_ends_the_load() {
    let file = b"REDIS0009\xfe\x00\x00\x01a\x01b\xff\0\0\0\0\0\0\0\0";
    let ok = server(&[], Some(file));
    assert_eq!(start(&ok), Ok(()));
    assert_eq!(ok.persist.book().loaded_keys, 1);
    let stopped = server(&[], Some(file));
    stopped.persist.stop_loading();
    assert_eq!(start(&stopped), Err(NotLoaded::Stopped));
}

#[test]
fn delays_per_key_or_of_many_keys() {
    let delay = |text| key_delay(&server(&["--key-load-delay", text], None).config());
    assert_eq!(delay("0"), Duration::ZERO);
    assert_eq!(delay("500"), Duration::from_micros(500));
    assert_eq!(delay("-10"), Duration::from_nanos(100));
    assert_eq!(delay("-2147483648"), Duration::ZERO);
}

/// BGREWRITEAOF or an earlier DEBUG LOADAOF has opened a log that nobody writes.
#[test]
fn a_log_that_was_never_on_is_not_waited_for() {
    let server = server(&[], None);
    rewriting::open(&server, &server.config()).unwrap();
    let table = Arc::new(CommandTable::new(&[]).unwrap());
    for _ in 0..2 {
        // There is none to be loaded.
        assert_eq!(reload_aof(&server, &table), Err(LOADAOF_FAILED));
    }
}
