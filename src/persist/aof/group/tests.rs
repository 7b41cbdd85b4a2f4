//! Groups and the room for them: what a crash leaves is found, what was confirmed is kept.

use std::path::Path;

use super::*;
use crate::persist::aof::read::{Batch, End, Scanner};
use crate::persist::disk::{Disk, OpenMode, RealDisk, write_all};

fn group(text: &[u8]) -> Vec<u8> {
    let mut group = head(text).unwrap();
    group.extend_from_slice(text);
    group
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let text = b"*1\r\n$4\r\nPING\r\n";
    let line = head(text).unwrap();
    assert_eq!(line.len(), HEAD_BYTES);
    let read = Head::parse(&line).unwrap();
    assert!(read.fits(text) && !read.fits(b"*1\r\n$4\r\nPONG\r\n") && !read.fits(b""));
    for at in 0..line.len() {
        assert_eq!(Head::parse(&line[..at]), None, "{at}");
        if line[at] == b'#' {
            continue;
        }
        let mut other = line.clone();
        other[at] = b'#';
        assert_eq!(Head::parse(&other), None, "{at}");
    }
    assert!(has_group(&group(text)));
    assert!(!has_group(&group(text)[1..]));
    assert!(has_group(&[b"rubbish", &group(text)[..]].concat()));
}

#[test]
fn reserved_room_is_written_over_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let path: &Path = &path;
    let file = RealDisk.open(path, OpenMode::Create).unwrap();
    let (mut len, mut reserved) = (0, 0);
    let mut log = Vec::new();
    for size in [1, 5, 100_000, 3 << 20, 7, (1 << 20) - 9, 2, 1] {
        let text = vec![b'x'; size];
        reserved = reserve(&*file, len, reserved, size).unwrap();
        assert!(reserved >= len + size as u64 + 2);
        write_all(&*file, &text).unwrap();
        log.extend_from_slice(&text);
        len += size as u64;
        assert_eq!(file.stat_len().unwrap(), reserved);
        assert_eq!(end_of_log(&*file).unwrap(), len);
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes[..len as usize], log);
        // What follows is one line, an annotation.
        let (last, rest) = bytes[len as usize..].split_last().unwrap();
        assert_eq!(*last, b'\n');
        assert!(!rest.is_empty() && rest.iter().all(|byte| *byte == b'#'));
    }
    file.set_len(len).unwrap();
    assert_eq!(end_of_log(&*file).unwrap(), len);
    // The next byte goes where the log ends.
    write_all(&*file, b"y\n").unwrap();
    assert_eq!(end_of_log(&*file).unwrap(), len + 2);
    assert_eq!(std::fs::read(path).unwrap()[len as usize..], *b"y\n");
}

/// How many requests of a file are read, and how it ends.
fn read(bytes: &[u8]) -> (usize, End) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::write(&path, bytes).unwrap();
    let file = RealDisk.open(&path, OpenMode::Read).unwrap();
    let mut scanner = Scanner::new(file, 0).unwrap();
    let (mut batch, mut requests) = (Batch::default(), 0);
    loop {
        match scanner.next(&mut batch) {
            Ok(()) => requests += batch.len(),
            Err(end) => return (requests, end),
        }
    }
}

#[test]
fn a_group_that_is_not_whole_was_never_there() {
    let request = |len: usize| format!("*2\r\n$3\r\nGET\r\n${len}\r\n{}\r\n", "k".repeat(len));
    let requests: String = (0..300).map(|number| request(number % 60)).collect();
    let first = group(requests.as_bytes());
    let padding = [&vec![b'#'; 5000][..], b"\n"].concat();
    let whole = [&first[..], &first, &padding].concat();
    let (count, end) = read(&whole);
    assert!(count == 600 && matches!(end, End::Clean));
    // Any block of the last group is missing; or everything from there on.
    for at in (first.len()..2 * first.len()).step_by(97) {
        let to = (at + 512).min(2 * first.len());
        let mut torn = whole.clone();
        torn[at..to].fill(b'#');
        let (count, end) = read(&torn);
        assert_eq!(count, 300, "{at}");
        assert!(
            matches!(end, End::TornGroup(_) | End::Torn(_)),
            "{at}: {end:?}"
        );
        assert!(!has_group(&torn[first.len() + 1..]));
        torn[at..2 * first.len()].fill(b'#');
        let (count, end) = read(&torn);
        assert!(count == 300, "{at}");
        let is_clean = at == first.len();
        assert_eq!(matches!(end, End::Clean), is_clean, "{at}: {end:?}");
    }
    // A damaged group that others follow is another matter.
    let mut damaged = whole;
    damaged[first.len() / 2] ^= 1;
    let (count, end) = read(&damaged);
    let End::TornGroup(at) = end else {
        panic!("{end:?}")
    };
    assert!(count == 0 && has_group(&damaged[at as usize + 1..]));
    // And so is damage in a log that was closed in order.
    let closed = damaged[..2 * first.len()].to_vec();
    assert!(matches!(read(&closed).1, End::Bad(0)));
}

/// Redis reads annotations in pieces of 1023 bytes: none of them may be a newline alone.
#[test]
fn what_follows_a_group_is_an_annotation_for_redis() {
    let reserved = 5000;
    for size in 1..4900 {
        let mut group = vec![b'x'; size];
        fill_up(&mut group, 7, reserved);
        let end = 7 + HEAD_BYTES + group.len();
        let room = [vec![b'#'; reserved as usize - end - 1], b"\n".to_vec()].concat();
        assert!(room.chunks(1023).all(|piece| piece[0] == b'#'), "{size}");
        assert!(group[size..].is_empty() || group[size..] == *FILLER);
    }
}

/// Also when its room was given back, and a file that is closed ends with it.
#[test]
fn what_a_group_is_filled_up_with_belongs_to_it() {
    let request = b"*1\r\n$4\r\nPING\r\n";
    let mut filled = request.to_vec();
    let reserved = (HEAD_BYTES + request.len()) as u64 + 1 + ANNOTATION_PIECE_BYTES;
    fill_up(&mut filled, 0, reserved);
    assert!(filled.len() > request.len());
    let whole = group(&filled);
    let room = [
        vec![b'#'; reserved as usize - whole.len() - 1],
        b"\n".to_vec(),
    ]
    .concat();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for behind in [&room[..], b""] {
        let bytes = [&whole, behind].concat();
        std::fs::write(&path, &bytes).unwrap();
        let file = RealDisk.open(&path, OpenMode::Read).unwrap();
        assert_eq!(end_of_log(&*file).unwrap(), whole.len() as u64);
        let (requests, end) = read(&bytes);
        assert!(requests == 1 && matches!(end, End::Clean), "{end:?}");
    }
}

/// The first blocks of a group are missing, and what is there begins with the end of a line: it is not
/// taken for room behind which Redis has gone on.
#[test]
fn a_group_without_its_beginning_is_not_whole() {
    let text = b"*1\r\n$4\r\nPING\r\n".repeat(20);
    for shift in 0..SECTOR_BYTES as usize {
        let value = "k".repeat(shift + 10);
        let first = format!("*2\r\n$3\r\nGET\r\n${}\r\n{value}\r\n", value.len());
        let first = group(first.as_bytes());
        let mut whole = [&first[..], &group(&text)].concat();
        let end = whole.len();
        whole.extend([b'#'; 500]);
        whole.push(b'\n');
        let sectors = (0..end).step_by(SECTOR_BYTES as usize);
        // Its first byte looks the same.
        for at in sectors.filter(|at| *at > first.len() + 1) {
            let mut torn = whole.clone();
            torn[first.len()..at].fill(b'#');
            let (count, end) = read(&torn);
            assert_eq!(count, 1, "{shift}, {at}: {end:?}");
            assert!(matches!(end, End::TornGroup(_)), "{shift}, {at}: {end:?}");
        }
    }
    // Nor does room ever end so.
    let dir = tempfile::tempdir().unwrap();
    let file = RealDisk
        .open(&dir.path().join("log"), OpenMode::Create)
        .unwrap();
    for len in 0..100 {
        let reserved = reserve(&*file, len, 0, 1).unwrap();
        assert!(!(reserved - 1).is_multiple_of(SECTOR_BYTES));
    }
}
