//! The console: who gets in, and what he may see.

use super::*;

use sha2::{Digest, Sha256};

#[test]
fn it_is_off_unless_switched_on() {
    let mut web = Web::new(&[]);
    for path in ["/console", "/console/api/overview"] {
        web.get(path).is(404, "console-enabled yes");
    }
    web.test.run("CONFIG SET console-enabled yes").is("+OK");
    web.get("/console").is(200, "<!doctype html>");
    web.get("/console/").is(200, "<!doctype html>");
    web.get("/console/api/nothing").is(404, "no such page");
}

/// Nothing from elsewhere, nothing that is not in the page.
#[test]
fn the_page_is_all_that_a_browser_may_run() {
    let web = Web::console(&[]);
    let got = web.get("/console");
    let policy = got.headers[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
        let (_, rest) = got.body.split_once(open).expect(open);
        let (text, rest) = rest.split_once(close).expect(close);
        let hash = base64::encode(&Sha256::digest(text));
        assert!(
            policy.contains(&format!("'sha256-{hash}'")),
            "{open} {policy}"
        );
        assert!(!rest.contains(open), "{open}");
    }
    let foreign = got.body.replace("http://www.w3.org/2000/svg", "");
    for word in [
        "http:",
        "https:",
        "//cdn",
        "innerHTML",
        "eval(",
        " onclick=",
        " style=",
    ] {
        assert!(!foreign.contains(word), "{word}");
    }
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(got.headers[name], value);
    }
}

#[test]
fn the_front_page_has_its_figures() {
    let mut web = Web::console(&[]);
    for line in ["SET a 1", "GET a", "SELECT 3", "SET b 1 EX 10"] {
        web.test.run(line);
    }
    let found = web.get("/console/api/overview").json();
    assert_eq!(found["user"], "default");
    assert_eq!(found["totals"]["commands"], 4);
    assert_eq!(found["clients"]["connected"], 1, "the visitor is none");
    assert_eq!(
        found["databases"],
        serde_json::json!([
            {"db": 0, "keys": 1, "with_ttl": 0}, {"db": 3, "keys": 1, "with_ttl": 1},
        ])
    );
    let responses = &found["responses"];
    let bounds = responses["bounds_us"].as_array().unwrap().len();
    let cumulative = responses["cumulative"].as_array().unwrap();
    assert_eq!(
        (cumulative.len(), &cumulative[bounds]),
        (bounds + 1, &Value::from(4))
    );
    let commands = found["commands"].as_array().unwrap();
    let set = commands
        .iter()
        .find(|command| command["name"] == "set")
        .unwrap();
    assert_eq!(
        (&set["calls"], &set["failed"]),
        (&Value::from(2), &Value::from(0))
    );
    // To look is no command.
    web.get("/console/api/overview").json();
    assert_eq!(
        web.get("/console/api/overview").json()["totals"]["commands"],
        4
    );
}

#[test]
fn a_password_is_asked_for_when_there_is_one() {
    let mut web = Web::console(&["--requirepass", "secret"]);
    web.test.run("AUTH secret").is("+OK");
    for path in ["/console", "/console/api/overview", "/console/api/keys"] {
        let got = web.get(path);
        got.is(401, "needs a user");
        assert_eq!(
            got.headers[header::WWW_AUTHENTICATE],
            "Basic realm=\"Kivi\", charset=\"UTF-8\""
        );
        web.get_as(path, "default", "secret").is(200, "");
    }
    // Nobody has to give the name of the default user.
    web.get_as("/console", "", "secret").is(200, "");
    web.get_as("/console", "default", "wrong")
        .is(401, "Wrong user or password");
    web.get_as("/console", "nobody", "secret")
        .is(401, "Wrong user or password");
    web.test.run("INFO stats").has("acl_access_denied_auth:2");
    // Metrics are for everybody who can reach the port.
    web.get("/metrics")
        .is(200, "kivi_acl_denied_total{reason=\"auth\"} 2\n");
}

#[test]
fn without_a_password_only_this_machine_gets_in() {
    let mut web = Web::console(&[]);
    let request = |host: &str| {
        Request::get("/console")
            .header("host", host)
            .body(())
            .unwrap()
    };
    web.ask(request("127.0.0.1:9121"), LOCAL).is(200, "");
    web.ask(request("localhost"), "[::1]:9").is(200, "");
    // A name that somebody has made to lead here.
    web.ask(request("evil.example"), LOCAL)
        .is(403, "not by a name");
    web.ask(request("127.0.0.1"), REMOTE)
        .is(403, "Protected mode");
    web.ask(request("127.0.0.1"), "[::ffff:10.1.2.3]:9")
        .is(403, "Protected mode");
    // A password that nobody asks for shows nothing.
    let with_any = |host: &str| {
        let pair = base64::encode(b"default:any");
        Request::get("/console")
            .header("host", host)
            .header(header::AUTHORIZATION, format!("Basic {pair}"))
            .body(())
            .unwrap()
    };
    web.ask(with_any("evil.example"), LOCAL)
        .is(403, "not by a name");
    web.ask(with_any("127.0.0.1"), REMOTE)
        .is(403, "Protected mode");
    web.ask(with_any("127.0.0.1"), LOCAL).is(200, "");
    web.test.run("CONFIG SET protected-mode no").is("+OK");
    web.ask(request("10.0.0.1"), REMOTE).is(200, "");
    // Who gives a password is safe from that.
    web.test
        .run("CONFIG SET protected-mode yes requirepass secret")
        .is("+OK");
    let pair = base64::encode(b"default:secret");
    let with_password = Request::get("/console")
        .header("host", "kivi.example")
        .header(header::AUTHORIZATION, format!("Basic {pair}"));
    web.ask(with_password.body(()).unwrap(), REMOTE).is(200, "");
}

/// A user for whom any password is right gets in from elsewhere where he could connect to the server, too.
#[test]
fn a_user_without_a_password_is_as_far_away_as_for_the_server() {
    let mut web = Web::console(&[]);
    web.test
        .run("ACL SETUSER guest on nopass +@all ~*")
        .is("+OK");
    let guest = |host: &str| {
        let pair = base64::encode(b"guest:any");
        Request::get("/console")
            .header("host", host)
            .header(header::AUTHORIZATION, format!("Basic {pair}"))
            .body(())
            .unwrap()
    };
    web.ask(guest("10.0.0.1"), REMOTE).is(403, "Protected mode");
    web.test.run("CONFIG SET requirepass secret").is("+OK");
    web.ask(guest("10.0.0.1"), REMOTE).is(200, "");
    // The name of a page's own site still shows that the page has been led here.
    web.ask(guest("evil.example"), REMOTE)
        .is(403, "not by a name");
    web.ask(guest("evil.example"), LOCAL)
        .is(403, "not by a name");
    // As for connections, a default user that is off is no protection if it has no password.
    web.test.run("AUTH secret").is("+OK");
    web.test.run("ACL SETUSER default off nopass").is("+OK");
    web.ask(guest("10.0.0.1"), REMOTE).is(403, "Protected mode");
}

#[test]
fn a_user_sees_what_his_rights_allow() {
    let mut web = Web::console(&[]);
    for line in [
        "ACL SETUSER ops on >pw +@all ~*",
        "ACL SETUSER some on >pw +scan +select +type +pttl +strlen %R~mine:*",
        "ACL SETUSER none on >pw -@all",
        "MSET mine:1 x mine:2 yy other:1 z",
    ] {
        let reply = web.test.run(line);
        assert!(!reply.text().starts_with('-'), "{line}: {}", reply.text());
    }
    let names = |found: &Value| -> Vec<String> {
        let keys = found["keys"].as_array().unwrap().iter();
        let mut names: Vec<_> = keys
            .map(|key| key["key"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let all = web.get_as("/console/api/keys", "ops", "pw").json();
    assert_eq!(names(&all), ["mine:1", "mine:2", "other:1"]);
    let some = web.get_as("/console/api/keys", "some", "pw").json();
    assert_eq!(names(&some), ["mine:1", "mine:2"]);
    assert_eq!(some["hidden"], 1);
    let key = &some["keys"].as_array().unwrap()[0];
    assert!(
        key["length"].is_number() && key["memory_bytes"].is_null(),
        "{key}"
    );
    for (path, command) in [
        ("overview", "INFO"),
        ("clients", "CLIENT"),
        ("slowlog", "SLOWLOG"),
        ("keys", "S"),
    ] {
        let got = web.get_as(&format!("/console/api/{path}"), "none", "pw");
        got.is(403, &format!("This user may not run {command}"));
    }
    web.get_as("/console", "none", "pw")
        .is(200, "<!doctype html>");
    // Nothing of this is in the log of denials.
    web.test.run("ACL LOG").is("*0");
}

#[test]
fn keys_are_shown_with_what_they_are() {
    let mut web = Web::console(&[]);
    for line in [
        "SET s hello PX 60000",
        "RPUSH l a b c",
        "SADD set 1 2",
        "ZADD z 1 a",
        "HSET h f v",
        "XADD x 1-1 f v",
    ] {
        web.test.run(line);
    }
    web.test.args(&[b"SET", b"\xff<b>\"\n", b"1"]);
    let found = web.get("/console/api/keys").json();
    assert_eq!(
        (&found["cursor"], &found["hidden"]),
        (&Value::from("0"), &Value::from(0))
    );
    let mut rows: Vec<String> = found["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| {
            assert!(key["memory_bytes"].as_i64().unwrap() > 0);
            format!(
                "{} {} {} {}",
                key["key"], key["type"], key["length"], key["ttl_ms"]
            )
        })
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            r#""\\xff<b>\"\n" "string" 1 null"#,
            r#""h" "hash" 1 null"#,
            r#""l" "list" 3 null"#,
            r#""s" "string" 5 60000"#,
            r#""set" "set" 2 null"#,
            r#""x" "stream" 1 null"#,
            r#""z" "zset" 1 null"#,
        ]
    );
    let only = |query: &str| {
        let found = web.get(&format!("/console/api/keys?{query}")).json();
        found["keys"].as_array().unwrap().len()
    };
    assert_eq!(only("match=s*"), 2);
    assert_eq!(only("match=%FF*&db=0"), 1);
    assert_eq!(only("type=hash"), 1);
    assert_eq!(only("db=1"), 0);
    for query in ["db=x", "db=99999", "cursor=x", "cursor=-1"] {
        let got = web.get(&format!("/console/api/keys?{query}"));
        got.is(503, "ERR");
    }
}

/// However many keys there are, a request looks at some of them, and the next one at others.
#[test]
fn many_keys_are_shown_bit_by_bit() {
    let mut web = Web::console(&[]);
    for at in 0..3_000 {
        web.test.run(&format!("SET key:{at} x"));
    }
    let (mut cursor, mut seen, mut requests) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let path = format!("/console/api/keys?cursor={cursor}");
        let found = web.get(&path).json();
        let keys = found["keys"].as_array().unwrap();
        assert!(keys.len() < 400, "{}", keys.len());
        seen.extend(
            keys.iter()
                .map(|key| key["key"].as_str().unwrap().to_owned()),
        );
        cursor = found["cursor"].as_str().unwrap().to_owned();
        requests += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 3_000);
    assert!(requests > 10, "{requests}");
    // A pattern that nothing matches ends, too, though not in one request.
    let found = web.get("/console/api/keys?match=nothing").json();
    assert_eq!(found["keys"].as_array().unwrap().len(), 0);
    assert_ne!(found["cursor"], "0");
}

#[test]
fn clients_are_listed_but_for_the_visitor() {
    let mut web = Web::console(&[]);
    web.test.run("CLIENT SETNAME me").is("+OK");
    let found = web.get("/console/api/clients").json();
    assert_eq!(found["total"], 1);
    assert_eq!(found["clients"][0]["name"], "me");
    assert_eq!(found["clients"][0]["cmd"], "client|setname");
}

/// Whatever stands behind a name: nothing is changed, and nothing waits.
#[test]
fn renamed_commands_do_no_harm() {
    let mut web = Web::console(&[
        "--rename-command",
        "SCAN",
        "",
        "--rename-command",
        "FLUSHALL",
        "scan",
        "--rename-command",
        "TYPE",
        "",
        "--rename-command",
        "EVAL",
        "type",
    ]);
    web.test.run("SET a 1").is("+OK");
    web.get("/console/api/keys")
        .is(404, "SCAN is the name of another command here");
    web.test.run("DBSIZE").is(":1");
    let web = Web::console(&["--rename-command", "CLIENT", ""]);
    web.get("/console/api/clients")
        .is(404, "The server has no command CLIENT");
}

#[test]
fn somebody_else_has_the_keyspace() {
    let mut web = Web::console(&[]);
    web.test.run("SET a 1").is("+OK");
    let server = web.test.session.server().clone();
    let gate = server.keyspace.gate.try_close().expect("nobody has it");
    web.get("/console/api/keys").is(503, "busy");
    drop(gate);
    web.get("/console/api/keys").is(200, "\"a\"");
}
