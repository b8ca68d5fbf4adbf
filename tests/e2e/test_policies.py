"""What the user chose for full queues, lagging sinks and order; nobody suffers for another."""

import json
import os
import random
import time

import pytest

from harness.event_server import (assert_consecutive, assert_numbered, numbers_by_stream,
                                  parse_payload)
from harness.nats_bus import NatsServer
from harness.process import wait_until

# Ends the server's stream after its events, so that the gateway says when it has read them all,
# and comes back too late for this test.
ONCE = 'insecure = true\nreconnect = { initial = "5m", max = "5m" }'
SMALL_WINDOW = 'max_in_flight = { events = 100, bytes = "1MiB" }'


def numbers(payloads):
    """The numbers of one stream's events, in the order of the payloads."""
    streams = numbers_by_stream(payloads)
    assert len(streams) == 1, list(streams)
    return next(iter(streams.values()))


def wait_until_still(value, quiet=1.0, timeout=60.0):
    """Until value() has not changed for a while; the value. That time passes is the test here."""
    last, since = value(), time.monotonic()

    def still():
        nonlocal last, since
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= quiet
    wait_until(still, "a standstill", timeout, 0.05)
    return last


def sent(server):
    """How many events a server with --progress has sent, by its own word."""
    words = [line.split() for line in server.text().splitlines() if line.startswith("SENT ")]
    latest = {word[1]: int(word[2].removeprefix("sent=")) for word in words if len(word) > 3}
    return sum(latest.values())


def assert_stands_still(value, what, seconds=1.0):
    before = value()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert value() == before, what
        time.sleep(0.05)
    return before


# ---- a full queue

def test_full_queue_blocks(event_server, nats, gateway):
    nats.kill()
    server = event_server(arguments=["--progress"])
    count = 5000
    running = gateway(server.source("orders", queue="max_events = 500", count=count) +
                      nats.sink(options=SMALL_WINDOW))
    wait_until(lambda: sent(server) > 500, "the first events")
    stalled = wait_until_still(lambda: sent(server))
    assert stalled < count, "the server is slowed down"
    nats.start()
    nats.wait_count(count)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_numbered(nats.payloads(), count)
    assert ledger.dropped == {}


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_full_queue_drops(policy, event_server, nats, gateway):
    nats.kill()
    server, count = event_server(), 5000
    running = gateway(
        server.source("orders", queue=f'max_events = 500\nwhen_full = "{policy}"', options=ONCE,
                      close_after=count) + nats.sink(options=SMALL_WINDOW))
    running.wait_for(r"source orders: ready[\s\S]*source orders: connecting")
    nats.start()
    nats.wait_count(500)
    running.wait_for_sink("bus")
    arrived = wait_until_still(nats.count)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert ledger.received == count
    assert ledger.delivered == arrived
    assert ledger.dropped == {"when_full": count - arrived}
    assert 500 <= arrived <= 700
    got = numbers(nats.payloads())
    if policy == "drop_newest":
        assert_consecutive(got, arrived)
    else:
        assert got == sorted(set(got))
        assert_consecutive(got[-500:], 500, first=count - 500)


# ---- a dead sink beside a healthy one

@pytest.fixture
def dead_nats(start, nats, tmp_path):
    """Another server, with the stream EVENTS, which is down."""
    server = start(NatsServer(tmp_path, name="dead"))
    server.add_stream()
    server.kill()
    return server


def test_dead_sink_holds_the_healthy(event_server, nats, dead_nats, gateway):
    server, count = event_server(), 5000
    running = gateway(server.source("orders", queue="max_events = 500", count=count) +
                      nats.sink(options=SMALL_WINDOW) +
                      dead_nats.sink("dead", options=SMALL_WINDOW))
    nats.wait_count(500)
    held = wait_until_still(nats.count)
    assert 500 <= held <= 700, "a full queue holds up everything that reads the source"
    dead_nats.start()
    for bus in (nats, dead_nats):
        bus.wait_count(count)
    running.stop_clean()
    for bus in (nats, dead_nats):
        assert_numbered(bus.payloads(), count)


def test_dead_sink_skips(event_server, nats, dead_nats, gateway):
    server, count = event_server(), 5000
    skip = SMALL_WINDOW + '\nwhen_behind = "skip"\nmax_behind = { events = 300 }'
    running = gateway(server.source("orders", queue="max_events = 500", count=count) + nats.sink() +
                      dead_nats.sink("dead", options=skip))
    nats.wait_count(count)
    dead_nats.start()
    running.wait_for_sink("dead")
    dead_nats.wait_count(300)
    arrived = wait_until_still(dead_nats.count)
    ledgers = running.stop_clean().ledgers()
    assert_numbered(nats.payloads(), count)
    assert ledgers["orders", "bus"].dropped == {}
    assert ledgers["orders", "dead"].dropped == {"behind": count - arrived}
    got = numbers(dead_nats.payloads())
    assert got == sorted(set(got))
    assert_consecutive(got[-300:], 300, first=count - 300)
    assert arrived <= 300 + 100 + 100


def test_dead_sink_loses_the_oldest(event_server, nats, dead_nats, gateway):
    """drop_oldest moves the cursor that lags, and does no harm to the one that does not."""
    server, count = event_server(), 4000
    running = gateway(
        server.source("orders", queue='max_events = 1000\nwhen_full = "drop_oldest"', rate=2000,
                      count=count) + nats.sink() + dead_nats.sink("dead", options=SMALL_WINDOW))
    nats.wait_count(count)
    dead_nats.start()
    dead_nats.wait_count(1000)
    arrived = wait_until_still(dead_nats.count)
    ledgers = running.stop_clean().ledgers()
    assert_numbered(nats.payloads(), count)
    assert ledgers["orders", "dead"].dropped == {"when_full": count - arrived}
    assert_consecutive(numbers(dead_nats.payloads())[-1000:], 1000, first=count - 1000)


# ---- many sources

def test_one_bad_subject_does_not_slow_the_others(event_server, nats_server, gateway):
    nats, server = nats_server(), event_server()
    good = [f"s{i:02}" for i in range(49)]
    nats.add_stream("GOOD", [f"events.{name}.>" for name in good])
    rate, count = 40, 120
    sources = "".join(server.source(name, rate=rate, count=count) for name in good)
    running = gateway(sources + server.source("bad", count=20000) +
                      nats.sink(sources=("*",),
                                options='max_in_flight = { events = 256, bytes = "1MiB" }'))
    begin = time.monotonic()
    nats.wait_count(len(good) * count, "GOOD")
    took = time.monotonic() - begin
    assert took < count / rate + 10, f"the good sources took {took:.1f} s"
    nats.add_stream("BAD", ["events.bad.>"])
    nats.wait_count(20000, "BAD")
    ledgers = running.stop_clean().ledgers()
    for name in good:
        ledger = ledgers[name, "bus"]
        assert (ledger.delivered, ledger.notes) == (count, {}), name
    for got in numbers_by_stream(nats.payloads("GOOD")).values():
        assert_consecutive(got, count)
    assert_consecutive(sorted(numbers(nats.payloads("BAD"))), 20000)


@pytest.mark.timeout(240)
def test_200_sources_and_a_dead_bus_stay_in_memory(event_server, nats, gateway):
    nats.kill()
    server = event_server(arguments=["--progress"])
    sources = "".join(server.source(f"s{i:03}", size=1000) for i in range(200))
    limit_mib = 32
    running = gateway(f'[gateway]\nmemory_limit = "{limit_mib}MiB"\nshutdown_timeout = "60s"\n' +
                      sources + nats.sink(sources=("*",)))
    wait_until(lambda: sent(server) * 1000 > limit_mib << 20, "as many events as the limit", 60)
    wait_until_still(lambda: sent(server), quiet=2, timeout=90)
    peak = running.memory_kib("VmHWM") >> 10
    print(f"200 sources, limit {limit_mib} MiB: peak {peak} MiB, now {running.memory_kib()} KiB")
    assert peak < limit_mib + 100
    nats.start()
    nats.wait_count(100_000, timeout=90)
    ledgers = running.stop_clean(90).ledgers()
    assert len(ledgers) == 200
    assert all(one.delivered == one.received > 0 and not one.dropped for one in ledgers.values())
    assert nats.count() == sum(one.delivered for one in ledgers.values())


# ---- order

SIZES = [900, 900, 900, 50, 50]


@pytest.mark.parametrize("order", ["strict", "relaxed"])
def test_order_on_a_nearly_full_stream(order, payload_server, nats_server, gateway):
    nats = nats_server()
    nats.add_stream(max_bytes=2900, discard="new")
    payloads = [bytes([ord("a") + i]) * size for i, size in enumerate(SIZES)]
    server = payload_server(payloads)
    running = gateway(server.source("orders") + nats.sink(options=f'order = "{order}"'))
    at_first = {"strict": [0, 1], "relaxed": [0, 1, 3, 4]}[order]
    nats.wait_count(len(at_first))
    running.wait_for(r"warn .*maximum bytes exceeded")
    assert_stands_still(nats.count, "the stream is full for the third event")
    assert nats.payloads() == [payloads[i] for i in at_first]
    nats.update_stream(max_bytes=100_000)
    nats.wait_count(len(SIZES))
    ledger = running.stop_clean().ledger("orders", "bus")
    later = [i for i in range(len(SIZES)) if i not in at_first]
    assert nats.payloads() == [payloads[i] for i in at_first + later]
    assert ledger.notes.get("reordered", 0) == (0 if order == "strict" else 1)


def test_strict_order_on_a_stream_that_fills_again_and_again(payload_server, nats_server, gateway):
    """Mixed sizes: a full stream refuses a large event and would take the small ones after it."""
    nats, seed = nats_server(), random.SystemRandom().getrandbits(32)
    print("seed", seed)
    sizes = random.Random(seed).choices([8, 100, 2000], k=2000)
    payloads = [b"%07d" % i + b"x" * size for i, size in enumerate(sizes)]
    nats.add_stream(max_bytes=20_000, discard="new")
    server = payload_server(payloads)
    running = gateway(server.source("orders") + nats.sink(options='order = "strict"'))
    for room in range(20_000, 400_000, 20_000):
        nats.update_stream(max_bytes=room)
        wait_until(lambda room=room: nats.state().bytes > room - 2300, "a full stream", 30)
    nats.update_stream(max_bytes=10_000_000)
    nats.wait_count(len(payloads))
    ledger = running.stop_clean().ledger("orders", "bus")
    assert nats.payloads() == payloads
    assert ledger.notes.get("reordered", 0) == 0


@pytest.mark.parametrize("version", ["current", "debian"])
def test_strict_order_through_503(version, event_server, nats_server, gateway):
    """The stream lets go of the subject in mid-window and takes it again, time after time."""
    nats, count = nats_server(binary=version), 20000
    nats.add_stream()
    server = event_server()
    options = 'order = "strict"\nretry = { initial = "1ms", max = "5ms" }'
    running = gateway(server.source("orders", rate=5000, count=count) + nats.sink(options=options))
    nats.wait_count(500)
    nats.switch_subjects(("elsewhere",), ("events.>",), times=60)
    nats.wait_count(count)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert_numbered(nats.payloads(), count)
    assert ledger.notes.get("retries"), ledger
    assert ledger.notes.get("reordered", 0) == 0


def test_strict_order_on_a_stream_made_anew(event_server, nats, gateway):
    server, count = event_server(), 6000
    running = gateway(server.source("orders", rate=2000, count=count) +
                      nats.sink(options='order = "strict"'))
    nats.wait_count(1000)
    nats.delete_stream()
    running.wait_for(r"warn  sink bus: |warn .*orders -> bus")
    nats.add_stream()

    def last():
        state = nats.state()
        return state.messages > 0 and parse_payload(nats.last_payload())[1] == count - 1
    wait_until(last, "the last event", 60, 0.1)
    ledger = running.stop_clean().ledger("orders", "bus")
    got = numbers(nats.payloads())
    assert_consecutive(got, count - got[0], first=got[0])
    assert got[0] >= 1000, "what the old stream had is not sent again"
    assert ledger.delivered == count


def test_strict_order_beside_another_writer(event_server, nats, gateway):
    """The chain of ids does not hold where somebody else writes; the order must."""
    one, two, count = event_server(name="one"), event_server(name="two"), 1500
    running = gateway(one.source("orders", rate=1000, count=count) +
                      two.source("clicks", rate=1000, count=count) +
                      nats.sink(options='order = "strict"') +
                      nats.sink("other", sources=("clicks",)))
    nats.wait_count(2 * count)
    running.stop_clean()
    streams = numbers_by_stream(m.data for m in nats.read() if m.subject == "events.orders.orders")
    assert len(streams) == 1
    assert_consecutive(next(iter(streams.values())), count)


# ---- one stream, two sinks

def test_two_sinks_into_one_stream(event_server, nats, gateway):
    server, count = event_server(), 500
    both = 'msg_id = "{id}-{sink}"'
    running = gateway(server.source("orders", count=count) +
                      nats.sink("one", subject="events.one", options=both) +
                      nats.sink("two", subject="events.two", options=both))
    nats.wait_count(2 * count)
    running.stop_clean()
    by_subject = {}
    for message in nats.read():
        by_subject.setdefault(message.subject, []).append(message.data)
    assert set(by_subject) == {"events.one", "events.two"}
    for payloads in by_subject.values():
        assert_numbered(payloads, count)


def test_two_sinks_of_one_id_are_told(event_server, nats, gateway):
    """With the id alone the second copy is a duplicate for JetStream: counted apart, and logged."""
    server, count = event_server(), 500
    running = gateway(server.source("orders", rate=500, count=count) + nats.sink("one") +
                      nats.sink("two", subject="events.two"))
    nats.wait_count(count)
    running.wait_for("warn .*orders -> (one|two): the bus had event .* before it was sent")
    ledgers = running.stop_clean().ledgers()
    assert nats.count() == count
    notes = [one.notes.get("duplicates at the first attempt", 0) for one in ledgers.values()]
    assert sum(notes) == count


# ---- an event that the bus never takes

def test_too_large_for_nats_is_rejected_alone(payload_server, nats_server, gateway):
    nats = nats_server("max_payload: 65536")
    nats.add_stream()
    small = [b"%d" % i for i in range(100)]
    server = payload_server([*small[:50], b"x" * 100_000, *small[50:]])
    running = gateway(server.source("orders") + nats.sink())
    nats.wait_count(100)
    running.wait_for(r"(?i)max_payload|maximum payload")
    ledger = running.stop_clean().ledger("orders", "bus")
    assert nats.payloads() == small
    assert (ledger.received, ledger.delivered) == (101, 100)
    assert (ledger.dead_lettered, ledger.dropped) == (1, {})


@pytest.mark.parametrize("order", ["relaxed", "strict"])
def test_too_large_for_the_topic_is_rejected_alone(order, payload_server, kafka, gateway):
    topic = kafka.add_topic(f"small-records-{order}", max_message_bytes=20000)
    small = [b"%d" % i for i in range(100)]
    server = payload_server([*small[:50], os.urandom(30_000), *small[50:]])
    running = gateway(server.source("orders") +
                      kafka.sink(topic, options=f'order = "{order}"'))
    kafka.wait_count(100, topic)
    running.wait_for(r"max\.message\.bytes")
    ledger = running.stop_clean().ledger("orders", "lake")
    assert kafka.values(topic) == small
    assert (ledger.dead_lettered, ledger.dropped) == (1, {})


def test_what_is_no_json_is_dead_lettered_alone(payload_server, nats, gateway):
    server = payload_server([b'{"a":1}', b'{"a":', b'{"a":2}'])
    running = gateway(server.source("orders", options="insecure = true\njson_body = true") +
                      nats.sink(message_format="cloudevents"))
    nats.wait_count(2)
    running.wait_for(r"not JSON")
    ledger = running.stop_clean().ledger("orders", "bus")
    assert [json.loads(data)["data"] for data in nats.payloads()] == [{"a": 1}, {"a": 2}]
    assert (ledger.delivered, ledger.dead_lettered, ledger.dropped) == (2, 1, {})
