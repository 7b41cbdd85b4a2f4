//! `bit`: operations on 32-bit integers.
