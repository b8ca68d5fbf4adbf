#!/usr/bin/env bash
# later_gateway.sh SOURCE_DIR WORK_DIR ABI_TEST: builds the whole gateway with a plugin.h in which
# everything has grown, and has it run the plugins of ABI 1.0.
set -euo pipefail
source=$1 work=$2 abi_test=$3
here=$source/tests/component/abi
header=core/include/penstock/plugin.h

mkdir -p "$work"
rm -rf "$work/tree"
mkdir "$work/tree"
git -C "$source" ls-files -z CMakeLists.txt cmake core plugins packaging etc proto docs/examples |
  (cd "$source" && xargs -0 cp --parents -t "$work/tree")
sed -E -f "$here/later.sed" "$source/$header" >"$work/tree/$header"
cmake -S "$work/tree" -B "$work/build" -G Ninja -DPENSTOCK_TESTS=OFF \
  -DCMAKE_CXX_FLAGS="-O0 -Wno-missing-field-initializers" >"$work/configure.log"
cmake --build "$work/build" --target penstock
"$work/build/bin/penstock" --version | grep 'plugin ABI 1\.7'
PENSTOCK_ABI_BINARY=$work/build/bin/penstock "$abi_test" --gtest_filter='*Source10Sink10'
