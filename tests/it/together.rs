//! A few clients do anything at all, on Kivi and on Valkey, and must see the same: `together.py` says
//! what they do.

use std::path::Path;

use crate::harness::{Server, env_number, needs, run_tool};

#[test]
fn what_clients_see_of_each_other_is_what_valkey_shows_them() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    if !needs("python3") {
        return;
    }
    let kivi = Server::kivi(&["--io-threads", "2"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/together.py");
    let steps = env_number("KIVI_TEST_ROUNDS", 1500) / 3;
    let first = env_number("KIVI_TEST_SEED", 1);
    for seed in first..first + 4 {
        let ports = [kivi.port.to_string(), valkey.port.to_string()];
        let numbers = [seed.to_string(), steps.to_string()];
        let args = [script, &ports[0], &ports[1], &numbers[0], &numbers[1]];
        let output = run_tool(Path::new("python3"), &args, &[], b"");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "ok\n", "seed {seed}: {errors}");
    }
}
