//! Points on the earth: how positions are the scores of a sorted set, how far apart two of them
//! are, and how those within a shape are found.
//!
//! A geo set is a sorted set; no type of value knows that its scores are positions. [`grid`] turns
//! positions into cells of a grid and those into scores, [`Area`] is what a search looks for
//! (`area`), `search` finds it in a sorted set, and `order` puts what was found in order.
//!
//! Replies show all digits of positions and distances, and results come in the order in which they
//! are found, so the arithmetic is Redis's, operation by operation: which factor is multiplied first
//! decides about the last digit. What only saves time (`window`) is ours: it may let points through
//! that are outside of the shape, and never the other way round.
//!
//! Invariants: scores below 2^54 only are looked at by a search, so that converting them to bits
//! loses nothing; a distance is never NaN.

mod area;
pub mod grid;
mod order;
pub mod search;
mod window;

#[cfg(test)]
mod tests;

pub use area::{Area, Shape, distance_m};
pub use grid::Position;
pub use order::{Order, sort};
pub use search::{Found, search};
