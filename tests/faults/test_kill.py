"""kill -9 of the gateway at random moments: what it acknowledged is on the bus."""

import pytest

from conftest import FULL
from lives import Lives
from verdict import of_sink

KILLS = 30 if FULL else 4
ORDER = pytest.mark.parametrize("order", ["relaxed", "strict"])
STORAGE = pytest.mark.parametrize("storage", ["memory", "disk"])


def judged(report, lives, records, arrived, kills, **options):
    return report.judge(records, arrived, gateway=lives.gateway, since=lives.since,
                        faults={"kill gateway": kills}, **options)


@ORDER
@STORAGE
def test_to_jetstream(storage, order, tmp_path, start, witness, nats, report):
    """Acknowledged: in memory once every sink has it, on disk once it is stored."""
    lives = Lives(tmp_path, start, witness, nats.sink(options=f'order = "{order}"'), report.seed,
                  storage)
    records = lives.run(KILLS)
    judged(report, lives, records, nats.payloads(), KILLS, max_duplicates=0,
           strict=order == "strict")


@STORAGE
def test_to_the_sink_witness(storage, tmp_path, start, witness, report):
    """A bus that refuses and rejects some, and leaves others without an answer."""
    bus = witness.sink(retry_percent=3, unknown_percent=3, reject_percent=1)
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage)
    records = lives.run(KILLS)
    verdict = judged(report, lives, records, of_sink(records.delivered, "out"), KILLS)
    assert verdict.rows["orders"].dead > 0


def test_a_dead_bus_comes_back(tmp_path, start, witness, nats, report):
    """Lives that deliver nothing leave all that they acknowledged to the last one."""
    nats.kill()
    lives = Lives(tmp_path, start, witness, nats.sink(), report.seed, "disk")
    records = lives.run(KILLS, last=nats.start)
    verdict = judged(report, lives, records, nats.payloads(), KILLS, max_duplicates=0)
    assert verdict.rows["orders"].acked > 0
