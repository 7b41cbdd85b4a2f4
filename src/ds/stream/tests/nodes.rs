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
    for _ in 0..40 {
        let mut pair = Pair::default();
        for _ in 0..300 {
            let limits = random_limits(&mut rng);
            one_change(&mut pair, &mut rng, &limits);
        }
        let written = listpacks(&pair.stream);
        let mut read = Stream::new();
        let entries = read.entries_mut();
        for (id, bytes) in &written {
            entries.push_listpack(*id, Listpack::new(bytes)).unwrap();
            let again = entries.push_listpack(*id, Listpack::new(bytes));
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
