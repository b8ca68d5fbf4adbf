# A third party's plugin: /out/plugins has one, sink-append.so, and its next version, built against
# the SDK alone.

# copy_plugin FILE: into the drop directory, over the old one in place.
copy_plugin() { cp "/out/plugins/$1" $dropped/sink-append.so; }

configure_append() {
  write_config append <<TOML
[sources.numbers]
plugin = "generator"
rate = 200
[sinks.lines]
plugin = "append"
from = ["numbers"]
path = "$state/append.txt"
TOML
}

takes_dropped_plugin() {
  copy_plugin sink-append.so
  penstock plugins list | tee /tmp/plugins
  grep -q $dropped/sink-append.so /tmp/plugins || return 1
  configure_append
  start_again && within 20 has_lines $state/append.txt 100
}

takes_dropped_plugin_by_reload() {
  local pid
  rm -f $dropins/append.toml $dropped/sink-append.so $state/append.txt
  start_again || return 1
  pid=$(property MainPID)
  copy_plugin sink-append.so
  configure_append
  systemctl reload penstock && within 20 has_lines $state/append.txt 100 &&
    same "$(property MainPID)" "$pid"
}

# A file that is overwritten in place under the running gateway, by rubbish and by a new build.
survives_overwritten_plugin() {
  local pid lines
  pid=$(property MainPID)
  head -c 100000 /dev/urandom >$dropped/sink-append.so
  lines=$(wc -l <$state/append.txt)
  within 20 has_lines $state/append.txt $((lines + 100)) || return 1
  copy_plugin sink-append-2.so
  lines=$(wc -l <$state/append.txt)
  within 20 has_lines $state/append.txt $((lines + 100)) && same "$(property MainPID)" "$pid" &&
    penstock plugins info append | grep '2\.0\.0'
}

# An instance that the reload makes anew gets the new build.
reload_takes_new_build() {
  local pid
  pid=$(property MainPID)
  copy_plugin sink-append-2.so
  sed -i 's/append.txt/again.txt/' $dropins/append.toml
  systemctl reload penstock && within 20 has_lines $state/again.txt 100 &&
    grep -qa '^2\.0\.0 ' $state/again.txt && same "$(property MainPID)" "$pid"
}

# The service runs code from there: nobody but root may write it, and a file of another owner is
# refused.
refuses_foreign_plugin() {
  copy_plugin sink-append.so
  chown penstock $dropped/sink-append.so
  penstock plugins list | tee /tmp/plugins
  grep "$dropped/sink-append.so" /tmp/plugins | grep -q refused ||
    grep -A3 "$dropped/sink-append.so" /tmp/plugins | grep -qi owner
}

plugin_checks() {
  check "a dropped plugin is taken at the next start" takes_dropped_plugin
  check "a dropped plugin is taken by a reload" takes_dropped_plugin_by_reload
  check "a plugin may be overwritten while it runs" survives_overwritten_plugin
  check "a reload takes the new build of a plugin" reload_takes_new_build
  check "a plugin that is not root's is refused" refuses_foreign_plugin
  rm -f $dropins/append.toml $dropped/sink-append.so
  start_again
}
