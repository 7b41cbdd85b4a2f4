#!/usr/bin/env bash
# Installs what the tests need on a Debian machine: redis-server and redis-tools (the real server to compare with,
# redis-cli, redis-benchmark), strace, prometheus-redis-exporter, and a Python virtual environment in .venv with redis,
# hiredis and prometheus_client. A browser is large, so chromium is installed only if KIVI_TEST_BROWSER is set and there is
# none.
# Quick when all is there. Nothing is left listening on port 6379.
set -euo pipefail
cd "$(dirname "$0")/.."
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v redis-cli >/dev/null || missing+=(redis-tools)
command -v redis-benchmark >/dev/null || missing+=(redis-tools)
command -v strace >/dev/null || missing+=(strace)
command -v openssl >/dev/null || missing+=(openssl)
command -v prometheus-redis-exporter >/dev/null || missing+=(prometheus-redis-exporter)
if [ -n "${KIVI_TEST_BROWSER:-}" ] && ! command -v chromium google-chrome chromium-browser >/dev/null; then
    missing+=(chromium)
fi
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v cc >/dev/null || missing+=(build-essential)
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    # The package starts a server of its own, which would take Kivi's port.
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --now redis-server prometheus-redis-exporter >/dev/null 2>&1 || true
    else
        as_root service redis-server stop >/dev/null 2>&1 || true
        as_root service prometheus-redis-exporter stop >/dev/null 2>&1 || true
    fi
fi

if ! .venv/bin/python -c 'import redis, hiredis, prometheus_client' 2>/dev/null; then
    echo "setup: making .venv with redis, hiredis and prometheus_client"
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check 'redis>=5' 'hiredis>=3' 'prometheus_client>=0.16'
fi
echo "setup: ready ($(redis-server --version | cut -d' ' -f3), $(.venv/bin/python -c 'import redis, hiredis
print(f"redis-py {redis.__version__}, hiredis {hiredis.__version__}")'))"
