#!/bin/bash
# What one request costs the server in instructions and system calls, and where: GET, SET, INCR at pipelines 1 and 64,
# 50 connections, 10,000 keys, values of 16 bytes.
#
#   benches/profile.sh instructions KIVI [DIR]   # callgrind: a table, and the costliest functions and lines in DIR
#   benches/profile.sh syscalls KIVI             # strace -c: reads, writes, epoll_waits per request, beside Valkey's
#   benches/profile.sh flame KIVI [DIR]          # perf: flame graphs in DIR (`cargo install inferno --features cli`)
#
# KIVI is a kivi-server with debug information (`cargo build --release`, or `--profile fast`); `valkey` measures Valkey
# in the folder KIVI_ORACLE (/opt/oracle). PORT chooses the port (8320), REQUESTS the size of a run.
#
# Instructions are those of the thread that serves clients, in user mode: the difference of two runs, the second of
# twice as many requests as the first, divided by the difference of requests, so what connecting costs does not count.
# They repeat within one percent, on a machine that does other work, too. Needs valgrind, redis-benchmark, python3;
# perf and strace for the others.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
what=${1:?instructions, syscalls or flame} server=${2:?a kivi-server, or valkey} dir=${3:-$(mktemp -d)}
port=${PORT:-8320} oracle=${KIVI_ORACLE:-/opt/oracle} keys=10000 value=0123456789abcdef
mkdir -p "$dir"

pid=
trap 'if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; fi' EXIT

# start SERVER [WRAPPER...]: starts a server of one worker thread, waits until it answers, and fills it.
start() {
  local server=$1 settings=(--port "$port" --save '' --bind 127.0.0.1 --protected-mode no)
  shift
  if [ "$server" = valkey ]; then
    # By its own loader, as it is in a root of its own and what wraps it is not.
    local loader=("$oracle"/lib*/ld-linux-*.so.*)
    local libraries=$oracle/lib/x86_64-linux-gnu:$oracle/usr/lib/x86_64-linux-gnu
    "$@" "${loader[0]}" --library-path "$libraries" "$oracle/usr/bin/valkey-server" \
      "${settings[@]}" --dir "$dir" > "$dir/server.log" 2>&1 &
  else
    "$@" "$server" "${settings[@]}" --io-threads 1 --dir "$dir" > "$dir/server.log" 2>&1 &
  fi
  pid=$!
  until redis-cli -p "$port" ping 2> /dev/null | grep -q PONG; do
    kill -0 "$pid" || { cat "$dir/server.log"; exit 1; }
    read -rt 0.2 <> <(:) || true
  done
  load 1 $((keys * 8)) 50 SET key:__rand_int__ $value
  load 1 $((keys * 8)) 50 SET counter:__rand_int__ 1
}

stop() {
  kill "$pid" && wait "$pid" || true
  pid=
}

# load CONNECTIONS REQUESTS PIPELINE COMMAND...
load() {
  local connections=$1 requests=$2 pipeline=$3
  shift 3
  redis-benchmark -p "$port" -r $keys -c "$connections" -n "$requests" -P "$pipeline" "$@" > /dev/null 2>&1
}

# words NAME: the command of a name.
words() {
  case $1 in
    GET) echo "GET key:__rand_int__" ;;
    SET) echo "SET key:__rand_int__ $value" ;;
    INCR) echo "INCR counter:__rand_int__" ;;
  esac
}

instructions() {
  start "$server" valgrind --tool=callgrind --instr-atstart=no --separate-threads=yes --dump-line=yes \
    --callgrind-out-file="$dir/callgrind"
  callgrind_control -i on "$pid" > /dev/null 2>&1
  echo "| instructions per request | GET | SET | INCR |"
  echo "|---|---:|---:|---:|"
  local pipeline name requests
  for pipeline in 1 64; do
    printf '| pipeline %s |' $pipeline
    requests=$((${REQUESTS:-6400} * (pipeline == 1 ? 1 : 10)))
    for name in GET SET INCR; do
      for times in 1 2; do
        callgrind_control -z "$pid" > /dev/null 2>&1
        # shellcheck disable=SC2046
        load 50 $((requests * times)) $pipeline $(words $name)
        callgrind_control -d="$name.$pipeline.$times" "$pid" > /dev/null 2>&1
      done
      printf ' %s |' "$(python3 "$here/profile.py" "$dir" $name.$pipeline $requests)"
    done
    echo
  done
  stop
  echo "Functions and lines: $dir/*.txt"
}

syscalls() {
  local each pipeline requests
  echo "| calls per request, GET | read | write | epoll_wait | others |"
  echo "|---|---:|---:|---:|---:|"
  for each in "$server" valkey; do
    start "$each"
    for pipeline in 1 64; do
      requests=$((${REQUESTS:-40000} * (pipeline == 1 ? 1 : 10)))
      # Connected before strace looks, and still there when it has gone.
      load 50 $((requests * 1000)) $pipeline GET key:__rand_int__ &
      local client=$!
      until [ "$(redis-cli -p "$port" info clients | tr -d '\r' | sed -n 's/^connected_clients://p')" -gt 50 ]; do :; done
      timeout -s INT "${SECONDS_TRACED:-5}" strace -c -f -p "$pid" -o "$dir/strace" 2> /dev/null || true
      kill $client
      wait $client 2> /dev/null || true
      awk -v name="$(basename "$each"), pipeline $pipeline" -v batch=$pipeline '
        $NF ~ /^(read|recvfrom|readv)$/ { reads += $4 }
        $NF ~ /^(write|sendto|writev)$/ { writes += $4 }
        $NF ~ /^epoll_p?wait2?$/ { waits += $4 }
        $4 ~ /^[0-9]+$/ && $NF != "total" { all += $4 }
        END {
          # One read brings one batch; a request is one of a batch.
          requests = reads * batch
          printf "| %s | %.3f | %.3f | %.3f | %.3f |\n", name, reads / requests, writes / requests,
            waits / requests, (all - reads - writes - waits) / requests
        }' "$dir/strace"
    done
    stop
  done
}

flame() {
  start "$server"
  local pipeline name
  for pipeline in 1 64; do
    for name in GET SET INCR; do
      # shellcheck disable=SC2046
      load 50 1000000000 $pipeline $(words $name) &
      local client=$!
      perf record -q -e cpu-clock -F 999 --call-graph dwarf,8192 -p "$pid" -o "$dir/perf" -- sleep 3 > /dev/null
      kill $client
      wait $client 2> /dev/null || true
      perf script --no-inline -i "$dir/perf" 2> /dev/null | inferno-collapse-perf 2> /dev/null |
        inferno-flamegraph --title "$name, pipeline $pipeline" --minwidth 0.3 > "$dir/$name.$pipeline.svg"
      echo "$dir/$name.$pipeline.svg"
    done
  done
  rm -f "$dir/perf" "$dir/perf.old"
  stop
}

$what
