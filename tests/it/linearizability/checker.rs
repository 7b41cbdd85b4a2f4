//! Is a history linearizable? The algorithm of Wing and Gong, with Lowe's memory.
//!
//! A history is a set of operations, each with the moment at which its client sent it, the moment at
//! which the reply was there, and the reply. It is *linearizable* if all of them can be put into one
//! order in which (a) each one that had returned before another was invoked comes before it, (b) those
//! of one batch keep their order, and (c) each one, carried out by the sequential [`Spec`] behind
//! those before it, gives the very reply that was seen.
//!
//! The search puts one operation after the other into the order. The candidates are those that were
//! invoked before the first return of any that is left (a). One whose reply fits is taken out of
//! the list of events and the search goes on with the rest; when none fits, the last choice is taken
//! back (Wing and Gong, "Testing and verifying concurrent objects", 1993). Which operations are in the
//! order and what state that has led to is remembered: the same again leads to nothing new (Lowe,
//! "Testing for linearizability", 2017). Candidates that returned early are tried first, those whose
//! reply never came last. One that only reads needs no alternative where it fits: an order that has it
//! later is one with it here, too. Objects that have no operation in common are checked one by
//! one, since a history is linearizable if it is so for each of them; so whoever records a
//! history splits it by keys that belong together.
//!
//! An operation whose reply never came (the connection broke) may have happened or not: it returns
//! at the end of time, when it can stand behind everything and change nothing that was seen.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What operations do if one comes after the other.
pub(crate) trait Spec {
    /// An operation with its reply, if there was one.
    type Op: Debug;
    /// What they work on.
    type State: Clone + Eq + Hash + Debug + Default;

    /// The states that may be behind an operation; none if it cannot have replied like that.
    fn steps(state: &Self::State, op: &Self::Op) -> Vec<Self::State>;

    /// Whether an operation that has replied like that has changed nothing, whatever it was carried out behind.
    fn only_reads(op: &Self::Op) -> bool;
}

/// An operation of a history.
#[derive(Clone, Debug)]
pub(crate) struct Event<O> {
    /// Who did it, for messages.
    pub(crate) client: usize,
    /// What it was, and what came of it.
    pub(crate) op: O,
    /// When it was sent, ns.
    pub(crate) invoked_ns: u64,
    /// When its reply was there, ns; `u64::MAX` if that never came.
    pub(crate) returned_ns: u64,
    /// The place in the history of the one behind which it was sent in the same batch.
    pub(crate) behind: Option<usize>,
}

/// What the search has come to.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none. The text shows the longest one that was found, and where it ends.
    Refused(String),
    /// The search was given up.
    Unknown,
}

/// Steps after which a search is given up: some seconds.
const STEPS_MAX: u64 = 3_000_000;

/// Operations as bits.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Bits {
        Bits(vec![0; len.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }
}

/// Invocations and returns in the order of time, as a list out of which operations are taken and
/// into which they are put back. Node 0 is its head.
struct Timeline {
    /// Which operation, and whether it returns here.
    nodes: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The node in which an operation returns.
    returns: Vec<usize>,
}

impl Timeline {
    fn new<O>(history: &[Event<O>]) -> Timeline {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (op, event) in history.iter().enumerate() {
            assert!(event.invoked_ns <= event.returned_ns);
            moments.push((event.invoked_ns, false, op));
            moments.push((event.returned_ns, true, op));
        }
        // Of the same moment the invocations come first: that is the weaker claim.
        moments.sort_unstable();
        let len = moments.len() + 1;
        let mut returns = vec![0; history.len()];
        let mut nodes = vec![(0, false)];
        for (_, is_return, op) in moments {
            if is_return {
                returns[op] = nodes.len();
            }
            nodes.push((op, is_return));
        }
        Timeline {
            nodes,
            next: (1..=len).map(|next| next % len).collect(),
            previous: (0..len).map(|at| (at + len - 1) % len).collect(),
            returns,
        }
    }

    fn take(&mut self, node: usize) {
        let (before, behind) = (self.previous[node], self.next[node]);
        self.next[before] = behind;
        self.previous[behind] = before;
    }

    fn put_back(&mut self, node: usize) {
        let (before, behind) = (self.previous[node], self.next[node]);
        self.next[before] = node;
        self.previous[behind] = node;
    }

    /// Takes an operation out, which is invoked in this node.
    fn take_op(&mut self, node: usize) {
        self.take(node);
        self.take(self.returns[self.nodes[node].0]);
    }

    /// Takes that back: in the opposite order.
    fn put_op_back(&mut self, node: usize) {
        self.put_back(self.returns[self.nodes[node].0]);
        self.put_back(node);
    }
}

/// One place of the order: what may stand there, and what does.
struct Place<S> {
    /// What is still to be tried, the best last: nodes, with the state behind each.
    choices: Vec<(usize, S)>,
    /// The node of what stands here, once it does.
    taken: usize,
}

/// What may come next, the best last.
fn choices<S: Spec>(
    history: &[Event<S::Op>],
    timeline: &Timeline,
    done: &Bits,
    state: &S::State,
) -> Vec<(usize, S::State)> {
    let mut choices = Vec::new();
    let mut node = timeline.next[0];
    while node != 0 && !timeline.nodes[node].1 {
        let event = &history[timeline.nodes[node].0];
        if event.behind.is_none_or(|before| done.has(before)) {
            let states = S::steps(state, &event.op);
            if states.len() == 1 && states[0] == *state && S::only_reads(&event.op) {
                return vec![(node, state.clone())];
            }
            choices.extend(states.into_iter().map(|next| (node, next)));
        }
        node = timeline.next[node];
    }
    let returned_ns = |node: usize| history[timeline.nodes[node].0].returned_ns;
    choices.sort_by_key(|(node, _)| std::cmp::Reverse(returned_ns(*node)));
    choices
}

/// Looks for an order of a history.
pub(crate) fn check<S: Spec>(history: &[Event<S::Op>]) -> Verdict {
    let mut timeline = Timeline::new(history);
    let mut done = Bits::new(history.len());
    let mut seen: HashSet<(Bits, S::State)> = HashSet::new();
    let mut longest: (Vec<usize>, S::State) = Default::default();
    let mut order: Vec<Place<S::State>> = Vec::new();
    let mut state = S::State::default();
    for _ in 0..STEPS_MAX {
        if timeline.next[0] == 0 {
            return Verdict::Linearizable;
        }
        order.push(Place {
            choices: choices::<S>(history, &timeline, &done, &state),
            taken: 0,
        });
        state = loop {
            let Some(place) = order.last_mut() else {
                return Verdict::Refused(explain::<S>(history, &longest));
            };
            if place.taken != 0 {
                done.flip(timeline.nodes[place.taken].0);
                timeline.put_op_back(place.taken);
                place.taken = 0;
            }
            let Some((node, next)) = place.choices.pop() else {
                order.pop();
                continue;
            };
            let op = timeline.nodes[node].0;
            done.flip(op);
            if seen.insert((done.clone(), next.clone())) {
                place.taken = node;
                timeline.take_op(node);
                break next;
            }
            done.flip(op);
        };
        if order.len() > longest.0.len() {
            let ops = order.iter().map(|place| timeline.nodes[place.taken].0);
            longest = (ops.collect(), state.clone());
        }
    }
    Verdict::Unknown
}

/// The end of the longest order that was found, and what did not fit behind it.
fn explain<S: Spec>(history: &[Event<S::Op>], longest: &(Vec<usize>, S::State)) -> String {
    let (order, state) = longest;
    let show = |op: usize| {
        let event = &history[op];
        format!(
            "  {:>10.1}..{:<10.1} us, client {}: {:?}\n",
            event.invoked_ns as f64 / 1e3,
            event.returned_ns as f64 / 1e3,
            event.client,
            event.op
        )
    };
    let mut text = format!(
        "{} of {} operations are in order:\n",
        order.len(),
        history.len()
    );
    let shown = order.len().saturating_sub(40);
    order[shown..].iter().for_each(|op| text += &show(*op));
    text += &format!("which leads to {state:?}. None of these fits behind them:\n");
    let left = |op: &usize| !order.contains(op);
    let first_return = (0..history.len())
        .filter(left)
        .map(|op| history[op].returned_ns)
        .min();
    let candidates = (0..history.len())
        .filter(left)
        .filter(|op| Some(history[*op].invoked_ns) <= first_return);
    candidates.for_each(|op| text += &show(op));
    text
}

#[cfg(test)]
mod tests;
