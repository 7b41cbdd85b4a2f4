//! Commands that run on a stack of their own: scripts that have the whole keyspace for themselves, and
//! EXEC with a script in it.
//!
//! Such a command may take for ever, and everybody else waits for it. So it can be left in the middle
//! ([`fiber::suspend`]) by whoever runs it (`busy`): its thread serves others then, who are
//! told that the server is busy, and goes on with it later. What it works with is its own meanwhile:
//! the client, a copy of the request, the replies, the moment. Its locks and the gate stay as they are.
//!
//! [`Exec::run`](super::Exec::run) answers [`Flow::Alone`] where a command needs this, having done
//! nothing; [`start`] runs it again, in a fiber, where it gets through. One that is never gone on with
//! is abandoned with all that it holds: only when the server stops.

use std::borrow::Borrow;

use crate::client::Client;
use crate::db::Request;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::sys::fiber::{self, Fiber, Stack};

use super::{Exec, Flow, Moment};

const NO_STACK: CmdError = CmdError::text("OOM not enough memory to run the script");

/// A command that was left in the middle. `E` is how it has its [`Exec`].
pub struct Alone<E>(Fiber<Finished<E>>);

/// A command that has run, with what it has worked with.
pub struct Finished<E> {
    /// By what it was run.
    pub exec: E,
    flow: Flow,
    client: Client,
    out: ReplyWriter,
    moment: Moment,
}

/// Runs a command until it has ended, or was left in the middle; then the client is out of use until
/// [`Finished::hand_over`] gives it back.
pub fn start<E: Borrow<Exec> + 'static>(
    exec: E,
    argv: Argv<'_>,
    client: &mut Client,
    out: &mut ReplyWriter,
    moment: &mut Moment,
) -> Result<(E, Flow), Alone<E>> {
    debug_assert!(!fiber::is_inside());
    let stack = match Stack::get() {
        Ok(stack) => stack,
        Err(error) => {
            tracing::warn!("No memory for the stack of a script: {error}");
            let flow = exec.borrow().refuse_found(argv, NO_STACK, client, out);
            return Ok((exec, flow));
        }
    };
    let stand_in = Client::stand_in(client);
    let mut client_of_it = std::mem::replace(client, stand_in);
    let mut replies = ReplyWriter::new();
    replies.set_resp3(out.is_resp3());
    let mut moment_of_it = moment.branch();
    let request = Request::new(argv);
    // A stack takes over no more than 1 KiB.
    let work: Box<dyn FnOnce() -> Finished<E>> = Box::new(move || {
        let (client, out) = (&mut client_of_it, &mut replies);
        let (argv, moment) = (request.argv(), &mut moment_of_it);
        let flow = exec.borrow().run(moment, argv, None, client, out);
        Finished {
            exec,
            flow,
            client: client_of_it,
            out: replies,
            moment: moment_of_it,
        }
    });
    let mut alone = Alone(Fiber::new(stack, work));
    match alone.resume() {
        Some(finished) => Ok(finished.hand_over(client, out, moment)),
        None => Err(alone),
    }
}

impl<E: 'static> Alone<E> {
    /// Goes on with the command; what there is to hand over when it has ended.
    pub fn resume(&mut self) -> Option<Finished<E>> {
        self.0.resume()
    }
}

impl<E> Finished<E> {
    /// Gives back what the command has worked with, its replies behind what is in `out`; what became
    /// of it.
    pub fn hand_over(
        mut self,
        client: &mut Client,
        out: &mut ReplyWriter,
        moment: &mut Moment,
    ) -> (E, Flow) {
        *client = self.client;
        out.set_resp3(self.out.is_resp3());
        out.append(&mut self.out);
        moment.join(self.moment);
        (self.exec, self.flow)
    }
}
