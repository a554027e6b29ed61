#!/bin/sh
# Builds the tasks waft ships: scripts/build-tasks.sh OUTDIR makes OUTDIR/<name>.wasm for each folder of tasks/ that has a
# program; what tasks share has none.
#
# host/build.rs calls it; by hand it is the quickest way to try a change to a task. It costs a fraction of a second when
# nothing changed. WAFT_TASKS_TARGET_DIR moves cargo's folder (default target/tasks), so that several trees can share it.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd -P)
out=${1:?usage: scripts/build-tasks.sh OUTDIR}
build=${WAFT_TASKS_TARGET_DIR:-$here/target/tasks}
target=wasm32-wasip1

rustc=$("$here/scripts/wasm-toolchain.sh" find)
mkdir -p "$out"
# Panic messages carry source paths: rename them, so that a module says nothing about the machine that built it and is
# the same, byte for byte, in any checkout. What an outer cargo told its build script is not meant for this one.
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
RUSTC=$rustc RUSTFLAGS="--remap-path-prefix=$here=/waft --remap-path-prefix=$registry=/registry" CARGO_TARGET_DIR=$build \
    cargo build --quiet --locked --release --target "$target" --manifest-path "$here/tasks/Cargo.toml"

for program in "$here"/tasks/*/src/main.rs; do
    folder=${program%/src/main.rs}
    name=${folder##*/}
    # An unchanged module keeps its time: what is built from it need not be built again.
    cmp -s "$build/$target/release/$name.wasm" "$out/$name.wasm" || {
        cp "$build/$target/release/$name.wasm" "$out/$name.wasm.partial"
        mv "$out/$name.wasm.partial" "$out/$name.wasm"
    }
done
