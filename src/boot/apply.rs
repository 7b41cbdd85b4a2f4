//! How CONFIG SET takes effect where somebody has to be told of it.
//!
//! A command's changes are [`steps`], each done once however many directives it serves. One that fails has
//! those before it undone, the last one first. How TLS is spoken comes before where it is listened for, so
//! that nobody is let in by the old rules at a new address, nor by new, laxer ones at an old address.
//!
//! To add a directive: an arm in [`Applier::set`], or in [`apply_to_process`]; most directives are
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

/// How changed directives are put into force.
pub(super) fn apply_config(
    log: log::LogHandle,
    rebinds: Way<&'static [Kind]>,
    portal: Way<()>,
) -> Box<crate::server::ApplyConfig> {
    let applier = Applier {
        log,
        rebinds,
        portal,
    };
    Box::new(move |server, fields, before, after| {
        all_or_none(
            &steps(fields),
            |step| applier.take(server, step, before, after),
            |step| applier.undo(server, step, before, after),
        )
    })
}

/// Something that CONFIG SET has to do; a failure is put down to the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    field: Field,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Speak TLS, for the time being with the stricter one of two `tls-auth-clients`.
    TlsAhead,
    /// Speak TLS as the directives say.
    Tls,
    /// Listen at the addresses.
    Listen(&'static [Kind]),
    /// Listen at those of the metrics port.
    Metrics,
    /// What the field alone asks for.
    Set,
}

const TCP_LISTENS: What = What::Listen(&[Kind::Tcp]);
const TLS_LISTENS: What = What::Listen(&[Kind::Tls]);

/// What these fields ask for, in the order in which it is to be done.
fn steps(fields: &[Field]) -> Vec<Step> {
    use Field::{Bind, MetricsBind, MetricsPort, Port, TlsAuthClients, TlsPort};
    let step = |what, is_of: &dyn Fn(Field) -> bool| {
        let mut concerned = fields.iter().filter(|field| is_of(**field));
        concerned.next().map(|&field| Step { field, what })
    };
    let ways = [
        step(TCP_LISTENS, &|field| matches!(field, Bind | Port)),
        step(TLS_LISTENS, &|field| matches!(field, Bind | TlsPort)),
        step(What::Metrics, &|field| {
            matches!(field, MetricsPort | MetricsBind)
        }),
    ];
    let is_own = |field: &Field| {
        !matches!(field, Bind | Port | MetricsPort | MetricsBind) && !tls::is_of(*field)
    };
    let own = fields.iter().copied().filter(is_own);
    let set = own.map(|field| Step {
        field,
        what: What::Set,
    });
    let is_strict_meanwhile = ways[1].is_some() && fields.contains(&TlsAuthClients);
    let (first, last) = match is_strict_meanwhile {
        true => (
            step(What::TlsAhead, &tls::is_of),
            step(What::Tls, &tls::is_of),
        ),
        false => (step(What::Tls, &tls::is_of), None),
    };
    let shared = first.into_iter().chain(ways.into_iter().flatten());
    shared.chain(set).chain(last).collect()
}

/// Takes all steps; when one fails, those before it are undone, the last one first.
fn all_or_none(
    steps: &[Step],
    take: impl Fn(Step) -> Result<(), String>,
    undo: impl Fn(Step),
) -> Result<(), (Field, String)> {
    for (done, step) in steps.iter().enumerate() {
        if let Err(reason) = take(*step) {
            steps[..done].iter().rev().for_each(|step| undo(*step));
            return Err((step.field, reason));
        }
    }
    Ok(())
}

/// Who is told of changed directives.
struct Applier {
    log: log::LogHandle,
    rebinds: Way<&'static [Kind]>,
    portal: Way<()>,
}

impl Applier {
    fn take(
        &self,
        server: &Arc<Server>,
        step: Step,
        before: &Config,
        after: &Config,
    ) -> Result<(), String> {
        match step.what {
            What::TlsAhead => tls::configure(server, &tls::stricter(before, after)),
            What::Tls => tls::configure(server, after),
            What::Listen(_) | What::Metrics if !is_serving(server) => Ok(()),
            What::Listen(kinds) => self.rebinds.ask(kinds, before, after),
            What::Metrics => {
                make_room(after).map_err(|fits| {
                    format!("There are no file descriptors for it: lower maxclients to {fits}")
                })?;
                self.portal.ask((), before, after)
            }
            What::Set => self.set(server, step.field, before, after),
        }
    }

    /// The state before was fine; a refusal to return to it has no remedy here.
    fn undo(&self, server: &Arc<Server>, step: Step, before: &Config, after: &Config) {
        let _ = match step.what {
            What::TlsAhead => tls::configure(server, before),
            _ => self.take(server, step, after, before),
        };
    }

    /// Directives that have nothing to do with others.
    fn set(
        &self,
        server: &Arc<Server>,
        field: Field,
        before: &Config,
        after: &Config,
    ) -> Result<(), String> {
        match field {
            Field::LogLevel | Field::LogFormat | Field::LogTimestampFormat => self.log.set(after),
            Field::ProcTitleTemplate if after.set_proc_title => {
                // As at the start: it does without.
                let file = server.with_config_store(|store| store.file().map(Path::to_owned));
                let _ = title::set_process_title(&process_title(after, file.as_deref()));
            }
            Field::Dir => {
                std::env::set_current_dir(&after.dir).map_err(|error| error.to_string())?;
                return server.persist.dir_changed(&after.dir).map_err(|error| {
                    // It was there a moment ago, and is the one whose lock we keep.
                    let _ = std::env::set_current_dir(&before.dir);
                    error.to_string()
                });
            }
            // What was compiled under the other settings is not run again.
            Field::LuaEnableInsecureApi => {
                drop(server.scripts.cache.flush());
            }
            Field::AppendOnly if after.appendonly => return rewriting::switch_on(server, after),
            Field::AppendOnly => rewriting::switch_off(server),
            Field::AppendFsync | Field::NoAppendfsyncOnRewrite | Field::AofTimestampEnabled => {
                rewriting::configure(server, after);
            }
            Field::Maxmemory => warn_of_eviction(server, after.maxmemory_bytes),
            Field::KeyLoadDelay => {
                let delay = load::key_delay(after);
                server.persist.loading.set_key_delay(delay);
            }
            field => return apply_to_process(field, after),
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn whats(fields: &[Field]) -> Vec<(Field, What)> {
        let steps = steps(fields).into_iter();
        steps.map(|step| (step.field, step.what)).collect()
    }

    #[test]
    fn what_several_directives_ask_for_is_done_once_and_in_order() {
        use Field::*;
        let all = [Bind, Port, Timeout, Dir, MetricsPort, MetricsBind, TlsPort];
        assert_eq!(
            whats(&[&all[..], &[TlsCertFile, TlsKeyFile]].concat()),
            [
                (TlsPort, What::Tls),
                (Bind, TCP_LISTENS),
                (Bind, TLS_LISTENS),
                (MetricsPort, What::Metrics),
                (Timeout, What::Set),
                (Dir, What::Set),
            ]
        );
        // Certificates are asked for as long as there is an address where they were, or will be.
        assert_eq!(
            whats(&[Bind, TlsCertFile, TlsAuthClients]),
            [
                (TlsCertFile, What::TlsAhead),
                (Bind, TCP_LISTENS),
                (Bind, TLS_LISTENS),
                (TlsCertFile, What::Tls),
            ]
        );
        assert_eq!(
            whats(&[Port, TlsAuthClients]),
            [(TlsAuthClients, What::Tls), (Port, TCP_LISTENS)]
        );
        assert_eq!(whats(&[]), []);
    }

    #[test]
    fn a_failure_undoes_what_was_done_before_it() {
        use Field::*;
        let trace = RefCell::new(Vec::new());
        let steps = steps(&[Bind, Timeout, Dir, TlsAuthClients]);
        let take = |step: Step| {
            trace.borrow_mut().push((true, step.what));
            match step.field {
                Timeout => Err("no".to_owned()),
                _ => Ok(()),
            }
        };
        let undo = |step: Step| trace.borrow_mut().push((false, step.what));
        let failed = all_or_none(&steps, take, undo);
        assert_eq!(failed, Err((Timeout, "no".to_owned())));
        let ways = [What::TlsAhead, TCP_LISTENS, TLS_LISTENS];
        let taken = ways.into_iter().chain([What::Set]).map(|what| (true, what));
        let undone = ways.into_iter().rev().map(|what| (false, what));
        assert!(trace.into_inner().into_iter().eq(taken.chain(undone)));
    }
}
