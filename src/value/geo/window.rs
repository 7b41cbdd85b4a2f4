//! Rows and columns outside of which no point is within a shape: most points of the cells that cover
//! it are, and need not have their distance computed.
//!
//! Redis has nothing like it, so results must not depend on it: bounds are wider than rounding
//! errors of the distances are (a centimetre), and where an arc sine says little there are none.

use std::f64::consts::{FRAC_PI_2, PI};

use super::area::{Area, EARTH_RADIUS_M, Shape, degrees, radians};
use super::grid::{Cell, LATITUDE_MAX, LONGITUDE_MAX, STEPS_MAX};

/// The line behind the last one: that of the edge of the map.
const LINE_MAX: u32 = 1 << STEPS_MAX;
/// How much farther angles reach than they should.
const MARGIN_RADIANS: f64 = 2e-9;
const MARGIN_FACTOR: f64 = 1.0 + 1e-9;
/// From here on, half of a great circle nearly, distances are inexact.
const ANGLE_MAX: f64 = 3.0;
/// From this sine on the angle is inexact.
const SINE_MAX: f64 = 0.9999;

/// Lines from the first to the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lines {
    first: u32,
    last: u32,
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    rows: Lines,
    /// The second part begins anew behind the edge of the map.
    columns: [Lines; 2],
}

/// How much of a cell is in a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overlap {
    Nothing,
    Part,
    Everything,
}

impl Lines {
    const ALL: Lines = Lines {
        first: 0,
        last: LINE_MAX,
    };
    const NONE: Lines = Lines { first: 1, last: 0 };

    /// The lines between two coordinates, and one more on either side.
    fn between(low: f64, high: f64, max: f64) -> Lines {
        // Conversions saturate.
        let line = |coordinate: f64| {
            ((coordinate + max) / (max + max) * f64::from(LINE_MAX)).floor() as u32
        };
        Lines {
            first: line(low).saturating_sub(1),
            last: line(high).saturating_add(1).min(LINE_MAX),
        }
    }

    #[inline]
    fn contain(self, line: u32) -> bool {
        self.first <= line && line <= self.last
    }

    /// How much of these lines, which are not empty, is among them.
    #[inline]
    fn overlap(self, other: Lines) -> Overlap {
        if other.last < self.first || self.last < other.first {
            Overlap::Nothing
        } else if self.first <= other.first && other.last <= self.last {
            Overlap::Everything
        } else {
            Overlap::Part
        }
    }
}

impl Window {
    /// The window of a shape.
    pub(super) fn of(area: &Area) -> Window {
        let centre = area.centre;
        let (half_height, half_width) = match area.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (height / 2.0, width / 2.0),
            Shape::Polygon(_) => return Window::of_polygon(area),
        };
        let angle =
            |length: f64| length * area.unit_m / EARTH_RADIUS_M * MARGIN_FACTOR + MARGIN_RADIANS;
        let (north, east) = (angle(half_height), angle(half_width));
        if north > ANGLE_MAX || east > ANGLE_MAX {
            return Window {
                rows: Lines::ALL,
                columns: [Lines::ALL, Lines::NONE],
            };
        }
        let latitude = radians(centre.latitude);
        let reach = match area.shape {
            Shape::Circle { .. } => circle_reach(latitude, north),
            _ => box_reach(latitude, north, east),
        };
        let north = degrees(north);
        Window {
            rows: Lines::between(
                centre.latitude - north,
                centre.latitude + north,
                LATITUDE_MAX,
            ),
            columns: columns(centre.longitude, reach.map(degrees)),
        }
    }

    fn of_polygon(area: &Area) -> Window {
        let bounds = area.bounds();
        let margin = degrees(MARGIN_RADIANS);
        let columns = Lines::between(bounds.west - margin, bounds.east + margin, LONGITUDE_MAX);
        Window {
            rows: Lines::between(bounds.south - margin, bounds.north + margin, LATITUDE_MAX),
            columns: [columns, Lines::NONE],
        }
    }

    /// Whether a smallest cell is in the window.
    #[inline]
    pub(super) fn sees(&self, cell: Cell) -> bool {
        // What is beyond the edge counts as on it.
        let column = cell.column.min(LINE_MAX);
        let is_among = self.columns[0].contain(column) || self.columns[1].contain(column);
        is_among && self.rows.contain(cell.row.min(LINE_MAX))
    }

    /// How much of a cell is in the window.
    pub(super) fn overlap(&self, cell: Cell) -> Overlap {
        let smaller = STEPS_MAX - cell.steps;
        let lines = |line: u32| Lines {
            first: (line << smaller).min(LINE_MAX),
            last: (((line + 1) << smaller) - 1).min(LINE_MAX),
        };
        let (columns, rows) = (lines(cell.column), lines(cell.row));
        let [first, second] = self.columns.map(|part| part.overlap(columns));
        match (self.rows.overlap(rows), first, second) {
            (Overlap::Nothing, ..) | (_, Overlap::Nothing, Overlap::Nothing) => Overlap::Nothing,
            (Overlap::Everything, Overlap::Everything, _)
            | (Overlap::Everything, _, Overlap::Everything) => Overlap::Everything,
            _ => Overlap::Part,
        }
    }
}

/// How far east and west, in radians of longitude, a circle reaches whose radius is an angle; `None`
/// around the whole earth.
fn circle_reach(latitude: f64, angle: f64) -> Option<f64> {
    if latitude.abs() + angle >= FRAC_PI_2 {
        return None;
    }
    let sine = angle.sin() / latitude.cos();
    (sine < SINE_MAX).then(|| sine.asin())
}

/// The same of a box: the farthest along the one of its edges that is nearer to a pole.
fn box_reach(latitude: f64, north: f64, east: f64) -> Option<f64> {
    let edge = (latitude.abs() + north).min(radians(LATITUDE_MAX));
    let sine = (east / 2.0).sin() / edge.cos();
    (east < PI && sine < SINE_MAX).then(|| 2.0 * sine.asin())
}

/// The columns that are no farther than so many degrees from a longitude.
fn columns(longitude: f64, reach: Option<f64>) -> [Lines; 2] {
    let between = |west, east| Lines::between(west, east, LONGITUDE_MAX);
    let Some(reach) = reach.filter(|&reach| reach < LONGITUDE_MAX) else {
        return [Lines::ALL, Lines::NONE];
    };
    let (west, east) = (longitude - reach, longitude + reach);
    let turn = 2.0 * LONGITUDE_MAX;
    // A position on the edge has two longitudes.
    let second = if west <= -LONGITUDE_MAX {
        between(west + turn, LONGITUDE_MAX)
    } else if east >= LONGITUDE_MAX {
        between(-LONGITUDE_MAX, east - turn)
    } else {
        Lines::NONE
    };
    [between(west, east), second]
}
