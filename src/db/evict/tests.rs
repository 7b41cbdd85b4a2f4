//! Tests of eviction.
