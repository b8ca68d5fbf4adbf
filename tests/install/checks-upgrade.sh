# From the previous version, 0.1.0, which was one package with all plugins; /repo has it, built from
# the last commit before the packages were split.

runs_previous() {
  apt_install penstock=0.1.0 && is_active || return 1
  sed -i '1i # edited' $config
  # A bus that is not there: events wait on disk.
  write_config waiting <<'TOML'
[sources.numbers]
plugin = "generator"
count = 5000
queue.storage = "disk"
[sinks.bus]
plugin = "nats-jetstream"
from = ["numbers"]
servers = ["nats://127.0.0.1:1"]
subject = "live.{source}"
TOML
  start_again || return 1
  waiting() { penstock status --json | tr -d ' \n' | grep -o '"received":5000\b'; }
  within 30 waiting || return 1
  # Each start from now on adds one.
  sed -i 's/^count = .*/count = 1/' $dropins/waiting.toml
}

upgrades() {
  local pid
  pid=$(property MainPID)
  # shellcheck disable=SC2086
  apt_install -o Dpkg::Options::=--force-confold penstock $plugin_packages || return 1
  penstock version
  [ "$(property MainPID)" != "$pid" ] || { echo "it was not restarted"; return 1; }
  within 20 is_active && grep -q '^# edited' $config &&
    same "$(dpkg -S '*/penstock/plugins/sink-kafka.so' | cut -d: -f1)" penstock-plugin-kafka
}

# The new version goes on with the queue of the old one; two starts of it have added one each.
keeps_queue() {
  local before
  before=$(ask /count/live)
  sed -i "s|nats://127.0.0.1:1|$NATS|" $dropins/waiting.toml
  systemctl restart penstock && within 60 holds live $((before + 5002)) &&
    same "$(ask /count/live)" $((before + 5002))
}

upgrade_checks() {
  check "the previous version runs, with a queue on disk" runs_previous
  check "it is upgraded, restarted, and keeps its edited configuration" upgrades
  check "the queue on disk is kept" keeps_queue
  check "purge leaves nothing after an upgrade" purges
}
