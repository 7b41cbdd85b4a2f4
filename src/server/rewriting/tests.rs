//! Tests come with the log.
