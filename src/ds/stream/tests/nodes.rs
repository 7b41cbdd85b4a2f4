//! Nodes as listpacks: written, read, refused.

use super::*;

/// The listpacks of a stream's nodes with their ids.
pub(super) fn listpacks(stream: &Stream) -> Vec<(StreamId, Vec<u8>)> {
    let mut all = Vec::new();
    stream.entries().for_each_node(&mut |node| {
        let mut bytes = Vec::new();
        node.write_listpack(&mut bytes);
        assert_eq!(bytes.len(), node.listpack_bytes());
        assert!(listpack::validate(&bytes));
        all.push((node.master_id(), bytes));
    });
    all
}

#[test]
fn what_is_written_is_read() {
    let mut rng = Rng::from_seed(7);
    for _ in 0..20 {
        let mut pair = Pair::default();
        for _ in 0..300 {
            let limits = random_limits(&mut rng);
            one_change(&mut pair, &mut rng, &limits);
        }
        let written = listpacks(&pair.stream);
        let mut read = Stream::new();
        let entries = read.entries_mut();
        let mut last = StreamId::MIN;
        for (id, bytes) in &written {
            entries
                .push_listpack(&mut last, *id, Listpack::new(bytes))
                .unwrap();
            let again = entries.push_listpack(&mut last, *id, Listpack::new(bytes));
            assert_eq!(again, Err("stream: nodes are not in order"));
        }
        assert_eq!(listpacks(&read), written);
        assert_eq!(read.entries().first_id(), pair.stream.entries().first_id());
        let known_to = |stream: &Stream| -> Vec<Known> {
            let all = stream.entries().range(StreamId::MIN, StreamId::MAX);
            all.map(known).collect()
        };
        assert_eq!(known_to(&read), known_to(&pair.stream));
    }
}

/// A text of the transcript: as it is, a character so many times, or `~` for none.
fn text_of(word: &str) -> Vec<u8> {
    match word.split_once('*') {
        _ if word == "~" => Vec::new(),
        Some((what, times)) => what.repeat(times.parse().unwrap()).into(),
        None => word.into(),
    }
}

fn id_of(word: &str) -> StreamId {
    let (ms, seq) = word.split_once('-').unwrap();
    StreamId::new(ms.parse().unwrap(), seq.parse().unwrap())
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// What XINFO STREAM tells, and a hash of what DUMP says of nodes.
fn state(stream: &Stream) -> String {
    let entries = stream.entries();
    let nodes = listpacks(stream);
    let bytes = nodes.iter().flat_map(|(id, listpack)| {
        let id = [id.ms.to_be_bytes(), id.seq.to_be_bytes()].concat();
        id.into_iter().chain(listpack.iter().copied())
    });
    format!(
        "{} {} {} {} {} {} {} {:016x}",
        entries.len(),
        entries.nodes(),
        entries.radix_tree_nodes(),
        entries.first_id(),
        entries.last_id(),
        entries.max_deleted_id(),
        entries.entries_added(),
        fnv(bytes)
    )
}

fn trim_of(words: &[&str]) -> Trim {
    let until = match words[0] {
        "maxlen" => Until::MaxLen(words[2].parse().unwrap()),
        _ => Until::MinId(id_of(words[2])),
    };
    Trim {
        until,
        approximate: words[1] == "~",
        limit: words[3].parse().unwrap(),
    }
}

/// Random commands to Valkey 9.1.2, their answers, and what its nodes were.
#[test]
fn nodes_are_valkeys_to_the_byte() {
    let (mut stream, mut limits) = (Stream::new(), random_limits(&mut Rng::from_seed(1)));
    let mut states = 0;
    for (at, line) in include_str!("valkey.txt").lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "new" => stream = Stream::new(),
            "limits" => {
                limits.node_max_bytes = words[1].parse().unwrap();
                limits.node_max_entries = words[2].parse().unwrap();
            }
            "add" => {
                let texts: Vec<Vec<u8>> = words[2..].iter().map(|word| text_of(word)).collect();
                let fields = texts.iter().map(|text| &text[..]);
                let entries = stream.entries_mut();
                entries.append(id_of(words[1]), fields, &limits);
            }
            "del" => {
                let deleted = stream.delete(id_of(words[1]), References::Keep);
                assert_eq!(u8::from(deleted == Deleted::Yes).to_string(), words[2]);
            }
            "trim" => {
                let deleted = stream.trim(trim_of(&words[1..]), References::Keep);
                assert_eq!(deleted.to_string(), words[5], "line {}", at + 1);
            }
            "setid" => stream.entries_mut().set_last_id(id_of(words[1])),
            _ => {
                states += 1;
                assert_eq!(format!("is {}", state(&stream)), line, "line {}", at + 1);
            }
        }
    }
    assert!(states > 50);
}
