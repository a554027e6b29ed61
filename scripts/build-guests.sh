#!/bin/sh
# Builds the tasks that attack, for the tests: scripts/build-guests.sh OUTDIR makes OUTDIR/attacks.wasm of tests/guests,
# and OUTDIR/component.wasm, a component; what the world of sdk/wit/waft.wit has is told in OUTDIR/world.txt.
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
CARGO_TARGET_DIR=$build/componentize \
    cargo build --quiet --locked --manifest-path "$here/tests/guests/componentize/Cargo.toml"
made=$build/made
mkdir -p "$made"
cp "$build/$target/release/attacks.wasm" "$made"
"$build/componentize/debug/componentize" "$here/sdk/wit/waft.wit" "$build/$target/release/component.wasm" \
    "$made/component.wasm" >"$made/world.txt"
for name in attacks.wasm component.wasm world.txt; do
    cmp -s "$made/$name" "$out/$name" || {
        cp "$made/$name" "$out/$name.partial"
        mv "$out/$name.partial" "$out/$name"
    }
done
