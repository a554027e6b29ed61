#!/bin/sh
# Builds the tasks that attack, for the tests: scripts/build-guests.sh OUTDIR makes OUTDIR/attacks.wasm of tests/guests.
# Tests call it by themselves; it costs a fraction of a second when nothing changed.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd -P)
out=${1:?usage: scripts/build-guests.sh OUTDIR}
build=$here/target/guests
target=wasm32-wasip1

rustc=$("$here/scripts/wasm-toolchain.sh" find)
mkdir -p "$out" "$build"
# Many tests at once: each finds a whole file.
exec 9>"$build/lock"
flock 9
# What an outer cargo told its tests is not meant for this one.
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS
RUSTC=$rustc CARGO_TARGET_DIR=$build \
    cargo build --quiet --locked --release --target "$target" --manifest-path "$here/tests/guests/Cargo.toml"
cmp -s "$build/$target/release/attacks.wasm" "$out/attacks.wasm" || {
    cp "$build/$target/release/attacks.wasm" "$out/attacks.wasm.partial"
    mv "$out/attacks.wasm.partial" "$out/attacks.wasm"
}
