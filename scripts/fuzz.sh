#!/usr/bin/env bash
# Fuzzes every target of proto/fuzz for a while: scripts/fuzz.sh [SECONDS] [AT_ONCE]. Needs cargo-fuzz and a nightly Rust.
set -euo pipefail
cd "$(dirname "$0")/../proto"

seconds=${1:-60}
at_once=${2:-2}
if ! compgen -G 'fuzz/fuzz_targets/*.rs' >/dev/null; then
    echo 'proto/fuzz has no targets: nothing to fuzz'
    exit 0
fi
mapfile -t targets < <(cargo +nightly fuzz list)
# One build for all, before any clock runs.
cargo +nightly fuzz build
echo "fuzzing ${targets[*]}: $seconds s each, $at_once at once"
# A crash leaves its input in proto/fuzz/artifacts, and libFuzzer's last lines say which.
fuzz_one() {
    local log
    log=$(mktemp)
    if cargo +nightly fuzz run "$1" -- -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 >"$log" 2>&1; then
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
