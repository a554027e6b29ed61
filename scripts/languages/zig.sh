#!/bin/sh
# Installs the Zig that the templates are tested with, from PyPI, into a directory of its own, and prints the one to put in front
# of PATH. Does nothing when it is there.
set -eu

version=0.17.1
dir=${WAFT_LANGUAGES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/languages}/zig/$version

say() { printf 'languages/zig: %s\n' "$*" >&2; }

if [ ! -x "$dir/ziglang/zig" ]; then
    python3 -m pip --version >/dev/null 2>&1 || { say 'pip is missing; on Debian: apt-get install python3-pip'; exit 1; }
    say "installing ziglang $version with pip"
    mkdir -p "${dir%/*}"
    making=$(mktemp -d "$dir.making.XXXXXX")
    trap 'rm -rf "$making"' EXIT
    chmod 755 "$making"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --target "$making" \
        "ziglang==$version" >&2
    # Renamed last, so that a half is never taken for the whole; who was quicker wins.
    mv -T "$making" "$dir" 2>/dev/null || [ -x "$dir/ziglang/zig" ]
fi
printf '%s\n' "$dir/ziglang"
