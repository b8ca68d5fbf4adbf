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
            config = f'[gateway]\nstate_dir = "{tmp_path / "state"}"\n' + config
        self.choose = random.Random(SEED)
        self.gateway = Gateway(tmp_path, config, plugin_dirs=(harness.PLUGINS, PLUGINS))
        self.start = start

    def run(self, kills, events=300):
        """Each life ends somewhere in its first second, after some acknowledgements."""
        print("seed", SEED)
        for life in range(kills + 1):
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


@pytest.mark.parametrize("kills", [5, pytest.param(40, marks=pytest.mark.full)])
@pytest.mark.parametrize("order", ["relaxed", "strict"])
def test_memory_to_jetstream(order, kills, tmp_path, start, witness, nats):
    """Acknowledged once every sink has it: a kill loses what was on its way, and nothing else."""
    lives = Lives(tmp_path, start, witness, nats.sink(options=f'order = "{order}"'))
    records = lives.run(kills)
    judged(records, nats.payloads(), max_duplicates=0, strict=order == "strict")


@pytest.mark.parametrize("kills", [5, pytest.param(40, marks=pytest.mark.full)])
def test_memory_to_the_sink_witness(kills, tmp_path, start, witness):
    bus = witness.sink(retry_percent=3, unknown_percent=3)
    records = Lives(tmp_path, start, witness, bus).run(kills)
    judged(records, of_sink(records.delivered, "out"))
