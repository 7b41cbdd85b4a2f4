//! Order of messages with many threads; tables that become empty.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::acl::Acl;
use crate::client::Endpoint;
use crate::resp::write::ReplyWriter;

const SUBJECTS: [Subject; 3] = [Subject::Channel, Subject::Pattern, Subject::ShardChannel];

fn client(clients: &Registry) -> Client {
    let endpoint = Endpoint::local("");
    Client::new(clients.connect(endpoint, -1, 0), &Acl::default())
}

/// The last words of the messages that came since the last call.
fn texts(client: &Client) -> Vec<String> {
    let mut out = ReplyWriter::new();
    client.shared.deliver(&mut out);
    let bytes = String::from_utf8(out.to_vec()).unwrap();
    let messages = bytes.split('*').skip(1);
    messages
        .map(|message| message.trim_end().rsplit("\r\n").next().unwrap().to_owned())
        .collect()
}

#[test]
fn everybody_sees_the_same_order() {
    const MESSAGES: usize = 3000;
    let clients = Arc::new(Registry::default());
    let pubsub = PubSub::new(clients.clone());
    let mut all: Vec<Client> = (0..6).map(|_| client(&clients)).collect();
    // Two of one channel, two of the other, two of a pattern of both.
    for (at, client) in all.iter_mut().enumerate() {
        match at {
            0 | 1 => pubsub.subscribe(client, Subject::Channel, b"c0"),
            2 | 3 => pubsub.subscribe(client, Subject::Channel, b"c1"),
            _ => pubsub.subscribe(client, Subject::Pattern, b"c?"),
        }
    }
    thread::scope(|scope| {
        for publisher in 0..4 {
            let pubsub = &pubsub;
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let channel = format!("c{}", (publisher + number) % 2);
                    let text = format!("{channel}.{publisher}.{number}");
                    assert_eq!(pubsub.publish(channel.as_bytes(), text.as_bytes()), 4);
                }
            });
        }
    });
    let seen: Vec<Vec<String>> = all.iter().map(texts).collect();
    assert_eq!(seen[4].len(), 4 * MESSAGES);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[2], seen[3]);
    assert_eq!(seen[4], seen[5]);
    // Each channel's part of what the pattern saw is what the channel saw.
    for (channel, own) in [("c0.", &seen[0]), ("c1.", &seen[2])] {
        let part: Vec<_> = seen[4]
            .iter()
            .filter(|text| text.starts_with(channel))
            .collect();
        assert_eq!(part, own.iter().collect::<Vec<_>>());
    }
    let mut next: HashMap<&str, usize> = HashMap::new();
    for text in &seen[4] {
        let mut words = text.split('.').skip(1);
        let (publisher, number) = (words.next().unwrap(), words.next().unwrap());
        let next = next.entry(publisher).or_default();
        assert_eq!(number.parse(), Ok(*next), "publisher {publisher}");
        *next += 1;
    }
}

#[test]
fn what_has_ended_sends_nothing() {
    let clients = Arc::new(Registry::default());
    let pubsub = PubSub::new(clients.clone());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    pubsub.publish(b"c", b"x");
                    pubsub.publish_sharded(b"c", b"x");
                }
            });
        }
        let mut client = client(&clients);
        for round in 0..2000 {
            let subject = SUBJECTS[round % 3];
            pubsub.subscribe(&mut client, subject, b"c");
            pubsub.unsubscribe(&mut client, subject, b"c");
            texts(&client);
            assert!(texts(&client).is_empty());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(pubsub.client_count(), 0);
}

#[test]
fn nothing_is_left_of_many_subscriptions() {
    const NAMES: usize = 1000;
    let clients = Arc::new(Registry::default());
    let pubsub = PubSub::new(clients.clone());
    let mut all: Vec<Client> = (0..20).map(|_| client(&clients)).collect();
    for (at, client) in all.iter_mut().enumerate() {
        for name in 0..NAMES {
            // Some have a name of their own, some share one with all.
            let name = match name % 2 {
                0 => format!("{name}"),
                _ => format!("{name}-{at}"),
            };
            for subject in SUBJECTS {
                pubsub.subscribe(client, subject, name.as_bytes());
                pubsub.subscribe(client, subject, name.as_bytes());
            }
        }
    }
    let figures = || {
        let counts = [pubsub.channel_count(false), pubsub.channel_count(true)];
        (counts, pubsub.pattern_count(), pubsub.client_count())
    };
    let names = NAMES / 2 + 20 * NAMES / 2;
    assert_eq!(figures(), ([names, names], names, 20));
    assert_eq!(pubsub.subscriber_count(false, b"0"), 20);
    assert_eq!(pubsub.publish(b"0", b"x"), 40);
    assert_eq!(all[3].shared.subscription_count(Subject::Pattern), 1000);
    let bytes = all[3].shared.memory_bytes();
    for client in &mut all {
        assert_eq!(texts(client).len(), 2);
        pubsub.unsubscribe_all(client);
        assert!(!client.is_subscriber() && !client.shared.is_subscriber());
    }
    assert!(all[3].shared.memory_bytes() < bytes - 3 * NAMES * 8);
    assert_eq!(all[3].shared.subscription_bytes.load(Ordering::Relaxed), 0);
    assert_eq!(figures(), ([0, 0], 0, 0));
    assert_eq!(pubsub.publish(b"0", b"x"), 0);
}
