//! The order of writes: a sequence of records that commands append while they hold their shards, so
//! that two writes to one key can never swap.
