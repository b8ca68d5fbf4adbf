# Completion of penstock for bash. What there is to complete it asks the program itself: the texts of
# --help name every command and option, and the kind of value that an option takes.

# Sets commands, options and positionals to what the help of "penstock $@" lists, and
# takes[OPTION] to the kind of value that an option takes. The dynamic scope is the caller's.
_penstock_help() {
  local line section= names name typed='^  [^ ]+ ([A-Z]+)([=: ]|$)'
  commands=() options=() positionals=() takes=()
  while IFS= read -r line; do
    case $line in
      [A-Z]*:) section=$line ;;
      '  '[!\ ]*)
        names=${line#  } names=${names%% *}
        case $section in
          Subcommands:) commands+=("$names") ;;
          Positionals:) positionals+=("$names") ;;
          Options:)
            for name in ${names//,/ }; do
              options+=("$name")
              [[ $line =~ $typed ]] && takes[$name]=${BASH_REMATCH[1]}
            done ;;
        esac ;;
    esac
  done < <("$program" "$@" --help 2>/dev/null)
}

# The names of the [sources.NAME] or [sinks.NAME] tables of the configuration.
_penstock_tables() {
  local folder=.
  [[ $config != */* ]] || folder=${config%/*}
  sed -n "s/^[[:space:]]*\[$1\.\([A-Za-z0-9_-]*\).*/\1/p" "$config" "$folder"/conf.d/*.toml \
    2>/dev/null | sort -u
}

_penstock_plugins() {
  "$program" plugins list --json "${search[@]}" 2>/dev/null |
    sed -n '/"id":/{s/.*"id": "\(.*\)".*/\1/;h;};/"status": "ok"/{g;p;}' | sort -u
}

_penstock_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -d -- "$current"; compgen -f -X "!$1" -- "$current")
}

_penstock_words() {
  mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

# The values of an option, by its kind.
_penstock_value() {
  case $1:$2 in
    --config:* | -c:*) _penstock_files '*.toml' ;;
    *:DIR)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    *:FILE | *:PATH) _penstock_files '*' ;;
    --source:*) _penstock_words "$(_penstock_tables sources)" ;;
    --sink:*) _penstock_words "$(_penstock_tables sinks)" ;;
  esac
}

# What a command takes beside its options; $2 is how many of those are there already.
_penstock_positional() {
  case "$1:${positionals[$2]:-}" in
    'plugins info:NAME') _penstock_words "$(_penstock_plugins)" ;;
    'plugins verify:FILE') _penstock_files '*.so' ;;
    # What is to be forgotten is not in the configuration any more.
    'queue forget:'*) ;;
    'import argo:'*) _penstock_files '*.y*ml' ;;
    'queue '*:NAME) _penstock_words "$(_penstock_tables sources)" ;;
    *:FILE) _penstock_files '*' ;;
  esac
}

# Puts together what readline took apart at "=" and ":", but for "--option=value", which is two words.
_penstock_join() {
  local word glue=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ $word == [=:] && ${#words[@]} -gt 0 ]]; then
      if [[ $word == = && ${words[-1]} == --* ]]; then words+=(''); else words[-1]+=$word; fi
      glue=1
    elif [ -n "$glue" ]; then
      words[-1]+=$word
      glue=
    else
      words+=("$word")
    fi
  done
}

_penstock() {
  local program=$1 current option= command=() words=() search=() given=0
  local config=/etc/penstock/penstock.toml commands options positionals
  local -A takes
  COMPREPLY=()
  program=${program/#\~\//$HOME/}
  _penstock_join
  current=${words[-1]}
  unset 'words[-1]'
  _penstock_help
  local word
  for word in "${words[@]}"; do
    if [ -n "$option" ]; then
      case $option in
        -c | --config) config=${word/#\~\//$HOME/} search+=(--config "$config") ;;
        --plugin-dir) search+=(--plugin-dir "${word/#\~\//$HOME/}") ;;
      esac
      option=
    elif [ -n "${takes[$word]:-}" ]; then
      option=$word
    elif [[ $word != -* && ${#commands[@]} -gt 0 ]]; then
      command+=("$word")
      _penstock_help "${command[@]}"
    elif [[ $word != -* ]]; then
      given=$((given + 1))
    fi
  done
  if [ -n "$option" ]; then
    _penstock_value "$option" "${takes[$option]}"
  elif [[ $current == -* ]]; then
    _penstock_words "${options[@]}"
  elif [ ${#commands[@]} -gt 0 ]; then
    _penstock_words "${commands[@]}"
  else
    _penstock_positional "${command[*]}" "$given"
  fi
}

complete -F _penstock penstock
