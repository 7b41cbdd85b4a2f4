#!/usr/bin/env bash
# Brings what runs have found (fuzz/target/corpus) into the corpora of the repository, which stay small:
# fuzz/minimise.sh [TARGET...]
# libFuzzer chooses inputs that together reach what all of them reach, the shortest first; of those the
# first KIVI_FUZZ_CORPUS_BYTES (16000) of each target are kept.
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
    total=0
    while read -r size file; do
        total=$((total + size))
        if [ "$total" -gt "$most" ]; then break; fi
        cp "$file" "corpus/$target/"
    done < <(find "$new" -type f -printf '%s %p\n' | sort -n)
    echo "$target: $(find "corpus/$target" -type f | wc -l) of $(find "$new" -type f | wc -l) inputs"
done
