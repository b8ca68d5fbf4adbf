"""One run of one contender: its directory, its servers, and their end."""

import contextlib
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

from bus import JetStream, Kafka
from clients import make_client
from servers import Server


class Stage:
    """Starts what a run needs, and ends all of it. `kafka`: a broker that several runs share."""

    def __init__(self, work, seed, kafka=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=work))
        self.choose = random.Random(seed)
        self.seed, self.shared_kafka = seed, kafka
        self.ends = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind:
            print(self.last_words(), file=sys.stderr, flush=True)
        self.ends.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, process):
        self.ends.callback(self.end, process)
        return process.start()

    @staticmethod
    def end(process):
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    def jetstream(self):
        bus = JetStream(self.directory)
        self.ends.callback(self.end, bus)
        return bus.start()

    def kafka(self):
        """A broker of this run, or a new topic on the shared one."""
        if self.shared_kafka:
            return self.shared_kafka.with_new_topic()
        bus = Kafka()
        self.ends.callback(bus.close)
        return bus

    def bus(self, kind):
        return self.jetstream() if kind == "jetstream" else self.kafka()

    def server(self, **flags):
        return self.start(Server(self.directory, self.seed, **flags))

    def client(self, contender, server, bus):
        return self.start(make_client(contender, self.directory, server, bus))

    def kept(self, client):
        kept = Kept(client)
        self.ends.callback(kept.stop)
        return kept

    def last_words(self):
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"{log.name}:\n" + "\n".join(log.read_text(errors="replace")
                                                      .splitlines()[-12:]) for log in logs)


class Kept:
    """Keeps a client running as Kubernetes would: started again one second after it ended."""

    PAUSE = 1.0

    def __init__(self, client):
        self.client, self.exits = client, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.stopping.wait(0.05):
            if self.client.process is None or self.client.runs():
                continue
            if self.stopping.is_set():
                return
            self.exits.append(self.client.process.returncode)
            self.client.process = None
            if self.stopping.wait(self.PAUSE):
                return
            self.client.start()

    def stop(self):
        """From here on it is not started again. Exit statuses until now."""
        self.stopping.set()
        self.thread.join()
        return self.exits


def settled(bus, wanted, quiet, timeout=120.0):
    """Waits until the bus has so many events, or none new for `quiet` seconds; how many it has."""
    end, last, since = time.monotonic() + timeout, -1, time.monotonic()
    while True:
        count, now = bus.count(), time.monotonic()
        if count != last:
            last, since = count, now
        if count >= wanted or now - since > quiet:
            return count
        assert now < end, f"the bus has no rest: {count} events of {wanted}"
        time.sleep(0.25)
