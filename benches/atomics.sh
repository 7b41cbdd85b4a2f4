#!/bin/bash
# Which locked instructions a request executes, and how often: every exchange, increment or comparison that takes a
# cache line for one processor. What threads share cannot be told from the source alone (allocators, channels, the
# runtime), so the server runs under callgrind, which counts each instruction, and the disassembly says which ones are
# locked. Plain loads and stores of shared words are no more than others, unless somebody else writes the line.
#
#   benches/atomics.sh [BINARY]      table of GET and SET at pipelines 1 and 64, markdown
#   ARGS='--appendonly yes' benches/atomics.sh       with more arguments for the server
#
# BINARY has to have line tables (profiles fast and release have them); default: target/fast/kivi-server. One worker
# thread, one connection, REQUESTS (20000) per run; takes two minutes. Needs valgrind, binutils, redis-benchmark, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/fast/kivi-server}")
requests=${REQUESTS:-20000}
port=${PORT:-8341}
dir=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

objdump -d --no-show-raw-insn "$binary" | grep -E '^ +[0-9a-f]+:.*(\block\b|\bxchg +.*\()' >"$dir/locked" || true

valgrind --tool=callgrind --dump-instr=yes --instr-atstart=no --callgrind-out-file="$dir/out" \
    "$binary" --port "$port" --io-threads 1 --save '' --dir "$dir" ${ARGS:-} >"$dir/log" 2>&1 &
server=$!
for _ in $(seq 600); do
    redis-cli -p "$port" ping >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || { cat "$dir/log"; exit 1; }
    sleep 0.1
done
bench() { redis-benchmark -p "$port" -c 1 -q -r 10000 "$@" >/dev/null; }
bench -t set -n 20000 -P 64

for pipeline in 1 64; do
    for command in get set; do
        bench -t "$command" -n 2000 -P "$pipeline"
        callgrind_control --instr=on "$server" >/dev/null 2>&1
        callgrind_control --zero "$server" >/dev/null 2>&1
        bench -t "$command" -n "$requests" -P "$pipeline"
        callgrind_control --dump="$command-P$pipeline" "$server" >/dev/null 2>&1
        callgrind_control --instr=off "$server" >/dev/null 2>&1
        newest=$(ls -t "$dir"/out.* | head -1)
        mv "$newest" "$dir/$command-P$pipeline"
    done
done

python3 - "$dir" "$binary" "$requests" <<'PY'
"""Counts per locked instruction out of callgrind's files; a row for each, a column for each run."""
import collections
import re
import subprocess
import sys

folder, binary, requests = sys.argv[1], sys.argv[2], int(sys.argv[3])
# Rarer ones are those of timers: the cron, the balance.
LEAST = 0.1
runs = ["get-P1", "set-P1", "get-P64", "set-P64"]
locked = {}
for line in open(f"{folder}/locked"):
    address, text = line.split(":", 1)
    locked[int(address, 16)] = " ".join(text.split())


def counts(path):
    """Instructions executed, by address in the binary's own object."""
    found = collections.Counter()
    total = 0
    last = base = 0
    names, in_binary, after_calls = {}, False, False
    for line in open(path):
        if line.startswith("ob="):
            number, _, name = line[3:].strip().partition(" ")
            if name:
                names[number] = name
            in_binary = names.get(number, "") == binary
        elif line.startswith("calls="):
            after_calls = True
        elif re.match(r"(0x|\+|-|\*)", line):
            words = line.split()
            if words[0].startswith("0x"):
                last = int(words[0], 16)
            elif words[0] != "*":
                last += int(words[0], 0) if words[0][0] == "-" else int(words[0][1:], 0)
            # The line behind `calls=` tells what the callee took.
            if after_calls:
                after_calls = False
            else:
                total += int(words[-1])
                if in_binary:
                    found[last] += int(words[-1])
    return found, total


tables, totals = {}, {}
for run in runs:
    tables[run], totals[run] = counts(f"{folder}/{run}")
every = set().union(*(set(table) for table in tables.values()))
# Valgrind loads position-independent programs at 0x400000 more (32 or 64 bits alike) in steps of pages.
offsets = collections.Counter()
for offset in (0, 0x400000, 0x108000, 0x4000000, 0x10000000):
    offsets[offset] = sum(1 for address in every if address - offset in locked)
offset = offsets.most_common(1)[0][0]


rows = {}
for address, text in locked.items():
    per = [tables[run].get(address + offset, 0) / requests for run in runs]
    if max(per) >= LEAST:
        rows[address] = (per, text.split("#")[0].strip())


def places():
    """Function and line of each row: the innermost one of our own sources, else the innermost one."""
    words = ["addr2line", "-e", binary, "-a", "-f", "-C", "-i", *map(hex, rows)]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for block in re.split(r"^0x(?=[0-9a-f]+$)", out, flags=re.M)[1:]:
        lines = block.split("\n")
        pairs = list(zip(lines[1::2], lines[2::2]))
        # Named is who asked for the operation, not the wrapper around the instruction, as far as that is inlined.
        wrappers = ("sync/atomic", "/lock_api-", "/parking_lot", "/sync/mutex", "/tokio-1.*/src/loom/")
        told = [pair for pair in pairs if not any(re.search(wrapper, pair[1]) for wrapper in wrappers)]
        name, at = (told or pairs)[0]
        at = re.sub(r".*/((?:[a-z_]+-[0-9.]+/)?(?:src|library)/)", r"\1", at.split(" ")[0])
        yield int(lines[0], 16), f"`{re.sub(r'::h[0-9a-f]{16}$', '', name)}` {at}"


names = dict(places())
print("| per request | " + " | ".join(run.replace("-", " ").upper() for run in runs) + " |")
print("|---|" + "---:|" * len(runs))
for address, (per, text) in sorted(rows.items(), key=lambda row: -max(row[1][0])):
    print(f"| {names[address]} `{text}` | " + " | ".join(f"{n:.2f}" for n in per) + " |")
sums = [sum(per[i] for per, _ in rows.values()) for i in range(len(runs))]
print("| **locked instructions** | " + " | ".join(f"{n:.2f}" for n in sums) + " |")
print("| all instructions | " + " | ".join(f"{totals[run] / requests:.0f}" for run in runs) + " |")
PY
