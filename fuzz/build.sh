#!/usr/bin/env bash
# Builds all fuzz targets, with coverage counters for libFuzzer and AddressSanitizer: one build, no cargo-fuzz.
# They lie in fuzz/target/TRIPLE/release then. Needs the nightly toolchain; arguments go to cargo.
#
# The flags are those of cargo-fuzz. `fuzzing` and `kivi_system_alloc` have Kivi use the system's allocator,
# which is AddressSanitizer's, and tell it whose stack coroutines run on.
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address --cfg fuzzing --cfg kivi_system_alloc"
exec cargo +nightly build --quiet --release --target "$host" "$@"
