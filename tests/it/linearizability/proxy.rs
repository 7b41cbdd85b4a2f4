//! A server that is broken on purpose: what stands between clients and a real one, and does to their
//! requests what a server with a certain fault would do. The checker has to notice every one.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::client::{Client, Reply, encode, parse};

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing: the proxy itself is none.
    None,
    /// GET shows, now and then, what the key held before.
    StaleRead,
    /// A write is confirmed now and then, and not carried out.
    LostWrite,
    /// A write is confirmed before it is carried out, which happens with the next request.
    LateWrite,
    /// INCR and pushes are carried out twice now and then.
    TwiceDone,
    /// MSET writes one key after the other.
    TornWrite,
    /// MGET reads one key after the other.
    TornRead,
    /// The commands of a transaction run one by one.
    OpenTransaction,
}

/// All that are wrong.
pub(crate) const FAULTS: &[Fault] = &[
    Fault::StaleRead,
    Fault::LostWrite,
    Fault::LateWrite,
    Fault::TwiceDone,
    Fault::TornWrite,
    Fault::TornRead,
    Fault::OpenTransaction,
];

/// A broken server on a port of its own.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
}

/// What the connections of a proxy share.
struct Common {
    fault: Fault,
    server_port: u16,
    /// Requests that were answered so far, of all connections.
    answered: AtomicU64,
    /// The last two texts that a key was seen to hold.
    seen: Mutex<HashMap<Vec<u8>, [Reply; 2]>>,
}

impl Proxy {
    /// One in front of the server on a port.
    pub(crate) fn new(server_port: u16, fault: Fault) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let common = Arc::new(Common {
            fault,
            server_port,
            answered: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let stopped = stop.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), common) = (stream, common.clone()) else {
                    return;
                };
                // It ends with its client.
                thread::spawn(move || drop(Line::serve(stream, common)));
            }
        });
        Proxy { port, stop }
    }

    /// A connection.
    pub(crate) fn connect(&self) -> Client {
        Client::tcp(("127.0.0.1", self.port)).expect("connecting to the proxy")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One client's connection.
struct Line {
    common: Arc<Common>,
    server: Client,
    requests: u64,
    /// What was confirmed and not carried out yet.
    late: Option<Vec<Vec<u8>>>,
    /// It is between MULTI and EXEC.
    in_multi: bool,
    /// The commands since MULTI, if that is what is wrong.
    queued: Option<Vec<Vec<Vec<u8>>>>,
}

impl Line {
    fn serve(mut client: TcpStream, common: Arc<Common>) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut line = Line {
            server: Client::tcp(("127.0.0.1", common.server_port))?,
            common,
            requests: 0,
            late: None,
            in_multi: false,
            queued: None,
        };
        let mut input = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = client.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            input.extend_from_slice(&chunk[..count]);
            // A request looks like a reply.
            while let Some((request, len)) = parse(&input) {
                input.drain(..len);
                let words: Vec<Vec<u8>> = request
                    .items()
                    .iter()
                    .map(|word| word.bytes().to_vec())
                    .collect();
                let reply = line.answer(words)?;
                client.write_all(&reply)?;
                line.common.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Every third time.
    fn now_and_then(&mut self) -> bool {
        self.requests += 1;
        self.requests.is_multiple_of(3)
    }

    /// Lets others come in between, if there are any.
    fn breathe(&self) {
        let before = self.common.answered.load(Ordering::Relaxed);
        for _ in 0..200 {
            if self.common.answered.load(Ordering::Relaxed) > before + 1 {
                return;
            }
            thread::yield_now();
        }
    }

    fn answer(&mut self, words: Vec<Vec<u8>>) -> io::Result<Vec<u8>> {
        if let Some(late) = self.late.take() {
            self.server.try_raw(&late)?;
        }
        let was_in_multi = self.in_multi;
        match &words[0][..] {
            b"MULTI" => self.in_multi = true,
            b"EXEC" => self.in_multi = false,
            _ => {}
        }
        let fault = match was_in_multi && self.common.fault != Fault::OpenTransaction {
            true => Fault::None,
            false => self.common.fault,
        };
        match (fault, &words[0][..]) {
            (Fault::StaleRead, b"GET") => self.stale_read(&words),
            (Fault::LostWrite, b"SET" | b"MSET") if words.len() % 2 == 1 && self.now_and_then() => {
                Ok(b"+OK\r\n".to_vec())
            }
            (Fault::LateWrite, b"SET" | b"MSET") if words.len() % 2 == 1 => {
                self.late = Some(words);
                Ok(b"+OK\r\n".to_vec())
            }
            (Fault::TwiceDone, b"INCR" | b"RPUSH" | b"APPEND") if self.now_and_then() => {
                let reply = self.server.try_raw(&words)?;
                self.server.try_raw(&words)?;
                Ok(reply.0)
            }
            (Fault::TornWrite, b"MSET") => {
                for pair in words[1..].chunks(2) {
                    self.server.try_raw(&[&b"SET"[..], &pair[0], &pair[1]])?;
                    self.breathe();
                }
                Ok(b"+OK\r\n".to_vec())
            }
            (Fault::TornRead, b"MGET") => {
                let mut reply = format!("*{}\r\n", words.len() - 1).into_bytes();
                for key in &words[1..] {
                    reply.extend(self.server.try_raw(&[&b"MGET"[..], key])?.0.split_off(4));
                    self.breathe();
                }
                Ok(reply)
            }
            (Fault::OpenTransaction, _) => self.open_transaction(words),
            _ => Ok(self.server.try_raw(&words)?.0),
        }
    }

    fn stale_read(&mut self, words: &[Vec<u8>]) -> io::Result<Vec<u8>> {
        self.server.try_send(&encode(words))?;
        let (raw, reply) = self.server.try_read()?;
        let is_stale = self.now_and_then();
        let mut seen = self.common.seen.lock().expect("no panic");
        let last = seen
            .entry(words[1].clone())
            .or_insert([Reply::Nil, Reply::Nil]);
        if last[1] != reply {
            *last = [last[1].clone(), reply];
        }
        match (&last[0], is_stale) {
            (Reply::Bulk(text), true) => {
                let head = format!("${}\r\n", text.len()).into_bytes();
                Ok([&head, &text[..], b"\r\n"].concat())
            }
            _ => Ok(raw.0),
        }
    }

    fn open_transaction(&mut self, words: Vec<Vec<u8>>) -> io::Result<Vec<u8>> {
        match (&words[0][..], &mut self.queued) {
            (b"MULTI", _) => {
                self.queued = Some(Vec::new());
                Ok(b"+OK\r\n".to_vec())
            }
            (b"EXEC", Some(_)) => {
                let queued = self.queued.take().unwrap_or_default();
                let mut reply = format!("*{}\r\n", queued.len()).into_bytes();
                for words in queued {
                    reply.extend(self.server.try_raw(&words)?.0);
                    self.breathe();
                }
                Ok(reply)
            }
            (_, Some(queued)) => {
                queued.push(words);
                Ok(b"+QUEUED\r\n".to_vec())
            }
            _ => Ok(self.server.try_raw(&words)?.0),
        }
    }
}
