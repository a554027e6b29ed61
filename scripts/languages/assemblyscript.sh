#!/bin/sh
# The AssemblyScript compiler and its WASI shim, installed from npm when they are missing. Prints the directory to put in
# front of PATH.
set -eu

compiler=0.28.20 shim=0.1.0
dir=${WAFT_LANGUAGES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/languages}/assemblyscript
prefix=$dir/assemblyscript-$compiler-$shim

say() { printf 'assemblyscript: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

command -v npm >/dev/null || fail 'npm is missing: apt-get install npm'

mkdir -p "$dir"
# Two builds may ask at once.
exec 9>"$dir/lock"
if command -v flock >/dev/null; then flock 9; fi

if [ ! -e "$prefix/complete" ]; then
    say "installing assemblyscript $compiler and @assemblyscript/wasi-shim $shim into $prefix"
    rm -rf "$prefix"
    mkdir -p "$prefix"
    npm install --prefix "$prefix" --no-save --no-audit --no-fund --loglevel=error \
        "assemblyscript@$compiler" "@assemblyscript/wasi-shim@$shim" >&2 ||
        fail 'npm could not install them; the reason is above'
    : >"$prefix/complete"
fi
printf '%s\n' "$prefix/node_modules/.bin"
