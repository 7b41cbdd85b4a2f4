//! The checker against histories whose answer is known, and against all orders of small ones.

use super::*;
use crate::generate::Rng;

/// A register that can be read, written, and written if it holds something.
struct Register;

#[derive(Clone, Debug)]
enum Access {
    Write(u8),
    Read(u8),
    /// From, to, and whether it did.
    Cas(u8, u8, bool),
    /// A write of which nobody knows.
    Lost(u8),
    /// A write of one of both.
    Toss(u8, u8),
}

impl Spec for Register {
    type Op = Access;
    type State = u8;

    fn steps(state: &u8, op: &Access) -> Vec<u8> {
        let next = match *op {
            Write(value) | Lost(value) => Some(value),
            Read(value) => (value == *state).then_some(*state),
            Cas(from, to, true) => (from == *state).then_some(to),
            Cas(from, _, false) => (from != *state).then_some(*state),
            Toss(first, second) => return vec![first, second],
        };
        next.into_iter().collect()
    }

    fn only_reads(op: &Access) -> bool {
        matches!(op, Read(_) | Cas(_, _, false))
    }
}

fn event(invoked_ns: u64, returned_ns: u64, op: Access) -> Event<Access> {
    Event {
        client: 0,
        op,
        invoked_ns,
        returned_ns,
        behind: None,
    }
}

fn is_linearizable(history: &[Event<Access>]) -> bool {
    match check::<Register>(history) {
        Verdict::Linearizable => true,
        Verdict::Refused(_) => false,
        Verdict::Unknown => panic!("given up"),
    }
}

use Access::{Cas, Lost, Read, Toss, Write};

#[test]
fn what_overlaps_may_come_in_any_order() {
    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[
        event(0, 10, Write(1)),
        event(5, 15, Read(0))
    ]));
    assert!(is_linearizable(&[
        event(0, 10, Write(1)),
        event(5, 15, Read(1))
    ]));
    // The same moment is no order.
    assert!(is_linearizable(&[
        event(0, 10, Write(1)),
        event(10, 15, Read(0))
    ]));
    // Two writes, seen in the opposite order of their invocations.
    assert!(is_linearizable(&[
        event(0, 100, Write(1)),
        event(1, 99, Write(2)),
        event(2, 10, Read(2)),
        event(20, 30, Read(1)),
    ]));
    assert!(is_linearizable(&[
        event(0, 100, Cas(0, 1, true)),
        event(0, 100, Cas(1, 2, true)),
        event(0, 100, Cas(0, 3, false)),
    ]));
}

#[test]
fn a_stale_read_is_refused() {
    assert!(!is_linearizable(&[
        event(0, 10, Write(1)),
        event(11, 15, Read(0))
    ]));
    assert!(!is_linearizable(&[
        event(0, 10, Write(1)),
        event(11, 20, Write(2)),
        event(21, 30, Read(1)),
    ]));
}

#[test]
fn a_value_that_nobody_wrote_is_refused() {
    assert!(!is_linearizable(&[
        event(0, 10, Write(1)),
        event(5, 15, Read(7))
    ]));
}

#[test]
fn a_lost_update_is_refused() {
    // Both have won.
    assert!(!is_linearizable(&[
        event(0, 100, Cas(0, 1, true)),
        event(0, 100, Cas(0, 2, true)),
    ]));
    // Nobody has, though it was there all the time.
    assert!(!is_linearizable(&[event(0, 100, Cas(0, 1, false))]));
}

#[test]
fn readers_who_disagree_are_refused() {
    // Overlapping writes, which two readers see in opposite orders.
    let history = |second: [u8; 2]| {
        [
            event(0, 100, Write(1)),
            event(0, 100, Write(2)),
            event(10, 20, Read(1)),
            event(30, 40, Read(2)),
            event(50, 60, Read(second[0])),
            event(70, 80, Read(second[1])),
        ]
    };
    assert!(is_linearizable(&history([2, 2])));
    assert!(!is_linearizable(&history([2, 1])));
    assert!(!is_linearizable(&history([1, 1])));
    // New, then old again: a read that overlaps the write cannot undo what another one has seen.
    assert!(!is_linearizable(&[
        event(0, 100, Write(1)),
        event(10, 20, Read(1)),
        event(30, 40, Read(0)),
    ]));
}

#[test]
fn a_batch_keeps_its_order() {
    let mut history = [
        event(0, 100, Write(1)),
        event(0, 100, Write(2)),
        event(110, 120, Read(1)),
    ];
    assert!(is_linearizable(&history));
    history[1].behind = Some(0);
    assert!(!is_linearizable(&history));
    history[1].behind = None;
    history[0].behind = Some(1);
    assert!(is_linearizable(&history));
}

#[test]
fn what_never_returned_may_have_happened_or_not() {
    let never = u64::MAX;
    let seen = |value| {
        is_linearizable(&[
            event(0, 10, Write(1)),
            event(5, never, Lost(2)),
            event(20, 30, Read(value)),
            event(40, 50, Read(1)),
        ])
    };
    assert!(seen(1));
    // It has happened, and then it has not.
    assert!(!seen(2));
    assert!(is_linearizable(&[
        event(0, 10, Write(1)),
        event(5, never, Lost(2)),
        event(20, 30, Read(1)),
        event(40, 50, Read(2)),
    ]));
    // It was not sent yet.
    assert!(!is_linearizable(&[
        event(0, 10, Read(2)),
        event(11, never, Lost(2))
    ]));
}

#[test]
fn what_may_end_in_several_ways_is_followed_in_all() {
    let seen = |value| {
        is_linearizable(&[
            event(0, 10, Toss(1, 2)),
            event(20, 30, Toss(3, 4)),
            event(22, 28, Read(value)),
            event(40, 50, Read(4)),
        ])
    };
    assert!(seen(1) && seen(2) && seen(4));
    assert!(!seen(3) && !seen(0));
}

#[test]
fn the_reason_shows_what_does_not_fit() {
    let history = [event(0, 1000, Write(1)), event(2000, 3000, Read(0))];
    let Verdict::Refused(why) = check::<Register>(&history) else {
        panic!("it is refused");
    };
    assert!(why.contains("1 of 2 operations are in order"), "{why}");
    assert!(
        why.ends_with("2.0..3.0        us, client 0: Read(0)\n"),
        "{why}"
    );
}

/// The answer by trying all orders.
fn by_all_orders(history: &[Event<Access>], left: &[usize], state: u8) -> bool {
    let open = |at: &&usize| history[**at].returned_ns == u64::MAX;
    if left.iter().all(|at| open(&at)) {
        return true;
    }
    left.iter().any(|&at| {
        let event = &history[at];
        let comes_first = left.iter().all(|&other| {
            history[other].returned_ns >= event.invoked_ns && event.behind != Some(other)
        });
        let rest: Vec<usize> = left.iter().copied().filter(|&other| other != at).collect();
        let next = Register::steps(&state, &event.op);
        comes_first && next.iter().any(|next| by_all_orders(history, &rest, *next))
    })
}

fn random_history(rng: &mut Rng) -> Vec<Event<Access>> {
    let len = 1 + rng.below(6);
    let mut history: Vec<Event<Access>> = Vec::new();
    for at in 0..len {
        let invoked_ns = rng.below(20) as u64;
        let mut value = || rng.below(3) as u8;
        let (first, second) = (value(), value());
        let op = match rng.below(6) {
            5 => Toss(first, second),
            0 => Write(first),
            1 | 2 => Read(first),
            3 => Cas(first, second, rng.chance(60)),
            _ => Lost(first),
        };
        let returned_ns = match op {
            Lost(_) => u64::MAX,
            _ => invoked_ns + rng.below(12) as u64,
        };
        let mut new = event(invoked_ns, returned_ns, op);
        // A batch: sent with the one before.
        if at > 0 && rng.chance(20) && history[at - 1].returned_ns != u64::MAX {
            let before = &history[at - 1];
            new.invoked_ns = before.invoked_ns;
            new.returned_ns = new.returned_ns.max(before.returned_ns);
            new.behind = Some(at - 1);
        }
        history.push(new);
    }
    history
}

#[test]
fn it_answers_as_all_orders_do() {
    let mut rng = Rng::new(42);
    let mut answers = [0; 2];
    for _ in 0..20_000 {
        let history = random_history(&mut rng);
        let all: Vec<usize> = (0..history.len()).collect();
        let expected = by_all_orders(&history, &all, 0);
        assert_eq!(is_linearizable(&history), expected, "{history:#?}");
        answers[expected as usize] += 1;
    }
    assert!(answers.iter().all(|count| *count > 2_000), "{answers:?}");
}
