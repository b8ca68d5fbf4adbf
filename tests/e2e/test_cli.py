"""What a user does at the command line: check, run, look at plugins, drop one in, replace one."""

import json
import os
import re
import resource
import shutil
import subprocess

import pytest

from harness.event_server import assert_numbered
from harness.gateway import PLUGINS, Gateway, run_penstock
from harness.process import ROOT, wait_until

EXAMPLES = sorted((ROOT / "etc").rglob("*.toml"))
SDK = ROOT / "core" / "include"
OURS = {("sink", "file"), ("sink", "kafka"), ("sink", "nats-jetstream"), ("sink", "null"),
        ("sink", "stdout"), ("source", "generator"), ("source", "generic")}


# ---- check

def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(example):
    before = cpu_of_children()
    done = run_penstock("check", "--config", example)
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stderr.splitlines() if ": notice: " not in line]
    # The files that an example names are not here.
    assert all(re.search(r": warning: .*: there is no file /etc/penstock/", line)
               for line in found), done.stderr
    assert "the configuration is valid" in done.stdout
    assert cpu_of_children() - before < 1, "check takes less than a second"


def test_check_needs_no_network(tmp_path):
    """In a network of its own that has not even a loopback; the answer is the same."""
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    if os.geteuid() == 0:
        alone = ["unshare", "--net"]
    example = ROOT / "etc" / "examples" / "tls-and-auth.toml"
    trace = run_penstock("check", "--config", example)
    program = [*alone, *trace.args]
    offline = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False,
                             env={**os.environ, "PENSTOCK_PLUGIN_DIR": str(PLUGINS)})
    assert (offline.returncode, offline.stdout, offline.stderr) == (0, trace.stdout, trace.stderr)


def test_check_says_what_each_route_guarantees(tmp_path):
    done = run_penstock("check", "--config", ROOT / "etc" / "examples" / "both-buses.toml")
    for route in ("orders -> bus", "orders -> lake", "clicks -> bus", "clicks -> lake"):
        assert route in done.stdout
    for word in ("lost:", "repeated:", "order:", "bus away:"):
        assert done.stdout.count(word) >= 4


@pytest.mark.parametrize("full, behind, lost, away", [
    ("block", "hold", "", "a full queue then holds up everything that reads the same source"),
    ("drop_newest", "hold", "; but for what when_full drops",
     "a full queue then drops new events, for every sink that reads the same source"),
    ("drop_oldest", "hold", "; but for what when_full drops",
     "a full queue then drops its oldest events, for every sink that has not got them"),
    ("block", "skip", "; but for what when_behind drops", "nobody else is held up"),
    ("drop_oldest", "skip", "; but for what when_full and when_behind drop",
     "nobody else is held up")])
def test_check_says_what_a_full_queue_and_a_sink_behind_lose(full, behind, lost, away, tmp_path):
    skip = 'when_behind = "skip"\nmax_behind = { events = 10 }\n' if behind == "skip" else ""
    for storage, base in (
            ("memory", "nothing at a planned stop that drains within shutdown_timeout"),
            ("disk", "nothing that is stored, at a stop, a crash or a power cut")):
        queue = f'queue = {{ storage = "{storage}", when_full = "{full}" }}\n'
        file = tmp_path / "penstock.toml"
        file.write_text(GOOD.replace("[sinks", queue + "[sinks") + skip)
        done = run_penstock("check", "--config", file)
        assert done.returncode == 0, done.stderr
        said = {line.split(":")[0].strip(): line for line in done.stdout.splitlines()}
        assert said["lost"].endswith(base + lost), said["lost"]
        assert said["bus away"].endswith(away), said["bus away"]


def test_check_says_how_much_a_kill_may_lose_before_it_is_stored(tmp_path):
    """In figures, of the options in force."""
    config = tmp_path / "penstock.toml"
    for options, gateway, words in [
            ('', '', "up to 512 KiB that its server has sent"),
            ('read_ahead = "64KiB"', '', "up to 64 KiB that its server has sent"),
            ('', 'memory_limit = "1MiB"', "up to 128 KiB that its server has sent"),
            ('adaptive_window = true', '', "up to 32.3 MiB that its server has sent"),
            ('queue.storage = "disk"', 'commit = { bytes = "2MiB" }',
             "up to 512 KiB in its hands and 4 MiB that wait for a commit (4.5 MiB together)")]:
        config.write_text(f'[gateway]\n{gateway}\n' + GOOD.replace('[sinks', f'{options}\n[sinks'))
        done = run_penstock("check", "--config", config)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


GOOD = '''[sources.orders]
plugin = "generic"
url = "127.0.0.1:8080"
insecure = true

[sinks.bus]
plugin = "nats-jetstream"
from = ["orders"]
servers = ["nats://127.0.0.1:4222"]
'''
KAFKA = '''[sinks.lake]
plugin = "kafka"
from = ["orders"]
topic = "t"
[sinks.lake.client]
"bootstrap.servers" = "127.0.0.1:9092"
'''
WRONG = {  # what is put in the place of what: where the error is, and words of it
    "unknown key": ('url = ', 'urk = ', "3:1", ["urk", '"url"']),
    "unknown key of the host": ('from = ', 'form = ', "8:1", ["form", '"from"']),
    "nested key": ("insecure = true", 'tls = { ca_fil = "/x" }', "4:9", ["ca_fil", "ca_file"]),
    "wrong type": ("insecure = true", 'insecure = "yes"', "4:12", ["insecure", "true"]),
    "no plugin": ('"nats-jetstream"', '"nats"', "7:10",
                  ['no sink plugin "nats"', 'did you mean "nats-jetstream"']),
    "no source": ('["orders"]', '["order"]', "8:9", ["order", "orders"]),
    "syntax": ('from = ["orders"]', 'from = ["orders"', "9:1", []),
    "tls and insecure": ("insecure = true", 'insecure = true\ntls = { ca_file = "/x" }', "5:19",
                         ["insecure"]),
    "bare duration": ('servers =', 'ack_timeout = 5\nservers =', "9:15", ["ack_timeout", "unit"]),
    "unit": ('servers =', 'ack_timeout = "5x"\nservers =', "9:15", ["ack_timeout"]),
    "open secret": ('servers =', 'token = "hunter2"\nservers =', "9:9", ["token", "env:"]),
    "template": ('servers =', 'subject = "a.{sourc}"\nservers =', "9:14", ["{sourc}", "{source}"]),
    "scheme": ('"127.0.0.1:8080"', '"http://127.0.0.1:8080"', "3:7", ["scheme"]),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_configuration(what, command, tmp_path):
    old, new, where, words = WRONG[what]
    file = tmp_path / "penstock.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    done = run_penstock(command, "--config", file)
    assert done.returncode == 78, done.stderr
    lines = [line for line in done.stderr.splitlines() if f"penstock.toml:{where}: error:" in line]
    assert lines, f"nothing at {where}: {done.stderr}"
    for word in words:
        assert word in lines[0], lines[0]
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize("line, column, words", [
    ('"compresion.type" = "zstd"', 1, ["compresion.type"]),
    ('"compression.type" = "zip"', 22, ["zip"]),
    ('"enable.idempotence" = false', 1, ["enable.idempotence"]),
    ('"sasl.password" = "hunter2"', 1, ["sasl.password"])])
def test_a_property_that_librdkafka_refuses(line, column, words, tmp_path):
    file = tmp_path / "penstock.toml"
    file.write_text(GOOD + KAFKA + line + "\n")
    done = run_penstock("check", "--config", file)
    assert done.returncode == 78
    number = (GOOD + KAFKA).count("\n") + 1
    found = [text for text in done.stderr.splitlines() if f"penstock.toml:{number}:" in text]
    assert found, done.stderr
    assert all(word in found[0] for word in words), found[0]
    assert "hunter2" not in done.stderr + done.stdout


def check_findings(tmp_path, text):
    """The exit code, and what check says of a configuration, without the name of its folder."""
    (tmp_path / "penstock.toml").write_text(text)
    done = run_penstock("check", "--config", tmp_path / "penstock.toml")
    return done.returncode, done.stderr.replace(f"{tmp_path}/", "")


def file_sink(name, path):
    return f'[sinks.{name}]\nplugin = "file"\nfrom = ["orders"]\npath = "{path}"\n'


def test_two_sinks_cannot_write_to_one_file(tmp_path):
    code, said = check_findings(tmp_path, GOOD + file_sink("a", "/var/lib/x/events") +
                                file_sink("b", "/var/lib/x/../x//events"))
    assert code == 78
    assert ('penstock.toml:17:8: error: sinks "a" and "b" write to the same file '
            '/var/lib/x/events, which only one of them can; give each its own') in said
    assert check_findings(tmp_path, GOOD + file_sink("a", "/var/lib/x/events") +
                          file_sink("b", "/var/lib/x/others")) == (0, "")


def test_two_sinks_of_one_topic_are_told(tmp_path):
    both = GOOD + KAFKA + KAFKA.replace("lake", "sea")
    code, said = check_findings(tmp_path, both)
    assert code == 0
    assert ('penstock.toml:19:9: warning: sinks "lake" and "sea" write source "orders" to the same '
            'topic of the same brokers, so each event is there twice') in said
    more = '[sources.clicks]\nplugin = "generator"\n'
    apart = [GOOD + KAFKA + KAFKA.replace("lake", "sea").replace(old, new) for old, new in [
        ('"t"', '"u"'), (":9092", ":9093"), ('["orders"]', '["clicks"]')]]
    apart.append(both.replace('"t"', '"t-{sink}"'))
    head, tail = both.rsplit("topic", 1)
    apart.append(head.replace("topic", "filter = 'body.a'\ntopic") +
                 "filter = 'not body.a'\ntopic" + tail)
    for text in apart:
        text += more if "clicks" in text else ""
        assert check_findings(tmp_path, text) == (0, "")


def test_all_errors_of_all_files_at_once(tmp_path):
    (tmp_path / "conf.d").mkdir()
    file = tmp_path / "penstock.toml"
    file.write_text(GOOD.replace("insecure = true", 'insecure = "yes"'))
    (tmp_path / "conf.d" / "10-more.toml").write_text('[sources.orders]\nurl = "127.0.0.1:1"\n')
    (tmp_path / "conf.d" / "20-typo.toml").write_text('[sink.lake]\nplugin = "kafka"\n')
    done = run_penstock("check", "--config", file)
    assert done.returncode == 78
    assert "penstock.toml:4:12:" in done.stderr
    twice = next(line for line in done.stderr.splitlines() if "10-more.toml:2:" in line)
    assert "penstock.toml:3" in twice, "both places are named"
    typo = next(line for line in done.stderr.splitlines() if "20-typo.toml:1:" in line)
    assert "sinks" in typo


def test_no_configuration(tmp_path):
    done = run_penstock("run", "--config", tmp_path / "none.toml")
    assert done.returncode == 78
    assert "none.toml" in done.stderr


@pytest.mark.parametrize("arguments, words", [
    (["runn"], ["runn", '"run"']), (["run", "--confg", "x"], ["confg"]), ([], ["command"]),
    (["plugins"], ["list", "info"])])
def test_wrong_usage(arguments, words):
    done = run_penstock(*arguments)
    assert done.returncode == 2
    assert all(word in done.stderr for word in [*words, "--help"]), done.stderr


# ---- plugins

def test_plugins_list():
    done = run_penstock("plugins", "list", "--json")
    assert done.returncode == 0
    plugins = json.loads(done.stdout)["plugins"]
    assert {(one["kind"], one["id"]) for one in plugins} >= OURS
    assert {one["status"] for one in plugins} == {"ok"}
    table = run_penstock("plugins", "list").stdout
    assert all(name in table for _, name in OURS)


@pytest.mark.parametrize("kind, name", sorted(OURS))
def test_plugins_info(kind, name):
    done = run_penstock("plugins", "info", f"{kind}-{name}")
    assert done.returncode == 0, done.stderr
    common = "event_source" if kind == "source" else "when_behind"
    assert common in done.stdout
    assert "OPTION" in done.stdout or name in ("null", "stdout"), "these have none"
    parsed = json.loads(run_penstock("plugins", "info", f"{kind}-{name}", "--json").stdout)
    assert name in json.dumps(parsed)


def test_plugins_info_of_none():
    done = run_penstock("plugins", "info", "kafkaa")
    assert done.returncode == 1
    assert "kafka" in done.stderr


def compile_plugin(source, target):
    """As docs/plugins.md says, with nothing but a compiler and the SDK."""
    command = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{SDK}",
               "-o", target, source, f"-Wl,--version-script={SDK}/penstock/plugin.map",
               "-Wl,-z,defs,-z,nodelete,-z,now"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_strangers_plugins(tmp_path):
    """A source and a sink, each one file under 60 lines, compiled by hand and dropped in."""
    drop = tmp_path / "dropped"
    drop.mkdir(mode=0o755)
    heartbeat = ROOT / "docs" / "examples" / "source" / "heartbeat.cc"
    append = ROOT / "tests" / "e2e" / "plugins" / "append_sink.cc"
    for source, name in ((heartbeat, "source-heartbeat"), (append, "sink-append")):
        assert source.read_text().count("\n") < 60
        compile_plugin(source, drop / f"{name}.so")
    out = tmp_path / "out.txt"
    config = tmp_path / "penstock.toml"
    text = (f'[gateway]\nplugin_dirs = ["{drop}"]\n'
            '[sources.pulse]\nplugin = "heartbeat"\ninterval = "1ms"\ntext = "beat"\ncount = 500\n'
            f'[sinks.lines]\nplugin = "append"\nfrom = ["pulse"]\nformat = "raw"\npath = "{out}"\n'
            'prefix = "{table}/{sink}"\n')
    config.write_text(text)
    listed = json.loads(run_penstock("plugins", "list", "--json", "--config", config).stdout)
    ours = {(one["id"], one["status"]) for one in listed["plugins"] if str(drop) in one["path"]}
    assert ours == {("heartbeat", "ok"), ("append", "ok")}
    info = run_penstock("plugins", "info", "append", "--config", config)
    assert "The file to append to." in info.stdout
    done = run_penstock("run", "--exit-when-done", "--config", config, timeout=60)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "".join(f"pulse/lines beat {n}\n" for n in range(1, 501))
    config.write_text(text.replace('interval = "1ms"', 'interval = "1y"'))
    wrong = run_penstock("check", "--config", config)
    assert wrong.returncode == 78 and "penstock.toml:5:12:" in wrong.stderr, wrong.stderr


def test_a_shadowed_plugin_is_named_once(tmp_path):
    drop = tmp_path / "dropped"
    drop.mkdir(mode=0o755)
    later = shutil.copy(PLUGINS / "source-generator.so", drop)
    config = tmp_path / "penstock.toml"
    config.write_text(f'[gateway]\nplugin_dirs = ["{drop}"]\n'
                      '[sources.a]\nplugin = "generator"\n[sources.b]\nplugin = "generator"\n'
                      '[sinks.s]\nplugin = "null"\nfrom = ["*"]\n')
    done = run_penstock("check", "--config", config)
    assert done.returncode == 0, done.stderr
    notes = [line for line in (done.stdout + done.stderr).splitlines() if "is not used" in line]
    assert len(notes) == 1 and f"{later} is not used" in notes[0] and ":4:10:" in notes[0], notes


def test_a_refused_plugin_says_why(tmp_path):
    drop = tmp_path / "dropped"
    drop.mkdir(mode=0o755)
    whole = (PLUGINS / "sink-null.so").read_bytes()
    (drop / "sink-cut.so").write_bytes(whole[:len(whole) // 2])
    (drop / "sink-text.so").write_text("#!/bin/sh\n")
    shutil.copy(PLUGINS / "sink-null.so", drop / "sink-open.so")
    (drop / "sink-open.so").chmod(0o666)
    shutil.copy(PLUGINS / "sink-null.so", drop / "sink-other.so")
    done = run_penstock("plugins", "list", "--json", "--plugin-dir", drop)
    refused = {os.path.basename(one["path"]): one["reason"]
               for one in json.loads(done.stdout)["plugins"] if one["status"] == "refused"}
    assert set(refused) == {"sink-cut.so", "sink-text.so", "sink-open.so", "sink-other.so"}
    assert "cut off" in refused["sink-cut.so"]
    assert "text file" in refused["sink-text.so"]
    assert "writ" in refused["sink-open.so"]
    assert "null" in refused["sink-other.so"]
    config = tmp_path / "penstock.toml"
    config.write_text(GOOD.replace('"nats-jetstream"', '"cut"').replace("servers", "# servers"))
    ran = run_penstock("run", "--config", config, "--plugin-dir", drop)
    assert ran.returncode == 78 and "cut off" in ran.stderr, ran.stderr


def test_overwriting_every_loaded_plugin(tmp_path, start, event_server, nats, kafka, topic):
    """cp of another build over each file, then rubbish, then nothing, while events flow."""
    drop, other = tmp_path / "plugins", tmp_path / "other"
    for folder in (drop, other):
        folder.mkdir(mode=0o755)
    names = ["source-generic.so", "sink-nats-jetstream.so", "sink-kafka.so"]
    for name in names:
        shutil.copy(PLUGINS / name, drop / name)
        subprocess.run(["strip", "-o", other / name, PLUGINS / name], check=True, timeout=60)
        assert (other / name).read_bytes() != (drop / name).read_bytes()
    server, count = event_server(), 8000
    running = start(Gateway(tmp_path, server.source("orders", rate=4000, count=count) +
                            nats.sink() + kafka.sink(topic), plugin_dirs=[drop]))
    nats.wait_count(500)
    harms = [lambda name: subprocess.run(["cp", other / name, drop / name], check=True, timeout=60),
             lambda name: (drop / name).write_bytes(b"rubbish" * 1000),
             lambda name: os.truncate(drop / name, 0),
             lambda name: (drop / name).unlink()]
    for harm in harms:
        before = nats.count()
        for name in names:
            harm(name)
        wait_until(lambda before=before: nats.count() > min(before + 200, count - 1), "more events")
    nats.wait_count(count)
    kafka.wait_count(count, topic)
    running.stop_clean()
    assert_numbered(nats.payloads(), count)
    assert_numbered(kafka.values(topic), count)


# ---- run

def test_generator_to_stdout():
    """The example that needs nothing else."""
    done = run_penstock("run", "--exit-when-done", "--config",
                        ROOT / "etc" / "examples" / "generator-to-stdout.toml", timeout=60)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == 50
    assert "ticks -> screen: received 50 = delivered 50" in done.stderr


def test_the_log_in_json(tmp_path):
    config = ('[gateway]\nlog = { format = "json" }\n[sources.ticks]\nplugin = "generator"\n'
              'count = 5\n[sinks.nothing]\nplugin = "null"\nfrom = ["ticks"]\n')
    (tmp_path / "json.toml").write_text(config)
    done = run_penstock("run", "--exit-when-done", "--config", tmp_path / "json.toml")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 0
    assert {"time", "level", "component", "message"} <= set(lines[0])
    assert any("received 5 = delivered 5" in line["message"] for line in lines)
