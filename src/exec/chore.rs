//! What takes long and touches files, so that it is done on a thread of its own while its client
//! waits: SAVE, SHUTDOWN, DEBUG RELOAD and their like. All other clients are served on, unless the
//! keyspace itself is exchanged.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::client::Client;
use crate::commands::{Chore, CommandTable, persistence};
use crate::resp::write::ReplyWriter;
use crate::server::{Server, saving};
use crate::spec::CmdError;

use super::{Exec, Moment, Ran, load, silence};

/// What became of a chore: the reply.
pub type Done = Result<&'static str, CmdError>;

const OK: Done = Ok("OK");

/// What a failure is told as when the log has the details.
const FAILED: CmdError = CmdError::text("ERR");
const SHUTDOWN_FAILED: CmdError = CmdError::text("ERR Errors trying to SHUTDOWN. Check logs.");

impl Exec {
    /// Has a chore done; the outcome comes later.
    pub fn start_chore(&self, chore: Chore) -> oneshot::Receiver<Done> {
        let (outcome, done) = oneshot::channel();
        let (server, table) = (self.server.clone(), self.table.clone());
        let work = move || {
            let _ = outcome.send(run(&server, &table, chore));
        };
        let spawned = std::thread::Builder::new()
            .name("kivi-chore".into())
            .spawn(work);
        match spawned {
            Ok(_) => done,
            Err(error) => {
                tracing::warn!("Can't start a thread: {error}");
                let (outcome, done) = oneshot::channel();
                let _ = outcome.send(Err(FAILED));
                done
            }
        }
    }

    /// As [`Exec::start_chore`], here and now.
    pub(super) fn run_chore(&self, chore: Chore) -> Done {
        run(&self.server, &self.table, chore)
    }

    /// Writes the reply of a chore that is done. The client may send on.
    pub fn end_chore(
        &self,
        done: Done,
        client: &mut Client,
        out: &mut ReplyWriter,
        moment: &mut Moment,
    ) {
        let (mark, failed) = (out.mark(), done.is_err());
        match done {
            Ok(text) => out.simple(text),
            Err(error) => self.write_error(&error, out),
        }
        if let Some(underway) = client.chore.take() {
            let ran = Ran {
                failed,
                ..Ran::of(
                    (self.table.by_id(underway.command), underway.request.argv()),
                    client,
                    (out, mark),
                )
            };
            moment.tick = underway.began;
            moment.ready_since(underway.began);
            self.ran(moment, &ran);
        }
        client.ran();
        silence(client, out, mark);
    }
}

fn run(server: &Arc<Server>, table: &Arc<CommandTable>, chore: Chore) -> Done {
    match chore {
        Chore::Save => saving::save_now(server).map_err(|_| FAILED)?,
        Chore::BgSave { schedule } => return persistence::begin_bgsave(server, schedule),
        Chore::BgRewriteAof => return persistence::begin_bgrewriteaof(server),
        Chore::SaveFlushed => {
            server.keyspace.lazyfree.free_set_aside();
            saving::after_flush(server);
        }
        Chore::FreeFlushed => server.keyspace.lazyfree.free_set_aside(),
        Chore::Shutdown(flags) => saving::shutdown(server, flags).map_err(|_| SHUTDOWN_FAILED)?,
        Chore::Reload { save, flush, merge } => load::reload(server, save, flush, merge)?,
        Chore::LoadAof => load::reload_aof(server, table)?,
    }
    OK
}
