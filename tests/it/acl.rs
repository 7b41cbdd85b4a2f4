//! ACL against Valkey: the same rules, requests, files and denials, byte for byte.
//!
//! Rules are put together at random, so that odd ones come up; where Valkey 9.1.2 ends itself over one (a
//! first argument with a space, a second selector in a file that does not end), it is left out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::client::{Client, Reply, show};
use crate::generate::Rng;
use crate::harness::{Server, env_number};

/// Pieces that rules are made of.
const RULES: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    ">a",
    ">b",
    "<a",
    "<b",
    "allkeys",
    "resetkeys",
    "~a*",
    "~b",
    "~*",
    "~a?c",
    "~[ab]*",
    "%R~a*",
    "%W~b*",
    "%RW~c",
    "%R~*",
    "%W~*",
    "%",
    "%R",
    "%X~a",
    "~a b",
    "allchannels",
    "resetchannels",
    "&a*",
    "&b",
    "&*",
    "&n?",
    "alldbs",
    "resetdbs",
    "db=0",
    "db=1,2",
    "db=2,0,2",
    "db=",
    "db=x",
    "db=-1",
    "db=99",
    "DB= 1",
    "allcommands",
    "nocommands",
    "+@all",
    "-@all",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "-@dangerous",
    "+@slow",
    "-@slow",
    "+@keyspace",
    "+@nosuch",
    "+get",
    "-get",
    "+SET",
    "-set",
    "+mget",
    "+config",
    "-config",
    "+config|get",
    "-config|set",
    "+Config|Set",
    "+config|nosuch",
    "+config|get|x",
    "+select",
    "+select|0",
    "+select|1",
    "-select|0",
    "+get|a",
    "+get|",
    "-get|a",
    "+nosuch",
    "+",
    "-",
    "+publish",
    "+subscribe",
    "+psubscribe",
    "+copy",
    "+move",
    "+swapdb",
    "+flushall",
    "+sort",
    "+eval",
    "+object",
    "+xread",
    "+zunionstore",
    "reset",
    "clearselectors",
    "sanitize-payload",
    "nonsense",
    "",
    "(",
    ")",
    "()",
    "(+get ~a*)",
    "(+@read %R~b* &n*)",
    "(db=1 +@all ~*)",
    "(+set",
    "~c)",
    "(nonsense)",
    "(+select|1 \"~a\")",
    "(allkeys ~a)",
    "(%W~a* +@write resetdbs db=0)",
];

/// Requests for dry runs.
const REQUESTS: &[&str] = &[
    "get a",
    "get b",
    "get c",
    "GET abc",
    "set a 1",
    "set b 1",
    "set a 1 get",
    "set b 1 get",
    "mget a b",
    "mget b a",
    "mget c a b",
    "getset a 1",
    "getdel b",
    "append a x",
    "exists a",
    "exists c",
    "del a b",
    "copy a b",
    "copy a b db 1",
    "copy a b DB 2 replace",
    "copy b a db 99",
    "copy a b db",
    "move a 1",
    "move b 2",
    "move a x",
    "rename a b",
    "swapdb 0 1",
    "swapdb 2 3",
    "swapdb 0 x",
    "select 0",
    "select 1",
    "select 2",
    "select 99",
    "select x",
    "flushall",
    "flushdb",
    "dbsize",
    "keys *",
    "randomkey",
    "scan 0",
    "ping",
    "echo x",
    "auth a b",
    "config get x",
    "config set a b",
    "config nosuch",
    "config",
    "object encoding a",
    "object help",
    "publish a m",
    "publish n m",
    "publish b m",
    "subscribe a",
    "subscribe a b",
    "subscribe ax n1",
    "psubscribe a*",
    "psubscribe b n?",
    "ssubscribe a",
    "spublish b m",
    "unsubscribe a",
    "sort a",
    "sort a store b",
    "sort b get a",
    "eval x 1 a",
    "eval x 2 a b",
    "eval x 0",
    "eval x 0 a",
    "xread streams a 0",
    "xread streams a b 0 0",
    "xadd a * f v",
    "zunionstore a 2 b c",
    "zunion 1 a",
    "georadius a 0 0 1 m store b",
    "lmpop 1 a left",
    "lmove a b left left",
    "bitop and a b c",
    "pfmerge a b",
    "pfcount a",
    "hset a f v",
    "hget a f",
    "watch a",
    "multi",
    "client id",
    "client kill x",
    "acl whoami",
    "acl list",
    "nosuch a",
    "get",
    "touch a",
    "type b",
    "expire a 1",
    "restore a 0 x",
    "dump a",
    "info",
    "script load x",
    "fcall f 1 a",
];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Kivi, Valkey if it is there, and a client of each.
struct Both {
    servers: Vec<Server>,
    clients: Vec<Client>,
}

impl Both {
    fn start(args: &[&str]) -> Option<Both> {
        let valkey = Server::valkey(args)?;
        let servers = vec![Server::kivi(args), valkey];
        let clients = servers.iter().map(Server::connect).collect();
        Some(Both { servers, clients })
    }

    /// The same reply of both, byte for byte.
    #[track_caller]
    fn same(&mut self, argv: &[&str]) -> Vec<u8> {
        let replies: Vec<Vec<u8>> = self
            .clients
            .iter_mut()
            .map(|client| client.raw(argv).0)
            .collect();
        assert_eq!(show(&replies[0]), show(&replies[1]), "{argv:?}");
        assert!(replies[0] == replies[1], "{argv:?}");
        replies[0].clone()
    }

    fn connect(&mut self) -> Vec<Client> {
        self.servers.iter().map(Server::connect).collect()
    }
}

fn random_rules(rng: &mut Rng) -> Vec<&'static str> {
    (0..1 + rng.below(7)).map(|_| *rng.pick(RULES)).collect()
}

#[test]
fn users_are_what_they_are_in_valkey() {
    let Some(mut both) = Both::start(&[]) else {
        return;
    };
    let seed = env_number("KIVI_TEST_SEED", 9);
    let mut rng = Rng::new(seed);
    both.clients[0].raw(&["HELLO", "3"]);
    both.clients[1].raw(&["HELLO", "3"]);
    let (mut accepted, mut allowed, mut asked) = (0, 0, 0);
    for round in 0..env_number("KIVI_TEST_ROUNDS", 600) {
        if round % 7 == 0 {
            both.same(&["ACL", "DELUSER", "u"]);
        }
        let rules = random_rules(&mut rng);
        let argv = [&["ACL", "SETUSER", "u"][..], &rules].concat();
        accepted += u32::from(both.same(&argv).starts_with(b"+OK"));
        both.same(&["ACL", "GETUSER", "u"]);
        both.same(&["ACL", "LIST"]);
        both.same(&["SELECT", &rng.below(3).to_string()]);
        for _ in 0..8 {
            let request = *rng.pick(REQUESTS);
            let argv = [&["ACL", "DRYRUN", "u"][..], &words(request)].concat();
            let reply = both.same(&argv);
            asked += u32::from(!reply.starts_with(b"-"));
            allowed += u32::from(reply.starts_with(b"+OK"));
        }
    }
    // Otherwise the test tests nothing.
    assert!(accepted > 50 && allowed > 100 && allowed < asked - 100);
}

/// What ACL LOG shows, without what no two servers have in common.
fn log_of(client: &mut Client) -> Vec<(String, String)> {
    const OWN: &[&str] = &[
        "age-seconds",
        "client-info",
        "timestamp-created",
        "timestamp-last-updated",
    ];
    let log = client.cmd(&["ACL", "LOG", "100"]);
    let fields = log.items().iter().flat_map(|entry| entry.items().chunks(2));
    let text = |field: &[Reply]| (field[0].text(), format!("{:?}", field[1]));
    fields
        .map(text)
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .collect()
}

#[test]
fn denials_are_told_and_logged_as_in_valkey() {
    let Some(mut both) = Both::start(&[]) else {
        return;
    };
    let rules = [
        "on",
        ">p",
        "~a*",
        "%R~r*",
        "%W~w*",
        "&c*",
        "db=0,1",
        "-@all",
        "+@read",
        "+@write",
        "+@pubsub",
        "+select",
        "+multi",
        "+exec",
        "+eval",
        "+acl|whoami",
        "-del",
        "(+del ~d*)",
    ];
    both.same(&[&["ACL", "SETUSER", "u"][..], &rules].concat());
    let mut users = both.connect();
    let requests: &[&[&str]] = &[
        &["AUTH", "u", "wrong"],
        &["auth", "nobody", "p"],
        &["HELLO", "2", "AUTH", "u", "q"],
        &["AUTH", "u", "p"],
        &["ACL", "WHOAMI"],
        &["GET", "a"],
        &["GET", "b"],
        &["get", "b"],
        &["GET", "w1"],
        &["SET", "r1", "x"],
        &["SET", "w1", "x"],
        &["DEL", "a"],
        &["DEL", "d1"],
        &["CONFIG", "GET", "x"],
        &["config", "nosuch"],
        &["nosuch"],
        &["SELECT", "2"],
        &["SELECT", "1"],
        &["COPY", "a", "a2", "DB", "3"],
        &["FLUSHALL"],
        &["PUBLISH", "x", "m"],
        &["PUBLISH", "c1", "m"],
        &["PSUBSCRIBE", "x*"],
        &["MULTI"],
        &["GET", "a"],
        &["GET", "b"],
        &["EXEC"],
        &["EVAL", "return redis.call('get', 'b')", "0"],
        &["EVAL", "return redis.pcall('del', KEYS[1])", "1", "a"],
        &["EVAL", "return redis.call('get', KEYS[1])", "1", "b"],
        &["ACL", "LIST"],
    ];
    for argv in requests {
        let replies: Vec<_> = users.iter_mut().map(|client| client.raw(argv).0).collect();
        assert_eq!(show(&replies[0]), show(&replies[1]), "{argv:?}");
    }
    let logs: Vec<_> = both.clients.iter_mut().map(log_of).collect();
    assert!(logs[0].len() > 60, "{:?}", logs[0]);
    assert_eq!(logs[0], logs[1]);
    both.same(&["ACL", "LOG", "RESET"]);
    both.same(&["ACL", "LOG"]);
}

#[test]
fn categories_hold_the_same_commands() {
    let Some(mut both) = Both::start(&[]) else {
        return;
    };
    let categories = both.clients[1].cmd(&["ACL", "CAT"]);
    both.same(&["ACL", "CAT"]);
    let known = both.clients[0].cmd(&["COMMAND", "LIST"]);
    let others = both.clients[1].cmd(&["COMMAND", "LIST"]);
    let in_both = |name: &Reply| known.items().contains(name) && others.items().contains(name);
    for category in categories.items() {
        let category = category.text();
        let lists: Vec<Vec<Reply>> = (both.clients.iter_mut())
            .map(|client| {
                let list = client.cmd(&["ACL", "CAT", &category]);
                let mut list: Vec<Reply> = list
                    .items()
                    .iter()
                    .filter(|name| in_both(name))
                    .cloned()
                    .collect();
                list.sort();
                list
            })
            .collect();
        assert!(!lists[0].is_empty(), "{category}");
        assert_eq!(
            format!("{:?}", lists[0]),
            format!("{:?}", lists[1]),
            "{category}"
        );
    }
}

/// Lines that files of users are made of.
const LINES: &[&str] = &[
    "user u on >a ~a* +get",
    "user v off nopass (+get ~a) &c",
    "  user w   on\r",
    "",
    "\t",
    "user",
    "user ",
    "user  x on",
    "users x on",
    "# comment",
    "user x +nosuch",
    "user x ~a b",
    "user x (+get",
    "user u on",
    "user x nonsense +nosuch",
    "user x (~a\t~b) db=1",
    "user default on nopass +@all ~* &*",
    "user 'q' on",
    "user x\u{b}y on",
    "user x +config|get|y",
    "user x +select|0 -@all",
];

#[test]
fn files_of_users_are_taken_over_as_in_valkey() {
    let Some(root) = crate::harness::oracle() else {
        return;
    };
    // Both see the file under one path: its folder is in the oracle's /tmp, and a link leads there.
    let folder = tempfile::tempdir_in(root.join("tmp")).expect("a folder in the oracle");
    let name = folder.path().file_name().expect("a name");
    let seen = Path::new("/tmp").join(name);
    let link = Link(seen.clone());
    std::os::unix::fs::symlink(folder.path(), &link.0).expect("a link");
    let (file, path) = (folder.path().join("users.acl"), seen.join("users.acl"));
    fs::write(&file, "user default on nopass ~* &* +@all\n").expect("a file");
    let mut both = Both::start(&["--aclfile", path.to_str().expect("a path")]).expect("the oracle");
    let mut rng = Rng::new(env_number("KIVI_TEST_SEED", 9));
    let mut loaded = 0;
    for _ in 0..env_number("KIVI_TEST_ROUNDS", 150) {
        let lines: Vec<&str> = (0..1 + rng.below(4)).map(|_| *rng.pick(LINES)).collect();
        fs::write(&file, lines.join("\n")).expect("a file");
        loaded += u32::from(both.same(&["ACL", "LOAD"]).starts_with(b"+OK"));
        both.same(&["ACL", "LIST"]);
    }
    assert!(loaded > 10, "{loaded}");
    // What one has saved the other reads.
    let rules = [
        "on",
        ">p",
        "~a*",
        "(+get ~b %R~c)",
        "db=1",
        "+@read",
        "-get",
    ];
    both.same(&[&["ACL", "SETUSER", "saved"][..], &rules].concat());
    let saved: Vec<String> = (0..2)
        .map(|at| {
            assert_eq!(both.clients[at].raw(&["ACL", "SAVE"]), b"+OK\r\n");
            fs::read_to_string(&file).expect("a file")
        })
        .collect();
    assert_eq!(saved[0], saved[1]);
    assert!(saved[0].contains("user saved on #"));
}

/// A link that goes with the test.
struct Link(PathBuf);

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
