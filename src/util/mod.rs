//! Small pure tools that every layer may use: patterns, number text, text, clock, compression, random numbers.
//! Nothing here does I/O or knows about keys, commands or sockets, and nothing is `unsafe`.
//! To add a tool, give it a file of its own named after what it does.

pub mod ascii;
pub mod base64;
pub mod c_num;
pub mod check;
pub mod clock;
pub mod cpu_list;
pub mod glob;
pub mod long_double;
pub mod lzf;
pub mod network;
pub mod num;
pub mod padded;
pub mod rng;
pub mod sampled;
pub mod seldom;
pub mod spikes;
