#!/usr/bin/env bash
# Builds the Debian packages of this work tree into dist/RELEASE; lintian and blhc judge them. For
# ./x package.
#
#   build-deb.sh [--release bookworm|trixie]   RELEASE is bookworm (Debian 12) by default
#   build-deb.sh --compare                     builds them once more, at another path, in another
#                                              time zone and without the compiler cache, and says
#                                              whether the bytes are those of dist/RELEASE
#
# Where this machine runs another release, the build takes place in a root of that release, which
# is made once and needs root. The work tree is exported, so that no build result gets in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/install/lib.sh
root=$PWD
jobs=${JOBS:-$(nproc)}
judge='lintian --allow-root --pedantic --display-info --fail-on error,warning'

# Exports the files that git knows or would add into a tree that can be built.
export_tree() {
  mkdir -p "$1"
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null -T - -cf - | tar -xf - -C "$1"
  cp -r "$1/packaging/debian" "$1/debian"
}

# run_inside WORK ROOT COMMAND...: runs it in an overlay of ROOT that sees WORK as /build. Called as
# --inside, in a mount namespace of its own.
run_inside() {
  local work=$1 base=$2 ccache=$cache/ccache-$release copy dir
  shift 2
  mkdir -p "$ccache"
  copy=$(mktemp -d)
  mount -t tmpfs tmpfs "$copy"
  mkdir "$copy/upper" "$copy/work" "$copy/root"
  mount -t overlay overlay \
    -o "lowerdir=$base,upperdir=$copy/upper,workdir=$copy/work" "$copy/root"
  mkdir -p "$copy/root/build" "$copy/root/ccache"
  mount --bind "$work" "$copy/root/build"
  mount --bind "$ccache" "$copy/root/ccache"
  mount -t proc proc "$copy/root/proc"
  for dir in null zero urandom random full; do
    [ -e "$copy/root/dev/$dir" ] || : >"$copy/root/dev/$dir"
    mount --bind "/dev/$dir" "$copy/root/dev/$dir"
  done
  local rc=0
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/build LANG=C.UTF-8 CCACHE_DIR=/ccache \
    chroot "$copy/root" "$@" || rc=$?
  umount -R "$copy/root"
  umount "$copy"
  rmdir "$copy"
  return $rc
}

# build TREE COMMAND: runs a shell command in the tree, below which its results end up.
build() {
  local tree=$1 command=$2
  if [ "$(host_release)" = "$release" ]; then
    (cd "$tree" && sh -c "$command")
  else
    unshare --mount --propagation private "$root/packaging/build-deb.sh" --release "$release" \
      --inside "$(dirname "$tree")" "$base" sh -c "cd /build/$(basename "$tree") && $command"
  fi </dev/null
}

# package TREE LOG: the packages, beside the tree.
package() {
  build "$1" "dpkg-buildpackage -b -us -uc -j$jobs" >"$2" 2>&1 || {
    grep -nE 'error:|Error |dpkg-.*error|dh_.*: ' "$2" | head -20 >&2 || tail -30 "$2" >&2
    echo "the package build failed, see ${2#"$root"/}" >&2
    exit 1
  }
}

# Every compiler and linker call of the log must have Debian's hardening flags.
check_hardening() {
  echo "== blhc"
  blhc --all "$1" || { echo "hardening flags are missing, as said above" >&2; exit 1; }
}

build_and_judge() {
  local work=$root/build/deb/$release tree
  tree=$work/penstock-$version
  rm -rf "$work"
  export_tree "$tree"
  echo "== building penstock $version for Debian $release"
  package "$tree" "$work/build.log"
  check_hardening "$work/build.log"
  echo "== lintian"
  build "$tree" "$judge ../*.changes"
  rm -rf "dist/$release"
  mkdir -p "dist/$release"
  mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "dist/$release/"
  rm -rf "$tree"
  ls -l "dist/$release"
}

compare() {
  local work tree file differ=0
  work=$(mktemp -d --tmpdir penstock-elsewhere.XXXX)
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  tree=$work/a/longer/path/than/before
  export_tree "$tree"
  echo "== building penstock $version for Debian $release again"
  (
    umask 027
    export TZ=Pacific/Apia LC_ALL=C CCACHE_DISABLE=1
    package "$tree" "$work/build.log"
  )
  for file in "dist/$release"/*.deb; do
    if cmp "$file" "$(dirname "$tree")/$(basename "$file")"; then
      echo "the same: $(basename "$file")"
    else
      differ=1
    fi
  done
  return $differ
}

action=build_and_judge
while [ $# -gt 0 ]; do
  case $1 in
    --release) release=${2:?--release needs a name}; shift 2 ;;
    --compare) action=compare; shift ;;
    --inside) shift; run_inside "$@"; exit ;;
    *) echo "usage: build-deb.sh [--release bookworm|trixie] [--compare]" >&2; exit 2 ;;
  esac
done

version=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
declared=$(sed -n 's/^project(penstock VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
if [ "${version%%[-~+]*}" != "$declared" ]; then
  echo "packaging/debian/changelog says $version, CMakeLists.txt $declared" >&2
  exit 1
fi
if command -v ccache >/dev/null; then
  CCACHE_DIR=$(ccache --get-config cache_dir)
  export CCACHE_DIR
fi
# With these the cache hands paths to the compiler that differ from those of a build without it,
# and the debug information, and so the build id, would depend on whether there is a cache.
unset CCACHE_BASEDIR CCACHE_NOHASHDIR
base=
if [ "$(host_release)" != "$release" ]; then
  [ "$(id -u)" = 0 ] || { echo "building for $release needs root, for its mounts" >&2; exit 1; }
  base=$(make_build_root)
fi
$action
