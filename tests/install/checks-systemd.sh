# The service as systemd sees it: journal, status, watchdog, restarts, a long stop, the sandbox.
# Needs container-lib.sh, the addresses of servers.py, and /out/plugins/sink-stuck.so, which is made
# of tests/e2e/plugins/stuck_sink.cc.

unit_dropins=/etc/systemd/system/penstock.service.d
dead_bus='servers = ["nats://127.0.0.1:9"]
subject = "x.{source}"'

# unit_setting NAME LINE...: a drop-in for the section [Service].
unit_setting() {
  mkdir -p $unit_dropins
  { echo '[Service]'; printf '%s\n' "${@:2}"; } >"$unit_dropins/$1.conf"
  systemctl daemon-reload
}

systemd_clean_up() {
  [ ! -e /etc/hosts ] || sed -i '/ servers\.test$/d' /etc/hosts
  rm -rf $state/service* $dropins/service*.toml $unit_dropins $dropped/sink-stuck.so
  systemctl daemon-reload
  start_again
}

# fields MATCH...: the messages of the entries that match all fields.
fields() { journalctl -q --no-pager -o cat _SYSTEMD_UNIT=penstock.service "$@"; }
status_text_has() { property StatusText | grep -E "$1"; }
restarts_are() { same "$(property NRestarts)" "$1"; }

unit_is_tight() {
  local said figure
  said=$(systemd-analyze verify --man=no penstock.service 2>&1)
  same "$said" "" || return 1
  figure=$(systemd-analyze security --no-pager penstock.service | tail -1)
  echo "$figure"
  systemd-analyze security --no-pager --threshold=12 penstock.service >/dev/null
}

journal_has_fields() {
  local entry field
  start_again || return 1
  found() {
    fields SYSLOG_IDENTIFIER=penstock PRIORITY=6 PENSTOCK_COMPONENT=gateway |
      grep '^gateway: running: '
  }
  within 10 found || return 1
  entry=$(journalctl -q --no-pager -o json _SYSTEMD_UNIT=penstock.service \
    PENSTOCK_COMPONENT=gateway | grep '"MESSAGE":"gateway: running: ' | tail -1)
  echo "$entry"
  for field in _TRANSPORT\":\"journal PENSTOCK_VERSION PENSTOCK_NAME PRIORITY\":\"6; do
    [[ $entry == *"\"$field\""* ]] || { echo "$field is missing"; return 1; }
  done
}

# The process ends at once, while the journal is busy for a moment; yet it must know whose line that
# was, which it asks the kernel when it reads it.
journal_knows_a_dying_service() {
  local i before journald
  journald=$(systemctl show -P MainPID systemd-journald)
  refusals() { fields PENSTOCK_COMPONENT=gateway PRIORITY=3 | grep -c 'service-broken.toml:1'; }
  before=$(refusals)
  echo 'subject = [' | write_config service-broken
  for ((i = 0; i < 5; i++)); do
    kill -STOP "$journald"
    systemctl --no-block restart penstock
    sleep 0.7 # less than the second for which the gateway waits
    kill -CONT "$journald"
    refused() { same "$(property ExecMainStatus) $(property ActiveState)" '78 failed'; }
    within 10 refused || break
  done
  found() { same "$(refusals)" $((before + 5)); }
  within 5 found
  local rc=$?
  rm $dropins/service-broken.toml
  start_again && return $rc
}

# A thousand sources that say something, and a journal that reads nothing: what its socket does not
# take goes the other way, and is there in the end.
hung_journal_holds_up_nothing() {
  local i rc=0 journald
  journald=$(systemctl show -P MainPID systemd-journald)
  rm -f $state/service.jsonl
  for ((i = 0; i < 1000; i++)); do
    printf '[sources.s%s]\nplugin = "generator"\ncount = 1\n' $i
  done | write_config service
  write_config service-sink <<TOML
[sinks.lines]
plugin = "file"
from = ["*"]
path = "$state/service.jsonl"
TOML
  systemctl stop penstock
  kill -STOP "$journald"
  timeout 60 systemctl start penstock || rc=1
  within 20 has_lines $state/service.jsonl 1000 && is_active || rc=1
  kill -CONT "$journald"
  systemctl stop penstock
  all_said() { same "$(fields "$@" | grep -cE '^source s[0-9]+: finished$')" 1000; }
  within 20 all_said || rc=1
  fields _TRANSPORT=stdout | grep -cE '^source s[0-9]+: finished$' || rc=1
  rm $dropins/service*.toml
  start_again && return $rc
}

shows_status() {
  write_config service <<TOML
[gateway]
shutdown_timeout = "0s"
[sources.numbers]
plugin = "generator"
rate = 100
[sinks.gone]
plugin = "nats-jetstream"
from = ["numbers"]
$dead_bus
TOML
  start_again &&
    within 20 status_text_has '^running: [0-9]+ sources?, .*sink gone: connecting for [0-9]+ s'
}

# Idle, with a dead bus, and with a full queue on disk and in memory, for three periods.
watchdog_is_patient() {
  local name before
  unit_setting watchdog WatchdogSec=4s
  {
    printf '[gateway]\nshutdown_timeout = "0s"\nstate_dir = "%s/service"\n' $state
    printf '[sources.idle]\nplugin = "generator"\ncount = 1\n[sinks.void]\nplugin = "null"\n'
    printf 'from = ["idle"]\n[sources.waits]\nplugin = "generator"\ncount = 5\n'
    for name in memory disk; do
      printf '[sources.%s]\nplugin = "generator"\n' $name
      printf 'queue = { storage = "%s", max_events = 10, when_full = "block" }\n' $name
    done
    printf '[sinks.gone]\nplugin = "nats-jetstream"\nfrom = ["waits", "memory", "disk"]\n%s\n' \
      "$dead_bus"
  } | write_config service
  start_again || return 1
  before=$(property NRestarts)
  sleep 13
  is_active && restarts_are "$before" && same "$(property Result)" success
}

# A sink that never returns from submit (/out/plugins/sink-stuck.so).
watchdog_restarts_the_stuck() {
  local before rc=0
  unit_setting watchdog WatchdogSec=4s
  cp /out/plugins/sink-stuck.so $dropped/
  write_config service <<TOML
[sources.numbers]
plugin = "generator"
count = 1
[sinks.stuck]
plugin = "stuck"
from = ["numbers"]
until = "/nowhere/file"
TOML
  start_again || return 1
  before=$(property NRestarts)
  restarted() { [ "$(property NRestarts)" -gt "$before" ]; }
  within 30 restarted || rc=1
  fields PENSTOCK_COMPONENT='sink stuck' PRIORITY=3 |
    grep 'submit has not returned for . s; the service manager will restart the gateway' || rc=1
  journalctl -q --no-pager -o cat -u penstock | grep 'Watchdog timeout' || rc=1
  rm $dropins/service.toml $dropped/sink-stuck.so
  start_again && return $rc
}

# Whatever ends it, a plain SIGTERM by hand too.
comes_back_after() {
  local before
  before=$(property NRestarts)
  is_active && kill "-$1" "$(property MainPID)" || return 1
  restarted() { [ "$(property NRestarts)" -gt "$before" ] && is_active; }
  within 20 restarted
}

# Events in memory and a dead bus: the drain outlasts what the unit grants for a stop.
long_stop_is_granted() {
  local begin
  unit_setting stop TimeoutStopSec=3s
  write_config service <<TOML
[gateway]
shutdown_timeout = "9s"
[sources.numbers]
plugin = "generator"
count = 1
[sinks.gone]
plugin = "nats-jetstream"
from = ["numbers"]
$dead_bus
TOML
  start_again || return 1
  begin=$SECONDS
  systemctl stop penstock
  [ $((SECONDS - begin)) -ge 8 ] || { echo "it took $((SECONDS - begin)) s"; return 1; }
  # 1: events in memory are lost, which the gateway says itself.
  same "$(property Result)" exit-code && same "$(property ExecMainStatus)" 1 &&
    journal_has '1 events were not delivered and are lost'
}

# Names, not addresses: resolving them is what AF_NETLINK might be needed for, which the unit does
# not allow.
resolves_names() {
  echo '127.0.0.1 servers.test' >>/etc/hosts
  write_config service <<TOML
[gateway]
shutdown_timeout = "0s"
[sources.orders]
plugin = "generic"
url = "servers.test:${SERVER_LIVE##*:}"
insecure = true
config = "count=300"
[sinks.bus]
plugin = "nats-jetstream"
from = ["orders"]
format = "raw"
servers = ["nats://servers.test:${NATS##*:}"]
subject = "names.{source}"
[sinks.lake]
plugin = "kafka"
from = ["orders"]
format = "raw"
topic = "names"
client = { "bootstrap.servers" = "servers.test:${KAFKA##*:}" }
[sinks.lines]
plugin = "file"
from = ["orders"]
path = "$state/service.jsonl"
TOML
  rm -f $state/service.jsonl
  start_again && within 30 has_lines $state/service.jsonl 300 || return 1
  all_ready() { ! property StatusText | grep -E 'connecting|failed'; }
  within 20 all_ready && property StatusText
}

systemd_checks() {
  check "the unit is clean, and its exposure at most 1.2" unit_is_tight
  check "the journal has fields" journal_has_fields
  check "the journal knows the unit of a service that ends at once" journal_knows_a_dying_service
  check "a journal that hangs holds up nothing" hung_journal_holds_up_nothing
  check "systemctl status shows which sink is away" shows_status
  check "the watchdog leaves an idle gateway, a dead bus and full queues alone" watchdog_is_patient
  check "the watchdog restarts a gateway whose sink is stuck, and the journal says which" \
    watchdog_restarts_the_stuck
  systemd_clean_up
  check "it comes back after SIGTERM" comes_back_after TERM
  check "it comes back after SIGABRT" comes_back_after ABRT
  check "a stop gets longer than the unit grants" long_stop_is_granted
  systemd_clean_up
  check "names are resolved in the sandbox" resolves_names
  systemd_clean_up
}
