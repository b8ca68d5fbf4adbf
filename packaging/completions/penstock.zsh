#compdef penstock
# Completion of penstock for zsh. What there is to complete it asks the program itself: the texts of
# --help name every command and option, and the kind of value that an option takes.

# Sets commands and options to "NAME:TEXT" for what the help of "penstock $@" lists, positionals to
# names, and takes[OPTION] to the kind of value that an option takes. The scope is the caller's.
_penstock_help() {
  local line section names name text
  commands=() options=() positionals=() takes=()
  local -a lines
  lines=("${(@f)$($program $@ --help 2>/dev/null)}")
  local -i at
  for (( at = 1; at <= $#lines; ++at )); do
    line=$lines[at]
    if [[ $line == [A-Z]*: ]]; then
      section=$line
    elif [[ $line == '  '[^\ ]* ]]; then
      names=${${line#  }%% *}
      # A long name has its text in the next line, or one blank behind it.
      if [[ $line == '  '*[^\ ]'  '* ]]; then
        text=${${line#  *  }## #}
      elif [[ ${lines[at + 1]} == '      '* ]]; then
        text=${lines[at + 1]## #}
      else
        text=${${line#  * }##[A-Z:]## }
      fi
      case $section in
        (Subcommands:) commands+=("$names:$text") ;;
        (Positionals:) positionals+=($names) ;;
        (Options:)
          for name in ${(s:,:)names}; do
            options+=("$name:$text")
            [[ $line =~ '^  [^ ]+ ([A-Z]+)([=: ]|$)' ]] && takes[$name]=$match[1]
          done ;;
      esac
    fi
  done
}

# Offers the names of the [sources.NAME] or [sinks.NAME] tables of the configuration.
_penstock_tables() {
  local -a names
  names=(${(f)"$(sed -n "s/^[[:space:]]*\[$1\.\([A-Za-z0-9_-]*\).*/\1/p" \
    $config ${config:h}/conf.d/*.toml(N) 2>/dev/null)"})
  compadd -a names
}

_penstock_plugins() {
  local -a names
  names=(${(f)"$($program plugins list --json $search 2>/dev/null |
    sed -n '/"id":/{s/.*"id": "\(.*\)".*/\1/;h;};/"status": "ok"/{g;p;}')"})
  compadd -a names
}

# Offers the values of an option, by its kind.
_penstock_value() {
  case $1:$2 in
    (--config:*|-c:*) _files -g '*.toml' ;;
    (*:DIR) _files -/ ;;
    (*:FILE|*:PATH) _files ;;
    (--source:*) _penstock_tables sources ;;
    (--sink:*) _penstock_tables sinks ;;
    (*) _message $2 ;;
  esac
}

# Offers what a command takes beside its options; $2 is how many of those are there already.
_penstock_positional() {
  local name=$positionals[$(($2 + 1))]
  case "$1:$name" in
    ('plugins info:NAME') _penstock_plugins ;;
    ('plugins verify:FILE') _files -g '*.so' ;;
    # What is to be forgotten is not in the configuration any more.
    ('queue forget:'*) _message $name ;;
    ('import argo:'*) _files -g '*.(yaml|yml)' ;;
    ('queue '*:NAME) _penstock_tables sources ;;
    (*:FILE) _files ;;
    (*:) _message 'no more arguments' ;;
    (*) _message $name ;;
  esac
}

_penstock() {
  emulate -L zsh -o extended_glob
  local program=${~words[1]} config=/etc/penstock/penstock.toml option word
  local -a command search commands options positionals
  local -A takes
  local -i given=0
  _penstock_help
  for word in "${(@)words[2,CURRENT - 1]}"; do
    if [[ -n $option ]]; then
      case $option in
        (-c|--config) config=${~word} search+=(--config $config) ;;
        (--plugin-dir) search+=(--plugin-dir ${~word}) ;;
      esac
      option=
    elif [[ $word == --config=* ]]; then
      config=${~word#*=} search+=(--config $config)
    elif [[ $word == --plugin-dir=* ]]; then
      search+=($word)
    elif [[ -n ${takes[$word]} ]]; then
      option=$word
    elif [[ $word != -* && $#commands -gt 0 ]]; then
      command+=($word)
      _penstock_help $command
    elif [[ $word != -* ]]; then
      given+=1
    fi
  done
  word=$words[CURRENT]
  if [[ -z $option && $word == --*=* ]]; then
    option=${word%%=*}
    compset -P '*='
  fi
  if [[ -n $option ]]; then
    _penstock_value $option "${takes[$option]}"
  elif [[ $word == -* ]]; then
    _describe -o option options
  elif (( $#commands )); then
    _describe command commands
  else
    _penstock_positional "$command" $given
  fi
}

_penstock "$@"
