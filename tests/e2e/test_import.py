"""penstock import argo: what it makes of manifests is a configuration that the program takes."""

import base64
import json
import subprocess

import pytest

from harness.gateway import PENSTOCK, run_penstock
from harness.process import ROOT

CASES = sorted((ROOT / "tests" / "unit" / "import" / "testdata" / "cases").glob("*.yaml"))
SOURCE = """kind: EventSource
metadata: {name: a}
spec:
  generic:
    e: {url: "h:1", config: c, insecure: true}
"""


def imported(*arguments, text=""):
    """With the text as standard input."""
    return subprocess.run([PENSTOCK, "import", "argo", *map(str, arguments)], input=text, text=True,
                          capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_is_made_passes_check(case, tmp_path):
    made = imported("-", text=case.read_text())
    assert made.returncode == 0, made.stderr
    assert made.stdout == imported(case).stdout.replace(f'"{case}"', "standard input")
    config = tmp_path / "penstock.toml"
    config.write_text(made.stdout)
    checked = run_penstock("check", "--config", config)
    assert checked.returncode == 0, checked.stderr
    assert "error" not in checked.stderr, checked.stderr


def test_a_file_is_written_once(tmp_path):
    manifest, output = tmp_path / "a.yaml", tmp_path / "penstock.toml"
    manifest.write_text(SOURCE)
    done = imported(manifest, "--output", output, "--bus", "nats://h:4222")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert output.read_text() == imported(manifest, "--bus", "nats://h:4222").stdout
    output.write_text("mine")
    again = imported(manifest, "--output", output)
    assert again.returncode == 1
    assert f"{output}: File exists" in again.stderr
    assert output.read_text() == "mine"
    nowhere = imported(manifest, "--output", tmp_path / "none" / "x")
    assert (nowhere.returncode, nowhere.stdout) == (1, "")


def test_what_is_wrong_makes_nothing(tmp_path):
    good, bad, output = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "out.toml"
    good.write_text(SOURCE)
    bad.write_text("kind: EventSource\nmetadata: [\n")
    for path, words in [(bad, f"{bad}:"), (tmp_path / "none.yaml", "cannot be read: No such file"),
                        (tmp_path, "cannot be read: Is a directory"),
                        ("/dev/zero", "is larger than 1MiB")]:
        done = imported(good, path, "--output", output)
        assert (done.returncode, done.stdout) == (78, ""), done.stderr
        assert words in done.stderr and ": error: " in done.stderr
        assert not output.exists()
    for text in ("", "kind: Sensor\n", "kind: EventBus\nmetadata: {name: a}\n"
                                       "spec: {jetstream: {}}\n"):
        done = imported("-", text=text)
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no generic source" in done.stderr


@pytest.mark.parametrize("arguments", [
    [], ["-", "-"], ["-", "--topic", "t"], ["-", "--kafka", "k:1"],
    ["-", "--bus", "nats://h:1", "--kafka", "k:1", "--topic", "t"], ["-", "--outptu", "x"]])
def test_wrong_usage(arguments):
    done = imported(*arguments, text=SOURCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Try: penstock import argo --help" in done.stderr


def test_it_may_be_a_pipe(tmp_path):
    """As <(kubectl ...) of a shell is one."""
    manifest = tmp_path / "a.yaml"
    manifest.write_text(SOURCE)
    done = subprocess.run(["bash", "-c", '"$0" import argo <(cat "$1")', PENSTOCK, manifest],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "[sources.a-e]" in done.stdout


def test_what_to_do_is_not_cut_off_a_long_warning():
    entry = "{url: 'u:1', insecure: true, config: c, filter: {expression: 'let x = 5; x > 4'}}"
    done = imported("-", "--bus", "nats://h:1", text="kind: EventSource\nmetadata: {name: a}\n"
                    f"spec: {{generic: {{{'e' * 100}: {entry}}}}}\n")
    assert len(done.stderr) > 256
    assert done.stderr.endswith("penstock deadletters replay then sends them through it\n")


MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: es}
spec:
  generic:
    json:
      url: %(url)s
      insecure: true
      jsonBody: true
      config: "first line\\nsecond 'line'\\n"
      metadata: {b: "2", a: <1>}
    text: {url: "%(url)s", insecure: true, config: c}
"""
PAYLOADS = [b'{"id": 4,  "h":"<b>"}', b'{"id":5}', b"[1, 2]", b'"str"', b""]


def test_what_argo_would_have_written_is_on_the_bus(payload_server, nats_server, gateway):
    """The envelope is that of Argo's own client, see test_argo.py; here is what the keys make."""
    server, bus = payload_server(PAYLOADS), nats_server()
    made = imported("-", "--bus", bus.url, text=MANIFEST % {"url": server.url})
    assert (made.returncode, made.stderr) == (0, "")
    # A bus of one server.
    running = gateway(made.stdout + "stream = { replicas = 1 }\n")
    bus.wait_count(2 * len(PAYLOADS), "default")
    running.stop_clean()
    got = {"default.es.json": [], "default.es.text": []}
    for message in bus.read("default"):
        event = json.loads(message.data)
        assert message.headers == {"Nats-Msg-Id": event["id"]}
        assert (event["source"], event["type"]) == ("es", "generic")
        assert message.subject == f"default.es.{event['subject']}"
        got[message.subject].append(base64.b64decode(event["data_base64"]).decode())
    metadata = r',"metadata":{"a":"\u003c1\u003e","b":"2"}}'
    bodies = ['{"id":4,"h":"\\u003cb\\u003e"}', '{"id":5}', "[1,2]", '"str"', "null"]
    assert got["default.es.json"] == ['{"body":' + body + metadata for body in bodies]
    assert got["default.es.text"] == [
        '{"body":' + json.dumps(base64.b64encode(payload).decode() or None) + "}"
        for payload in PAYLOADS]


FILTERED = """kind: EventSource
metadata: {name: es}
spec:
  generic:
    some:
      {url: "%(url)s", insecure: true, jsonBody: true, config: c,
       filter: {expression: "body.id == 4 && body.h != 'x'"}}
    none:
      {url: "%(url)s", insecure: true, jsonBody: true, config: c,
       filter: {expression: "sprig.semverCompare('^1', body.version)"}}
"""


def test_a_filter_drops_what_argo_drops_and_one_that_is_none_loses_nothing(
        payload_server, nats_server, gateway):
    server, bus = payload_server(PAYLOADS), nats_server()
    made = imported("-", "--bus", bus.url, text=FILTERED % {"url": server.url})
    assert made.returncode == 0
    assert made.stderr.count("warning: ") == 1, made.stderr
    assert '-:10:29: warning: the filter of none is not translated: the function "sprig.sem' in \
        made.stderr
    running = gateway(made.stdout + "stream = { replicas = 1 }\n")
    running.wait_for("es-none -> default: dead-lettered event .*: it gave a string")
    bus.wait_count(1, "default")
    running.stop_clean()
    some, none = running.ledger("es-some", "default"), running.ledger("es-none", "default")
    assert some.delivered == 1 and some.dead_lettered == 0
    assert none.received == none.dead_lettered > 0
    assert [message.subject for message in bus.read("default")] == ["default.es.some"]
