"""SIGTERM under load while the bus is away."""

import time

import pytest

from lives import Lives

WAYS = {"kill": "kill nats-server", "freeze": "SIGSTOP nats-server"}


@pytest.fixture(params=WAYS)
def how(request):
    return request.param


def under_load(lives, bus, how):
    """The bus goes away, and more is received."""
    lives.begin()
    lives.wait_acked(500)
    getattr(bus, how)()
    received = lives.received()
    lives.wait_received(received + 500)


def back(bus, how):
    bus.start() if how == "kill" else bus.thaw()


def timed_stop(gateway):
    begin = time.monotonic()
    code = gateway.stop()
    return code, time.monotonic() - begin


def test_queue_in_memory(how, tmp_path, start, witness, nats, report):
    """Ends at shutdown_timeout with status 1 and says what was not delivered; none of that was
    acknowledged."""
    lives = Lives(tmp_path, start, witness, nats.sink(), report.seed,
                  settings='shutdown_timeout = "2s"')
    under_load(lives, nats, how)
    code, took = timed_stop(lives.gateway)
    ledger = lives.gateway.ledger("orders", "bus")
    assert code == 1
    assert 1.5 < took < 8, f"the stop took {took:.1f} s with shutdown_timeout = 2s"
    assert ledger.pending >= 500
    assert f"{ledger.pending} events were not delivered and are lost" in lives.gateway.text()
    back(nats, how)
    records = witness.drain()
    assert len(records.acked["orders"]) == ledger.delivered + ledger.dead_lettered
    report.judge(records, nats.payloads(), dead=lives.gateway.dead_letters(), max_duplicates=0,
                 faults={WAYS[how]: 1, "SIGTERM": 1})


def test_queue_on_disk(how, tmp_path, start, witness, nats, report):
    """Ends with status 0, at once if the bus is known to be gone, and all that was stored arrives
    after the next start."""
    timeout = {"kill": 20, "freeze": 2}[how]  # frozen: it may answer yet
    lives = Lives(tmp_path, start, witness, nats.sink(), report.seed, "disk",
                  settings=f'shutdown_timeout = "{timeout}s"')
    under_load(lives, nats, how)
    code, took = timed_stop(lives.gateway)
    ledger = lives.gateway.ledger("orders", "bus")
    assert code == 0
    assert took < 5, f"the stop took {took:.1f} s"
    assert ledger.pending >= 500
    assert f"{ledger.pending} events are on disk and go on at the next start" in \
        lives.gateway.text()
    back(nats, how)
    lives.begin()
    records = lives.finish()
    report.judge(records, nats.payloads(), gateway=lives.gateway, max_duplicates=0,
                 faults={WAYS[how]: 1, "SIGTERM": 1})
