//! The walk that writes a snapshot of the live keyspace.
