"""Argo Events' own event source and Sensor (tests/argo/build), started by tests."""

import base64
import dataclasses
import json
import os
import pathlib

from harness.process import ROOT, Process, wait_until

PROGRAMS = pathlib.Path(os.environ.get("PENSTOCK_ARGO") or ROOT / "build" / "argo")
LOG = {"LOG_LEVEL": "error"}
GRAFT_LOG = pathlib.Path("/tmp/graft.log")  # where a whole Sensor on JetStream keeps its vote


class ArgoEventSource(Process):
    """It connects to the event server 5 s after its start, and ends by kill() only."""

    def __init__(self, directory, bus, server, source):
        metadata = [word for pair in source.metadata.items()
                    for word in ("--metadata", "=".join(pair))]
        super().__init__(f"argo-{source.name}", [
            PROGRAMS / "argo-eventsource", *bus.flags(), "--url", server.url, "--event-source",
            source.name, "--event-name", source.event, *["--json-body"] * source.json_body,
            *metadata], directory, LOG)


@dataclasses.dataclass
class Dispatched:
    id: str
    source: str
    subject: str
    type: str
    time: str
    datacontenttype: str
    data: bytes
    extensions: dict = dataclasses.field(default_factory=dict)


class ArgoSensor(Process):
    """Runs once it can miss nothing that comes later; what came before it never gets."""

    def __init__(self, directory, bus, source, whole=False):
        self.sensor, self.whole = f"sensor-{source.name}", whole
        super().__init__(self.sensor, [
            PROGRAMS / "argo-sensor", *bus.flags(), "--name", self.sensor, "--event-source",
            source.name, "--event-name", source.event, *["--whole"] * whole], directory, LOG)

    def start(self):
        super().start()
        self.wait_for("^READY$", timeout=60)
        return self

    def kill(self):
        super().kill()
        if self.whole:
            GRAFT_LOG.unlink(missing_ok=True)

    def dispatched(self):
        """The events so far; its log is in the same file."""
        lines = [line for line in self.log.read_bytes().split(b"\n")[:-1]
                 if line.startswith(b'{"id":')]
        return [Dispatched(**{**event, "data": base64.b64decode(event["data"])})
                for event in map(json.loads, lines)]

    def wait_dispatched(self, count, timeout=60.0):
        """At least so many."""
        def counted():
            return self.log.read_bytes().count(b'\n{"id":')
        wait_until(lambda: counted() >= count,
                   lambda: f"{count} events, {counted()} came to {self.tail()}", timeout, 0.1)
        return self.dispatched()
