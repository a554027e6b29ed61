#!/bin/sh
# Builds the stubs for aarch64 on an x86-64 machine: target/stubs/leaf-aarch64, hop-aarch64 and worker-aarch64.
#
#   scripts/aarch64.sh           all of them; costs nothing when nothing changed
#   scripts/aarch64.sh prepare   only make the target available, and print the rustc to use
#
# The next `cargo build` builds them in; or `WAFT_STUB_DIR=$PWD/target/stubs waft ..` uses them as they are. `make test`
# runs this; `cargo build` alone leaves out what is older than its source, and says so.
# std comes from rustup where that can download it, else from Debian's arm64 package, which has to be the same version
# as the compiler of scripts/wasm-toolchain.sh. The linker is Debian's cross gcc. No root is needed, but for that gcc.
set -eu

cd "$(dirname "$0")/.."
here=$(pwd -P)
triple=aarch64-unknown-linux-gnu
rustup_seconds_max=120
dir=${WAFT_RUST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/rust}

say() { printf 'aarch64: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# A std of another version than the compiler's is found as well, but cannot be used.
usable() {
    probe=$(mktemp -d)
    code=0
    echo | "$1" --target "$triple" --crate-type lib --crate-name probe --emit metadata --out-dir "$probe" - 2>/dev/null || code=1
    rm -rf "$probe"
    return $code
}

find_rustc() {
    for rustc in "$(command -v "${RUSTC:-rustc}" || true)" "$dir/bin/rustc"; do
        if [ -n "$rustc" ] && [ -x "$rustc" ] && usable "$rustc"; then
            printf '%s\n' "$rustc"
            return 0
        fi
    done
    return 1
}

add_by_rustup() {
    command -v rustup >/dev/null || return 1
    say "asking rustup for $triple"
    timeout "$rustup_seconds_max" rustup target add "$triple" >&2 && find_rustc >/dev/null
}

# Another architecture's package, without touching what this machine's apt is configured for: a state of its own.
add_from_debian() {
    [ -x "$dir/bin/rustc" ] || return 1
    apt=$(mktemp -d)
    trap 'rm -rf "$apt"' EXIT
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
    set -- -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User= \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Dir::State::status=/dev/null
    say "asking Debian for the arm64 libstd-rust-web-dev"
    apt-get "$@" update || return 1
    (cd "$apt/debs" && apt-get "$@" download libstd-rust-web-dev) || return 1
    dpkg-deb -x "$apt"/debs/libstd-rust-web-dev_*_arm64.deb "$apt/root" || return 1
    sysroot=$("$dir/bin/rustc" --print sysroot)
    rm -rf "$sysroot/lib/rustlib/$triple.partial"
    cp -R "$apt/root/usr/lib/rustlib/$triple" "$sysroot/lib/rustlib/$triple.partial"
    rm -rf "$sysroot/lib/rustlib/$triple"
    mv "$sysroot/lib/rustlib/$triple.partial" "$sysroot/lib/rustlib/$triple"
    usable "$dir/bin/rustc"
}

if ! find_rustc >/dev/null && ! add_by_rustup && ! add_from_debian; then
    fail "no Rust compiler here builds for $triple: run \`rustup target add $triple\`"
fi
rustc=$(find_rustc)
if [ "${1:-}" = prepare ]; then
    printf '%s\n' "$rustc"
    exit 0
fi

if [ "$(uname -m)" = aarch64 ]; then
    say 'this is an aarch64 machine: `cargo build` builds these stubs by itself'
    exit 0
fi
for kind in leaf hop worker; do
    stub=$here/target/stubs/$kind-aarch64
    before=$(ls -l --time-style=full-iso "$stub" 2>/dev/null || true)
    say "building the $kind"
    scripts/build-stub.sh "$kind" aarch64 "$stub"
    # What the build script of `waft` watches, because it cannot watch files that are not there yet.
    [ "$before" = "$(ls -l --time-style=full-iso "$stub")" ] || touch target/stubs/others
done
