//! Geo commands in both encodings and both protocols, as Valkey 9.1.2 answered: `valkey.txt` is a
//! transcript of a real server, one request a line, then how far it moved keyspace_hits,
//! keyspace_misses and rdb_changes_since_last_save, then its replies. There is one; or two, in RESP2
//! and in RESP3; or four, the last two with zset-max-listpack-entries 0.

use crate::commands::tests::Test;
use crate::commands::tests::transcript::Transcript;
use crate::resp::read::Reply as Parsed;
use crate::util::rng::Rng;

const TRANSCRIPT: &str = include_str!("valkey.txt");

/// A server in which small sets are listpacks, and one in which all are large.
fn tests() -> [Test; 2] {
    [
        Test::with(&[]),
        Test::with(&["--zset-max-listpack-entries", "0"]),
    ]
}

#[test]
fn everything_is_as_valkey_answers_it() {
    let transcript = Transcript {
        text: TRANSCRIPT,
        variants: 4,
        least: 2000,
    };
    let start = |variant| {
        let entries = if variant < 2 { "128" } else { "0" };
        Test::with(&["--zset-max-listpack-entries", entries])
    };
    transcript.replay(start, str::to_owned);
}

#[test]
fn every_row_is_in_the_transcript() {
    for row in super::COMMANDS {
        let start = format!("\n{} ", row.name);
        assert!(TRANSCRIPT.contains(&start), "{}", row.name);
    }
}

#[test]
fn the_key_that_is_written_is_known_before() {
    for (request, keys) in [
        ("georadius k 0 0 1 km", "k"),
        ("georadius k 0 0 1 km store a", "k a"),
        ("georadius k 0 0 1 km STOREDIST a desc", "k a"),
        ("georadius k 0 0 1 km store a storedist b", "k b"),
        ("georadius k 0 0 1 km storedist b store a", "k a"),
        ("georadius k 0 0 1 km store store", "k store"),
        ("georadius k 0 0 1 km store a store", "k a"),
        ("georadius k 0 0 1 store d", "k d"),
        (
            "georadiusbymember k 0 0 km STORE a STORE b COUNT store c",
            "k c",
        ),
        ("georadiusbymember k store 1 km", "k"),
        ("georadius_ro k 0 0 1 km store a", "k"),
        ("geosearchstore d s frommember m byradius 1 km", "d s"),
    ] {
        let reply = Test::new()
            .run(&format!("COMMAND GETKEYS {request}"))
            .text();
        let keys: Vec<&str> = keys.split(' ').collect();
        let expected: Vec<String> = keys.iter().map(|k| format!(" ${} {k}", k.len())).collect();
        assert_eq!(
            reply,
            format!("*{}{}", keys.len(), expected.concat()),
            "{request}"
        );
    }
    Test::new()
        .run("COMMAND GETKEYSANDFLAGS georadius k 0 0 1 km store a storedist b")
        .is("*2 *2 $1 k *2 +RO +access *2 $1 b *2 +OW +update");
}

/// The results of a search, with all that can be asked for.
fn results(t: &mut Test, request: &str) -> Vec<Parsed> {
    let reply = t.run(request);
    match Parsed::parse_all(&reply.0)
        .expect("a well-formed reply")
        .remove(0)
    {
        Parsed::Array(results) => results,
        other => panic!("{request}: {other:?}"),
    }
}

/// Both encodings find the same, in the same order, however they search.
#[test]
fn encodings_agree() {
    let mut rng = Rng::from_seed(11);
    let mut number = |from: f64, to: f64| {
        from + (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * (to - from)
    };
    for round in 0..8 {
        let [mut small, mut large] = tests();
        let (west, south) = (number(-200.0, 200.0), number(-90.0, 90.0));
        let width = number(0.001, 1.0).powi(4) * 100.0;
        for member in 0..120 {
            let longitude = (west + number(0.0, width) + 540.0).rem_euclid(360.0) - 180.0;
            let latitude = (south + number(0.0, width)).clamp(-85.05, 85.05);
            let add = format!("GEOADD k {longitude} {latitude} m{member}");
            small.run(&add).is(":1");
            large.run(&add).is(":1");
        }
        let mut found = 0;
        for _ in 0..40 {
            let member = number(0.0, 120.0) as usize;
            let (w, h) = (number(0.0, width * 120.0), number(0.0, width * 120.0));
            let shape = match round % 2 {
                0 => format!("BYRADIUS {w} km"),
                _ => format!("BYBOX {w} {h} km"),
            };
            for order in ["", "ASC", "DESC", "COUNT 7", "COUNT 7 ANY"] {
                let request = format!(
                    "GEOSEARCH k FROMMEMBER m{member} {shape} {order} WITHDIST WITHHASH WITHCOORD"
                );
                let results = results(&mut small, &request);
                assert_eq!(results, self::results(&mut large, &request), "{request}");
                found += results.len();
            }
        }
        assert!(found > 200, "{found}");
    }
}

#[test]
fn many_corners_and_many_points() {
    let mut t = Test::new();
    let mut request = b"GEOSEARCH k BYPOLYGON 2000".to_vec();
    for corner in 0..2000 {
        let angle = f64::from(corner) / 2000.0 * std::f64::consts::TAU;
        let corner = format!(" {} {}", 10.0 * angle.cos(), 10.0 * angle.sin());
        request.extend_from_slice(corner.as_bytes());
    }
    for at in 0..400 {
        let (east, north) = (at % 20, at / 20);
        t.run(&format!("GEOADD k {} {} m{at}", east - 10, north - 10));
    }
    let found = results(&mut t, std::str::from_utf8(&request).unwrap());
    // The points of a lattice in a circle of this radius; those on its line are a bit outside.
    let inside = (-10i32..10).flat_map(|x| (-10i32..10).map(move |y| x * x + y * y));
    let inside = inside.filter(|&square| square < 100).count();
    assert!(
        found.len().abs_diff(inside) <= 8,
        "{} {inside}",
        found.len()
    );
}

#[test]
fn a_result_may_replace_the_set_that_was_searched() {
    for mut t in tests() {
        t.run("GEOADD k 1 1 a 2 2 b 50 50 c");
        t.run("GEORADIUS k 1 1 1000 km STORE k").is(":2");
        t.run("ZRANGE k 0 -1").is("*2 $1 a $1 b");
        t.run("GEOSEARCHSTORE k k FROMMEMBER a BYRADIUS 1 m STOREDIST")
            .is(":1");
        t.run("ZRANGE k 0 -1 WITHSCORES").has("$1 a $1 0");
        t.run("GEOSEARCHSTORE k k FROMLONLAT 170 80 BYRADIUS 1 m")
            .is(":0");
        t.run("EXISTS k").is(":0");
    }
}

/// Its middle is off the map, where Valkey has no cell to begin with.
#[test]
fn a_polygon_around_a_pole_is_searched() {
    for mut t in tests() {
        t.run("GEOADD k 0 84 a 60 84.5 b -60 82 c 170 84 d 100 81 e");
        let polygon = "BYPOLYGON 4 -180 80 -60 85 60 85 180 80";
        t.run(&format!("GEOSEARCH k {polygon} COUNT 9"))
            .is("*4 $1 b $1 e $1 a $1 c");
        t.run(&format!("GEOSEARCH k {polygon} COUNT 2 ANY"))
            .has("*2 ");
    }
}
