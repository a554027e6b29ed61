#!/usr/bin/env bash
# Fuzzes every target of each crate that has some: scripts/fuzz.sh [SECONDS] [AT_ONCE]. Needs cargo-fuzz and a nightly Rust.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
at_once=${2:-2}
# The stub is linked with wasmtime's runtime, which costs minutes once. A seam that leaves it out would split the crate, and
# a loop of random cases without coverage finds no branch of a parser that nobody thought of.
crates=(proto policy stub)
targets=()
for crate in "${crates[@]}"; do
    # In a variable of its own, so that a failure is one. One build for all, before any clock runs.
    names=$(cd "$crate" && cargo +nightly fuzz list)
    (cd "$crate" && cargo +nightly fuzz build)
    while read -r name; do targets+=("$crate/$name"); done <<<"$names"
done
echo "fuzzing ${targets[*]}: $seconds s each, $at_once at once"
# A crash leaves its input in fuzz/artifacts of the crate, and libFuzzer's last lines say which.
fuzz_one() {
    local log place ok=0 words=() corpora=()
    log=$(mktemp)
    cd "${1%/*}"
    if [ -f "fuzz/${1#*/}.dict" ]; then words=(-dict="fuzz/${1#*/}.dict"); fi
    # What it finds is kept in the first; the seeds that are in the repository are only read.
    if [ -d "fuzz/seeds/${1#*/}" ]; then
        mkdir -p "fuzz/corpus/${1#*/}"
        corpora=("fuzz/corpus/${1#*/}" "fuzz/seeds/${1#*/}")
    fi
    # What targets make is below this.
    place=$(mktemp -d)
    TMPDIR=$place cargo +nightly fuzz run "${1#*/}" "${corpora[@]}" -- -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 "${words[@]}" \
        >"$log" 2>&1 || ok=$?
    # Some may have taken their own rights to it.
    chmod -R u+rwX "$place"
    rm -rf "$place"
    if [ "$ok" = 0 ]; then
        echo "$1: $(grep -o 'Done [0-9]* runs.*' "$log" | tail -n 1)"
        rm -f "$log"
    else
        echo "$1 failed:" >&2
        tail -n 60 "$log" >&2
        rm -f "$log"
        return 1
    fi
}
export -f fuzz_one
export seconds
printf '%s\n' "${targets[@]}" | xargs -P "$at_once" -I{} bash -c 'fuzz_one {}'
