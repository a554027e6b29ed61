#!/bin/sh
# Finds, or makes, a rustc that builds for wasm32-wasip1, and prints its path.
#
#   scripts/wasm-toolchain.sh          make the target available if it is not, then print the rustc to use
#   scripts/wasm-toolchain.sh find     only look; exit 1 and one sentence when there is none
#
#   use:  RUSTC=$(scripts/wasm-toolchain.sh) cargo build --target wasm32-wasip1
#
# With rustup and internet this is `rustup target add wasm32-wasip1` and nothing else. Where rustup cannot download
# (mirrors without it, Debian build machines) the compiler, its library source and lld are taken from Debian's archive,
# unpacked without root into a directory of their own, and std is compiled once into that compiler's sysroot.
# The compiler and the source must be the same version, which is why rustup's rustc is not used with Debian's source.
#
# WAFT_RUST_DIR   where that compiler lies (default ${XDG_CACHE_HOME:-$HOME/.cache}/waft/rust). It is made beside its
#                 final name and renamed last; what an interrupted run left is removed by the next.
set -eu

target=wasm32-wasip1
rustup_seconds_max=120
dir=${WAFT_RUST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/waft/rust}

say() { printf 'wasm-toolchain: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Does this rustc run, and has it a std and the start files for the target?
usable() {
    libs=$("$1" --print target-libdir --target "$target" 2>/dev/null) || return 1
    [ -f "$libs/self-contained/crt1-command.o" ] || return 1
    for std in "$libs"/libstd-*.rlib; do
        [ -f "$std" ] && return 0
    done
    return 1
}

find_rustc() {
    usual=$(command -v "${RUSTC:-rustc}" || true)
    for rustc in "$usual" "$dir/bin/rustc"; do
        if [ -n "$rustc" ] && [ -x "$rustc" ] && usable "$rustc"; then
            printf '%s\n' "$rustc"
            return 0
        fi
    done
    return 1
}

add_by_rustup() {
    command -v rustup >/dev/null || return 1
    say "asking rustup for $target"
    timeout "$rustup_seconds_max" rustup target add "$target" >&2 && find_rustc >/dev/null
}

# What apt would install for these packages on this machine: the packages themselves and what they miss.
with_dependencies() {
    apt-get -qq --simulate --no-install-recommends install "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p'
    printf '%s\n' "$@"
}

depends_on() { # package, sed pattern: the first dependency whose name fits
    apt-cache depends "$1" | sed -n "s/.*Depends: \($2\)\$/\1/p" | head -n 1
}

download() { # into the current directory
    # Debian moves these versions along with its security updates, so ask for names, not numbers.
    std=$(depends_on libstd-rust-web-dev 'libstd-rust-web-[0-9.]*')
    [ -n "$std" ] || return 1
    llvm=$(depends_on "$std" 'libllvm[0-9]*')
    [ -n "$llvm" ] || return 1
    lld=lld-${llvm#libllvm}
    packages=$(with_dependencies rustc-web "$std" libstd-rust-web-dev rust-web-src "$llvm" "$lld" wasi-libc | sort -u)
    say "downloading from Debian: $(echo $packages)"
    # shellcheck disable=SC2086 # a list of names without blanks
    apt-get -q -o APT::Sandbox::User= download $packages >/dev/null
}

unpack_compiler() { # into the current directory, which gets debs/, root/ and bin/
    host=$1
    mkdir -p root bin
    for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
    rust_lld=root/usr/lib/rustlib/$host/bin/rust-lld
    mkdir -p "${rust_lld%/*}"
    # The file, not the link: its library is looked up by LD_LIBRARY_PATH, so it may lie anywhere.
    cp -L root/usr/bin/lld-[0-9]* "$rust_lld"
    cat >bin/rustc <<'RUSTC'
#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd -P)
LD_LIBRARY_PATH=$here/root/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "$here/root/usr/bin/rustc" "$@"
RUSTC
    chmod +x bin/rustc
}

build_std() { # in the current directory, which holds what unpack_compiler made
    here=$(pwd -P)
    libs=root/usr/lib/rustlib/$target/lib
    mkdir -p "$libs/self-contained" std/src
    cp root/usr/lib/wasm32-wasi/crt1-command.o root/usr/lib/wasm32-wasi/crt1-reactor.o \
        root/usr/lib/wasm32-wasi/libc.a "$libs/self-contained/"
    printf '[package]\nname = "std-for-wasm"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >std/Cargo.toml
    echo 'fn main() {}' >std/src/main.rs
    # Bitcode, so that tasks may use lto; paths renamed as in rustup's std, so that no task carries this machine's.
    source=$(readlink -f root/usr/lib/rustlib/src/rust)
    registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
    flags="-Cembed-bitcode=yes --remap-path-prefix=$source=/rust --remap-path-prefix=$here/root/usr/lib/rustlib/src/rust=/rust"
    flags="$flags --remap-path-prefix=$registry=/registry"
    (
        cd std
        unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
        RUSTC="$here/bin/rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags CARGO_TARGET_DIR="$here/std/target" \
            cargo rustc --quiet --release --target "$target" -Zbuild-std=std,panic_abort -- --emit=metadata
    ) >&2
    cp "std/target/$target/release/deps/"lib*.rlib "$libs/"
}

make_from_debian() {
    [ "$(uname -m)" = x86_64 ] || return 1
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    mkdir -p "${dir%/*}"
    partial=$dir.partial
    # One maker at a time; the others wait and then find it made.
    exec 9>"$dir.lock"
    flock 9
    find_rustc >/dev/null && return 0
    rm -rf "$partial"
    mkdir -p "$partial/debs"
    (cd "$partial/debs" && download) || return 1
    say "unpacking, then compiling std for $target (about three minutes, once)"
    (
        cd "$partial"
        unpack_compiler x86_64-unknown-linux-gnu
        build_std
        # The archives and the source have served: two thirds of the space.
        rm -rf debs std root/usr/src root/usr/share root/usr/lib/rustlib/src
    ) || return 1
    usable "$partial/bin/rustc" || return 1
    rm -rf "$dir"
    mv "$partial" "$dir"
}

if find_rustc; then exit 0; fi
hint="run \`rustup target add $target\`, or \`make setup\`"
if [ "${1:-}" = find ]; then
    fail "no Rust compiler here builds for $target: $hint"
fi
if [ -d "$dir" ]; then say "what lies in $dir is not usable; it will be made anew"; fi
if add_by_rustup; then
    find_rustc
elif make_from_debian; then
    find_rustc
else
    fail "rustup could not add $target, and it could not be made from Debian's rustc-web packages either" \
        "(that way needs Debian 12 or later on x86-64, \`apt-get update\` done, and crates.io): $hint"
fi
