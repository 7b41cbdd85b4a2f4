//! How likely the kernel ends this process when memory runs out (`oom-score-adj`).
//!
//! Valkey's rules: the value for a primary counts, as it is or added to what the process had before
//! the first change; `no` gives that back.

use std::sync::Mutex;

use crate::config::{Config, OomScoreAdj};
use crate::sys::process;

/// What the kernel takes.
const SCORES: std::ops::RangeInclusive<i64> = -1000..=1000;

/// What the process had before it was changed here.
static BEFORE: Mutex<Option<i64>> = Mutex::new(None);

/// Puts the directives into force.
///
/// # Errors
/// When the kernel refuses; the text is for the client, the log has the reason.
pub(super) fn apply(config: &Config) -> Result<(), String> {
    let failed = |what: &str, error: std::io::Error| {
        tracing::warn!("Unable to {what} oom_score_adj: {error}");
        "Failed to set current oom_score_adj. Check server logs.".to_owned()
    };
    let mut before = BEFORE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let score = match (config.oom_score_adj, *before) {
        (OomScoreAdj::No, None) => return Ok(()),
        (OomScoreAdj::No, Some(score)) => score,
        (mode, known) => {
            let base = match known {
                Some(base) => base,
                None => process::oom_score_adj().map_err(|error| failed("read", error))?,
            };
            *before = Some(base);
            let [of_primary, _, _] = config.oom_score_adj_values;
            match mode {
                OomScoreAdj::Absolute => of_primary,
                _ => base + of_primary,
            }
        }
    };
    let score = score.clamp(*SCORES.start(), *SCORES.end());
    process::set_oom_score_adj(score).map_err(|error| failed("write", error))
}

/// Says when the values ask for what only privileged processes may do: a child that is spared rather
/// than its parent.
pub(super) fn warn_of_order(config: &Config) {
    let [of_primary, of_replica, of_child] = config.oom_score_adj_values;
    if of_replica < of_primary || of_child < of_replica {
        tracing::warn!(
            "The oom-score-adj-values configuration may not work for non-privileged processes! \
             Please consult the documentation."
        );
    }
}
