"""kill -9 of the gateway at random moments: what it acknowledged is on the bus."""

import random
import time

import pytest

from conftest import PLUGINS
from harness import gateway as harness
from harness.gateway import Gateway
from verdict import judge, of_sink

SEED = random.SystemRandom().getrandbits(32)


class Lives:
    """One gateway after the other, each killed, the last one ended in peace."""

    def __init__(self, tmp_path, start, witness, bus, storage="memory", **source):
        self.witness, self.next_file = witness, tmp_path / "next"
        source = {"rate": 3000, "seed": SEED, **source}
        queue = f'storage = "{storage}"'
        config = witness.source("orders", self.next_file, queue, **source) + bus
        if storage == "disk":
            (tmp_path / "state").mkdir()
            config = f'[gateway]\nstate_dir = "{tmp_path / "state"}"\n' + config
        self.choose = random.Random(SEED)
        self.gateway = Gateway(tmp_path, config, plugin_dirs=(harness.PLUGINS, PLUGINS))
        self.start = start

    def run(self, kills, events=300, last=None):
        """Each life ends after some acknowledgements; last() is called before the last one."""
        print("seed", SEED)
        for life in range(kills + 1):
            if life == kills and last:
                last()
            before = len(self.witness.drain().acked.get("orders", []))
            self.witness.keep_next("orders", self.next_file)
            self.start(self.gateway) if life == 0 else self.gateway.start()
            if life == kills:
                break
            self.witness.wait_acked("orders", before + self.choose.randrange(events))
            time.sleep(self.choose.uniform(0, 0.02))  # where in a batch it strikes
            self.gateway.kill()
        self.witness.wait_acked("orders", before + events)
        self.gateway.stop_clean()
        return self.witness.drain()


def judged(records, arrived, **options):
    result = judge(records.emitted, records.acked, arrived, **options)
    print(result.table())
    assert result.good(), result.findings()
    return result.rows["orders"]


KILLS = pytest.mark.parametrize("kills", [5, pytest.param(40, marks=pytest.mark.full)])
ORDER = pytest.mark.parametrize("order", ["relaxed", "strict"])
STORAGE = pytest.mark.parametrize("storage", ["memory", "disk"])


@KILLS
@ORDER
@STORAGE
def test_to_jetstream(storage, order, kills, tmp_path, start, witness, nats):
    """Acknowledged: in memory once every sink has it, on disk once it is stored."""
    lives = Lives(tmp_path, start, witness, nats.sink(options=f'order = "{order}"'), storage)
    records = lives.run(kills)
    judged(records, nats.payloads(), max_duplicates=0, strict=order == "strict")


@KILLS
@STORAGE
def test_to_the_sink_witness(storage, kills, tmp_path, start, witness):
    bus = witness.sink(retry_percent=3, unknown_percent=3)
    records = Lives(tmp_path, start, witness, bus, storage).run(kills)
    judged(records, of_sink(records.delivered, "out"))


@KILLS
def test_a_dead_bus_comes_back(kills, tmp_path, start, witness, nats):
    """Lives that deliver nothing leave all that they acknowledged to the last one."""
    nats.kill()
    lives = Lives(tmp_path, start, witness, nats.sink(), "disk")
    records = lives.run(kills, last=nats.start)
    row = judged(records, nats.payloads(), max_duplicates=0)
    assert row.acked > 0
