# What the checks in the booted container share. /out/results gets one line for each check.

export DEBIAN_FRONTEND=noninteractive
config=/etc/penstock/penstock.toml
dropins=/etc/penstock/conf.d
state=/var/lib/penstock
dropped=/usr/local/lib/penstock/plugins
plugin_packages="penstock-plugin-generic penstock-plugin-nats-jetstream penstock-plugin-kafka"
failed=0

# check NAME COMMAND...: one line in the results, and what the journal says if it failed.
check() {
  local name=$1 start=$SECONDS
  shift
  echo "--- $name"
  if "$@"; then
    echo "ok $name" >>/out/results
  else
    echo "not ok $name" >>/out/results
    journalctl -u penstock -o short-monotonic --no-pager -n 40
    failed=1
  fi
  echo "--- after $((SECONDS - start)) s"
}

# within SECONDS COMMAND...: until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/tmp/within 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] ||
      { echo "not within the time: $*"; cat /tmp/within; return 1; }
    sleep 0.1
  done
  cat /tmp/within
}

# ask PATH: what servers.py answers; fails when that is a complaint.
ask() {
  local status line
  exec 3<>"/dev/tcp/127.0.0.1/$ASK" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
  read -r _ status _ <&3
  while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
  cat <&3
  exec 3>&-
  [ "$status" = 200 ]
}

# write_config NAME: a drop-in from stdin.
write_config() {
  cat >"$dropins/$1.toml"
  chmod 644 "$dropins/$1.toml"
}

apt_install() { apt-get -qq install -y --no-install-recommends "$@"; }
property() { systemctl show -P "$1" penstock; }
same() { [ "$1" = "$2" ] || { echo "got '$1', expected '$2'"; return 1; }; }
has_lines() { [ "$(wc -l <"$1" 2>/dev/null || echo 0)" -ge "$2" ]; }
journal_has() { journalctl -u penstock -o cat --no-pager | grep "$@"; }
is_active() { systemctl -q is-active penstock; }

# start_again: whatever became of it, and whatever the limits of systemd.
start_again() {
  systemctl reset-failed penstock 2>/dev/null
  systemctl restart penstock
}

# kill_and_wait: kill -9; returns when it runs again.
kill_and_wait() {
  local before
  before=$(property NRestarts)
  kill -9 "$(property MainPID)"
  restarted() { [ "$(property NRestarts)" -gt "$before" ] && is_active; }
  within 20 restarted
}
