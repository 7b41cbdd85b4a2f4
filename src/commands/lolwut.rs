//! LOLWUT: a slice of kiwi, another one every time, and the version.
//!
//! The slice is drawn by two numbers of each point: how far out it lies, which gives skin, flesh
//! and core, and in which direction, along which the seeds stand in rays. Chance decides how round
//! it is, how many rays there are and how they are turned. `LOLWUT VERSION n` draws the same for
//! every n; `LOLWUT columns [rows]` chooses the size, and whatever else is asked for is ignored.

use std::f64::consts::TAU;
use std::fmt::Write as _;

use crate::server::{KIVI_VERSION, REDIS_VERSION};
use crate::spec::{Flags, Group};
use crate::util::num;
use crate::util::rng::Rng;

use super::{CmdResult, Command, Ctx, Next, command};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("lolwut", -1, Flags::FAST.and(Flags::READONLY), lolwut)
        .docs(
            Group::Server,
            "5.0.0",
            "O(1)",
            "Shows a piece of computer art, and the version of the server.",
        )
        .syntax("VERSION=version:integer?"),
];

/// Size of the picture: least, usual, most.
const COLUMNS: [i64; 3] = [8, 66, 160];
const ROWS: [i64; 3] = [4, 28, 80];

fn lolwut(ctx: &mut Ctx<'_>) -> CmdResult {
    if ctx.args.remaining() >= 2 && ctx.args.take("VERSION") {
        ctx.args.int()?;
    }
    let mut size = |[least, usual, most]: [i64; 3]| {
        let wanted = ctx.args.option().and_then(num::parse_i64);
        wanted.map_or(usual, |wanted| wanted.clamp(least, most)) as usize
    };
    let (columns, rows) = (size(COLUMNS), size(ROWS));
    let mut text = Slice::new(&mut Rng::from_os()).draw(columns, rows);
    let (name, version) = match ctx.config.extended_redis_compatibility {
        true => ("Redis", REDIS_VERSION),
        false => ("Kivi", KIVI_VERSION),
    };
    let _ = writeln!(
        text,
        "\nA slice of kiwi, cut by chance. {name} ver. {version}"
    );
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Next::Done)
}

/// What chance decides about a slice.
struct Slice {
    /// How much wider than high it is.
    aspect: f64,
    /// The direction of its longer side.
    tilt: f64,
    rays: usize,
    /// Direction of the first ray.
    turn: f64,
    /// How far each ray's seeds lie from where they should.
    jitter: Vec<f64>,
    core: f64,
}

impl Slice {
    fn new(rng: &mut Rng) -> Slice {
        let mut between = |least: f64, most: f64| least + (most - least) * rng.unit_f64();
        let rays = between(14.0, 25.0) as usize;
        Slice {
            aspect: between(0.8, 1.0),
            tilt: between(0.0, TAU),
            rays,
            turn: between(0.0, TAU),
            core: between(0.16, 0.26),
            jitter: (0..rays).map(|_| between(-0.05, 0.05)).collect(),
        }
    }

    fn draw(&self, columns: usize, rows: usize) -> String {
        let mut text = String::with_capacity((columns + 1) * rows);
        for row in 0..rows {
            let y = (row as f64 + 0.5) / rows as f64 * 2.0 - 1.0;
            let line = (0..columns).map(|column| {
                let x = (column as f64 + 0.5) / columns as f64 * 2.0 - 1.0;
                self.point(x, y)
            });
            let line: String = line.collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// What is to be seen at a point of the square from -1 to 1.
    fn point(&self, x: f64, y: f64) -> char {
        let (sin, cos) = self.tilt.sin_cos();
        let (along, across) = (x * cos + y * sin, (y * cos - x * sin) / self.aspect);
        let out = along.hypot(across);
        // Which ray is nearest, and how far off it is: 0 on it, 0.5 halfway to the next one.
        let ray = (across.atan2(along) - self.turn).rem_euclid(TAU) / TAU * self.rays as f64;
        let off = (ray - ray.round()).abs();
        let jitter = self.jitter[ray.round() as usize % self.rays];
        match out + jitter {
            _ if out > 1.0 => ' ',
            _ if out > 0.93 => '#',
            _ if out < self.core => '@',
            near if near < self.core + 0.07 => 'o',
            near if (0.40..0.54).contains(&near) && off < 0.2 => '0',
            _ if off < 0.16 => ':',
            _ => '.',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::Test;

    #[test]
    fn chance_decides_and_a_seed_decides_chance() {
        let draw = |seed| Slice::new(&mut Rng::from_seed(seed)).draw(60, 24);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for seed in 0..200 {
            let picture = draw(seed);
            assert_eq!(picture.lines().count(), 24);
            assert!(picture.lines().all(|line| line.len() <= 60));
            for part in ['#', '@', '0', '.', ':', ' '] {
                assert!(picture.contains(part), "{part} in\n{picture}");
            }
        }
    }

    #[test]
    fn odd_arguments_do_no_harm() {
        let mut t = Test::new();
        let version = format!("Kivi ver. {KIVI_VERSION}\n");
        for line in [
            "LOLWUT",
            "LOLWUT foo",
            "LOLWUT VERSION",
            "lolwut version 5 1 1 1",
            "LOLWUT VERSION 5 -1 -1",
            "LOLWUT VERSION -9223372036854775808 x y z",
            "LOLWUT 9223372036854775807 9223372036854775807",
        ] {
            let reply = t.run(line).text();
            assert!(reply.starts_with('$'), "{line}: {reply}");
            assert!(reply.ends_with(&version), "{line}: {reply}");
            assert!(reply.len() < 20_000);
        }
        t.run("LOLWUT VERSION x")
            .is("-ERR value is not an integer or out of range");
    }

    #[test]
    fn compatibility_goes_this_far() {
        let mut t = Test::with(&["--extended-redis-compatibility", "yes"]);
        assert!(
            t.run("LOLWUT VERSION 9")
                .text()
                .ends_with("Redis ver. 7.2.4\n")
        );
    }
}
