# Debian roots to build and test packages in: made once, kept in the cache, used below an overlay.
# The variable release says which Debian: bookworm (12) unless the caller sets another.

cache=${PENSTOCK_CACHE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/cache}
release=${release:-bookworm}

# Prints the codename of the Debian that runs here; nothing elsewhere.
host_release() {
  (. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || true
}

# Prints the mirror that apt uses here, or nothing: mmdebstrap then takes Debian's own. A mirror of
# this machine's release has the others as well.
host_mirror() {
  local codename
  for codename in "$release" "$(host_release)"; do
    apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null |
      awk -v c="$codename" '$1 == c {print $2; exit}'
  done | head -1
}

# Prints this machine's settings for reaching mirrors: proxies, retries, what to check.
host_apt_settings() {
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries)' | grep -v ' "";$' || true
}

# make_root DIR PACKAGES [HOOK]: a minimal Debian, unless DIR is there; HOOK is a command of
# mmdebstrap's that runs when the packages are in place, with the root's path as $1.
make_root() {
  local dir=$1 packages=$2 hook=${3-} settings
  [ ! -e "$dir/etc/debian_version" ] || return 0
  settings=$(mktemp)
  host_apt_settings >"$settings"
  rm -rf "$dir" "$dir.new"
  mkdir -p "$(dirname "$dir")"
  echo "== making a root of Debian $release in $dir"
  # In a mount namespace of its own, so that no mount of its stays behind.
  # shellcheck disable=SC2046
  unshare --mount --propagation private \
    mmdebstrap --quiet --variant=minbase ${packages:+--include="$packages"} --aptopt="$settings" \
    ${hook:+--customize-hook="$hook"} --skip=cleanup/apt/lists "$release" "$dir.new" \
    $(host_mirror) </dev/null
  rm -f "$settings"
  : >"$dir.new/etc/machine-id"
  mv "$dir.new" "$dir"
}

# Prints the root in which packages for $release are built; makes it when it is not there, or when
# the build dependencies have changed since.
make_build_root() {
  local dir=$cache/roots/build-$release control=packaging/debian/control stamp
  stamp=$(sha256sum <"$control")
  [ "$(cat "$dir/build-dependencies" 2>/dev/null)" = "$stamp" ] || rm -rf "$dir"
  make_root "$dir" build-essential,ccache,fakeroot,lintian "
    mkdir -p \"\$1/tmp/source/debian\"
    cp $control \"\$1/tmp/source/debian/\"
    chroot \"\$1\" apt-get -qq build-dep -y --no-install-recommends /tmp/source
    rm -r \"\$1/tmp/source\"
    echo '$stamp' >\"\$1/build-dependencies\"" >&2
  echo "$dir"
}

# in_cgroup NAME COMMAND...: where PID 1 is not systemd, nspawn gets cgroups of its own, so that
# two runs at once do not meet; elsewhere nspawn asks systemd.
in_cgroup() {
  local name=$1 hierarchy rc=0
  shift
  local hierarchies=()
  if [ "$(cat /proc/1/comm)" != systemd ]; then
    for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
      if mkdir "$hierarchy/$name" 2>/dev/null; then hierarchies+=("$hierarchy/$name"); fi
    done
  fi
  (
    for hierarchy in "${hierarchies[@]}"; do echo "$BASHPID" >"$hierarchy/cgroup.procs"; done
    "$@"
  ) || rc=$?
  for hierarchy in "${hierarchies[@]}"; do
    find "$hierarchy" -depth -type d -exec rmdir {} \; 2>/dev/null || true
  done
  return "$rc"
}
