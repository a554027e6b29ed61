#!/bin/sh
# Installs what builds tasks in C: clang, lld and wasi-libc, from Debian's archive. Prints the directory to put in front of PATH.
# Elsewhere a wasi-sdk in PATH is as good. Does nothing when all is there.
set -eu

say() { printf 'languages/c: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# A compiler without wasi-libc, or without its own run-time library, is found out only by linking.
works() {
    command -v clang >/dev/null 2>&1 || return 1
    # The target was called wasm32-wasi once, and in Debian it still is.
    for target in wasm32-wasip1 wasm32-wasi; do
        if printf 'int main(void) { return 0; }\n' | clang --target=$target -x c -o /dev/null - 2>/dev/null; then
            return 0
        fi
    done
    return 1
}

install() {
    say "installing with apt: $*"
    DEBIAN_FRONTEND=noninteractive as_root apt-get -qq -y --no-install-recommends install "$@" >/dev/null
}

if ! works; then
    command -v apt-get >/dev/null || fail 'this is no Debian or Ubuntu: put the bin directory of a wasi-sdk into PATH, then try again'
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail 'this needs root, and there is no sudo: apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32'
    as_root apt-get -qq update
    install clang lld wasi-libc
    # Its name has the version of clang in it.
    version=$(clang -dumpversion)
    install "libclang-rt-${version%%.*}-dev-wasm32"
    works || fail 'clang was installed and still makes no module: clang --target=wasm32-wasi says why'
fi
dirname "$(command -v clang)"
