//! A connection without a socket: requests in, replies out, through the same [`Exec`] as everyone. Command tests run on
//! it with a fake clock; later, scripts and the replay of logs do.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::client::{Client, ClientId, Endpoint};
use crate::commands::{Chore, CommandTable};
use crate::db::{Outcome, Waiter};
use crate::resp::parse::{Argv, Span};
use crate::resp::write::ReplyWriter;
use crate::server::Server;
use crate::stats;

use super::alone::{self, Alone};
use super::{Exec, Flow, Moment};

/// See the module's text.
pub struct Session {
    server: Arc<Server>,
    /// None while a command is left in the middle.
    exec: Option<Exec>,
    client: Client,
    out: ReplyWriter,
    #[cfg(test)]
    calls: u64,
}

thread_local! {
    /// Commands that were left in the middle, by their clients: they stay on their threads.
    static ALONE: RefCell<HashMap<ClientId, Alone<Exec>>> = RefCell::default();
}

impl Session {
    /// A local client of `server`.
    pub fn new(server: Arc<Server>, table: Arc<CommandTable>) -> Session {
        let endpoint = Endpoint::local("127.0.0.1:0");
        Session::at(server, table, endpoint)
    }

    /// A client of `server` that comes from elsewhere.
    pub fn at(server: Arc<Server>, table: Arc<CommandTable>, endpoint: Endpoint) -> Session {
        let exec = Exec::new(server.clone(), table);
        Session::with(exec, server, endpoint)
    }

    /// The same, of which these figures count the commands.
    pub fn counted_by(
        worker: Arc<stats::Worker>,
        server: Arc<Server>,
        table: Arc<CommandTable>,
        endpoint: Endpoint,
    ) -> Session {
        let exec = Exec::counted_by(worker, server.clone(), table, true);
        Session::with(exec, server, endpoint)
    }

    fn with(exec: Exec, server: Arc<Server>, endpoint: Endpoint) -> Session {
        let shared = server.clients.connect(endpoint, -1, server.clock.unix_ms());
        let client = Client::new(shared, &server.acl);
        Session {
            server,
            exec: Some(exec),
            client,
            out: ReplyWriter::new(),
            #[cfg(test)]
            calls: 0,
        }
    }

    /// The server that it talks to.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    fn exec(&self) -> &Exec {
        let exec = self.exec.as_ref();
        exec.expect("no command is left in the middle")
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its client, to be changed.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Ends a wait in a blocking command, if it has an outcome or its time is over: the reply as
    /// bytes.
    pub fn end_wait(&mut self, waiter: &Waiter) -> Option<Vec<u8>> {
        let deadline_ms = waiter.waiting.deadline_ms;
        if deadline_ms.is_some_and(|at_ms| at_ms <= self.server.clock.unix_ms()) {
            waiter.decide(Outcome::TimedOut);
        }
        let outcome = waiter.take_outcome()?;
        self.leave_queues(waiter);
        let runs_again = matches!(outcome, Outcome::Again);
        let exec = self.exec.as_ref()?;
        let mut moment = exec.begin();
        let (client, out) = (&mut self.client, &mut self.out);
        exec.end_wait(waiter, outcome, client, out, &mut moment);
        exec.end(&mut moment);
        if runs_again {
            return self.run_again(waiter);
        }
        let reply = self.out.to_vec();
        self.out.clear();
        Some(reply)
    }

    /// Runs a command that a pause has kept waiting: the reply, unless it has to wait again.
    fn run_again(&mut self, waiter: &Waiter) -> Option<Vec<u8>> {
        let args: Vec<&[u8]> = waiter.waiting.request.argv().iter().collect();
        match self.call(&args) {
            (reply, Flow::Done) => Some(reply),
            (_, Flow::Block(waiter)) => {
                self.give_up_wait(&waiter);
                None
            }
            _ => None,
        }
    }

    /// Ends a wait as the end of a connection does.
    pub fn give_up_wait(&mut self, waiter: &Waiter) {
        self.exec().give_up_wait(waiter, &self.client);
        self.leave_queues(waiter);
    }

    fn leave_queues(&self, waiter: &Waiter) {
        let has_left = self.exec().leave_queues(waiter);
        assert!(has_left, "somebody has the keyspace for himself");
    }

    /// Does here and now what a connection has done elsewhere.
    fn end_chore(&mut self, chore: Chore, moment: &mut Moment) -> Flow {
        let done = self.exec().run_chore(chore);
        if done.is_ok() && matches!(chore, Chore::Shutdown(_)) {
            return Flow::Close;
        }
        if let Some(exec) = &self.exec {
            exec.end_chore(done, &mut self.client, &mut self.out, moment);
        }
        Flow::Done
    }

    /// Runs one request; the reply as bytes, and what became of the command. One that was left in the
    /// middle ([`Flow::Alone`]) is gone on with by [`Session::resume`].
    pub fn call(&mut self, request: &[&[u8]]) -> (Vec<u8>, Flow) {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for arg in request {
            spans.push(Span {
                start: bytes.len() as u32,
                len: arg.len() as u32,
            });
            bytes.extend_from_slice(arg);
        }
        let exec = self.exec.take().expect("no command is left in the middle");
        let mut moment = exec.begin();
        let argv = Argv::new(&bytes, &spans);
        let (client, out) = (&mut self.client, &mut self.out);
        let flow = match exec.run(&mut moment, argv, None, client, out) {
            Flow::Alone => match alone::start(exec, argv, client, out, &mut moment) {
                Ok((exec, flow)) => {
                    self.exec = Some(exec);
                    flow
                }
                Err(alone) => {
                    self.leave(alone);
                    Flow::Alone
                }
            },
            flow => {
                self.exec = Some(exec);
                flow
            }
        };
        let flow = match flow {
            Flow::Chore(chore) => self.end_chore(chore, &mut moment),
            flow => flow,
        };
        #[cfg(test)]
        self.check_sizes(false);
        (self.end_call(moment), flow)
    }

    /// Every test is one of what the keyspace knows of the sizes of values. A mistake in it stays, so it is
    /// looked for now and then, and at the end.
    #[cfg(test)]
    fn check_sizes(&mut self, is_end: bool) {
        self.calls += 1;
        if is_end || self.calls.is_multiple_of(32) {
            self.server.keyspace.check_small_sizes();
        }
    }

    /// Goes on with a command that was left in the middle; as [`Session::call`].
    pub fn resume(&mut self) -> (Vec<u8>, Flow) {
        let id = self.client.shared.id;
        let alone = ALONE.with_borrow_mut(|alone| alone.remove(&id));
        let mut alone = alone.expect("a command to go on with, on this thread");
        let Some(finished) = alone.resume() else {
            self.leave(alone);
            return (Vec::new(), Flow::Alone);
        };
        let mut moment = finished.exec.begin();
        let (exec, flow) = finished.hand_over(&mut self.client, &mut self.out, &mut moment);
        self.exec = Some(exec);
        (self.end_call(moment), flow)
    }

    fn leave(&mut self, alone: Alone<Exec>) {
        let id = self.client.shared.id;
        ALONE.with_borrow_mut(|left| left.insert(id, alone));
    }

    fn end_call(&mut self, mut moment: Moment) -> Vec<u8> {
        if let Some(exec) = &self.exec {
            exec.tell_cached(&mut moment);
            self.client.shared.deliver(&mut self.out);
            exec.end(&mut moment);
        }
        let reply = self.out.to_vec();
        self.out.clear();
        reply
    }

    /// What others have for the client, as bytes.
    pub fn take_pushes(&mut self) -> Vec<u8> {
        self.client.shared.deliver(&mut self.out);
        let pushes = self.out.to_vec();
        self.out.clear();
        pushes
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        #[cfg(test)]
        if !std::thread::panicking() {
            self.check_sizes(true);
        }
        if let Some(exec) = &self.exec {
            exec.disconnect(&mut self.client);
        }
    }
}
