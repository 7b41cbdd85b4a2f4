//! Limits that no directive changes, in one place.

/// Most arguments of one request (the header `*1048577` is refused).
pub const ARGS_MAX: u32 = 1024 * 1024;
/// Most bytes of a request before authentication: two of the largest arguments, for AUTH with a name, and some to spare.
pub const UNAUTHENTICATED_REQUEST_BYTES_MAX: usize = 33 * 1024;
/// Bytes that are read at a time of a client that has not authenticated: it works on so many, and then others come first.
pub const UNAUTHENTICATED_READ_BYTES: usize = 4096;
/// Most bytes of replies that may wait for a client that has not authenticated; past it, it is cut off.
pub const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long the header of the PROXY protocol may take, in seconds.
pub const PROXY_HEADER_SECS_MAX: u64 = 10;
/// Longest inline request, bytes.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Commands parsed and prefetched together.
pub const BATCH_COMMANDS: usize = 32;
/// Bytes of replies after which a batch is written before more commands run, so that one deep pipeline
/// neither grows memory without bound nor keeps its thread from others.
pub const OUTPUT_SOFT_BYTES: usize = 256 * 1024;
/// Longest reply of a command that may be asked for any number of random elements, the same ones again
/// and again, bytes. Redis has no such limit, and runs out of memory.
pub const RANDOM_REPLY_BYTES_MAX: usize = match cfg!(test) {
    // Tests come to it, several at once.
    true => 16 * 1024 * 1024,
    false => 512 * 1024 * 1024,
};
