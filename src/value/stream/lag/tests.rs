//! What is known of how far groups have read, in the cases in which Valkey knows it.

use super::*;
use crate::ds::stream::{Limits, References, Stream, Trim, Until};

const LIMITS: Limits = Limits {
    node_max_bytes: 4096,
    node_max_entries: 100,
};

fn id(ms: u64) -> StreamId {
    StreamId::new(ms, 0)
}

/// A stream of entries with these times.
fn stream(times: impl IntoIterator<Item = u64>) -> Stream {
    let mut stream = Stream::new();
    for ms in times {
        let fields = [&b"f"[..], b"v"].into_iter();
        stream.entries_mut().append(id(ms), fields, &LIMITS);
    }
    stream
}

/// What is known of a group that has read up to `last`, with or without a counter: entries read up
/// to there by their place, and the lag.
fn known(stream: &mut Stream, last: u64, counter: Option<u64>) -> (Option<u64>, Option<i64>) {
    stream.groups_mut().destroy(b"g");
    stream.groups_mut().create(b"g", id(last), counter);
    let group = stream.groups().get(b"g").unwrap();
    let entries = stream.entries();
    (entries_read_at(entries, id(last)), lag(entries, group))
}

#[test]
fn the_ends_are_known() {
    let mut s = stream([]);
    assert_eq!(known(&mut s, 0, None), (Some(0), Some(0)));
    assert_eq!(known(&mut s, 9, Some(7)), (Some(0), Some(0)));
    let mut s = stream(1..=5);
    assert_eq!(known(&mut s, 0, None), (Some(0), Some(5)));
    assert_eq!(known(&mut s, 1, None), (Some(1), Some(4)));
    assert_eq!(known(&mut s, 2, None), (None, None));
    assert_eq!(known(&mut s, 5, None), (Some(5), Some(0)));
    assert_eq!(known(&mut s, 6, None), (None, None));
    // A counter is taken for granted.
    assert_eq!(known(&mut s, 2, Some(2)).1, Some(3));
    assert_eq!(known(&mut s, 6, Some(9)).1, Some(-4));
}

#[test]
fn deleted_entries_ahead_hide_the_place() {
    let mut s = stream(1..=5);
    s.delete(id(3), References::Keep);
    assert_eq!(known(&mut s, 1, Some(1)), (None, None));
    assert_eq!(known(&mut s, 3, Some(3)), (None, None));
    assert_eq!(known(&mut s, 4, Some(4)).1, Some(1));
    assert_eq!(known(&mut s, 5, None), (Some(5), Some(0)));
    assert_eq!(known(&mut s, 0, None), (None, None));
    // As soon as all before are gone, the first one's place is known again.
    s.delete(id(1), References::Keep);
    s.delete(id(2), References::Keep);
    assert_eq!(known(&mut s, 3, None), (Some(3), Some(2)));
    assert_eq!(known(&mut s, 4, None), (Some(4), Some(1)));
    assert_eq!(known(&mut s, 2, None), (None, None));
}

#[test]
fn a_stream_that_is_empty_was_read_to_its_end() {
    let mut s = stream(1..=3);
    let until = Until::MaxLen(0);
    let (approximate, limit) = (false, 0);
    s.trim(
        Trim {
            until,
            approximate,
            limit,
        },
        References::Keep,
    );
    assert_eq!(known(&mut s, 1, None), (Some(3), Some(0)));
    assert_eq!(known(&mut s, 1, Some(1)).1, Some(2));
    assert_eq!(known(&mut s, 4, None), (None, None));
}

#[test]
fn a_counter_is_kept_while_it_can_be() {
    let mut s = stream(1..=6);
    s.groups_mut().create(b"g", id(1), Some(1));
    let step = |s: &mut Stream, ms| {
        let (entries, groups) = s.split_mut();
        let group = groups.get_mut(b"g").unwrap();
        (advance(entries, group, id(ms)), group.entries_read)
    };
    assert_eq!(step(&mut s, 2), (true, Some(2)));
    assert_eq!(step(&mut s, 2), (false, Some(2)));
    s.delete(id(4), References::Keep);
    assert_eq!(step(&mut s, 3), (true, None));
    assert_eq!(step(&mut s, 5), (true, None));
    assert_eq!(step(&mut s, 6), (true, Some(6)));
}
