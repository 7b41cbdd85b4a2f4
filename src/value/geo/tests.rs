//! Tests of positions, areas and searches; what Valkey answers is in the tests of the commands.
