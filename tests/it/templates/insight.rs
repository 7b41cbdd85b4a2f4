//! The templates of what looks into the keyspace. No peer has these commands: they are here so that all
//! generated histories have them among the others.

use crate::generate::Agree::{Exact, Kind};

use super::{Template, t};

/// Hot keys.
pub(super) const HOTKEYS: &[Template] = &[
    t(
        4,
        "HOTKEYS START METRICS [1 CPU|1 NET|2 CPU NET]? [COUNT 5]? [SAMPLE 2]? [DURATION 1]?",
        Kind,
    ),
    t(
        2,
        "HOTKEYS START METRICS 1 [CPU|NET|any]? [COUNT int|SLOTS 1 5]?",
        Kind,
    ),
    t(4, "HOTKEYS GET", Kind),
    t(2, "HOTKEYS STOP", Kind),
    t(2, "HOTKEYS RESET", Kind),
    t(1, "HOTKEYS HELP", Exact),
];
