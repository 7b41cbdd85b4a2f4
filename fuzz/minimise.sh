#!/usr/bin/env bash
# Brings what runs have found (fuzz/target/corpus) into the corpora of the repository, which stay small:
# fuzz/minimise.sh [TARGET...]
# libFuzzer tells what each input reaches that no shorter one does. Those with the most of it for what they take are
# kept, up to 200 and KIVI_FUZZ_CORPUS_BYTES (16000; twice as much where inputs are texts of many lines). It begins
# with the shortest and looks for KIVI_FUZZ_MERGE_SECS (90): what it has not come to by then is long.
set -euo pipefail
cd "$(dirname "$0")"
most=${KIVI_FUZZ_CORPUS_BYTES:-16000} secs=${KIVI_FUZZ_MERGE_SECS:-90}
bin=target/$(rustc -vV | sed -n 's/^host: //p')/release
targets=("$@")
if [ $# = 0 ]; then mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -vx kivi-fuzz); fi

# The inputs of a control file, `SCORE NEW SIZE FILE` each: how many there are, how many of the first folder, their
# names, and of each number `STARTED number size` and `FT number` with what is new. An input takes its part of the
# room, and its part of the number.
scores() {
    awk -v each=$((room / count)) 'NR == 1 { files = $1; next }
        NR == 2 { next }
        NR <= files + 2 { name[NR - 3] = $0; next }
        $1 == "STARTED" { size[$2] = $3 }
        $1 == "FT" && NF > 2 { print (NF - 2) / (size[$2] + each), NF - 2, size[$2], name[$2] }' "$1"
}

for target in "${targets[@]}"; do
    control=target/corpus/$target.merge none=target/minimised/$target
    rm -rf "$none" "$control"
    mkdir -p "$none" "target/corpus/$target" "corpus/$target"
    rc=0
    ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0 timeout "$secs" "$bin/$target" -merge=1 -timeout=30 \
        -rss_limit_mb=3000 -merge_control_file="$control" "$none" "corpus/$target" "target/corpus/$target" \
        >"target/corpus/$target.merge.log" 2>&1 || rc=$?
    if [ $rc != 0 ] && [ $rc != 124 ]; then
        echo "$target: cannot be merged"
        tail -n 5 "target/corpus/$target.merge.log"
        continue
    fi
    room=$most count=200 total=0 kept=0 reached=0
    case $target in commands | script) room=$((2 * most)) ;; esac
    chosen=target/minimised/$target.chosen
    rm -rf "$chosen"
    mkdir -p "$chosen"
    while read -r _ new size file; do
        if [ $((total + size)) -gt "$room" ]; then continue; fi
        if [ "$kept" -ge $count ]; then break; fi
        total=$((total + size)) kept=$((kept + 1)) reached=$((reached + new))
        cp "$file" "$chosen/$(sha1sum "$file" | cut -d' ' -f1)"
    done < <(scores "$control" | sort -gr)
    if [ "$kept" = 0 ]; then
        echo "$target: nothing was looked at in time"
        continue
    fi
    rm -rf "corpus/$target"
    mv "$chosen" "corpus/$target"
    scores "$control" | awk -v told="$target: $kept inputs, $total bytes, reach $reached" \
        '{ new += $2 } END { print told " of " new " features at least, of " NR " inputs" }'
done
