//! Tests of DUMP.

use crate::commands::tests::Test;
use crate::persist::rdb::format::{DUMP_FOOTER_BYTES, crc64};

mod round_trip;

/// The payload that DUMP answers, without its footer, and the version in that.
fn dump(t: &mut Test, key: &str) -> (Vec<u8>, u16) {
    let reply = t.args(&[b"DUMP", key.as_bytes()]).0;
    let head = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let payload = reply[head..].strip_suffix(b"\r\n").unwrap();
    assert_eq!(reply[..head], *format!("${}\r\n", payload.len()).as_bytes());
    let (bytes, footer) = payload.split_at(payload.len() - DUMP_FOOTER_BYTES);
    let checksum = crc64(0, &payload[..payload.len() - 8]);
    assert_eq!(footer[2..], checksum.to_le_bytes());
    (bytes.to_vec(), u16::from_le_bytes([footer[0], footer[1]]))
}

#[test]
fn dump_answers_type_and_value() {
    let mut t = Test::new();
    t.run("DUMP nokey").is("$-1");
    t.run("HELLO 3");
    t.run("DUMP nokey").is("_");
    t.run("DUMP")
        .is("-ERR wrong number of arguments for 'dump' command");
    for (line, payload) in [
        ("SET k hello PX 100000", &b"\0\x05hello"[..]),
        ("SET k 3000", b"\0\xC1\xB8\x0B"),
        (
            "RPUSH k a b 1",
            b"\x12\x01\x02\x0F\x0F\0\0\0\x03\0\x81a\x02\x81b\x02\x01\x01\xFF",
        ),
        (
            "SADD k 1 2 3",
            b"\x0B\x0E\x02\0\0\0\x03\0\0\0\x01\0\x02\0\x03\0",
        ),
        ("SADD k a b", b"\x02\x02\x01a\x01b"),
        (
            "HSET k f v g 5",
            b"\x10\x12\x12\0\0\0\x04\0\x81f\x02\x81v\x02\x81g\x02\x05\x01\xFF",
        ),
        (
            "ZADD k 1 a 2.5 b",
            b"\x11\x14\x14\0\0\0\x04\0\x81a\x02\x01\x01\x81b\x02\x832.5\x04\xFF",
        ),
    ] {
        t.run("DEL k");
        t.run(line);
        assert_eq!(dump(&mut t, "k"), (payload.to_vec(), 10), "{line}");
    }
    t.run("DEL k");
    t.run("HSET k f v");
    t.run("HPEXPIREAT k 3333333333333 FIELDS 1 f");
    let payload = b"\x16\x01\x01f\x01v\x55\x35\x26\x1A\x08\x03\0\0";
    assert_eq!(dump(&mut t, "k"), (payload.to_vec(), 80));
}

#[test]
fn dump_compresses_unless_told_otherwise() {
    let mut t = Test::new();
    t.run(&format!("SET k {}", "a".repeat(100)));
    let (payload, _) = dump(&mut t, "k");
    assert_eq!(payload[..2], *b"\0\xC3");
    t.run("CONFIG SET rdbcompression no").is("+OK");
    let (payload, _) = dump(&mut t, "k");
    assert_eq!(payload[..4], *b"\0\x40\x64a");
}

#[test]
fn dump_is_a_read() {
    let mut t = Test::new();
    t.counted("DUMP k", "$-1", [0, 1, 0, 0]);
    t.run("SET k v PX 5");
    t.clock.advance(10_000);
    t.counted("DUMP k", "$-1", [0, 1, 0, 1]);
    t.run("SET k v");
    t.clock.advance(10_000);
    t.run("OBJECT IDLETIME k").is(":10");
    dump(&mut t, "k");
    t.run("OBJECT IDLETIME k").is(":0");
}
