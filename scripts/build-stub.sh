#!/usr/bin/env bash
# Builds one stub: scripts/build-stub.sh leaf|hop x86_64|aarch64 OUT. `waft stub build` is this script.
set -euo pipefail

cd "$(dirname "$0")/.."
fail() { printf 'build-stub: %s\n' "$*" >&2; exit 1; }

[ $# = 3 ] || fail 'usage: scripts/build-stub.sh leaf|hop x86_64|aarch64 OUT'
kind=$1 arch=$2 out=$3
features=
case $kind in
leaf) ;;
hop) features=hop ;;
*) fail "a stub is leaf or hop, not $kind" ;;
esac
case $arch in
x86_64 | aarch64) ;;
*) fail "there are stubs for x86_64 and aarch64, not for $arch" ;;
esac

triple=$arch-unknown-linux-gnu
if [ "$arch" != "$(uname -m)" ]; then
    [ "$arch" = aarch64 ] || fail "building $arch stubs on $(uname -m) is not supported"
    command -v aarch64-linux-gnu-gcc >/dev/null ||
        fail 'the cross linker is missing: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
    RUSTC=$(scripts/aarch64.sh prepare)
    export RUSTC
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
fi
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
export RUSTFLAGS="-Ctarget-feature=+crt-static --cfg curve25519_dalek_backend=\"serial\" --remap-path-prefix=$PWD=/waft --remap-path-prefix=$registry=/registry"
cargo build --locked --package waft-stub --bin waft-stub --no-default-features --features "$features" \
    --profile stub --target "$triple" --target-dir target/stub
mkdir -p "$(dirname "$out")"
cp "target/stub/$triple/stub/waft-stub" "$out.partial"
mv "$out.partial" "$out"
