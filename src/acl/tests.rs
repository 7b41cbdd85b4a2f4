//! Users, their rights and their passwords, without a server.

use std::sync::Arc;

use super::*;
use crate::db::DbIndex;
use crate::resp::parse::{Argv, Span};
use crate::spec::{Channels, Command, Databases, Flags, KeyFlags, KeySpec};
use crate::util::rng::Rng;

mod model;

const READS: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const WRITES: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);
const CHANGES: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);

const fn row(name: &'static str, flags: Flags) -> Command<()> {
    Command::new(name, -1, flags, ())
}

/// A few commands of every kind, by number.
const ROWS: &[Command<()>] = &[
    row("get", Flags::READONLY).keys(&[KeySpec::at(1, READS)]),
    row("set", Flags::WRITE).keys(&[KeySpec::at(1, WRITES)]),
    row("getset", Flags::WRITE).keys(&[KeySpec::at(1, CHANGES)]),
    row("mget", Flags::READONLY).keys(&[KeySpec::range(1, -1, 1, READS)]),
    row("exists", Flags::READONLY).keys(&[KeySpec::at(1, KeyFlags::RO)]),
    row("copy", Flags::WRITE)
        .keys(&[KeySpec::at(1, READS), KeySpec::at(2, WRITES)])
        .databases(Databases::Also(|argv| (3..argv.len().min(4)).collect())),
    row("zunionstore", Flags::WRITE)
        .keys(&[KeySpec::at(1, WRITES), KeySpec::keynum(2, 1, 1, READS)]),
    row("select", Flags::NONE).databases(Databases::Named(&[1])),
    row("swapdb", Flags::WRITE).databases(Databases::Named(&[1, 2])),
    row("flushall", Flags::WRITE).databases(Databases::All),
    row("publish", Flags::PUBSUB).channels(Channels::First),
    row("subscribe", Flags::PUBSUB).channels(Channels::All),
    row("psubscribe", Flags::PUBSUB).channels(Channels::Patterns),
    row("ping", Flags::FAST),
    row("auth", Flags::NO_AUTH),
    row("config", Flags::NONE),
    row("get", Flags::ADMIN),
    row("set", Flags::ADMIN),
];

/// `config` and its subcommands.
const CONFIG: u16 = 15;

/// The catalogue of [`ROWS`].
pub(super) fn catalog() -> Catalog {
    let entries = (0..).zip(ROWS).map(|(id, row)| CatalogEntry {
        full_name: match id > CONFIG {
            true => format!("config|{}", row.name).into(),
            false => row.name.into(),
        },
        categories: row.acl_categories(),
        no_auth: row.flags.has(Flags::NO_AUTH),
        is_hidden: false,
        parent: (id > CONFIG).then_some(CONFIG),
        subcommands: match id == CONFIG {
            true => vec![CONFIG + 1, CONFIG + 2],
            false => Vec::new(),
        },
    });
    Catalog::new(entries.collect())
}

/// Sixteen databases.
pub(super) fn world(catalog: &Catalog) -> World<'_> {
    World {
        catalog,
        databases: 16,
        all_channels: false,
    }
}

/// What is asked about, with what it lies in.
struct Asked {
    command: u16,
    db: u32,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Asked {
    fn new(command: u16, db: u32, words: &[&[u8]]) -> Asked {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        for word in words {
            spans.push(Span {
                start: bytes.len() as u32,
                len: word.len() as u32,
            });
            bytes.extend_from_slice(word);
        }
        Asked {
            command,
            db,
            bytes,
            spans,
        }
    }

    fn line(line: &str, db: u32) -> Asked {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = ROWS.iter().position(|row| row.name.as_bytes() == words[0]);
        Asked::new(command.expect("a command") as u16, db, &words)
    }

    fn request(&self) -> Request<'_, ()> {
        Request {
            command: self.command,
            row: &ROWS[usize::from(self.command)],
            argv: Argv::new(&self.bytes, &self.spans),
            db: DbIndex(self.db),
        }
    }
}

fn rights_of(rules: &str) -> Rights {
    let catalog = catalog();
    let world = world(&catalog);
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    rules::apply(&Rights::new_user(world), &rules, world).unwrap()
}

fn check(rules: &str, line: &str) -> Result<(), Denial> {
    rights_of(rules).check(&Asked::line(line, 0).request())
}

#[test]
fn only_the_right_password_of_the_right_user_is_let_in() {
    let acl = Acl::default();
    acl.set_default_password(b"secret");
    assert!(acl.must_log_in());
    assert!(acl.log_in(b"default", b"secret").is_some());
    for (user, password) in [
        ("default", ""),
        ("default", "secre"),
        ("default", "secrets"),
        ("default", "Secret"),
        ("Default", "secret"),
        ("", "secret"),
        ("nobody", "secret"),
    ] {
        let user = acl.log_in(user.as_bytes(), password.as_bytes());
        assert!(user.is_none(), "{password}");
    }
}

#[test]
fn without_a_password_any_will_do() {
    let acl = Acl::default();
    assert!(!acl.must_log_in());
    assert!(acl.log_in(b"default", b"").is_some());
    assert!(acl.log_in(b"default", b"any").is_some());
    assert!(acl.log_in(b"nobody", b"any").is_none());
}

#[test]
fn a_login_follows_its_user() {
    let user = Arc::new(User::new(b"anna", Rights::unrestricted()));
    let mut login = Login::new(user.clone());
    let catalog = catalog();
    user.set_rights(Rights::new_user(world(&catalog)));
    assert!(login.rights().is_unrestricted());
    login.renew();
    assert!(!login.rights().is_unrestricted());
}

#[test]
fn rules_apply_all_or_none() {
    let catalog = catalog();
    let world = world(&catalog);
    let acl = Acl::default();
    acl.set_user(b"anna", &[b"on", b"+get"], world).unwrap();
    let before = acl.user(b"anna").unwrap().rights();
    assert!(acl.set_user(b"anna", &[b"+set", b"nosuch"], world).is_err());
    assert_eq!(acl.user(b"anna").unwrap().rights(), before);
    assert!(acl.set_user(b"bert", &[b"on", b"(+get"], world).is_err());
    assert!(acl.user(b"bert").is_none());
}

#[test]
fn whoever_is_deleted_is_another_when_he_comes_back() {
    let catalog = catalog();
    let world = world(&catalog);
    let acl = Acl::default();
    acl.set_user(b"anna", &[b"on"], world).unwrap();
    let gone = acl.user(b"anna").unwrap();
    assert!(acl.delete_user(b"default").is_none());
    assert!(
        acl.delete_user(b"anna")
            .is_some_and(|user| Arc::ptr_eq(&user, &gone))
    );
    assert!(gone.is_deleted() && acl.delete_user(b"anna").is_none());
    acl.set_user(b"anna", &[b"on"], world).unwrap();
    assert!(!Arc::ptr_eq(&acl.user(b"anna").unwrap(), &gone));
}

/// As Valkey 9.1.2 answers.
#[test]
fn what_is_lacking_is_told() {
    use Denial::*;
    for (rules, line, expected) in [
        ("+@all ~k db=1", "get x", Err(Database(0))),
        ("+get ~k db=1", "set x", Err(Database(0))),
        ("+@all ~k db=0", "get x", Err(Key(1))),
        ("+@all ~k db=0 (+@all db=1 ~*)", "get x", Err(Key(1))),
        ("+@all ~k db=1 (+@all db=0 ~k)", "get x", Err(Key(1))),
        ("+@all ~* db=0", "copy x k 2", Err(Database(3))),
        ("+@all ~* db=0", "copy x k 99", Ok(())),
        ("+@all ~k db=0", "copy x k 2", Err(Database(3))),
        ("+@all ~k", "mget k x y", Err(Key(2))),
        ("+@all ~k (+@all ~k ~x)", "mget k x y", Err(Key(3))),
        ("+@all ~k (+@all ~k ~x)", "mget k y x", Err(Key(2))),
        (
            "+@all ~* db=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "flushall",
            Ok(()),
        ),
        (
            "+@all ~* db=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14",
            "flushall",
            Err(Database(0)),
        ),
        ("+@all db=0,1", "swapdb 0 1", Ok(())),
        ("+@all db=0,1", "swapdb 3 2", Err(Database(1))),
        ("+@all db=1,2", "swapdb 1 2", Ok(())),
        ("+@all db=0", "select 5", Err(Database(1))),
        ("+@all db=0 (+ping)", "select 5", Err(Command)),
        ("+@all db=0", "select 05", Ok(())),
        ("+@all resetdbs", "ping", Ok(())),
        ("-@all resetdbs", "auth x", Ok(())),
        ("-@all", "ping", Err(Command)),
        ("+subscribe &c", "subscribe c a", Err(Channel(2))),
        ("+subscribe &*", "subscribe c a", Ok(())),
        ("+psubscribe &c*", "psubscribe c* a", Err(Channel(2))),
        ("+psubscribe &c*", "psubscribe c", Err(Channel(1))),
        ("+publish &c*", "publish cx m", Ok(())),
        ("+@all ~x", "zunionstore y 5 a", Err(Key(1))),
        ("+@all ~x", "zunionstore x 5 a", Ok(())),
        ("+@all ~x", "zunionstore y 1 x", Err(Key(1))),
        ("+@all %W~x", "get x", Err(Key(1))),
        ("+@all %R~x", "set x", Err(Key(1))),
        ("+@all %W~x", "exists x", Ok(())),
        ("+@all resetkeys", "exists x", Err(Key(1))),
        ("+@all %R~x %W~x", "getset x", Ok(())),
        ("+@all %R~x* %W~*x", "getset x", Err(Key(1))),
        ("+select|0", "select 0", Ok(())),
        ("+select|0", "select 1", Err(Command)),
        ("~* +set|AB", "set ab", Ok(())),
    ] {
        assert_eq!(check(rules, line), expected, "{rules}: {line}");
    }
}

#[test]
fn channels_that_are_lost_are_known() {
    let before = rights_of("&a &b*");
    for (rules, has_lost) in [
        ("&a &b*", false),
        ("&b* &a &c", false),
        ("&*", false),
        ("&a (&b*)", false),
        ("&a", true),
        ("&a &b", true),
    ] {
        let now = rights_of(rules);
        assert_eq!(
            Rights::has_lost_channels(&before, &now),
            has_lost,
            "{rules}"
        );
    }
    assert!(Rights::has_lost_channels(&rights_of("&*"), &before));
    assert!(before.keeps_channel(b"bx", false) && !before.keeps_channel(b"bx", true));
    assert!(before.keeps_channel(b"b*", true) && !before.keeps_channel(b"c", false));
}

#[test]
fn reading_any_key_takes_a_selector_that_may() {
    let asked = Asked::line("get x", 0);
    for (rules, may) in [
        ("+@all ~*", true),
        ("+@all %R~*", true),
        ("+@all ~x", false),
        ("+@all %W~*", false),
        ("+@all ~x (~*)", false),
        ("(+get %R~*)", true),
    ] {
        let may_so = rights_of(rules).check_unrestricted(&asked.request());
        assert_eq!(may_so, may, "{rules}");
    }
    let rights = rights_of("%R~a* %W~b* (db=1 ~c*)");
    for (key, db, may) in [
        ("a1", 0, true),
        ("b1", 0, false),
        ("c1", 0, false),
        ("c1", 1, true),
    ] {
        assert_eq!(
            rights.may_read(key.as_bytes(), DbIndex(db)),
            may,
            "{key} {db}"
        );
    }
}

#[test]
fn denials_about_the_same_are_counted_together() {
    let log = Log::default();
    log.set_len_max(12);
    let record = |object: &str, now_ms: u64| {
        log.record(Entry {
            reason: Reason::Key,
            context: Context::TopLevel,
            object: object.as_bytes(),
            username: b"anna",
            client_info: Vec::new(),
            now_ms,
        });
    };
    let seen = || -> Vec<(String, u64, u64)> {
        let entries = log.newest(usize::MAX).into_iter();
        let shown = |entry: Recorded| {
            let object = String::from_utf8(entry.object).unwrap();
            (object, entry.count, entry.id)
        };
        entries.map(shown).collect()
    };
    let is = |object: &str, count, id| (object.to_owned(), count, id);
    record("a", 0);
    record("b", 10);
    record("a", 60_000);
    assert_eq!(seen(), [is("a", 2, 0), is("b", 1, 1)]);
    record("b", 60_011);
    assert_eq!(seen(), [is("b", 1, 2), is("a", 2, 0), is("b", 1, 1)]);
    // Only the newest ten are looked through.
    (0..9).for_each(|at| record(&at.to_string(), 60_012));
    record("a", 60_013);
    let entries = seen();
    assert_eq!((entries.len(), &entries[0]), (12, &is("a", 1, 12)));
    record("b", 60_014);
    assert_eq!(seen()[0], is("b", 1, 13));
    log.set_len_max(3);
    assert_eq!(log.newest(usize::MAX).len(), 3);
    log.reset();
    assert!(log.newest(1).is_empty());
}
