//! The grid: positions as cells, cells as the bits of a score, and Geohash texts.
//!
//! With `steps` halvings each way the map has 2^steps columns from west to east and as many rows
//! from south to north. A cell's bits are those of its column and its row in turns, the column's
//! first; so all cells within a larger one follow each other, and the points of a cell are a range of
//! scores. A score is the bits of a cell of 26 steps, 52 bits, which a double holds.
//!
//! The map ends at 85.05112878 degrees north and south (Web Mercator is a square there). A position
//! on its very east or north edge is in a column or row of its own, 2^steps, for which there is one
//! more bit.

/// Halvings each way of the cells that scores are.
pub const STEPS_MAX: u32 = 26;
/// The easternmost longitude; the westernmost is its opposite.
pub const LONGITUDE_MAX: f64 = 180.0;
/// The northernmost latitude; the southernmost is its opposite.
pub const LATITUDE_MAX: f64 = 85.05112878;

/// The same where a Geohash text is meant.
const TEXT_LATITUDE_MAX: f64 = 90.0;
/// Characters of a Geohash text. The last one would need three bits more than there are.
const TEXT_BYTES: usize = 11;
const TEXT_ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A place on the earth, in degrees.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Position {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

impl Position {
    /// Whether the grid has a cell for it.
    pub fn is_on_map(self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }

    /// The nearest position on the map.
    pub fn on_map(self) -> Position {
        Position {
            longitude: self.longitude.clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: self.latitude.clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The position that a score stands for: the middle of its cell.
    #[inline]
    pub fn of_score(score: f64) -> Position {
        Cell::of_bits(bits_of(score), STEPS_MAX).middle()
    }

    /// The score that stands for a position on the map.
    pub fn score(self) -> f64 {
        Cell::of(self, STEPS_MAX).bits() as f64
    }

    /// The Geohash text of a position on the map, 11 characters. Its grid reaches to the poles.
    pub fn text(self) -> [u8; TEXT_BYTES] {
        let column = line(self.longitude, LONGITUDE_MAX, STEPS_MAX);
        let row = line(self.latitude, TEXT_LATITUDE_MAX, STEPS_MAX);
        let bits = interleaved(column, row);
        std::array::from_fn(|at| {
            let digit = match (2 * STEPS_MAX as usize).checked_sub(5 * (at + 1)) {
                Some(shift) => (bits >> shift) & 31,
                None => 0,
            };
            TEXT_ALPHABET[digit as usize]
        })
    }
}

/// The bits that a score is, which may be any number: C's conversion on x86-64, where what is out of
/// range is not saturated.
#[inline]
pub fn bits_of(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    // What the instruction gives for what is out of a signed integer's range.
    let signed = |value: f64| match (-HALF..HALF).contains(&value) {
        true => value as i64 as u64,
        false => 1 << 63,
    };
    match score >= HALF {
        true => signed(score - HALF) ^ 1 << 63,
        false => signed(score),
    }
}

/// In which of 2^steps equal parts of `-max..max` a coordinate lies.
#[inline]
fn line(coordinate: f64, max: f64, steps: u32) -> u32 {
    let part = (coordinate + max) / (max + max);
    (part * (1u64 << steps) as f64) as u32
}

/// Where a line begins.
#[inline]
fn line_start(line: u32, max: f64, steps: u32) -> f64 {
    -max + f64::from(line) / (1u64 << steps) as f64 * (max + max)
}

/// Puts a zero in front of every bit.
#[inline]
fn spread(line: u32) -> u64 {
    let mut bits = u64::from(line);
    bits = (bits | bits << 16) & 0x0000_FFFF_0000_FFFF;
    bits = (bits | bits << 8) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// Takes every other bit, from the last one on.
#[inline]
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    bits = (bits | bits >> 4) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits >> 8) & 0x0000_FFFF_0000_FFFF;
    (bits | bits >> 16) as u32
}

#[inline]
fn interleaved(column: u32, row: u32) -> u64 {
    spread(column) << 1 | spread(row)
}

/// A cell of the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Counted from the west.
    pub column: u32,
    /// Counted from the south.
    pub row: u32,
    /// How often the map was halved each way, 1 to 26.
    pub steps: u32,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Extent {
    pub(super) west: f64,
    pub(super) east: f64,
    pub(super) south: f64,
    pub(super) north: f64,
}

impl Cell {
    /// The cell in which a position on the map is.
    #[inline]
    pub fn of(position: Position, steps: u32) -> Cell {
        Cell {
            column: line(position.longitude, LONGITUDE_MAX, steps),
            row: line(position.latitude, LATITUDE_MAX, steps),
            steps,
        }
    }

    /// The cell of these bits.
    #[inline]
    pub fn of_bits(bits: u64, steps: u32) -> Cell {
        Cell {
            column: gather(bits >> 1),
            row: gather(bits),
            steps,
        }
    }

    /// Its bits.
    #[inline]
    pub fn bits(self) -> u64 {
        interleaved(self.column, self.row)
    }

    /// The scores of the points in it: from the first to below the second.
    #[inline]
    pub fn scores(self) -> (f64, f64) {
        let unused = 2 * (STEPS_MAX - self.steps);
        let bits = self.bits();
        ((bits << unused) as f64, ((bits + 1) << unused) as f64)
    }

    /// The cell beside it, `east` columns and `north` rows away, -1 to 1 each. The map has no edges
    /// for this purpose: behind each is the opposite one.
    pub fn beside(self, east: i32, north: i32) -> Cell {
        let step = |line: u32, by: i32| match by {
            // The line behind the last one stays what it is as long as nothing moves.
            0 => line,
            _ => line.wrapping_add_signed(by) & ((1 << self.steps) - 1),
        };
        Cell {
            column: step(self.column, east),
            row: step(self.row, north),
            steps: self.steps,
        }
    }

    /// Its quarters, in the order of their scores. There are none of the smallest cells.
    #[inline]
    pub fn quarters(self) -> [Cell; 4] {
        let (column, row, steps) = (self.column << 1, self.row << 1, self.steps + 1);
        let quarter = |east: u32, north: u32| Cell {
            column: column | east,
            row: row | north,
            steps,
        };
        [quarter(0, 0), quarter(0, 1), quarter(1, 0), quarter(1, 1)]
    }

    #[inline]
    pub(super) fn extent(self) -> Extent {
        let Cell { column, row, steps } = self;
        Extent {
            west: line_start(column, LONGITUDE_MAX, steps),
            // Only a score that is none of the map's has the last line that there is.
            east: line_start(column.wrapping_add(1), LONGITUDE_MAX, steps),
            south: line_start(row, LATITUDE_MAX, steps),
            north: line_start(row.wrapping_add(1), LATITUDE_MAX, steps),
        }
    }

    /// Its middle, but never beyond the edge of the map.
    #[inline]
    pub fn middle(self) -> Position {
        let Extent {
            west,
            east,
            south,
            north,
        } = self.extent();
        let middle = Position {
            longitude: (west + east) / 2.0,
            latitude: (south + north) / 2.0,
        };
        middle.on_map()
    }
}
