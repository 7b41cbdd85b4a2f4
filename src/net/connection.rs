//! One connection: read what the socket holds, parse it in place, run it, write once.
//!
//! Requests are parsed in the worker's read buffer; only an unfinished tail is copied into the connection, and only
//! replies that the socket does not take at once stay with it, so an idle connection holds no buffer at all. While
//! replies wait for a slow reader, requests are read on, as in Redis: a client may send a whole pipeline before it reads
//! (`client-output-buffer-limit` bounds it); one that has not authenticated may not.
//!
//! Invariants: replies leave in the order of their requests; a signal (kill, move) is seen whenever the task is polled;
//! nothing is read from the shared buffers across an await.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;

use crate::client::inbox;
use crate::client::{Client, ClientId, ReplyMode, Signal};
use crate::commands::Chore;
use crate::db::{Outcome, Waiter};
use crate::exec::alone::{self, Alone};
use crate::exec::{Exec, Flow, Moment, Plan, Wait};
use crate::resp::parse::{Argv, Parser, ProtocolError, Tail};
use crate::resp::request::request;
use crate::resp::write::ReplyWriter;
use crate::server::Lifecycle;
use crate::spec::limits::{
    BATCH_COMMANDS, OUTPUT_SOFT_BYTES, UNAUTHENTICATED_READ_BYTES,
    UNAUTHENTICATED_REQUEST_BYTES_MAX,
};

use super::last_words;
use super::outbox::Line;
use super::pace;
use super::parcel::Parcel;
use super::stream::Stream;
use super::welcome::welcome;
use super::worker::{Desk, Worker};

mod held;
mod sending;
mod waits;

use held::Held;

/// How long a publisher waits at a time for its messages to be handed over, and how often.
const CROWDED_NAP: Duration = Duration::from_millis(1);
const CROWDED_ROUNDS_MAX: u32 = 100;

/// See the module's text.
struct Connection {
    line: Rc<Line>,
    client: Client,
    resp3: bool,
    parser: Parser,
    /// Bytes of requests that are not run yet.
    tail: Vec<u8>,
    /// Replies that the socket did not take yet, or must not have yet.
    pending: Option<Box<ReplyWriter>>,
    /// Until when it must not have them.
    held: Option<Box<Held>>,
    /// The last batch has added to the log.
    has_logged: bool,
    /// What others have for it is not to be sent yet.
    holds_pushes: bool,
    /// Since when a request waits for the gate or a pause, in ticks; 0 for none.
    waiting_since: u64,
    /// It has not logged in, and has had its turn: others come first.
    gives_way: bool,
    /// A command that was left in the middle; it has the client.
    alone: Option<Box<Alone<Rc<Exec>>>>,
}

/// What to do after the bytes at hand have been worked on.
#[derive(PartialEq, Eq, Debug)]
enum Turn {
    /// Read on.
    Read,
    /// The peer has gone, or must go: close without a word.
    Drop,
    /// Write what was answered, then close.
    Close,
    /// Run the rest of the tail after a wait.
    Wait(Wait),
    /// Keep everybody waiting, then go on.
    Sleep(Duration),
    /// Go on later.
    Delay(Duration),
    /// Have this done, then run the rest of the tail.
    Chore(Chore),
    /// Wait for a key, then run the rest of the tail.
    Block(Arc<Waiter>),
    /// Go on with what was left in the middle, then run the rest of the tail.
    Alone,
    /// Look whether it is killed, or to move.
    Signalled,
}

/// Runs a connection until it closes or leaves for another worker.
pub async fn run(worker: Rc<Worker>, parcel: Parcel) {
    let Parcel {
        socket,
        mut client,
        resp3,
        ..
    } = parcel;
    let shared = client.shared.clone();
    let mut stream = match Stream::new(socket) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(
                "Error registering a connection of {}: {error}",
                shared.endpoint.addr
            );
            disconnect(&worker, &mut client).await;
            return;
        }
    };
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    shared.set_waker(waker);
    if let Stream::Tls(tls) = &mut stream {
        tls.belongs_to(&shared);
        if !welcome(tls, &mut client, &worker).await {
            stream.close();
            disconnect(&worker, &mut client).await;
            return;
        }
    }
    let mut connection = Connection {
        line: Line::new(stream, shared),
        client,
        resp3,
        parser: Parser::new(),
        tail: Vec::new(),
        pending: None,
        held: None,
        has_logged: false,
        holds_pushes: false,
        waiting_since: 0,
        gives_way: false,
        alone: None,
    };
    match connection.serve(&worker).await {
        Leave::Close => {
            // The peer learns of it at once, whatever remains to be done.
            worker.send_kept();
            let Connection {
                line, mut client, ..
            } = connection;
            if let Some(stream) = line.into_stream() {
                stream.close();
            }
            disconnect(&worker, &mut client).await;
        }
        Leave::Move => {
            if let Some(mut client) = connection.depart(&worker) {
                disconnect(&worker, &mut client).await;
            }
        }
    }
}

/// Forgets a client, and what it has left behind elsewhere.
async fn disconnect(worker: &Worker, client: &mut Client) {
    if worker.exec.disconnect(client) {
        return;
    }
    while until_open(worker).await && !worker.exec.end_transaction(client) {}
}

/// Waits until nobody has the keyspace for himself; false if the server stops before.
async fn until_open(worker: &Worker) -> bool {
    let server = &worker.exec.server;
    tokio::select! {
        () = server.keyspace.gate.opened() => true,
        () = server.reached(Lifecycle::Stopping) => false,
    }
}

/// Takes a waiter out of the queues.
async fn leave_queues(worker: &Worker, waiter: &Waiter) {
    while !worker.exec.leave_queues(waiter) && until_open(worker).await {}
}

/// Why a connection's task ends.
enum Leave {
    Close,
    Move,
}

impl Connection {
    async fn serve(&mut self, worker: &Worker) -> Leave {
        loop {
            let turn = poll_fn(|cx| self.poll_turn(cx, worker)).await;
            let turn = match self.perform(turn, worker).await {
                Some(turn) => turn,
                None => continue,
            };
            match turn {
                Turn::Signalled if self.client.shared.has(Signal::Kill) => {}
                Turn::Signalled => {
                    // If not, the server stops, and is about to kill it.
                    if self.client.shared.has(Signal::Move) {
                        if self.may_move(worker) {
                            return Leave::Move;
                        }
                        self.client.shared.lower(Signal::Move);
                    }
                    continue;
                }
                Turn::Close => {}
                _ => return Leave::Close,
            }
            // Nothing comes behind the last reply, and nobody waits for who does not take it.
            worker.exec.end_pushes(&mut self.client);
            self.write_last_replies(worker).await;
            return Leave::Close;
        }
    }

    /// Waits for the log, and for whoever has been told very much.
    async fn follow(&mut self, turn: &Turn, worker: &Worker) {
        // Whoever serves it meanwhile has what he posts then come behind his reply.
        self.holds_pushes = matches!(turn, Turn::Block(_));
        // What is to be answered after a wait is sent after it.
        if !matches!(turn, Turn::Sleep(_) | Turn::Delay(_)) {
            self.follow_log(worker).await;
        }
        if let Some(fullest) = inbox::take_crowded() {
            self.follow_messages(fullest, worker).await;
        }
        self.holds_pushes = false;
    }

    /// Does what takes time; `None` when the connection goes on.
    async fn perform(&mut self, mut turn: Turn, worker: &Worker) -> Option<Turn> {
        loop {
            // A command that was left in the middle holds all shards, for which whoever keeps the log back may be
            // waiting, as a rewrite that is about to begin its snapshot does. Its replies wait for the log, it does not.
            if !matches!(turn, Turn::Drop | Turn::Alone) {
                self.follow(&turn, worker).await;
            }
            let server = &worker.exec.server;
            match turn {
                Turn::Read => return None,
                Turn::Wait(Wait::Gate) => {
                    let opened = server.keyspace.gate.opened_or_busy();
                    self.unless_killed(worker, opened).await;
                    // Perhaps it was only to give way to others.
                    tokio::task::yield_now().await;
                }
                Turn::Wait(Wait::Pause) => {
                    if !self.wait_for_change_of_pause(worker).await {
                        return Some(Turn::Drop);
                    }
                }
                Turn::Sleep(duration) => self.sleep(duration, worker).await,
                Turn::Delay(duration) => {
                    self.unless_killed(worker, tokio::time::sleep(duration))
                        .await;
                }
                Turn::Block(waiter) => match self.wait_blocked(&waiter, worker).await {
                    Some(outcome) => {
                        leave_queues(worker, &waiter).await;
                        if matches!(outcome, Outcome::Again) {
                            self.put_back(waiter.waiting.request.argv());
                        }
                        self.end_wait(worker, |exec, client, out, moment| {
                            exec.end_wait(&waiter, outcome, client, out, moment);
                        });
                    }
                    None => {
                        worker.exec.give_up_wait(&waiter, &self.client);
                        leave_queues(worker, &waiter).await;
                        let killed = self.client.shared.has(Signal::Kill);
                        return Some(if killed { Turn::Signalled } else { Turn::Drop });
                    }
                },
                Turn::Chore(chore) => {
                    if let Some(end) = self.have_done(chore, worker).await {
                        return Some(end);
                    }
                }
                Turn::Alone => match self.go_on(worker).await {
                    Turn::Read => {}
                    other => {
                        turn = other;
                        continue;
                    }
                },
                other => return Some(other),
            }
            if self.client.shared.has(Signal::Kill) {
                return Some(Turn::Signalled);
            }
            turn = worker.with_desk(|desk| self.work_on_tail(worker, desk));
        }
    }

    /// Has something done that takes long, and replies; how the connection ends, if it does.
    async fn have_done(&mut self, chore: Chore, worker: &Worker) -> Option<Turn> {
        let outcome = worker.exec.start_chore(chore);
        let mut done = None;
        self.unless_killed(worker, async { done = outcome.await.ok() })
            .await;
        // Whoever stops the server closes all connections, this one, too.
        let Some(outcome) = done.filter(|_| !self.client.shared.has(Signal::Kill)) else {
            return Some(Turn::Signalled);
        };
        if outcome.is_ok() && matches!(chore, Chore::Shutdown(_)) {
            return Some(Turn::Close);
        }
        self.end_wait(worker, |exec, client, out, moment| {
            exec.end_chore(outcome, client, out, moment);
        });
        None
    }

    /// Keeps everybody waiting.
    async fn sleep(&mut self, duration: Duration, worker: &Worker) {
        let gate = &worker.exec.server.keyspace.gate;
        while !self.client.shared.has(Signal::Kill) {
            match gate.try_close() {
                Some(_held) => {
                    let sleep = tokio::time::sleep(duration);
                    return self.unless_killed(worker, sleep).await;
                }
                None => self.unless_killed(worker, gate.opened()).await,
            }
        }
    }

    /// Goes on with a command that was left in the middle, in turns with all others of the worker, until it
    /// has ended; what is to be done then. It ends, whatever becomes of the client: but when the server
    /// stops it is abandoned.
    async fn go_on(&mut self, worker: &Worker) -> Turn {
        let finished = loop {
            tokio::task::yield_now().await;
            if worker.exec.server.lifecycle() >= Lifecycle::Stopping {
                return Turn::Drop;
            }
            // What was answered before it is sent as soon as that may be.
            let sent = poll_fn(|cx| Poll::Ready(self.poll_write_pending(cx, worker))).await;
            if let Poll::Ready(Err(_)) = sent {
                self.client.shared.raise(Signal::Kill);
            }
            let Some(alone) = &mut self.alone else {
                return Turn::Read;
            };
            // It is not idle.
            let last_interaction = &self.client.shared.last_interaction_ms;
            last_interaction.store(worker.exec.server.clock.unix_ms(), Ordering::Relaxed);
            if let Some(finished) = alone.resume() {
                break finished;
            }
        };
        self.alone = None;
        let mut flow = Flow::Done;
        worker.with_desk(|desk| {
            let mut moment = worker.exec.begin();
            desk.out.set_resp3(self.resp3);
            (_, flow) = finished.hand_over(&mut self.client, &mut desk.out, &mut moment);
            self.resp3 = desk.out.is_resp3();
            self.has_logged |= moment.logged_seq() > 0;
            self.tell_cached(worker, desk, &mut moment);
            let sent = self.send(worker, desk, &mut moment);
            if sent.is_err() {
                self.client.shared.raise(Signal::Kill);
            }
            desk.out.clear();
            self.end(&mut moment, worker);
            worker.exec.server.clients.account(&self.client.shared);
        });
        turn_of(flow)
    }

    /// Writes what a client has waited for.
    fn end_wait(
        &mut self,
        worker: &Worker,
        reply: impl FnOnce(&Exec, &mut Client, &mut ReplyWriter, &mut Moment),
    ) {
        worker.with_desk(|desk| {
            let exec = &worker.exec;
            let mut moment = exec.begin();
            let last_interaction = &self.client.shared.last_interaction_ms;
            last_interaction.store(moment.now_ms(), Ordering::Relaxed);
            desk.out.set_resp3(self.resp3);
            reply(exec, &mut self.client, &mut desk.out, &mut moment);
            if self.send(worker, desk, &mut moment).is_err() {
                self.client.shared.raise(Signal::Kill);
            }
            desk.out.clear();
            self.end(&mut moment, worker);
            exec.server.clients.account(&self.client.shared);
        });
    }

    /// Waits, if somebody has got so much of the last batch that it has not been handed to its
    /// connection yet: several publishers together are faster than one thread that writes to their
    /// subscribers. It never waits for a subscriber to read.
    async fn follow_messages(&mut self, fullest: ClientId, worker: &Worker) {
        let Some(fullest) = worker.exec.server.clients.get(fullest) else {
            return;
        };
        for round in 0..CROWDED_ROUNDS_MAX {
            if !fullest.is_crowded() {
                break;
            }
            match round {
                // Its worker may be this one.
                0 => tokio::task::yield_now().await,
                _ => {
                    let nap = tokio::time::sleep(CROWDED_NAP);
                    self.unless_killed(worker, nap).await;
                }
            }
        }
    }

    /// One turn: write what waits, read what is there, work on it.
    fn poll_turn(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<Turn> {
        if self.client.shared.signalled() {
            self.deliver(worker);
            // What has come into the inbox since then is for the next poll: the others of this worker have their turn
            // before. It is not forgotten: `Signal::Inbox` was lowered before the inbox was emptied, so whoever has
            // put something in that was not seen raises it anew and rings the bell, which wakes this task.
            let shared = &self.client.shared;
            if shared.has(Signal::Kill) || shared.has(Signal::Move) {
                return Poll::Ready(Turn::Signalled);
            }
        }
        if self.pending.is_some() || self.line.has_unsent() {
            match self.poll_write_pending(cx, worker) {
                Poll::Ready(Err(_)) => return Poll::Ready(Turn::Drop),
                // Not authenticated and not reading: no more requests until it takes its replies.
                Poll::Pending if !self.authenticated(worker) => return Poll::Pending,
                _ => {}
            }
        }
        let has_lost = std::mem::take(&mut self.client.has_lost);
        if std::mem::take(&mut self.gives_way) || has_lost {
            // Behind all that is ready now: who is in the middle of a transaction can end it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        worker.with_desk(|desk| self.poll_read(cx, worker, desk))
    }

    /// Sends what is in the inbox.
    fn deliver(&mut self, worker: &Worker) {
        self.deliver_until(u64::MAX, worker);
    }

    /// Sends what had been put into the inbox when this many things had been.
    fn deliver_until(&mut self, posted: u64, worker: &Worker) {
        let shared = &self.client.shared;
        if !shared.has(Signal::Inbox) || shared.has(Signal::Kill) {
            return;
        }
        let now_ms = worker.exec.server.clock.unix_ms();
        shared.last_interaction_ms.store(now_ms, Ordering::Relaxed);
        worker.with_desk(|desk| {
            desk.out.set_resp3(self.resp3);
            self.client.shared.deliver_until(posted, &mut desk.out);
            if self.send_pushes(worker, desk).is_err() {
                self.client.shared.raise(Signal::Kill);
            }
            desk.out.clear();
        });
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, worker: &Worker, desk: &mut Desk) -> Poll<Turn> {
        // A short tail goes in front of what is read into the worker's buffer; it needs no room of its own.
        let held = self.tail.len();
        let is_stranger = !self.authenticated(worker);
        if held > short_tail_bytes_max(is_stranger, desk) {
            let read = ready!(self.line.stream().poll_read_vec(cx, &mut self.tail));
            return match read {
                Ok(read) if read > 0 => {
                    self.note_read(read, desk);
                    Poll::Ready(self.work_on_tail(worker, desk))
                }
                _ => Poll::Ready(Turn::Drop),
            };
        }
        let mut input = std::mem::take(&mut desk.input);
        let end = match is_stranger {
            true => input.len().min(held + UNAUTHENTICATED_READ_BYTES),
            false => input.len(),
        };
        let mut buf = ReadBuf::new(&mut input[held..end]);
        let read = self.line.stream().poll_read(cx, &mut buf);
        let turn = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                let read = buf.filled().len();
                self.gives_way = is_stranger;
                self.note_read(read, desk);
                let mut tail = std::mem::take(&mut self.tail);
                input[..held].copy_from_slice(&tail);
                let bytes = &input[..held + read];
                let (used, turn) = self.work(bytes, worker, desk);
                if used < bytes.len() {
                    tail.clear();
                    if is_stranger {
                        tail.reserve_exact(bytes.len() - used);
                    }
                    tail.extend_from_slice(&bytes[used..]);
                    self.keep_tail(tail, worker, desk);
                }
                self.note_tail(&turn, worker);
                Poll::Ready(turn)
            }
            Poll::Ready(_) => Poll::Ready(Turn::Drop),
        };
        desk.input = input;
        turn
    }

    /// Works on the tail; what is not used of it stays.
    fn work_on_tail(&mut self, worker: &Worker, desk: &mut Desk) -> Turn {
        let mut tail = std::mem::take(&mut self.tail);
        let (used, turn) = self.work(&tail, worker, desk);
        if used < tail.len() {
            tail.drain(..used);
            self.keep_tail(tail, worker, desk);
        }
        self.note_tail(&turn, worker);
        turn
    }

    /// Has a request run once more, in front of all that has come since.
    fn put_back(&mut self, argv: Argv<'_>) {
        let mut tail = Vec::with_capacity(argv.wire_bytes_max() + self.tail.len());
        request(&mut tail, argv.len(), argv.iter());
        tail.append(&mut self.tail);
        self.tail = tail;
    }

    /// Keeps what is not used yet. The next read goes behind a long tail, which gets room for what its request needs, but
    /// never much more than what the client has already sent. (Sixteen times as much at once made values of 1 MB no
    /// cheaper.)
    fn keep_tail(&mut self, mut tail: Vec<u8>, worker: &Worker, desk: &Desk) {
        let held = tail.len();
        if held > short_tail_bytes_max(!self.authenticated(worker), desk) {
            let most = held.saturating_mul(2).max(desk.input_bytes);
            tail.reserve(desk.missing_bytes.clamp(desk.input_bytes, most));
        }
        self.tail = tail;
    }

    /// True for a client that everything is allowed: also one that came before the password was taken away.
    fn authenticated(&self, worker: &Worker) -> bool {
        self.client.authenticated || !worker.exec.server.acl.must_log_in()
    }

    /// Parses and runs what is in `bytes`, writes the replies; how much was used, and what is to be done.
    fn work(&mut self, bytes: &[u8], worker: &Worker, desk: &mut Desk) -> (usize, Turn) {
        let exec = &worker.exec;
        let mut moment = self.begin(exec, desk);
        let mut used = 0;
        let mut turn = Turn::Read;
        while turn == Turn::Read && used < bytes.len() {
            let limits = desk.limits(exec, self.authenticated(worker));
            let rest = &bytes[used..];
            let progress = self
                .parser
                .parse(rest, &limits, BATCH_COMMANDS, &mut desk.batch);
            let mut plan = Plan::new();
            exec.look_ahead(&desk.batch, rest, &self.client, &mut plan);
            moment.note_plan(&plan);
            let run = self.run_batch(rest, &plan, worker, desk, &mut moment);
            used += run.0;
            turn = run.1;
            if turn != Turn::Read {
                self.parser = Parser::new();
                break;
            }
            match progress {
                Ok(progress) => {
                    used = used - run.0 + progress.consumed;
                    if let Tail::Incomplete { missing } = progress.tail {
                        desk.missing_bytes = missing;
                        break;
                    }
                }
                Err(error) => turn = self.refuse(&error, worker, desk),
            }
        }
        if turn == Turn::Read {
            turn = self.judge_rest(&bytes[used..], worker, desk);
        }
        self.resp3 = desk.out.is_resp3();
        self.has_logged |= moment.logged_seq() > 0;
        self.tell_cached(worker, desk, &mut moment);
        let sent = match turn {
            Turn::Drop => Ok(()),
            // The reply comes after the sleep.
            Turn::Sleep(_) | Turn::Delay(_) => {
                self.hold(&mut moment, worker);
                self.keep(worker, desk)
            }
            _ => self.send(worker, desk, &mut moment),
        };
        if sent.is_err() {
            match turn {
                // Somebody has to take it out of the queues, or to go on with it.
                Turn::Block(_) | Turn::Alone => self.client.shared.raise(Signal::Kill),
                _ => turn = Turn::Drop,
            }
        }
        if let Turn::Wait(_) = turn {
            self.waiting_since = moment.ready_tick();
        }
        // What was not sent must never reach the next connection that uses the desk.
        desk.out.clear();
        self.end(&mut moment, worker);
        (used, turn)
    }

    /// Begins a batch of requests that were read just now, or have waited.
    #[inline]
    fn begin(&mut self, exec: &Exec, desk: &mut Desk) -> Moment {
        let mut moment = exec.begin();
        match self.client.is_watching() {
            true => pace::note_hurry(),
            false => pace::note_batch(self.client.shared.id),
        }
        moment.ready_since(match std::mem::take(&mut self.waiting_since) {
            0 => pace::ready_since(moment.started_tick()),
            since => since,
        });
        let last_interaction = &self.client.shared.last_interaction_ms;
        last_interaction.store(moment.now_ms(), Ordering::Relaxed);
        moment.net_in_bytes = std::mem::take(&mut desk.read_bytes);
        desk.out.set_resp3(self.resp3);
        moment
    }

    /// Runs the parsed commands in order; the bytes that they took, and what is to be done.
    fn run_batch(
        &mut self,
        bytes: &[u8],
        plan: &Plan<'_>,
        worker: &Worker,
        desk: &mut Desk,
        moment: &mut Moment,
    ) -> (usize, Turn) {
        let mut used = 0;
        for index in 0..desk.batch.len() {
            let argv = desk.batch.argv(index, bytes);
            let ahead = plan.get(index).copied().flatten();
            let out = &mut desk.out;
            let client = &mut self.client;
            let mut flow = worker.exec.run(moment, argv, ahead, client, out);
            if let Flow::Alone = flow {
                match alone::start(worker.exec.clone(), argv, client, out, moment) {
                    Ok((_, done)) => flow = done,
                    Err(alone) => self.alone = Some(Box::new(alone)),
                }
            }
            match flow {
                Flow::Wait(wait) => return (used, Turn::Wait(wait)),
                Flow::Abort => {
                    // Whatever was answered before was not meant for a browser.
                    desk.out.clear();
                    desk.out.raw(last_words::NOT_HTTP);
                    return (used, Turn::Close);
                }
                _ => {}
            }
            used = desk.batch.end(index);
            let turn = turn_of(flow);
            if turn != Turn::Read {
                return (used, turn);
            }
            if self.client.shared.signalled() {
                if self.client.shared.has(Signal::Kill) {
                    return (used, Turn::Close);
                }
                self.client.shared.deliver(&mut desk.out);
            }
            if desk.out.len() > OUTPUT_SOFT_BYTES {
                self.tell_cached(worker, desk, moment);
                if self.send(worker, desk, moment).is_err() {
                    return (used, Turn::Drop);
                }
            }
        }
        (used, Turn::Read)
    }

    /// Tells those who cache what the batch has changed so far, before its replies can be seen.
    fn tell_cached(&self, worker: &Worker, desk: &mut Desk, moment: &mut Moment) {
        if worker.exec.tell_cached(moment) && !self.client.shared.has(Signal::Kill) {
            self.client.shared.deliver(&mut desk.out);
        }
    }

    /// What follows from how much a client keeps here: the beginning of a request, and what it has queued.
    fn judge_rest(&self, rest: &[u8], worker: &Worker, desk: &mut Desk) -> Turn {
        if rest.len() > UNAUTHENTICATED_REQUEST_BYTES_MAX && !self.authenticated(worker) {
            let error = match rest[0] {
                b'*' => ProtocolError::UnauthenticatedBulkLength,
                _ => ProtocolError::TooBigInline,
            };
            return self.refuse(&error, worker, desk);
        }
        match self.over_query_limit(rest.len() + self.client.transaction_bytes(), worker) {
            true => Turn::Drop,
            false => Turn::Read,
        }
    }

    /// Ends a connection whose bytes are no requests; CLIENT REPLY holds for that, too.
    fn refuse(&self, error: &ProtocolError, worker: &Worker, desk: &mut Desk) -> Turn {
        let text = error.error_text();
        worker.exec.count_error(&text);
        if self.client.reply == ReplyMode::On {
            desk.out.error(&text);
        }
        Turn::Close
    }

    fn over_query_limit(&self, held: usize, worker: &Worker) -> bool {
        if held == 0 || held as u64 <= worker.exec.config().client_query_buffer_limit {
            return false;
        }
        worker
            .exec
            .server
            .stats
            .query_buffer_disconnections
            .fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            "Closing client that reached max query buffer length: id={} addr={}",
            self.client.shared.id,
            self.client.shared.endpoint.addr
        );
        true
    }

    fn note_read(&mut self, read: usize, desk: &mut Desk) {
        desk.read_bytes += read as u64;
        self.client.sent(read as u64);
    }

    /// Shows how much there is that has not run, and whether that is because its request is unfinished. After each
    /// batch, which may have changed what else the client takes.
    fn note_tail(&mut self, turn: &Turn, worker: &Worker) {
        let shared = &self.client.shared;
        let is_unfinished = *turn == Turn::Read && !self.tail.is_empty();
        let since_ms = match is_unfinished {
            true => shared.last_interaction_ms.load(Ordering::Relaxed),
            false => 0,
        };
        shared
            .unfinished_since_ms
            .store(since_ms, Ordering::Relaxed);
        if self.tail.len() != shared.query_buffer_bytes.load(Ordering::Relaxed) {
            shared
                .query_buffer_bytes
                .store(self.tail.len(), Ordering::Relaxed);
            shared
                .query_buffer_capacity
                .store(self.tail.capacity(), Ordering::Relaxed);
        }
        worker.exec.server.clients.account(shared);
    }

    /// Only between requests.
    fn may_move(&mut self, worker: &Worker) -> bool {
        self.reclaim(worker);
        self.tail.is_empty() && self.pending.is_none()
    }

    /// Hands the connection to the worker that was chosen for it; its client if that is impossible.
    fn depart(self, worker: &Worker) -> Option<Client> {
        self.client.shared.lower(Signal::Move);
        match self.line.into_stream().map(Stream::into_socket) {
            Some(Ok(socket)) => {
                let target = self.client.shared.move_to.load(Ordering::Relaxed);
                worker.crew.send(
                    target,
                    Parcel {
                        socket,
                        client: self.client,
                        resp3: self.resp3,
                        is_new: false,
                    },
                );
                None
            }
            _ => Some(self.client),
        }
    }
}

/// Longest tail that is kept as it is, exactly. What strangers may keep is.
fn short_tail_bytes_max(is_stranger: bool, desk: &Desk) -> usize {
    match is_stranger {
        true => desk.input_bytes - UNAUTHENTICATED_READ_BYTES,
        false => desk.input_bytes / 2,
    }
}

/// What a connection does when a command has run.
fn turn_of(flow: Flow) -> Turn {
    match flow {
        Flow::Done => Turn::Read,
        Flow::Close => Turn::Close,
        Flow::Abort => Turn::Drop,
        Flow::Wait(wait) => Turn::Wait(wait),
        Flow::Sleep(duration) => Turn::Sleep(duration),
        Flow::Delay(duration) => Turn::Delay(duration),
        Flow::Chore(chore) => Turn::Chore(chore),
        Flow::Block(waiter) => Turn::Block(waiter),
        Flow::Alone => Turn::Alone,
    }
}
