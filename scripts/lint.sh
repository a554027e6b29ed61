#!/usr/bin/env bash
# Everything that looks at the code without running it. `.ci/run` and `make lint` are this script.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
warnings_are_errors=(-- -D warnings)

step 'formatting'
cargo fmt --all --check
for guests in sdk tasks tests/guests tests/guests/componentize; do
    cargo fmt --manifest-path "$guests/Cargo.toml" --all --check
done

step 'clippy: the workspace'
cargo clippy --locked --workspace --all-targets "${warnings_are_errors[@]}"

# With the workspace the stub is checked along with the controller's features; by itself it is what targets get.
step 'clippy: the stub: leaf, hop, what runs components, what a site installs and, for tests, the relay that lies'
cargo clippy --locked -p waft-stub --no-default-features "${warnings_are_errors[@]}"
cargo clippy --locked -p waft-stub --no-default-features --features hop "${warnings_are_errors[@]}"
cargo clippy --locked -p waft-stub --no-default-features --features components "${warnings_are_errors[@]}"
cargo clippy --locked -p waft-stub --no-default-features --features site,liar --all-targets "${warnings_are_errors[@]}"

step 'clippy: sdk and tasks'
rustc=$(scripts/wasm-toolchain.sh find)
for guests in sdk tasks; do
    cargo clippy --locked --manifest-path "$guests/Cargo.toml" --target-dir target/sdk --workspace --all-targets \
        "${warnings_are_errors[@]}"
done
cargo clippy --locked --manifest-path tests/guests/componentize/Cargo.toml --target-dir target/guests/componentize \
    --all-targets "${warnings_are_errors[@]}"
# Clippy reads only what its own compiler wrote: with the compiler from Debian the tasks are compiled, not linted.
if [ "$rustc" = "$(command -v rustc)" ]; then
    cargo clippy --locked --manifest-path tasks/Cargo.toml --target-dir target/tasks --target wasm32-wasip1 \
        "${warnings_are_errors[@]}"
    cargo clippy --locked --manifest-path tests/guests/Cargo.toml --target-dir target/guests --target wasm32-wasip1 \
        "${warnings_are_errors[@]}"
fi

step 'the documentation of the code'
# For those who work on it: private items are documented too, so links to them are fine.
RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --locked --workspace --no-deps --document-private-items

step 'dependencies'
checks=(bans licenses sources)
# The advisories are a git repository on github.com. Without a way there, nothing is said about them, and that is said;
# WAFT_ADVISORIES=required makes it an error.
if cargo deny --locked fetch db; then
    checks+=(advisories)
elif [ "${WAFT_ADVISORIES:-}" = required ]; then
    echo 'the advisory database could not be fetched, and WAFT_ADVISORIES=required' >&2
    exit 1
else
    echo 'NOT CHECKED: advisories (RustSec), because their database could not be fetched' >&2
fi
cargo deny --locked check "${checks[@]}"
for guests in sdk tasks tests/guests tests/guests/componentize; do
    cargo deny --locked --manifest-path "$guests/Cargo.toml" check "${checks[@]}"
done
