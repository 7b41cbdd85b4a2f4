//! TLS on a socket: a [`TlsStream`] is read and written like a plain one.
//!
//! Records are read into a buffer of the thread's, as many as there are, decrypted there, and what they hold is handed
//! on; replies are encrypted into another one straight from where they lie, and a batch of them is one write. So an
//! idle connection has no buffer, as a plain one, and a request costs no more system calls. What a record lacks to be
//! whole waits with the connection.
//!
//! **Writes.** Records that the socket does not take stay here, and what they stand for counts as not written
//! (`WouldBlock`): the connection keeps it and comes again with the same bytes at the front, and is told that they are
//! written when their records are. So whoever looks at a client sees all that waits for it.
//!
//! Invariants: nothing is encrypted while records wait; a failed handshake or record ends the connection, with an alert
//! for the peer; the handshake is over before anything is handed on.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::client::Shared;
use crate::ds::footprint::block_bytes;
use crate::tls;

/// Room for what is read at once, bytes.
const INPUT_BYTES: usize = 96 * 1024;
/// The longest record: its header, what it holds, and what encryption may add (RFC 8446, 5.2; RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;
/// What rustls keeps of a session besides, once the handshake is over, bytes: measured.
const KEPT_BYTES: usize = 1200;
/// Most that is encrypted at once, bytes: four records.
const PLAIN_BYTES_MAX: usize = 64 * 1024;
/// Room for its records, and for what TLS itself may have to say in front of them.
const OUTPUT_BYTES: usize = PLAIN_BYTES_MAX + 8 * 1024;
/// Pieces up to here are put together before they are encrypted, bytes.
const SMALL_BYTES_MAX: usize = 4 * 1024;
/// The content type that a TLS client begins with.
const HANDSHAKE: u8 = 22;

/// What a client without TLS is told, so that whoever looks at it knows what is wrong.
const NO_TLS: &[u8] = b"-ERR this port speaks TLS, and what has come is not\r\n";

/// Buffers of a thread, used by one connection at a time, never across an await.
struct Scratch {
    input: Box<[u8]>,
    output: Box<[u8]>,
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        work(scratch.get_or_insert_with(|| Scratch {
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            output: vec![0; OUTPUT_BYTES].into_boxed_slice(),
        }))
    })
}

/// TLS of one connection, without the socket.
pub struct Session {
    records: UnbufferedServerConnection,
    /// The beginning of a record, as it has come.
    unfinished: Vec<u8>,
    /// What was decrypted and is not handed on yet: it came behind the client's last word of the handshake, or the
    /// reader had less room than a record.
    early: Vec<u8>,
    /// Records to be written, `sent` bytes of them are.
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes of replies that these stand for.
    owed: usize,
    /// The first bytes have been looked at.
    has_begun: bool,
    /// The handshake is over.
    is_established: bool,
    /// The peer has said that nothing more comes.
    is_over: bool,
    /// How much of a handshake is listened to before it goes on: a client that is no client yet may keep no more here.
    handshake_bytes_max: usize,
    /// Who has it.
    client: Option<Arc<Shared>>,
}

/// What stopped the work on records.
struct Digested {
    /// Bytes that are done with.
    used: usize,
    result: Result<(), rustls::Error>,
}

impl Session {
    /// The server's side, at its beginning.
    pub fn new(context: &tls::Context) -> Result<Session, rustls::Error> {
        Ok(Session {
            records: UnbufferedServerConnection::new(context.handshakes.clone())?,
            unfinished: Vec::new(),
            early: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            owed: 0,
            has_begun: false,
            is_established: false,
            is_over: false,
            handshake_bytes_max: match context.asks_for_certificates {
                true => INPUT_BYTES,
                false => RECORD_BYTES_MAX,
            },
            client: None,
        })
    }

    /// Shows how much memory it takes.
    fn note_memory(&self) {
        if let Some(client) = &self.client {
            let buffers = [&self.unfinished, &self.early, &self.unsent];
            let buffers = buffers.map(|buffer| block_bytes(buffer.capacity()));
            let bytes =
                block_bytes(size_of::<Session>()) + KEPT_BYTES + buffers.iter().sum::<usize>();
            client.tls_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// The client's certificate, if it has shown one.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.records.peer_certificates()?.first()
    }

    /// Works on records as far as they are whole; what they hold goes to `take`, what is to be answered to `unsent`.
    fn digest(&mut self, records: &mut [u8], mut take: impl FnMut(&[u8])) -> Digested {
        let mut used = 0;
        let mut failed = None;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.records.process_tls_records(&mut records[used..]);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                take(record.payload);
                            }
                            Err(error) => failed = failed.or(Some(error)),
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_over = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.is_established = true;
                    is_done = true;
                }
                // Blocked, closed, or what this server does not offer.
                Ok(_) => is_done = true,
                Err(error) => {
                    self.take_alert(&mut records[used..]);
                    failed = failed.or(Some(error));
                    is_done = true;
                }
            }
            used += discard;
            if is_done {
                return Digested {
                    used,
                    result: failed.map_or(Ok(()), Err),
                };
            }
        }
    }

    /// Takes what the peer is to be told of an error. The records that have led to it must not be worked on again.
    fn take_alert(&mut self, records: &mut [u8]) {
        while self.records.wants_write() {
            match self.records.process_tls_records(records).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent),
                _ => break,
            }
        }
    }

    /// Encrypts into `output`; the bytes of the records. rustls has to see what is unfinished: it may remember a part
    /// of a message in it.
    fn encrypt(&mut self, plain: &[u8], output: &mut [u8]) -> io::Result<usize> {
        let failed = |what: String| io::Error::other(what);
        let mut written = 0;
        loop {
            match self.records.process_tls_records(&mut self.unfinished).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let encrypted = traffic.encrypt(plain, &mut output[written..]);
                    return match encrypted {
                        Ok(bytes) => Ok(written + bytes),
                        Err(error) => Err(failed(error.to_string())),
                    };
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    match data.encode(&mut output[written..]) {
                        Ok(bytes) => written += bytes,
                        Err(error) => return Err(failed(error.to_string())),
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_over = true,
                Ok(_) => return Err(failed("TLS is not open".into())),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
    }

    /// Encrypts the last word.
    fn say_goodbye(&mut self, output: &mut [u8]) -> Option<usize> {
        match self.records.process_tls_records(&mut self.unfinished).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.queue_close_notify(output).ok()
            }
            _ => None,
        }
    }
}

/// Appends a record that TLS itself has to say.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, into: &mut Vec<u8>) {
    let start = into.len();
    let mut room = 0;
    loop {
        into.resize(start + room, 0);
        match data.encode(&mut into[start..]) {
            Ok(written) => return into.truncate(start + written),
            Err(EncodeError::InsufficientSize(error)) => room = error.required_size,
            Err(EncodeError::AlreadyEncoded) => return into.truncate(start),
        }
    }
}

/// A TCP connection that speaks TLS.
pub struct TlsStream {
    socket: TcpStream,
    session: Box<Session>,
}

impl TlsStream {
    /// Puts both together.
    pub fn new(socket: TcpStream, session: Box<Session>) -> TlsStream {
        TlsStream { socket, session }
    }

    /// It is this client's, which is said to take the memory that the session takes.
    pub fn belongs_to(&mut self, client: &Arc<Shared>) {
        self.session.client = Some(client.clone());
        self.session.note_memory();
    }

    /// Takes them apart.
    pub fn into_parts(self) -> (TcpStream, Box<Session>) {
        (self.socket, self.session)
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The handshake is over.
    pub fn is_established(&self) -> bool {
        self.session.is_established
    }

    /// Ready when the handshake is over, or has failed.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx))?;
            if self.session.is_established {
                return Poll::Ready(Ok(()));
            }
            let mut early = std::mem::take(&mut self.session.early);
            let room = self.session.handshake_bytes_max;
            let polled = self.poll_records(cx, room, |plain| early.extend_from_slice(plain));
            self.session.early = early;
            self.session.note_memory();
            if ready!(polled)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads what the socket has, at most so many bytes, and works on it; the bytes that were read.
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let session = &mut self.session;
        with_scratch(|scratch| {
            let held = session.unfinished.len();
            let end = scratch.input.len().min(room);
            if held >= end {
                // No record is so long.
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            scratch.input[..held].copy_from_slice(&session.unfinished);
            let mut buf = ReadBuf::new(&mut scratch.input[held..end]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
            let read = buf.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            let records = &mut scratch.input[..held + read];
            if !std::mem::replace(&mut session.has_begun, true) && records[0] != HANDSHAKE {
                let _ = self.socket.try_write(NO_TLS);
                let text = "what came is not TLS";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            let Digested { used, result } = session.digest(records, take);
            let rest = &records[used..];
            if rest.is_empty() {
                session.unfinished = Vec::new();
            } else {
                session.unfinished.clear();
                session.unfinished.extend_from_slice(rest);
            }
            session.note_memory();
            if let Err(error) = result {
                // The alert: if the socket does not take it, the peer does not listen.
                let _ = self.socket.try_write(&session.unsent[session.sent..]);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            Poll::Ready(Ok(read))
        })
    }

    /// Writes records that stand for no reply.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.owed == 0 && !self.session.unsent.is_empty() {
            match self.flush() {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all records that wait, or as many as the socket takes: then `WouldBlock`.
    fn flush(&mut self) -> io::Result<()> {
        let session = &mut self.session;
        while session.sent < session.unsent.len() {
            match self.socket.try_write(&session.unsent[session.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => session.sent += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        session.unsent = Vec::new();
        session.sent = 0;
        session.note_memory();
        Ok(())
    }

    /// Ready when a write may succeed.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// Encrypts and writes without waiting. See the module's text for what `WouldBlock` means to the next call.
    pub fn try_write(&mut self, plain: &[u8]) -> io::Result<usize> {
        if let Some(paid) = self.pay()? {
            return Ok(paid);
        }
        with_scratch(|scratch| {
            let plain = &plain[..plain.len().min(PLAIN_BYTES_MAX)];
            let bytes = self.session.encrypt(plain, &mut scratch.output)?;
            self.write_records(&scratch.output[..bytes], plain.len())
        })
    }

    /// The same with several pieces.
    pub fn try_write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        if let Some(paid) = self.pay()? {
            return Ok(paid);
        }
        with_scratch(|scratch| {
            let Scratch { input, output } = scratch;
            let (mut plain_bytes, mut bytes, mut small) = (0, 0, 0);
            for piece in pieces {
                let room = PLAIN_BYTES_MAX - plain_bytes - small;
                let piece = &piece[..piece.len().min(room)];
                let is_small = piece.len() <= SMALL_BYTES_MAX;
                if is_small {
                    input[small..small + piece.len()].copy_from_slice(piece);
                    small += piece.len();
                    continue;
                }
                bytes += self
                    .session
                    .encrypt(&input[..small], &mut output[bytes..])?;
                bytes += self.session.encrypt(piece, &mut output[bytes..])?;
                plain_bytes += small + piece.len();
                small = 0;
            }
            bytes += self
                .session
                .encrypt(&input[..small], &mut output[bytes..])?;
            self.write_records(&output[..bytes], plain_bytes + small)
        })
    }

    /// Writes the records that wait; the bytes that these stood for, if there were any.
    fn pay(&mut self) -> io::Result<Option<usize>> {
        if self.session.unsent.is_empty() {
            return Ok(None);
        }
        self.flush()?;
        let paid = std::mem::take(&mut self.session.owed);
        Ok((paid > 0).then_some(paid))
    }

    /// Writes fresh records, which stand for so many bytes.
    fn write_records(&mut self, records: &[u8], plain_bytes: usize) -> io::Result<usize> {
        let written = match self.socket.try_write(records) {
            Ok(written) if written == records.len() => return Ok(plain_bytes),
            Ok(written) => written,
            Err(error) if would_block(&error) => 0,
            Err(error) => return Err(error),
        };
        let session = &mut self.session;
        session.unsent.extend_from_slice(&records[written..]);
        session.owed = plain_bytes;
        session.note_memory();
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Tells the peer that nothing more comes, if it can be told without waiting.
    pub fn say_goodbye(&mut self) {
        if !self.session.is_established || !self.session.unsent.is_empty() {
            return;
        }
        with_scratch(|scratch| {
            if let Some(bytes) = self.session.say_goodbye(&mut scratch.output) {
                let _ = self.socket.try_write(&scratch.output[..bytes]);
            }
        });
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.session.early.is_empty() {
            let early = std::mem::take(&mut this.session.early);
            let (now, later) = early.split_at(early.len().min(buf.remaining()));
            buf.put_slice(now);
            this.session.early = later.to_vec();
            this.session.note_memory();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            // An answer of TLS's own; it is written when there is room, and nothing waits for it.
            if let Poll::Ready(Err(error)) = this.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if this.session.is_over {
                return Poll::Ready(Ok(()));
            }
            // A whole record has to be read, however little the caller takes: the rest is for the next time.
            let room = buf.remaining().max(RECORD_BYTES_MAX);
            let mut early = Vec::new();
            let polled = this.poll_records(cx, room, |plain| {
                let (now, later) = plain.split_at(plain.len().min(buf.remaining()));
                buf.put_slice(now);
                early.extend_from_slice(later);
            });
            if !early.is_empty() {
                this.session.early = early;
                this.session.note_memory();
            }
            let read = ready!(polled)?;
            if read == 0 || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
