#!/usr/bin/env bash
# Runs fuzz targets that build.sh has built: fuzz/run.sh                    all of them
#                                            fuzz/run.sh commands geo      these
# Each gets KIVI_FUZZ_SECS seconds (60), KIVI_FUZZ_JOBS (3) at a time. KIVI_FUZZ_SEED makes the same choices again
# (else others each time). It begins with its corpus of the repository and what earlier runs here have found
# (fuzz/target/corpus). What breaks is kept in fuzz/artifacts/TARGET, with the words that say why; the exit code is 1 then.
set -uo pipefail
cd "$(dirname "$0")"
secs=${KIVI_FUZZ_SECS:-60} jobs=${KIVI_FUZZ_JOBS:-3} seed=${KIVI_FUZZ_SEED:-0}
bin=target/$(rustc -vV | sed -n 's/^host: //p')/release
targets=("$@")
if [ $# = 0 ]; then mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -vx kivi-fuzz); fi

# An interpreter that lives on takes more than it gives back with nearly every input, and libFuzzer would look
# through all memory for leaks each time: a hundred times slower. They are looked for at the end.
options() {
    if [ -f "dictionaries/$1.txt" ]; then echo "-dict=dictionaries/$1.txt"; fi
    case $1 in script) echo "-detect_leaks=0" ;; esac
}

# The server of `http` lives as long as the process, and LeakSanitizer does not see through all of its pointers.
leaks() {
    case $1 in
        http) echo 0 ;;
        *) echo 1 ;;
    esac
}

fuzz() {
    local target=$1
    mkdir -p "target/corpus/$target" "corpus/$target" "artifacts/$target"
    local log=target/corpus/$target.log
    # shellcheck disable=SC2046 # Options are words.
    ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=$(leaks "$target") \
        LSAN_OPTIONS=suppressions=leaks.txt:print_suppressions=0 "$bin/$target" \
        -max_total_time="$secs" -seed="$seed" -timeout=30 -rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
        $(options "$target") "target/corpus/$target" "corpus/$target" >"$log" 2>&1
    local rc=$?
    local runs reached cpu
    times >"$log.times"
    cpu=$(awk -F'[ms ]+' 'END { print int(60 * ($1 + $3) + $2 + $4) }' "$log.times")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    reached=$(grep -o ' cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)
    if [ $rc = 0 ]; then
        echo "$target: ok, ${runs:-?} runs in $cpu s of a processor,$reached"
    else
        echo "$target: FAILED (exit code $rc), see fuzz/artifacts/$target"
        tail -n 60 "$log"
    fi
    return $rc
}

failed=0 running=0
for target in "${targets[@]}"; do
    if [ "$running" -ge "$jobs" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    fuzz "$target" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
