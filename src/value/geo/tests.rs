//! Tests of positions, areas and searches against plain versions of them; what Valkey answers is in
//! the tests of the commands.

use super::grid::{Cell, LATITUDE_MAX, LONGITUDE_MAX, Position, STEPS_MAX, bits_of};
use super::order::{Order, sort, sort_within};
use super::search::{Found, search};
use super::window::{Overlap, Window};
use super::{Area, Shape, distance_m};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::util::rng::Rng;
use crate::value::Limits;
use crate::value::zset::{Member, NewZset, ZsetRef};

/// A number between two others.
fn between(rng: &mut Rng, from: f64, to: f64) -> f64 {
    from + (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * (to - from)
}

/// Positions of all kinds: anywhere, near an edge, on one.
fn any_position(rng: &mut Rng) -> Position {
    let longitude = match rng.next_u64() % 6 {
        0 => LONGITUDE_MAX,
        1 => -LONGITUDE_MAX,
        2 => between(rng, 179.9, 180.0),
        3 => between(rng, -180.0, -179.9),
        _ => between(rng, -180.0, 180.0),
    };
    let latitude = match rng.next_u64() % 6 {
        0 => LATITUDE_MAX,
        1 => -LATITUDE_MAX,
        2 => between(rng, 80.0, LATITUDE_MAX),
        3 => between(rng, -LATITUDE_MAX, -80.0),
        _ => between(rng, -LATITUDE_MAX, LATITUDE_MAX),
    };
    Position {
        longitude,
        latitude,
    }
}

/// Areas of all kinds around a position.
fn any_area(rng: &mut Rng, centre: Position) -> Area {
    let length = |rng: &mut Rng| 10f64.powf(between(rng, -1.0, 7.4));
    let shape = match rng.next_u64() % 5 {
        0 | 1 => Shape::Circle {
            radius: length(rng),
        },
        2 | 3 => Shape::Box {
            width: length(rng),
            height: length(rng),
        },
        _ => {
            let size = 10f64.powf(between(rng, -3.0, 1.8));
            let corners = (0..3 + rng.next_u64() % 4).map(|_| {
                let corner = Position {
                    longitude: centre.longitude + between(rng, -size, size),
                    latitude: centre.latitude + between(rng, -size, size),
                };
                corner.on_map()
            });
            return Area::of_polygon(corners.collect());
        }
    };
    Area {
        centre,
        shape,
        unit_m: [1.0, 1000.0, 0.3048][rng.next_u64() as usize % 3],
    }
}

#[test]
fn a_position_is_in_the_middle_of_its_score() {
    let mut rng = Rng::from_seed(1);
    for _ in 0..4000 {
        let position = any_position(&mut rng);
        let score = position.score();
        let middle = Position::of_score(score);
        assert!((middle.longitude - position.longitude).abs() < 361.0 / 2f64.powi(27));
        // On the very east edge a score has 54 bits, of which a double loses the row's last.
        let rows = if position.longitude == LONGITUDE_MAX {
            3.0
        } else {
            1.0
        };
        assert!((middle.latitude - position.latitude).abs() < rows * 171.0 / 2f64.powi(27));
        assert!(middle.is_on_map());
        let is_inside = position.longitude < LONGITUDE_MAX && position.latitude < LATITUDE_MAX;
        if is_inside {
            assert_eq!(middle.score(), score);
        }
        for steps in 1..=STEPS_MAX {
            let cell = Cell::of(position, steps);
            let (min, max) = cell.scores();
            // Above 2^53 not every integer is a double.
            let is_below = score < max || score >= 2f64.powi(53) && steps == STEPS_MAX;
            assert!(min <= score && is_below, "{position:?} {steps}");
            assert_eq!(Cell::of_bits(cell.bits(), steps), cell);
        }
    }
}

#[test]
fn quarters_divide_a_cell() {
    let mut rng = Rng::from_seed(2);
    for _ in 0..2000 {
        let steps = 1 + rng.next_u64() as u32 % (STEPS_MAX - 1);
        let cell = Cell::of(any_position(&mut rng), steps);
        let mut end = cell.scores().0;
        for quarter in cell.quarters() {
            assert_eq!(quarter.scores().0, end);
            end = quarter.scores().1;
        }
        assert_eq!(end, cell.scores().1);
    }
}

#[test]
fn behind_an_edge_is_the_opposite_one() {
    let cell = |column, row| Cell {
        column,
        row,
        steps: 3,
    };
    assert_eq!(cell(7, 7).beside(1, 1), cell(0, 0));
    assert_eq!(cell(0, 0).beside(-1, -1), cell(7, 7));
    assert_eq!(cell(3, 4).beside(-1, 0), cell(2, 4));
    // The line of the edge itself is left only by moving.
    assert_eq!(cell(8, 2).beside(0, 1), cell(8, 3));
    assert_eq!(cell(8, 2).beside(1, 0), cell(1, 2));
    assert_eq!(cell(8, 2).beside(-1, 0), cell(7, 2));
}

/// As C converts on x86-64.
#[test]
fn any_number_has_bits() {
    for (score, bits) in [
        (0.0, 0),
        (1.9, 1),
        (-1.9, u64::MAX),
        (-5.0, u64::MAX - 4),
        (9.3e18, 9_300_000_000_000_000_000),
        (1.8446744073709552e19, 0),
        (1e300, 0),
        (f64::INFINITY, 0),
        (-9.3e18, 1 << 63),
        (f64::NEG_INFINITY, 1 << 63),
    ] {
        assert_eq!(bits_of(score), bits, "{score}");
        assert!(Position::of_score(score).is_on_map());
    }
}

#[test]
fn distances_are_symmetric_and_numbers() {
    let mut rng = Rng::from_seed(3);
    for _ in 0..20_000 {
        let (a, b) = (any_position(&mut rng), any_position(&mut rng));
        let distance = distance_m(a, b);
        assert!((0.0..=20_020_741.0).contains(&distance), "{a:?} {b:?}");
        assert!((distance - distance_m(b, a)).abs() < 1.0);
        let opposite = Position {
            longitude: a.longitude - 180.0 * a.longitude.signum(),
            latitude: -a.latitude,
        };
        assert!(distance_m(a, opposite) > 20_020_000.0);
    }
}

/// Whatever is within a shape is seen through its window, and so are the cells around it.
#[test]
fn windows_leave_nothing_out() {
    let mut rng = Rng::from_seed(4);
    let (mut within, mut outside) = (0, 0);
    for _ in 0..1000 {
        let centre = any_position(&mut rng);
        let area = any_area(&mut rng, centre);
        let window = Window::of(&area);
        for _ in 0..60 {
            let near = any_position(&mut rng);
            let share = between(&mut rng, 0.0, 1.0).powi(8);
            let point = Position {
                longitude: centre.longitude + (near.longitude - centre.longitude) * share,
                latitude: centre.latitude + (near.latitude - centre.latitude) * share,
            };
            let cell = Cell::of(point, STEPS_MAX);
            let is_seen = window.sees(cell);
            if area.distance_within_m(cell.middle()).is_some() {
                within += 1;
                assert!(is_seen, "{area:?} {point:?} {window:?}");
            }
            outside += usize::from(!is_seen);
            for steps in [1, 2, 5, 9, 14, 20, 25, 26] {
                let overlap = window.overlap(Cell::of(point, steps));
                assert!(
                    !is_seen || overlap != Overlap::Nothing,
                    "{area:?} {point:?}"
                );
                assert!(
                    is_seen || overlap != Overlap::Everything,
                    "{area:?} {point:?}"
                );
            }
        }
    }
    assert!(within > 5000 && outside > 5000, "{within} {outside}");
}

/// What [`search`] does, without any of what saves time.
fn plain_search<'z>(zset: ZsetRef<'z>, area: &Area, limit: usize) -> Vec<(Member<'z>, f64)> {
    let mut found = Vec::new();
    for cell in area.cells() {
        let (min, max) = cell.scores();
        for (member, score) in zset.range(0, usize::MAX) {
            let is_done = limit > 0 && found.len() >= limit;
            if score < min || score >= max || is_done {
                continue;
            }
            if let Some(distance) = area.distance_within_m(Position::of_score(score)) {
                found.push((member, distance));
            }
        }
    }
    found
}

#[test]
fn searches_find_what_a_plain_search_finds() {
    let mut rng = Rng::from_seed(6);
    let mut all = 0;
    for round in 0..15 {
        let middle = any_position(&mut rng);
        let size = 10f64.powf(between(&mut rng, -2.0, 2.3));
        let points = (0..1500).map(|_| {
            let point = Position {
                longitude: middle.longitude + between(&mut rng, -size, size),
                latitude: middle.latitude + between(&mut rng, -size, size),
            };
            point.on_map().score()
        });
        let mut scores: Vec<f64> = points.collect();
        // Many points at one place, and scores that are no cells' own.
        scores.extend(std::iter::repeat_n(middle.score(), 40));
        scores.extend([-1.0, 0.5, f64::INFINITY, f64::NEG_INFINITY]);
        scores.sort_by(f64::total_cmp);
        let names: Vec<String> = (0..scores.len()).map(|at| format!("m{at:05}")).collect();
        let members = names.iter().map(|name| Member::from(name.as_bytes()));
        let members = members.zip(scores.iter().copied());
        let limits = Limits::default();
        let NewZset::Large(zset) = NewZset::of(
            members,
            names.len(),
            6,
            &limits,
            KeyHash::with_seed(HashFunction::Fast, round),
        ) else {
            panic!("many members");
        };
        let zset = ZsetRef::Large(&zset);
        for _ in 0..25 {
            let centre = match rng.next_u64() % 2 {
                0 => middle,
                _ => Position::of_score(scores[50 + rng.next_u64() as usize % 1000]),
            };
            let area = any_area(&mut rng, centre);
            let limit = [0, 0, 1, 10][rng.next_u64() as usize % 4];
            let found = search(zset, &area, limit);
            let plain = plain_search(zset, &area, limit);
            assert_eq!(found.len(), plain.len(), "{area:?}");
            let mut digits = [itoa::Buffer::new(), itoa::Buffer::new()];
            let [a, b] = &mut digits;
            for (point, (member, distance)) in found.iter().zip(&plain) {
                assert_eq!(point.member.bytes(a), member.bytes(b), "{area:?}");
                assert_eq!(point.distance_m, *distance);
            }
            all += found.len();
        }
    }
    assert!(all > 10_000, "{all}");
}

/// Points at these distances, with their places as scores.
fn points(distances: &[f64]) -> Vec<Found<'static>> {
    let points = distances.iter().enumerate();
    let point = |(place, &distance_m): (usize, &f64)| Found {
        member: Member::Int(place as i64),
        score: place as f64,
        position: Position::default(),
        distance_m,
    };
    points.map(point).collect()
}

#[test]
fn the_first_points_are_the_nearest_or_farthest() {
    let mut rng = Rng::from_seed(8);
    for _ in 0..800 {
        let len = 1 + rng.next_u64() as usize % 300;
        let kinds = 1 + rng.next_u64() % 300;
        let distances: Vec<f64> = (0..len).map(|_| (rng.next_u64() % kinds) as f64).collect();
        let wanted = 1 + rng.next_u64() as usize % len;
        let mut sorted = distances.clone();
        sorted.sort_by(f64::total_cmp);
        for order in [Order::Ascending, Order::Descending] {
            let mut found = points(&distances);
            sort(&mut found, order, wanted);
            let found_at: Vec<f64> = found.iter().map(|point| point.distance_m).collect();
            if order == Order::Descending {
                sorted.reverse();
            }
            assert_eq!(found_at, sorted[..wanted]);
            // Each point once, with its own distance.
            let mut places: Vec<usize> = found.iter().map(|point| point.score as usize).collect();
            assert!(
                found
                    .iter()
                    .all(|p| distances[p.score as usize] == p.distance_m)
            );
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), wanted);
            if wanted == len {
                let is_stable = |pair: &[Found<'_>]| {
                    pair[0].distance_m != pair[1].distance_m || pair[0].score < pair[1].score
                };
                assert!(found.windows(2).all(is_stable));
            }
        }
    }
}

/// Nine points of which eight are wanted, as Valkey 9.1.2 puts them in order: not stably.
#[test]
fn some_of_equally_distant_points_come_as_in_valkey() {
    let distances = [30.0, 30.0, 30.0, 30.0, 50.0, 20.0, 20.0, 25.0, 60.0];
    let mut found = points(&distances);
    sort(&mut found, Order::Ascending, 8);
    let places: Vec<usize> = found.iter().map(|point| point.score as usize).collect();
    assert_eq!(places, [5, 6, 7, 0, 3, 1, 2, 4]);
}

/// Distances can be such that every pivot of a quicksort is the worst: then another sort finishes.
#[test]
fn no_order_of_points_takes_long() {
    let mut rng = Rng::from_seed(9);
    for steps_per_element in 0..16 {
        let distances: Vec<f64> = (0..1000).map(|_| (rng.next_u64() % 900) as f64).collect();
        let mut sorted = distances.clone();
        sorted.sort_by(f64::total_cmp);
        let mut found = points(&distances);
        sort_within(&mut found, Order::Ascending, 900, steps_per_element);
        let found: Vec<f64> = found.iter().map(|point| point.distance_m).collect();
        assert_eq!(found, sorted[..900]);
    }
}
