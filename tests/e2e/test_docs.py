"""What a user reads says what the program does: manual pages, completions, references."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from harness.gateway import PENSTOCK, PLUGINS, run_penstock
from harness.process import BUILD, ROOT

MAN = ROOT / "packaging" / "man"
COMPLETIONS = ROOT / "packaging" / "completions"


# ---- what the program says of itself

def section(text, title):
    """The entries of a part of a help text: the words of each one's first line."""
    part = re.search(rf"^{title}:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    return [line.split() for line in re.findall(r"^  (\S.*)$", part[1], re.M)] if part else []


def help_of(command):
    done = run_penstock(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


def all_commands(command=""):
    """Each command that can be run, with the names of its options."""
    text = help_of(command)
    below = section(text, "Subcommands")
    if not below:
        yield command, {name for words in section(text, "Options") for name in words[0].split(",")}
    for name, *_ in below:
        yield from all_commands(f"{command} {name}".strip())


@pytest.fixture(scope="module", name="commands")
def fixture_commands():
    commands = dict(all_commands())
    assert {"run", "reload", "drain", "queue cat"} <= commands.keys()
    assert "--watch" in commands["status"]
    return commands


# ---- penstock(8)

def plain(troff):
    """The text of a manual page, without its fonts."""
    text = re.sub(r"^\.(?:B|I|BR|RB|BI|RI|IR|IB) ", "", troff, flags=re.M)
    return re.sub(r"\\f.", "", text).replace(r"\-", "-").replace(" , ", ", ")


def names_in(text):
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


def test_the_manual_has_every_command_and_option(commands):
    page = plain((MAN / "penstock.8").read_text())
    parts = dict(re.findall(r"^\.SS ([^\n]*)\n(.*?)(?=^\.S[SH] )", page, re.M | re.S))
    common = re.search(r"^\.SH OPTIONS\n(.*?)(?=^\.SH )", page, re.M | re.S)[1]
    everywhere, store, letters = re.split(r"^(?:WHERE|WHICH) .*$", common, flags=re.M)
    for command, options in commands.items():
        assert command in parts, f"penstock(8) does not have: penstock {command}"
        synopsis, *about = parts[command].split("\n.PP\n", 1)
        told = names_in(synopsis) | {"-h", "--help"}
        if "WHERE IT IS" in synopsis:
            told |= {"--config", "--state-dir", "--socket"}
        if "WHICH LETTERS" in synopsis:
            told |= {"--source", "--sink", "--id", "--reason", "--since", "--until"}
        if "--config" in told:
            told.add("-c")
        assert told == options, f"the synopsis of {command} in penstock(8)"
        explained = set()
        for text in (*about, everywhere, store, letters):
            explained |= {name for line in re.findall(r"^\.TP\n(.*)", text, re.M)
                          for name in names_in(line)}
        assert options <= explained, f"penstock(8) does not explain all options of {command}"


PAGES = ["penstock.8", "penstock.toml.5", "penstock-plugin.7"]


@pytest.mark.parametrize("page", PAGES)
def test_a_manual_page_has_no_fault(page):
    """What lintian asks of it, too."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", MAN / page]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    assert sorted(PAGES) == sorted(path.name for path in MAN.iterdir())


def test_the_example_of_a_plugin_can_be_built(tmp_path):
    """As penstock-plugin(7) says, but for the folder of the headers, and the gateway takes it."""
    page = (MAN / "penstock-plugin.7").read_text().replace(r"\-", "-").replace(r"\e", "\\")
    code, command, *_ = re.findall(r"^\.nf\n\.RS\n(.*?)^\.RE", page, re.M | re.S)
    (tmp_path / "heartbeat.cc").write_text(code)
    include = str(ROOT / "core" / "include")
    assert "/usr/include" in command
    subprocess.run(["sh", "-ec", command.replace("/usr/include", include)], cwd=tmp_path,
                   check=True, timeout=120, env={**os.environ, "CPLUS_INCLUDE_PATH": include})
    (tmp_path / "beat.toml").write_text('[sources.beat]\nplugin = "heartbeat"\ntext = "hello"\n'
                                        '[sinks.out]\nplugin = "null"\nfrom = ["beat"]\n')
    checked = run_penstock("check", "--config", tmp_path / "beat.toml", "--plugin-dir", tmp_path)
    assert checked.returncode == 0, checked.stderr


# ---- completion

def complete(*words, directory=ROOT):
    """What bash offers for the last of the words."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _penstock "$1"; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    command = ["bash", "--norc", "-uc", script, "bash", COMPLETIONS / "penstock.bash", PENSTOCK]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True,
                          timeout=30, cwd=directory,
                          env={**os.environ, "PENSTOCK_PLUGIN_DIR": str(PLUGINS)})
    assert done.stderr == ""
    return {line for line in done.stdout.split("\n") if line}


def test_bash_completes_every_command_and_option(commands):
    groups = {"": set()}
    for command in commands:
        *group, name = command.split()
        groups.setdefault(" ".join(group), set()).add(name)
        groups[""].add(command.split()[0])
    for group, names in groups.items():
        assert complete(*group.split(), "") == names
    for command, options in commands.items():
        assert complete(*command.split(), "-") == options


def test_bash_completes_names_and_files(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "my.toml").write_text('[sources.orders]\nplugin = "generic"\n[sinks.lake]\n')
    (tmp_path / "conf.d" / "more.toml").write_text('[sources.clicks]\n[sources.clicks.queue]\n')
    (tmp_path / "my.txt").touch()

    def offered(*words):
        return complete(*words, directory=tmp_path)
    assert offered("plugins", "info", "k") == {"kafka"}
    assert offered("plugins", "info", "--json", "") >= {"kafka", "generic", "file"}
    assert offered("plugins", "info", "kafka", "") == set()
    assert offered("check", "--config", "") == {"my.toml", "conf.d"}
    assert offered("check", "--config", "=", "my.") == {"my.toml"}
    assert offered("run", "--plugin-dir", "") == {"conf.d"}
    assert offered("queue", "cat", "-c", "my.toml", "") == {"orders", "clicks"}
    assert offered("queue", "export", "orders", "my") == {"my.toml", "my.txt"}
    assert offered("deadletters", "list", "--config", "=", "my.toml", "--sink", "=", "") == {"lake"}
    assert offered("deadletters", "list", "--since", "2026-11-01T00", ":", "00", ":", "00Z",
                   "--js") == {"--json"}
    assert offered("status", "--interval", "") == set()
    assert offered("nonsense", "") == set()


def test_the_zsh_completion_can_be_read():
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    subprocess.run(["zsh", "-n", COMPLETIONS / "penstock.zsh"], check=True, timeout=30)


# ---- references

def test_what_is_generated_is_up_to_date():
    command = [sys.executable, ROOT / "docs" / "generate", "--check", "--build", BUILD]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


TABLES = {"ReadCommit": "commit.", "ReadQueue": "queue.", "ReadDeadLetters": "dead_letters.",
          "ReadRetry": "retry.", "log": "log.", "in_flight": "max_in_flight.",
          "behind": "max_behind."}
READERS = {"gateway": r"Gateway|StateDir|Commit|Admin\w+",
           "sources.NAME": "Source|Queue|DeadLetters",
           "sinks.NAME": "Sink|Preset|From|Headers|Behind|Retry"}


def keys_read(kind):
    """The keys for which the code that reads the configuration asks."""
    source = (ROOT / "core" / "src" / "config" / "model.cc").read_text()
    asks = r'(\w+)(?:\.|->)(?:Name|Strings|Duration|Size|Integer|Choice|Table|Find)\(\s*"(\w+)"'
    found = {"plugin"} if kind != "gateway" else set()
    for name, body in re.findall(r"^  \w+ (Read\w+)\((.*?)^  }", source, re.M | re.S):
        if re.fullmatch(f"Read(?:{READERS[kind]})", name):
            found |= {TABLES.get(variable, TABLES.get(name, "")) + key
                      for variable, key in re.findall(asks, body)}
    return found


def keys_documented(kind):
    page = (ROOT / "docs" / "configuration.md").read_text()
    part = re.search(rf"^## \[{kind}\]\n(.*?)(?=^## )", page, re.M | re.S)[1]
    found = set()
    for key, row in re.findall(r"^\| `([^`]+)` \| (.*)$", part, re.M):
        found |= {key, key.split(".")[0]}
        found |= {f"{key}.{name}" for name in re.findall(r"\b(\w+) = ", row)}
    return found


@pytest.mark.parametrize("kind", READERS)
def test_the_configuration_page_has_every_key_and_no_other(kind):
    assert len(keys_read(kind)) > 5
    assert keys_documented(kind) == keys_read(kind)
