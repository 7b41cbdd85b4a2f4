//! What fuzz targets share: a server in the process whose disk is memory and whose clock stands still, how
//! values are restored, and numbers out of the input.
//!
//! A new server for each input is what makes an input tell the same every time; it costs a fraction of a
//! millisecond.

use std::sync::Arc;

use kivi::client::Endpoint;
use kivi::commands::CommandTable;
use kivi::config::{self, ConfigStore, Invocation};
use kivi::db::usage::Stamp;
use kivi::ds::entry::Entry;
use kivi::ds::hash::{HashFunction, KeyHash};
use kivi::exec::session::Session;
use kivi::persist::disk::fake::FakeDisk;
use kivi::persist::rdb::decode::{self, LoadOptions, RestoreError, RestoredKey};
use kivi::persist::rdb::encode::EncodeOptions;
use kivi::persist::rdb::format::crc64;
use kivi::server::{Lifecycle, Server};
use kivi::util::clock::Clock;
use kivi::value::Limits;

pub mod directives;
pub mod lines;
pub mod lua;
pub mod payloads;
pub mod words;

/// The clock's first moment, Unix ms.
pub const START_MS: u64 = 1_700_000_000_000;

/// Puts a changed input, as much of it as there is room for, in place of the one in `data`; how long it is.
fn put(data: &mut [u8], max_size: usize, mut changed: Vec<u8>) -> usize {
    changed.truncate(max_size.min(data.len()));
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
}

/// What servers are made by, read once.
pub struct Plan {
    store: ConfigStore,
    table: Arc<CommandTable>,
}

/// A server without sockets.
pub struct House {
    /// The server.
    pub server: Arc<Server>,
    /// Its commands.
    pub table: Arc<CommandTable>,
    /// Its clock.
    pub clock: Clock,
}

impl Plan {
    /// With directives as on a command line.
    pub fn new(args: &[&str]) -> Plan {
        let args = args.iter().map(|arg| (*arg).into());
        let Ok(Invocation::Run(sources)) = config::parse(args, []) else {
            panic!("no run")
        };
        let (store, _) = config::load(&sources).expect("a configuration");
        let table = CommandTable::new(&[]).expect("no command is renamed");
        let table = Arc::new(table);
        Plan { store, table }
    }

    /// The commands.
    pub fn table(&self) -> &CommandTable {
        &self.table
    }

    /// A server whose clock is at this moment.
    pub fn house(&self, now_ms: u64) -> House {
        let config = self.store.config();
        let disk = FakeDisk::new(config.dir.to_str().expect("a directory"));
        let clock = Clock::fake(now_ms);
        let server = Server::on_disk(self.store.clone(), clock.clone(), Arc::new(disk));
        server.enter(Lifecycle::Running);
        House {
            server: Arc::new(server),
            table: self.table.clone(),
            clock,
        }
    }
}

impl House {
    /// A local client.
    pub fn client(&self) -> Session {
        let endpoint = Endpoint::local("127.0.0.1:0");
        Session::at(self.server.clone(), self.table.clone(), endpoint)
    }
}

/// How values are restored.
pub fn load_options() -> LoadOptions {
    LoadOptions {
        limits: Limits::default(),
        key_hash: KeyHash::with_seed(HashFunction::Fast, 1),
        databases: 16,
        verify_checksum: true,
        now_ms: START_MS,
        usage: Stamp::default(),
        drop_expired: false,
        relaxed_version: false,
    }
}

/// The key that values are restored as.
pub const KEY: RestoredKey<'_> = RestoredKey {
    key: b"key",
    expire_at_ms: None,
    idle_secs: None,
    frequency: None,
};

/// How values are dumped.
pub const PLAIN: EncodeOptions = EncodeOptions {
    compress: false,
    usage: None,
};

/// A payload as RESTORE takes it: type and value, with the footer that belongs to them.
pub fn payload(value: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [value, &version.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
    payload
}

/// The value of a payload; `None` if it is refused.
pub fn restored(payload: &[u8]) -> Option<Entry> {
    match decode::restore(payload, &KEY, &load_options()) {
        Ok(entry) => Some(entry),
        Err(RestoreError::Bad(_)) => None,
        Err(RestoreError::Footer) => panic!("the footer is right"),
    }
}

/// Numbers out of the input; zeros at its end.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The next two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next bytes, as many as there are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }
}
