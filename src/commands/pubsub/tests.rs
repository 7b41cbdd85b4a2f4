//! Pub/sub; expected replies are Valkey 9.1.2's.

use crate::commands::tests::{Reply, Test};
use crate::exec::Flow;

/// What others have for the client.
fn pushes(test: &mut Test) -> String {
    Reply(test.session.take_pushes()).text()
}

const REFUSED: &str =
    "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";

#[test]
fn subscriptions_are_counted() {
    let mut test = Test::new();
    test.run("SUBSCRIBE")
        .is("-ERR wrong number of arguments for 'subscribe' command");
    test.run("SUBSCRIBE a").is("*3 $9 subscribe $1 a :1");
    test.run("SUBSCRIBE a a b")
        .is("*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2");
    test.run("PSUBSCRIBE a* b*")
        .is("*3 $10 psubscribe $2 a* :3 *3 $10 psubscribe $2 b* :4");
    test.run("SSUBSCRIBE s").is("*3 $10 ssubscribe $1 s :1");
    test.run("UNSUBSCRIBE x b b")
        .is("*3 $11 unsubscribe $1 x :4 *3 $11 unsubscribe $1 b :3 *3 $11 unsubscribe $1 b :3");
    test.run("SUNSUBSCRIBE").is("*3 $12 sunsubscribe $1 s :0");
    test.run("PUNSUBSCRIBE")
        .is("*3 $12 punsubscribe $2 a* :2 *3 $12 punsubscribe $2 b* :1");
    test.run("UNSUBSCRIBE").is("*3 $11 unsubscribe $1 a :0");
    test.run("UNSUBSCRIBE").is("*3 $11 unsubscribe $-1 :0");
    test.run("PUNSUBSCRIBE").is("*3 $12 punsubscribe $-1 :0");
    test.run("SUNSUBSCRIBE").is("*3 $12 sunsubscribe $-1 :0");
    test.run("HELLO 3");
    test.run("SUNSUBSCRIBE").is(">3 $12 sunsubscribe _ :0");
    test.run("SUBSCRIBE a b")
        .is(">3 $9 subscribe $1 a :1 >3 $9 subscribe $1 b :2");
    test.run("UNSUBSCRIBE")
        .is(">3 $11 unsubscribe $1 a :1 >3 $11 unsubscribe $1 b :0");
}

#[test]
fn messages_reach_those_who_have_subscribed() {
    let mut test = Test::new();
    let (mut two, mut three) = (test.client(), test.client());
    test.run("PUBLISH a hi").is(":0");
    two.run("SUBSCRIBE a b");
    three.run("HELLO 3");
    three.run("PSUBSCRIBE a* ? \"\"");
    three.run("SUBSCRIBE a");
    test.run("PUBLISH a hi").is(":4");
    assert_eq!(pushes(&mut two), "*3 $7 message $1 a $2 hi");
    assert_eq!(
        pushes(&mut three),
        ">3 $7 message $1 a $2 hi >4 $8 pmessage $1 ? $1 a $2 hi >4 $8 pmessage $2 a* $1 a $2 hi"
    );
    test.run("PUBLISH b \"\"").is(":2");
    assert_eq!(pushes(&mut two), "*3 $7 message $1 b $0");
    // Sharded channels are others, and no pattern matches them.
    test.run("SPUBLISH a x").is(":0");
    two.run("SSUBSCRIBE a");
    test.run("SPUBLISH a x").is(":1");
    assert_eq!(pushes(&mut two), "*3 $8 smessage $1 a $1 x");
    test.run("PUBLISH ax x").is(":1");
    // No star matches an empty name, as in Redis.
    test.run("PUBLISH \"\" x").is(":1");
    two.run("PSUBSCRIBE *");
    test.run("PUBLISH \"\" x").is(":1");
    assert_eq!(pushes(&mut two), "");
}

#[test]
fn a_resp2_subscriber_may_do_little_else() {
    let mut test = Test::new();
    test.run("SSUBSCRIBE a");
    test.run("PING").is("*2 $4 pong $0");
    test.run("PING x").is("*2 $4 pong $1 x");
    test.run("PING x y")
        .is("-ERR wrong number of arguments for 'ping' command");
    for (line, name) in [
        ("GET x", "get"),
        ("PUBLISH a x", "publish"),
        ("PUBSUB NUMPAT", "pubsub|numpat"),
        ("HELLO 3", "hello"),
        ("AUTH x", "auth"),
        ("CLIENT REPLY OFF", "client|reply"),
    ] {
        let wanted = format!("-ERR Can't execute '{name}': only {REFUSED}");
        test.run(line).is(&wanted);
    }
    // What is wrong with the request itself comes first.
    test.run("GET")
        .is("-ERR wrong number of arguments for 'get' command");
    test.run("NOSUCH")
        .is("-ERR unknown command 'NOSUCH', with args beginning with: ");
    test.run("SUNSUBSCRIBE a");
    test.run("PING").is("+PONG");
    test.run("GET x").is("$-1");
    // RESP3 tells messages from replies.
    test.run("HELLO 3");
    test.run("SUBSCRIBE a");
    test.run("PING").is("+PONG");
    test.run("GET x").is("_");
    test.run("PUBLISH a x").is(":1 >3 $7 message $1 a $1 x");
    test.run("HELLO 2");
    test.run("GET x").has("only (P|S)SUBSCRIBE");
    assert_eq!(test.flow("QUIT"), Flow::Close);
}

#[test]
fn reset_and_the_end_of_a_connection_end_subscriptions() {
    let mut test = Test::new();
    let mut two = test.client();
    two.run("SUBSCRIBE a b");
    two.run("PSUBSCRIBE *");
    two.run("SSUBSCRIBE s");
    test.run("PUBLISH a x").is(":2");
    // What came before comes before.
    two.run("RESET")
        .is("*3 $7 message $1 a $1 x *4 $8 pmessage $1 * $1 a $1 x +RESET");
    test.run("PUBLISH a x").is(":0");
    two.run("GET x").is("$-1");
    two.run("SUBSCRIBE a b");
    two.run("PSUBSCRIBE *");
    two.run("SSUBSCRIBE s");
    test.run("INFO stats")
        .has("pubsub_channels:2 pubsub_patterns:1 pubsubshard_channels:1");
    test.run("INFO clients").has("pubsub_clients:1");
    drop(two);
    test.run("INFO stats")
        .has("pubsub_channels:0 pubsub_patterns:0 pubsubshard_channels:0");
    test.run("INFO clients").has("pubsub_clients:0");
    test.run("PUBLISH a x").is(":0");
}

#[test]
fn no_message_comes_after_the_end_of_its_subscription() {
    let mut test = Test::new();
    let mut two = test.client();
    for version in ["2", "3"] {
        two.run(&format!("HELLO {version}"));
        two.run("SUBSCRIBE a b");
        test.run("PUBLISH a 1");
        test.run("PUBLISH b 2");
        let sign = if version == "2" { '*' } else { '>' };
        two.run("UNSUBSCRIBE a b").is(&format!(
            "{sign}3 $7 message $1 a $1 1 {sign}3 $7 message $1 b $1 2 \
             {sign}3 $11 unsubscribe $1 a :1 {sign}3 $11 unsubscribe $1 b :0"
        ));
    }
}

#[test]
fn subscribers_are_answered_whatever_client_reply_says() {
    let mut test = Test::new();
    let mut two = test.client();
    two.run("CLIENT REPLY OFF").is("");
    two.run("SUBSCRIBE a").is("*3 $9 subscribe $1 a :1");
    test.run("PUBLISH a x").is(":1");
    two.run("UNSUBSCRIBE")
        .is("*3 $7 message $1 a $1 x *3 $11 unsubscribe $1 a :0");
    two.run("PING").is("");
    two.run("CLIENT REPLY ON").is("+OK");
    two.run("CLIENT REPLY SKIP").is("");
    two.run("PSUBSCRIBE a*").is("*3 $10 psubscribe $2 a* :1");
    two.run("PING").is("*2 $4 pong $0");
}

#[test]
fn channels_can_be_asked_for() {
    let mut test = Test::new();
    let (mut two, mut three) = (test.client(), test.client());
    two.run("SUBSCRIBE aa ab");
    three.run("SUBSCRIBE aa");
    three.run("SSUBSCRIBE sa sb");
    two.run("PSUBSCRIBE x* y*");
    three.run("PSUBSCRIBE x*");
    test.run("PUBSUB CHANNELS ?a").is("*1 $2 aa");
    assert_eq!(
        test.run("PUBSUB CHANNELS").0.len(),
        "*2\r\n$2\r\naa\r\n$2\r\naa\r\n".len()
    );
    test.run("PUBSUB CHANNELS z").is("*0");
    test.run("PUBSUB NUMSUB ab aa zz aa")
        .is("*8 $2 ab :1 $2 aa :2 $2 zz :0 $2 aa :2");
    test.run("PUBSUB NUMSUB").is("*0");
    test.run("PUBSUB NUMPAT").is(":2");
    test.run("PUBSUB SHARDCHANNELS sb").is("*1 $2 sb");
    test.run("PUBSUB SHARDNUMSUB sa aa")
        .is("*4 $2 sa :1 $2 aa :0");
    test.run("PUBSUB Channels a b").is(
        "-ERR unknown subcommand or wrong number of arguments for 'Channels'. Try PUBSUB HELP.",
    );
    test.run("PUBSUB SHARDCHANNELS a b").is(
        "-ERR unknown subcommand or wrong number of arguments for 'SHARDCHANNELS'. \
         Try PUBSUB HELP.",
    );
    test.run("PUBSUB NUMPAT x")
        .is("-ERR wrong number of arguments for 'pubsub|numpat' command");
    test.run("PUBSUB")
        .is("-ERR wrong number of arguments for 'pubsub' command");
    test.run("PUBSUB x")
        .is("-ERR unknown subcommand 'x'. Try PUBSUB HELP.");
    test.run("PUBSUB HELP").has("+PUBSUB <subcommand>");
    for request in [
        "SPUBLISH a b",
        "SSUBSCRIBE a",
        "SUNSUBSCRIBE",
        "SUBSCRIBE a",
    ] {
        test.run(&format!("COMMAND GETKEYS {request}"))
            .is("-ERR The command has no key arguments");
    }
}

#[test]
fn a_subscriber_is_described() {
    let mut test = Test::new();
    let mut two = test.client();
    two.run("SUBSCRIBE a b c");
    two.run("PSUBSCRIBE p q");
    two.run("SSUBSCRIBE s");
    test.run("CLIENT LIST TYPE pubsub")
        .has(" sub=3 psub=2 ssub=1 ");
    test.run("CLIENT LIST TYPE pubsub").has(" flags=P ");
    test.run("CLIENT LIST TYPE normal")
        .has(" sub=0 psub=0 ssub=0 ");
    test.run("CLIENT KILL TYPE normal").is(":0");
    test.run("CLIENT KILL TYPE pubsub").is(":1");
}

#[test]
fn pause_holds_messages_back() {
    let mut test = Test::new();
    test.run("CLIENT PAUSE 1000 WRITE");
    for line in ["PUBLISH a x", "SPUBLISH a x"] {
        assert!(matches!(test.flow(line), Flow::Wait(_)), "{line}");
    }
    test.run("SUBSCRIBE a").is("*3 $9 subscribe $1 a :1");
}

#[test]
fn large_messages_are_shared() {
    let mut test = Test::new();
    let (mut two, mut three) = (test.client(), test.client());
    two.run("SUBSCRIBE a");
    three.run("PSUBSCRIBE *");
    let text = vec![b'x'; 100_000];
    test.args(&[b"PUBLISH", b"a", &text]).is(":2");
    let wanted = |head: &[u8]| [head, b"$100000\r\n", &text, b"\r\n"].concat();
    assert!(two.session.take_pushes() == wanted(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n"));
    let head = b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n";
    assert!(three.session.take_pushes() == wanted(head));
}

#[test]
fn one_who_does_not_read_is_cut_off() {
    let args = ["--client-output-buffer-limit", "pubsub 10000 0 0"];
    let mut test = Test::with(&args);
    let (mut two, mut three) = (test.client(), test.client());
    two.run("SUBSCRIBE a");
    three.run("SUBSCRIBE a");
    let text = vec![b'x'; 1000];
    let mut sent = 0;
    while !two.session.client().shared.has(crate::client::Signal::Kill) {
        test.args(&[b"PUBLISH", b"a", &text]);
        assert!(pushes(&mut three).len() > 1000);
        sent += 1;
        assert!(sent < 20);
    }
    assert!(sent > 5);
    assert_eq!(pushes(&mut two), "");
    test.run("INFO stats")
        .has("client_output_buffer_limit_disconnections:1");
    drop(two);
    test.run("PUBLISH a x").is(":1");
}
