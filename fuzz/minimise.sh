#!/usr/bin/env bash
# Brings what runs have found (fuzz/target/corpus) into the corpora of the repository, which stay small:
# fuzz/minimise.sh [TARGET...]
# libFuzzer chooses inputs that together reach what all of them reach; of those any are kept, up to 100 and
# KIVI_FUZZ_CORPUS_BYTES (16000; twice as much where inputs are texts of many lines).
set -euo pipefail
cd "$(dirname "$0")"
most=${KIVI_FUZZ_CORPUS_BYTES:-16000}
bin=target/$(rustc -vV | sed -n 's/^host: //p')/release
targets=("$@")
if [ $# = 0 ]; then mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -vx kivi-fuzz); fi
for target in "${targets[@]}"; do
    new=target/minimised/$target
    rm -rf "$new"
    mkdir -p "$new" "target/corpus/$target" "corpus/$target"
    ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0 "$bin/$target" -merge=1 -timeout=30 -rss_limit_mb=3000 \
        "$new" "corpus/$target" "target/corpus/$target" >"target/corpus/$target.merge.log" 2>&1 ||
        { echo "$target: cannot be merged"; tail -n 5 "target/corpus/$target.merge.log"; continue; }
    rm -rf "corpus/$target"
    mkdir -p "corpus/$target"
    total=0 kept=0 room=$most
    case $target in commands | script) room=$((2 * most)) ;; esac
    while read -r size file; do
        total=$((total + size))
        if [ "$total" -gt "$room" ] || [ "$kept" -ge 100 ]; then break; fi
        kept=$((kept + 1))
        cp "$file" "corpus/$target/"
    done < <(find "$new" -type f -printf '%s %p\n' | sort -k2)
    echo "$target: $(find "corpus/$target" -type f | wc -l) of $(find "$new" -type f | wc -l) inputs"
done
