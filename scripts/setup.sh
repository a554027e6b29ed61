#!/bin/sh
# Installs what a Debian or Ubuntu machine lacks to build, show and test waft; elsewhere it prints what is missing.
#
#   scripts/setup.sh demo    a C compiler and the wasm32-wasip1 target
#   scripts/setup.sh test    also sshd, the shells and tools the end-to-end tests drive, cargo-nextest, and what builds and
#                            runs stubs for aarch64
#   scripts/setup.sh ci      also cargo-deny, cargo-fuzz and a nightly Rust
#   scripts/setup.sh check   install nothing; exit 1 with a sentence when `demo` would have something to do
#
# Only what is missing is installed, and each step is said before it is done.
set -eu

cd "$(dirname "$0")/.."
what=${1:-demo}

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

packages=
need() { # program, Debian package that brings it
    have "$1" || packages="$packages $2"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    [ -n "$packages" ] || return 0
    have apt-get || fail "this is no Debian or Ubuntu; install what these packages are called here, then try again:$packages"
    if [ "$(id -u)" != 0 ] && ! have sudo; then
        fail "this needs root, and there is no sudo; as root: apt-get install$packages"
    fi
    say "installing with apt:$packages"
    as_root apt-get -qq update
    # shellcheck disable=SC2086 # a list of names without blanks
    DEBIAN_FRONTEND=noninteractive as_root apt-get -qq -y --no-install-recommends install $packages >/dev/null
}

# What builds stubs for aarch64 on another machine.
aarch64() {
    [ "$(uname -m)" != aarch64 ] || return 0
    packages=
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
    [ -e /usr/aarch64-linux-gnu/include/stdio.h ] || packages="$packages libc6-dev-arm64-cross"
    (install_packages) && scripts/aarch64.sh prepare >/dev/null
}

cargo_tool() {
    have "$1" && return 0
    say "installing $1 with cargo"
    cargo install --quiet --locked "$1"
}

have cargo || fail 'there is no Rust here: curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh'

case $what in
check)
    have cc || fail 'a C compiler is missing: run `make setup`'
    exec scripts/wasm-toolchain.sh find >/dev/null
    ;;
demo | test | ci) ;;
*) fail "there is no set \`$what\`: demo, test, ci or check" ;;
esac

need cc gcc
# A compiler without the C library's headers is of no use.
[ -e /usr/include/stdio.h ] || packages="$packages libc6-dev"
if [ "$what" != demo ]; then
    need sshd openssh-server
    need ssh openssh-client
    need openssl openssl
    need fish fish
    need csh csh
    need node nodejs
    need npm npm
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
    need busybox busybox
    need qemu-aarch64-static qemu-user-static
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || packages="$packages python3-pip"
    need age age
fi
install_packages
scripts/wasm-toolchain.sh >/dev/null

if [ "$what" != demo ]; then
    # Some machines cannot have it: then its tests say that they are skipped.
    aarch64 || [ "${WAFT_AARCH64:-}" != required ]
    cargo_tool cargo-nextest
    # What builds tasks in other languages.
    for language in scripts/languages/*.sh; do "$language" >/dev/null; done
fi
if [ "$what" = ci ]; then
    cargo_tool cargo-deny
    cargo_tool cargo-fuzz
    if ! cargo +nightly --version >/dev/null 2>&1; then
        have rustup || fail 'fuzzing needs a nightly Rust, and there is no rustup to get one'
        say 'installing a nightly Rust with rustup'
        rustup toolchain install nightly --profile minimal
    fi
fi
say "all there for $what"
