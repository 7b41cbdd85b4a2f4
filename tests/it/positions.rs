//! Random arguments of geo commands, for `generate`.
//!
//! Positions lie close to few places, among them the edges of the map, so that searches find some.

use crate::generate::{Rng, typed_key, word_of};

const LONGITUDES: &[f64] = &[13.4, 15.1, 0.0, -122.4, 179.99, -179.99];
const LATITUDES: &[f64] = &[38.1, 37.5, 0.0, -33.9, 84.99, -84.99];

/// The value of a placeholder that begins with `g`.
pub(crate) fn fill(rng: &mut Rng, word: &str) -> Vec<u8> {
    match word {
        "glon" if rng.chance(4) => word_of(
            rng,
            &["180", "-180", "180.1", "x", "nan", "inf", "", "1e1", "-0"],
        ),
        "glon" => coordinate(rng, LONGITUDES, 180.0),
        "glat" if rng.chance(4) => word_of(
            rng,
            &["85.05112878", "-85.05112878", "85.06", "x", "-91", "1e400"],
        ),
        "glat" => coordinate(rng, LATITUDES, 85.05),
        "gsize" => word_of(
            rng,
            &[
                "1", "30.5", "200", "200", "1000", "1000", "5000", "20000", "0", "1e6", "inf",
                "-1", "x",
            ],
        ),
        "gunit" => word_of(
            rng,
            &["km", "km", "km", "km", "mi", "m", "ft", "KM", "Mi", "yd"],
        ),
        "gcount" => word_of(rng, &["1", "2", "3", "5", "10", "100", "0", "-1", "x"]),
        _ => typed_key(rng, "g"),
    }
}

/// One of these coordinates, or something near it, with few digits or many.
fn coordinate(rng: &mut Rng, places: &[f64], max: f64) -> Vec<u8> {
    let near = *rng.pick(&[0.0, 0.0, 0.00001, 0.001, 0.1, 3.0, 30.0]);
    let share = (rng.below(2001) as f64 - 1000.0) / 1000.0;
    let coordinate = (rng.pick(places) + share * near).clamp(-max, max);
    match rng.below(3) {
        0 => format!("{coordinate:.2}").into_bytes(),
        _ => coordinate.to_string().into_bytes(),
    }
}

/// Whether the middle of a polygon's corners is beyond the edge of the map, at 85.05112878 degrees.
pub(crate) fn has_polygon_around_a_pole(words: &[String]) -> bool {
    let Some(at) = words.iter().position(|word| word == "bypolygon") else {
        return false;
    };
    let numbers = words[at + 1..].iter().map_while(|word| word.parse().ok());
    let numbers: Vec<f64> = numbers.collect();
    let corners = numbers.first().map_or(0, |&count| count as usize);
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for corner in numbers[numbers.len().min(1)..]
        .chunks_exact(2)
        .take(corners)
    {
        let (longitude, latitude) = (corner[0].to_radians(), corner[1].to_radians());
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    z.atan2(x.hypot(y)).abs() > 85.051_f64.to_radians()
}
