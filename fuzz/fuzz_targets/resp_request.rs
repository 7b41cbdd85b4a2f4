//! Requests: whatever the bytes, they mean the same however they are cut into reads and batches.
//!
//! The first byte chooses the cut and the limits, the second the size of a batch; the rest is the wire.
#![no_main]

use kivi::resp::{Batch, Limits, Parser, ProtocolError, Tail};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, PartialEq)]
struct Outcome {
    cmds: Vec<Vec<Vec<u8>>>,
    end: Result<usize, ProtocolError>,
}

fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits, max_cmds: usize) -> Outcome {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let (mut buf, mut cmds) = (Vec::new(), Vec::new());
    let mut fed = 0;
    for piece in pieces {
        buf.extend_from_slice(piece);
        fed += piece.len();
        loop {
            let parsed = parser.parse(&buf, limits, max_cmds, &mut batch);
            for i in 0..batch.len() {
                let argv = batch.argv(i, &buf);
                assert!(!argv.is_empty());
                cmds.push(argv.iter().map(<[u8]>::to_vec).collect());
            }
            buf.drain(..batch.consumed());
            match parsed {
                Err(error) => {
                    return Outcome {
                        cmds,
                        end: Err(error),
                    };
                }
                Ok(progress) => match progress.tail {
                    Tail::More => assert!(progress.consumed > 0),
                    Tail::Empty => {
                        assert!(buf.is_empty());
                        break;
                    }
                    Tail::Incomplete { missing } => {
                        assert!(missing > 0);
                        break;
                    }
                },
            }
        }
        // Spans are 8 bytes, the shortest argument takes 6; a vector may be twice too long.
        assert!(parser.memory_bytes() <= 4 * fed + 1024);
    }
    Outcome {
        cmds,
        end: Ok(buf.len()),
    }
}

fuzz_target!(|data: &[u8]| {
    let [cut, batch, wire @ ..] = data else {
        return;
    };
    let limits = Limits {
        max_inline_bytes: if cut & 0x80 == 0 { 64 << 10 } else { 48 },
        authenticated: cut & 0x40 == 0,
        ..Limits::default()
    };
    let whole = feed(std::iter::once(wire), &limits, usize::MAX);
    let size = usize::from(cut & 0x3f) + 1;
    let pieces = feed(wire.chunks(size), &limits, usize::from(*batch) + 1);
    assert_eq!(whole, pieces);
});
