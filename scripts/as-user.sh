#!/usr/bin/env bash
# Runs the tests of what must hold for an ordinary user, too, as one: the stub, policies, and the walls of workers and compiler.
#
#   scripts/as-user.sh [nextest options]    for example: scripts/as-user.sh --profile ci
#
# `make test` calls it when it runs as root. Cargo and nextest stay root; each test program is started as a user who has no name,
# no groups and no rights, by the runner below. A test that needs root says that it is skipped.
set -euo pipefail

uid=12345 # nobody's
self=$(cd "$(dirname "$0")" && pwd)/${0##*/}
fail() { printf 'as-user: %s\n' "$*" >&2; exit 1; }

# The runner: as root, `as-user.sh --run HOME PROGRAM ARGUMENTS...`, which goes on in a mount namespace of its own. A clone below a directory that
# only root may enter is put where everybody can see it, under the same name: tests know where they were built.
if [ "${1-}" = --inside ]; then
    root=$2 home=$3
    shift 3
    closed=
    dir=$root
    while [ "$dir" != / ]; do
        dir=$(dirname "$dir")
        [ -z "$(find "$dir" -maxdepth 0 ! -perm -001)" ] || closed=$dir
    done
    if [ -n "$closed" ]; then
        mount --bind "$root" /mnt
        mount -t tmpfs -o mode=755,size=64k none "$closed"
        mkdir -p "$root"
        mount --move /mnt "$root"
    fi
    # What tests of policies write lies below directories that nobody else can write to, as it does in a clone of one's own.
    mkdir -p "$root/target/tmp"
    mount --bind "$home" "$root/target/tmp"
    cd "$PWD"
    exec setpriv --reuid $uid --regid $uid --clear-groups env HOME="$home" TMPDIR=/tmp "$@"
fi
if [ "${1-}" = --run ]; then
    shift
    exec unshare --mount --propagation private "$self" --inside "$(dirname "$(dirname "$self")")" "$@"
fi

[ "$(id -u)" = 0 ] || fail 'root becomes somebody else here; you are an ordinary user already: make test'
for program in setpriv unshare mount find; do
    command -v $program >/dev/null || fail "$program is missing: apt-get install util-linux"
done
if ! unshare --mount --propagation private true 2>/dev/null; then
    printf 'as-user: SKIPPED: this root may not mount, so it cannot show its files to another user; run `make test` as one\n' >&2
    exit 0
fi
cd "$(dirname "$self")/.."
home=$(mktemp -d /tmp/waft-as-user-XXXXXX)
chown $uid:$uid "$home"
trap 'rmdir "$home"' EXIT
triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
export "CARGO_TARGET_${triple}_RUNNER=$self --run $home"
# The workspace, so that what `make test` has built is what runs.
cargo nextest run --workspace --locked "$@" \
    -E 'package(waft-stub) + package(waft-policy) + binary(compiler_walls) + binary(compiler_limits)'
