#!/usr/bin/env bash
# Proves what the Docker image relies on: a static kivi-server that runs as a user without rights in an empty root, with
# nothing but itself and /data, takes its settings from the environment and the command line, and checks its own health.
#   tests/chroot.sh          (PROFILE=release for the binary of the image; default: fast)
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-fast}
host=$(rustc -vV | sed -n 's/^host: //p')
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
fail() { echo "chroot: $*" >&2; [ -f "${log:-}" ] && tail -20 "$log" >&2; exit 1; }

RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --quiet --profile "$profile" --target "$host" --target-dir target/static --bin kivi-server
binary=target/static/$host/$profile/kivi-server
if ldd "$binary" 2>&1 | grep -q '=>'; then fail "$binary is not static"; fi

root=$(mktemp -d) log=$(mktemp) pid=
end() {
    if [ -n "$pid" ]; then "${sudo[@]}" kill "$pid" 2>/dev/null; wait "$pid" || true; fi
    "${sudo[@]}" rm -rf "$root"
    rm -f "$log"
}
trap end EXIT
chmod 755 "$root"
cp "$binary" "$root/kivi-server"
mkdir "$root/data"
"${sudo[@]}" chown 65534:65534 "$root/data"
port=$((20000 + $$ % 10000))
# As the image does: settings in the environment, the user's arguments on the command line.
settings=(KIVI_BIND='* -::*' KIVI_PROTECTED_MODE=no KIVI_PORT="$port" KIVI_DIR=/data)
inside=("${sudo[@]}" env "${settings[@]}" chroot --userspec=65534:65534 "$root")

"${inside[@]}" /usr/bin/env true 2>/dev/null && fail "the root is not empty"
"${inside[@]}" /kivi-server --version >/dev/null || fail "--version"
"${inside[@]}" /kivi-server --ping >/dev/null 2>&1 && fail "--ping finds a server where there is none"

"${inside[@]}" /kivi-server --requirepass secret >"$log" 2>&1 &
pid=$!
for _ in $(seq 300); do
    if "${inside[@]}" /kivi-server --ping >/dev/null 2>&1; then break; fi
    [ -d "/proc/$pid" ] || fail "the server ended"
    sleep 0.1
done
cli() { redis-cli -p "$port" --no-auth-warning -a secret "$@"; }
[ "$(cli SET key value)" = OK ] || fail "SET"
[ "$(cli GET key)" = value ] || fail "GET"
[ "$(redis-cli -p "$port" GET key)" = "NOAUTH Authentication required." ] || fail "requirepass on the command line"
cli INFO server | grep -q process_id || fail "INFO"
address=$(hostname -I 2>/dev/null | cut -d' ' -f1)
if [ -n "$address" ]; then
    [ "$(redis-cli -h "$address" -p "$port" --no-auth-warning -a secret PING)" = PONG ] || fail "bind *"
fi
"${sudo[@]}" kill -TERM "$pid"
wait "$pid" || fail "exit code $? after SIGTERM"
pid=
echo "chroot: the static $profile binary ($(du -h "$binary" | cut -f1)) runs in an empty root"
