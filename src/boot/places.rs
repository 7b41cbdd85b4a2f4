//! Which processors the threads run on, by the directives (`sys::places`).

use crate::config::Config;
use crate::sys::places::{self, Lists};
use crate::util::cpu_list;

/// Takes the server's place, before other threads are started. A list that is none is told and left
/// out, as one of processors that are not there: the server runs, only elsewhere.
pub(super) fn take(config: &Config) {
    let list = |directive: &str, text: &str| {
        let cpus = cpu_list::parse(text);
        if cpus.is_none() && !text.is_empty() {
            tracing::warn!("{directive} '{text}' is no list of processors and has no effect");
        }
        cpus
    };
    let lists = Lists {
        server: list("server-cpulist", &config.server_cpulist),
        background: list("bio-cpulist", &config.bio_cpulist),
        saving: list("bgsave-cpulist", &config.bgsave_cpulist),
        rewriting: list("aof-rewrite-cpulist", &config.aof_rewrite_cpulist),
    };
    if let Err(error) = places::set(lists) {
        tracing::warn!(
            "server-cpulist '{}' has no effect: {error}",
            config.server_cpulist
        );
    }
}
