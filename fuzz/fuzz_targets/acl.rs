//! Rules of users: whatever they are, they are applied as a whole or refused; what was accepted can be told
//! again, and told again makes the same user.
#![no_main]

use std::sync::LazyLock;

use kivi::acl::{Acl, World, describe_user};
use kivi::commands::CommandTable;
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<CommandTable> =
    LazyLock::new(|| CommandTable::new(&[]).expect("no command is renamed"));

fuzz_target!(|data: &[u8]| {
    let world = World {
        catalog: TABLE.acl_catalog(),
        databases: 16,
        all_channels: data.len() % 2 == 0,
    };
    let acl = Acl::default();
    let rules: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if acl.set_user(b"u", &rules, world).is_err() {
        assert!(acl.user(b"u").is_none());
        return;
    }
    let told = describe_user(&acl.user(b"u").expect("it was made").rights());
    let again: Vec<&[u8]> = told.split(|&byte| byte == b' ').collect();
    acl.set_user(b"again", &[&[&b"reset"[..]], &again[..]].concat(), world)
        .expect("what was told is accepted");
    let again = describe_user(&acl.user(b"again").expect("it was made").rights());
    assert_eq!(told, again);
});
