//! Replies: any bytes end the same however they are cut, and what was read can be written and read.
//!
//! The first byte chooses the cut; the rest is the wire.
#![no_main]

use kivi::resp::{ReadError, Reply, ReplyReader, ReplyWriter};
use libfuzzer_sys::fuzz_target;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Result<usize, ReadError>) {
    let mut reader = ReplyReader::new();
    let mut replies = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Err(error)),
            }
        }
    }
    (replies, Ok(reader.unread_bytes()))
}

fn write(replies: &[Reply], resp3: bool) -> Vec<u8> {
    let mut out = ReplyWriter::new();
    out.set_resp3(resp3);
    for reply in replies {
        reply.write(&mut out);
    }
    out.to_vec()
}

fuzz_target!(|data: &[u8]| {
    let [cut, wire @ ..] = data else { return };
    let (replies, end) = read(std::iter::once(wire));
    let (cut_replies, cut_end) = read(wire.chunks(usize::from(*cut) + 1));
    // Compared as text: NaN is not equal to itself.
    assert_eq!(
        (format!("{replies:?}"), end),
        (format!("{cut_replies:?}"), cut_end)
    );

    // What is written is well formed and has as many replies; written again it is the same.
    for resp3 in [true, false] {
        let bytes = write(&replies, resp3);
        let again = Reply::parse_all(&bytes).expect("own output is well formed");
        assert_eq!(again.len(), replies.len());
        assert_eq!(write(&again, resp3), bytes);
    }
});
