//! DUMP and RESTORE: one value as bytes that every server of the family reads and writes.
//!
//! The bytes are those of an RDB file (`persist::rdb`), with the version that they need and a
//! checksum behind them.

use crate::db::Lookup;
use crate::persist::rdb::encode::{self, EncodeOptions};
use crate::spec::{AclCategories, Flags, Group, KeyFlags, KeySpec};

use super::{CmdResult, Command, Ctx, Next, command};

mod restore;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("dump", 2, Flags::READONLY, dump)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.6.0",
            "O(1) to find the key, then O(N*M) for N elements of M bytes.",
            "Answers a key's value in the form that RESTORE takes.",
        )
        .syntax("key#0"),
    command(
        "restore",
        -4,
        Flags::DENYOOM.and(Flags::WRITE),
        restore::restore,
    )
    .acl(AclCategories::KEYSPACE.and(AclCategories::DANGEROUS))
    .keys(&[KeySpec::at(1, KeyFlags::OW.and(KeyFlags::UPDATE))])
    .docs(
        Group::Generic,
        "2.6.0",
        "O(N*M) for N elements of M bytes, O(N*M*log(N)) for a sorted set.",
        "Makes a key of what DUMP has answered.",
    )
    .syntax(
        "key#0 ttl:integer serialized-value REPLACE?@3.0.0 ABSTTL?@5.0.0 \
         IDLETIME=seconds:integer?@5.0.0 FREQ=frequency:integer?@5.0.0",
    ),
];

/// `DUMP key`
fn dump(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let options = EncodeOptions {
        compress: ctx.config.rdbcompression,
        usage: None,
    };
    match ctx.db.find(key, Lookup::Read) {
        Some(entry) => ctx.out.bulk(&encode::dump(entry, &options)),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

#[cfg(test)]
mod tests;
