#!/usr/bin/env bash
# outsider.sh PREFIX [hour|cpp|c|rust...]: what somebody outside this project does. Builds the
# examples of docs/examples against the Penstock that is installed below PREFIX (as /usr), those in
# C++ from its own templates; loads each plugin, and runs events through it. hour: the commands of
# docs/plugins.md, as they stand there. One line for each check.
set -euo pipefail

prefix=$(cd "${1:?usage: outsider.sh PREFIX [hour|cpp|c|rust...]}" && pwd)
shift
[ $# -gt 0 ] || set -- hour cpp c rust
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../docs/examples" && pwd)
penstock=$prefix/bin/penstock
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
plugins=$work/site/lib/penstock/plugins
mkdir -p "$plugins"
pc=$(find "$prefix" -path '*/pkgconfig/penstock.pc' | head -1)
export PKG_CONFIG_PATH=${pc%/*}
export PKG_CONFIG="pkg-config --define-variable=prefix=$prefix"
unset PENSTOCK_PLUGIN_DIR

# check NAME COMMAND...: its output is shown if it fails, and nothing goes on.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "ok $name"
  else
    cat "$work/log"
    echo "not ok $name"
    exit 1
  fi
}

same() { [ "$1" = "$2" ] || { echo "got '$1', expected '$2'"; return 1; }; }

# Loads it as the gateway does; where this Penstock can, has it judged as well.
loads() {
  "$penstock" plugins info --config /nonexistent --plugin-dir "$plugins" "$1" | tee "$work/info"
  grep -q 'Plugin ABI: *1\.' "$work/info" || return 1
  if "$penstock" plugins verify --help >/dev/null 2>&1; then
    "$penstock" plugins verify "$plugins/$2"
  fi
}

# moves SOURCE SINK EVENTS: as [sources.in] and [sinks.out] of the configuration on standard input.
moves() {
  cat >"$work/penstock.toml"
  "$penstock" run --config "$work/penstock.toml" --plugin-dir "$plugins" --exit-when-done 2>&1 |
    tee "$work/run"
  grep -q "received $1 = delivered $1" "$work/run"
}

build_cpp() {
  local name=$1 folder
  folder=$(find "$prefix" -path "*/penstock/templates/$name" -type d)
  [ -n "$folder" ] || { echo "no template $name below $prefix"; return 1; }
  cp -r "$folder" "$work/$name"
  cmake -S "$work/$name" -B "$work/$name/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_INSTALL_PREFIX="$work/site" &&
    cmake --build "$work/$name/build" &&
    ctest --test-dir "$work/$name/build" --output-on-failure --no-tests=error &&
    cmake --install "$work/$name/build"
}

moves_cpp() {
  moves 5 <<TOML
[sources.in]
plugin = "heartbeat"
text = "beat"
interval = "1ms"
count = 5

[sinks.out]
plugin = "journal"
from = ["in"]
format = "raw"
path = "$work/journal"
head = "{source}"
TOML
  same "$(cat "$work/journal")" "$(printf 'in beat %s\n' 1 2 3 4 5)"
}

test_cpp() {
  check "the template for a source builds and passes its test" build_cpp source
  check "the template for a sink builds and passes its test" build_cpp sink
  check "penstock loads the source in C++" loads heartbeat source-heartbeat.so
  check "penstock loads the sink in C++" loads journal sink-journal.so
  check "events go through the plugins in C++" moves_cpp
}

moves_c() {
  moves 1000 <<'TOML'
[sources.in]
plugin = "pulse"
count = 1000

[sinks.out]
plugin = "tally"
from = ["in"]
TOML
}

# The command that docs/plugins.md gives, by pkg-config, is what the Makefile runs.
test_c() {
  cp -r "$examples/c" "$work/c"
  check "pkg-config says where plugins belong and which ABI it is" \
    pkg-config --exists --print-errors penstock
  check "the version of the ABI is that of the headers" \
    same "$(pkg-config --variable=abi penstock)" "$(abi_of_headers)"
  check "the plugins in C build" make -C "$work/c" install plugindir="$plugins"
  check "penstock loads the source in C" loads pulse source-pulse.so
  check "penstock loads the sink in C" loads tally sink-tally.so
  check "events go through the plugins in C" moves_c
}

abi_of_headers() {
  sed -n 's/^#define PENSTOCK_ABI_M[A-Z]*OR \([0-9]*\)u$/\1/p' "$prefix/include/penstock/plugin.h" |
    paste -sd.
}

moves_rust() {
  moves 3 <<TOML
[sources.in]
plugin = "countdown"
from = 3

[sinks.out]
plugin = "scribe"
from = ["in"]
format = "raw"
path = "$work/scribe"
TOML
  same "$(cat "$work/scribe")" "$(printf '%s\n' 3 2 1)"
}

test_rust() {
  if ! command -v rustc >/dev/null; then
    printf 'outsider.rust: Skipped\nrustc is not installed; ./x setup --full brings it\n'
    return 77
  fi
  cp -r "$examples/rust" "$work/rust"
  check "the plugins in Rust build" make -C "$work/rust" install plugindir="$plugins"
  check "penstock loads the source in Rust" loads countdown source-countdown.so
  check "penstock loads the sink in Rust" loads scribe sink-scribe.so
  check "events go through the plugins in Rust" moves_rust
}

# The shell blocks between the mark and the next heading.
commands_of_the_hour() {
  sed -n '/^<!-- tested: /,/^## /p' "$examples/../plugins.md" | sed -n '/^```sh$/,/^```$/p' |
    grep -v '^```'
}

# A reader's system has the plugins, the CMake package and pkg-config's file in their places.
follows_the_hour() {
  commands_of_the_hour >"$work/hour.sh"
  mkdir "$work/bin"
  printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v pkg-config) ${PKG_CONFIG#* }" \
    >"$work/bin/pkg-config"
  chmod +x "$work/bin/pkg-config"
  (cd "$work" && PATH=$work/bin:$prefix/bin:$PATH CMAKE_PREFIX_PATH=$prefix \
    PENSTOCK_PLUGIN_DIR=$(dirname "$(find "$prefix" -name sink-stdout.so | head -1)") \
    bash -euxo pipefail hour.sh)
}

test_hour() {
  check "the commands of docs/plugins.md work as they stand there" follows_the_hour
  check "five events came out" same "$(grep -c '^{"specversion"' "$work/log")" 5
}

# 77, by which ctest knows a skip, when nothing else was asked for.
status=0
for language in "$@"; do
  rc=0
  "test_$language" || rc=$?
  [ $rc = 0 ] || { [ $rc = 77 ] && [ $# = 1 ] && status=77; } || [ $rc = 77 ] || exit $rc
done
exit $status
