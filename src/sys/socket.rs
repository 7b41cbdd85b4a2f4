//! Reading from and writing to a connected socket, without what the C library adds.
//!
//! Its `recv` and `send` are points where a thread may be cancelled: with several threads each call changes the
//! thread's state before and after, two atomic operations that nobody here needs. `syscall` has none of it.

use std::io;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Reads what is there; 0 at the end of the stream, `WouldBlock` if there is nothing yet (the socket does not block).
#[inline]
pub fn recv(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let nowhere = std::ptr::null::<u8>();
    // SAFETY: the call writes at most `buf.len()` bytes into `buf`, which is borrowed for it alone, and no address,
    // since it is given no place for one. The descriptor is open as long as it is borrowed.
    let read = unsafe {
        libc::syscall(
            libc::SYS_recvfrom,
            socket.as_raw_fd(),
            buf.as_mut_ptr(),
            buf.len(),
            0,
            nowhere,
            nowhere,
        )
    };
    outcome(read)
}

/// Writes what the socket takes at once. A peer that has gone is an error and no signal.
#[inline]
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the call only reads `bytes`, and there is no address to read. The descriptor is open as long as it is
    // borrowed.
    let written = unsafe {
        libc::syscall(
            libc::SYS_sendto,
            socket.as_raw_fd(),
            bytes.as_ptr(),
            bytes.len(),
            libc::MSG_NOSIGNAL,
            std::ptr::null::<u8>(),
            0usize,
        )
    };
    outcome(written)
}

/// As [`send`], of several pieces. (It is cheaper than `writev`, which passes through the file system.)
#[inline]
pub fn send_vectored(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a message of zeros is one without an address, without pieces and without control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len() as _;
    // SAFETY: the message names `pieces`, which have the layout of `iovec`, and which the call only reads, as it does
    // the message. The descriptor is open as long as it is borrowed.
    let written = unsafe {
        libc::syscall(
            libc::SYS_sendmsg,
            socket.as_raw_fd(),
            &raw const message,
            libc::MSG_NOSIGNAL,
        )
    };
    outcome(written)
}

#[inline]
fn outcome(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    #[cfg_attr(miri, ignore = "miri knows no such system calls")]
    fn bytes_come_as_they_were_sent() {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        let mut buf = [0; 8];
        let nothing = recv(there.as_fd(), &mut buf).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(send(here.as_fd(), b"hello").unwrap(), 5);
        assert_eq!(recv(there.as_fd(), &mut buf[..3]).unwrap(), 3);
        assert_eq!(recv(there.as_fd(), &mut buf[3..]).unwrap(), 2);
        assert_eq!(&buf[..5], b"hello");
        let pieces = [IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bc")];
        assert_eq!(send_vectored(here.as_fd(), &pieces).unwrap(), 3);
        assert_eq!(recv(there.as_fd(), &mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b"abc");
        drop(there);
        let gone = send(here.as_fd(), b"x").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(recv(here.as_fd(), &mut buf).unwrap(), 0);
    }
}
