//! RDB: decoding.
