//! Ranges of scores and of members, as commands give them.

/// From which score to which.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoreRange {
    /// The lowest score, or the one below it.
    pub min: f64,
    /// `min` itself is not in the range.
    pub min_is_exclusive: bool,
    /// The highest score, or the one above it.
    pub max: f64,
    /// `max` itself is not in the range.
    pub max_is_exclusive: bool,
}

impl ScoreRange {
    /// Whether no score is in the range.
    pub fn is_empty(&self) -> bool {
        self.min > self.max
            || self.min == self.max && (self.min_is_exclusive || self.max_is_exclusive)
    }

    /// Whether a score is below the range.
    #[inline]
    pub fn is_below(&self, score: f64) -> bool {
        score < self.min || self.min_is_exclusive && score == self.min
    }

    /// Whether a score is in the range or below it.
    #[inline]
    pub fn is_not_above(&self, score: f64) -> bool {
        score < self.max || !self.max_is_exclusive && score == self.max
    }
}

/// An end of a range of members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LexBound<'a> {
    /// Before all members.
    Lowest,
    /// After all members.
    Highest,
    /// At this one, which is in the range.
    Inclusive(&'a [u8]),
    /// At this one, which is not.
    Exclusive(&'a [u8]),
}

/// From which member to which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexBound<'a>,
    /// The upper end.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a member is below the range.
    #[inline]
    pub fn is_below(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(min) => member < min,
            LexBound::Exclusive(min) => member <= min,
        }
    }

    /// Whether a member is in the range or below it.
    #[inline]
    pub fn is_not_above(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(max) => member <= max,
            LexBound::Exclusive(max) => member < max,
        }
    }
}
