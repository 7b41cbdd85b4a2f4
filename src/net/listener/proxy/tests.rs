//! Headers as proxies send them, cut at every byte, and all kinds of broken ones.

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::*;
use crate::util::rng::Rng;

const PATIENCE: Duration = Duration::from_secs(60);
/// What the client sends behind the header.
const REQUEST: &[u8] = b"PING\r\n\r\n\0\x16\x03";

/// What is made of bytes that come in these pieces, the peer then going; and what is left unread.
fn read_pieces(pieces: &[&[u8]]) -> (Result<Origin, Broken>, Vec<u8>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut peer, mut stream) = (peer.unwrap(), accepted.unwrap().0);
        peer.set_nodelay(true).unwrap();
        let write = async {
            for piece in pieces {
                // The peer's end may be closed over what was not read.
                let _ = peer.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = peer.shutdown().await;
        };
        let (origin, ()) = tokio::join!(read_within(&mut stream, PATIENCE), write);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (origin, rest)
    })
}

fn tcp(source: &str, destination: &str) -> Origin {
    Origin::Tcp {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

/// A header of version 2: version and command, family and protocol, and what follows.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![kind];
    field.extend((value.len() as u16).to_be_bytes());
    field.extend(value);
    field
}

const V4: &[u8] = &[10, 0, 0, 1, 192, 168, 0, 9, 0x03, 0xe8, 0x18, 0xeb];

fn v6() -> Vec<u8> {
    let mut addresses = vec![0; 36];
    (addresses[15], addresses[31], addresses[33], addresses[35]) = (1, 2, 7, 8);
    addresses
}

/// A header with a checksum, right or wrong.
fn with_checksum(spoil: bool) -> Vec<u8> {
    let tail = [
        field(0x04, b"pad"),
        field(FIELD_CRC32C, &[0; 4]),
        field(0xea, b"x"),
    ]
    .concat();
    let mut header = binary(0x21, 0x11, &[V4, &tail].concat());
    let at = FIXED_BYTES + V4.len() + 6 + 3;
    let sum = crc32c(&header) ^ u32::from(spoil);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

fn good_headers() -> Vec<(Vec<u8>, Origin)> {
    let v4 = tcp("10.0.0.1:1000", "192.168.0.9:6379");
    let line = |text: &str| text.as_bytes().to_vec();
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LINE_BYTES_MAX - 16));
    vec![
        (line("PROXY TCP4 10.0.0.1 192.168.0.9 1000 6379\r\n"), v4),
        (
            line("PROXY TCP4 1.1.1.1 2.2.2.2 0 65535\r\n"),
            tcp("1.1.1.1:0", "2.2.2.2:65535"),
        ),
        (
            line("PROXY TCP6 ::1 fd00::2 7 8\r\n"),
            tcp("[::1]:7", "[fd00::2]:8"),
        ),
        (line("PROXY UNKNOWN\r\n"), Origin::Unknown),
        (
            line("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"),
            Origin::Unknown,
        ),
        (longest.into_bytes(), Origin::Unknown),
        (binary(0x21, 0x11, V4), v4),
        (binary(0x21, 0x21, &v6()), tcp("[::1]:7", "[::2]:8")),
        (binary(0x20, 0x00, b""), Origin::Proxy),
        (binary(0x20, 0x11, V4), Origin::Proxy),
        // Whatever the proxy says of itself.
        (binary(0x20, 0xff, b"xyz"), Origin::Proxy),
        (binary(0x21, 0x00, b""), Origin::Unknown),
        (binary(0x21, 0x31, &[b'x'; 216]), Origin::Unix),
        (
            binary(0x21, 0x11, &[V4, &field(0xea, &[7; 40_000])].concat()),
            v4,
        ),
        (
            binary(
                0x21,
                0x11,
                &[V4, &field(0x04, b""), &field(0x20, b"abc")].concat(),
            ),
            v4,
        ),
        (with_checksum(false), v4),
    ]
}

#[test]
fn headers_are_read_however_they_are_cut_and_nothing_behind_them() {
    for (header, expected) in good_headers() {
        let whole = [&header, REQUEST].concat();
        let cuts = (0..header.len().min(120)).chain([header.len(), header.len() + 3]);
        for cut in cuts {
            let (origin, rest) = read_pieces(&[&whole[..cut], &whole[cut..]]);
            let origin = origin.unwrap_or_else(|e| panic!("{}: {e:?}", header.escape_ascii()));
            assert_eq!(origin, expected);
            assert_eq!(rest, REQUEST, "behind {}", header.escape_ascii());
        }
        let bytes: Vec<&[u8]> = whole.chunks(1 + whole.len() / 200).collect();
        let (origin, rest) = read_pieces(&bytes);
        assert_eq!((origin.ok(), &*rest), (Some(expected), REQUEST));
    }
}

#[test]
fn half_headers_are_no_headers() {
    for (header, _) in good_headers() {
        let cuts = (1..header.len().min(150)).chain([header.len() - 1]);
        for cut in cuts {
            let (origin, _) = read_pieces(&[&header[..cut]]);
            let is_refused = matches!(origin, Err(Broken::Malformed(_)));
            assert!(is_refused, "{}: {origin:?}", header[..cut].escape_ascii());
        }
    }
    let (origin, _) = read_pieces(&[]);
    assert!(matches!(origin, Err(Broken::Silent)), "{origin:?}");
}

#[test]
fn what_is_no_header_is_refused() {
    let line = |text: &str| text.as_bytes().to_vec();
    let broken = [
        line("PING\r\n"),
        line("P"),
        line("*1\r\n$4\r\nPING\r\n"),
        line("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n"),
        line("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n"),
        line("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n"),
        line("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n"),
        line("PROXY TCP4 ::1 ::2 1 2\r\n"),
        line("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n"),
        line("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n"),
        line("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n"),
        line("PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n"),
        line("PROXY \r\nUNKNOWN\r\n"),
        format!("PROXY UNKNOWN {}\r\n", "f".repeat(LINE_BYTES_MAX - 15)).into_bytes(),
        format!("PROXY UNKNOWN {}", "f".repeat(100_000)).into_bytes(),
        binary(0x11, 0x11, V4),
        binary(0x31, 0x11, V4),
        binary(0x22, 0x11, V4),
        binary(0x21, 0x41, V4),
        binary(0x21, 0x10, V4),
        binary(0x21, 0x12, V4),
        binary(0x21, 0x11, &V4[1..]),
        binary(0x21, 0x21, V4),
        binary(0x21, 0x31, &[0; 215]),
        binary(0x21, 0x11, &[V4, &[1]].concat()),
        binary(0x21, 0x11, &[V4, &[1, 0, 1]].concat()),
        binary(0x21, 0x11, &[V4, &field(FIELD_CRC32C, b"123")].concat()),
        with_checksum(true),
        b"\r\n\r\n\0\r\nQUIX\n!!!!".to_vec(),
    ];
    for bytes in broken {
        let (origin, _) = read_pieces(&[&bytes]);
        let is_refused = matches!(origin, Err(Broken::Malformed(_)));
        assert!(is_refused, "{}: {origin:?}", bytes.escape_ascii());
    }
}

#[test]
fn changed_headers_never_do_harm() {
    let headers = good_headers();
    let mut rng = Rng::from_seed(20_26);
    for _ in 0..50_000 {
        let (header, _) = &headers[rng.below(headers.len() as u64) as usize];
        let mut header = header[..header.len().min(300)].to_vec();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(header.len() as u64) as usize;
            header[at] = rng.below(256) as u8;
        }
        let _ = parse_line(&header);
        let _ = parse_binary(&header);
        header.truncate(rng.below(header.len() as u64 + 1) as usize);
        let _ = parse_line(&header);
        let _ = parse_binary(&header);
    }
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for half in [
        &b""[..],
        b"PROXY TCP4 ",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01",
    ] {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (mut peer, mut stream) = (peer.unwrap(), accepted.unwrap().0);
            peer.write_all(half).await.unwrap();
            let origin = read_within(&mut stream, Duration::from_millis(30)).await;
            assert!(matches!(origin, Err(Broken::Late)), "{origin:?}");
        });
    }
}

#[test]
fn whoever_is_refused_learns_why_whatever_he_has_sent() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut peer, mut stream) = (peer.unwrap(), accepted.unwrap().0);
        peer.write_all(&[b'x'; 20_000]).await.unwrap();
        let origin = read_within(&mut stream, PATIENCE).await;
        assert!(matches!(origin, Err(Broken::Malformed(_))), "{origin:?}");
        let mut told = Vec::new();
        let listen = async {
            peer.read_to_end(&mut told).await.unwrap();
            drop(peer);
        };
        tokio::join!(refuse(stream, b"-ERR no\r\n"), listen);
        assert_eq!(told, b"-ERR no\r\n");
    });
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
}
