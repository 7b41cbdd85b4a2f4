# The clients' own test suites, where their packages bring them along; sourced by run.sh, see there.
#
# What a suite needs that Kivi has not (a cluster, modules, replication) and what fails against Valkey 9.1, too, stands in
# suites/NAME.txt, a test on each line with a reason behind it; everything else has to pass. Quick parts are run unless
# KIVI_TEST_CLIENTS_SUITES=full: what has to do with a server.

# private_network: the rest of this check runs in a network of its own, for suites that insist on port 6379. Installs
# nothing any more, so ask for packages first.
private_network() {
    [ -n "${KIVI_TEST_CLIENTS_PRIVATE:-}" ] && return
    command -v ip >/dev/null || need_apt iproute2
    unshare -n true 2>/dev/null || skip "no right to a network of one's own (unshare -n)"
    KIVI_TEST_CLIENTS_PRIVATE=$run unshare -n "$here/run.sh" "$name"
    exit $?
}

# deselect NAME: pytest's options for the tests of suites/NAME.txt.
deselect() { sed -n 's/^\([^# ][^ ]*\) .*/--deselect=\1/p' "$here/suites/$1.txt"; }
in_full() { [ "${KIVI_TEST_CLIENTS_SUITES:-}" = full ]; }
# Whatever fails is tried once more by itself, since these tests count on the clock here and there: on a machine that is slow
# at the wrong moment one of them fails, and on a Kivi that is wrong it fails again.
run_pytest() {
    local how=(-q -p no:warnings -o addopts= -o cache_dir="$here_run/cache" --tb=short -rfE --timeout 120)
    local again=()
    timeout --foreground "${limit:-600}" python3 -m pytest "${how[@]}" "$@" && return
    [ $? = 1 ] && again=(--last-failed)
    work python3 -m pytest "${how[@]}" "${again[@]}" "$@"
}

client_suite_redis_py() {
    local files=(tests/test_{commands,pipeline,scripting,function,encoding}.py)
    in_full && files=(tests --ignore-glob '*scenario*' --ignore-glob '*multidb*' --ignore-glob '*maint_notifications*'
        --ignore-glob '*observability*' --ignore-glob '*credentials*' --ignore-glob '*sentinel*' --ignore-glob '*cluster*'
        --ignore-glob '*vsets*' --ignore-glob '*search*')
    need_sdist redis
    private_network
    ip link set lo up
    port_wanted=6379 serve
    (
        cd "$sdist" || exit 1
        limit=3000 run_pytest --redis-url redis://localhost:6379/9 --protocol 3 \
            -m 'not (onlycluster or redismod or ssl or replica or cp_integration or multidb_integration)' \
            $(deselect redis_py) "${files[@]}"
    ) || exit 1
    finish
}

# Its test of a connection that is never answered takes an address which some networks do answer for.
client_suite_hiredis() {
    need_hiredis
    sed 's/"192.168.254.254"/"127.0.0.9"/' "$hiredis_source/test.c" >"$here_run/test.c"
    cc -O1 -w -I"$hiredis_source" -I"$here/c" -o "$here_run/test" "$here_run/test.c" "$dir/hiredis/libhiredis.a" -lm ||
        fail "hiredis's test.c does not build"
    serve
    python3 "$here/suites/silent.py" 127.0.0.9 "$SERVER_PORT" >"$here_run/silent" &
    silent=$!
    until grep -q silent "$here_run/silent"; do kill -0 $silent || fail "nobody can be silent here"; sleep 0.05; done
    local throughput=--skip-throughput
    in_full && throughput=
    work "$here_run/test" -p "$SERVER_PORT" -s "$SERVER_SOCKET" $throughput
    kill $silent
    finish
}

client_suite_rq() {
    local files=(tests/test_{queue,job,registry,results,scripts,group,connection}.py)
    in_full && files=(tests)
    need_sdist rq
    private_network
    ip link set lo up
    port_wanted=6379 serve
    (cd "$sdist" && limit=3000 run_pytest $(deselect rq) "${files[@]}") || exit 1
    finish
}

client_suite_redigo() {
    need_apt golang-go golang-github-gomodule-redigo-dev golang-github-stretchr-testify-dev
    local port
    port=$(free_port)
    (
        cd /usr/share/gocode/src/github.com/gomodule/redigo/redis || exit 1
        export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$dir/go
        work go test -vet=off -redis-server "$binary" -redis-port "$port" .
    ) || exit 1
}
