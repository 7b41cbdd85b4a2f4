//! How CONFIG SET takes effect where somebody has to be told of it.
//!
//! To add a directive: an arm in [`apply_config`], or in [`apply_to_process`]; most directives are
//! read when they are needed and have none.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Field};
use crate::exec::load;
use crate::exec::memory::counted_bytes;
use crate::net::listener::{self, Acceptor, Kind};
use crate::server::{Server, rewriting};
use crate::sys::{alloc, process, title};

use super::elsewhere::{Inbox, Way};
use super::{crash, is_serving, log, oom, process_title, reserved_fds, tls};

/// Binds other addresses, of these kinds, when CONFIG SET asks for it.
pub(super) async fn rebind(acceptor: Arc<Acceptor>, mut inbox: Inbox<&'static [Kind]>) {
    while let Some(change) = inbox.recv().await {
        let kinds = change.what;
        for kind in kinds {
            acceptor.stop_kind(*kind);
        }
        change.make("The old addresses", |config| {
            let mut bound = Vec::new();
            for kind in kinds {
                bound.extend(match kind {
                    Kind::Tls => listener::bind_tls(config),
                    Kind::Tcp | Kind::Unix => listener::bind_tcp(config),
                }?);
            }
            Ok(acceptor.listen(bound)?)
        });
    }
}

/// How changed directives are put into force. Those not named here are read from the configuration when needed.
pub(super) fn apply_config(
    log: log::LogHandle,
    rebinds: Way<&'static [Kind]>,
    portal: Way<()>,
) -> Box<crate::server::ApplyConfig> {
    Box::new(move |server, field, before, after| match field {
        Field::LogLevel | Field::LogFormat | Field::LogTimestampFormat => {
            log.set(after);
            Ok(())
        }
        Field::ProcTitleTemplate if after.set_proc_title => {
            // As at the start: it does without.
            let file = server.with_config_store(|store| store.file().map(Path::to_owned));
            let _ = title::set_process_title(&process_title(after, file.as_deref()));
            Ok(())
        }
        Field::Dir => {
            std::env::set_current_dir(&after.dir).map_err(|error| error.to_string())?;
            server.persist.dir_changed(&after.dir).map_err(|error| {
                // It was there a moment ago, and is the one whose lock we keep.
                let _ = std::env::set_current_dir(&before.dir);
                error.to_string()
            })
        }
        // What was compiled under the other settings is not run again.
        Field::LuaEnableInsecureApi | Field::LuaEnableDeprecatedApi => {
            drop(server.scripts.cache.flush());
            Ok(())
        }
        Field::AppendOnly if after.appendonly => rewriting::switch_on(server, after),
        Field::AppendOnly => {
            rewriting::switch_off(server);
            Ok(())
        }
        Field::AppendFsync | Field::NoAppendfsyncOnRewrite | Field::AofTimestampEnabled => {
            rewriting::configure(server, after);
            Ok(())
        }
        Field::Maxmemory => {
            warn_of_eviction(server, after.maxmemory_bytes);
            Ok(())
        }
        Field::MetricsPort | Field::MetricsBind if is_serving(server) => {
            make_room(after).map_err(|fits| {
                format!("There are no file descriptors for it: lower maxclients to {fits}")
            })?;
            portal.ask((), before, after)
        }
        Field::Bind => move_listeners(server, &rebinds, &[Kind::Tcp, Kind::Tls], before, after),
        Field::Port => move_listeners(server, &rebinds, &[Kind::Tcp], before, after),
        Field::TlsPort => {
            tls::configure(server, after)?;
            move_listeners(server, &rebinds, &[Kind::Tls], before, after).inspect_err(|_| {
                let _ = tls::configure(server, before);
            })
        }
        Field::KeyLoadDelay => {
            let delay = load::key_delay(after);
            server.persist.loading.set_key_delay(delay);
            Ok(())
        }
        field if tls::is_of(field) => tls::configure(server, after),
        field => apply_to_process(field, after),
    })
}

/// Directives that concern the process, not what it serves.
fn apply_to_process(field: Field, after: &Config) -> Result<(), String> {
    match field {
        Field::CrashLogEnabled
        | Field::HideUserDataFromLog
        | Field::UseExitOnPanic
        | Field::DebugContext => {
            crash::configure(after);
            Ok(())
        }
        Field::OomScoreAdj => oom::apply(after),
        Field::OomScoreAdjValues => {
            oom::warn_of_order(after);
            oom::apply(after)
        }
        Field::JemallocBgThread => {
            alloc::set_background_thread(after.jemalloc_bg_thread);
            Ok(())
        }
        Field::MaxClients => make_room(after).map_err(|fits| {
                format!(
                    "The operating system is not able to handle the specified number of clients, try with {fits}"
                )
        }),
        _ => Ok(()),
    }
}

/// Has the system allow as many file descriptors as all clients and the rest of the server need; else the
/// number of clients that there is room for.
fn make_room(after: &Config) -> Result<(), u64> {
    let reserved = reserved_fds(after);
    let want = u64::from(after.maxclients) + reserved;
    match process::raise_nofile_limit(want) {
        got if got >= want => Ok(()),
        got => Err(got.saturating_sub(reserved)),
    }
}

/// Listens at the new addresses, or at the old ones if that is impossible.
fn move_listeners(
    server: &Server,
    rebinds: &Way<&'static [Kind]>,
    kinds: &'static [Kind],
    before: &Config,
    after: &Config,
) -> Result<(), String> {
    match is_serving(server) {
        true => rebinds.ask(kinds, before, after),
        false => Ok(()),
    }
}

/// A limit that is lower than what is in use.
fn warn_of_eviction(server: &Server, limit_bytes: u64) {
    let used_bytes = counted_bytes(server);
    if limit_bytes > 0 && limit_bytes < used_bytes {
        tracing::warn!(
            "WARNING: the new maxmemory value set via CONFIG SET ({limit_bytes}) is smaller than the current memory \
             usage ({used_bytes}). This will result in key eviction and/or the inability to accept new write commands \
             depending on the maxmemory-policy."
        );
    }
}
