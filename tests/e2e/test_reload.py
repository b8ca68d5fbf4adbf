"""Reload: what changed is changed, what did not is not touched, and nothing is lost or doubled."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness.event_server import assert_consecutive, assert_numbered
from harness.gateway import LEDGER, PLUGINS, run_penstock
from harness.process import free_port, wait_until
from test_cli import compile_plugin

SOURCES = pathlib.Path(__file__).parent / "plugins"
SETTINGS = """[gateway]
drain_timeout = "{drain}"
shutdown_timeout = "5s"
admin_socket = "{dir}/admin.sock"
"""
TICKER = """[sources.{name}]
plugin = "generator"
rate = 500
size = 64
"""


@pytest.fixture
def settings(tmp_path):
    return lambda drain="5s": SETTINGS.format(dir=tmp_path, drain=drain)


def reload(running, config=None, code=0):
    if config is not None:
        running.config.write_text(config)
    done = run_penstock("reload", "--socket", running.config.with_name("admin.sock"), timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def status(running):
    done = run_penstock("status", "--json", "--config", running.config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def delivered(running, source, sink):
    return next((route["ledger"]["delivered"] for route in status(running)["routes"]
                 if (route["source"], route["sink"]) == (source, sink)), 0)


def wait_delivered(running, source, sink, count):
    wait_until(lambda: delivered(running, source, sink) >= count,
               f"{count} delivered from {source} to {sink}")


def assert_nothing_lost(messages, ledger):
    """The ids on the bus are consecutive: each event once, in its order."""
    numbers = [int(m.headers["Nats-Msg-Id"][16:], 16) for m in messages]
    assert_consecutive(numbers, ledger.received)


@pytest.mark.parametrize("storage", ["memory", "disk"])
@pytest.mark.parametrize("order", ["relaxed", "strict"])
def test_a_changed_sink_goes_on_where_the_old_one_stood(storage, order, event_server, nats, gateway,
                                                        settings):
    server = event_server()
    source = server.source("orders", queue=f'storage = "{storage}"', rate=2000)
    config = settings() + source + nats.sink(options=f'order = "{order}"')
    running = gateway(config)
    for round_ in range(1, 4):
        wait_delivered(running, "orders", "bus", 500 * round_)
        more = f'order = "{order}"\nheaders = {{ round = "{round_}" }}'
        assert reload(running, settings() + source + nats.sink(options=more)) == \
            "reloaded: sink bus made anew\n"
    wait_delivered(running, "orders", "bus", 2500)
    ledger = running.stop_clean().ledger("orders", "bus")
    messages = nats.read()
    assert_nothing_lost(messages, ledger)
    assert_numbered([m.data for m in messages], ledger.received)
    assert len(server.streams()) == 1, "the source kept its stream"
    assert {m.headers.get("round") for m in messages} == {None, "1", "2", "3"}
    assert "DUPLICATE" not in running.text().upper()


def test_a_changed_sink_to_kafka(event_server, kafka, topic, gateway, settings):
    server = event_server()
    source = server.source("orders", rate=2000)
    running = gateway(settings() + source + kafka.sink(topic))
    for round_ in ("1", "2"):
        wait_delivered(running, "orders", "lake", 1000 * int(round_))
        reload(running, settings() + source +
               kafka.sink(topic, options=f'headers = {{ round = "{round_}" }}'))
    wait_delivered(running, "orders", "lake", 3000)
    ledger = running.stop_clean().ledger("orders", "lake")
    assert_numbered(kafka.values(topic), ledger.received)


def test_what_is_the_same_is_not_touched(event_server, nats, gateway, settings):
    server = event_server()
    config = settings() + server.source("orders", rate=1000) + nats.sink()
    running = gateway(config)
    wait_delivered(running, "orders", "bus", 100)
    before = status(running)
    assert reload(running) == "reloaded: nothing has changed\n"
    assert "sink other added" in reload(running, config + nats.sink(
        "other", subject="events.other", options='msg_id = "{id}-{sink}"'))
    wait_delivered(running, "orders", "other", 200)
    after = status(running)
    assert len(server.streams()) == 1
    assert after["sources"][0]["since"] == before["sources"][0]["since"]
    assert after["sinks"][0]["since"] == before["sinks"][0]["since"]
    assert "sink other removed" in reload(running, config)
    assert [sink["name"] for sink in status(running)["sinks"]] == ["bus"]
    ledgers = running.stop_clean().ledgers()
    mine = [m for m in nats.read() if m.subject != "events.other"]
    assert_nothing_lost(mine, ledgers["orders", "bus"])
    assert ledgers["orders", "other"].pending == 0, "the ledger of the sink that was removed"
    others = nats.count() - len(mine)
    assert ledgers["orders", "other"].delivered == others


def test_a_changed_source_reads_its_old_stream_to_the_end(event_server, nats, gateway, settings):
    server = event_server()
    running = gateway(settings() + server.source("orders", rate=1000) + nats.sink())
    wait_delivered(running, "orders", "bus", 300)
    assert reload(running, settings() + server.source("orders", rate=500) + nats.sink()) == \
        "reloaded: source orders made anew\n"
    wait_until(lambda: len(server.streams()) == 2, "a second stream")
    wait_delivered(running, "orders", "bus", delivered(running, "orders", "bus") + 300)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_nothing_lost(nats.read(), ledger)


def test_what_the_host_says_of_a_source_changes_too(nats, gateway, settings):
    ticker = TICKER.format(name="orders")
    running = gateway(settings() + ticker + nats.sink(message_format="cloudevents"))
    wait_delivered(running, "orders", "bus", 100)
    reload(running, settings() + ticker + 'event_source = "shop"\nmetadata = { region = "eu" }\n' +
           nats.sink(message_format="cloudevents"))
    wait_delivered(running, "orders", "bus", delivered(running, "orders", "bus") + 100)
    ledger = running.stop_clean().ledger("orders", "bus")
    messages = nats.read()
    assert_nothing_lost(messages, ledger)
    events = [json.loads(m.data) for m in messages]
    assert (events[0]["source"], events[0].get("region")) == ("orders", None)
    assert (events[-1]["source"], events[-1]["region"]) == ("shop", "eu")


def test_sources_come_and_go(nats, gateway, settings):
    sink = nats.sink(sources=("*",))
    one, two = TICKER.format(name="one"), TICKER.format(name="two")
    running = gateway(settings() + one + sink)
    wait_delivered(running, "one", "bus", 50)
    since = status(running)["sinks"][0]["since"]
    assert reload(running, settings() + one + two + sink) == "reloaded: source two added\n"
    wait_delivered(running, "two", "bus", 50)
    assert reload(running, settings() + two + sink) == "reloaded: source one removed\n"
    here = status(running)
    assert [source["name"] for source in here["sources"]] == ["two"]
    assert here["sinks"][0]["since"] == since, "the sink was not touched"
    ledgers = running.stop_clean().ledgers()
    messages = nats.read()
    for name in ("one", "two"):
        assert_nothing_lost([m for m in messages if m.subject.split(".")[1] == name],
                            ledgers[name, "bus"])


@pytest.mark.parametrize("before, after", [("memory", "disk"), ("disk", "memory")])
def test_a_queue_moves_once_it_is_empty(before, after, nats, gateway, settings):
    def config(storage):
        return (settings() + TICKER.format(name="orders") +
                f'queue = {{ storage = "{storage}" }}\n' + nats.sink())
    running = gateway(config(before))
    wait_delivered(running, "orders", "bus", 100)
    assert reload(running, config(after)) == "reloaded: source orders moved to another storage\n"
    assert status(running)["sources"][0]["queue"]["storage"] == after
    wait_delivered(running, "orders", "bus", 100)
    running.stop_clean()
    ledgers = list(LEDGER.finditer(running.text()))
    assert len(ledgers) == 2, "one when it moved, one at the end"
    assert nats.count() == sum(int(one["delivered"]) for one in ledgers)


def test_bad_files_change_nothing(nats, gateway, settings):
    config = settings() + TICKER.format(name="orders") + nats.sink()
    running = gateway(config)
    wait_delivered(running, "orders", "bus", 50)
    before = status(running)
    for bad, says in [(config.replace("rate =", "raet ="), "toml:7:1: error: "),
                      (config + "[", "error: "),
                      (config.replace('plugin = "nats-jetstream"', 'plugin = "nats"'),
                       "did you mean"),
                      (config.replace("drain_timeout", 'memory_limit = "64MiB"\ndrain_timeout'),
                       "gateway.memory_limit has changed, which takes a restart"),
                      (config.replace('subject = "', 'user = "x"\nsubject = "'), "error: ")]:
        error = reload(running, bad, code=1)
        assert says in error, error
        assert error.endswith("penstock: not reloaded\n")
        assert "not reloaded, all goes on as before" in running.text()
    after = status(running)
    assert after["sinks"][0]["since"] == before["sinks"][0]["since"]
    assert after["gateway"]["state"] == "running"
    running.config.write_text(config)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_nothing_lost(nats.read(), ledger)


@pytest.fixture
def drop(tmp_path):
    """A directory with a source that holds a port and a sink that needs a directory."""
    directory = tmp_path / "drop"
    directory.mkdir(mode=0o755)
    compile_plugin(SOURCES / "port_source.cc", directory / "source-port.so")
    compile_plugin(SOURCES / "append_sink.cc", directory / "sink-append.so")
    return directory


def port_source(port, word):
    return f'[sources.orders]\nplugin = "port"\nport = {port}\nword = "{word}"\n'


def test_a_part_that_cannot_start_leaves_all_as_it_was(drop, nats, gateway, settings, tmp_path):
    first = free_port()
    good = settings() + port_source(first, "a") + nats.sink()
    running = gateway(good, plugin_dirs=(drop, PLUGINS))
    wait_delivered(running, "orders", "bus", 50)
    # A sink that does not start: nothing was touched.
    since = status(running)["sources"][0]["since"]
    bad = (settings() + port_source(first, "b") + nats.sink() +
           f'[sinks.file]\nplugin = "append"\nfrom = ["orders"]\npath = "{tmp_path}/none/x"\n')
    assert "sink file does not start" in reload(running, bad, code=1)
    assert status(running)["sources"][0]["since"] == since
    # The same port again: the old source has let go of it before.
    reload(running, settings() + port_source(first, "b") + nats.sink())
    # A port that is taken: the old source has to be started again, after its sink was to be new.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        bad = (settings() + port_source(taken.getsockname()[1], "c") +
               nats.sink(sources=("*",), options='order = "strict"') + TICKER.format(name="more"))
        error = reload(running, bad, code=1)
    assert "source orders does not start: port " in error
    here = status(running)
    assert [source["name"] for source in here["sources"]] == ["orders"]
    wait_delivered(running, "orders", "bus", delivered(running, "orders", "bus") + 50)
    running.config.write_text(good)
    ledger = running.stop_clean().ledger("orders", "bus")
    messages = nats.read()
    assert_nothing_lost(messages, ledger)
    assert {m.data.split()[0] for m in messages} == {b"a", b"b"}


def test_a_new_stream_has_its_new_name_from_its_first_event_on(drop, nats, gateway, settings,
                                                               tmp_path):
    port = free_port()
    out = tmp_path / "out"

    def config(word, more="", options=""):
        return (settings("1s") + port_source(port, word) + f'event_name = "{word}"\n' + more +
                '[sinks.out]\nplugin = "file"\nfrom = ["*"]\nformat = "cloudevents"\n'
                f'path = "{out}"\n' + nats.sink(options=options))

    def names(word):
        """Of the events whose payload begins with the word."""
        events = [json.loads(line) for line in out.read_text().splitlines(keepends=True)
                  if line.endswith("\n")]
        start = base64.b64encode(f"{word} 1".encode()).decode()[:3]
        return [event["subject"] for event in events if event["data_base64"].startswith(start)]
    running = gateway(config("a"), plugin_dirs=(drop, PLUGINS))
    wait_delivered(running, "orders", "out", 50)
    # The other sink, which is made anew, waits for receipts until the deadline.
    os.kill(nats.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: status(running)["routes"][1]["ledger"]["pending"] > 100, "a backlog")
        reload(running, config("b", options='headers = { x = "y" }'))
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    # One that fails when the new stream has begun: each has its own.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        late = (port_source(taken.getsockname()[1], "late").replace("orders", "late") +
                "wait_ms = 300\n")
        reload(running, config("c", more=late, options='headers = { x = "y" }'), code=1)
    again = len(names("b"))
    wait_until(lambda: len(names("b")) > again + 50, "events of the stream that began again")
    running.stop_clean()
    wrong = sum(name != "b" for name in names("b"))
    assert wrong == 0, f"{wrong} of {len(names('b'))} events"
    # What was not read yet when it ended has the name that holds again.
    assert names("c")[:20] == ["c"] * 20


@pytest.mark.parametrize("before", ["none", "memory"])
def test_a_failed_reload_leaves_no_queue_in_the_store(before, drop, nats, gateway, settings):
    """A source on disk that it added, or moved there, and that had received events."""
    more = TICKER.format(name="more")
    moved = more + 'queue = { storage = "memory" }\n'
    good = (settings() + TICKER.format(name="orders") + nats.sink() +
            (moved + nats.sink("others", ("more",)) if before == "memory" else ""))
    running = gateway(good, plugin_dirs=(drop, PLUGINS))
    wait_delivered(running, "orders", "bus", 50)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        late = (port_source(taken.getsockname()[1], "c").replace("orders", "late") +
                "wait_ms = 300\n")
        bad = (settings() + TICKER.format(name="orders") + nats.sink() +
               more.replace("rate = 500", "rate = 0") + 'queue = { storage = "disk" }\n' +
               late + nats.sink("others", ("more", "late")))
        assert "source late does not start: port " in reload(running, bad, code=1)
    assert "source more: forgotten, with " in running.text()
    if before == "memory":
        wait_delivered(running, "more", "others", 50)
    running.config.write_text(good)
    running.stop_clean()
    running.start()  # whose store holds what its configuration has
    running.stop_clean()


@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_a_backlog_for_what_is_to_go_refuses(storage, nats, gateway, settings):
    ticker = TICKER.format(name="orders") + f'queue = {{ storage = "{storage}" }}\n'
    dead = nats.sink("dead", options='msg_id = "{id}-{sink}"').replace(
        str(nats.port), str(free_port()))
    running = gateway(settings("1s") + ticker + nats.sink() + dead)
    wait_delivered(running, "orders", "bus", 100)
    error = reload(running, settings("1s") + ticker + nats.sink(), code=1)
    assert "route orders -> dead is no longer in the configuration, and " in error
    way_out = ("penstock queue forget orders --sink dead" if storage == "disk" else
               "restart the gateway, which loses them")
    assert way_out in error and "drain_timeout" not in error
    error = reload(running, settings("1s") + ticker.replace("orders", "renamed") +
                   nats.sink(sources=("renamed",)) +
                   dead.replace('"orders"', '"renamed"'), code=1)
    assert "route orders -> dead is no longer" in error
    wait_delivered(running, "orders", "bus", delivered(running, "orders", "bus") + 100)
    code = running.stop()
    assert code == (1 if storage == "memory" else 0)
    assert_nothing_lost(nats.read(), running.ledger("orders", "bus"))


def test_a_backlog_that_flows_is_waited_for(nats, gateway, settings):
    ticker = TICKER.format(name="orders")
    void = '[sinks.none]\nplugin = "null"\nfrom = ["orders"]\n'
    running = gateway(settings() + ticker + nats.sink() + void)
    wait_delivered(running, "orders", "bus", 100)
    os.kill(nats.pid, signal.SIGSTOP)  # nothing fails yet
    try:
        error = reload(running, settings("1s") + ticker + void, code=1)
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    assert "of it are not delivered within gateway.drain_timeout, 1s; put it back" in error
    reload(running, settings() + ticker + void)
    running.stop_clean()


def test_a_dead_sink_is_replaced_by_one_that_works(nats, gateway, settings):
    """What lay in its window, and what it may have sent, goes to the new one."""
    ticker = TICKER.format(name="orders")
    wrong = nats.sink().replace(str(nats.port), str(free_port()))
    running = gateway(settings("1s") + ticker + wrong)
    wait_until(lambda: status(running)["routes"][0]["ledger"]["pending"] > 500, "a backlog")
    reload(running, settings("1s") + ticker + nats.sink())
    wait_delivered(running, "orders", "bus", 600)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_nothing_lost(nats.read(), ledger)


def test_a_frozen_bus_does_not_hold_up_a_new_sink(nats, nats_server, gateway, settings):
    """The old sink has events in flight that nobody answers: they go to the new one."""
    other = nats_server(name="other")
    other.add_stream()
    ticker = TICKER.format(name="orders")
    running = gateway(settings("1s") + ticker + nats.sink())
    wait_delivered(running, "orders", "bus", 100)
    os.kill(nats.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: status(running)["routes"][0]["ledger"]["pending"] > 200, "a backlog")
        reload(running, settings("1s") + ticker + other.sink())
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    wait_delivered(running, "orders", "bus", 800)
    ledger = running.stop_clean().ledger("orders", "bus")
    first = {m.headers["Nats-Msg-Id"] for m in nats.read()}
    second = [m.headers["Nats-Msg-Id"] for m in other.read()]
    assert len(second) == len(set(second))
    numbers = sorted(int(one[16:], 16) for one in first | set(second))
    assert_consecutive(numbers, ledger.received)


def test_a_bus_that_cannot_be_reached_fails_no_reload_and_is_named(nats, gateway, settings):
    ticker = TICKER.format(name="orders")
    running = gateway(settings() + ticker + nats.sink())
    wait_delivered(running, "orders", "bus", 100)
    away = nats.sink("away", options='msg_id = "{id}-{sink}"').replace(
        str(nats.port), str(free_port()))
    said = reload(running, settings() + ticker + nats.sink() + away +
                  '[sinks.none]\nplugin = "null"\nfrom = ["orders"]\n').splitlines()
    assert said[0].startswith("reloaded: sink") and len(said) == 2, said
    assert said[1].startswith("sink away is not ready yet, it is connecting: "), said
    assert said[1].endswith("; see penstock status"), said
    shown = next(sink for sink in status(running)["sinks"] if sink["name"] == "away")
    assert shown["state"] == "connecting" and shown["reason"] in said[1]
    # One that runs as before is not named again.
    said = reload(running, settings() + ticker + nats.sink() + away).splitlines()
    assert len(said) == 1, said
    running.stop()


@pytest.mark.parametrize("waits_for", ["source", "sink"])
def test_a_stop_ends_the_waiting_of_a_reload(waits_for, nats, gateway, settings):
    here = settings("40s").replace('"5s"', '"2s"')
    full = (TICKER.format(name="orders").replace("rate = 500", "rate = 0") +
            'queue = { storage = "disk", max_events = 1000 }\n')
    running = gateway(here + full + nats.sink())
    wait_delivered(running, "orders", "bus", 50)
    os.kill(nats.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: status(running)["sources"][0]["queue"]["events"] >= 1000, "a full queue")
        running.config.write_text(
            here +
            (full.replace("64", "65") + nats.sink() if waits_for == "source" else
             full + nats.sink(options='headers = { x = "y" }')))
        os.kill(running.pid, signal.SIGHUP)
        wait_until(lambda: status(running)["gateway"]["state"] == "reloading", "the reload")
        begin = time.monotonic()
        code = running.stop()
        took = time.monotonic() - begin
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    assert took < 6, f"{took} s"
    assert code == 0
    if waits_for == "source":
        assert ("not reloaded, all goes on as before: a signal asks the gateway to stop" in
                running.text())
    else:  # where nothing is taken back any more
        assert "reloaded: sink bus made anew" in running.text()


def full_source(size, max_events=1000, storage="memory"):
    return (f'[sources.orders]\nplugin = "generator"\nsize = {size}\n'
            f'queue = {{ storage = "{storage}", max_events = {max_events} }}\n')


def wait_full(nats, running, events=1000):
    """Ends the bus."""
    wait_delivered(running, "orders", "bus", 100)
    before = running.written()
    nats.kill()
    running.wait_for_sink("bus", "connecting", since=before)
    wait_until(lambda: status(running)["sources"][0]["queue"]["events"] >= events, "a full queue")


@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_a_source_whose_queue_stays_full_refuses_and_goes_on(storage, nats, gateway, settings):
    config = settings("1s") + full_source(64, storage=storage) + nats.sink()
    running = gateway(config)
    wait_full(nats, running)
    error = reload(running, config.replace("size = 64", "size = 65"), code=1)
    assert "source orders cannot end: its queue is full" in error
    running.wait_for("source orders: it ends, and is started again once")
    nats.start()
    running.wait_for("(?s)(source orders: ready.*){2}")
    wait_delivered(running, "orders", "bus", delivered(running, "orders", "bus") + 2000)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert "did not get into its queue" not in running.text()
    messages = nats.read()
    assert_nothing_lost(messages, ledger)
    numbers = [int(message.data.split()[0]) for message in messages]
    second = numbers.index(0, 1)
    assert numbers == [*range(second), *range(len(numbers) - second)], "two streams, each whole"
    assert {len(message.data) for message in messages} == {64}


def test_a_larger_queue_takes_what_a_full_one_cannot(nats, gateway, settings):
    config = settings("1s") + full_source(64) + nats.sink()
    running = gateway(config)
    wait_full(nats, running)
    assert reload(running, settings("1s") + full_source(64, max_events=20000) + nats.sink()) == \
        "reloaded: source orders made anew\n"
    wait_until(lambda: status(running)["sources"][0]["queue"]["events"] >= 20000, "a full queue")
    nats.start()
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_nothing_lost(nats.read(), ledger)


def test_a_source_that_cannot_be_started_again_is_at_the_next_reload(drop, nats, gateway,
                                                                     settings):
    first = free_port()
    good = settings() + port_source(first, "a") + nats.sink()
    running = gateway(good, plugin_dirs=(drop, PLUGINS))
    wait_delivered(running, "orders", "bus", 50)
    with socket.socket() as taken, socket.socket() as thief:
        taken.bind(("127.0.0.1", 0))
        late = (port_source(taken.getsockname()[1], "c").replace("orders", "late") +
                "wait_ms = 1500\n")
        running.config.write_text(settings() + port_source(free_port(), "b") + late +
                                  nats.sink(sources=("*",)))
        os.kill(running.pid, signal.SIGHUP)

        def steal():
            with contextlib.suppress(OSError):
                thief.bind(("127.0.0.1", first))
                return True
            return False
        wait_until(steal, "the old source's port")
        running.wait_for("source orders: it could not be started again")
        assert "mend it and reload" in status(running)["sources"][0]["reason"]
    assert reload(running, good) == "reloaded: source orders made anew\n"
    wait_delivered(running, "orders", "bus", delivered(running, "orders", "bus") + 50)
    running.stop_clean()


def test_sighup_is_a_reload(nats, gateway, settings):
    config = settings() + TICKER.format(name="orders") + nats.sink()
    running = gateway(config)
    running.config.write_text(config + '[sinks.none]\nplugin = "null"\nfrom = ["*"]\n')
    os.kill(running.pid, signal.SIGHUP)
    running.wait_for("gateway: reloaded: sink none added")
    running.config.write_text("[")
    os.kill(running.pid, signal.SIGHUP)
    running.wait_for("gateway: not reloaded, all goes on as before")
    running.stop_clean()


def test_drain_stops_the_sources_and_reload_starts_them(event_server, nats, gateway, settings):
    server = event_server()
    running = gateway(settings() + server.source("orders", rate=1000) + nats.sink())
    wait_delivered(running, "orders", "bus", 100)
    done = run_penstock("drain", "--config", running.config)
    assert (done.returncode, done.stdout[:8]) == (0, "drained:"), done.stderr
    here = status(running)
    assert here["gateway"]["state"] == "drained"
    assert here["routes"][0]["ledger"]["pending"] == 0
    count = nats.count()
    assert count == here["routes"][0]["ledger"]["delivered"]
    assert reload(running) == "reloaded: source orders made anew\n"
    wait_delivered(running, "orders", "bus", count + 100)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_nothing_lost(nats.read(), ledger)


def test_drain_with_a_dead_bus_says_so(gateway, settings):
    running = gateway(settings() + TICKER.format(name="orders") + 'count = 10\n' +
                      '[sinks.bus]\nplugin = "nats-jetstream"\nfrom = ["orders"]\n'
                      f'servers = ["nats://127.0.0.1:{free_port()}"]\nsubject = "x"\n')
    running.wait_for("source orders: finished")
    done = run_penstock("drain", "--timeout", "500ms", "--config", running.config)
    assert done.returncode == 1
    assert "10 events are not settled yet" in done.stderr
    assert running.stop() == 1


def test_drain_at_something_that_is_no_gateway(tmp_path):
    """An answer of another kind is said, not died of."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "admin.sock"))
        listener.listen()

        def answer():
            for body in (b"draining\n", b'{"gateway": 5}'):
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
                                   b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        thread = threading.Thread(target=answer)
        thread.start()
        done = run_penstock("drain", "--socket", tmp_path / "admin.sock")
        thread.join()
    assert done.returncode == 1
    assert "is not understood" in done.stderr


def test_plugins_dropped_and_built_anew(nats, gateway, settings, tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    for name in ("source-generator", "sink-nats-jetstream"):
        shutil.copy(PLUGINS / f"{name}.so", plugins)
    config = settings() + TICKER.format(name="orders") + nats.sink()
    running = gateway(config, plugin_dirs=(plugins,))
    with_null = config + '[sinks.none]\nplugin = "null"\nfrom = ["*"]\n'
    assert 'no sink plugin "null"' in reload(running, with_null, code=1)
    shutil.copy(PLUGINS / "sink-null.so", plugins)
    assert "sink none added" in reload(running, with_null)
    # Another build of what runs: for new instances at once, and told of where the old one goes on.
    generator = plugins / "source-generator.so"
    subprocess.run(["objcopy", "--strip-all", PLUGINS / "source-generator.so",
                    f"{generator}.new"], check=True)
    pathlib.Path(f"{generator}.new").replace(generator)
    answer = reload(running, with_null + TICKER.format(name="late"))
    assert f"source orders still runs the build of {generator} that was loaded before" in answer
    assert "source late still" not in answer
    wait_delivered(running, "late", "none", 50)
    running.stop_clean()


@pytest.mark.full
def test_a_reload_may_take_longer_than_a_connection_may_rest(nats, gateway, settings):
    ticker = TICKER.format(name="orders")
    running = gateway(settings("20s") + ticker + nats.sink())
    wait_delivered(running, "orders", "bus", 100)
    os.kill(nats.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: status(running)["routes"][0]["ledger"]["pending"] > 200, "a backlog")
        assert "sink bus made anew" in reload(running, settings("20s") + ticker +
                                              nats.sink(options="ack_timeout = \"9s\""))
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_nothing_lost(nats.read(), ledger)
