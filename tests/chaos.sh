#!/usr/bin/env bash
# Chaos for long: tests/it/chaos.rs against an optimised server, and against servers that AddressSanitizer and
# ThreadSanitizer look into, 10 minutes each.
#
#     tests/chaos.sh                    all of them
#     tests/chaos.sh asan tsan          some of: normal asan tsan
#
# Environment: KIVI_TEST_CHAOS_SECS (default 600), KIVI_TEST_SEED (default: other ones each time; it is printed).
# The sanitizers need a nightly toolchain, ThreadSanitizer also its component rust-src, since what the standard
# library does must be known, too. What is written in C (Lua, TLS) is not looked into but for its allocations.
# There are no suppressions.
set -uo pipefail
cd "$(dirname "$0")/.."
kinds=${*:-normal asan tsan}
host=$(rustc -vV | sed -n 's/^host: //p')
export KIVI_TEST_CHAOS_SECS=${KIVI_TEST_CHAOS_SECS:-600}
export KIVI_TEST_SEED=${KIVI_TEST_SEED:-$((RANDOM + 2))}

build_normal() {
    cargo build --quiet --profile fast --bin kivi-server && server=target/fast/kivi-server
}
build_asan() {
    RUSTFLAGS="-Zsanitizer=address --cfg kivi_system_alloc -Cdebug-assertions=yes" cargo +nightly build --quiet \
        --profile fast --bin kivi-server --target "$host" --target-dir target/chaos-asan &&
        server=target/chaos-asan/$host/fast/kivi-server
    # Memory that cannot be had is refused, as by any allocator. A fiber that is abandoned when the server stops
    # leaves what it holds, and what the process needs to its end is never freed: leaks are looked for by
    # turmoil.rs, which compares what is in use.
    export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0:detect_stack_use_after_return=0
}
build_tsan() {
    RUSTFLAGS="-Zsanitizer=thread --cfg kivi_system_alloc --cfg kivi_tsan -Cdebug-assertions=yes" cargo +nightly build \
        --quiet -Zbuild-std=std,panic_abort --profile fast --bin kivi-server --target "$host" --target-dir target/chaos-tsan &&
        server=target/chaos-tsan/$host/fast/kivi-server
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4
}

failed=0
for kind in $kinds; do
    printf '==> %s: KIVI_TEST_SEED=%s, %s s\n' "$kind" "$KIVI_TEST_SEED" "$KIVI_TEST_CHAOS_SECS"
    "build_$kind" || exit 1
    KIVI_TEST_BINARY=$PWD/$server cargo test --quiet --test it -- chaos:: --include-ignored --nocapture || failed=1
done
exit $failed
