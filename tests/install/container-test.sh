#!/bin/bash
# Runs as a unit inside the booted container. /out/results gets one line for each check.
set -u
exec >/out/log 2>&1 </dev/null
export DEBIAN_FRONTEND=noninteractive
config=/etc/penstock/penstock.toml
events=/var/lib/penstock/events.jsonl
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
journal_has() { journalctl -u penstock -o cat --no-pager | grep -q "$1"; }

install_package() {
  echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
  rm -f /etc/apt/sources.list.d/*
  apt-get -qq update && apt-get -qq install -y --no-install-recommends penstock
}

runs_unprivileged() {
  local status=/proc/$(property MainPID)/status
  same "$(awk '$1 == "Uid:" {print $2}' "$status")" "$(id -u penstock)" &&
    same "$(awk '$1 == "CapEff:" {print $2}' "$status")" 0000000000000000 &&
    same "$(awk '$1 == "NoNewPrivs:" {print $2}' "$status")" 1 &&
    same "$(awk '$1 == "Seccomp:" {print $2}' "$status")" 2
}

lists_plugins() {
  local name
  penstock plugins list >/tmp/plugins || return 1
  for name in generic generator nats-jetstream kafka stdout file null; do
    grep -qw "$name" /tmp/plugins || { cat /tmp/plugins; echo "$name is missing"; return 1; }
  done
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

stops_with_ledger() {
  timeout 60 systemctl stop penstock && same "$(property Result)" success &&
    same "$(wc -l <$events)" 500 && journal_has 'received 500 = delivered 500'
}

# A refused configuration ends with 78, and systemd leaves it at that.
refuses_bad_config() {
  echo 'subject = [' >/etc/penstock/conf.d/broken.toml
  systemctl restart penstock && { echo "it started"; return 1; }
  local rc=0
  sleep 5
  same "$(property ExecMainStatus)" 78 && same "$(property ActiveState)" failed &&
    same "$(property NRestarts)" 0 && journal_has 'broken.toml:1' || rc=1
  rm /etc/penstock/conf.d/broken.toml
  return $rc
}

comes_back_after_kill() {
  local before
  systemctl reset-failed penstock
  systemctl restart penstock || return 1
  before=$(property NRestarts)
  kill -9 "$(property MainPID)"
  restarted() { [ "$(property NRestarts)" -gt "$before" ] && systemctl -q is-active penstock; }
  within 20 restarted
}

takes_dropped_plugin() {
  cp /usr/lib/*/penstock/plugins/sink-null.so /usr/local/lib/penstock/plugins/
  penstock plugins list | tee /tmp/plugins
  grep -q /usr/local/lib/penstock/plugins/sink-null.so /tmp/plugins
  local rc=$?
  rm /usr/local/lib/penstock/plugins/sink-null.so
  return $rc
}

unit_is_clean() {
  local said
  said=$(systemd-analyze verify --man=no penstock.service 2>&1)
  same "$said" "" && systemd-analyze security --offline=yes --threshold=20 penstock.service |
    tail -1
}

keeps_edited_config() {
  echo '# edited' >>$config
  apt-get -qq install -y --reinstall penstock && grep -q '^# edited' $config
}

purges() {
  rm -f /etc/penstock/conf.d/trial.toml
  apt-get -qq purge -y penstock || return 1
  local left
  left=$(find / -xdev \( -path /proc -o -path /repo -o -path /out \) -prune -o -ipath '*penstock*' \
    ! -path '/var/log/journal/*' ! -path '/sys/*' -print | grep -v '^/var/lib/apt/lists/')
  same "$left" ""
}

check "the container is up" systemctl is-active multi-user.target
check "apt installs it" install_package
check "the unit runs on the packaged configuration" systemctl is-active penstock
check "the service has no privileges" runs_unprivileged
check "the drop directory is root's" \
  same "$(stat -c '%U:%G %a' /usr/local/lib/penstock/plugins)" 'root:root 755'
check "all plugins are listed" lists_plugins
check "events arrive in a file" moves_events
check "it stops with its ledger" stops_with_ledger
check "a broken configuration is refused without a restart loop" refuses_bad_config
check "it comes back after kill -9" comes_back_after_kill
if [ -e /out/full ]; then
  check "the unit file is clean" unit_is_clean
  check "a dropped plugin is taken" takes_dropped_plugin
  check "an edited configuration survives a reinstall" keeps_edited_config
fi
check "purge leaves nothing" purges
exit $failed
