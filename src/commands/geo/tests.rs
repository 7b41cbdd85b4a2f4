//! Geo commands, most of them as Valkey 9.1.2 answered.
