//! Listening on TCP ports at the addresses that directives such as `bind` name.
//!
//! An address is a name or a number; `*` is every IPv4 address, `::*` every IPv6 one. Sockets of IPv6 take
//! IPv6 only, so that both may have the same port. What differs between ports is a parameter.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Binds a port at each of these addresses; nothing if it is 0. Those marked as optional may be missing on
/// this machine. `what` is what errors call the port.
///
/// # Errors
/// When an address cannot be bound, which the text names.
pub fn bind_port<'a>(
    what: &str,
    addresses: impl IntoIterator<Item = (&'a str, bool)>,
    port: u16,
    backlog: u32,
) -> io::Result<Vec<TcpListener>> {
    let mut bound = Vec::new();
    if port == 0 {
        return Ok(bound);
    }
    for (address, is_optional) in addresses {
        match bind_address(address, port, backlog) {
            Ok(listeners) => bound.extend(listeners),
            Err(error) if is_optional && is_missing(&error) => {}
            Err(error) => {
                let text = format!(
                    "Could not create {what} listening socket {address}:{port}: bind: {error}"
                );
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    Ok(bound)
}

/// A listener that the calling thread's runtime watches. Its connections are the caller's: `tokio`'s own listeners have the
/// runtime watch them, too.
///
/// # Errors
/// When the system refuses to watch it.
pub fn watch<L: Listener>(listener: L) -> io::Result<AsyncFd<L>> {
    SockRef::from(&listener).set_nonblocking(true)?;
    // SAFETY: a `Listener` is one of the standard library's, which owns its descriptor, keeps it open until it is
    // dropped, and always tells the same one; `AsyncFd` keeps the listener as long as it has it watched.
    unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }.map_err(Into::into)
}

/// Takes the next connection of a listener, which does not block then, and its peer's address: in one call to the system,
/// where the standard library needs two.
///
/// # Errors
/// As `accept(2)`.
pub fn accept(listener: &impl Listener) -> io::Result<(OwnedFd, SockAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `try_init` gives a zeroed storage and its length, which live for the call; the kernel writes an address of
    // the length that it tells, or fails. What it returns is a descriptor that nobody else has.
    unsafe {
        SockAddr::try_init(|storage, length| {
            let fd = libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags);
            match fd {
                0.. => Ok(OwnedFd::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }
}

/// The standard library's listeners.
pub trait Listener: AsRawFd + AsFd + sealed::Sealed {}
impl Listener for TcpListener {}
impl Listener for UnixListener {}

mod sealed {
    /// Nobody else's type says of itself what [`super::watch`] relies on.
    pub trait Sealed {}
    impl Sealed for super::TcpListener {}
    impl Sealed for super::UnixListener {}
}

/// Whether an error says that this machine has no such address.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::ENOPROTOOPT | libc::EPROTONOSUPPORT)
    )
}

fn bind_address(address: &str, port: u16, backlog: u32) -> io::Result<Vec<TcpListener>> {
    let addresses: Vec<SocketAddr> = match address {
        "*" => vec![(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()],
        "::*" => vec![(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into()],
        host => (host, port).to_socket_addrs()?.collect(),
    };
    let listen = |address| listen(address, backlog);
    addresses.into_iter().map(listen).collect()
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    Ok(socket.into())
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_bound_or_named() {
        assert!(
            bind_port("test", [("nonsense", false)], 0, 1)
                .unwrap()
                .is_empty()
        );
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        // 192.0.2.0/24 is for documentation: nobody has it. The other addresses have the port free.
        let bound =
            bind_port("test", [("127.0.0.2", false), ("192.0.2.1", true)], port, 1).unwrap();
        assert_eq!(
            bound[0].local_addr().unwrap(),
            ([127, 0, 0, 2], port).into()
        );
        assert_eq!(bound.len(), 1);
        for address in ["127.0.0.1", "192.0.2.1"] {
            let error = bind_port("test", [(address, false)], port, 1).unwrap_err();
            let text = format!("Could not create test listening socket {address}:{port}: bind: ");
            assert!(error.to_string().starts_with(&text), "{error}");
        }
        // What is taken is not missing.
        assert!(bind_port("test", [("127.0.0.1", true)], port, 1).is_err());
    }

    #[test]
    fn what_is_accepted_does_not_block_and_has_its_listeners_options() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let none = accept(&listener).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // The handshake is done, but the system may still be about to queue it.
        listener.set_nonblocking(false).unwrap();
        let (fd, address) = accept(&listener).unwrap();
        assert_eq!(address.as_socket(), peer.local_addr().ok());
        let stream = std::net::TcpStream::from(fd);
        let nothing = stream.peek(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert!(SockRef::from(&stream).tcp_nodelay().unwrap());
    }
}
