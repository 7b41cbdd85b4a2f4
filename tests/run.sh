#!/usr/bin/env bash
# All checks, as CI runs them: tests/run.sh            one or some of them: tests/run.sh clippy test
# Checks: setup fmt licences clippy doc build test asan chroot clients model fuzz. Goes on after a failure, ends with a
# summary and exit code 1. All of them are to end within an hour on two cores: on a slow machine fuzzing is cut short,
# and clients and model are left out when less than ten minutes are left.
#
# The server under test is built with the profile `fast` (optimised, without link-time optimisation).
# Environment: KIVI_ORACLE (folder with real servers, see tests/it/harness.rs), KIVI_TEST_STEPS, KIVI_TEST_ROUNDS,
# KIVI_FUZZ_SECS (seconds for each fuzz target, 60), KIVI_FUZZ_SEED (1: the same inputs each time, as far as time allows),
# KIVI_CHECKS_SECS (seconds for everything, 3300).
set -uo pipefail
cd "$(dirname "$0")/.."
checks=${*:-setup fmt licences clippy doc build test asan chroot clients model fuzz}
checks_secs=${KIVI_CHECKS_SECS:-3300}
host=$(rustc -vV | sed -n 's/^host: //p')

check_setup() { tests/setup.sh; }
check_fmt() { cargo fmt --check && cargo fmt --check --manifest-path fuzz/Cargo.toml; }
# Whatever goes into the server may go with it under Apache-2.0: a licence that is not in this list stops here.
check_licences() {
    local known='^(MIT|MIT-0|Apache-2\.0|BSD-3-Clause|ISC|Zlib|0BSD|CC0-1\.0|Unlicense|Unicode-3\.0|AND|OR)$'
    local listed
    listed=$(cargo tree --locked --edges normal,build --prefix none --format '{p}|{l}' | sed 's/ (\*)$//' | sort -u) || return
    awk -F'|' -v known="$known" '{
        count = split($2, words, "[ ()/]+")
        for (i = 1; i <= count; i++) if (words[i] != "" && words[i] !~ known) wrong = 1
        if (wrong || $2 == "") { print "not known to be free to use: " $0; failed = 1; wrong = 0 }
    } END { exit failed }' <<<"$listed"
}
check_clippy() { cargo clippy --quiet --all-targets -- -D warnings; }
check_doc() { RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --document-private-items; }
# The static binary, as it is shipped.
check_build() {
    RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --quiet --profile fast --target "$host" --target-dir target/static --bin kivi-server
}
binary=$PWD/target/static/$host/fast/kivi-server
check_test() {
    check_build || return
    KIVI_TEST_BINARY=${KIVI_TEST_BINARY:-$binary} cargo test --quiet
}
# What people use Redis with: clients and job queues, installed if the registries are to be had.
check_clients() {
    is_time_for_more || return 0
    check_build || return
    KIVI_TEST_BINARY=${KIVI_TEST_BINARY:-$binary} tests/clients/run.sh
}
# The data structures, which hold nearly all of the unsafe code, under AddressSanitizer. (The filter is part of a path,
# so it finds commands:: as well.)
check_asan() {
    if ! cargo +nightly --version >/dev/null 2>&1; then echo "skipped: no nightly toolchain"; return 0; fi
    # A test asks for more memory than there can be, to be refused.
    ASAN_OPTIONS=allocator_may_return_null=1 \
        RUSTFLAGS="-Zsanitizer=address --cfg kivi_system_alloc" cargo +nightly test --quiet --lib \
        --target "$host" --target-dir target/asan -- ds:: sys:: --skip commands::
}
# Locks, waits and snapshots in all interleavings of their threads, as far as KIVI_MODEL_SECS go for each.
check_model() {
    is_time_for_more || return 0
    cargo test --quiet --lib --features model -- model::
}
# Every fuzz target for a minute, three at once.
check_fuzz() {
    if ! cargo +nightly --version >/dev/null 2>&1; then echo "skipped: no nightly toolchain"; return 0; fi
    fuzz/build.sh || return
    local targets secs
    targets=$(find fuzz/fuzz_targets -name '*.rs' | wc -l)
    secs=$(((checks_secs - SECONDS) * 3 / targets))
    secs=$((secs < 5 ? 5 : secs > 60 ? 60 : secs))
    KIVI_FUZZ_SECS=${KIVI_FUZZ_SECS:-$secs} KIVI_FUZZ_SEED=${KIVI_FUZZ_SEED:-1} fuzz/run.sh
}
check_chroot() { tests/chroot.sh; }

is_time_for_more() {
    if [ $((checks_secs - SECONDS)) -ge 600 ]; then return 0; fi
    echo "skipped: of $checks_secs seconds $SECONDS have gone"
    return 1
}

summary=() failed=0
for check in $checks; do
    printf '\n==> %s\n' "$check"
    start=$SECONDS
    if "check_$check"; then result=ok; else result=FAILED failed=1; fi
    summary+=("$(printf '%-8s %-7s %4d s' "$check" "$result" $((SECONDS - start)))")
done
printf '\n'
printf '%s\n' "${summary[@]}"
exit $failed
