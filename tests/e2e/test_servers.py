"""What event servers do, of each language that is built from the published contract alone."""


import pytest

from harness.event_server import LANGUAGES, assert_consecutive, assert_numbered, numbers_by_stream
from harness.monitor import LISTEN, Monitor

pytestmark = pytest.mark.parametrize("language", LANGUAGES)

LIMIT = 4 * 1024 * 1024  # of a message, with the source's name in it, as Argo's own client has it
OVERHEAD = 1 + 1 + len("orders") + 1 + 4  # two tags, two lengths, the name


@pytest.fixture
def big_nats(nats_server):
    """A bus that takes messages of 8 MiB."""
    server = nats_server("max_payload: 8388608")
    server.add_stream()
    return server


def oversized(gateway):
    name = "penstock_plugin_generic_oversize_total"
    return Monitor(gateway).metrics()[name, {"source": "orders"}]


def test_closes_the_stream_after_each_event(language, event_server, nats, gateway):
    count = 10
    server = event_server(language)
    running = gateway(server.source("orders", close_after=1, resume=True) + nats.sink())
    nats.wait_count(count)
    running.stop_clean()
    streams = numbers_by_stream(nats.payloads())
    assert all(len(numbers) == 1 for numbers in streams.values())
    assert_consecutive([numbers[0] for numbers in streams.values()], len(streams))


def test_closes_the_stream_with_an_error(language, event_server, nats, gateway):
    count = 30
    server = event_server(language)
    running = gateway(server.source("orders", close_after=3, resume=True, status="UNAVAILABLE") +
                      nats.sink())
    nats.wait_count(count)
    running.stop_clean()
    streams = numbers_by_stream(nats.payloads())
    assert_consecutive([n for numbers in streams.values() for n in numbers],
                       3 * len(streams))


def test_sends_bursts(language, event_server, nats, gateway):
    """A thousand at once, every quarter of a second."""
    count = 5000
    server = event_server(language)
    running = gateway(server.source("orders", count=count, rate=4000, burst=1000, size=1000) +
                      nats.sink())
    nats.wait_count(count)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert (ledger.received, ledger.delivered) == (count, count)
    assert_numbered(nats.payloads(), count)


def test_is_idle(language, event_server, nats, gateway):
    """For longer than idle_timeout, time and again: each stream is left, and the next one goes on
    where it ended."""
    server = event_server(language)
    options = 'insecure = true\nidle_timeout = "300ms"'
    running = gateway(server.source("orders", options=options, count=3, resume=True) + nats.sink())
    nats.wait_count(12)
    running.wait_for("no event within idle_timeout")
    running.stop_clean()
    streams = numbers_by_stream(nats.payloads())
    assert all(len(numbers) == 3 for numbers in streams.values())
    assert_consecutive([n for numbers in streams.values() for n in numbers], 3 * len(streams))


@pytest.mark.full
def test_is_idle_and_asked_for_signs_of_life(language, event_server, nats, gateway):
    """Servers end a quiet stream that is asked too often; events go on all the same."""
    server = event_server(language)
    options = 'insecure = true\nkeepalive_time = "5s"'
    running = gateway(server.source("orders", options=options, count=1, resume=True) + nats.sink())
    nats.wait_count(2, timeout=90)
    running.wait_for("(?i)too_many_pings|too many pings")
    running.stop_clean()
    streams = numbers_by_stream(nats.payloads())
    assert_consecutive([n for numbers in streams.values() for n in numbers], len(streams))


def test_sends_empty_payloads(language, event_server, nats, gateway):
    count = 200
    server = event_server(language)
    running = gateway(server.source("orders", count=count, size=0) + nats.sink())
    nats.wait_count(count)
    running.stop_clean()
    assert nats.payloads() == [b""] * count


def test_sends_payloads_that_just_fit(language, event_server, big_nats, gateway):
    count, size = 4, LIMIT - OVERHEAD
    server = event_server(language)
    running = gateway(server.source("orders", count=count, size=size) + big_nats.sink())
    big_nats.wait_count(count)
    running.stop_clean()
    payloads = big_nats.payloads()
    assert {len(payload) for payload in payloads} == {size}
    assert_numbered(payloads, count)


@pytest.mark.parametrize("size", [LIMIT - OVERHEAD + 1, 5 * 1024 * 1024], ids=["4MiB+1", "5MiB"])
def test_sends_a_payload_over_the_limit(size, language, event_server, big_nats, gateway):
    """It is named, counted and left out; the others are delivered, by the same stream."""
    server = event_server(language)
    running = gateway(f"[gateway]\n{LISTEN}" + big_nats.sink() + server.source(
        "orders", count=20, oversize_at=10, oversize_size=size))
    running.wait_for(r"error source orders: an event of \d+ bytes is larger than "
                     r"max_message_size = 4194304 bytes and was left out; raise max_message_size")
    big_nats.wait_count(19)
    assert oversized(running) == 1
    running.stop_clean()
    assert len(server.streams()) == 1
    numbers, = numbers_by_stream(big_nats.payloads()).values()
    assert numbers == [*range(10), *range(11, 20)]


def test_sends_large_payloads_when_they_are_wanted(language, event_server, big_nats, gateway):
    server = event_server(language)
    options = 'insecure = true\nmax_message_size = "8MiB"'
    running = gateway(server.source("orders", options=options, count=3, oversize_at=1) +
                      big_nats.sink())
    big_nats.wait_count(3)
    running.stop_clean()
    payloads = big_nats.payloads()
    assert [len(payload) for payload in payloads] == [256, 5 * 1024 * 1024, 256]
    assert_numbered(payloads, 3)
