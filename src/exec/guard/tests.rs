//! What users may not do, wherever it is asked; texts are Valkey 9.1.2's.

use std::time::Duration;

use crate::client::{Endpoint, Signal};
use crate::commands::tests::Test;
use crate::exec::Flow;
use crate::exec::session::Session;

const NO_KEY: &str = "-NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel";
const NO_DATABASE: &str = "-NOPERM No permissions to access database";
const CHANGED: &str = "NOPERM ACLs rules changed between the moment the transaction was accumulated \
                       and the EXEC call. This command is no longer allowed for the following \
                       reason: ";

fn no_command(name: &str) -> String {
    format!("-NOPERM User anna has no permissions to run the '{name}' command")
}

/// A client of the user `default`, and one of `anna`, who has these rights.
fn pair(rules: &str) -> (Test, Test) {
    let mut admin = Test::new();
    let anna = user(&mut admin, rules);
    (admin, anna)
}

/// A client of `anna`, who gets these rights.
fn user(admin: &mut Test, rules: &str) -> Test {
    admin
        .run(&format!("ACL SETUSER anna reset on >pw {rules}"))
        .is("+OK");
    let mut anna = admin.client();
    anna.run("AUTH anna pw").is("+OK");
    anna
}

/// The log of denials, oldest first: how many, reason, context, object, user.
#[track_caller]
fn logged(admin: &mut Test, expected: &[&str]) {
    let log = admin.session.server().acl.log.newest(100);
    let lines = log.iter().rev().map(|entry| {
        format!(
            "{} {} {} {} {}",
            entry.count,
            entry.reason.name(),
            entry.context.name(),
            String::from_utf8_lossy(&entry.object),
            String::from_utf8_lossy(&entry.username)
        )
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    admin.run("ACL LOG RESET").is("+OK");
}

#[test]
fn what_a_user_may_not_do_is_refused_at_the_door() {
    let (mut admin, mut anna) = pair("+@all -config|get -flushdb ~a* %R~r* %W~w* &ch* db=0");
    for (line, reply) in [
        ("GET a", "$-1"),
        ("GET b", NO_KEY),
        ("SET r x", NO_KEY),
        ("GET w", NO_KEY),
        ("SET w x", "+OK"),
        ("SET w x GET", NO_KEY),
        ("MSET a 1 b 2", NO_KEY),
        ("CONFIG GET dir", &no_command("config|get")),
        ("FLUSHALL", NO_DATABASE),
        ("FLUSHDB", &no_command("flushdb")),
        // Keys that were found before a spec that leads nowhere.
        ("PFMERGE b", NO_KEY),
        ("ZUNIONSTORE b 5 a", NO_KEY),
        ("PUBLISH ch x", ":0"),
        ("PUBLISH x x", NO_CHANNEL),
        ("PSUBSCRIBE c*", NO_CHANNEL),
        ("SELECT 1", NO_DATABASE),
        ("COPY a a2 DB 1", NO_DATABASE),
        // What is wrong with a request comes first, and what does not exist is no secret.
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "NOSUCH b",
            "-ERR unknown command 'NOSUCH', with args beginning with: 'b' ",
        ),
        (
            "CONFIG NOSUCH",
            "-ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP.",
        ),
        ("PING", "+PONG"),
    ] {
        anna.run(line).is(reply);
    }
    logged(
        &mut admin,
        &[
            "1 key toplevel r anna",
            "2 key toplevel w anna",
            "1 command toplevel config|get anna",
            "1 database toplevel FLUSHALL anna",
            "1 command toplevel flushdb anna",
            "4 key toplevel b anna",
            "1 channel toplevel x anna",
            "1 channel toplevel c* anna",
            "2 database toplevel 1 anna",
        ],
    );
    let info = admin.run("INFO stats").text();
    for line in [
        "acl_access_denied_cmd:2",
        "acl_access_denied_key:7",
        "acl_access_denied_channel:2",
        "acl_access_denied_db:3",
    ] {
        assert!(info.contains(line), "{line} in {info}");
    }
}

#[test]
fn a_change_holds_for_the_very_next_command() {
    let (mut admin, mut anna) = pair("+@all ~*");
    anna.run("GET a").is("$-1");
    admin.run("ACL SETUSER anna -get").is("+OK");
    anna.run("GET a").is(&no_command("get"));
    anna.run("ACL SETUSER anna +get").is("+OK");
    anna.run("GET a").is("$-1");
    admin.run("ACL SETUSER anna off").is("+OK");
    // Who is in stays in, as in Valkey.
    anna.run("GET a").is("$-1");
    anna.run("AUTH anna pw")
        .is("-WRONGPASS invalid username-password pair or user is disabled.");
}

#[test]
fn a_transaction_is_asked_when_it_is_queued_and_when_it_runs() {
    let (mut admin, mut anna) = pair("+@all ~* &*");
    for line in [
        "MULTI",
        "GET a",
        "SET b 1",
        "CONFIG GET dir",
        "PUBLISH ch x",
        "SELECT 1",
        "GET a",
    ] {
        anna.run(line);
    }
    admin
        .run("ACL SETUSER anna -get -config|get resetkeys ~z* resetchannels")
        .is("+OK");
    let command = "no permission to execute the command or subcommand";
    let key = "no permission to touch the specified keys";
    let channel = "no permission to access one of the channels used as arguments";
    anna.run("EXEC").is(&format!(
        "*6 -{CHANGED}{command} -{CHANGED}{key} -{CHANGED}{command} -{CHANGED}{channel} +OK \
         -{CHANGED}{command}"
    ));
    logged(
        &mut admin,
        &[
            "1 key multi b anna",
            "1 command multi config|get anna",
            "1 channel multi ch anna",
            "2 command multi get anna",
        ],
    );
    let mut anna = user(&mut admin, "+@all ~* &*");
    anna.run("MULTI").is("+OK");
    anna.run("GET a").is("+QUEUED");
    admin.run("ACL SETUSER anna resetdbs db=5").is("+OK");
    anna.run("EXEC").is(&format!("*1 -{CHANGED}no permission"));
    logged(&mut admin, &["1 database multi GET anna"]);
    let mut anna = user(&mut admin, "+@all ~a*");
    anna.run("MULTI").is("+OK");
    anna.run("SET b 1").is(NO_KEY);
    anna.run("EXEC")
        .is("-EXECABORT Transaction discarded because of previous errors.");
    logged(&mut admin, &["1 key multi b anna"]);
    admin.run("ACL SETUSER anna -exec").is("+OK");
    anna.run("MULTI").is("+OK");
    anna.run("EXEC").is(
        "-EXECABORT Transaction discarded because of: NOPERM User anna has no permissions to run \
         the 'exec' command",
    );
    anna.run("DISCARD").is("-ERR DISCARD without MULTI");
}

#[test]
fn a_transaction_feels_what_it_changes_itself() {
    let (_, mut anna) = pair("+@all ~*");
    anna.run("MULTI").is("+OK");
    for line in [
        "GET a",
        "ACL SETUSER anna -get",
        "GET a",
        "ACL SETUSER anna +get",
        "GET a",
    ] {
        anna.run(line).is("+QUEUED");
    }
    let why = "no permission to execute the command or subcommand";
    anna.run("EXEC")
        .is(&format!("*5 $-1 +OK -{CHANGED}{why} +OK $-1"));
    anna.run("MULTI").is("+OK");
    anna.run("GET a").is("+QUEUED");
    anna.run("AUTH default x").is("+QUEUED");
    anna.run("ACL WHOAMI").is("+QUEUED");
    anna.run("EXEC").is("*3 $-1 +OK $7 default");
}

#[test]
fn who_has_waited_is_asked_again() {
    let (mut admin, mut anna) = pair("+@all ~*");
    let mut other = admin.client();
    let waiter = anna.blocks("BLPOP l 0");
    let second = other.blocks("BLPOP l 0");
    admin.run("ACL SETUSER anna -blpop").is("+OK");
    admin.run("RPUSH l x").is(":1");
    anna.waited(&waiter).unwrap().is(&no_command("blpop"));
    other.waited(&second).unwrap().is("*2 $1 l $1 x");
    logged(&mut admin, &["1 command toplevel blpop anna"]);
    for (wait, change, push, refusal) in [
        (
            "BLMOVE l m LEFT LEFT 0",
            "resetkeys ~l",
            "RPUSH l x",
            NO_KEY,
        ),
        (
            "XREAD BLOCK 0 STREAMS s $",
            "resetkeys",
            "XADD s * f v",
            NO_KEY,
        ),
        ("BZPOPMIN z 0", "resetdbs db=1", "ZADD z 1 x", NO_DATABASE),
    ] {
        let mut anna = user(&mut admin, "+@all ~*");
        let waiter = anna.blocks(wait);
        admin.run(&format!("ACL SETUSER anna {change}")).is("+OK");
        admin.run(push);
        anna.waited(&waiter).unwrap().is(refusal);
        admin.run("EXISTS l s z").is(":1");
        admin.run("DEL l s z").is(":1");
    }
    // A deleted user takes nothing with it.
    let mut anna = user(&mut admin, "+@all ~*");
    let waiter = anna.blocks("BLPOP l 0");
    admin.run("ACL DELUSER anna").is(":1");
    admin.run("RPUSH l x").is(":1");
    assert!(anna.waited(&waiter).is_none());
    admin.run("LRANGE l 0 -1").is("*1 $1 x");
    anna.session.give_up_wait(&waiter);
}

#[test]
fn scripts_may_do_what_their_user_may() {
    let (mut admin, mut anna) = pair("+@all -flushall ~a* %R~r* %W~w* &ch*");
    let call = |call: &str| format!("EVAL \"return redis.{call}\" 0");
    let failure = "ACL failure in script: ";
    for (line, reply) in [
        (call("call('get','a')"), "$-1".to_owned()),
        (
            call("call('get','b')"),
            format!("-ERR {failure}No permissions to access a key script: on @user_script:1."),
        ),
        (
            call("pcall('get','b')"),
            format!("-ERR {failure}No permissions to access a key"),
        ),
        (
            call("pcall('flushall')"),
            format!("-ERR {failure}User anna has no permissions to run the 'flushall' command"),
        ),
        (
            call("pcall('publish','x','y')"),
            format!("-ERR {failure}No permissions to access a channel"),
        ),
        (call("acl_check_cmd('get','a')"), ":1".into()),
        (call("acl_check_cmd('get','b')"), "$-1".into()),
        (call("acl_check_cmd('set','r','b')"), "$-1".into()),
        (call("acl_check_cmd('flushall')"), "$-1".into()),
        ("EVAL 'return 1' 1 b".into(), NO_KEY.into()),
        ("EVAL 'return 1' 1 r".into(), NO_KEY.into()),
        ("EVAL_RO 'return 1' 1 r".into(), ":1".into()),
    ] {
        anna.run(&line).is(&reply);
    }
    logged(
        &mut admin,
        &[
            "2 key lua b anna",
            "1 command lua flushall anna",
            "1 channel lua x anna",
            "1 key toplevel b anna",
            "1 key toplevel r anna",
        ],
    );
    // One that reads by and by has to begin again to be told so; it is noted once.
    let script = "redis.call('get','a') redis.call('get','a2') return redis.pcall('get','b').err";
    anna.run(&format!("EVAL_RO \"{script}\" 0"))
        .has("No permissions to access a key");
    logged(&mut admin, &["1 key lua b anna"]);
    let stats = admin.run("INFO commandstats").text();
    assert!(stats.contains("cmdstat_get:calls=3,"), "{stats}");
}

#[test]
fn patterns_of_sort_need_all_keys() {
    let by = "-ERR BY option of SORT denied due to insufficient ACL permissions.";
    let get = "-ERR GET option of SORT denied due to insufficient ACL permissions.";
    let (mut admin, mut anna) = pair("+@all ~a* (~* -@all +get)");
    for (line, reply) in [
        ("SORT a BY nosort", "*0"),
        ("SORT a BY b*", by),
        ("SORT a BY a*", by),
        ("SORT a GET #", get),
        ("SORT_RO a GET a*", get),
        ("SORT a STORE b", NO_KEY),
    ] {
        anna.run(line).is(reply);
    }
    admin.run("ACL SETUSER anna %R~*").is("+OK");
    anna.run("SORT a BY b* GET c*").is("*0");
}

#[test]
fn a_deleted_user_has_no_clients() {
    let (mut admin, mut anna) = pair("+@all ~*");
    admin.run("ACL DELUSER anna").is(":1");
    assert!(anna.session.client().shared.has(Signal::Kill));
    // One whose request is there already comes to nothing; what was answered before is sent.
    assert_eq!(anna.flow("GET a"), Flow::Close);
    let (mut admin, mut anna) = pair("+@all ~*");
    anna.run("ACL DELUSER anna").is(":1");
    assert!(anna.session.client().shared.has(Signal::Kill));
    admin.run("PING").is("+PONG");
    assert!(!admin.session.client().shared.has(Signal::Kill));
}

#[test]
fn subscribers_go_when_they_lose_a_channel() {
    for (rules, subscribe, change, goes) in [
        ("&ch*", "SUBSCRIBE ch1", "&x*", false),
        ("&ch*", "SUBSCRIBE ch1", "resetchannels &ch1", false),
        ("&ch*", "SUBSCRIBE ch1", "resetchannels &x", true),
        // Patterns are compared as they are written.
        ("&ch*", "PSUBSCRIBE ch*", "resetchannels &c*", true),
        ("&ch*", "PSUBSCRIBE ch*", "resetchannels &c* &ch*", false),
        ("&*", "PSUBSCRIBE ch*", "resetchannels (&ch* -@all)", false),
        ("&*", "SSUBSCRIBE ch", "resetchannels &x", true),
        ("&*", "SUBSCRIBE ch", "-subscribe", false),
        ("&*", "SUBSCRIBE ch", "off", false),
        ("&*", "SUBSCRIBE ch", "-@all", false),
        ("&*", "PING", "resetchannels", false),
    ] {
        let (mut admin, mut anna) = pair(&format!("+@all ~* {rules}"));
        let mut other = admin.client();
        other.run("SUBSCRIBE ch");
        anna.run(subscribe);
        admin.run(&format!("ACL SETUSER anna {change}")).is("+OK");
        let case = format!("{rules} {subscribe} {change}");
        assert_eq!(
            anna.session.client().shared.has(Signal::Kill),
            goes,
            "{case}"
        );
        assert!(!other.session.client().shared.has(Signal::Kill), "{case}");
        if goes {
            // And no message comes any more.
            admin.run("PUBLISH ch1 x");
            assert_eq!(anna.session.take_pushes(), b"", "{case}");
        }
    }
}

#[test]
fn clients_are_chosen_by_their_user() {
    let (mut admin, mut anna) = pair("+@all ~*");
    for line in ["CLIENT LIST USER nosuch", "CLIENT KILL NOT-USER nosuch"] {
        admin.run(line).is("-ERR No such user 'nosuch'");
    }
    let list = admin.run("CLIENT LIST USER anna").text();
    assert!(
        list.contains(" user=anna ") && !list.contains("user=default"),
        "{list}"
    );
    let list = admin.run("CLIENT LIST NOT-USER anna").text();
    assert!(
        !list.contains("user=anna") && list.contains("user=default"),
        "{list}"
    );
    anna.run("CLIENT INFO").has(" user=anna ");
    admin.run("CLIENT KILL USER anna NOT-USER anna").is(":0");
    admin.run("CLIENT KILL USER anna").is(":1");
    assert!(anna.session.client().shared.has(Signal::Kill));
}

#[test]
fn names_of_keys_are_told_to_those_who_may_read_them() {
    let (mut admin, mut anna) = pair("+@all ~a* %W~w* db=0");
    let mut all = admin.client();
    for test in [&mut anna, &mut all] {
        test.run("HELLO 3");
        test.run("CLIENT TRACKING ON BCAST").is("+OK");
    }
    let told = |test: &mut Test| String::from_utf8(test.session.take_pushes()).unwrap();
    let message = |keys: &[&str]| {
        let each = keys
            .iter()
            .map(|key| format!("${}\r\n{key}\r\n", key.len()));
        let keys = format!("*{}\r\n{}", keys.len(), each.collect::<String>());
        format!(">2\r\n$10\r\ninvalidate\r\n{keys}")
    };
    admin.run("MSET a1 1 b 1 w 1").is("+OK");
    assert_eq!(told(&mut anna), message(&["a1"]));
    assert_eq!(told(&mut all), message(&["a1", "b", "w"]));
    admin.run("SET secret 1").is("+OK");
    assert_eq!(told(&mut anna), "");
    assert_eq!(told(&mut all), message(&["secret"]));
    // Nor is a key of a database that it may not use.
    admin.run("SELECT 1").is("+OK");
    admin.run("SET a2 1").is("+OK");
    assert_eq!(told(&mut anna), "");
    admin.run("ACL SETUSER anna alldbs").is("+OK");
    admin.run("SET a2 1").is("+OK");
    assert_eq!(told(&mut anna), message(&["a2"]));
    // That all has gone names nothing.
    admin.run("FLUSHALL").is("+OK");
    assert_eq!(told(&mut anna), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
}

#[test]
fn who_may_not_read_keys_may_not_learn_them_by_looking() {
    let (mut admin, mut anna) = pair("+@all ~a* -monitor");
    admin.run("SET secret 1").is("+OK");
    anna.run("MONITOR").is(&no_command("monitor"));
    for line in [
        "OBJECT ENCODING secret",
        "MEMORY USAGE secret",
        "TYPE secret",
        "TTL secret",
        "EXISTS secret",
        "DUMP secret",
        "WATCH secret",
        "TOUCH secret",
    ] {
        anna.run(line).is(NO_KEY);
    }
}

#[test]
fn wrong_passwords_are_logged_with_the_name_that_was_tried() {
    let (mut admin, _) = pair("+@all ~*");
    let mut client = admin.client();
    client.run("AUTH anna bad");
    client.run("AUTH nobody pw");
    client.run("HELLO 3 AUTH anna bad");
    client.run("MULTI");
    client.run("AUTH anna bad");
    client.run("EXEC");
    logged(
        &mut admin,
        &[
            "1 auth toplevel AUTH anna",
            "1 auth toplevel AUTH nobody",
            "1 auth toplevel HELLO anna",
            "1 auth multi AUTH anna",
        ],
    );
}

#[test]
fn who_guesses_from_elsewhere_waits_for_the_answer() {
    let test = Test::with(&["--requirepass", "secret"]);
    let endpoint = |local| Endpoint {
        local,
        ..Endpoint::local("203.0.113.7:1")
    };
    let connect = |local| {
        let server = test.session.server().clone();
        Session::at(server, test.table.clone(), endpoint(local))
    };
    let (mut guessing, mut near) = (connect(false), connect(true));
    let wrong: &[&[u8]] = &[b"AUTH", b"wrong"];
    let mut flows = (0..19).map(|_| guessing.call(wrong).1);
    assert!(flows.by_ref().take(16).all(|flow| flow == Flow::Done));
    let delays_ms: Vec<u64> = vec![10, 20, 40];
    let expected = delays_ms.into_iter().map(Duration::from_millis);
    assert!(flows.eq(expected.map(Flow::Delay)));
    // By another connection of the same address, too, and by any other way in.
    let mut again = connect(false);
    let hello: &[&[u8]] = &[b"HELLO", b"3", b"AUTH", b"default", b"wrong"];
    assert_eq!(again.call(hello).1, Flow::Delay(Duration::from_millis(80)));
    // The right one is answered at once, and so is what comes behind it.
    assert_eq!(again.call(&[b"AUTH", b"secret"]).1, Flow::Done);
    for request in [&[b"MULTI".as_slice()][..], wrong, &[b"GET", b"a"], wrong] {
        assert_eq!(again.call(request).1, Flow::Done);
    }
    let (reply, flow) = again.call(&[b"EXEC"]);
    assert!(
        reply.starts_with(b"*3\r\n-WRONGPASS"),
        "{}",
        reply.escape_ascii()
    );
    // As for each of them alone.
    assert_eq!(flow, Flow::Delay(Duration::from_millis(160 + 320)));
    assert_eq!(again.call(&[b"PING"]).1, Flow::Done);
    assert!((0..40).all(|_| near.call(wrong).1 == Flow::Done));
}

#[test]
fn a_user_that_went_while_somebody_logged_in_as_it_has_no_client() {
    let (mut admin, _) = pair("+@all ~*");
    let server = admin.session.server().clone();
    let anna = server.acl.user(b"anna").unwrap();
    // The password was right, and then the user was deleted.
    admin.run("ACL DELUSER anna").is(":1");
    let mut late = admin.client();
    late.session.client_mut().log_in(anna, true);
    assert!(late.session.client().shared.has(Signal::Kill));
}

#[test]
fn who_is_served_without_a_password_has_shown_none() {
    use std::sync::atomic::Ordering;
    let mut admin = Test::with(&["--requirepass", "secret"]);
    admin.run("AUTH secret").is("+OK");
    let mut stranger = admin.client();
    admin.run("CONFIG SET requirepass ''").is("+OK");
    let waiter = stranger.blocks("BLPOP list 0");
    admin.run("RPUSH list x").is(":1");
    admin.run("CONFIG SET requirepass secret").is("+OK");
    assert!(stranger.session.end_wait(&waiter).is_some());
    let shared = &stranger.session.client().shared;
    assert!(!shared.authenticated.load(Ordering::Relaxed));
}
