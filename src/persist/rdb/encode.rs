//! RDB: encoding.
