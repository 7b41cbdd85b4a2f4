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

/// What was unusual. How long things take no two servers share.
pub(super) const LOGS: &[Template] = &[
    t(2, "SLOWLOG GET [1|0|-1|int|any]?", Kind),
    t(2, "SLOWLOG LEN", Kind),
    t(1, "SLOWLOG RESET", Exact),
    t(1, "SLOWLOG HELP", Exact),
    t(
        2,
        "COMMANDLOG GET [1|0|-1|int] [slow|large-request|LARGE-REPLY|any]",
        Kind,
    ),
    t(
        2,
        "COMMANDLOG LEN [slow|large-request|large-reply|any]",
        Kind,
    ),
    t(
        1,
        "COMMANDLOG RESET [slow|large-request|large-reply]",
        Exact,
    ),
    t(1, "COMMANDLOG HELP", Exact),
    t(1, "LATENCY LATEST", Kind),
    t(1, "LATENCY HISTORY [command|any]", Kind),
    t(1, "LATENCY RESET [command|any]?", Kind),
    t(1, "LATENCY GRAPH any", Exact),
    t(1, "LATENCY DOCTOR", Kind),
    t(2, "LATENCY HISTOGRAM [get|set|nosuch|config]*", Kind),
    t(1, "LATENCY HELP", Exact),
];
