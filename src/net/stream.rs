//! A connected socket, TCP or unix, that can travel between workers.

use std::io;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// A socket that no runtime watches: fresh from `accept`, or on its way to another worker.
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix domain.
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// The file descriptor's number.
    pub fn fd(&self) -> i32 {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// Whether its bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        match self {
            Socket::Tcp(_) | Socket::Unix(_) => false,
        }
    }

    /// Writes what fits the socket's buffer and forgets the rest: a last word before closing.
    pub fn write_last_word(self, text: &[u8]) {
        let _ = match self {
            Socket::Tcp(mut stream) => io::Write::write(&mut stream, text),
            Socket::Unix(mut stream) => io::Write::write(&mut stream, text),
        };
    }
}

/// A socket that this thread's runtime watches.
pub enum Stream {
    /// TCP.
    Tcp(tokio::net::TcpStream),
    /// Unix domain.
    Unix(tokio::net::UnixStream),
}

impl Stream {
    /// Has the current runtime watch `socket`.
    pub fn new(socket: Socket) -> io::Result<Stream> {
        Ok(match socket {
            Socket::Tcp(stream) => Stream::Tcp(tokio::net::TcpStream::from_std(stream)?),
            Socket::Unix(stream) => Stream::Unix(tokio::net::UnixStream::from_std(stream)?),
        })
    }

    /// Takes it away from the runtime.
    pub fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Stream::Tcp(stream) => Socket::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Socket::Unix(stream.into_std()?),
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
        }
    }

    /// Ready when a write may succeed.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Writes without waiting.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Writes several pieces without waiting.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write_vectored(pieces),
            Stream::Unix(stream) => stream.try_write_vectored(pieces),
        }
    }
}
