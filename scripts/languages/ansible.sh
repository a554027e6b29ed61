#!/bin/sh
# Installs the modules of ansible-core that the bridge is tested with, from PyPI, into a directory of its own, and prints it.
# Does nothing when it is there. Nothing of it is run: a test sends parts of it to a target.
set -eu

version=2.19.14
dir=${WAFT_LANGUAGES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/languages}/ansible/$version

say() { printf 'languages/ansible: %s\n' "$*" >&2; }

if [ ! -d "$dir/ansible/modules" ]; then
    python3 -m pip --version >/dev/null 2>&1 || { say 'pip is missing; on Debian: apt-get install python3-pip'; exit 1; }
    say "installing ansible-core $version with pip"
    mkdir -p "${dir%/*}"
    making=$(mktemp -d "$dir.making.XXXXXX")
    trap 'rm -rf "$making"' EXIT
    chmod 755 "$making"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --no-compile \
        --target "$making" "ansible-core==$version" >&2
    # Renamed last, so that a half is never taken for the whole; who was quicker wins.
    mv -T "$making" "$dir" 2>/dev/null || [ -d "$dir/ansible/modules" ]
fi
printf '%s\n' "$dir"
