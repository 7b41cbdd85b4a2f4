//! Streams: a payload is refused, or becomes a stream on which anything can be done.
//!
//! The first two bytes choose the form and how long the payload is; what follows it are operations.
//! At the end, and in the middle of a snapshot that is walked meanwhile, the stream has to be sound:
//! it is as long as it says, reads the same in both directions, each pending entry is one of exactly
//! one consumer, and it is dumped so that it is read as the same again.
#![no_main]

use std::collections::BTreeMap;

use kivi::ds::collection::{Collection, Element};
use kivi::ds::entry::{Entry, Meta};
use kivi::ds::stream::{Limits, Pending, References, Stream, StreamId, Trim, Until};
use kivi::persist::rdb::encode;
use kivi::value;
use kivi_fuzz::{Input, PLAIN, payload, restored};
use libfuzzer_sys::fuzz_target;

/// Small ids, mostly.
fn id(input: &mut Input<'_>) -> StreamId {
    let (ms, seq) = (input.byte(), input.byte());
    let far = |byte: u8| match byte {
        0xF0.. => u64::MAX - u64::from(byte & 0xF),
        byte => u64::from(byte >> 2),
    };
    StreamId::new(far(ms), far(seq))
}

fn text(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        kind @ 0..200 => i64::from(kind)
            .wrapping_mul(-0x0123_4567)
            .to_string()
            .into_bytes(),
        kind @ 200..250 => vec![kind; usize::from(input.byte())],
        kind => vec![kind; usize::from(input.byte()) * 40],
    }
}

fn append(stream: &mut Stream, input: &mut Input<'_>) {
    let last = stream.entries().last_id();
    let next = match input.byte() % 4 {
        0 => id(input).max(last).next(),
        1 => StreamId::new(last.ms.saturating_add(1), 0).max(last).next(),
        _ => last.next(),
    };
    let Some(next) = next else { return };
    let pairs = match input.byte() {
        pairs @ 0..240 => 1 + usize::from(pairs) % 4,
        pairs => 1 + usize::from(pairs),
    };
    let texts: Vec<Vec<u8>> = (0..2 * pairs).map(|_| text(input)).collect();
    let limits = Limits {
        node_max_bytes: [0, 50, 4096][usize::from(input.byte()) % 3],
        node_max_entries: [0, 1, 3, 100][usize::from(input.byte()) % 4],
    };
    if stream.entries().entries_added() < i64::MAX as u64 {
        stream
            .entries_mut()
            .append(next, texts.iter().map(|text| &text[..]), &limits);
    }
}

fn references(input: &mut Input<'_>) -> References {
    [References::Keep, References::Delete, References::Acked][usize::from(input.byte()) % 3]
}

fn change_groups(stream: &mut Stream, input: &mut Input<'_>) {
    let name = [input.byte() % 3];
    let at = id(input);
    if input.byte().is_multiple_of(8) {
        stream.groups_mut().destroy(&name);
        return;
    }
    stream.groups_mut().create(&name, at, Some(3));
    let group = stream.groups_mut().get_mut(&name).expect("a group");
    let name = [input.byte() % 5];
    let consumer = group.consumer_id(&name);
    let consumer = consumer.unwrap_or_else(|| group.create_consumer(&name, 7));
    match input.byte() % 8 {
        0 => drop(group.delete_consumer(consumer)),
        1 | 2 => drop(group.ack(at)),
        3 => group.consumer_mut(consumer).active_at_ms = Some(9),
        4 => group.entries_read = None,
        _ => {
            let deliveries = u64::from(input.byte()) << (input.byte() % 48);
            let delivered_at_ms = u64::from(input.byte());
            group.set_pending(
                at,
                Pending {
                    consumer,
                    delivered_at_ms,
                    deliveries,
                },
            );
        }
    }
}

fn change(stream: &mut Stream, input: &mut Input<'_>) {
    match input.byte() % 16 {
        0..6 => append(stream, input),
        6 | 7 => drop(stream.delete(id(input), references(input))),
        8 => {
            let first = stream.entries().first_id();
            stream.delete(first, references(input));
        }
        9 => {
            let until = match input.byte() % 2 {
                0 => Until::MaxLen(input.byte().into()),
                _ => Until::MinId(id(input)),
            };
            let (approximate, limit) =
                (input.byte().is_multiple_of(2), u64::from(input.byte() % 9));
            let trim = Trim {
                until,
                approximate,
                limit,
            };
            stream.trim(trim, references(input));
        }
        10 => {
            let (start, end) = (id(input), id(input));
            let forward: Vec<StreamId> = stream.entries().range(start, end).map(|e| e.id).collect();
            assert!(forward.iter().all(|id| (start..=end).contains(id)));
            assert!(forward.iter().all(|id| stream.entries().contains(*id)));
        }
        11 => {
            let last = stream.entries().last_id();
            stream.entries_mut().set_last_id(id(input).max(last));
        }
        _ => change_groups(stream, input),
    }
}

/// All of a stream as text, as a walk hands it out.
#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    fn add(&mut self, element: Element<'_>) {
        let said = match element {
            Element::Node(node) => {
                let entries = node.entries().map(|entry| {
                    let fields = entry.fields();
                    let fields = fields.map(|(name, value)| [name.to_vec(), value.to_vec()]);
                    format!("{} {:?}", entry.id, fields.collect::<Vec<_>>())
                });
                self.0.extend(entries);
                return;
            }
            other => format!("{other:?}"),
        };
        self.0.push(said);
    }
}

fn seen(stream: &Stream) -> Vec<String> {
    let mut seen = Seen::default();
    stream.for_each_element(&mut |element| seen.add(element));
    seen.0
}

fn check(stream: &Stream) {
    let entries = stream.entries();
    let all = || {
        entries
            .range(StreamId::MIN, StreamId::MAX)
            .map(|entry| entry.id)
    };
    let ids: Vec<StreamId> = all().collect();
    assert_eq!(ids.len() as u64, entries.len());
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert_eq!(ids.first().copied().unwrap_or_default(), entries.first_id());
    assert!(ids.last().is_none_or(|last| *last <= entries.last_id()));
    let back = entries
        .range_back(StreamId::MIN, StreamId::MAX)
        .map(|entry| entry.id);
    let mut back: Vec<StreamId> = back.collect();
    back.reverse();
    assert_eq!(ids, back);
    for entry in entries.range(StreamId::MIN, StreamId::MAX) {
        assert_eq!(entry.fields().len(), entry.fields().count());
    }
    for group in stream.groups().iter() {
        let pending: BTreeMap<StreamId, Pending> =
            group.pending_range(StreamId::MIN, StreamId::MAX).collect();
        assert_eq!(pending.len(), group.pending_len());
        let mut owned = BTreeMap::new();
        for (id, consumer) in group.consumers() {
            let of_it: Vec<_> = group
                .pending_range_of(id, StreamId::MIN, StreamId::MAX)
                .collect();
            assert_eq!(of_it.len(), consumer.pending_len());
            assert!(of_it.iter().all(|(_, pending)| pending.consumer == id));
            owned.extend(of_it);
        }
        assert_eq!(pending, owned);
    }
    assert!(stream.alloc_bytes(0) > 0 && stream.alloc_bytes(5) > 0);
}

fn check_dump(stream: Stream) {
    let expected = seen_shape(&stream);
    let (enc, value) = value::stream::new_value(stream);
    let meta = Meta {
        type_: value::Type::Stream as u8,
        enc: enc as u8,
        lru: 0,
    };
    let entry = Entry::new(b"key", meta, value, None);
    let first = encode::dump(entry.view(), &PLAIN);
    let again = restored(&first).expect("what was written is read");
    assert_eq!(encode::dump(again.view(), &PLAIN), first);
    let stream = value::stream::stream(again.view().value()).expect("a stream");
    assert_eq!(seen_shape(stream), expected);
}

/// As [`seen`], but for the numbers of consumers, which are not kept.
fn seen_shape(stream: &Stream) -> Vec<String> {
    let mut seen = seen(stream);
    seen.retain(|line| !line.contains("ConsumerId"));
    seen
}

fuzz_target!(|data: &[u8]| {
    let [choice, len, rest @ ..] = data else {
        return;
    };
    let (body, operations) = rest.split_at(usize::from(*len).min(rest.len()));
    let type_ = [15, 19, 21][usize::from(choice % 3)];
    let mut stream = Stream::new();
    if let Some(entry) = restored(&payload(&[&[type_], body].concat(), 11)) {
        let copy = entry
            .view()
            .value()
            .as_collection()
            .map(Collection::duplicate);
        let Some(Collection::Stream(copy)) = copy else {
            panic!("no stream");
        };
        stream = *copy;
        check(&stream);
    }
    let mut input = Input(operations);
    while !input.0.is_empty() {
        if input.byte() % 16 != 0 {
            change(&mut stream, &mut input);
            continue;
        }
        // A snapshot, with changes while it is walked.
        let expected = seen(&stream);
        let heir = stream.begin_save();
        let mut walked = Seen::default();
        let mut budget = 1;
        while stream.save_slice(budget, &mut |element| walked.add(element)) {
            budget = 1 + usize::from(input.byte() % 5);
            change(&mut stream, &mut input);
            if input.byte() % 32 == 0 {
                stream = Stream::new();
                let rest = heir.lock().take();
                let mut rest = rest.expect("what was dropped is left to the walk");
                while rest.save_slice(3, &mut |element| walked.add(element)) {}
                break;
            }
        }
        assert_eq!(walked.0, expected);
        check(&stream);
    }
    check(&stream);
    check_dump(stream);
});
