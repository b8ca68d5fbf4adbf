"""Reloads in quick succession, under load and with kills among them: nothing is lost or doubled."""

import contextlib
import os
import pathlib
import random
import signal
import threading

import pytest

from conftest import FULL
from lives import Gateway, Lives, NumberedServer
from verdict import GAPLESS

KILLS = 20 if FULL else 3
RELOADS = 40 if FULL else 6
STORAGE = pytest.mark.parametrize("storage", ["memory", "disk"])


def takes_signals(pid):
    """Whether the gateway has got so far that it reads SIGHUP instead of dying of it."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigBlk:"):
                return int(line.split()[1], 16) >> (signal.SIGHUP - 1) & 1 == 1
    return False


class Reloads:
    """Another configuration and SIGHUP, again and again, whatever life the gateway is in.
    tables: what is changed, as a function of how many reloads there were."""

    def __init__(self, gateway, seed, tables):
        self.gateway, self.tables = gateway, tables
        self.choose = random.Random(seed)
        self.kept = gateway.config.read_text().replace(tables(0), "@CHANGES@")
        assert "@CHANGES@" in self.kept
        self.done, self.stopping = 0, threading.Event()
        self.thread = threading.Thread(target=self._work)

    def once(self):
        self.done += 1
        fresh = self.gateway.config.with_suffix(".new")
        fresh.write_text(self.kept.replace("@CHANGES@", self.tables(self.done)))
        fresh.replace(self.gateway.config)
        process = self.gateway.process
        if process is not None and takes_signals(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGHUP)

    def _work(self):
        while not self.stopping.wait(self.choose.uniform(0.02, 0.3)):
            self.once()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


@pytest.mark.parametrize("order", ["relaxed", "strict"])
@STORAGE
def test_of_the_sink_with_kills(storage, order, tmp_path, start, witness, nats, report):
    """Each reload makes the sink anew, so that its cursor goes over in the middle of a window."""
    def sink(n):
        return nats.sink(options=f'order = "{order}"\nheaders = {{ reload = "{n}" }}')
    lives = Lives(tmp_path, start, witness, sink(0), report.seed, storage)
    with Reloads(lives.gateway, report.seed, sink) as reloads:
        for _ in range(KILLS):
            lives.kill_under_load(2000)
    lives.begin()
    for _ in range(RELOADS):
        lives.wait_acked(lives.choose.randrange(1, 500))
        reloads.once()
    records = lives.finish()
    assert lives.gateway.text().count("reloaded: sink bus made anew") > RELOADS / 2
    report.judge(records, nats.payloads(), gateway=lives.gateway, since=lives.since,
                 faults={"kill gateway": KILLS, "reload": reloads.done}, max_duplicates=0,
                 strict=order == "strict")


@STORAGE
def test_of_the_source(storage, tmp_path, start, witness, nats, report):
    """Each stream arrives without a gap, up to where it was ended."""
    choose = random.Random(report.seed)
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=3000))

    def source(n):
        return server.source("orders", f'storage = "{storage}"',
                             options=f'insecure = true\nkeepalive_time = "{n + 20}s"')
    bus = nats.sink(options='order = "strict"')
    gateway = start(Gateway(tmp_path, source(0) + bus))
    reloads = Reloads(gateway, report.seed, source)
    for _ in range(RELOADS):
        nats.wait_count(nats.count() + choose.randrange(1, 300))
        reloads.once()
    gateway.wait_for(f"(?s)(reloaded: source orders made anew.*){{{RELOADS // 2}}}")
    nats.wait_count(nats.count() + 300)
    gateway.stop_clean()
    server.stop()
    report.judge(witness.drain(), nats.payloads(), gateway=gateway, owed=GAPLESS, strict=True,
                 faults={"reload": reloads.done}, max_duplicates=0)


@STORAGE
def test_to_kafka(storage, tmp_path, start, witness, kafka, topic, report):
    """No kills: the old producer is waited for, so nothing is there twice."""
    def sink(n):
        return kafka.sink(topic, options=f'headers = {{ reload = "{n}" }}')
    lives = Lives(tmp_path, start, witness, sink(0), report.seed, storage)
    lives.begin()
    reloads = Reloads(lives.gateway, report.seed, sink)
    for _ in range(RELOADS):
        lives.wait_acked(lives.choose.randrange(1, 500))
        reloads.once()
    records = lives.finish()
    report.judge(records, kafka.values(topic), gateway=lives.gateway, since=lives.since,
                 faults={"reload": reloads.done}, max_duplicates=0)
