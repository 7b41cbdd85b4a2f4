//! TLS records as no client of good will sends them: in pieces, broken, in each other's way.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    SupportedCipherSuite,
};

use super::{House, tls_config};
use crate::tls;

/// A client that can be asked for its keys.
fn open_client() -> ClientConnection {
    let mut config: ClientConfig = (*tls::probe(&tls_config()).unwrap()).clone();
    config.enable_secret_extraction = true;
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

#[test]
fn a_handshake_in_many_records_is_one() {
    let house = House::new(1);
    let (stream, _) = house.connect_tls();
    let (mut client, mut socket) = stream.into_parts();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    for piece in hello[5..].chunks(10) {
        let mut record = vec![22, 3, 1, 0, piece.len() as u8];
        record.extend_from_slice(piece);
        // A record in two writes as well.
        let (first, second) = record.split_at(record.len() / 2);
        socket.write_all(first).unwrap();
        socket.write_all(second).unwrap();
    }
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    let mut stream = rustls::StreamOwned::new(client, socket);
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    drop(stream);
    house.stop();
}

/// Sends these messages in records of their own, all at once, on a connection that has shaken hands; what comes back
/// until the end, encrypted.
fn after_the_handshake(house: &House, messages: &[(ContentType, &[u8])]) -> Vec<u8> {
    let (stream, _) = house.connect_tls();
    let mut socket = stream.sock.try_clone().unwrap();
    let mut client = open_client();
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    let suite = client.negotiated_cipher_suite().unwrap();
    let (seq, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    let SupportedCipherSuite::Tls13(suite) = suite else {
        panic!("not TLS 1.3")
    };
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("another cipher"),
    };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    let mut records = Vec::new();
    for (seq, (typ, payload)) in (seq..).zip(messages) {
        let message = OutboundPlainMessage {
            typ: *typ,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(payload),
        };
        records.extend(encrypter.encrypt(message, seq).unwrap().encode());
    }
    socket.write_all(&records).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    let _ = socket.read_to_end(&mut answers);
    answers
}

#[test]
fn half_a_message_of_tls_is_in_nobodys_way() {
    use ContentType::{ApplicationData, Handshake};
    let house = House::new(1);
    let ping = (ApplicationData, &b"PING\r\n"[..]);
    // The whole of a change of keys has five bytes.
    let key_update = [24, 0, 0, 1, 0];
    for end in 1..5 {
        let part = (Handshake, &key_update[..end]);
        // The answer is written while the rest is awaited.
        assert!(!after_the_handshake(&house, &[ping, part]).is_empty());
        assert!(!after_the_handshake(&house, &[ping, part, ping]).is_empty());
        assert!(!after_the_handshake(&house, &[ping, part, part, part]).is_empty());
    }
    for broken in [
        &[(Handshake, &[24, 0, 0, 1, 9][..])][..],
        &[(Handshake, &[1, 0, 0, 0][..])],
        &[(Handshake, &[24, 0xFF, 0xFF, 0xFF, 0][..])],
        &[(ContentType::Alert, &[2, 40][..])],
        &[(ContentType::Alert, &[1, 0][..]), ping],
        &[(ContentType::Unknown(99), b"?")],
        &[
            ping,
            (Handshake, &[24, 0, 0, 1, 9, 24, 0, 0, 1, 0][..]),
            ping,
        ],
        &[(ApplicationData, &b""[..]); 64],
    ] {
        after_the_handshake(&house, broken);
    }
    house.stop();
}
