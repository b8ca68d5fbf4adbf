# Installing, the packages' own promises, and what is left after a purge.

use_repository() {
  echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
  rm -f /etc/apt/sources.list.d/*
  apt-get -qq update
}

# The libraries of gRPC, NATS and Kafka come with the plugins that need them, and not before.
host_is_small() {
  apt_install penstock || return 1
  local heavy
  heavy=$(dpkg-query -W -f '${Package}\n' |
    grep -E '^(libgrpc|libprotobuf|libabsl|libnats|librdkafka)')
  same "$heavy" ""
}

lists_exactly() {
  local got
  got=$(penstock plugins list | awk '$1 == "source" || $1 == "sink" || NR > 1' | tee /tmp/plugins |
    grep -oE '(source|sink)-[a-z-]+\.so' | sed -E 's/(source|sink)-(.*)\.so/\2/' | sort | xargs)
  same "$got" "$1" || { cat /tmp/plugins; return 1; }
}

# What apt does with a host of another ABI: the virtual package that plugins depend on is its own.
abi_is_a_package() {
  local abi plugin
  abi=$(dpkg-query -W -f '${Provides}' penstock)
  echo "$abi" | grep -qxE 'penstock-plugin-abi-[0-9]+' || { echo "provides '$abi'"; return 1; }
  for plugin in $plugin_packages; do
    apt-cache show "$plugin" | grep -E "^Depends:.*\b$abi\b" ||
      { echo "$plugin does not depend on $abi"; return 1; }
  done
}

recommends_plugins() {
  local plugin wanted
  wanted=$(apt-cache show penstock | grep '^Recommends:')
  for plugin in $plugin_packages; do
    echo "$wanted" | grep -qw "$plugin" || { echo "$plugin is not in '$wanted'"; return 1; }
  done
}

# A configuration that names a plugin which is not there yet: refused, until its package comes.
started_by_its_plugin() {
  write_config early <<'TOML'
[sources.orders]
plugin = "generic"
url = "127.0.0.1:1"
insecure = true
[sinks.nothing]
plugin = "null"
from = ["orders"]
TOML
  systemctl restart penstock && { echo "it started"; return 1; }
  same "$(property ExecMainStatus)" 78 || return 1
  apt_install penstock-plugin-generic || return 1
  within 20 is_active
}

# The host is told of plugins that a package brings; nobody else's installation fails by that.
trigger_fires() {
  rm -f $dropins/early.toml
  start_again || return 1
  local before
  before=$(grep -c 'trigproc penstock:' /var/log/dpkg.log)
  # shellcheck disable=SC2086
  apt_install $plugin_packages penstock-dev || return 1
  [ "$(grep -c 'trigproc penstock:' /var/log/dpkg.log)" -gt "$before" ] ||
    { tail -20 /var/log/dpkg.log; return 1; }
  is_active
}

# It is the same process that takes them in.
trigger_reloads() {
  local pid before
  pid=$(property MainPID) before=$(journal_has -c '^Reloaded ')
  apt_install --reinstall penstock-plugin-kafka || return 1
  same "$(property MainPID)" "$pid" && [ "$(journal_has -c '^Reloaded ')" -gt "$before" ]
}

# strangers_package ABI: a package of somebody else's with a plugin in it.
strangers_package() {
  local directory=/tmp/acme-$1 plugins
  plugins=$(echo /usr/lib/*/penstock/plugins)
  mkdir -p "$directory/DEBIAN" "$directory$plugins"
  cp /out/plugins/sink-append.so "$directory$plugins/"
  printf '%s\n' 'Package: acme-append' 'Version: 1' 'Maintainer: Acme <acme@example.org>' \
    "Architecture: $(dpkg --print-architecture)" "Depends: $1" 'Description: a plugin' \
    >"$directory/DEBIAN/control"
  dpkg-deb --root-owner-group -b "$directory" "$directory.deb"
}

takes_strangers_package() {
  local abi rc=1
  abi=$(dpkg-query -W -f '${Provides}' penstock)
  strangers_package "$abi" && strangers_package penstock-plugin-abi-99 || return 1
  if apt_install /tmp/acme-penstock-plugin-abi-99.deb; then
    echo "it was not refused"
  elif apt_install "/tmp/acme-$abi.deb" && penstock plugins list | grep -w append; then
    apt-get -qq purge -y acme-append && is_active && rc=0
  fi
  rm -rf /tmp/acme-*
  return $rc
}

sdk_is_there() {
  [ -s /usr/include/penstock/plugin.h ] && [ -s /usr/include/penstock/plugin.hpp ] &&
    [ -s /usr/include/penstock/plugin.map ] && same "$(apt-mark showhold)" ""
}

runs_unprivileged() {
  local status
  status=/proc/$(property MainPID)/status
  same "$(awk '$1 == "Uid:" {print $2}' "$status")" "$(id -u penstock)" &&
    same "$(awk '$1 == "CapEff:" {print $2}' "$status")" 0000000000000000 &&
    same "$(awk '$1 == "NoNewPrivs:" {print $2}' "$status")" 1 &&
    same "$(awk '$1 == "Seccomp:" {print $2}' "$status")" 2
}

user_is_static() {
  getent passwd penstock && [ "$(id -u penstock)" -lt 1000 ] &&
    same "$(stat -c '%U:%G %a' $state)" 'penstock:penstock 750'
}

install_checks() {
  check "apt finds the repository" use_repository
  check "the host alone needs no library of gRPC, NATS or Kafka" host_is_small
  check "the unit runs on the packaged configuration" is_active
  check "the host brings four plugins" lists_exactly "file generator null stdout"
  check "the ABI is a virtual package" abi_is_a_package
  check "the host recommends the plugins" recommends_plugins
  check "a gateway that missed a plugin starts when its package comes" started_by_its_plugin
  check "the trigger fires for plugins of packages" trigger_fires
  check "the trigger reloads the running gateway" trigger_reloads
  check "all plugins are listed" \
    lists_exactly "file generator generic kafka nats-jetstream null stdout"
  check "a stranger's package is taken, and one for another ABI refused" takes_strangers_package
  check "the SDK is installed" sdk_is_there
}

service_checks() {
  check "the service has no privileges" runs_unprivileged
  check "the service has a user of its own" user_is_static
  check "the drop directory is root's" same "$(stat -c '%U:%G %a' $dropped)" 'root:root 755'
}

keeps_edited_config() {
  echo '# edited' >>$config
  apt_install --reinstall penstock && grep -q '^# edited' $config && is_active
}

reinstall_checks() {
  check "an edited configuration survives a reinstall" keeps_edited_config
}

# Purged is everything that a package brought or the service made. What an administrator dropped is
# not ours, so it goes first here.
purges() {
  rm -rf ${dropins:?}/*.toml ${dropped:?}/*.so /etc/systemd/system/penstock.service.d
  systemctl daemon-reload
  # shellcheck disable=SC2086
  apt-get -qq purge -y penstock $(dpkg-query -W -f '${Package} ' 'penstock-*' 2>/dev/null) ||
    return 1
  local left
  left=$(find / -xdev \( -path /proc -o -path /sys -o -path /repo -o -path /out -o -path /tests \) \
    -prune -o -ipath '*penstock*' ! -path '/var/log/journal/*' -print |
    grep -v '^/var/lib/apt/lists/')
  same "$left" ""
}

purge_checks() {
  check "it stops" timeout 60 systemctl stop penstock
  check "purge leaves nothing" purges
}
