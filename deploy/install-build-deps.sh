#!/bin/sh
# Makes sure of what RocksDB's build needs: a C++ compiler, make, and libclang with its headers.
set -eu

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    for header in /usr/lib/llvm-*/lib/clang/*/include/stdbool.h /usr/lib/clang/*/include/stdbool.h /usr/lib64/clang/*/include/stdbool.h; do
        [ -e "$header" ] && return 0
    done
    return 1
}

command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or newer (https://rustup.rs)" >&2; exit 1; }
missing=""
command -v c++ >/dev/null || missing="$missing g++"
have_libclang || missing="$missing libclang-dev"
[ -z "$missing" ] && exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "installing$missing" >&2
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "please install:$missing (Debian: sudo apt-get install$missing)" >&2
    exit 1
fi
