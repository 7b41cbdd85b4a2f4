//! What a search looks for: a shape, its centre, and the cells of the grid that cover it.
//!
//! The cells are one of about the shape's size, in which its centre is, and the eight around it,
//! without those that the shape does not reach. How large they are is estimated as Redis does, whose
//! answer is what these cells let be found: near the poles and for very large shapes they do not
//! always cover all of it.

use smallvec::SmallVec;

use super::grid::{Cell, Position, STEPS_MAX};

/// Radius of the earth in metres, as Redis has it.
pub(super) const EARTH_RADIUS_M: f64 = 6_372_797.560856;
/// Half of the map's width in metres.
const MAP_RADIUS_M: f64 = 20_037_726.37;

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// Shapes. Lengths are in the unit of the request.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    /// BYRADIUS: what is no farther than this from the centre.
    Circle {
        /// How far.
        radius: f64,
    },
    /// BYBOX: what is no farther north or south, and no farther east or west, than half of this.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
    /// BYPOLYGON: what is inside, on a map on which degrees are squares. Lines that cross each other
    /// turn inside out.
    Polygon(Vec<Position>),
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Area {
    /// Where distances are measured from; of a polygon the middle of its corners.
    pub centre: Position,
    /// The shape.
    pub shape: Shape,
    /// Metres of the unit in which lengths are given.
    pub unit_m: f64,
}

#[inline]
pub(super) fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

#[inline]
pub(super) fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// Metres from one latitude to another.
#[inline]
fn latitude_distance_m(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_M * (radians(b) - radians(a)).abs()
}

/// Metres from one position to another along a great circle.
#[inline]
pub fn distance_m(a: Position, b: Position) -> f64 {
    let east = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    if east == 0.0 {
        return latitude_distance_m(a.latitude, b.latitude);
    }
    let (a, b) = (radians(a.latitude), radians(b.latitude));
    let north = ((b - a) / 2.0).sin();
    let square = north * north + a.cos() * b.cos() * east * east;
    // Of opposite points it can be a bit more than one.
    2.0 * EARTH_RADIUS_M * square.sqrt().min(1.0).asin()
}

/// How often the map may be halved for cells to be no smaller than a shape that reaches so far.
fn steps_for(reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return STEPS_MAX;
    }
    let (mut steps, mut reach_m) = (-1i32, reach_m);
    while reach_m < MAP_RADIUS_M {
        reach_m *= 2.0;
        steps += 1;
    }
    // Columns are narrower in the far north and south.
    steps -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, STEPS_MAX as i32) as u32
}

/// The cells around one: to the east, to the north.
const AROUND: [(i32, i32); 9] = [
    (0, 0),
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
];

/// Longitudes and latitudes between which a shape is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) south: f64,
    pub(super) east: f64,
    pub(super) north: f64,
}

impl Area {
    /// The area of a polygon of three corners and more.
    pub fn of_polygon(corners: Vec<Position>) -> Area {
        // The direction of the sum of all directions from the middle of the earth.
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for corner in &corners {
            let (longitude, latitude) = (radians(corner.longitude), radians(corner.latitude));
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        Area {
            centre: Position {
                longitude: degrees(y.atan2(x)),
                latitude: degrees(z.atan2((x * x + y * y).sqrt())),
            },
            shape: Shape::Polygon(corners),
            unit_m: 1.0,
        }
    }

    /// The distance of a position from the centre in metres, if it is within the shape.
    #[inline]
    pub fn distance_within_m(&self, position: Position) -> Option<f64> {
        let Area { centre, unit_m, .. } = *self;
        match self.shape {
            Shape::Circle { radius } => {
                let distance = distance_m(centre, position);
                (distance <= radius * unit_m).then_some(distance)
            }
            Shape::Box { width, height } => {
                let north = latitude_distance_m(position.latitude, centre.latitude);
                if north > height * unit_m / 2.0 {
                    return None;
                }
                let below = Position {
                    latitude: position.latitude,
                    ..centre
                };
                let is_within = distance_m(position, below) <= width * unit_m / 2.0;
                is_within.then(|| distance_m(centre, position))
            }
            Shape::Polygon(ref corners) => {
                is_inside(corners, position).then(|| distance_m(centre, position))
            }
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (self.unit_m * radius, self.unit_m * radius),
            Shape::Box { width, height } => (self.unit_m * width / 2.0, self.unit_m * height / 2.0),
            Shape::Polygon(ref corners) => return bounds_of(corners),
        };
        let Position {
            longitude,
            latitude,
        } = self.centre;
        let north = degrees(height / EARTH_RADIUS_M);
        // Along the edge that is farther from the pole.
        let edge = match latitude < 0.0 {
            true => latitude - north,
            false => latitude + north,
        };
        let east = degrees(width / EARTH_RADIUS_M / radians(edge).cos());
        Bounds {
            west: longitude - east,
            south: latitude - north,
            east: longitude + east,
            north: latitude + north,
        }
    }

    /// How far from the centre the shape reaches.
    fn reach_m(&self, bounds: &Bounds) -> f64 {
        match self.shape {
            Shape::Circle { radius } => radius * self.unit_m,
            Shape::Box { width, height } => {
                let (width, height) = (width / 2.0, height / 2.0);
                (width * width + height * height).sqrt() * self.unit_m
            }
            Shape::Polygon(_) => {
                let corner = |longitude, latitude| {
                    let corner = Position {
                        longitude,
                        latitude,
                    };
                    distance_m(self.centre, corner)
                };
                let Bounds {
                    west,
                    south,
                    east,
                    north,
                } = *bounds;
                corner(west, north)
                    .max(corner(east, north))
                    .max(corner(west, south))
                    .max(corner(east, south))
            }
        }
    }

    /// The cells that cover the shape, in the order in which they are searched; none of them twice.
    pub(super) fn cells(&self) -> SmallVec<[Cell; 9]> {
        let bounds = self.bounds();
        let centre = self.centre.on_map();
        let steps = match centre == self.centre {
            true => steps_for(self.reach_m(&bounds), centre.latitude),
            // The middle of a polygon around a pole. Redis makes up a cell from what it finds in its
            // memory; this is the whole map.
            false => 1,
        };
        let mut cell = Cell::of(centre, steps);
        let falls_short = cell.beside(0, 1).extent().north < bounds.north
            || cell.beside(0, -1).extent().south > bounds.south
            || cell.beside(1, 0).extent().east < bounds.east
            || cell.beside(-1, 0).extent().west > bounds.west;
        if steps > 1 && falls_short {
            cell = Cell::of(centre, steps - 1);
        }
        let extent = cell.extent();
        let is_reached = |(east, north): (i32, i32)| {
            // With two columns and rows every cell is on both sides of the centre's.
            cell.steps < 2
                || !(north < 0 && extent.south < bounds.south
                    || north > 0 && extent.north > bounds.north
                    || east < 0 && extent.west < bounds.west
                    || east > 0 && extent.east > bounds.east)
        };
        let mut cells = SmallVec::new();
        for (east, north) in AROUND {
            let beside = cell.beside(east, north);
            let is_last = cells.len() > 1 && cells.last() == Some(&beside);
            if is_reached((east, north)) && !is_last {
                cells.push(beside);
            }
        }
        cells
    }
}

fn bounds_of(corners: &[Position]) -> Bounds {
    let longitudes = || corners.iter().map(|corner| corner.longitude);
    let latitudes = || corners.iter().map(|corner| corner.latitude);
    Bounds {
        west: longitudes().fold(f64::INFINITY, f64::min),
        south: latitudes().fold(f64::INFINITY, f64::min),
        east: longitudes().fold(f64::NEG_INFINITY, f64::max),
        north: latitudes().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Whether a line from a position to the east crosses an odd number of a polygon's sides.
fn is_inside(corners: &[Position], position: Position) -> bool {
    let Position {
        longitude,
        latitude,
    } = position;
    let mut previous = corners[corners.len() - 1];
    let mut is_inside = false;
    for &corner in corners {
        if (corner.latitude > latitude) != (previous.latitude > latitude) {
            let crossing = (previous.longitude - corner.longitude) * (latitude - corner.latitude)
                / (previous.latitude - corner.latitude)
                + corner.longitude;
            is_inside ^= longitude < crossing;
        }
        previous = corner;
    }
    is_inside
}
