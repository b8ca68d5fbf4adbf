"""The contract's own window: what the server has sent, the gateway had not stored, and a kill -9 of
the gateway therefore loses. The server says how many of its Write calls went well, the bus after a
restart what was stored."""

import dataclasses
import pathlib
import random
import re
import statistics
import tempfile
import time

import pytest

from conftest import FULL
from harness.event_server import EventServer, parse_payload
from harness.gateway import Gateway
from harness.process import free_port, wait_until

KIB, MIB = 1024, 1024 * 1024
READ_AHEAD = 512 * KIB  # the default
COMMIT = 2 * MIB  # that wait for a commit: twice commit.bytes, one being written
HINTED = 64 * KIB  # what gRPC gathers in the server for a Write with the hint that more follow
MEMORY_QUEUE = 16384  # events; in memory all that no sink has settled is lost too
AHEAD = 3  # events beyond the bounds: the last of a batch, the next one, and one in pieces
PER_EVENT = 64  # bytes around a payload, at most


@dataclasses.dataclass
class Cell:
    """What runs, and what a kill may lose of it."""
    size: int
    rate: int = 0
    storage: str = "disk"
    read_ahead: int = 0  # 0: the default
    hinted: bool = False
    frozen: bool = False  # stopped until the server can send no more, then killed
    full: bool = False  # the bus is away and the queue has no room: the source waits in emit
    planned: bool = False  # SIGTERM in place of the kill
    adaptive: bool = False
    seconds: float = 0.4  # of a life, at most

    def bound(self):
        """Bytes, as docs/delivery.md has it."""
        window = 32 * MIB + 256 * KIB if self.adaptive else self.read_ahead or READ_AHEAD
        waits = COMMIT if self.storage == "disk" else MEMORY_QUEUE * self.size
        if self.full or self.planned:
            waits = 0
        hinted = HINTED if self.hinted else 0
        return window + waits + hinted + AHEAD * (self.size + PER_EVENT)


FULL_QUEUE = 2000  # events


class Lives:
    """Gateways that are killed, each with a queue of its own."""

    def __init__(self, cell, tmp_path, start, nats, seed):
        self.cell, self.start, self.nats = cell, start, nats
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=tmp_path))
        self.choose = random.Random(seed)
        words = ["--progress"] + ([] if cell.hinted else ["--unbuffered"])
        self.server = start(EventServer(self.directory, arguments=words))
        self.lives = 0

    def gateway(self, port):
        name = f"gateway-{self.lives}"
        queue = f'storage = "{self.cell.storage}"'
        if self.cell.full:
            queue += f"\nmax_events = {FULL_QUEUE}"
        options = "insecure = true\nreconnect = { initial = \"1h\", max = \"1h\" }\n"
        if self.cell.read_ahead:
            options += f"read_ahead = {self.cell.read_ahead}\n"
        if self.cell.adaptive:
            options += "adaptive_window = true\n"
        stream = {"size": self.cell.size, **({"rate": self.cell.rate} if self.cell.rate else {})}
        source = self.server.source("orders", queue, options, **stream)
        source = source.replace(self.server.url, f"127.0.0.1:{port}")
        table = '[gateway]\nadmin_socket = "none"\n'
        return Gateway(self.directory, table + source + self.nats.sink(), name)

    def lose(self):
        """One life. How many events the server had sent and the bus never gets."""
        self.lives += 1
        stream = self.lives
        if self.cell.full:
            self.nats.kill()
        gateway = self.start(self.gateway(self.server.port))
        self.server.wait_for(rf"^SENT {stream} ")
        time.sleep(self.choose.uniform(0.05, self.cell.seconds))  # any moment
        if self.cell.frozen:
            gateway.freeze()
        if self.cell.frozen or self.cell.full:
            self.wait_stuck()
        if self.cell.planned:
            gateway.stop()
        gateway.kill()
        if self.cell.full:
            self.nats.start()
        sent = int(self.server.wait_for(rf"^END {stream} sent=(\d+)")[1])
        if self.cell.storage == "disk":
            self.deliver()
        return sent - self.arrived(stream)

    def deliver(self):
        """What is stored goes to the bus, and nothing new comes."""
        gateway = self.start(self.gateway(free_port()))  # where nobody listens
        stored = re.search(r"recovered (\d+) events of source orders, from offset (\d+)",
                           gateway.text())
        if stored:
            self.nats.wait_count(int(stored[1]) + int(stored[2]))
        # What the bus had before the kill may still wait for a receipt.
        assert gateway.stop() == 0

    def wait_stuck(self):
        """Until the server has said nothing for a while: it waits in Write."""
        seen = [self.server.written(), time.monotonic()]

        def stuck():
            if self.server.written() != seen[0]:
                seen[:] = [self.server.written(), time.monotonic()]
            return time.monotonic() - seen[1] > 0.5
        wait_until(stuck, "the server still sends")

    def settled(self, count):
        """The count once it stands still. On disk it was waited for."""
        while self.cell.storage == "memory":
            time.sleep(0.2)
            before, count = count, self.nats.count()
            if before == count:
                break
        return count

    def arrived(self, stream):
        """Events of the stream on the bus: all of them up to the last one, each once."""
        found = {}

        def whole():
            # The server may still be storing what a killed gateway has sent it.
            count = found["count"] = self.nats.count()
            if count == 0:
                return True
            name, found["last"] = parse_payload(self.nats.last_payload())
            assert name.endswith(f"-{stream}"), (name, stream)
            return count == found["last"] + 1
        wait_until(whole, lambda: f"events on the bus with gaps or twice: {found}", timeout=10)
        count = self.settled(found["count"])
        self.nats.delete_stream()
        self.nats.add_stream()
        return count


def measured(cell, kills, tmp_path, start, nats, report):
    lives = Lives(cell, tmp_path, start, nats, report.seed)
    lost = [lives.lose() for _ in range(kills)]
    print(f"lost of {cell}: median {statistics.median(lost):g}, maximum {max(lost)} events, "
          f"{max(lost) * cell.size / KIB:.0f} KiB of payload; bound {cell.bound() / KIB:.0f} KiB")
    return lost


def judged(cell, kills, tmp_path, start, nats, report):
    lost = measured(cell, kills, tmp_path, start, nats, report)
    over = [n for n in lost if n * cell.size > cell.bound()]
    fault = "SIGTERM gateway" if cell.planned else "kill gateway"
    report.add(not over, {fault: kills}, window=sum(lost),
               findings=[f"{n} events of {cell.size} B, bound {cell.bound()} B" for n in over])
    return lost


KILLS = 20 if FULL else 2
QUICK = {
    "1,000 a second": Cell(256, rate=1000),
    "full speed": Cell(256),
    "full speed, 16 KiB": Cell(16 * KIB, seconds=0.15),
}
ONLY_FULL = {
    "1,000 a second, 16 KiB": Cell(16 * KIB, rate=1000),
    "full speed, hinted": Cell(256, hinted=True),
    "full speed, adaptive window": Cell(256, adaptive=True),
    "full speed, 16 KiB, adaptive window": Cell(16 * KIB, adaptive=True, seconds=0.15),
    "in memory, 1,000 a second": Cell(256, rate=1000, storage="memory"),
    "in memory, full speed": Cell(256, storage="memory"),
    "frozen": Cell(256, frozen=True),
    "frozen, 16 KiB": Cell(16 * KIB, frozen=True, seconds=0.15),
}
CELLS = [pytest.param(cell, id=name) for name, cell in QUICK.items()]
CELLS += [pytest.param(cell, id=name, marks=pytest.mark.full) for name, cell in ONLY_FULL.items()]


@pytest.mark.parametrize("cell", CELLS)
def test_a_kill_loses_no_more_than_the_window(cell, tmp_path, start, nats, report):
    judged(cell, KILLS, tmp_path, start, nats, report)


def test_read_ahead_bounds_what_a_full_queue_leaves_unread(tmp_path, start, nats, report):
    """Nothing waits for a commit then: the window is what the source and the network hold."""
    small = judged(Cell(256, full=True, read_ahead=16 * KIB), 1, tmp_path, start, nats, report)
    usual = judged(Cell(256, full=True), 1, tmp_path, start, nats, report)
    assert usual[0] * 256 > Cell(256, full=True, read_ahead=16 * KIB).bound(), (small, usual)


@pytest.mark.parametrize("cell", [
    pytest.param(Cell(256, rate=1000, planned=True), id="1,000 a second"),
    pytest.param(Cell(256, planned=True), id="full speed"),
    pytest.param(Cell(256, planned=True, storage="memory"), id="full speed, in memory"),
])
def test_a_planned_stop_loses_no_more_than_the_read_ahead(cell, tmp_path, start, nats, report):
    judged(cell, KILLS, tmp_path, start, nats, report)
