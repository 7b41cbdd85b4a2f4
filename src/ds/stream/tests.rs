//! Tests of streams against a model.

use super::*;

#[test]
fn ids_go_up_and_down() {
    assert_eq!(StreamId::MAX.next(), None);
    assert_eq!(StreamId::MIN.prev(), None);
    let last_of_ms = StreamId::new(7, u64::MAX);
    assert_eq!(last_of_ms.next(), Some(StreamId::new(8, 0)));
    assert_eq!(StreamId::new(8, 0).prev(), Some(last_of_ms));
}
