#!/bin/bash
# Runs as a unit inside the booted container. /out/results gets one line for each check.
set -u
exec >/out/log 2>&1 </dev/null
config=/etc/penstock/penstock.toml
state=/var/lib/penstock
events=$state/events.jsonl
dropped=/usr/local/lib/penstock/plugins/sink-null.so
first=/repo/first upgrade=/repo/upgrade companions=/repo/companions
failed=0

# check NAME COMMAND...: one line in the results, and what the journal says if it failed.
check() {
  local name=$1
  shift
  echo "--- $name"
  if "$@"; then
    echo "ok $name" >>/out/results
  else
    echo "not ok $name" >>/out/results
    journalctl -u penstock -o short-monotonic --no-pager -n 30
    failed=1
  fi
}

# within SECONDS COMMAND...: until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "not within the time: $*"; return 1; }
    sleep 0.1
  done
}

property() { systemctl show -P "$1" penstock; }
same() { [ "$1" = "$2" ] || { echo "got '$1', expected '$2'"; return 1; }; }
has_lines() { [ "$(wc -l <"$1" 2>/dev/null || echo 0)" -ge "$2" ]; }

# Debian's rpm warns on Debian unless told otherwise.
run_rpm() { rpm --force-debian "$@"; }
# silent COMMAND...: succeeds, and says nothing: what a scriptlet could not do would show.
silent() {
  local said rc=0
  said=$("$@" 2>&1) || rc=$?
  same "$said" "" && return $rc
}
# refused TEXT COMMAND...: fails, and says TEXT.
refused() {
  local text=$1 said
  shift
  if said=$("$@" 2>&1); then echo "it did not fail"; return 1; fi
  grep -qF "$text" <<<"$said" || { echo "$said"; return 1; }
}
packages() { rpm -qa --qf '%{NAME}\n' 'penstock*' | sort; }
ours() { packages | grep -v tally; }

# Prints what is there by our name. The user stays: an account is never given to somebody else.
leftovers() {
  find / -xdev \( -path /proc -o -path /sys -o -path /repo -o -path /out \) -prune -o \
    -ipath '*penstock*' ! -path '/var/log/journal/*' -print | sort
}

# As Fedora has it; Debian would enable what is installed.
use_fedora_preset() {
  mkdir -p /etc/systemd/system-preset
  echo 'disable *' >/etc/systemd/system-preset/00-all.preset
}

# A build of an image, or a chroot: nothing runs that could be asked.
comes_and_goes_without_systemd() {
  silent unshare --mount sh -ec "
    mount -t tmpfs tmpfs /run
    rpm --force-debian -i $first/penstock.rpm $first/penstock-plugin-generic.rpm
    test \"\$(stat -c '%U:%G %a' /usr/local/lib/penstock/plugins)\" = 'root:root 755'
    id -u penstock >/dev/null
    rpm --force-debian -e penstock penstock-plugin-generic" && same "$(leftovers)" ""
}

installs() {
  silent run_rpm -i $first/penstock.rpm $first/penstock-plugin-generic.rpm \
    $first/penstock-plugin-nats-jetstream.rpm $first/penstock-devel.rpm
}

is_left_to_the_admin() {
  same "$(systemctl is-enabled penstock)" disabled && same "$(property ActiveState)" inactive
}

unit_is_clean() { silent systemd-analyze verify --man=no penstock.service; }

starts() { systemctl enable --now penstock && systemctl -q is-active penstock; }

has_no_privileges() {
  local status=/proc/$(property MainPID)/status
  same "$(awk '$1 == "Uid:" {print $2}' "$status")" "$(id -u penstock)" &&
    same "$(awk '$1 == "CapEff:" {print $2}' "$status")" 0000000000000000
}

owns_state() {
  same "$(rpm -qf $state)" "$(rpm -q penstock)" &&
    same "$(stat -c '%U:%G %a' $state)" 'penstock:penstock 750'
}

verifies() { silent run_rpm -V $(packages); }

lists() {
  penstock plugins list >/tmp/plugins || return 1
  local name
  for name in "$@"; do
    grep -qw "$name" /tmp/plugins || { cat /tmp/plugins; echo "$name is missing"; return 1; }
  done
}

# A reload and a restart both move this time stamp of the unit.
changes_the_running() {
  local before
  before=$(property StateChangeTimestampMonotonic)
  silent run_rpm -i "$1" && systemctl -q is-active penstock || return 1
  [ "$(property StateChangeTimestampMonotonic)" != "$before" ] ||
    { echo "the running gateway was not asked to reload"; return 1; }
}
# A gateway that was refused for want of a plugin runs as soon as a package brings it.
starts_the_refused() {
  cat >/etc/penstock/conf.d/lake.toml <<'TOML'
[sources.few]
plugin = "generator"
count = 1

[sinks.lake]
plugin = "kafka"
from = ["few"]
topic = "events"
client = { "bootstrap.servers" = "127.0.0.1:9" }
TOML
  chmod 644 /etc/penstock/conf.d/lake.toml
  ! systemctl restart penstock 2>/dev/null && same "$(property ExecMainStatus)" 78 &&
    silent run_rpm -i $first/penstock-plugin-kafka.rpm && systemctl -q is-active penstock &&
    lists generic generator nats-jetstream kafka stdout file null
  local rc=$?
  rm /etc/penstock/conf.d/lake.toml
  systemctl restart penstock && return $rc
}
takes_in_strangers_plugin() {
  changes_the_running $companions/penstock-plugin-tally.rpm && lists tally
}
leaves_alone() {
  local before
  before=$(property StateChangeTimestampMonotonic)
  run_rpm -i --replacepkgs $companions/libraries.rpm &&
    same "$(property StateChangeTimestampMonotonic)" "$before"
}

# The generator's events end in a file of the state directory.
moves_events() {
  cat >/etc/penstock/conf.d/trial.toml <<'TOML'
[sources.trial]
plugin = "generator"
rate = 1000
count = 500

[sinks.lines]
plugin = "file"
from = ["trial"]
path = "/var/lib/penstock/events.jsonl"
TOML
  chmod 644 /etc/penstock/conf.d/trial.toml
  penstock check && systemctl restart penstock && within 20 has_lines $events 500
}

# Two releases differ in the configuration file, which the administrator has edited.
upgrades() {
  local pid
  echo '# edited' >>$config
  pid=$(property MainPID)
  run_rpm -U $(ours | sed "s,.*,$upgrade/&.rpm,") || return 1
  same "$(rpm -q --qf '%{RELEASE}\n' $(ours) | sort -u)" 2 &&
    systemctl -q is-active penstock && same "$(systemctl is-enabled penstock)" enabled &&
    [ "$(property MainPID)" != "$pid" ]
}
keeps_edited_config() {
  grep -q '^# edited' $config && ! grep -q '^# A later release' $config &&
    grep -q '^# A later release' $config.rpmnew && rm $config.rpmnew
}
keeps_state() { has_lines $events 500 && owns_state; }
verifies_but_for_the_edit() { same "$(run_rpm -V $(packages))" "S.5....T.  c $config"; }

# The drop directory comes before the packaged plugins.
takes_dropped_plugin() {
  cp /usr/lib64/penstock/plugins/sink-null.so $dropped
  penstock plugins list | tee /tmp/plugins
  grep -q "ok  *$dropped" /tmp/plugins
}

stops() { timeout 60 systemctl stop penstock && same "$(property Result)" success; }

# What the administrator made or edited stays, and what the gateway has not delivered.
erases() {
  local pid
  systemctl start penstock || return 1
  pid=$(property MainPID)
  silent run_rpm -e $(packages | grep -v '^penstock$') && run_rpm -e penstock || return 1
  same "$(systemctl show -P LoadState penstock)" not-found || return 1
  [ ! -e "/proc/$pid" ] || { echo "it still runs"; return 1; }
  [ -s $events ] && [ -d $state/store ] || { echo "the state is gone"; return 1; }
  rm -r ${state:?}
  same "$(leftovers)" "$(printf '%s\n' /etc/penstock /etc/penstock/conf.d \
    /etc/penstock/conf.d/trial.toml $config.rpmsave /usr/local/lib/penstock \
    /usr/local/lib/penstock/plugins $dropped)"
}

use_fedora_preset
check "the container is up" systemctl is-active multi-user.target
check "the libraries are there" silent run_rpm -i $companions/libraries.rpm
check "a plugin is refused without the gateway" \
  refused "penstock(plugin-abi) = " run_rpm -i $first/penstock-plugin-kafka.rpm
check "it comes and goes where systemd does not run" comes_and_goes_without_systemd
check "rpm installs it" installs
check "it is neither enabled nor started by that" is_left_to_the_admin
check "the installed files are those of the packages" verifies
check "the unit file is clean" unit_is_clean
check "the unit runs on the packaged configuration" starts
check "the service has no privileges" has_no_privileges
check "the state directory is the package's" owns_state
check "the installed plugins are listed" lists generic generator nats-jetstream stdout file null
check "a package with the plugin that was missing starts a refused gateway" starts_the_refused
check "a running gateway takes in the plugin of a stranger's package" takes_in_strangers_plugin
check "a package without plugins does not concern it" leaves_alone
check "a plugin for another ABI is refused" \
  refused "penstock(plugin-abi) = " run_rpm -i $companions/penstock-plugin-later.rpm
check "the gateway stays while a plugin needs it" \
  refused "penstock(plugin-abi) = " run_rpm -e penstock
check "events arrive in a file" moves_events
check "the files are still those of the packages" verifies
check "an upgrade restarts the gateway" upgrades
check "an edited configuration survives the upgrade" keeps_edited_config
check "the state survives the upgrade" keeps_state
check "only the edited configuration differs" verifies_but_for_the_edit
check "a dropped plugin is taken" takes_dropped_plugin
check "it stops with success" stops
check "erasing leaves what the administrator made" erases
exit $failed
