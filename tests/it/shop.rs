//! An online shop, end to end, with redis-py: `shop.py` says what happens in it.

use crate::harness::{Server, python, run_tool};

/// The shop with a version of the protocol.
fn shop(protocol: &str) {
    let server = Server::kivi(&[]);
    let Some(python) = python() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shop.py");
    let port = server.port.to_string();
    let output = run_tool(&python, &[script, &port, protocol], &[], b"");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert_eq!(said, "ok\n");
}

#[test]
fn an_online_shop_with_protocol_2() {
    shop("2");
}

#[test]
fn an_online_shop_with_protocol_3() {
    shop("3");
}
