#!/usr/bin/env bash
# Builds one stub, or the program that runs components for it: scripts/build-stub.sh leaf|hop|site|worker|liar x86_64|aarch64 OUT
#
# host/build.rs, `waft stub build` and scripts/aarch64.sh all come here, so that a stub is made in one way. Cargo decides
# what has to be compiled. When OUT is that program already, at most its date changes: it is that of the last build which
# began after the last change of the sources. WAFT_STUB_PROFILE is the cargo profile, `stub` when not set.
set -euo pipefail

cd "$(dirname "$0")/.."
fail() { printf 'build-stub: %s\n' "$*" >&2; exit 1; }

[ $# = 3 ] || fail 'usage: scripts/build-stub.sh leaf|hop|site|worker|liar x86_64|aarch64 OUT'
kind=$1 arch=$2 out=$3 profile=${WAFT_STUB_PROFILE:-stub}
features=() bin=waft-stub
case $kind in
leaf) ;;
hop) features=(--features hop) ;;
# What packaging/build-deb.sh packs; never pushed.
site) features=(--features site) ;;
# Travels as a blob with the first component.
worker) features=(--features components) bin=waft-worker ;;
# A relay that changes what passes, for tests; of what a site build has, so that little is compiled beside it.
liar)
    [ "$profile" = dev ] || fail 'a stub that lies is for tests: WAFT_STUB_PROFILE=dev'
    features=(--features site,liar)
    ;;
*) fail "a stub is leaf, hop, site or worker, not $kind" ;;
esac
case $arch in
x86_64 | aarch64) ;;
*) fail "there are stubs for x86_64 and aarch64, not for $arch" ;;
esac

# As in host/build/stubs.rs.
sources=(Cargo.toml Cargo.lock {proto,policy,trust,audit,hop,stub,stub/engine}/{Cargo.toml,src})
triple=$arch-unknown-linux-gnu
if [ "$arch" != "$(uname -m)" ]; then
    [ "$arch" = aarch64 ] || fail "$arch stubs are built on $arch, not on $(uname -m)"
    cc=aarch64-linux-gnu-gcc
    printf '#include <stdio.h>\n' | "$cc" -E - >/dev/null 2>&1 ||
        fail 'the cross compiler is missing: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
    RUSTC=$(scripts/aarch64.sh prepare)
    export RUSTC
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$cc
    export CC_aarch64_unknown_linux_gnu=$cc
fi

# Static, so that it runs on any Linux; and without this machine's paths in its panic messages. A static PIE relocates
# itself at its start: glibc can read the packed form since 2.36, and binutils for aarch64 does not write it yet.
packed=
if [ "$arch" = x86_64 ]; then
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
    minor=${glibc#glibc 2.}
    if [ "$minor" != "$glibc" ] && [ "${minor%%.*}" -ge 36 ]; then
        packed=' -Clink-arg=-Wl,-z,pack-relative-relocs'
    fi
fi
# A panic ends the stub, so nothing reads unwind tables: the linker leaves them out. Should a C library bring the unwinder
# that stub/src/absent.rs stands in for, the stub's own is taken (muldefs). Other profiles unwind.
tables=
if [ "$profile" = stub ]; then
    tables=" -Clink-arg=-Wl,-T,$PWD/scripts/no-unwind-tables.ld -Clink-arg=-Wl,--no-eh-frame-hdr -Clink-arg=-Wl,-z,muldefs"
fi
# Functions of the same code are kept once, where the linker can do that (lld, which rustc brings for x86_64).
icf=
[ "$arch" = x86_64 ] && icf=' -Clink-arg=-Wl,--icf=all'
# Randomness comes from the system call: without it there are devices, which a worker cannot see, and a stub has no dlsym to
# look for it (stub/src/absent.rs).
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
# One signature is checked per run, and at most some kilobytes are opened: the plain code is fast enough, and the smallest.
export RUSTFLAGS="-Ctarget-feature=+crt-static$packed$icf -Cforce-unwind-tables=no$tables --cfg curve25519_dalek_backend=\"serial\" --cfg chacha20_backend=\"soft\" --cfg poly1305_backend=\"soft\" --cfg getrandom_backend=\"linux_getrandom\" --remap-path-prefix=$PWD=/waft --remap-path-prefix=$registry=/registry"

# Both kinds come out of cargo under one name, and several builds may run side by side.
build=target/stub
mkdir -p "$build" "$(dirname "$out")"
exec 9>"$build/waft.lock"
if command -v flock >/dev/null; then flock 9; fi

begun=$(mktemp)
trap 'rm -f "$begun"' EXIT
"${CARGO:-cargo}" build --locked --package waft-stub --bin "$bin" --no-default-features "${features[@]}" \
    --profile "$profile" --target "$triple" --target-dir "$build" 9>&-
folder=$profile
[ "$profile" = dev ] && folder=debug # cargo's name for what that profile makes
built=$build/$triple/$folder/$bin
# Dated to before the build: what changes while it runs makes it old.
if ! cmp -s "$built" "$out"; then
    cp "$built" "$out.partial"
    touch -r "$begun" "$out.partial"
    mv "$out.partial" "$out"
elif [ -n "$(find "${sources[@]}" -newer "$out" -print -quit)" ]; then
    touch -r "$begun" "$out"
fi
