//! The templates of the directives between small and large encodings.

use crate::generate::Agree::{Exact, Pairs};

use super::{Template, fixed, t};

/// The limits between small and large encodings.
pub(super) const LIMITS: &[Template] = &[
    fixed(2, "CONFIG SET hash-max-listpack-entries few", Exact),
    fixed(1, "CONFIG SET hash-max-ziplist-value few", Exact),
    fixed(2, "CONFIG SET list-max-listpack-size fill", Exact),
    fixed(1, "CONFIG SET list-max-ziplist-size fill", Exact),
    fixed(1, "CONFIG SET list-compress-depth small", Exact),
    fixed(
        2,
        "CONFIG SET set-max-intset-entries 64 set-max-listpack-entries 4",
        Exact,
    ),
    fixed(
        2,
        "CONFIG SET set-max-intset-entries 16 set-max-listpack-entries 16",
        Exact,
    ),
    fixed(1, "CONFIG SET set-max-listpack-entries x", Exact),
    fixed(1, "CONFIG SET set-max-intset-entries -1", Exact),
    fixed(1, "CONFIG SET set-max-listpack-value few", Exact),
    fixed(2, "CONFIG SET zset-max-listpack-entries few", Exact),
    fixed(1, "CONFIG SET zset-max-ziplist-value few", Exact),
    t(1, "CONFIG GET *max-listpack*", Pairs),
    t(
        1,
        "CONFIG GET hash-max-ziplist-entries zset-max-ziplist-value list-max-ziplist-size",
        Pairs,
    ),
];
