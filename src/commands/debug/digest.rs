//! DEBUG DIGEST and DIGEST-VALUE: Redis's fingerprint of a dataset, by which two servers are known to
//! hold the same, whatever the order in which they keep it.
//!
//! A digest is 20 bytes. To *add* something is to xor its SHA-1 to them, in any order; to *mix* it
//! in is to add it and then take the SHA-1 of the 20 bytes, so that order matters. Expiries count
//! only by being there, those of fields not at all.
//!
//! The shards are gone through one after the other, so with writers at work the result is no single
//! moment's.

use std::ops::ControlFlow;

use sha1::{Digest as _, Sha1};

use crate::commands::{CmdResult, Ctx, Next};
use crate::db::{DbIndex, Lookup};
use crate::ds::entry::{EntryRef, ValueRef};
use crate::ds::listpack::Value;
use crate::ds::quicklist::End;
use crate::ds::stream::{Stream, StreamId};
use crate::util::num;
use crate::value::hash::HashRef;
use crate::value::list::ListRef;
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Type, hash, stream, string};

/// What stands for an expiry.
const EXPIRE_MARK: &[u8] = b"!!expire!!";

/// The number of the type stream.
const STREAM_NUMBER: u32 = 6;

/// See the module's text.
#[derive(Clone, Copy, Default)]
struct Digest([u8; 20]);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        let hash: [u8; 20] = Sha1::digest(bytes).into();
        self.join(Digest(hash));
    }

    fn join(&mut self, other: Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn mix_value(&mut self, value: ValueRef<'_>) {
        self.mix(string::bytes(value, &mut itoa::Buffer::new()));
    }

    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// `DEBUG DIGEST`
pub(super) fn digest(ctx: &mut Ctx<'_>) -> CmdResult {
    let now_ms = ctx.now_ms();
    // Of each database, the sum of its keys.
    let mut sums: Vec<Option<Digest>> = Vec::new();
    for id in ctx.server.keyspace.shard_ids() {
        ctx.db.with_shard(id, |shard| {
            shard.for_each_entry(|DbIndex(db), entry| {
                let db = db as usize;
                sums.resize(sums.len().max(db + 1), None);
                let mut digest = Digest::default();
                digest.mix(entry.key());
                mix_entry(&mut digest, entry, now_ms);
                sums[db].get_or_insert_default().add(&digest.0);
            });
        });
    }
    let mut total = Digest::default();
    for (db, sum) in (0u32..).zip(sums) {
        if let Some(sum) = sum {
            total.mix(&db.to_be_bytes());
            total.join(sum);
        }
    }
    ctx.out.simple(&total.hex());
    Ok(Next::Done)
}

/// `DEBUG DIGEST-VALUE [key ...]`
pub(super) fn digest_value(ctx: &mut Ctx<'_>) -> CmdResult {
    let now_ms = ctx.now_ms();
    ctx.out.array(ctx.args.remaining());
    while let Some(key) = ctx.args.option() {
        let digest = ctx.db.with_key(key, |db| {
            let mut digest = Digest::default();
            if let Some(entry) = db.find(key, Lookup::Silent) {
                mix_entry(&mut digest, entry, now_ms);
            }
            digest
        });
        ctx.out.simple(&digest.unwrap_or_default().hex());
    }
    Ok(Next::Done)
}

/// Mixes in all of an entry but its name.
fn mix_entry(digest: &mut Digest, entry: EntryRef<'_>, now_ms: u64) {
    let value = entry.value();
    let type_ = Type::from_nibble(entry.type_());
    let number = match type_ {
        // Redis counts modules' values before them.
        Type::Stream => STREAM_NUMBER,
        other => other as u32,
    };
    digest.mix(&number.to_be_bytes());
    match type_ {
        Type::String => digest.mix_value(value),
        Type::List => {
            let _: Option<()> = ListRef::new(value).walk(0, End::Tail, |element| {
                mix_element(digest, element);
                ControlFlow::Continue(())
            });
        }
        Type::Set => SetRef::of(entry)
            .iter()
            .for_each(|member| digest.add(member.bytes(&mut itoa::Buffer::new()))),
        Type::Zset => {
            let mut text = Vec::new();
            for (member, score) in ZsetRef::of(entry).iter() {
                text.clear();
                num::fmt_double_short(score, &mut text);
                let mut pair = Digest::default();
                mix_element(&mut pair, member);
                pair.mix(&text);
                digest.add(&pair.0);
            }
        }
        Type::Hash => {
            for (field, value) in HashRef::new(value, now_ms).iter() {
                let mut pair = Digest::default();
                pair.mix(&hash::text(field));
                pair.mix_value(value);
                digest.add(&pair.0);
            }
        }
        Type::Stream => {
            if let Some(stream) = stream::stream(value) {
                mix_stream(digest, stream);
            }
        }
    }
    if entry.expire_at_ms().is_some() {
        digest.add(EXPIRE_MARK);
    }
}

/// Mixes in the entries; groups are no part of it.
fn mix_stream(digest: &mut Digest, stream: &Stream) {
    for entry in stream.entries().range(StreamId::MIN, StreamId::MAX) {
        digest.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
        for (field, value) in entry.fields() {
            mix_element(digest, field);
            mix_element(digest, value);
        }
    }
}

fn mix_element(digest: &mut Digest, element: Value<'_>) {
    digest.mix(element.bytes(&mut itoa::Buffer::new()));
}
