//! What RDB files consist of: opcodes, types, encodings of lengths and strings, versions; shared by
//! `encode` and `decode`. Sources: the files `rdb.h` and `rdb.c` of Redis 7.2 and Valkey (BSD), and
//! files that Redis 8.0 and Valkey 9.1 wrote.
