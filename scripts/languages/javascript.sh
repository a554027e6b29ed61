#!/bin/sh
# componentize-qjs, which makes a component of a JavaScript program and QuickJS, installed from npm when it is missing.
# Prints the directory to put in front of PATH.
set -eu

version=0.4.5
dir=${WAFT_LANGUAGES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/languages}/javascript
prefix=$dir/componentize-qjs-$version
# Test runner and module loader of the kind that the projects use.
node_oldest=18

say() { printf 'javascript: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

command -v npm >/dev/null || fail 'npm is missing: apt-get install npm'
node=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$node" -ge "$node_oldest" ] || fail "node has version $node; $node_oldest or later is needed"

mkdir -p "$dir"
# Two builds may ask at once.
exec 9>"$dir/lock"
if command -v flock >/dev/null; then flock 9; fi

if [ ! -e "$prefix/complete" ]; then
    say "installing componentize-qjs $version into $prefix"
    rm -rf "$prefix"
    mkdir -p "$prefix"
    npm install --prefix "$prefix" --no-save --no-audit --no-fund --loglevel=error "componentize-qjs@$version" >&2 ||
        fail 'npm could not install it; the reason is above'
    : >"$prefix/complete"
fi
printf '%s\n' "$prefix/node_modules/.bin"
