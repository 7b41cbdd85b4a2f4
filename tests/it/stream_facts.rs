//! What XINFO STREAM FULL says, as text: digests know nothing of groups.

use crate::client::Reply;

/// Figures that commands do not choose: when consumers were seen and active.
pub(crate) const TIMES: &[&str] = &["seen-time", "active-time"];
/// What depends on how a stream has come about.
pub(crate) const TREE: &[&str] = &["radix-tree-keys", "radix-tree-nodes"];

/// The reply's words, but for the figures of these names.
pub(crate) fn text(full: &Reply, without: &[&str]) -> String {
    let mut words = Vec::new();
    flatten(full, &mut words);
    let is_left_out = |word: &String| without.contains(&&**word);
    while let Some(at) = words.iter().position(is_left_out) {
        words.drain(at..at + 2);
    }
    words.join(" ")
}

fn flatten(reply: &Reply, words: &mut Vec<String>) {
    match reply {
        Reply::Array(items) => {
            words.push("[".to_owned());
            items.iter().for_each(|item| flatten(item, words));
            words.push("]".to_owned());
        }
        Reply::Int(number) => words.push(number.to_string()),
        Reply::Nil => words.push("nil".to_owned()),
        other => words.push(other.bytes().escape_ascii().to_string()),
    }
}
