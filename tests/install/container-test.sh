#!/bin/bash
# Runs as a unit inside the booted container: the packages through their life.
set -u
exec >/out/log 2>&1 </dev/null
. /tests/container-lib.sh
. /out/servers
for file in /tests/checks-*.sh; do . "$file"; done

check "the container is up" systemctl is-active multi-user.target
install_checks
service_checks
events_checks
config_checks
plugin_checks
kill_checks
systemd_checks
if [ -e /out/full ]; then reinstall_checks; fi
purge_checks
if [ -e /out/full ] && [ -e /out/previous ]; then upgrade_checks; fi
exit $failed
