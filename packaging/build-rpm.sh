#!/usr/bin/env bash
# Builds the rpm packages of this work tree into dist/rpm/; rpmlint judges them where it is there.
# For ./x package --rpm.
#
#   build-rpm.sh [--source]   --source: only the source package, for dnf builddep or mock; what it
#                             needs to be built is said for the distribution that runs here
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022
case ${1-} in
  '') targets=(-bb '-bs --nodeps') ;;
  --source) targets=('-bs --nodeps') ;;
  *) echo "usage: build-rpm.sh [--source]" >&2; exit 2 ;;
esac
root=$PWD
spec=$root/packaging/rpm/penstock.spec
version=$(sed -n 's/^Version: *//p' "$spec")
work=$root/build/rpm
builds=$work/BUILD
log=$work/build.log

declared=$(sed -n 's/^project(penstock VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
if [ "$version" != "$declared" ]; then
  echo "packaging/rpm/penstock.spec says $version, CMakeLists.txt $declared" >&2
  exit 1
fi

# The files that git knows or would add, so that no build result gets in. The archive depends on
# their names and contents only.
make_archive() {
  local date
  date=$(sed -n '/^%changelog/{n;s/^\* \(... ... .. ....\) .*/\1/p}' "$spec")
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    LC_ALL=C sort -z |
    tar -cf - --no-recursion --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
      --mtime="$date UTC" --transform "flags=r;s,^,penstock-$version/," --null -T - | gzip -n
}

# Debian's rpm knows no hardening flags. With those of the Debian packages, in the same order and at
# the same path, what was compiled for them comes from the compiler's cache.
use_debian_build() {
  builds=$root/build/deb/$(. /etc/os-release && echo "${VERSION_CODENAME-}")
  export DEB_BUILD_MAINT_OPTIONS='hardening=+all reproducible=+fixfilepath'
  mkdir -p "$builds/penstock-$version"
  cd "$builds/penstock-$version"
  CFLAGS="$(dpkg-buildflags --get CFLAGS) $(dpkg-buildflags --get CPPFLAGS)"
  CXXFLAGS="$(dpkg-buildflags --get CXXFLAGS) $(dpkg-buildflags --get CPPFLAGS)"
  LDFLAGS=$(dpkg-buildflags --get LDFLAGS)
  export CFLAGS CXXFLAGS LDFLAGS
  cd "$root"
}

rm -rf "$work"
mkdir -p "$work/SOURCES" "$work/RPMS"
make_archive >"$work/SOURCES/penstock-$version.tar.gz"
if command -v dpkg-buildflags >/dev/null; then use_debian_build; fi
ln -s "$builds/penstock-$version" "$work/tree"
if command -v ccache >/dev/null; then
  CCACHE_DIR=$(ccache --get-config cache_dir)
  export CCACHE_DIR
fi
# With these the cache gives the compiler other paths than it gets without it; they are in the debug
# information, and so in the build-id.
unset CCACHE_BASEDIR CCACHE_NOHASHDIR

echo "== building penstock $version"
# One at a time: a binary package holds the digest of the source package that is built with it, in
# which is the path of the build. The compiled tree stays, for the higher release of the tests.
export RPM_BUILD_NCPUS=${JOBS:-$(nproc)}
build() {
  local target
  for target in "${targets[@]}"; do
    # shellcheck disable=SC2086
    rpmbuild $target --noclean --define "_topdir $work" --define "_builddir $builds" \
      --define '_buildhost reproducible' "$spec" || return 1
  done
}
build >"$log" 2>&1 </dev/null || {
  grep -nE 'error:|Error |^RPM build errors' -A 5 "$log" | head -20 >&2 || tail -30 "$log" >&2
  echo "the package build failed, see ${log#"$root"/}" >&2
  exit 1
}

rm -rf dist/rpm
mkdir -p dist/rpm
find "$work/RPMS" "$work/SRPMS" -name '*.rpm' -exec mv -t dist/rpm {} +
if command -v rpmlint >/dev/null; then
  echo "== rpmlint"
  rpmlint --ignore-unused-rpmlintrc --rpmlintrc packaging/rpm/penstock.rpmlintrc dist/rpm/*.rpm
fi
ls -l dist/rpm
