#!/usr/bin/env bash
# The clients and job queues that people use with Redis, each doing its real work against a Kivi of its own:
#   tests/clients/run.sh              all of them
#   tests/clients/run.sh rq bullmq    some of them
#
# A check is a function `client_NAME` below: it installs what it needs (`need_...`, into target/clients, quick when it is
# there), starts a server (`serve`) and runs a program that asserts what it sees and exits with 1 if anything differs.
# Four checks run at a time, since most of what they do is to wait; so do the installations. What a registry does not give
# (no network, no such package, or not in time) makes a check "skipped" and does not fail the run; whatever was installed
# and does not build or does not work does. A program that hangs is looked into before it is ended (`show_hang`).
# To add a client: a program in a folder below, pinned versions beside it, a function here and its name in `all`.
#
# Environment: KIVI_TEST_BINARY (default: the profile `fast`, built if it is missing), KIVI_TEST_CLIENTS_DIR (where packages
# go), KIVI_TEST_CLIENTS_JOBS (4), KIVI_TEST_CLIENTS_SUITES (the clients' own test suites, too: `quick` parts of them, or
# `full`; their tests have limits of time of their own, so they are no part of CI. See suites/).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
# What takes long comes first: each of the first four has a registry of its own to wait for.
all=(celery redis_rs sidekiq bullmq rq redis_py hiredis node_redis ioredis go)
suites=(suite_redis_py suite_hiredis suite_rq suite_redis_rs suite_redigo)
export KIVI_TEST_CLIENTS_DIR=${KIVI_TEST_CLIENTS_DIR:-$root/target/clients}
dir=$KIVI_TEST_CLIENTS_DIR
jobs_max=${KIVI_TEST_CLIENTS_JOBS:-4}
binary=${KIVI_TEST_BINARY:-$root/target/fast/kivi-server}
SKIPPED=77
# How long a registry may take, and a program that does not hang, in seconds.
INSTALL_MAX=180
WORK_MAX=300
# The registries' own clients are patient: without a network they would try again for minutes.
export CARGO_NET_RETRY=1 PIP_RETRIES=1 PIP_DEFAULT_TIMEOUT=20 PIP_DISABLE_PIP_VERSION_CHECK=1 npm_config_fetch_retries=1
export npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_timeout=30000

# ---- what a check may use ----

skip() { echo "skipped: $*"; exit $SKIPPED; }
fail() { echo "FAILED: $*"; exit 1; }

# once NAME COMMAND...: runs the command for one check at a time, and not again once it has succeeded with this NAME.
once() {
    local name=$1 failed; shift
    (
        flock 9
        [ -e "$dir/$name.done" ] && exit 0
        [ -e "$run/$name.failed" ] && exit 1
        if "$@" >"$run/$name.log" 2>&1; then touch "$dir/$name.done"; exit 0; fi
        touch "$run/$name.failed"
        exit 1
    ) 9>"$dir/$name.lock" || { tail -3 "$run/$name.log"; return 1; }
}
digest() { cat "$@" | sha1sum | cut -c1-12; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# Nobody may end dpkg in the middle; what takes its time is the network.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@"
}
apt_fetch() { apt_get install -y --no-install-recommends --download-only "$@"; }
apt_install() {
    dpkg -s "$@" >/dev/null 2>&1 && return
    apt_fetch "$@" || { apt_get update && apt_fetch "$@"; } || return
    apt_get install -y --no-install-recommends "$@"
}
need_apt() {
    command -v apt-get >/dev/null || skip "no apt-get to install $*"
    # One installation at a time: dpkg has a lock of its own, and does not wait for it.
    (flock 9; apt_install "$@" >"$run/apt.log" 2>&1) 9>"$dir/apt.lock" ||
        { tail -3 "$run/apt.log"; skip "apt does not give $*"; }
}

make_venv() {
    rm -rf "$dir/venv"
    python3 -m venv "$dir/venv" &&
        timeout "$INSTALL_MAX" "$dir/venv/bin/pip" install --quiet -r "$here/python/requirements.txt"
}
need_python() {
    once "venv-$(digest "$here/python/requirements.txt")" make_venv || skip "PyPI is not to be had"
    PATH=$dir/venv/bin:$PATH
}

# need_sdist NAME: the source of the installed version of a Python package, which has its tests; prints the folder.
fetch_sdist() {
    timeout "$INSTALL_MAX" "$dir/venv/bin/pip" download --quiet --no-deps --no-binary "$1" -d "$dir/sdist" "$2" &&
        tar xzf "$dir/sdist/${2/==/-}.tar.gz" -C "$dir/sdist"
}
need_sdist() {
    local pinned
    need_python
    pinned=$(grep -E "^$1==" "$here/python/requirements.txt") || fail "$1 is not in requirements.txt"
    mkdir -p "$dir/sdist"
    once "sdist-${pinned/==/-}" fetch_sdist "$1" "$pinned" || skip "PyPI does not give the source of $pinned"
    sdist=$dir/sdist/${pinned/==/-}
}

make_node_modules() {
    mkdir -p "$dir/node" && cp "$here/node/package.json" "$here/node/package-lock.json" "$dir/node/" &&
        timeout "$INSTALL_MAX" npm ci --prefix "$dir/node" --ignore-scripts --no-audit --no-fund
}
need_node() {
    { command -v node && command -v npm; } >/dev/null || need_apt nodejs npm
    once "node-$(digest "$here/node/package-lock.json")" make_node_modules || skip "the npm registry is not to be had"
    export NODE_PATH=$dir/node/node_modules
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# serve [DIRECTIVE...]: a Kivi of this check's own, on a port that is free (or port_wanted); sets SERVER_PORT and
# SERVER_SOCKET. It writes its log of commands, as the server of a queue would.
serve() {
    for _ in 1 2 3 4 5; do
        SERVER_PORT=${port_wanted:-$(free_port)}
        mkdir -p "$here_run/data"
        export SERVER_PORT SERVER_SOCKET=$here_run/kivi.sock
        "$binary" --port "$SERVER_PORT" --bind 127.0.0.1 --unixsocket "$SERVER_SOCKET" --dir "$here_run/data" --save '' \
            --appendonly yes --enable-debug-command yes "$@" >"$here_run/server.log" 2>&1 &
        server=$!
        for _ in $(seq 600); do
            kill -0 $server 2>/dev/null || break
            "$binary" --ping --port "$SERVER_PORT" >/dev/null 2>&1 && return
            sleep 0.05
        done
        kill -9 $server 2>/dev/null
        wait $server 2>/dev/null
    done
    cat "$here_run/server.log"
    fail "the server does not start"
}

# finish: the server must have lived to the end, and end well.
finish() {
    kill -0 $server 2>/dev/null || { tail -40 "$here_run/server.log"; fail "the server has ended"; }
    kill $server
    wait $server || { tail -40 "$here_run/server.log"; fail "the server ends with $?"; }
    server=
}

# helpers: the processes that the check's program has started, whatever session they are in: they know the server's port.
helpers() { grep -lsz "^SERVER_PORT=${SERVER_PORT:-none}$" /proc/[0-9]*/environ | cut -d/ -f3 | grep -vx "$BASHPID"; }

# show_hang PROGRAM: who waits for what, of all that work with this check's server. A hang that comes once in a hundred
# runs is understood by what is seen of it now, or never.
show_hang() {
    local pid
    for pid in $server "$1"; do
        command -v gdb >/dev/null || break
        timeout 60 gdb -p "$pid" -batch -ex 'thread apply all bt 12' 2>/dev/null </dev/null |
            grep -E '^(Thread|#)' | cut -c1-150
    done
    for pid in $server $(helpers); do
        ps -L -o pid,ppid,lwp,stat,wchan:24,time,args -p "$pid" | cut -c1-150
    done
    ss -tnpo "( sport = :$SERVER_PORT or dport = :$SERVER_PORT )" 2>/dev/null
    (
        exec 8<>"/dev/tcp/127.0.0.1/$SERVER_PORT" && printf 'INFO clients\r\nCLIENT LIST\r\nQUIT\r\n' >&8 &&
            timeout 10 cat <&8
    ) | cut -c1-400
    echo "$1 hangs: above, threads, processes, sockets and what the server says"
}

# work COMMAND...: runs it with a limit on its time, which only a hang reaches.
work() {
    local code=0 program watch
    "$@" &
    program=$!
    (
        sleep "${limit:-$WORK_MAX}"
        show_hang $program
        kill -9 $program
    ) &
    watch=$!
    wait $program || code=$?
    kill $watch 2>/dev/null
    [ $code = 0 ] || fail "$(basename "$1") $(basename "${2:-}") ends with $code"
}

# ---- the checks ----

client_redis_py() { need_python; serve; work python3 "$here/python/redis_py.py"; finish; }
client_celery() { need_python; serve; work python3 "$here/python/celery_check.py"; finish; }
client_rq() { need_python; serve; work python3 "$here/python/rq_check.py"; finish; }
client_node_redis() { need_node; serve; work node "$here/node/node_redis.js"; finish; }
client_ioredis() { need_node; serve; work node "$here/node/ioredis.js"; finish; }
client_bullmq() { need_node; serve; work node "$here/node/bullmq.js"; finish; }

build_hiredis() {
    mkdir -p "$dir/hiredis/lib" && cd "$dir/hiredis/lib" &&
        cc -O1 -w -c "$1"/vendor/hiredis/{alloc,async,hiredis,net,read,sds,sockcompat}.c && ar rcs ../libhiredis.a ./*.o
}
need_hiredis() {
    command -v cc >/dev/null || need_apt build-essential
    need_sdist hiredis
    hiredis_source=$sdist/vendor/hiredis
    once "lib$(basename "$sdist")" build_hiredis "$sdist" || fail "hiredis does not build"
}
client_hiredis() {
    need_hiredis
    cc -O1 -Wall -Werror -I"$hiredis_source" -I"$here/c" -o "$here_run/hiredis" "$here/c/hiredis.c" "$dir/hiredis/libhiredis.a" -lm ||
        fail "hiredis.c does not build"
    serve
    work "$here_run/hiredis" "$SERVER_PORT" "$SERVER_SOCKET"
    finish
}

client_redis_rs() {
    timeout "$INSTALL_MAX" cargo fetch --quiet --locked --manifest-path "$here/rust/Cargo.toml" || skip "crates.io is not to be had"
    cargo build --quiet --locked --offline --manifest-path "$here/rust/Cargo.toml" --target-dir "$dir/rust" ||
        fail "the program with redis-rs does not build"
    serve
    work "$dir/rust/debug/kivi-clients"
    finish
}

client_sidekiq() { need_apt ruby ruby-sidekiq ruby-redis; serve; work ruby "$here/ruby/sidekiq_check.rb"; finish; }

# Debian's go-redis is version 5, and redigo is the other client of Go.
client_go() {
    need_apt golang-go golang-gopkg-redis.v5-dev golang-github-gomodule-redigo-dev
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$dir/go go build -o "$here_run/go" "$here/go/main.go" ||
        fail "the program with go-redis does not build"
    serve
    work "$here_run/go"
    finish
}

. "$here/suites.sh"

# ---- running them ----

run=${KIVI_TEST_CLIENTS_PRIVATE:-$(mktemp -d "${TMPDIR:-/tmp}/kivi-clients.XXXXXX")}
mkdir -p "$dir"
one() {
    local name=$1
    server= silent=
    here_run=$run/$name
    mkdir -p "$here_run"
    trap 'for pid in $server $silent $(helpers); do kill -9 "$pid" 2>/dev/null; done' EXIT
    "client_$name"
}
if [ -n "${KIVI_TEST_CLIENTS_PRIVATE:-}" ]; then
    one "$1"
    exit
fi
report() {
    local name=$1 code=$2 took=$3 word
    case $code in 0) word=ok ;; $SKIPPED) word=skipped ;; *) word=FAILED ;; esac
    # (A skipped one says why in its last line.)
    case $code in 0 | $SKIPPED) ;; *) sed 's/^/    /' "$run/$name.out" | tail -n 300 ;; esac
    printf '%-16s %-8s %4d s  %s\n' "$name" "$word" "$took" "$(tail -1 "$run/$name.out" | cut -c1-90)"
    printf '%s %s\n' "$word" "$name" >>"$run/results"
}
end() {
    local pid
    for pid in $(jobs -p); do kill -- -"$pid" 2>/dev/null; done
    if [ "${keep:-no}" = no ]; then rm -rf "$run"; else echo "logs: $run"; fi
}
trap end EXIT
trap 'exit 130' INT TERM

if [ ! -x "$binary" ]; then cargo build --quiet --profile fast --bin kivi-server || exit 1; fi
names=("$@")
[ $# -gt 0 ] || names=("${all[@]}")
[ $# -gt 0 ] || [ -z "${KIVI_TEST_CLIENTS_SUITES:-}" ] || names+=("${suites[@]}")
for name in "${names[@]}"; do
    declare -F "client_$name" >/dev/null || { echo "no such client: $name (${all[*]} ${suites[*]})"; exit 2; }
done
set -m
for name in "${names[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs_max" ]; do wait -n; done
    (
        start=$SECONDS
        (one "$name") >"$run/$name.out" 2>&1 </dev/null
        report "$name" $? $((SECONDS - start))
        # What the check has left behind (a suite that ends in the middle leaves its server) is of this process group.
        trap '' TERM
        kill -- -"$BASHPID"
    ) &
done
wait
ok=$(grep -c '^ok' "$run/results") failed=$(grep -c '^FAILED' "$run/results") skipped=$(grep -c '^skipped' "$run/results")
if [ "$failed" != 0 ]; then keep=yes; fi
echo "$ok passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
