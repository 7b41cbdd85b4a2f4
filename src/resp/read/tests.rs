//! The reader against literal bytes, against every cut, and against the writer.

use super::*;

#[track_caller]
fn is(bytes: &[u8], shown: &str) {
    let shown_as = |replies: Vec<Reply>| {
        replies
            .iter()
            .map(Reply::to_string)
            .collect::<Vec<_>>()
            .join(" / ")
    };
    assert_eq!(Reply::parse_all(bytes).map(shown_as), Ok(shown.to_string()));
    // Byte by byte it is the same.
    let mut reader = ReplyReader::new();
    let mut replies = Vec::new();
    for byte in bytes {
        reader.feed(std::slice::from_ref(byte));
        while let Some(reply) = reader.next_reply().expect("it is valid") {
            replies.push(reply);
        }
    }
    assert!(reader.is_between_replies());
    assert_eq!(shown_as(replies), shown);
}

#[track_caller]
fn fails(bytes: &[u8], error: ReadError) {
    assert_eq!(
        Reply::parse_all(bytes),
        Err(error),
        "{}",
        bytes.escape_ascii()
    );
}

#[test]
fn every_type() {
    is(b"+OK\r\n", "+OK");
    is(b"-ERR it's \"no\"\r\n", "-ERR it's \"no\"");
    is(b":-1\r\n:+5\r\n", ":-1 / :5");
    is(b"$3\r\nfoo\r\n$0\r\n\r\n$-1\r\n", "$foo / $ / _");
    is(b"$4\r\n\r\n\xff'\r\n", r"$\r\n\xff'");
    is(b"*-1\r\n_\r\n", "*-1 / _");
    is(b"*0\r\n*2\r\n*1\r\n:1\r\n$1\r\na\r\n", "[] / [[:1], $a]");
    is(
        b"%1\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n%0\r\n",
        "{$a: [:1, :2]} / {}",
    );
    is(b"~2\r\n:1\r\n#t\r\n>1\r\n#f\r\n", "~[:1, #t] / >[#f]");
    is(
        b",1.5\r\n,inf\r\n,-inf\r\n,nan\r\n,10\r\n",
        ",1.5 / ,inf / ,-inf / ,nan / ,10",
    );
    is(b"=7\r\ntxt:a b\r\n", "=txt:a b");
    is(b"!5\r\nERR x\r\n", "-ERR x");
    is(b"(-12345678901234567890\r\n", "(-12345678901234567890");
    is(
        b"|1\r\n+k\r\n:1\r\n*1\r\n|0\r\n:2\r\n",
        "|{+k: :1} [|{} :2]",
    );
}

#[test]
fn what_is_not_resp_fails() {
    fails(b"x\r\n", ReadError::UnknownType(b'x'));
    fails(b"x", ReadError::UnknownType(b'x'));
    fails(b"*x\r\n", ReadError::BadLength);
    fails(b"*-2\r\n", ReadError::BadLength);
    fails(b"~-1\r\n", ReadError::BadLength);
    fails(b"$-2\r\n", ReadError::BadLength);
    fails(b"$01\r\n", ReadError::BadLength);
    fails(b"!-1\r\n", ReadError::BadLength);
    fails(b":1x\r\n", ReadError::BadValue(b':'));
    fails(b":+-1\r\n", ReadError::BadValue(b':'));
    fails(b"#x\r\n", ReadError::BadValue(b'#'));
    fails(b"_x\r\n", ReadError::BadValue(b'_'));
    fails(b",x\r\n", ReadError::BadValue(b','));
    fails(b"(1x\r\n", ReadError::BadValue(b'('));
    fails(b"=3\r\ntxt\r\n", ReadError::BadValue(b'='));
    fails(b"+OK\rx", ReadError::MissingCrlf);
    fails(b"$1\r\nabc", ReadError::MissingCrlf);
    for cut in [
        &b"+OK\r"[..],
        b"$3\r\nfoo\r",
        b"*1\r\n",
        b"%1\r\n:1\r\n",
        b"|0\r\n",
        b"$",
    ] {
        fails(cut, ReadError::Truncated);
    }
}

#[test]
fn an_error_stays() {
    let mut reader = ReplyReader::new();
    reader.feed(b"*2\r\n:1\r\n?");
    assert_eq!(reader.next_reply(), Err(ReadError::UnknownType(b'?')));
    reader.feed(b"+OK\r\n");
    assert_eq!(reader.next_reply(), Err(ReadError::UnknownType(b'?')));
}

#[test]
fn limits_are_limits() {
    let limits = ReadLimits {
        max_depth: 3,
        max_bulk_bytes: 5,
        max_line_bytes: 6,
        max_elements: 4,
    };
    let read = |bytes: &[u8]| {
        let mut reader = ReplyReader::with_limits(limits);
        reader.feed(bytes);
        reader.next_reply().map(|reply| reply.is_some())
    };
    assert_eq!(read(b"*1\r\n*1\r\n*1\r\n:1\r\n"), Ok(true));
    assert_eq!(read(b"*1\r\n*1\r\n*1\r\n*1\r\n"), Err(ReadError::TooDeep));
    assert_eq!(read(b"|0\r\n|0\r\n|0\r\n|0\r\n"), Err(ReadError::TooDeep));
    assert_eq!(read(b"$5\r\nabcde\r\n"), Ok(true));
    assert_eq!(read(b"$6\r\n"), Err(ReadError::BulkTooLong));
    assert_eq!(read(b"+12345\r\n"), Ok(true));
    assert_eq!(read(b"+123456"), Err(ReadError::LineTooLong));
    assert_eq!(read(b"+123456\r\n"), Err(ReadError::LineTooLong));
    assert_eq!(read(b"*5\r\n"), Err(ReadError::TooManyElements));
    assert_eq!(read(b"*2\r\n*3\r\n"), Err(ReadError::TooManyElements));
    assert_eq!(read(b"%3\r\n"), Err(ReadError::TooManyElements));
    let mut reader = ReplyReader::new();
    reader.feed(b"%9223372036854775807\r\n");
    assert_eq!(reader.next_reply(), Err(ReadError::TooManyElements));
    // Each reply counts for itself.
    let mut reader = ReplyReader::with_limits(limits);
    reader.feed(&b"*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n".repeat(5));
    (0..5).for_each(|_| assert!(reader.next_reply().unwrap().is_some()));
}

#[test]
fn a_header_allocates_nothing() {
    let mut reader = ReplyReader::new();
    reader.feed(b"*16000000\r\n$500000000\r\n");
    assert_eq!(reader.next_reply(), Ok(None));
    assert_eq!(reader.open[0].items.capacity(), 0);
    assert!(reader.buf.capacity() < 1000);
}

#[test]
fn something_else_may_follow() {
    let mut reader = ReplyReader::new();
    reader.feed(b"+FULLRESYNC x 1\r\nREDIS0011");
    assert_eq!(
        reader.next_reply().unwrap().unwrap().to_string(),
        "+FULLRESYNC x 1"
    );
    assert_eq!(reader.take_rest(), b"REDIS0011");
    reader.feed(b":1\r\n");
    assert_eq!(reader.next_reply(), Ok(Some(Reply::Int(1))));
    assert_eq!(Reply::parse(b":1\r\n:2\r\n"), Ok(Some((Reply::Int(1), 4))));
    assert_eq!(Reply::parse(b":1\r"), Ok(None));
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1))
            .map(|_| self.below(256) as u8)
            .collect()
    }

    fn line(&mut self) -> Vec<u8> {
        (0..1 + self.below(20))
            .map(|_| b' ' + self.below(90) as u8)
            .collect()
    }

    fn reply(&mut self, depth: usize) -> Reply {
        let kinds = if depth == 0 { 9 } else { 14 };
        match self.below(kinds) {
            0 => Reply::Simple(self.line()),
            1 => Reply::Error(self.line()),
            2 => Reply::Int(self.below(1 << 40) as i64 - (1 << 39)),
            3 => Reply::Bulk(self.bytes(300)),
            4 => Reply::Null,
            5 => Reply::Double((self.below(1 << 30) as f64 - 1e8) / 1000.0),
            6 => Reply::Bool(self.below(2) == 1),
            7 => Reply::Verbatim {
                format: *b"mkd",
                text: self.bytes(50),
            },
            8 => Reply::BigNumber(b"-123456789012345678901234567890".to_vec()),
            9 => Reply::Array(self.replies(depth)),
            10 => Reply::Set(self.replies(depth)),
            11 => Reply::Push(self.replies(depth)),
            12 => Reply::Map(pairs(self.even(depth))),
            _ => Reply::Attribute(pairs(self.even(depth)), Box::new(self.reply(depth - 1))),
        }
    }

    fn replies(&mut self, depth: usize) -> Vec<Reply> {
        (0..self.below(5)).map(|_| self.reply(depth - 1)).collect()
    }

    fn even(&mut self, depth: usize) -> Vec<Reply> {
        (0..2 * self.below(4))
            .map(|_| self.reply(depth - 1))
            .collect()
    }
}

/// What RESP2 makes of a RESP3 reply.
fn in_resp2(reply: &Reply) -> Reply {
    let all = |items: &[Reply]| items.iter().map(in_resp2).collect::<Vec<_>>();
    match reply {
        Reply::Double(x) => {
            let mut digits = Vec::new();
            num::fmt_double(*x, &mut digits);
            Reply::Bulk(digits)
        }
        Reply::Bool(b) => Reply::Int(i64::from(*b)),
        Reply::Verbatim { text, .. } => Reply::Bulk(text.clone()),
        Reply::BigNumber(digits) => Reply::Bulk(digits.clone()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Reply::Array(all(items)),
        Reply::Map(pairs) => Reply::Array(
            pairs
                .iter()
                .flat_map(|(k, v)| [in_resp2(k), in_resp2(v)])
                .collect(),
        ),
        Reply::Attribute(_, reply) => in_resp2(reply),
        other => other.clone(),
    }
}

#[test]
fn what_is_written_is_read() {
    let mut random = Random(99);
    for _ in 0..400 {
        let replies: Vec<Reply> = (0..1 + random.below(5)).map(|_| random.reply(4)).collect();
        for resp3 in [true, false] {
            let mut out = ReplyWriter::new();
            out.set_resp3(resp3);
            replies.iter().for_each(|reply| reply.write(&mut out));
            let bytes = out.to_vec();
            let expected: Vec<Reply> = if resp3 {
                replies.clone()
            } else {
                replies.iter().map(in_resp2).collect()
            };
            assert_eq!(Reply::parse_all(&bytes).as_ref(), Ok(&expected));
            let mut reader = ReplyReader::new();
            let mut read = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + random.below(rest.len().min(30)));
                reader.feed(piece);
                read.extend(std::iter::from_fn(|| reader.next_reply().unwrap()));
                rest = after;
            }
            assert_eq!(read, expected);
        }
    }
}

#[test]
fn random_bytes_end_the_same_however_cut() {
    let bits: &[&[u8]] = &[
        b"*1\r\n",
        b"*2\r\n",
        b"%1\r\n",
        b"~1\r\n",
        b">0\r\n",
        b"|1\r\n",
        b"$1\r\na\r\n",
        b"$-1\r\n",
        b"_\r\n",
        b"+a\r\n",
        b":1\r\n",
        b",1\r\n",
        b"#t\r\n",
        b"=5\r\ntxt:a\r\n",
        b"$",
        b"*",
        b"\r",
        b"\n",
        b"9",
        b"-",
        b"\0",
    ];
    let mut random = Random(5);
    for _ in 0..20_000 {
        let n = 1 + random.below(25);
        let wire: Vec<u8> = (0..n)
            .flat_map(|_| bits[random.below(bits.len())])
            .copied()
            .collect();
        let read = |size: usize| {
            let mut reader = ReplyReader::new();
            let mut replies = Vec::new();
            for piece in wire.chunks(size) {
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
        };
        assert_eq!(read(wire.len()), read(1 + n % 7), "{}", wire.escape_ascii());
    }
}
