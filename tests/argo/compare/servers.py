"""The event servers: tests/servers/cpp, with payloads that can be counted, and the bench's."""

import re

from harness.event_server import EventServer
from harness.process import BUILD, Process

EVENT = "created"  # both clients call it so, and the server's payloads say it


class Server(EventServer):
    """Numbered payloads, checked by tests/faults/verdict.py; those of each connection are a source
    of their own, `created/2-1`: the first connection of its second life. flags: of tests/servers,
    for each connection."""

    config = "none"  # what the client is to say; this server leaves it alone

    def __init__(self, directory, seed, payloads="numbered", size=256, **flags):
        words = [f"--{payloads}", "--size", size, "--seed", seed, "--progress"]
        for name, value in flags.items():
            words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
        super().__init__(directory, name="server", arguments=words)
        self.flags, self.begun = list(self.command), 0

    def begin(self):
        """start() that does not wait until it listens."""
        self.begun += 1
        self.command = [*self.flags, "--id", str(self.begun)]
        return super(EventServer, self).start()

    def start(self):
        self.begin()
        self.wait_for(r"^PORT \d+", timeout=60)
        return self

    def handed_over(self):
        """{source: [(1, how many events gRPC took)]}, of the connections that have ended in this
        life. The rest of what the verdict wants to know."""
        return {f"{EVENT}/{self.begun}-{m[1]}": [(1, int(m[2]))] for m in
                re.finditer(r"^END (\d+) sent=(\d+)", self.text(), re.MULTILINE) if int(m[2])}

    def connections(self):
        return len(re.findall(r"^STREAM ", self.text(), re.MULTILINE))


class Blast(Process):
    """Costs next to nothing, and sends as fast as the client takes it."""

    def __init__(self, directory, size):
        self.config = f"1000000000 {size}"
        super().__init__("blast", [BUILD / "tests" / "bench" / "yardsticks" / "bench_blast"],
                         directory)

    def start(self):
        super().start()
        self.url = f"127.0.0.1:{self.wait_for(r'^PORT (.+)')[1]}"
        return self

    def source(self, name, queue, options):
        return EventServer.source(self, name, queue, options, **{self.config: True})
