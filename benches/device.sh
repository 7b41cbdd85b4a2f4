#!/bin/bash
# The benchmark on a machine that has nothing but this folder: no cargo, no packages, no network.
#
#   benches/device.sh pack DIR                         here: puts all it needs into DIR
#   benches/device.sh run DIR SECONDS OUT [ARGS]       there: runs it, tables go to OUT
#
# ARGS are those of side_by_side (default: scaling). SECONDS bounds the whole run: `scaling` divides
# them among its runs, anything else is cut off then (OUT holds the parts that were complete).
# Needs root there, as the rival is started by chroot. PROFILE=fast packs a build without
# link-time optimisation; KIVI_ORACLE is the folder with the real server (/opt/oracle).
set -euo pipefail

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit 2
}

# Copies a file of the oracle to the same place in the packed one, links resolved.
take() {
    mkdir -p "$2/$(dirname "$3")"
    cp -L "$1/$3" "$2/$3"
}

pack() {
    local dir=$1 profile=${PROFILE:-release} oracle=${KIVI_ORACLE:-/opt/oracle} built lib
    cd "$(dirname "$0")/.."
    rm -rf "$dir/oracle"
    mkdir -p "$dir/oracle/tmp"
    # Cargo says where it put the benchmark; the server is built with it.
    built=$(cargo bench --no-run --profile "$profile" --bench side_by_side 2>&1 | tee /dev/stderr |
        sed -n 's/.*Executable.*(\(.*\))$/\1/p')
    strip -o "$dir/side_by_side" "$built"
    strip -o "$dir/kivi-server" "$(dirname "$built")/../kivi-server"
    take "$oracle" "$dir/oracle" usr/bin/valkey-server
    chroot "$oracle" ldd /usr/bin/valkey-server | grep -o '/[^ ]*' | while read -r lib; do
        take "$oracle" "$dir/oracle" "${lib#/}"
    done
    du -sh "$dir"
}

run() {
    local dir=$1 seconds=$2 out=$3
    shift 3
    [ $# -gt 0 ] || set -- scaling
    # Half a minute more than it was told: it looks at the clock only between its parts.
    timeout $((seconds + 30)) "$dir/side_by_side" "$@" --limit "$seconds" --out "$out" \
        --kivi "$dir/kivi-server" --oracle "$dir/oracle"
}

case "${1:-}" in
    pack) [ $# -eq 2 ] || usage; pack "$2" ;;
    run) [ $# -ge 4 ] || usage; shift; run "$@" ;;
    *) usage ;;
esac
