# Configurations that are refused, and secrets.

# A refused configuration ends with 78, and systemd leaves it at that.
refuses_bad_config() {
  echo 'subject = [' | write_config broken
  start_again && { echo "it started"; return 1; }
  local rc=0
  # Longer than RestartSec.
  sleep 5
  same "$(property ExecMainStatus)" 78 && same "$(property ActiveState)" failed &&
    same "$(property NRestarts)" 0 && journal_has 'broken.toml:1' || rc=1
  rm $dropins/broken.toml
  return $rc
}

keeps_running_on_bad_reload() {
  local pid rc=0
  pid=$(property MainPID)
  echo 'subject = [' | write_config refused
  systemctl reload penstock && { echo "the reload succeeded"; rc=1; }
  same "$(property MainPID)" "$pid" && is_active && journal_has 'refused.toml:1' || rc=1
  rm $dropins/refused.toml
  systemctl reload penstock && is_active || rc=1
  return $rc
}

# A token that only root can read, handed to the service as a credential.
reads_credential() {
  mkdir -p /etc/systemd/system/penstock.service.d
  printf '[Service]\nLoadCredential=nats.token:/etc/nats.token\n' \
    >/etc/systemd/system/penstock.service.d/credential.conf
  (umask 077; printf first >/etc/nats.token)
  systemctl daemon-reload
  write_config locked <<TOML
[gateway]
shutdown_timeout = "1s"
[sources.numbers]
plugin = "generator"
count = 100
[sinks.locked]
plugin = "nats-jetstream"
from = ["numbers"]
servers = ["$NATS_LOCKED"]
subject = "locked.{source}"
token = "credential:nats.token"
TOML
  start_again && within 30 holds locked 100
}

holds() { [ "$(ask "/count/$1")" -ge "$2" ]; }

# The bus has another token now: events wait. A restart hands the new one to the service.
takes_rotated_credential() {
  ask /token/second && systemctl restart penstock || return 1
  refused() { journal_has 'locked.*uthori'; }
  within 30 refused && same "$(ask /count/locked)" 100 || return 1
  (umask 077; printf second >/etc/nats.token)
  systemctl restart penstock && within 30 holds locked 200
}

config_checks() {
  check "a broken configuration is refused without a restart loop" refuses_bad_config
  start_again
  check "a broken configuration is refused by a reload, and the service stays up" \
    keeps_running_on_bad_reload
  check "a credential is read" reads_credential
  check "a rotated credential is taken" takes_rotated_credential
  rm -rf $dropins/locked.toml /etc/systemd/system/penstock.service.d /etc/nats.token
  systemctl daemon-reload
  start_again
}
