//! Fields of hashes vanish when they are due, as keys do: `expiry` for what is in a hash.

use std::time::{Duration, Instant};

use crate::client::{Client, Reply, encode};
use crate::expiry::{dbsize, info_number, pipeline};
use crate::harness::{PATIENCE, Server, env_number, eventually, eventually_within};

fn command(text: &str) -> Vec<u8> {
    encode(&text.split(' ').collect::<Vec<_>>())
}

fn cmd(client: &mut Client, text: &str) -> Reply {
    client.cmd(&text.split(' ').collect::<Vec<_>>())
}

/// Fields that are due may be out of sight before they are reclaimed and counted.
fn expect_expired(client: &mut Client, count: i64) {
    eventually("all fields that are due to be counted", || {
        (info_number(client, "expired_fields") >= count).then_some(())
    });
    assert_eq!(info_number(client, "expired_fields"), count);
}

#[test]
fn fields_vanish_without_being_touched() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let mut commands = Vec::new();
    for n in 0..1000 {
        let ms = 20 + n % 100;
        commands.push(command(&format!("HSETEX gone{n} PX {ms} FIELDS 2 a 1 b 2")));
        commands.push(command(&format!("HSET stays{n} a 1 b 2 c 3")));
        commands.push(command(&format!("HPEXPIRE stays{n} {ms} FIELDS 2 a c")));
    }
    commands.push(command("HSETEX long EX 1000 FIELDS 1 a 1"));
    pipeline(&mut client, commands.into_iter());
    eventually("hashes without fields to be gone", || {
        (dbsize(&mut client) == 1001).then_some(())
    });
    eventually("all fields that are due to be gone", || {
        (0..1000)
            .all(|n| cmd(&mut client, &format!("HLEN stays{n}")).int() == 1)
            .then_some(())
    });
    expect_expired(&mut client, 4000);
    assert_eq!(info_number(&mut client, "expired_keys"), 0);
    assert_eq!(cmd(&mut client, "HVALS stays7").items()[0].text(), "2");
    assert_eq!(cmd(&mut client, "HGET long a").text(), "1");
}

#[test]
fn an_expired_field_is_never_seen() {
    let server = Server::kivi(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    let life = Duration::from_millis(50);
    for round in 0..20 {
        // With and without the cycle that reclaims.
        cmd(
            &mut client,
            &format!("DEBUG SET-ACTIVE-EXPIRE {}", round % 2),
        );
        let key = format!("h{round}");
        cmd(&mut client, &format!("HSET {key} stays v"));
        let sent = Instant::now();
        cmd(&mut client, &format!("HSETEX {key} PX 50 FIELDS 1 f v"));
        let written = Instant::now();
        loop {
            let asked = Instant::now();
            let seen = match round % 4 {
                0 => cmd(&mut client, &format!("HGET {key} f")) != Reply::Nil,
                1 => cmd(&mut client, &format!("HGETALL {key}")).items().len() == 4,
                2 => cmd(&mut client, &format!("HEXISTS {key} f")).int() == 1,
                _ => {
                    cmd(&mut client, &format!("HSCAN {key} 0")).items()[1]
                        .items()
                        .len()
                        == 4
                }
            };
            // Asked this late, the field has been dead for at least 10 ms.
            let dead = asked > written + life + Duration::from_millis(10);
            assert!(
                !(dead && seen),
                "seen {:?} after its end",
                asked - written - life
            );
            if !seen {
                let age = sent.elapsed() + Duration::from_millis(2);
                assert!(age > life, "gone after {age:?} already");
                break;
            }
        }
        // As if it had never been.
        assert_eq!(
            cmd(&mut client, &format!("HTTL {key} FIELDS 1 f")).items(),
            [Reply::Int(-2)]
        );
        assert_eq!(cmd(&mut client, &format!("HINCRBY {key} f 5")).int(), 5);
        assert_eq!(
            cmd(&mut client, &format!("HTTL {key} FIELDS 1 f")).items(),
            [Reply::Int(-1)]
        );
    }
}

#[test]
fn an_expiry_of_a_field_that_was_taken_back_does_not_strike() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let changes = [
        "HPERSIST h FIELDS 1 f",
        "HEXPIRE h 1000 FIELDS 1 f",
        "HPEXPIREAT h 4102444800000 FIELDS 1 f",
        "HSET h f new",
        "HMSET h g 1 f new",
        "HSETEX h FIELDS 1 f new",
        "HSETEX h EX 1000 FIELDS 1 f new",
        "HGETEX h PERSIST FIELDS 1 f",
        "HDEL h f",
        "HGETDEL h FIELDS 1 f",
        "DEL h",
        "SET h text",
        "RENAME other{} h",
        "COPY other{} h REPLACE",
    ];
    let mut commands = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        for n in 0..50 {
            let key = format!("h{index}:{n}");
            let put = |text: &str| {
                let words = text
                    .split(' ')
                    .map(|word| if word == "h" { &key } else { word });
                command(&words.collect::<Vec<_>>().join(" ").replace("{}", &key))
            };
            commands.push(put("HSET other{} f other"));
            commands.push(put("HSETEX h PX 800 FIELDS 1 f old"));
            commands.push(put(change));
            if change.contains("DEL") {
                commands.push(put("HSET h f new"));
            }
        }
    }
    let due = (0..100).map(|n| command(&format!("HSETEX due{n} PX 1200 FIELDS 1 f v")));
    pipeline(&mut client, commands.into_iter().chain(due));
    // When those that were set last are gone, the old expiries have been due for long.
    eventually("the control hashes to be gone", || {
        let left = (0..100).any(|n| cmd(&mut client, &format!("EXISTS due{n}")).int() == 1);
        (!left).then_some(())
    });
    for (index, change) in changes.iter().enumerate() {
        for n in 0..50 {
            let key = format!("h{index}:{n}");
            if change.starts_with("SET") {
                assert_eq!(cmd(&mut client, &format!("GET {key}")).text(), "text");
            } else {
                assert_ne!(
                    cmd(&mut client, &format!("HGET {key} f")),
                    Reply::Nil,
                    "{change}"
                );
            }
        }
    }
    expect_expired(&mut client, 100);
}

#[test]
fn expiries_of_fields_go_where_their_hash_goes() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let mut commands = Vec::new();
    for n in 0..100 {
        for name in ["rename", "copy", "move", "keep", "stays"] {
            commands.push(command(&format!(
                "HSETEX {name}{n} PX 800 FIELDS 2 f v g w"
            )));
        }
        commands.push(command(&format!("RENAME rename{n} renamed{n}")));
        commands.push(command(&format!("COPY copy{n} copied{n}")));
        commands.push(command(&format!("COPY copy{n} copied{n} DB 3")));
        commands.push(command(&format!("MOVE move{n} 2")));
        commands.push(command(&format!("HSETEX keep{n} KEEPTTL FIELDS 1 f new")));
        commands.push(command(&format!("HINCRBY stays{n} h 1")));
        commands.push(command(&format!("HDEL stays{n} h")));
    }
    commands.push(command("SWAPDB 0 1"));
    pipeline(&mut client, commands.into_iter());
    for db in ["0", "1", "2", "3"] {
        client.cmd(&["SELECT", db]);
        eventually("the database to be empty", || {
            (dbsize(&mut client) == 0).then_some(())
        });
    }
    expect_expired(&mut client, 100 * 14);
}

#[test]
fn a_burst_of_due_fields_in_one_hash() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let count = env_number("KIVI_TEST_EXPIRY_KEYS", 100_000);
    let fields: Vec<String> = (0..count).map(|n| format!("f{n}")).collect();
    cmd(&mut client, "HSET hash stays v");
    let sets = fields.chunks(500).map(|some| {
        let pairs: Vec<String> = some.iter().map(|field| format!("{field} v")).collect();
        command(&format!("HSET hash {}", pairs.join(" ")))
    });
    pipeline(&mut client, sets);
    // One point in time for all, far enough away to say so before it.
    let clock: i64 = cmd(&mut client, "TIME").items()[0]
        .text()
        .parse()
        .expect("seconds");
    let at = clock + 3 + count as i64 / 200_000;
    let expiries = fields.chunks(5000).map(|some| {
        let (number, names) = (some.len(), some.join(" "));
        command(&format!("HEXPIREAT hash {at} FIELDS {number} {names}"))
    });
    pipeline(&mut client, expiries);
    eventually_within(PATIENCE * 4, "the burst to be gone", || {
        assert_eq!(cmd(&mut client, "HGET hash stays").text(), "v");
        (cmd(&mut client, "HLEN hash").int() == 1).then_some(())
    });
    expect_expired(&mut client, count as i64);
    let left = cmd(&mut client, "HGETALL hash");
    assert_eq!(left.items().len(), 2);
}
