#!/usr/bin/env bash
# Packs an installed stub: packaging/build-deb.sh STUB OUT.deb
#
# STUB is a site build: scripts/build-stub.sh site x86_64 target/site/waft-stub. The package makes no account, lets no key in and
# starts nothing; docs/operators.md, "Site mode", says what does. Needs dpkg-deb.
set -euo pipefail

fail() { printf 'build-deb: %s\n' "$*" >&2; exit 1; }
[ $# = 2 ] || fail 'usage: packaging/build-deb.sh STUB OUT.deb'
stub=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
command -v dpkg-deb >/dev/null || fail 'dpkg-deb is missing: apt-get install dpkg'
read -r name version kind machine <<<"$("$stub" --version)" || fail "$stub is no stub"
[ "$name" = waft-stub ] || fail "$stub is no stub: it says $name"
[ "$kind" = site ] || fail "$stub ($kind) is no site build: scripts/build-stub.sh site $machine OUT"
case $machine in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) fail "there is no Debian architecture for $machine" ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
doc=$root/usr/share/doc/waft-stub
install -d -m 755 "$root/DEBIAN" "$root/etc/waft" "$doc/examples"
install -D -m 755 "$stub" "$root/usr/bin/waft-stub"
# The example is the one of the page, which a test reads.
sed -n '/^```toml$/,/^```$/{/^```/d;p}' "$here/../docs/policy.md" >"$doc/examples/policy.toml"
[ -s "$doc/examples/policy.toml" ] || fail 'docs/policy.md has no example'
chmod 644 "$doc/examples/policy.toml"
for rules in falco/waft.yaml auditd/waft.rules fapolicyd/80-waft.rules; do
    install -m 644 "$here/$rules" "$doc/examples/${rules#*/}"
done
install -m 644 "$here/debian/copyright" "$doc/copyright"
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" "$here/debian/control" >"$root/DEBIAN/control"
mkdir -p "$(dirname "$out")"
dpkg-deb --root-owner-group -Zgzip -z6 --build "$root" "$out" >/dev/null
