//! The PROXY protocol, versions 1 and 2: a proxy says in front of a connection's bytes whose they are.
//!
//! Only the addresses of `proxy-protocol-trusted` are asked, and these must say it: a receiver that guessed whether
//! there is a header would let anybody behind the proxy write one. What is read is the header and not a byte more,
//! because behind it a TLS handshake may begin. Whatever is not exactly as the specification has it is refused, as it
//! asks for.
//!
//! Memory grows with the bytes that arrive; a header has [`PROXY_HEADER_SECS_MAX`] seconds.
//!
//! To understand another field of version 2: its type in `check_fields`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crc_fast::CrcAlgorithm;

use crate::spec::limits::PROXY_HEADER_SECS_MAX;
use crate::util::num;

/// How long a connection is kept that is refused, so that its peer learns why.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// What is read of it meanwhile.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// How a header of version 1 begins.
const LINE_START: &[u8] = b"PROXY ";
/// Its longest line, with the end of the line.
const LINE_BYTES_MAX: usize = 107;
/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Behind the signature: version and command, family and protocol, length of what follows.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;
/// Fields of version 2 that are known here.
const FIELD_CRC32C: u8 = 0x03;

/// Where a connection comes from, by its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// From the proxy itself, which looks whether we are well.
    Proxy,
    /// The proxy does not know, or does not say.
    Unknown,
    /// From a unix socket of the proxy's machine.
    Unix,
    /// From `source`, which has connected to `destination`.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// The address that it knows us by.
        destination: SocketAddr,
    },
}

/// Why there is no [`Origin`].
#[derive(Debug)]
pub enum Broken {
    /// The peer went without a byte: somebody looks whether the port is open.
    Silent,
    /// What was received is no header.
    Malformed(&'static str),
    /// It did not come in time.
    Late,
    /// The connection failed.
    Lost(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Broken::Malformed("the connection ends in it"),
            _ => Broken::Lost(error),
        }
    }
}

/// Reads a header and nothing behind it.
pub async fn read(stream: &mut TcpStream) -> Result<Origin, Broken> {
    let limit = Duration::from_secs(PROXY_HEADER_SECS_MAX);
    read_within(stream, limit).await
}

async fn read_within(stream: &mut TcpStream, limit: Duration) -> Result<Origin, Broken> {
    let reading = tokio::time::timeout(limit, read_header(stream));
    reading.await.unwrap_or(Err(Broken::Late))
}

async fn read_header(stream: &mut TcpStream) -> Result<Origin, Broken> {
    // Shorter than any header, and enough to tell which one it is.
    let mut start = [0; SIGNATURE.len()];
    let mut held = 0;
    while held < start.len() {
        match stream.read(&mut start[held..]).await? {
            0 if held == 0 => return Err(Broken::Silent),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => held += read,
        }
        let so_far = &start[..held];
        let is_line = so_far.iter().zip(LINE_START).all(|(a, b)| a == b);
        if !is_line && !SIGNATURE.starts_with(so_far) {
            return Err(Broken::Malformed("there is none"));
        }
    }
    match start == *SIGNATURE {
        true => read_binary(stream).await,
        false => read_line(stream, &start).await,
    }
}

async fn read_line(stream: &mut TcpStream, start: &[u8]) -> Result<Origin, Broken> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        let mut ahead = [0; LINE_BYTES_MAX];
        let room = LINE_BYTES_MAX - line.len();
        if room == 0 {
            return Err(Broken::Malformed("its line does not end"));
        }
        // Only looked at: behind the line is what the client has sent.
        let seen = stream.peek(&mut ahead[..room]).await?;
        let seen = &ahead[..seen];
        let end = memchr::memchr(b'\n', seen).map_or(seen.len(), |at| at + 1);
        let held = line.len();
        line.resize(held + end.max(1), 0);
        stream.read_exact(&mut line[held..]).await?;
    }
    parse_line(&line).map_err(Broken::Malformed)
}

async fn read_binary(stream: &mut TcpStream) -> Result<Origin, Broken> {
    let mut header = SIGNATURE.to_vec();
    header.resize(FIXED_BYTES, 0);
    stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
    let length = u16::from_be_bytes([header[14], header[15]]);
    let mut rest = stream.take(length.into());
    if rest.read_to_end(&mut header).await? < length.into() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    parse_binary(&header).map_err(Broken::Malformed)
}

/// `PROXY TCP4 1.2.3.4 5.6.7.8 1000 6379`, with the end of the line.
fn parse_line(line: &[u8]) -> Result<Origin, &'static str> {
    const WRONG: &str = "its line is malformed";
    let line = line.strip_suffix(b"\r\n").ok_or(WRONG)?;
    let text = std::str::from_utf8(line).map_err(|_| WRONG)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().ok_or(WRONG)?;
    if family == "UNKNOWN" {
        return Ok(Origin::Unknown);
    }
    let addresses = (words.next(), words.next());
    let ports = (words.next(), words.next());
    let (Some(source), Some(destination)) = addresses else {
        return Err(WRONG);
    };
    let (Some(source_port), Some(destination_port), None) = (ports.0, ports.1, words.next()) else {
        return Err(WRONG);
    };
    let end = |address: &str, port: &str| {
        let ip: IpAddr = match family {
            "TCP4" => address.parse::<Ipv4Addr>().ok()?.into(),
            "TCP6" => address.parse::<Ipv6Addr>().ok()?.into(),
            _ => return None,
        };
        let number = u16::try_from(num::parse_u64(port.as_bytes())?).ok()?;
        Some(SocketAddr::new(ip, number))
    };
    let source = end(source, source_port).ok_or(WRONG)?;
    let destination = end(destination, destination_port).ok_or(WRONG)?;
    Ok(Origin::Tcp {
        source,
        destination,
    })
}

/// A whole header of version 2.
fn parse_binary(header: &[u8]) -> Result<Origin, &'static str> {
    let (fixed, rest) = header.split_at_checked(FIXED_BYTES).ok_or("it is short")?;
    let (version, command) = (fixed[12] >> 4, fixed[12] & 15);
    if version != 2 {
        return Err("its version is unknown");
    }
    let (family, protocol) = (fixed[13] >> 4, fixed[13] & 15);
    let address_bytes = match (command, family) {
        // The proxy speaks for itself; what else it says is not looked at.
        (0, _) => return Ok(Origin::Proxy),
        (1, 0) => 0,
        (1, 1) => 2 * (4 + 2),
        (1, 2) => 2 * (16 + 2),
        (1, 3) => 2 * 108,
        (1, _) => return Err("its address family is unknown"),
        _ => return Err("its command is unknown"),
    };
    if family != 0 && protocol != 1 {
        return Err("it speaks of something else than a stream");
    }
    let (addresses, fields) = rest
        .split_at_checked(address_bytes)
        .ok_or("its addresses are cut off")?;
    check_fields(header, fields)?;
    Ok(match family {
        1 => ends::<4>(addresses),
        2 => ends::<16>(addresses),
        3 => Origin::Unix,
        _ => Origin::Unknown,
    })
}

/// Source and destination: two addresses of `N` bytes, then two ports.
fn ends<const N: usize>(bytes: &[u8]) -> Origin
where
    IpAddr: From<[u8; N]>,
{
    let end = |at: usize| {
        let mut address = [0; N];
        address.copy_from_slice(&bytes[at * N..][..N]);
        let port = &bytes[2 * N + 2 * at..];
        SocketAddr::new(address.into(), u16::from_be_bytes([port[0], port[1]]))
    };
    Origin::Tcp {
        source: end(0),
        destination: end(1),
    }
}

/// What follows the addresses: fields of a type, a length and so many bytes. The checksum must be right if there is
/// one; nothing else in there changes who the client is.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), &'static str> {
    const CUT_OFF: &str = "a field of it is cut off";
    while !fields.is_empty() {
        let (start, rest) = fields.split_at_checked(3).ok_or(CUT_OFF)?;
        let length = u16::from_be_bytes([start[1], start[2]]);
        let (value, rest) = rest.split_at_checked(length.into()).ok_or(CUT_OFF)?;
        if start[0] == FIELD_CRC32C {
            let sum: [u8; 4] = value.try_into().map_err(|_| CUT_OFF)?;
            let at = header.len() - rest.len() - sum.len();
            let mut unsigned = header.to_vec();
            unsigned[at..at + sum.len()].fill(0);
            if crc32c(&unsigned) != u32::from_be_bytes(sum) {
                return Err("its checksum is wrong");
            }
        }
        fields = rest;
    }
    Ok(())
}

/// Castagnoli's checksum.
fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Tells the peer why it is refused. What it has sent meanwhile is read: a socket that is closed over unread bytes
/// takes its last word back.
pub async fn refuse(mut stream: TcpStream, text: &[u8]) {
    let farewell = async {
        stream.write_all(text).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(FAREWELL_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
}

#[cfg(test)]
mod tests;
