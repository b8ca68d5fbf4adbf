"""Each process killed, frozen, absent or restarted while events flow, and the planned stop."""

import json
import random
import time

import pytest

from harness.event_server import (EventServer, assert_consecutive, assert_numbered,
                                  numbers_by_stream)
from harness.gateway import run_penstock
from harness.process import wait_until


def assert_no_id_twice(messages):
    ids = [message.headers["Nats-Msg-Id"] for message in messages]
    assert len(set(ids)) == len(ids)


def assert_complete(payloads, count):
    """Each of the events 0 .. count - 1 of one stream, once, in any order."""
    streams = numbers_by_stream(payloads)
    assert len(streams) == 1
    assert_consecutive(sorted(next(iter(streams.values()))), count)


def kill_bus(nats, running):
    """Ends the server, and waits until the gateway has noticed."""
    before = running.written()
    nats.kill()
    running.wait_for_sink("bus", "connecting", since=before)


def test_event_server_killed_under_load(event_server, nats, kafka, topic, gateway):
    server = event_server(name="server")
    running = gateway(server.source("orders", rate=4000, count=3000) + nats.sink() +
                      kafka.sink(topic))
    arrived = 0
    for _ in range(3):
        nats.wait_count(arrived + 500)
        server.kill()
        arrived = nats.count()
        server.start()
    wait_until(lambda: server.streams(), "a call after the last restart")
    nats.wait_count(arrived + 3000)
    ledgers = running.stop_clean().ledgers()
    payloads = nats.payloads()
    streams = numbers_by_stream(payloads)
    assert len(streams) == 4
    for numbers in streams.values():
        assert_consecutive(numbers, len(numbers))
    assert len(numbers) == 3000, "the last server was not killed"
    assert kafka.values(topic) == payloads
    assert {one.received for one in ledgers.values()} == {len(payloads)}


def test_event_server_absent_at_first(tmp_path, start, nats, gateway):
    server = EventServer(tmp_path)
    running = gateway(server.source("orders", count=100) + nats.sink())
    running.wait_for(r"source orders: .*refused|source orders: connecting")
    start(server)
    nats.wait_count(100)
    running.stop_clean()
    assert_numbered(nats.payloads(), 100)


def test_event_server_frozen(event_server, nats, gateway):
    server = event_server()
    running = gateway(server.source("orders", rate=2000, count=3000) + nats.sink())
    nats.wait_count(500)
    server.freeze()
    time.sleep(1)  # what is tested is that time passes
    server.thaw()
    nats.wait_count(3000)
    running.stop_clean()
    assert_numbered(nats.payloads(), 3000)


# rate 0: as fast as the server can.
@pytest.mark.parametrize("rate, count", [(4000, 12000),
                                         pytest.param(0, 120000, marks=pytest.mark.full)])
def test_nats_killed_under_load(rate, count, event_server, each_nats, gateway):
    nats = each_nats
    server = event_server()
    running = gateway(server.source("orders", rate=rate, count=count) + nats.sink())
    for done in (count // 12, count // 3, count // 2):
        nats.wait_count(done)
        kill_bus(nats, running)
        nats.start()
    nats.wait_count(count)
    ledger = running.stop_clean().ledger("orders", "bus")
    messages = nats.read()
    assert_complete([m.data for m in messages], count)
    assert_no_id_twice(messages)
    assert ledger.received == ledger.delivered == count
    if not ledger.notes.get("reordered"):
        assert_numbered([m.data for m in messages], count)


@pytest.mark.parametrize("rate, count", [(4000, 8000),
                                         pytest.param(0, 120000, marks=pytest.mark.full)])
def test_nats_killed_under_strict_load(rate, count, event_server, each_nats, gateway):
    nats = each_nats
    server = event_server()
    running = gateway(server.source("orders", rate=rate, count=count) +
                      nats.sink(options='order = "strict"'))
    for done in (count // 8, count // 2):
        nats.wait_count(done)
        kill_bus(nats, running)
        nats.start()
    nats.wait_count(count)
    running.stop_clean()
    messages = nats.read()
    assert_numbered([m.data for m in messages], count)
    assert_no_id_twice(messages)


def test_nats_absent_at_first(event_server, nats, gateway):
    nats.kill()
    server = event_server()
    running = gateway(server.source("orders", count=2000) + nats.sink())
    running.wait_for_sink("bus", "connecting")
    wait_until(lambda: server.streams(), "the source's call")
    nats.start()
    nats.wait_count(2000)
    running.stop_clean()
    assert_numbered(nats.payloads(), 2000)


def test_stream_absent_at_first(event_server, nats_server, gateway):
    nats = nats_server()
    server = event_server()
    running = gateway(server.source("orders", count=2000) + nats.sink())
    running.wait_for(r"warn  .*(no stream|no responders|503)")
    nats.add_stream()
    nats.wait_count(2000)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert ledger.notes.get("retries"), "each was refused at first"
    assert_complete(nats.payloads(), 2000)


@pytest.mark.parametrize("noticed", [False, pytest.param(True, marks=pytest.mark.full)])
def test_nats_frozen(noticed, event_server, nats, gateway):
    """Its sockets stay open and nothing answers: acks come late, and later the pings tell."""
    server, count = event_server(), 8000
    running = gateway(server.source("orders", rate=2000, count=count) +
                      nats.sink(options='ack_timeout = "1s"'))
    nats.wait_count(1000)
    before = running.written()
    nats.freeze()
    if noticed:
        running.wait_for_sink("bus", "connecting", since=before)
    else:
        time.sleep(3)  # what is tested is that time passes, more than ack_timeout
    nats.thaw()
    nats.wait_count(count)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert ledger.notes.get("answers unknown"), ledger
    messages = nats.read()
    assert_complete([m.data for m in messages], count)
    assert_no_id_twice(messages)


@pytest.mark.parametrize("rate, count", [(2000, 10000),
                                         pytest.param(0, 600000, marks=pytest.mark.full)])
def test_kafka_killed_under_load(rate, count, event_server, kafka, topic, gateway):
    server = event_server()
    running = gateway(server.source("orders", rate=rate, count=count) + kafka.sink(topic))
    for done in (count // 10, count // 2):
        kafka.wait_count(done, topic)
        kafka.broker.kill()
        kafka.broker.start()
    kafka.wait_count(count, topic)
    ledger = running.stop_clean().ledger("orders", "lake")
    assert_numbered(kafka.values(topic), count)
    assert ledger.received == ledger.delivered == count


def test_kafka_absent_at_first(event_server, kafka, topic, gateway):
    kafka.broker.kill()
    server = event_server()
    running = gateway(server.source("orders", count=2000) + kafka.sink(topic))
    running.wait_for_sink("lake", "connecting")
    wait_until(lambda: server.streams(), "the source's call")
    kafka.broker.start()
    kafka.wait_count(2000, topic)
    running.stop_clean()
    assert_numbered(kafka.values(topic), 2000)


@pytest.mark.full
def test_kafka_frozen(event_server, kafka, topic, gateway):
    server, count = event_server(), 12000
    running = gateway(server.source("orders", rate=1000, count=count) +
                      kafka.sink(topic, client='"socket.timeout.ms" = 2000'))
    kafka.wait_count(1000, topic)
    kafka.broker.freeze()
    running.wait_for(r"(?i)sink lake: .*timed out", 40)
    kafka.broker.thaw()
    kafka.wait_count(count, topic)
    running.stop_clean()
    assert_numbered(kafka.values(topic), count)


def test_stop_under_load(event_server, nats, kafka, topic, gateway):
    """What was received is delivered, in order, to both; the rest is left at the server."""
    server = event_server()
    running = gateway(server.source("orders") + nats.sink() + kafka.sink(topic))
    nats.wait_count(5000)
    kafka.wait_count(5000, topic)
    ledgers = running.stop_clean().ledgers()
    received = ledgers["orders", "bus"].received
    assert received >= 5000
    assert ledgers["orders", "lake"].received == received
    payloads = nats.payloads()
    assert_numbered(payloads, received)
    assert kafka.values(topic) == payloads


def test_stop_with_a_dead_bus(event_server, nats, gateway):
    server = event_server()
    running = gateway('[gateway]\nshutdown_timeout = "2s"\n' +
                      server.source("orders", rate=1000) + nats.sink())
    nats.wait_count(500)
    kill_bus(nats, running)
    begin = time.monotonic()
    code = running.stop(30)
    took = time.monotonic() - begin
    ledger = running.ledger("orders", "bus")
    assert code == 1
    assert ledger.pending > 0 and ledger.delivered >= 500
    assert 1.5 < took < 8, f"the stop took {took:.1f} s with shutdown_timeout = 2s"
    assert f"{ledger.pending} events were not delivered and are lost" in running.text()
    nats.start()
    on_bus = nats.count()
    assert on_bus >= ledger.delivered
    assert_numbered(nats.payloads(), on_bus)


def test_second_signal_does_not_wait(event_server, nats, gateway):
    server = event_server()
    running = gateway('[gateway]\nshutdown_timeout = "1m"\n' +
                      server.source("orders", rate=1000) + nats.sink())
    nats.wait_count(100)
    kill_bus(nats, running)
    running.process.terminate()
    running.wait_for("stopping")
    begin = time.monotonic()
    assert running.stop(30) == 1
    assert time.monotonic() - begin < 10
    assert running.ledger("orders", "bus").pending > 0


@pytest.mark.parametrize("storage, signals", [("disk", 1), ("memory", 2)])
def test_a_full_queue_and_a_dead_bus_do_not_hold_up_a_stop(storage, signals, nats, gateway,
                                                            tmp_path):
    """The source has events in its hands that will find no room."""
    running = gateway(f'[gateway]\nadmin_socket = "{tmp_path}/admin.sock"\n'
                      'shutdown_timeout = "1m"\n[sources.orders]\nplugin = "generator"\n'
                      f'queue = {{ storage = "{storage}", max_events = 1000 }}\n' + nats.sink() +
                      '[sinks.other]\nplugin = "null"\nfrom = ["orders"]\n')
    nats.wait_count(100)
    kill_bus(nats, running)

    def full():
        done = run_penstock("status", "--json", "--config", running.config)
        return json.loads(done.stdout)["sources"][0]["queue"]["events"] >= 1000
    wait_until(full, "a full queue")
    begin = time.monotonic()
    running.process.terminate()
    running.wait_for("stopping")
    if signals == 2:
        running.process.terminate()
    assert running.wait_for_end() == (0 if storage == "disk" else 1)
    took = time.monotonic() - begin
    assert took < 8, f"the stop took {took:.1f} s"
    assert "events that it had read did not get into its queue and are not taken" in running.text()


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.parametrize("order", ["strict", "relaxed"])
def test_both_buses_come_and_go(order, event_server, nats, kafka, topic, gateway):
    """Killed, frozen and restarted at random while events flow into both."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    choose, count = random.Random(seed), 100_000
    server = event_server()
    options = f'order = "{order}"\nack_timeout = "1s"'
    running = gateway(server.source("orders", rate=2000, count=count) +
                      nats.sink(options=options) +
                      kafka.sink(topic, options=f'order = "{order}"'))
    for _ in range(20):
        bus, fault = choose.choice([nats, kafka.broker]), choose.choice(["kill", "freeze"])
        time.sleep(choose.uniform(0, 1))  # where in the stream it strikes
        getattr(bus, fault)()
        time.sleep(choose.uniform(0, 2))  # and for how long
        bus.start() if fault == "kill" else bus.thaw()
    nats.wait_count(count, timeout=150)
    kafka.wait_count(count, topic, timeout=150)
    ledgers = running.stop_clean().ledgers()
    messages = nats.read()
    assert_no_id_twice(messages)
    if order == "strict":
        assert_numbered([m.data for m in messages], count)
    else:
        assert_complete([m.data for m in messages], count)
    assert_numbered(kafka.values(topic), count)
    assert {one.delivered for one in ledgers.values()} == {count}
