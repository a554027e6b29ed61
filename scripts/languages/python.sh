#!/bin/sh
# componentize-py, which makes a component of a Python program and CPython, installed from PyPI when it is missing.
# Prints the directory to put in front of PATH.
set -eu

version=0.25.1
dir=${WAFT_LANGUAGES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/languages}/python
venv=$dir/componentize-py-$version

say() { printf 'python: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

mkdir -p "$dir"
# Two builds may ask at once.
exec 9>"$dir/lock"
if command -v flock >/dev/null; then flock 9; fi

if [ ! -e "$venv/complete" ]; then
    say "installing componentize-py $version into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || fail 'python3 cannot make an environment: apt-get install python3 python3-venv'
    "$venv/bin/pip" install --quiet --disable-pip-version-check "componentize-py==$version" >&2 ||
        fail 'pip could not install it; the reason is above'
    : >"$venv/complete"
fi
printf '%s\n' "$venv/bin"
