//! Finding the points of a sorted set that are within an area.
//!
//! The cells that cover the area are ranges of scores. Those of many points are taken apart into
//! quarters, each again a range, as long as they stick out of the area's window (`window`): so what
//! is far outside is not even walked over. Points come in the order of the cells, and of scores
//! within each, as they do in Redis, whatever is left out between them.

use std::ops::Range;

use smallvec::SmallVec;

use super::area::Area;
use super::grid::{Cell, Position, STEPS_MAX};
use super::window::{Overlap, Window};
use crate::value::zset::{Member, ZsetRef};

/// Finding where a quarter begins takes as long as looking at about so many points.
const QUARTERED_LEN_MIN: usize = 24;

/// A point within an area.
#[derive(Clone, Copy, Debug)]
pub struct Found<'z> {
    /// The member.
    pub member: Member<'z>,
    /// Its score.
    pub score: f64,
    /// The position that the score stands for.
    pub position: Position,
    /// How far it is from the area's centre.
    pub distance_m: f64,
}

/// The points of a set that are within an area, or the first ones of them, if there is a limit above
/// 0.
pub fn search<'z>(zset: ZsetRef<'z>, area: &Area, limit: usize) -> Vec<Found<'z>> {
    let mut search = Search {
        area,
        window: Window::of(area),
        limit: if limit == 0 { usize::MAX } else { limit },
        found: Vec::new(),
    };
    match zset {
        ZsetRef::Large(_) => search.large(zset),
        ZsetRef::Compact(_) => search.compact(zset),
    }
    search.found
}

struct Search<'s, 'z> {
    area: &'s Area,
    window: Window,
    limit: usize,
    found: Vec<Found<'z>>,
}

impl<'z> Search<'_, 'z> {
    fn is_done(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn large(&mut self, zset: ZsetRef<'z>) {
        for cell in self.area.cells() {
            let (min, max) = cell.scores();
            let ranks = zset.rank_of_score(min)..zset.rank_of_score(max);
            self.cell(zset, cell, ranks);
        }
    }

    /// Looks at the points of a cell, which have these ranks.
    fn cell(&mut self, zset: ZsetRef<'z>, cell: Cell, ranks: Range<usize>) {
        if ranks.is_empty() || self.is_done() {
            return;
        }
        let is_taken_apart = match self.window.overlap(cell) {
            Overlap::Nothing => return,
            Overlap::Everything => false,
            Overlap::Part => cell.steps < STEPS_MAX && ranks.len() >= QUARTERED_LEN_MIN,
        };
        if !is_taken_apart {
            return self.look_at(zset.range(ranks.start, ranks.len()));
        }
        let quarters = cell.quarters();
        let mut start = ranks.start;
        for (at, quarter) in quarters.into_iter().enumerate() {
            let end = match quarters.get(at + 1) {
                Some(next) => zset.rank_of_score(next.scores().0),
                None => ranks.end,
            };
            self.cell(zset, quarter, start..end);
            start = end;
        }
    }

    fn compact(&mut self, zset: ZsetRef<'z>) {
        let points: SmallVec<[(Member<'z>, f64); 128]> = zset.iter().collect();
        for cell in self.area.cells() {
            let (min, max) = cell.scores();
            let start = points.partition_point(|&(_, score)| score < min);
            let points = points[start..].iter().copied();
            self.look_at(points.take_while(|&(_, score)| score < max));
            if self.is_done() {
                return;
            }
        }
    }

    /// Takes those of the points that are within the area, in their order, until there are enough.
    #[inline]
    fn look_at(&mut self, points: impl Iterator<Item = (Member<'z>, f64)>) {
        for (member, score) in points {
            let cell = Cell::of_bits(score as u64, STEPS_MAX);
            if !self.window.sees(cell) {
                continue;
            }
            let position = cell.middle();
            if let Some(distance_m) = self.area.distance_within_m(position) {
                self.found.push(Found {
                    member,
                    score,
                    position,
                    distance_m,
                });
                if self.is_done() {
                    return;
                }
            }
        }
    }
}
