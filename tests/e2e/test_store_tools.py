"""penstock queue and penstock deadletters, on stopped and running gateways, and the check of the
store before a start."""

import base64
import json
import os
import re
import shutil
import socket

import pytest
from harness.gateway import Gateway, run_penstock
from harness.process import ROOT, free_port, wait_until
from test_cli import compile_plugin
from test_status import status_when

PAGE = 4096


def config(state_dir, *, count=500, size="256B", sinks=None, socket=True, source="orders",
           options=""):
    admin = 'admin_socket = "admin.sock"\n' if socket else 'admin_socket = "none"\n'
    if sinks is None:
        sinks = dead_bus()
    return (f'[gateway]\nstate_dir = "{state_dir}"\nshutdown_timeout = "0s"\n'
            f'plugin_dirs = ["{state_dir.parent}"]\n' + admin +
            f'[sources.{source}]\nplugin = "generator"\ncount = {count}\nsize = "{size}"\n'
            f'queue = {{ storage = "disk" }}\n{options}\n' + sinks)


def dead_bus(name="bus", source="orders"):
    return (f'[sinks.{name}]\nplugin = "nats-jetstream"\nfrom = ["{source}"]\nstart = "oldest"\n'
            f'servers = ["nats://127.0.0.1:{free_port()}"]\n')


def file_sink(path, message_format="raw", source="orders"):
    return (f'[sinks.file]\nplugin = "file"\nfrom = ["{source}"]\nstart = "oldest"\n'
            f'format = "{message_format}"\npath = "{path}"\n')


@pytest.fixture
def stopped(tmp_path):
    """stopped(...) -> the configuration of a gateway that ran with it until its source was done"""
    def make(**options):
        file = tmp_path / "stopped.toml"
        file.write_text(config(tmp_path / "state", **options))
        done = run_penstock("run", "--config", file, "--exit-when-done")
        assert done.returncode == 0, done.stderr
        return file
    return make


def tool(*arguments, code=0):
    done = run_penstock(*arguments)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def lines(*arguments):
    return [json.loads(line) for line in tool(*arguments).stdout.splitlines()]


def queues(*place):
    answer = json.loads(tool("queue", "list", "--json", *place).stdout)
    return {queue["name"]: queue for queue in answer["queues"]}


def damage(store, page=None):
    """Zeroes a page that holds events: one of the middle of those that do."""
    data = store / "data.mdb"
    raw = bytearray(data.read_bytes())
    if page is None:
        chunks = [n for n in range(2, len(raw) // PAGE)
                  if raw[n * PAGE + 16:n * PAGE + 20] == b"PSTK" and
                  raw[n * PAGE + 21:n * PAGE + 22] == b"E"]
        assert chunks, "no chunk found"
        page = chunks[len(chunks) // 2] + 1
    raw[page * PAGE:(page + 1) * PAGE] = bytes(PAGE)
    data.write_bytes(raw)


def unclean(store):
    """As a kill -9 leaves it."""
    (store / "seal").unlink()


# ---- queue list, info, cat, export

def test_a_stopped_and_a_running_gateway_give_the_same(stopped, start, tmp_path):
    file = stopped(count=300)
    place = ("--config", file)
    queue = queues(*place)["orders"]
    assert (queue["storage"], queue["events"]) == ("disk", 300)
    assert (queue["begin"], queue["end"]) == (0, 300)
    assert queue["sinks"] == [{"sink": "bus", "start": 0, "committed": 0, "pending": 300}]
    asked = [("queue", "list"), ("queue", "cat", "orders"), ("deadletters", "list")]
    before = [tool(*words, *place).stdout for words in asked]
    info = tool("queue", "info", "orders", *place).stdout
    # Its source finishes at once: nothing is added.
    running = start(Gateway(tmp_path, file.read_text().replace("count = 300",
                                                               "count = 1\nrate = 0.001")))
    assert [tool(*words, "--config", running.config).stdout for words in asked] == before
    text = tool("queue", "info", "orders", "--config", running.config).stdout
    assert text.splitlines()[:9] == info.splitlines()[:9]
    assert re.search(r"^format version +1$", text, re.MULTILINE)
    running.stop()


def test_cat_shows_each_event_and_export_overwrites_nothing(stopped, tmp_path):
    place = ("--config", stopped(count=400))
    events = lines("queue", "cat", "orders", *place)
    assert [event["offset"] for event in events] == list(range(400))
    assert [int(event["payload"].split()[0]) for event in events] == list(range(400))
    queue_id = queues(*place)["orders"]["id"]
    assert events[17]["id"] == queue_id + f"{17:016x}"
    assert lines("queue", "cat", "orders", "--from", "398", *place) == events[398:]
    assert lines("queue", "cat", "orders", "--from", "7", "--count", "5", *place) == events[7:12]
    assert lines("queue", "cat", "orders", "--from", "1000", *place) == []
    target = tmp_path / "orders.ndjson"
    tool("queue", "export", "orders", target, *place)
    assert [json.loads(line) for line in target.read_text().splitlines()] == events
    assert "File exists" in tool("queue", "export", "orders", target, *place, code=1).stderr
    gone = tool("queue", "cat", "invoices", *place, code=1).stderr
    assert 'knows no source "invoices"; it knows orders' in gone


def test_a_queue_in_memory_cannot_be_read(gateway, tmp_path):
    text = config(tmp_path / "state", count=5)
    running = gateway(text.replace('storage = "disk"', 'storage = "memory"') +
                      '[sources.other]\nplugin = "generator"\ncount = 5\n'
                      'queue = { storage = "disk" }\n' + file_sink(tmp_path / "f", source="other"))
    target = tmp_path / "events.ndjson"
    refusal = ("the queue of source orders is in memory; only a queue on disk can be read; "
               "penstock status shows how much is in it")
    place = ("--config", running.config)

    def refused():
        for words in (("cat", "orders"), ("export", "orders", target)):
            done = tool("queue", *words, *place, code=1)
            assert refusal in done.stderr and done.stdout == ""
            assert not target.exists()
    refused()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(running.config.with_name("admin.sock")))
        client.sendall(b"GET /queues/events?queue=orders HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").readline().split()[1] == b"409"
    running.stop()
    refused()
    # What is still on disk for a source that the configuration now has in memory can be read.
    elsewhere = tmp_path / "before"
    run_penstock("run", "--config", written(tmp_path, config(elsewhere)), "--exit-when-done")
    moved = written(tmp_path, config(elsewhere).replace('"disk"', '"memory"'))
    assert len(lines("queue", "cat", "orders", "--config", moved)) == 500


def written(tmp_path, text):
    file = tmp_path / "written.toml"
    file.write_text(text)
    return file


def test_no_store_is_made_by_looking(tmp_path):
    for words in (("list",), ("verify",), ("repair",), ("forget", "orders", "--yes")):
        said = tool("queue", *words, "--state-dir", tmp_path / "none", code=78).stderr
        assert f"there is no store in {tmp_path}/none/store" in said
    assert not (tmp_path / "none").exists()


# ---- the check before a start, verify and repair

def test_after_a_kill_the_store_is_checked(start, tmp_path):
    running = start(Gateway(tmp_path, config(tmp_path / "state", count=200)))
    wait_until(lambda: queues("--config", running.config)["orders"]["end"] == 200, "200 events")
    running.kill()
    running.start()
    running.wait_for(r"the last stop was not a clean one: checking the store")
    running.wait_for(r"the store is sound after an unclean stop: commit \d+, 200 events")
    running.stop()
    running.start()
    assert "checking the store" not in running.text()
    running.stop()


@pytest.mark.parametrize("how", ["zeroed", "flipped", "truncated", "missing", "meta"])
def test_a_damaged_store_is_set_aside_and_repaired(stopped, tmp_path, how):
    file = stopped(count=2000)
    store = tmp_path / "state" / "store"
    data = store / "data.mdb"
    if how == "zeroed":
        damage(store)
    elif how == "flipped":
        raw = bytearray(data.read_bytes())
        at = raw.index(b"1234 xxx")
        raw[at] ^= 1
        data.write_bytes(raw)
    elif how == "truncated":
        os.truncate(data, data.stat().st_size // 8 // PAGE * PAGE)
    elif how == "missing":
        data.unlink()
    else:
        damage(store, 0)
        damage(store, 1)
    if how in ("zeroed", "flipped"):
        unclean(store)  # only then is every value read
    before = data.read_bytes() if data.exists() else None

    refused = tool("run", "--config", file, code=78).stderr
    aside, = (tmp_path / "state").glob("store.damaged-*")
    assert "is damaged" in refused and f"set aside as {aside}" in refused, refused
    assert "penstock queue repair" in refused and "never begins with an empty store" in refused
    assert not store.exists()
    assert before is None or (aside / "data.mdb").read_bytes() == before
    again = tool("run", "--config", file, code=78).stderr
    assert str(aside) in again and "penstock queue repair" in again
    assert tool("queue", "list", "--config", file, code=78).stdout == ""

    found = tool("queue", "verify", "--config", file, code=1).stdout
    assert "damage: " in found, found
    if how == "missing":
        assert "all that was stored is lost" in found
        said = tool("queue", "repair", "--config", file, code=78).stderr
        assert "cannot be repaired" in said and "move it to another directory" in said
        return
    report = json.loads(tool("queue", "repair", "--json", "--config", file, code=1).stdout)
    assert aside.exists() and (before is None or (aside / "data.mdb").read_bytes() == before)
    tool("queue", "verify", "--config", file)
    lost = sum(hole["end"] - hole["first"] for hole in report["repaired"]["holes"])
    events = lines("queue", "cat", "orders", "--config", file)
    assert sum(event.get("lost", 0) for event in events) == lost
    kept = [int(event["payload"].split()[0]) for event in events if "lost" not in event]
    assert kept == sorted(set(kept)) and len(kept) + lost <= 2000
    if how in ("zeroed", "flipped"):
        assert 0 < lost < 300 and len(kept) + lost == 2000
    if how == "meta":
        assert len(kept) == 2000

    # The gateway delivers what is left, and counts what is not.
    target = tmp_path / "delivered"
    file.write_text(config(tmp_path / "state", count=1, sinks=file_sink(target) + dead_bus()))
    done = run_penstock("run", "--config", file, "--exit-when-done")
    assert done.returncode == 0, done.stderr


def test_a_running_gateways_store_is_not_verified(gateway, tmp_path):
    running = gateway(config(tmp_path / "state", count=10))
    for words in ("verify", "repair"):
        said = tool("queue", words, "--config", running.config, code=78).stderr
        assert f"in use by process {running.pid}: stop that gateway first, then {words}" in said
    running.stop()
    assert "sound" in tool("queue", "verify", "--config", running.config).stdout
    tool("queue", "repair", "--config", running.config)
    assert [entry.name for entry in (tmp_path / "state").iterdir()] == ["store"]


def test_a_sound_store_that_was_set_aside_is_put_back(stopped, tmp_path):
    file = stopped(count=50)
    store = tmp_path / "state" / "store"
    store.rename(tmp_path / "state" / "store.damaged-20260101T000000Z")
    tool("run", "--config", file, code=78)
    said = tool("queue", "repair", "--config", file).stderr
    assert "is in its place again" in said
    assert queues("--config", file)["orders"]["events"] == 50


def test_a_tool_does_not_open_a_damaged_store(stopped, tmp_path):
    file = stopped()
    damage(tmp_path / "state" / "store")
    unclean(tmp_path / "state" / "store")
    for words in (("queue", "list"), ("queue", "cat", "orders"), ("deadletters", "list")):
        assert "is damaged: see penstock queue verify" in \
            tool(*words, "--config", file, code=78).stderr
    assert (tmp_path / "state" / "store").exists()


def test_damage_that_a_running_gateway_has_not_met_is_named(gateway, tmp_path):
    running = gateway(config(tmp_path / "state", count=300))
    place = ("--config", running.config)
    wait_until(lambda: queues(*place)["orders"]["end"] == 300, "300 events")
    with (tmp_path / "state" / "store" / "data.mdb").open("r+b") as data:
        at = data.read().index(b"0 xxx")  # the first of all payloads
        data.seek(at)
        data.write(b"9")
    for words in (("list",), ("info", "orders"), ("list", "--json")):
        done = tool("queue", *words, *place, code=1)
        assert "the events of queue #0 from offset 0 are damaged: " in done.stderr
        assert "stop the gateway, then see penstock queue verify" in done.stderr
        assert "orders" in done.stdout
    assert "offset 0" in tool("queue", "cat", "orders", *place, code=1).stderr
    running.kill()


# ---- forget

def test_forget_gives_up_what_is_gone_from_the_configuration(stopped, tmp_path):
    file = stopped(count=300, sinks=dead_bus() + dead_bus("lake"))
    place = ("--config", file)
    said = tool("queue", "forget", "orders", "--sink", "bus", "--yes", *place, code=1).stderr
    assert "sink bus reads source orders in the configuration" in said
    file.write_text(config(tmp_path / "state", count=1))  # without lake
    refused = tool("run", *place, code=78).stderr
    assert "penstock queue forget orders --sink lake" in refused
    asked = tool("queue", "forget", "orders", "--sink", "lake", *place, code=2)
    assert "orders -> lake: 300 events" in asked.stderr and "--yes" in asked.stderr
    assert len(queues(*place)["orders"]["sinks"]) == 2
    done = tool("queue", "forget", "orders", "--sink", "lake", "--yes", *place)
    assert "dropped 300 (forgotten 300) + pending 0" in done.stdout
    assert "gave up 300 events of source orders for sink lake" in done.stdout
    assert [s["sink"] for s in queues(*place)["orders"]["sinks"]] == ["bus"]
    assert queues(*place)["orders"]["events"] == 300

    file.write_text(config(tmp_path / "state", count=1, source="other",
                           sinks=dead_bus(source="other")))
    tool("run", *place, code=78)
    assert "gave up 300 events" in tool("queue", "forget", "orders", "--yes", *place).stdout
    assert queues(*place) == {}
    tool("queue", "verify", *place)
    done = run_penstock("run", *place, "--exit-when-done")
    assert done.returncode == 0, done.stderr
    assert list(queues(*place)) == ["other"]


# ---- dead letters

def letters(place, *more):
    return lines("deadletters", "list", "--json", *more, *place)


@pytest.fixture(scope="session")
def picky_plugin(tmp_path_factory):
    """The compiled tests/e2e/plugins/picky_sink.cc."""
    target = tmp_path_factory.mktemp("picky") / "sink-picky.so"
    compile_plugin(ROOT / "tests" / "e2e" / "plugins" / "picky_sink.cc", target)
    return target


@pytest.fixture
def picky(picky_plugin, tmp_path):
    """The table of a sink that rejects events while tmp_path / "refuse" is there."""
    shutil.copy(picky_plugin, tmp_path)
    (tmp_path / "refuse").touch()
    return ('[sinks.picky]\nplugin = "picky"\nfrom = ["orders"]\nstart = "oldest"\n'
            f'format = "raw"\nwhile = "{tmp_path}/refuse"\n')


@pytest.fixture
def rejected(stopped, picky):
    """The configuration of a stopped gateway with five dead letters."""
    return stopped(count=5, sinks=picky)


def test_dead_letters_are_listed_and_shown(rejected):
    place = ("--config", rejected)
    found = letters(place)
    assert len(found) == 5
    assert {(one["source"], one["sink"], one["why"], one["replay"]) for one in found} == \
        {("orders", "picky", "rejected", False)}
    table = tool("deadletters", "list", *place).stdout.splitlines()
    assert table[0].split() == ["BURIED", "ROUTE", "ID", "SIZE", "ATTEMPTS", "REPLAY", "REASON"]
    assert len(table) == 6 and "orders -> picky" in table[1] and found[0]["id"] in table[1]
    shown = tool("deadletters", "show", found[3]["id"], *place).stdout
    assert re.search(r"^reason +rejected: this sink is picky \(code 42\)$", shown, re.MULTILINE)
    assert re.search(r"^payload, 256 bytes:\n3 x+$", shown, re.MULTILINE), shown
    raw = tool("deadletters", "show", found[3]["id"], "--raw", *place).stdout
    assert raw.startswith("3 xxx") and len(raw) == 256
    one, = lines("deadletters", "show", found[3]["id"], "--json", *place)
    assert one["event"]["payload"] == raw
    assert "no dead letter matches" in tool("deadletters", "show", "nope", *place, code=1).stderr


def test_dead_letters_are_found_by_each_property(rejected):
    place = ("--config", rejected)
    found = letters(place)
    for more, n in [(("--source", "orders"), 5), (("--sink", "picky"), 5), (("--sink", "no"), 0),
                    (("--id", found[2]["id"]), 1), (("--reason", "is picky"), 5),
                    (("--reason", "purple"), 0), (("--since", "1h"), 5), (("--until", "1h"), 0),
                    (("--since", found[4]["buried"]), None),
                    (("--until", "2100-01-01T00:00:00+01:00"), 5),
                    (("--since", "2100-01-01T00:00:00Z"), 0)]:
        got = letters(place, *more)
        assert n is None and found[4] in got or len(got) == n, (more, got)
    assert "knows no source" in tool("deadletters", "list", "--source", "x", *place, code=1).stderr
    assert "2h" in tool("deadletters", "list", "--since", "yesterday", *place, code=2).stderr


def test_replay_and_drop_want_a_filter_and_say_how_many(rejected, start, tmp_path):
    place = ("--config", rejected)
    for words in ("replay", "drop"):
        assert "--all" in tool("deadletters", words, *place, code=2).stderr
        assert "no dead letter matches" in \
            tool("deadletters", words, "--sink", "no", *place, code=1).stderr
    found = letters(place)
    assert tool("deadletters", "drop", "--id", found[0]["id"], *place).stdout == \
        "1 dead letter dropped\n"
    assert tool("deadletters", "replay", "--id", found[1]["id"], *place).stdout == \
        "1 dead letter marked to be sent again, at the next start of the gateway\n"
    assert [one["replay"] for one in letters(place)] == [True, False, False, False]
    assert tool("deadletters", "replay", "--all", *place).stdout == \
        "4 dead letters marked to be sent again, at the next start of the gateway\n"
    (tmp_path / "refuse").unlink()
    running = start(Gateway(tmp_path, rejected.read_text()))
    wait_until(lambda: letters(("--config", running.config)) == [], "the replay")
    running.stop()
    kept = queues(*place)["orders"]["dead_letters"]
    assert kept == [{"sink": "picky", "kept": 0, "buried": 5, "replayed": 4, "dropped": 1}]


def test_letters_without_a_route_are_not_marked(rejected, tmp_path):
    """Nothing would ever send them, and the mark would say otherwise."""
    changed = tmp_path / "changed.toml"
    changed.write_text(rejected.read_text().replace("sinks.picky", "sinks.other"))
    place = ("--config", changed)
    said = tool("deadletters", "replay", "--all", *place, code=1).stderr
    assert "no route from source orders and sink picky" in said and "put it back" in said
    assert not any(one["replay"] for one in letters(place))
    assert tool("deadletters", "drop", "--all", *place).stdout == "5 dead letters dropped\n"


def test_a_route_that_waits_for_room_goes_on_after_drop_and_replay(gateway, tmp_path, picky):
    running = gateway(config(tmp_path / "state", count=7, sinks=picky,
                             options="dead_letters = { max_events = 3 }"))
    place = ("--config", running.config)

    def offsets():
        return [one["offset"] for one in letters(place)]
    wait_until(lambda: offsets() == [0, 1, 2], "full dead letters")
    seen = status_when(running, lambda s: s["routes"][0]["held"], "a route that waits")
    kept = seen["sources"][0]["dead_letters"]
    assert (kept["events"], kept["max_events"], kept["dropped"]) == (3, 3, 0)
    assert 0 < kept["bytes"] < kept["max_bytes"] and kept["when_full"] == "hold"
    held = seen["routes"][0]["held"]
    assert held["events"] > 0 and held["first"] == "this sink is picky", held
    assert "penstock deadletters replay or drop" in held["reason"]
    text = " ".join(tool("status", *place).stdout.split())  # its lines are as wide as a terminal
    assert "dead letters: 3 of 3" in text and "stopped: " in text and held["reason"] in text
    assert tool("deadletters", "drop", "--source", "orders", *place).stdout == \
        "3 dead letters dropped\n"
    wait_until(lambda: offsets() == [3, 4, 5], "the next ones")
    # Sent again they are rejected again, and stay.
    assert tool("deadletters", "replay", "--all", *place).stdout == \
        "3 dead letters marked to be sent again\n"
    wait_until(lambda: not any(one["replay"] for one in letters(place)), "the second refusal")
    assert offsets() == [3, 4, 5]
    (tmp_path / "refuse").unlink()
    tool("deadletters", "replay", "--since", "1h", *place)
    wait_until(lambda: len(offsets()) <= 1, "the replay")
    seen = status_when(running, lambda s: not s["routes"][0]["held"], "the route to go on")
    assert seen["sources"][0]["dead_letters"]["dropped"] == 3
    tool("queue", "list", *place)
    running.stop()


def test_a_payload_that_is_no_text_is_shown_in_base64(payload_server, start, tmp_path, picky):
    payload = bytes(range(256))
    server = payload_server([payload])
    running = start(Gateway(tmp_path, f'[gateway]\nstate_dir = "{tmp_path}/state"\n'
                            f'plugin_dirs = ["{tmp_path}"]\nadmin_socket = "admin.sock"\n'
                            f'{server.source("orders")}\n' + picky))
    place = ("--config", running.config)
    one, = wait_until(lambda: letters(place), "the dead letter")
    shown, = lines("deadletters", "show", one["id"], "--json", *place)
    assert base64.b64decode(shown["event"]["data_base64"]) == payload
    assert "payload, 256 bytes in base64:" in tool("deadletters", "show", one["id"], *place).stdout
    running.stop()
