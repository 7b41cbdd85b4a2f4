//! The parser against literal requests, against every way to cut them, and against random bytes.

use super::*;

/// What a stream of bytes means: its commands, then the error or the number of bytes left over.
#[derive(Debug, PartialEq)]
struct Outcome {
    cmds: Vec<Vec<Vec<u8>>>,
    end: Result<usize, ProtocolError>,
}

/// Feeds `pieces` as a connection would: one buffer that grows and is consumed at its front.
fn feed<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
    max_cmds: usize,
) -> Outcome {
    let (mut parser, mut batch, mut buf) = (Parser::new(), Batch::new(), Vec::new());
    let mut cmds = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let parsed = parser.parse(&buf, limits, max_cmds, &mut batch);
            let mut end_before = 0;
            for i in 0..batch.len() {
                let argv = batch.argv(i, &buf);
                assert!(!argv.is_empty());
                cmds.push(argv.iter().map(<[u8]>::to_vec).collect());
                assert!(batch.end(i) > end_before);
                end_before = batch.end(i);
            }
            assert!(batch.consumed >= end_before);
            assert!(batch.len() <= max_cmds);
            buf.drain(..batch.consumed);
            match parsed {
                Err(error) => {
                    return Outcome {
                        cmds,
                        end: Err(error),
                    };
                }
                Ok(progress) => {
                    assert_eq!(progress.consumed, batch.consumed);
                    match progress.tail {
                        Tail::Empty => assert!(buf.is_empty()),
                        Tail::More => {
                            assert!(progress.consumed > 0, "no progress");
                            continue;
                        }
                        Tail::Incomplete { missing } => {
                            assert!(missing > 0 && !buf.is_empty());
                        }
                    }
                    break;
                }
            }
        }
    }
    Outcome {
        cmds,
        end: Ok(buf.len()),
    }
}

fn whole(bytes: &[u8]) -> Outcome {
    feed([bytes], &Limits::default(), usize::MAX)
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

#[track_caller]
fn is(bytes: &[u8], cmds: &[&str]) {
    let cmds = cmds.iter().map(|cmd| words(cmd)).collect();
    assert_eq!(
        whole(bytes),
        Outcome { cmds, end: Ok(0) },
        "{}",
        bytes.escape_ascii()
    );
}

#[track_caller]
fn waits(bytes: &[u8]) {
    let outcome = whole(bytes);
    assert_eq!(
        outcome,
        Outcome {
            cmds: vec![],
            end: Ok(bytes.len())
        },
        "{}",
        bytes.escape_ascii()
    );
}

#[track_caller]
fn fails(bytes: &[u8], text: &str) {
    let error = whole(bytes).end.expect_err("an error");
    let answer = format!("ERR Protocol error: {text}");
    assert_eq!(
        error.error_text(),
        answer.as_bytes(),
        "{}",
        bytes.escape_ascii()
    );
    if text.is_ascii() {
        assert_eq!(format!("ERR {error}"), answer);
    }
}

fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut wire = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        wire.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        wire.extend_from_slice(arg);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

const PING: &str = "*1\r\n$4\r\nPING\r\n";

#[test]
fn commands_are_spans_of_the_buffer() {
    is(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", &["GET key"]);
    is(b"*1\r\n$0\r\n\r\n", &[""]);
    is(
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
        &["ECHO ", "PING"],
    );
    let twelve: Vec<&[u8]> = vec![b"argument-of-20-bytes"; 12];
    assert_eq!(whole(&command(&twelve)).cmds, [twelve]);

    let wire = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    let mut batch = Batch::new();
    Parser::new()
        .parse(wire, &Limits::default(), 8, &mut batch)
        .unwrap();
    let argv = batch.argv(0, wire);
    assert_eq!(
        argv.spans(),
        [Span { start: 8, len: 3 }, Span { start: 17, len: 3 }]
    );
    assert_eq!(
        (&argv[0], argv.get(1), argv.get(2)),
        (&b"GET"[..], Some(&b"key"[..]), None)
    );
    assert_eq!(argv.from(1).iter().collect::<Vec<_>>(), [b"key"]);
    assert!(argv.from(2).is_empty() && argv.from(9).is_empty());
    assert_eq!(batch.end(0), wire.len());
}

#[test]
fn arguments_may_hold_any_byte() {
    let nasty: &[u8] = b"\r\n$3\r\n*1\0\xff\r";
    let args: &[&[u8]] = &[b"SET", nasty, b""];
    assert_eq!(whole(&command(args)).cmds, [args]);
}

#[test]
fn empty_commands_are_skipped() {
    for empty in [
        "*0\r\n",
        "*-1\r\n",
        "*-5\r\n",
        "*-9223372036854775808\r\n",
        "\r\n",
        "\n",
        "  \t \r\n",
    ] {
        is(
            format!("{empty}{PING}{empty}{empty}{PING}").as_bytes(),
            &["PING", "PING"],
        );
        is(empty.as_bytes(), &[]);
    }
}

#[test]
fn multibulk_lengths_have_one_spelling() {
    for bad in [
        "+1",
        "01",
        "-0",
        "",
        " 1",
        "1 ",
        "x",
        "-01",
        "--1",
        "-",
        "1x",
        "2147483648",
    ] {
        fails(
            format!("*{bad}\r\n{PING}").as_bytes(),
            "invalid multibulk length",
        );
    }
    for bad in [
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999",
    ] {
        fails(
            format!("*{bad}\r\n{PING}").as_bytes(),
            "invalid multibulk length",
        );
    }
    waits(b"*2147483647\r\n");
    waits(b"*1000000000\r\n");
}

#[test]
fn bulk_lengths_have_one_spelling() {
    for bad in [
        "-1",
        "+4",
        "04",
        "",
        "4x",
        "-0",
        "536870913",
        "9223372036854775807",
    ] {
        fails(
            format!("*1\r\n${bad}\r\nPING\r\n").as_bytes(),
            "invalid bulk length",
        );
    }
    fails(b"*1\r\n$99999999999999999999\r\n", "invalid bulk length");
    fails(b"*1\r\n$1\n1\r\n", "invalid bulk length");
    waits(b"*1\r\n$536870912\r\n");
}

#[test]
fn an_argument_starts_with_a_dollar() {
    fails(b"*1\r\nx4\r\nPING\r\n", "expected '$', got 'x'");
    fails(b"*1\r\nPING\r\n", "expected '$', got 'P'");
    fails(b"*1\r\nx4\rY", "expected '$', got 'x'");
    fails(b"*1\r\n:4\r\n", "expected '$', got ':'");
    let error = whole(b"*1\r\n\xff4\r\n").end.unwrap_err();
    assert_eq!(
        error.error_text(),
        b"ERR Protocol error: expected '$', got '\xff'"
    );
    let error = whole(b"*1\r\n\r\n").end.unwrap_err();
    assert_eq!(
        error.error_text(),
        b"ERR Protocol error: expected '$', got '\r'"
    );
    waits(b"*1\r\nP");
}

#[test]
fn every_line_and_argument_ends_with_crlf() {
    for bad in [
        "*1\rX",
        "*x\rY",
        "*0\rX",
        "*1\r\r\n",
        "*2147483648\rX",
        "*1\r\n$4\rX",
        "*1\r\n$x\rY",
    ] {
        fails(bad.as_bytes(), "invalid CRLF in request");
    }
    for bad in ["PINGxx", "PINGx\n", "PING\rx", "PING\r\r\n"] {
        fails(
            format!("*1\r\n$4\r\n{bad}").as_bytes(),
            "invalid CRLF in request",
        );
    }
    waits(b"*1\r\n$4\r\nPINGx");
    waits(b"*1\n$4\nPING\n");
}

#[test]
fn lines_are_bounded_however_they_arrive() {
    let limits = Limits::default();
    let long = |prefix: &str, n: usize| format!("{prefix}{}", "1".repeat(n)).into_bytes();
    for (prefix, text) in [
        ("*", "too big mbulk count string"),
        ("*1\r\n$", "too big bulk count string"),
        ("*1\r\nx", "too big bulk count string"),
        ("A", "too big inline request"),
    ] {
        waits(&long(prefix, 65535));
        fails(&long(prefix, 65536), text);
        fails(&[&long(prefix, 65536)[..], b"\r\n"].concat(), text);
        let bytes = long(prefix, 70000);
        let cut = feed(bytes.chunks(997), &limits, 8).end.unwrap_err();
        assert_eq!(cut, whole(&bytes).end.unwrap_err());
    }
    assert_eq!(
        whole(&[&long("A", 65535)[..], b"\n"].concat()).cmds[0][0].len(),
        65536
    );
}

#[test]
fn inline_commands_are_unquoted() {
    let one = |line: &str, arg: &[u8]| {
        let cmds = whole(format!("ECHO {line}\r\n").as_bytes()).cmds;
        assert_eq!(cmds, [[b"ECHO".to_vec(), arg.to_vec()]], "{line}");
    };
    one(r#""a\x41\n\r\t\b\a\q\"\\""#, b"aA\n\r\t\x08\x07q\"\\");
    one(r"'a\'b\n\x41'", br"a'b\n\x41");
    one(r#""a"b"#, b"ab");
    one("'a'b", b"ab");
    one(r#"a"b c""#, b"ab c");
    one("a'b c'", b"ab c");
    one(r#""""#, b"");
    one("''", b"");
    one(r#""\x4""#, b"x4");
    one(r#""\xZZ""#, b"xZZ");
    one(r#""a""b""#, b"ab");
    // A quote at the very end closes, whatever stands before it.
    one(r#""a\""#, br"a\");
    one(r#""a\\\""#, br"a\\");
    one(r"'\'", br"\");
    one("a\x0bb", b"a\x0bb");
    one("\"a\"\x0b", b"a\x0b");
    one("\"a\" ", b"a");
    one("a\r", b"a");
    one("a\0b", b"a\0b");
    // As Valkey has it: with nothing behind it, an escaped quote closes.
    one(r#""a\""#, b"a\\");
    one(r#""\""#, b"\\");
    one(r"'\'", b"\\");
    for open in [
        r#""abc"#, "'abc", r#""\"#, r"'\", r"'\' ", r#""\" "#, r#"a""#,
    ] {
        fails(
            format!("ECHO {open}\r\nPING\r\n").as_bytes(),
            "unbalanced quotes in request",
        );
    }
    is(b"PING\n", &["PING"]);
    is(b"\x0b\x0cPING\r\n", &["PING"]);
    is(b"ECHO a\rb\r\n", &["ECHO a b"]);
    is(b"$4\r\nPING\r\n", &["$4", "PING"]);
    is(
        b"SET  k\tv \r\n*1\r\n$4\r\nPING\r\nGET k\r\n",
        &["SET k v", "PING", "GET k"],
    );
}

#[test]
fn commands_before_an_error_are_delivered() {
    for broken in [
        "*x\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$1\r\nabc",
        "GET \"\r\n",
        "*2\r\n$1\r\na\r\n!1\r\n",
    ] {
        let outcome = whole(format!("{PING}GET k\r\n{broken}{PING}").as_bytes());
        assert_eq!(outcome.cmds, [words("PING"), words("GET k")], "{broken:?}");
        assert!(outcome.end.is_err());
    }
    let bytes = b"PING\r\n*x\r\n";
    let mut batch = Batch::new();
    Parser::new()
        .parse(bytes, &Limits::default(), 8, &mut batch)
        .unwrap_err();
    assert_eq!((batch.len(), batch.consumed), (1, 6));
}

#[test]
fn the_unauthenticated_are_held_short() {
    let limits = Limits {
        authenticated: false,
        ..Limits::default()
    };
    let end = |bytes: &[u8]| feed([bytes], &limits, 1).end;
    assert_eq!(end(b"*10\r\n"), Ok(5));
    assert_eq!(
        end(b"*11\r\n"),
        Err(ProtocolError::UnauthenticatedMultibulkLength)
    );
    assert_eq!(end(b"*1\r\n$16384\r\n"), Ok(12));
    assert_eq!(
        end(b"*1\r\n$16385\r\n"),
        Err(ProtocolError::UnauthenticatedBulkLength)
    );
    assert_eq!(
        end(b"*1000000000000\r\n"),
        Err(ProtocolError::InvalidMultibulkLength)
    );
    assert_eq!(end(b"*11\rX"), Err(ProtocolError::InvalidCrlf));
    fails_with(&end, b"*11\r\n", "unauthenticated multibulk length");
    fails_with(&end, b"*1\r\n$16385\r\n", "unauthenticated bulk length");

    // One command per call, because it may be AUTH.
    let bytes = b"AUTH x\r\n*11\r\n";
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let progress = parser.parse(bytes, &limits, 32, &mut batch).unwrap();
    assert_eq!(
        (batch.len(), progress),
        (
            1,
            Progress {
                consumed: 8,
                tail: Tail::More
            }
        )
    );
    let progress = parser
        .parse(&bytes[8..], &Limits::default(), 32, &mut batch)
        .unwrap();
    assert_eq!(
        progress,
        Progress {
            consumed: 0,
            tail: Tail::Incomplete { missing: 1 }
        }
    );
}

fn fails_with(end: &dyn Fn(&[u8]) -> Result<usize, ProtocolError>, bytes: &[u8], text: &str) {
    assert_eq!(
        end(bytes).unwrap_err().to_string(),
        format!("Protocol error: {text}")
    );
}

#[test]
fn limits_are_limits() {
    let limits = Limits {
        max_args: 3,
        max_bulk_bytes: 5,
        max_inline_bytes: 10,
        ..Limits::default()
    };
    let end = |bytes: &[u8]| feed([bytes], &limits, 8).end;
    assert_eq!(end(&command(&[b"a", b"b", b"12345"])), Ok(0));
    assert_eq!(
        end(&command(&[&b"a"[..]; 4])),
        Err(ProtocolError::InvalidMultibulkLength)
    );
    assert_eq!(
        end(&command(&[b"123456"])),
        Err(ProtocolError::InvalidBulkLength)
    );
    assert_eq!(end(b"1234567890\n"), Ok(0));
    assert_eq!(end(b"12345678901\n"), Err(ProtocolError::TooBigInline));

    // Whatever the configuration says, positions have 32 bits.
    let limits = Limits {
        max_bulk_bytes: u64::MAX,
        ..Limits::default()
    };
    let end = |bytes: &[u8]| feed([bytes], &limits, 8).end;
    assert_eq!(
        end(b"*1\r\n$4294967295\r\n"),
        Err(ProtocolError::TooBigRequest)
    );
    assert_eq!(
        end(b"*1\r\n$9223372036854775807\r\n"),
        Err(ProtocolError::TooBigRequest)
    );
    assert_eq!(end(b"*1\r\n$4294967200\r\n"), Ok(17));
}

#[test]
fn a_header_allocates_nothing() {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let bytes = b"*1000000\r\n$500000000\r\n";
    let progress = parser
        .parse(bytes, &Limits::default(), 8, &mut batch)
        .unwrap();
    assert_eq!(
        progress.tail,
        Tail::Incomplete {
            missing: 500_000_002
        }
    );
    assert!(parser.partial.is_none());
    assert_eq!((batch.args.capacity(), parser.memory_bytes()), (0, 0));
    assert_eq!(size_of::<Parser>(), 16);
}

#[test]
fn max_cmds_bounds_a_batch() {
    let wire = PING.repeat(1000);
    for max_cmds in [1, 2, 7, 32, 1000, 5000] {
        let outcome = feed([wire.as_bytes()], &Limits::default(), max_cmds);
        assert_eq!((outcome.cmds.len(), outcome.end), (1000, Ok(0)));
    }
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let progress = parser
        .parse(wire.as_bytes(), &Limits::default(), 32, &mut batch)
        .unwrap();
    assert_eq!(
        progress,
        Progress {
            consumed: 32 * PING.len(),
            tail: Tail::More
        }
    );
}

/// Requests of every shape, one after the other.
fn mixture() -> Vec<u8> {
    let many: Vec<Vec<u8>> = (0..40).map(|i| format!("arg{i}").into_bytes()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let long_line = format!("ECHO {}\r\n", "x".repeat(150));
    [
        &command(&[b"SET", b"key", b"value"]),
        &b"PING\r\n\r\n*0\r\n*-1\r\n"[..],
        &command(&many),
        b"ECHO \"a b\\x41\" 'c d' e\n",
        &command(&[b"", &[0xff; 120], b"\r\n"]),
        long_line.as_bytes(),
        &command(&many[..15]),
        &command(&many[..16]),
        &command(&many[..17]),
        b"  \r\n",
    ]
    .concat()
}

#[test]
fn any_cut_gives_the_same_commands() {
    let wire = mixture();
    let limits = Limits::default();
    let expected = whole(&wire);
    assert_eq!((expected.cmds.len(), &expected.end), (9, &Ok(0)));
    for at in 0..=wire.len() {
        let (a, b) = wire.split_at(at);
        assert_eq!(feed([a, b], &limits, 32), expected, "cut at {at}");
    }
    for size in 1..200 {
        assert_eq!(
            feed(wire.chunks(size), &limits, 3),
            expected,
            "pieces of {size}"
        );
    }
}

#[test]
fn any_cut_gives_the_same_error() {
    for tail in [
        "*x\r\n",
        "*1\rX",
        "*1\r\n$x\r\n",
        "*1\r\nx1\r\n",
        "*1\r\n$1\r\nabcd",
        "A \"\r\n",
        "*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n",
    ] {
        let wire = [
            command(&[b"SET", b"key", b"value"]),
            tail.as_bytes().to_vec(),
        ]
        .concat();
        let expected = whole(&wire);
        assert!(expected.end.is_err());
        for at in 0..=wire.len() {
            let (a, b) = wire.split_at(at);
            assert_eq!(
                feed([a, b], &Limits::default(), 32),
                expected,
                "cut at {at}"
            );
        }
        assert_eq!(feed(wire.chunks(1), &Limits::default(), 32), expected);
    }
}

#[test]
fn what_was_searched_of_a_line_is_forgotten_with_it() {
    // The unfinished line is longer than the one after it.
    let args = "$1\r\na\r\n".repeat(20);
    let wire = format!("*30\r\n{args}$10\r\n0123456789\r\n$\r\n").into_bytes();
    for at in 0..wire.len() {
        let (a, b) = wire.split_at(at);
        let end = feed([a, b], &Limits::default(), 32).end;
        assert_eq!(end, Err(ProtocolError::InvalidBulkLength), "cut at {at}");
    }
}

#[test]
fn a_request_in_many_pieces_is_not_read_again() {
    // 200,000 arguments in pieces of 7 bytes: quadratic work would take hours, linear a second.
    let wire = command(&vec![&b"ab"[..]; 200_000]);
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let limits = Limits::default();
    let mut steps = 0;
    for end in (7..wire.len()).step_by(7) {
        let progress = parser.parse(&wire[..end], &limits, 8, &mut batch).unwrap();
        assert_eq!(progress.consumed, 0);
        steps += 1;
    }
    assert!(steps > 200_000 && parser.partial.is_some());
    // At most twice what is needed: it grows with the arguments that are there.
    assert!(parser.memory_bytes() < 2 * 200_000 * 8 + 1000);
    parser.parse(&wire, &limits, 8, &mut batch).unwrap();
    assert_eq!((batch.len(), batch.argv(0, &wire).len()), (1, 200_000));
    assert!(batch.argv(0, &wire).iter().skip(1).all(|arg| arg == b"ab"));
    assert!(parser.partial.is_none());
    batch.clear();
    assert_eq!(batch.args.capacity(), 0, "unusual memory is given back");
}

/// xorshift64*: the tests need no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

#[test]
fn random_bytes_mean_the_same_however_cut() {
    let bits: &[&[u8]] = &[
        b"*1\r\n",
        b"*2\r\n",
        b"*20\r\n",
        b"*0\r\n",
        b"$4\r\nPING\r\n",
        b"$1\r\na\r\n",
        b"$0\r\n\r\n",
        b"$",
        b"*",
        b"\r\n",
        b"\n",
        b"\r",
        b"PING",
        b" ",
        b"\"",
        b"'",
        b"\\x41",
        b"\\",
        b"-1",
        b"9999999999",
        b"\0",
        b"\xff",
        b"12",
    ];
    let limits = Limits {
        max_args: 100,
        max_bulk_bytes: 1000,
        max_inline_bytes: 40,
        ..Limits::default()
    };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut cmds = 0;
    for _ in 0..20_000 {
        let n = 1 + random.below(30);
        let wire: Vec<u8> = (0..n)
            .flat_map(|_| bits[random.below(bits.len())])
            .copied()
            .collect();
        let expected = feed([&wire[..]], &limits, 1 + random.below(40));
        cmds += expected.cmds.len();
        let mut pieces = Vec::new();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len().min(12)));
            pieces.push(piece);
            rest = after;
        }
        let cut = feed(pieces, &limits, 1 + random.below(40));
        assert_eq!(cut, expected, "{}", wire.escape_ascii());
    }
    assert!(cmds > 10_000, "the soup must hold commands: {cmds}");
}

#[test]
fn any_request_survives_the_wire() {
    let mut random = Random(42);
    for _ in 0..500 {
        let cmds: Vec<Vec<Vec<u8>>> = (0..1 + random.below(20))
            .map(|_| {
                (0..1 + random.below(30))
                    .map(|_| {
                        (0..random.below(40))
                            .map(|_| random.below(256) as u8)
                            .collect()
                    })
                    .collect()
            })
            .collect();
        let wire: Vec<u8> = cmds
            .iter()
            .flat_map(|cmd| command(&cmd.iter().map(Vec::as_slice).collect::<Vec<_>>()))
            .collect();
        let size = 1 + random.below(100);
        let outcome = feed(wire.chunks(size), &Limits::default(), 1 + random.below(40));
        assert_eq!(outcome, Outcome { cmds, end: Ok(0) });
    }
}
