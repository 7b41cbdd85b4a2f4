#!/usr/bin/env bash
# Makes the Debian package of a program that is there already, and tries it: what is in it, the maintainer scripts in a
# copy-on-write view of this system (nothing of it is changed), the server under the installed configuration, the unit.
#   packaging/check.sh [PROFILE]      (default: release; needs cargo-deb, and root for the installation)
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
work=$(mktemp -d)
root=$work/root
fail() { echo "packaging: $*" >&2; exit 1; }
server=
end() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" || true; fi
    umount "$root" 2>/dev/null || true
    umount "$work/layers" 2>/dev/null || true
    # What is still mounted shows this system.
    rm -rf --one-file-system "$work"
}
trap end EXIT

cargo deb --no-build --no-strip --profile "$profile" --output "$work/kivi.deb"
dpkg-deb --info "$work/kivi.deb"
listed=$(dpkg-deb --contents "$work/kivi.deb")
for file in usr/bin/kivi-server etc/kivi/kivi.conf etc/logrotate.d/kivi kivi.service usr/share/kivi/grafana/kivi.json; do
    grep -q "$file" <<<"$listed" || fail "$file is missing"
done
dpkg-deb --ctrl-tarfile "$work/kivi.deb" | tar -x -C "$work"
# The report of a crash needs the names of functions.
dpkg-deb --extract "$work/kivi.deb" "$work/files"
nm "$work/files/usr/bin/kivi-server" 2>/dev/null | grep -q ' main$' || fail "the program has no names of functions"
for script in postinst prerm postrm; do
    sh -n "$work/$script" || fail "$script"
    ! grep -q '#DEBHELPER#' "$work/$script" || fail "$script has its placeholder still"
done

if systemd-analyze --version >/dev/null 2>&1; then
    # The programs of the unit are in the package, not here.
    sed 's#/usr/bin/kivi-server#/bin/true#' packaging/systemd/kivi.service >"$work/kivi.service"
    systemd-analyze verify "$work/kivi.service" || fail "the unit"
    systemd-analyze security --offline=true --threshold=20 "$work/kivi.service" | tail -1 || fail "the unit may do too much"
fi

# A view of this system in which changes stay.
mkdir "$work/layers" "$root"
mount -t tmpfs tmpfs "$work/layers" || fail "not root: the installation was not tried"
mkdir "$work/layers/upper" "$work/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper,workdir=$work/layers/work" "$root"
cp "$work/kivi.deb" "$root/kivi.deb"
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"; }
inside dpkg --install /kivi.deb
inside id kivi >/dev/null || fail "no user"
for entry in "/etc/kivi kivi 2770" "/etc/kivi/kivi.conf kivi 640" "/var/lib/kivi kivi 750" "/var/log/kivi kivi 2750"; do
    read -r path owner mode <<<"$entry"
    [ "$(inside stat -c '%U %a' "$path")" = "$owner $mode" ] || fail "$path: $(inside stat -c '%U %a' "$path")"
done
inside setpriv --reuid kivi --regid kivi --clear-groups /usr/bin/kivi-server /etc/kivi/kivi.conf --check-config
port=$((20000 + $$ % 10000))
as_kivi=(setpriv --reuid kivi --regid kivi --clear-groups)
(exec chroot "$root" "${as_kivi[@]}" /usr/bin/kivi-server /etc/kivi/kivi.conf --port "$port") &
server=$!
for _ in $(seq 100); do
    inside /usr/bin/kivi-server /etc/kivi/kivi.conf --port "$port" --ping 2>/dev/null && break
    kill -0 $server || fail "the server ended"
    sleep 0.1
done
kill $server
wait $server || fail "the server ended with $?"
server=
[ -s "$root/var/log/kivi/kivi-server.log" ] || fail "no log"
inside dpkg --remove kivi
inside test -e /etc/kivi/kivi.conf || fail "removing took the configuration"
inside dpkg --purge kivi
inside test ! -e /var/lib/kivi || fail "a purge left the data"
echo "packaging: all is well"
