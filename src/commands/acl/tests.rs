//! ACL, through sessions: replies in both protocols, the file of users, lines of the configuration, and
//! what a password of the configuration does.

use std::fs;

use crate::commands::tests::Test;

/// A server with directives, and a folder for its files.
fn with_folder(args: &[&str]) -> (Test, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.acl");
    fs::write(&file, "").unwrap();
    let aclfile = ["--aclfile", file.to_str().unwrap()];
    (Test::with(&[args, &aclfile[..]].concat()), folder)
}

/// The lines of ACL LIST.
fn users(test: &mut Test) -> Vec<String> {
    let listed = test.run("ACL LIST").text();
    let lines = listed.split(" $").skip(1);
    lines
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

#[test]
fn a_user_is_told_in_both_protocols() {
    let mut test = Test::new();
    test.run("ACL SETUSER anna on >a ~x* (+get %R~y db=1) +@read -mget &c")
        .is("+OK");
    let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    test.run("ACL GETUSER anna").is(&format!(
        "*14 $5 flags *1 $2 on $9 passwords *1 $64 {hash} $8 commands $18 -@all +@read -mget $4 keys \
         $3 ~x* $8 channels $2 &c $9 databases $6 alldbs $9 selectors *1 *8 $8 commands $10 \
         -@all +get $4 keys $4 %R~y $8 channels $0  $9 databases $4 db=1"
    ));
    test.run("ACL GETUSER nobody").is("$-1");
    test.run("HELLO 3");
    test.run("ACL GETUSER default").is(
        "%7 $5 flags ~2 $2 on $6 nopass $9 passwords *0 $8 commands $5 +@all $4 keys $2 ~* \
         $8 channels $2 &* $9 databases $6 alldbs $9 selectors *0",
    );
    test.run("ACL GETUSER nobody").is("_");
    assert_eq!(
        users(&mut test),
        [
            format!(
                "user anna on #{hash} ~x* resetchannels &c -@all +@read -mget (%R~y resetchannels \
                 db=1 -@all +get)"
            ),
            "user default on nopass ~* &* +@all".to_owned(),
        ]
    );
    test.run("ACL USERS").is("*2 $4 anna $7 default");
    test.run("ACL WHOAMI").is("$7 default");
    test.run("ACL DELUSER nobody anna anna").is(":1");
    test.run("ACL USERS").is("*1 $7 default");
}

#[test]
fn what_is_wrong_is_told() {
    let mut test = Test::new();
    for (line, error) in [
        (
            "ACL SETUSER 'a b'",
            "Usernames can't contain spaces or null characters",
        ),
        (
            "ACL SETUSER a on nonsense",
            "Error in ACL SETUSER modifier 'nonsense': Syntax error",
        ),
        (
            "ACL SETUSER a (+get",
            "Unmatched parenthesis in acl selector starting at '(+get'.",
        ),
        (
            "ACL DELUSER a default",
            "The 'default' user cannot be removed",
        ),
        ("ACL CAT nosuch", "Unknown category 'nosuch'"),
        (
            "ACL CAT read x",
            "unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.",
        ),
        ("ACL nosuch", "unknown subcommand 'nosuch'. Try ACL HELP."),
        ("ACL DRYRUN nosuch get x", "User 'nosuch' not found"),
        ("ACL DRYRUN default nosuch", "Command 'nosuch' not found"),
        (
            "ACL DRYRUN default config nosuch",
            "Command 'config' not found",
        ),
        (
            "ACL DRYRUN default get",
            "wrong number of arguments for 'get' command",
        ),
        (
            "ACL GENPASS 0",
            "ACL GENPASS argument must be the number of bits for the output password, a positive \
             number up to 4096",
        ),
        ("ACL LOG x", "value is not an integer or out of range"),
    ] {
        test.run(line).is(&format!("-ERR {error}"));
    }
    test.run("ACL LOAD")
        .has("not configured to use an ACL file");
    test.run("ACL SAVE")
        .has("not configured to use an ACL file");
    test.run("ACL USERS").is("*1 $7 default");
}

#[test]
fn a_dry_run_tells_what_is_lacking() {
    let mut test = Test::new();
    test.run("ACL SETUSER d on ~k &c -@all +@read +publish +copy db=0");
    for (request, lacking) in [
        ("set k v", "run the 'set' command"),
        ("GET x", "access the 'x' key"),
        ("copy k k db 5", "access database 5"),
        ("publish x m", "access the 'x' channel"),
    ] {
        let text = format!("User d has no permissions to {lacking}");
        test.run(&format!("ACL DRYRUN d {request}"))
            .is(&format!("${} {text}", text.len()));
    }
    test.run("ACL DRYRUN d get k").is("+OK");
    test.run("ACL DRYRUN d publish c m").is("+OK");
    test.run("SELECT 1");
    test.run("ACL DRYRUN d GET k")
        .has("User d has no permissions to access database GET");
}

#[test]
fn passwords_are_made_up() {
    let mut test = Test::new();
    let mut seen = std::collections::BTreeSet::new();
    for (bits, digits) in [("", 64), ("5", 2), ("1", 1), ("4", 1), ("4096", 1024)] {
        let reply = test.run(&format!("ACL GENPASS {bits}")).text();
        let (len, password) = reply.split_once(' ').unwrap();
        assert_eq!((len, password.len()), (&*format!("${digits}"), digits));
        assert!(password.bytes().all(|digit| digit.is_ascii_hexdigit()));
        seen.insert(test.run("ACL GENPASS").text());
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn users_go_to_a_file_and_come_back() {
    let (mut test, folder) = with_folder(&[]);
    let file = folder.path().join("users.acl");
    test.run("ACL SETUSER anna on >a ~x* (+get ~y) +@read")
        .is("+OK");
    test.run("ACL SETUSER bert off nopass").is("+OK");
    test.run("ACL SAVE").is("+OK");
    let before = users(&mut test);
    let saved = fs::read_to_string(&file).unwrap();
    assert_eq!(saved, before.join("\n") + "\n");
    test.run("ACL SETUSER anna reset").is("+OK");
    test.run("ACL SETUSER carl on").is("+OK");
    test.run("ACL DELUSER bert").is(":1");
    test.run("ACL LOAD").is("+OK");
    assert_eq!(users(&mut test), before);
    // What is wrong anywhere changes nothing.
    fs::write(
        &file,
        "user anna off\n\n  foo\r\nuser bert +nosuch\nuser carl ~a b\nuser carl\n",
    )
    .unwrap();
    let path = file.display();
    test.run("ACL LOAD").is(&format!(
        "-ERR {path}:3 should start with user keyword followed by the username. {path}:4: Error in \
         applying operation '+nosuch': Unknown command or category name in ACL. {path}:5: Syntax \
         error. WARNING: Duplicate user 'carl' found on line 6. WARNING: ACL errors detected, no \
         change to the previously active ACL rules was performed"
    ));
    assert_eq!(users(&mut test), before);
    fs::write(&file, "user a\u{b}b on\nuser c (+get").unwrap();
    test.run("ACL LOAD").is(&format!(
        "-ERR '{path}:1: username 'a\u{b}b' contains invalid characters. {path}:2: Unmatched \
         parenthesis in selector definition.WARNING: ACL errors detected, no change to the \
         previously active ACL rules was performed"
    ));
    fs::remove_file(&file).unwrap();
    test.run("ACL LOAD").is(&format!(
        "-ERR Error loading ACLs, opening file '{path}': No such file or directory"
    ));
    assert_eq!(users(&mut test), before);
    // Without a default user in the file, that is as it was at first.
    test.run("CONFIG SET requirepass secret").is("+OK");
    fs::write(&file, "user anna on nopass").unwrap();
    test.run("ACL LOAD").is("+OK");
    assert_eq!(
        users(&mut test),
        [
            "user anna on nopass resetchannels -@all",
            "user default on nopass ~* &* +@all"
        ]
    );
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    test.run("ACL SAVE").is(
        "-ERR There was an error trying to save the ACLs. Please check the server logs for more \
             information",
    );
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file stays");
}

/// A configuration file with these lines, and a server that was started with it.
fn with_config(lines: &str) -> (Test, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kivi.conf");
    fs::write(&file, lines).unwrap();
    (Test::with(&[file.to_str().unwrap()]), folder)
}

#[test]
fn users_of_the_configuration_are_rewritten() {
    let lines = "# mine\nuser anna on >a ~x* (+get ~y)\nmaxclients 100\nuser default off\n";
    let (test, folder) = with_config(lines);
    let file = folder.path().join("kivi.conf");
    let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let anna =
        format!("user anna on #{hash} ~x* resetchannels -@all (~y resetchannels -@all +get)");
    let default = "user default off resetchannels -@all";
    let server = test.session.server().clone();
    let acl = |line: &str| {
        let user = server.acl.user(line.as_bytes()).unwrap();
        let rules = crate::acl::describe_user(&user.rights());
        format!("user {line} {}", String::from_utf8(rules).unwrap())
    };
    assert_eq!(
        (acl("anna"), acl("default")),
        (anna.clone(), default.to_owned())
    );
    let rewrite = || {
        let users = super::config_lines(&server, &server.config());
        server
            .with_config_store(|store| store.rewrite(users))
            .unwrap();
        fs::read_to_string(&file).unwrap()
    };
    let written = rewrite();
    // The hash is quoted, so that it is taken for no comment.
    let quoted = anna.replace(&format!("#{hash}"), &format!("\"#{hash}\""));
    assert_eq!(
        written,
        format!("# mine\n{quoted}\n{default}\nmaxclients 100\n")
    );
    assert_eq!(rewrite(), written);
    // What was rewritten is what a start makes.
    let again = Test::with(&[file.to_str().unwrap()]);
    let user = again.session.server().acl.user(b"anna").unwrap();
    assert_eq!(user.rights(), server.acl.user(b"anna").unwrap().rights());
}

#[test]
fn users_of_a_toml_file_are_rewritten_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kivi.toml");
    let text = "# mine\nuser = [[\"anna\", \"on\", \"~x\"]]\nmaxclients = 100\n";
    fs::write(&file, text).unwrap();
    let mut test = Test::with(&[file.to_str().unwrap()]);
    test.run("ACL SETUSER bert on (+get ~y)").is("+OK");
    test.run("CONFIG REWRITE").is("+OK");
    let before = users(&mut test);
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("# mine\nuser = ") && written.ends_with("maxclients = 100\n"));
    let mut again = Test::with(&[file.to_str().unwrap()]);
    assert_eq!(users(&mut again), before);
}

#[test]
fn users_that_an_included_file_defines_are_not_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (file, more) = (
        folder.path().join("kivi.conf"),
        folder.path().join("more.conf"),
    );
    fs::write(&more, "user anna on\n").unwrap();
    let text = format!("include {}\n", more.display());
    fs::write(&file, &text).unwrap();
    let mut test = Test::with(&[file.to_str().unwrap()]);
    test.run("ACL SETUSER anna off").is("+OK");
    test.run("CONFIG REWRITE")
        .is("-ERR Rewriting config file: an included file overrules 'user'");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn wrong_users_of_the_configuration_end_the_start() {
    let table = crate::commands::CommandTable::new(&[]).unwrap();
    let check = |users: &[&str]| {
        let mut config = crate::config::Config::default();
        let line = |user: &&str| user.split(' ').map(|word| word.into()).collect();
        config.users = users.iter().map(line).collect();
        let world = crate::acl::World {
            catalog: table.acl_catalog(),
            databases: 16,
            all_channels: false,
        };
        super::load(&crate::acl::Acl::default(), &config, world)
    };
    assert_eq!(check(&["a on +get", "b off"]), Ok(()));
    for (users, error) in [
        (
            &["a on +nosuch"][..],
            "Error loading ACL rule '+nosuch' for the user named 'a': Unknown command or category \
             name in ACL",
        ),
        (
            &["a on", "a off"],
            "Error in user declaration 'a': Duplicate user found. A user can only be defined once \
             in config files",
        ),
        (
            &["a (+get"],
            "Unmatched parenthesis in acl selector starting at '(+get'. It is of the user named 'a'.",
        ),
    ] {
        assert_eq!(check(users), Err(error.to_owned()));
    }
}

#[test]
fn users_that_the_configuration_did_not_name_are_appended() {
    let (mut test, folder) = with_config("maxclients 100\nrequirepass a\n");
    let file = folder.path().join("kivi.conf");
    test.run("AUTH a").is("+OK");
    test.run("CONFIG REWRITE").is("+OK");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "maxclients 100\nrequirepass a\n"
    );
    test.run("ACL SETUSER anna on").is("+OK");
    test.run("CONFIG REWRITE").is("+OK");
    let written = fs::read_to_string(&file).unwrap();
    assert!(
        written.contains("\nuser anna on resetchannels -@all\n"),
        "{written}"
    );
    assert!(
        written.contains("\nuser default on \"#ca978112"),
        "{written}"
    );
}

#[test]
fn a_password_of_the_configuration_is_the_default_users_only_one() {
    let mut test = Test::with(&["--requirepass", "a"]);
    test.run("AUTH a").is("+OK");
    test.run("CONFIG SET requirepass b").is("+OK");
    test.run("AUTH default a").has("WRONGPASS");
    test.run("ACL SETUSER default >c").is("+OK");
    test.run("AUTH b").is("+OK");
    test.run("AUTH c").is("+OK");
    test.run("CONFIG GET requirepass")
        .is("*2 $11 requirepass $1 b");
    test.run("CONFIG SET requirepass d").is("+OK");
    test.run("AUTH c").has("WRONGPASS");
    test.run("CONFIG SET requirepass ''").is("+OK");
    assert_eq!(users(&mut test), ["user default on nopass ~* &* +@all"]);
    test.run("ACL SETUSER default resetpass").is("+OK");
    test.run("AUTH d").has("WRONGPASS");
    test.client().run("PING").has("NOAUTH");
}

#[test]
fn rules_name_commands_by_their_first_names() {
    let mut test = Test::with(&["--rename-command", "get", "fetch"]);
    test.run("ACL SETUSER a ~* +get").is("+OK");
    test.run("ACL SETUSER a +fetch")
        .has("Unknown command or category name in ACL");
    test.run("ACL DRYRUN a fetch x").is("+OK");
    test.run("ACL DRYRUN a get x")
        .is("-ERR Command 'get' not found");
}

#[test]
fn rules_may_name_what_only_valkey_has() {
    let mut test = Test::new();
    test.run("ACL SETUSER a +cluster|info -replicaof +@all -migrate -cluster")
        .is("+OK");
    assert_eq!(
        users(&mut test)[0],
        "user a off resetchannels +@all -migrate -cluster"
    );
    test.run("ACL DRYRUN a cluster info")
        .is("-ERR Command 'cluster' not found");
    test.run("ACL SETUSER a +cluster|nosuch")
        .has("Unknown command");
    let slow = test.run("ACL CAT slow").text();
    assert!(slow.contains("$3 del") && !slow.contains("migrate"));
}

#[test]
fn new_users_may_use_all_channels_if_that_is_the_default() {
    let mut test = Test::with(&["--acl-pubsub-default", "allchannels"]);
    test.run("ACL SETUSER a (+get)").is("+OK");
    assert_eq!(users(&mut test)[0], "user a off &* -@all (&* -@all +get)");
    test.run("CONFIG SET acl-pubsub-default resetchannels")
        .is("+OK");
    test.run("ACL SETUSER a reset").is("+OK");
    assert_eq!(users(&mut test)[0], "user a off resetchannels -@all");
}

#[test]
fn the_log_shows_what_was_denied() {
    let mut test = Test::new();
    test.run("ACL SETUSER anna on >a ~x +get").is("+OK");
    let mut anna = test.client();
    anna.run("AUTH anna a").is("+OK");
    anna.run("GET y").has("NOPERM");
    anna.run("GET y").has("NOPERM");
    anna.run("SET x 1").has("NOPERM");
    anna.run("AUTH anna b").has("WRONGPASS");
    test.clock.advance(1500);
    let log = test.run("ACL LOG").text();
    for part in [
        "*3 *20 $5 count :1 $6 reason $4 auth $7 context $8 toplevel $6 object $4 AUTH $8 username \
         $4 anna $11 age-seconds $3 1.5 $11 client-info ",
        "count :1 $6 reason $7 command $7 context $8 toplevel $6 object $3 set ",
        "count :2 $6 reason $3 key $7 context $8 toplevel $6 object $1 y ",
        " $8 entry-id :0 $17 timestamp-created :1700000000000 $22 timestamp-last-updated \
         :1700000000000",
    ] {
        assert!(log.contains(part), "no {part:?} in {log}");
    }
    test.run("ACL LOG 1").has("*1 *20 ");
    test.run("ACL LOG -1").is("*0");
    test.run("CONFIG SET acllog-max-len 2").is("+OK");
    test.run("ACL LOG").has("*2 *20 ");
    test.run("ACL LOG RESET").is("+OK");
    test.run("ACL LOG").is("*0");
}
