# Debian roots for the package tests: made once, kept in the cache, used below an overlay.

cache=${PENSTOCK_CACHE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/cache}
release=bookworm

# Prints the mirror that apt uses here, or nothing: mmdebstrap then takes Debian's own.
host_mirror() {
  apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null |
    awk -v c="$release" '$1 == c {print $2; exit}'
}

# Prints this machine's settings for reaching mirrors: proxies, retries, what to check.
host_apt_settings() {
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries)' | grep -v ' "";$' || true
}

# make_root DIR PACKAGES: a minimal Debian 12, unless DIR is there.
make_root() {
  local dir=$1 packages=$2 settings
  [ ! -e "$dir/etc/debian_version" ] || return 0
  settings=$(mktemp)
  host_apt_settings >"$settings"
  rm -rf "$dir" "$dir.new"
  mkdir -p "$(dirname "$dir")"
  echo "== making a root of Debian $release in $dir"
  # shellcheck disable=SC2046
  mmdebstrap --quiet --variant=minbase ${packages:+--include="$packages"} --aptopt="$settings" \
    --skip=cleanup/apt/lists "$release" "$dir.new" $(host_mirror) </dev/null
  rm -f "$settings"
  : >"$dir.new/etc/machine-id"
  mv "$dir.new" "$dir"
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
