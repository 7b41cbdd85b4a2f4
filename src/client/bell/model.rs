//! From those who post over the bell to the connection, in all interleavings: nothing stays in an
//! inbox whose client sleeps.

use loom::future::block_on;

use super::*;
use crate::client::inbox::Push;
use crate::client::{Endpoint, Signal};
use crate::resp::write::ReplyWriter;
use crate::sys::sync::{AtomicU8, explore, spawn};

#[test]
fn what_is_posted_is_delivered() {
    explore(2, || {
        let registry = Arc::new(Registry::default());
        registry.hang_bells(1);
        let client = registry.connect(Endpoint::local(""), -1, 0);
        // The worker's task, until it is told to end.
        let is_over = Arc::new(AtomicU8::new(0));
        let answers = {
            let (registry, is_over) = (registry.clone(), is_over.clone());
            spawn(move || {
                let bell = registry.bell(0).expect("it was hung");
                let mut clients = Vec::new();
                while is_over.load(Ordering::Acquire) == 0 {
                    block_on(poll_fn(|cx| bell.poll_due(cx)));
                    bell.take(&mut clients);
                    clients.drain(..).for_each(|client| client.wake());
                }
            })
        };
        let posts = {
            let (registry, client) = (registry.clone(), client.clone());
            spawn(move || {
                for text in ["+one\r\n", "+two\r\n"] {
                    registry.post(&client, Push::Raw(Arc::new(text.into())));
                }
            })
        };
        // The connection.
        let mut out = ReplyWriter::new();
        block_on(poll_fn(|cx| {
            client.set_waker(cx.waker().clone());
            client.deliver(&mut out);
            match out.len() {
                12 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        assert_eq!(out.to_vec(), b"+one\r\n+two\r\n");
        posts.join().unwrap();
        is_over.store(1, Ordering::Release);
        registry
            .bell(0)
            .expect("it was hung")
            .ring([client.clone()], 1);
        answers.join().unwrap();
        client.deliver(&mut out);
        assert!(out.len() == 12 && !client.has(Signal::Inbox));
    });
}
