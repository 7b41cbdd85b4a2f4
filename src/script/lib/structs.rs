//! `struct`: packed binary data.
