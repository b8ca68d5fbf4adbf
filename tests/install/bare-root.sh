#!/usr/bin/env bash
# Shows that a fresh clone works where nothing was installed by hand: bootstraps a bare Debian 12,
# puts a clone of HEAD into it and runs there, one after the other, ./x demo, ./x demo --kafka and
# ./x test, or the commands given. ./x test-bare calls it.
#
#   bare-root.sh [--keep] [--ccache] [COMMAND...]   each COMMAND is one argument: './x test unit'
#
# Needs root, and mmdebstrap. --keep: the root stays in build/bare, and a later run goes on in it.
# --ccache: with this machine's compiler cache, which saves time and shows the same.
# This machine's ways to the package mirrors (apt's sources and settings, proxies, certificates,
# settings of pip, Go and Maven) are taken over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/install/lib.sh

copy=$PWD/build/bare
inside=$copy/root
home=/root
passed='^(PIP_|GOPROXY=|GOSUMDB=|GONOSUMDB=|GOPRIVATE=|MAVEN_|SSL_CERT_|[a-z]*_proxy=)'

# Prints the Debian repositories that apt uses here, as lines of sources.list.
host_sources() {
  apt-get indextargets --format '$(CREATED_BY) $(REPO_URI) $(CODENAME) $(COMPONENT)' |
    awk -v c="$release" '$1 == "Packages" && $3 ~ "^" c {print "deb", $2, $3, $4}' | sort -u
}

take_over_settings() {
  local file
  cp -L /etc/resolv.conf /etc/hosts "$inside/etc/"
  if [ -n "$(host_sources)" ]; then
    rm -f "$inside/etc/apt/sources.list.d/"*
    host_sources >"$inside/etc/apt/sources.list"
  fi
  { host_apt_settings; echo 'DPkg::Options:: "--force-unsafe-io";'; } \
    >"$inside/etc/apt/apt.conf.d/99host"
  for file in /etc/pip.conf ~/.config/pip/pip.conf ~/.m2/settings.xml ~/.m2/settings-security.xml \
    /etc/apt/auth.conf.d/* /usr/local/share/ca-certificates/*; do
    [ -f "$file" ] || continue
    # A home directory of whoever calls this becomes that of root inside.
    local target=$inside${file/#$HOME/$home}
    mkdir -p "$(dirname "$target")"
    cp "$file" "$target"
  done
}

# Prints the variables that commands inside may see, one NAME=VALUE each, ended by NUL.
passed_environment() {
  env -0 | grep -zE "$passed" | grep -zv ^PIP_FIND_LINKS= || true
  printf '%s\0' HOME=$home LANG=C.UTF-8 CI="${CI:-}" TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

enter() {
  mount --make-rprivate /
  mount -t overlay overlay \
    -o "lowerdir=$cache/roots/bare,upperdir=$copy/upper,workdir=$copy/work" "$inside"
  local dir
  for dir in dev sys; do mount --rbind "/$dir" "$inside/$dir"; done
  if [ -n "${BARE_CCACHE-}" ]; then
    mkdir -p "$inside$home/.cache/ccache"
    mount --bind "$BARE_CCACHE" "$inside$home/.cache/ccache"
  fi
  mount -t proc proc "$inside/proc"
  mount -t tmpfs -o mode=1777 tmpfs "$inside/tmp"
  take_over_settings
  if [ -e "$inside$home/penstock" ]; then
    git -C "$inside$home/penstock" pull -q --ff-only "$PWD"
  else
    git clone -q "$PWD" "$inside$home/penstock"
  fi
  git -C "$inside$home/penstock" log -1 --format='== clone of %h %s'
  mapfile -d '' -t environment < <(passed_environment)
  cd "$inside"
  mkdir -p .outside
  pivot_root . .outside
  umount -l /.outside
  rmdir /.outside
  cd $home/penstock
  local command rc start
  for command in "$@"; do
    echo "== bare root: $command"
    start=$SECONDS rc=0
    env -i "${environment[@]}" bash -c "$command" </dev/null || rc=$?
    echo "== bare root: $command: exit $rc after $((SECONDS - start)) s"
    [ "$rc" = 0 ] || exit "$rc"
  done
}

if [ "${1-}" = --inside ]; then
  shift
  enter "$@"
  exit
fi
keep=
while true; do
  case ${1-} in
    --keep) keep=1 ;;
    --ccache) BARE_CCACHE=$(ccache --get-config cache_dir); export BARE_CCACHE ;;
    *) break ;;
  esac
  shift
done
[ $# -gt 0 ] || set -- './x demo' './x demo --kafka' './x test'
[ "$(id -u)" = 0 ] || { echo "bare-root.sh needs root, for its mounts" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: ./x setup" >&2; exit 1; }

make_root "$cache/roots/bare" ""
[ -n "$keep" ] || rm -rf "$copy"
mkdir -p "$copy/upper" "$copy/work" "$inside"
rc=0
unshare --mount --pid --fork --kill-child "$PWD/tests/install/bare-root.sh" --inside "$@" || rc=$?
[ -n "$keep" ] || rm -rf "$copy"
exit "$rc"
