//! A connected socket, TCP (plain or with TLS) or unix, that can travel between workers.

use std::io;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::tls::{Session, TlsStream};

/// A socket that no runtime watches: fresh from `accept`, or on its way to another worker.
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix domain.
    Unix(std::os::unix::net::UnixStream),
    /// TCP, and what is said on it.
    Tls(std::net::TcpStream, Box<Session>),
}

impl Socket {
    /// The file descriptor's number.
    pub fn fd(&self) -> i32 {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
            Socket::Tls(stream, _) => stream.as_raw_fd(),
        }
    }

    /// Whether its bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Socket::Tls(..))
    }

    /// Writes what fits the socket's buffer and forgets the rest: a last word before closing. With TLS there are no
    /// words before the handshake.
    pub fn write_last_word(self, text: &[u8]) {
        let _ = match self {
            Socket::Tcp(mut stream) => io::Write::write(&mut stream, text),
            Socket::Unix(mut stream) => io::Write::write(&mut stream, text),
            Socket::Tls(..) => Ok(0),
        };
    }
}

/// A socket that this thread's runtime watches.
pub enum Stream {
    /// TCP.
    Tcp(tokio::net::TcpStream),
    /// Unix domain.
    Unix(tokio::net::UnixStream),
    /// TCP with TLS.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Has the current runtime watch `socket`.
    pub fn new(socket: Socket) -> io::Result<Stream> {
        Ok(match socket {
            Socket::Tcp(stream) => Stream::Tcp(tokio::net::TcpStream::from_std(stream)?),
            Socket::Unix(stream) => Stream::Unix(tokio::net::UnixStream::from_std(stream)?),
            Socket::Tls(stream, session) => {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                Stream::Tls(Box::new(TlsStream::new(stream, session)))
            }
        })
    }

    /// Takes it away from the runtime.
    pub fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Stream::Tcp(stream) => Socket::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Socket::Unix(stream.into_std()?),
            Stream::Tls(stream) => {
                let (stream, session) = stream.into_parts();
                Socket::Tls(stream.into_std()?, session)
            }
        })
    }

    /// Reads; unlike `readable` and `try_read` this clears the readiness on a short read, which saves a system call
    /// per request.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }

    /// Reads into the spare room of `buf`; the number of bytes, 0 at the end of the stream.
    pub fn poll_read_vec(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => tokio_util::io::poll_read_buf(Pin::new(stream), cx, buf),
            Stream::Unix(stream) => tokio_util::io::poll_read_buf(Pin::new(stream), cx, buf),
            Stream::Tls(stream) => tokio_util::io::poll_read_buf(Pin::new(&mut **stream), cx, buf),
        }
    }

    /// Ready when a write may succeed.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
            Stream::Tls(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Writes without waiting. Whoever is told `WouldBlock` comes again with the same bytes at the front.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
            Stream::Tls(stream) => stream.try_write(bytes),
        }
    }

    /// Writes several pieces without waiting.
    pub fn try_write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write_vectored(pieces),
            Stream::Unix(stream) => stream.try_write_vectored(pieces),
            Stream::Tls(stream) => stream.try_write_vectored(pieces),
        }
    }

    /// Closes; the peer is told that nothing more comes.
    pub fn close(self) {
        if let Stream::Tls(mut stream) = self {
            stream.say_goodbye();
        }
    }
}
