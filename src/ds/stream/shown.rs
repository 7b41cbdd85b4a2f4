//! For tests: everything that a stream consists of, as text, whatever its nodes are.

use super::Stream;
use super::save::Node;
use crate::ds::collection::Element;
use crate::ds::listpack::Value;

fn text(value: Value<'_>) -> String {
    value.to_vec().escape_ascii().to_string()
}

fn node(node: &Node<'_>) -> Vec<String> {
    let entries = node.entries().map(|entry| {
        let fields = entry.fields();
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect();
        format!("{} {}", entry.id, fields.join(" "))
    });
    entries.collect()
}

/// What an element of a stream says.
pub fn element(element: Element<'_>) -> Vec<String> {
    match element {
        Element::Node(part) => node(&part),
        Element::Figures(figures) => vec![format!(
            "len {} first {} last {} deleted {} added {} groups {}",
            figures.len,
            figures.first_id,
            figures.last_id,
            figures.max_deleted_id,
            figures.entries_added,
            figures.groups
        )],
        Element::Group(group) => vec![format!(
            "group {} last {} read {:?} pending {}",
            group.name.escape_ascii(),
            group.last_id,
            group.entries_read,
            group.pending
        )],
        Element::Pending(id, pending) => vec![format!(
            "pending {id} at {} times {}",
            pending.delivered_at_ms, pending.deliveries
        )],
        Element::Consumers(count) => vec![format!("consumers {count}")],
        Element::Consumer(consumer) => {
            vec![format!(
                "consumer {} seen {} active {:?} has {}",
                consumer.name.escape_ascii(),
                consumer.seen_at_ms,
                consumer.active_at_ms,
                consumer.pending
            )]
        }
        Element::PendingWith(some) => some.iter().map(|(id, _)| id.to_string()).collect(),
        other => panic!("not of a stream: {other:?}"),
    }
}

/// All of a stream.
pub fn stream(stream: &Stream) -> Vec<String> {
    let mut lines = Vec::new();
    stream.for_each_element(&mut |part| lines.extend(element(part)));
    lines
}
