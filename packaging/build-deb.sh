#!/usr/bin/env bash
# Builds the Debian package of this work tree into dist/; lintian judges it. For ./x package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
work=$root/build/deb
tree=$work/penstock-$version
log=$work/build.log

declared=$(sed -n 's/^project(penstock VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
if [ "${version%%[-~+]*}" != "$declared" ]; then
  echo "packaging/debian/changelog says $version, CMakeLists.txt $declared" >&2
  exit 1
fi

# An export of the files that git knows or would add, so that no build result gets in.
rm -rf "$work"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --null -T - -cf - | tar -xf - -C "$tree"
cp -r "$tree/packaging/debian" "$tree/debian"

echo "== building penstock $version"
if command -v ccache >/dev/null; then
  CCACHE_DIR=$(ccache --get-config cache_dir)
  export CCACHE_DIR CCACHE_BASEDIR=$tree
fi
(cd "$tree" && dpkg-buildpackage -b -us -uc "-j${JOBS:-$(nproc)}") >"$log" 2>&1 </dev/null || {
  grep -nE 'error:|Error |dpkg-.*error' "$log" | head -20 >&2 || tail -30 "$log" >&2
  echo "the package build failed, see ${log#"$root"/}" >&2
  exit 1
}

echo "== lintian"
lintian --allow-root --pedantic --display-info --fail-on error,warning "$work"/*.changes

rm -rf dist
mkdir dist
mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo dist/
rm -rf "$tree"
ls -l dist
