//! The key browser: SCAN, and of each key what it is, how large, and how long it lives.
//!
//! SCAN names keys to whoever may run it. The browser is stricter: a key is shown only to a visitor who may
//! read it (`TYPE key`). A look takes a bounded number of steps, so a pattern that hardly anything matches is
//! looked for in several requests, each of which tells where the next one goes on.

use hyper::StatusCode;

use crate::resp::read::Reply;

use super::super::json::Json;
use super::super::query::param;
use super::super::router::Desk;
use super::super::visitor::{Refusal, Visitor};
use super::api::Found;

/// Fewest keys after which a look ends.
const KEYS_MIN: usize = 50;
/// Steps of a look, and how many keys SCAN looks at in each.
const STEPS_MAX: usize = 20;
const STEP_KEYS: &[u8] = b"100";
/// Longest key that is shown whole, bytes; of others the beginning is.
const KEY_SHOWN_BYTES: usize = 512;

/// Answers `?db=0&cursor=0&match=user:*&type=hash`; each may be left out.
pub(super) fn keys(desk: &Desk, visitor: &mut Visitor, query: &str) -> Found {
    let db = param(query, "db").unwrap_or(b"0".into());
    visitor.call(desk, &[b"SELECT", &db])?;
    let mut cursor = param(query, "cursor").unwrap_or(b"0".into()).into_owned();
    let pattern = param(query, "match").filter(|pattern| !pattern.is_empty());
    let type_ = param(query, "type").filter(|type_| !type_.is_empty());
    let (mut shown, mut hidden) = (Vec::new(), 0u64);
    for _ in 0..STEPS_MAX {
        let mut scan: Vec<&[u8]> = vec![b"SCAN", &cursor, b"COUNT", STEP_KEYS];
        if let Some(pattern) = &pattern {
            scan.extend([&b"MATCH"[..], pattern]);
        }
        if let Some(type_) = &type_ {
            scan.extend([&b"TYPE"[..], type_]);
        }
        let (next, keys) = scanned(visitor.call(desk, &scan)?);
        for key in keys {
            match look(desk, visitor, key) {
                Ok(key) => shown.extend(key),
                Err(refusal) if refusal.status == StatusCode::FORBIDDEN => hidden += 1,
                Err(refusal) => return Err(refusal),
            }
        }
        cursor = next;
        if shown.len() >= KEYS_MIN || cursor == b"0" {
            break;
        }
    }
    Ok(Json::object(|json| {
        json.string("cursor", &cursor);
        json.plain("hidden", hidden);
        json.array("keys", |json| {
            for key in &shown {
                json.item(|json| key.write(json));
            }
        });
    }))
}

/// Cursor and keys of SCAN's reply.
fn scanned(reply: Reply) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut parts = match reply {
        Reply::Array(parts) => parts.into_iter(),
        _ => Vec::new().into_iter(),
    };
    let (cursor, keys) = (parts.next(), parts.next());
    let cursor = cursor.map_or(b"0".to_vec(), text);
    let keys = match keys {
        Some(Reply::Array(keys)) => keys.into_iter().map(text).collect(),
        _ => Vec::new(),
    };
    (cursor, keys)
}

fn text(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(text) | Reply::Simple(text) => text,
        _ => Vec::new(),
    }
}

/// A key as it is shown.
struct Key {
    name: Vec<u8>,
    type_: Vec<u8>,
    encoding: Option<Vec<u8>>,
    ttl_ms: Option<i64>,
    /// Elements, or bytes of a string.
    length: Option<i64>,
    memory_bytes: Option<i64>,
}

/// Looks at a key; `None` if it has gone, and refused if the visitor may not read it. What else he may not
/// ask for is left out.
fn look(desk: &Desk, visitor: &mut Visitor, name: Vec<u8>) -> Result<Option<Key>, Refusal> {
    let type_ = text(visitor.call(desk, &[b"TYPE", &name])?);
    if type_ == b"none" {
        return Ok(None);
    }
    let mut ask = |request: &[&[u8]]| visitor.call(desk, request).ok();
    let int = |reply| match reply {
        Some(Reply::Int(n)) => Some(n),
        _ => None,
    };
    let length: Option<&[u8]> = match &type_[..] {
        b"string" => Some(b"STRLEN"),
        b"list" => Some(b"LLEN"),
        b"set" => Some(b"SCARD"),
        b"zset" => Some(b"ZCARD"),
        b"hash" => Some(b"HLEN"),
        b"stream" => Some(b"XLEN"),
        _ => None,
    };
    Ok(Some(Key {
        encoding: ask(&[b"OBJECT", b"ENCODING", &name]).map(text),
        ttl_ms: int(ask(&[b"PTTL", &name])).filter(|&ttl_ms| ttl_ms >= 0),
        length: length.and_then(|command| int(ask(&[command, &name]))),
        memory_bytes: int(ask(&[b"MEMORY", b"USAGE", &name])),
        type_,
        name,
    }))
}

impl Key {
    fn write(&self, json: &mut Json) {
        let shown = self.name.len().min(KEY_SHOWN_BYTES);
        json.string("key", &self.name[..shown]);
        json.plain("key_bytes", self.name.len());
        json.string("type", &self.type_);
        if let Some(encoding) = &self.encoding {
            json.string("encoding", encoding);
        }
        json.plain_or_null("ttl_ms", self.ttl_ms);
        json.plain_or_null("length", self.length);
        json.plain_or_null("memory_bytes", self.memory_bytes);
    }
}
