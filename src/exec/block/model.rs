//! Blocking commands in all interleavings of those who wait, those who write, and those who end a
//! wait: whole commands, through [`Session`](crate::exec::session::Session).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;

use crate::commands::tests::Test;
use crate::commands::tests::model::{client, known};
use crate::db::Waiter;
use crate::exec::Flow;
use crate::sys::sync::explore;
use crate::util::ascii;

/// Waits until a wait has ended, as a connection does.
fn ends(test: &mut Test, waiter: &Waiter) -> String {
    block_on(poll_fn(|cx| {
        waiter.set_waker(cx.waker());
        match test.waited(waiter) {
            Some(reply) => Poll::Ready(reply.text()),
            None => Poll::Pending,
        }
    }))
}

/// The reply of a command that may block.
fn blocking(test: &mut Test, line: &str) -> String {
    match begin(test, line) {
        Ok(reply) => reply,
        Err(waiter) => ends(test, &waiter),
    }
}

/// A reply, or what is waited for.
fn begin(test: &mut Test, line: &str) -> Result<String, Arc<Waiter>> {
    let words = ascii::split_args(line.as_bytes()).expect("balanced quotes");
    let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
    match test.session.call(&words) {
        (_, Flow::Block(waiter)) => Err(waiter),
        (reply, Flow::Done) => {
            let text = String::from_utf8_lossy(&reply);
            Ok(text.trim_end_matches("\r\n").replace("\r\n", " "))
        }
        (_, other) => panic!("{line}: {other:?}"),
    }
}

#[test]
fn what_is_added_reaches_those_who_wait() {
    explore(2, || {
        let mut server = known(Test::new());
        let waiting = [1, 2].map(|_| client(&server, |mut test| blocking(&mut test, "BLPOP k 0")));
        server.run("RPUSH k x").is(":1");
        // One that does not wait yet takes the first later.
        let len = server.run("RPUSH k y").text();
        assert!(len == ":1" || len == ":2", "{len}");
        let mut got = waiting.map(|client| client.join().unwrap());
        got.sort();
        assert_eq!(got, ["*2 $1 k $1 x", "*2 $1 k $1 y"]);
        server.run("EXISTS k").is(":0");
    });
}

#[test]
fn a_wait_for_several_keys_takes_one_element() {
    explore(2, || {
        let mut server = known(Test::new());
        let waits = client(&server, |mut test| blocking(&mut test, "BLPOP a b 0"));
        let other = client(&server, |mut test| test.run("RPUSH b y").text());
        server.run("RPUSH a x").is(":1");
        assert_eq!(other.join().unwrap(), ":1");
        let got = waits.join().unwrap();
        let left = server.run("EXISTS a b").text();
        assert_eq!(left, ":1", "{got}");
    });
}

#[test]
fn who_is_told_to_stop_takes_nothing() {
    explore(2, || {
        let mut server = known(Test::new());
        let mut waits = server.client();
        let id = waits.session.client().shared.id;
        let waiter = waits.blocks("BLPOP k 0");
        let adds = client(&server, |mut test| test.run("RPUSH k x").text());
        let told = server.run(&format!("CLIENT UNBLOCK {id}")).text();
        let got = ends(&mut waits, &waiter);
        assert_eq!(adds.join().unwrap(), ":1");
        let left = server.run("LLEN k").text();
        match &told[..] {
            ":1" => assert_eq!((&got[..], &left[..]), ("*-1", ":1")),
            _ => assert_eq!((&got[..], &left[..]), ("*2 $1 k $1 x", ":0")),
        }
    });
}

#[test]
fn who_has_gone_leaves_no_trace() {
    explore(2, || {
        let mut server = known(Test::new());
        let adds = client(&server, |mut test| test.run("RPUSH k x").text());
        let next = client(&server, |mut test| blocking(&mut test, "BLPOP k 0"));
        let mut waits = server.client();
        let got = match begin(&mut waits, "BLPOP k 0") {
            Ok(reply) => Some(reply),
            Err(waiter) => {
                let is_served = !waiter.decide(crate::db::Outcome::Gone);
                waits.session.give_up_wait(&waiter);
                is_served.then(|| "served, and gone".to_owned())
            }
        };
        assert_eq!(adds.join().unwrap(), ":1");
        if got.is_some() {
            // The other one waits still.
            server.run("RPUSH k y").is(":1");
        }
        let element = if got.is_some() { "y" } else { "x" };
        assert_eq!(next.join().unwrap(), format!("*2 $1 k $1 {element}"));
        server.run("EXISTS k").is(":0");
        server.run("INFO clients").has("total_blocking_keys:0");
    });
}

#[test]
fn a_destination_that_is_in_use_delays_and_loses_nothing() {
    explore(2, || {
        let mut server = known(Test::new());
        let moves = client(&server, |mut test| {
            blocking(&mut test, "BLMOVE from to LEFT RIGHT 0")
        });
        let other = client(&server, |mut test| test.run("RPUSH to a").text());
        server.run("RPUSH from x").is(":1");
        assert_eq!(moves.join().unwrap(), "$1 x");
        other.join().unwrap();
        server.run("LLEN to").is(":2");
        server.run("EXISTS from").is(":0");
    });
}
