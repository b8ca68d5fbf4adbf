# Events from a contract server to both buses, and kill -9 under load.

# One stream of a real server, to NATS, Kafka and a file at once.
moves_events() {
  write_config trial <<TOML
[sources.orders]
plugin = "generic"
url = "$SERVER_LIVE"
insecure = true
config = "count=3000"

[sinks.bus]
plugin = "nats-jetstream"
from = ["orders"]
format = "raw"
servers = ["$NATS"]
subject = "live.{source}"

[sinks.lake]
plugin = "kafka"
from = ["orders"]
format = "raw"
topic = "events"
client = { "bootstrap.servers" = "$KAFKA" }

[sinks.lines]
plugin = "file"
from = ["orders"]
path = "$state/events.jsonl"
TOML
  penstock check && start_again &&
    within 60 ask /nats/live/3000 && within 60 ask /kafka/events/3000 &&
    within 20 has_lines $state/events.jsonl 3000
}

stops_with_ledger() {
  timeout 60 systemctl stop penstock && same "$(property Result)" success &&
    same "$(wc -l <$state/events.jsonl)" 3000 && journal_has 'received 3000 = delivered 3000'
}

events_checks() {
  check "events of a contract server arrive in NATS, Kafka and a file" moves_events
  check "it stops with its ledger" stops_with_ledger
  rm -f $dropins/trial.toml
}

# What is stored when the killing begins; the events that come meanwhile; and a sink so slow that
# there is always something left to lose.
backlog_stands() {
  write_config crash <<TOML
[gateway]
shutdown_timeout = "1s"

[sources.backlog]
plugin = "generic"
url = "$SERVER_BACKLOG"
insecure = true
config = "count=$backlog size=64"
queue.storage = "disk"

[sources.stream]
plugin = "generic"
url = "$SERVER_LIVE"
insecure = true
config = "rate=300 size=64"
queue.storage = "disk"

[sinks.bus]
plugin = "nats-jetstream"
from = ["backlog"]
format = "raw"
servers = ["$NATS"]
subject = "backlog.{source}"
max_in_flight = { events = 1 }

[sinks.second]
plugin = "nats-jetstream"
from = ["stream"]
format = "raw"
servers = ["$NATS"]
subject = "crash.{source}"
TOML
  start_again || return 1
  stored() { penstock status --json | tr -d ' \n' | grep -o '"received":'"$backlog"'\b'; }
  # A new stream would begin from the front.
  within 60 stored && ask /end/backlog
}

killed_ten_times() {
  local round start=$SECONDS before sent=0 taken=0
  before=$(property NRestarts)
  moves_on() { [ "$(ask /count/crash)" -gt "$taken" ]; }
  for round in 1 2 3 4 5 6 7 8 9 10; do
    within 10 moves_on && kill_and_wait || return 1
    sent=$(ask /count/backlog) taken=$(ask /count/crash)
    echo "round $round after $((SECONDS - start)) s: $sent of $backlog, $taken of the stream"
  done
  local took=$((SECONDS - start))
  echo "ten kills in $took s"
  same "$(property NRestarts)" $((before + 10)) && [ "$took" -le 40 ] && is_active
}

# The stored ones are all there; of each stream of the other source no event is missing before its
# last one. JetStream drops what the restarted gateway sends again.
nothing_is_lost() {
  # The speed was only to be low while it was killed.
  sed -i '/^max_in_flight/d' $dropins/crash.toml
  systemctl restart penstock || return 1
  within 90 ask "/nats/backlog/$backlog" && systemctl stop penstock && ask /gapless/crash
}

kill_checks() {
  backlog=60000
  check "a backlog stands on disk" backlog_stands
  check "it comes back after ten kill -9 in a row" killed_ten_times
  check "nothing stored is lost by kill -9" nothing_is_lost
  rm -f $dropins/crash.toml
  systemctl restart penstock
}
