#!/usr/bin/env bash
# Makes the tasks `python` and `javascript`, interpreters as components, which `cargo build` then carries:
# target/interpreters/NAME.wasm.gz. Does nothing when they were made of what is here now.
#
#   scripts/interpreters.sh [python] [javascript]      both when none is named
#
# The tools come from PyPI and npm (scripts/languages). So `make demo` does without.
set -euo pipefail

cd "$(dirname "$0")/.."
out=$PWD/target/interpreters
mkdir -p "$out"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The manifest as a custom section at the end: id 0, the length, the length of the name, the name, the text.
embed() { # component, manifest
    python3 - "$1" "$2" <<'PYTHON'
import sys

def leb(number):
    text = bytearray()
    while True:
        number, low = number >> 7, number & 127
        text.append(low | (128 if number else 0))
        if not number:
            return bytes(text)

name, manifest = b"waft.task", open(sys.argv[2], "rb").read()
section = leb(len(name)) + name + manifest
with open(sys.argv[1], "ab") as component:
    component.write(b"\0" + leb(len(section)) + section)
PYTHON
}

make_python() {
    PATH=$(scripts/languages/python.sh):$PATH
    componentize-py --quiet -d sdk/wit -d sdk/python/wit -w waft:python/task \
        componentize -p interpreters/python -p sdk/python app -o "$1"
}

make_javascript() {
    PATH=$(scripts/languages/javascript.sh):$PATH
    local wit=$work/wit
    mkdir -p "$wit/deps/waft-task"
    cp sdk/javascript/wit/*.wit "$wit"
    cp sdk/wit/waft.wit "$wit/deps/waft-task"
    cp sdk/javascript/*.js interpreters/javascript/*.js "$work"
    componentize-qjs --wit "$wit" --world waft:javascript/task --js "$work/main.js" --opt-size --sync -o "$1" >"$work/said" ||
        { cat "$work/said" >&2; return 1; }
}

[ $# != 0 ] || set -- python javascript
for name in "$@"; do
    case $name in
    python | javascript) ;;
    *) printf 'interpreters: there is none called %s\n' "$name" >&2; exit 1 ;;
    esac
    inputs=$(find interpreters/"$name" sdk/"$name" sdk/wit scripts/interpreters.sh scripts/languages/"$name".sh \
        -type f ! -path '*/__pycache__/*' ! -path '*/test*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
    [ "$(cat "$out/$name.of" 2>/dev/null)" != "$inputs" ] || [ ! -e "$out/$name.wasm.gz" ] || continue
    printf 'interpreters: making %s\n' "$name" >&2
    "make_$name" "$work/$name.wasm"
    embed "$work/$name.wasm" "interpreters/$name/waft.toml"
    gzip -9n <"$work/$name.wasm" >"$out/$name.wasm.gz.partial"
    rm -f "$out/$name.of"
    mv "$out/$name.wasm.gz.partial" "$out/$name.wasm.gz"
    printf '%s\n' "$inputs" >"$out/$name.of"
    # host/build/interpreters.rs looks at it.
    touch "$out/made"
done
