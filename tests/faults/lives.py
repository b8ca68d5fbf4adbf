"""The gateway under test, over several lives, and what it says of itself at the end."""

import base64
import json
import random
import time

from harness import gateway as harness
from harness.event_server import EventServer
from harness.gateway import run_penstock
from harness.process import BUILD, Process, wait_until

PLUGINS = (harness.PLUGINS, BUILD / "tests" / "faults" / "plugins")


class Gateway(harness.Gateway):
    """With the plugins `witness`, a state directory and an admin socket of its own. settings: more
    lines of [gateway]."""

    def __init__(self, directory, config, settings="", name="gateway", **options):
        self.state_dir = directory / f"{name}-state"
        self.state_dir.mkdir(exist_ok=True)
        own = (f'[gateway]\nstate_dir = "{self.state_dir}"\nadmin_socket = "{name}.sock"\n'
               f'{settings}\n')
        super().__init__(directory, own + config, name, plugin_dirs=PLUGINS, **options)

    def launch(self):
        """start() that does not wait until it runs."""
        return Process.start(self)

    def tool(self, *words):
        """What a command of penstock answers, on the running or the stopped gateway."""
        done = run_penstock(*words, "--config", self.config, plugin_dir=":".join(map(str, PLUGINS)))
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def status(self):
        return json.loads(self.tool("status", "--json"))

    def wait_ready(self, timeout=60.0):
        """Until every sink is connected: a queue on disk does not wait for one that is not."""
        seen = []

        def ready():
            seen[:] = self.status()["sinks"]
            return all(sink["state"] == "ready" for sink in seen)
        wait_until(ready, lambda: f"sinks that are ready: {seen}", timeout, 0.1)

    def dead_letters(self):
        """Their payloads."""
        listed = self.tool("deadletters", "list", "--json").splitlines()
        return [self._payload(json.loads(line)) for line in listed]

    def _payload(self, letter):
        event = json.loads(self.tool("deadletters", "show", letter["id"], "--json", "--source",
                                     letter["source"], "--sink", letter["sink"]))["event"]
        return event["payload"].encode() if "payload" in event else \
            base64.b64decode(event["data_base64"])


class NumberedServer(EventServer):
    """A real gRPC server with numbered payloads: it tells the witness what it emits. The payloads
    of a connection are a source of their own, `orders/1-3`: the third one of its first life. Each
    begins at number 1. stream: flags of tests/servers, for each connection."""

    def __init__(self, directory, witness, seed, **stream):
        words = [f"--{name}={value}".split("=") for name, value in stream.items()]
        super().__init__(directory, name="server", arguments=[
            "--numbered", "--witness", witness.path, "--seed", seed, "--size", 4096,
            *(word for pair in words for word in pair)])
        self.flags, self.begun = list(self.command), 0

    def start(self):
        self.begun += 1
        self.command = [*self.flags, "--id", str(self.begun)]
        return super().start()


class Lives:
    """A gateway with the source witness `orders`: one life after the other, each killed, the last
    one ended in peace. bus: the sinks' tables."""

    def __init__(self, tmp_path, start, witness, bus, seed, storage="memory", settings="",
                 queue="", **source):
        self.witness, self.next_file, self.storage = witness, tmp_path / "next", storage
        source = {"rate": 3000, "seed": seed, **source}
        tables = witness.source("orders", self.next_file, f'storage = "{storage}"\n{queue}',
                                **source)
        self.choose = random.Random(seed)
        self.gateway = Gateway(tmp_path, tables + bus, settings)
        self.start = start
        self.begun = 0  # lives
        self.first = 1  # the number with which this life began

    def begin(self, wait=True):
        """The next life; its numbers go on where those of the last one ended. wait: until it
        runs."""
        self.first = self.witness.drain().next_number("orders")
        self.witness.keep_next("orders", self.next_file)
        begin = self.gateway.start if wait else self.gateway.launch
        self.start(self.gateway) if self.begun == 0 else begin()
        self.begun += 1

    def acked(self):
        with self.witness.lock:
            return len(self.witness.records.acked.get("orders", []))

    def wait_acked(self, more, timeout=60.0):
        self.witness.wait_acked("orders", self.acked() + more, timeout)

    def received(self):
        """By the gateway, in this life or, on disk, in all of them."""
        return self.gateway.status()["routes"][0]["ledger"]["received"]

    def wait_received(self, count, timeout=60.0):
        wait_until(lambda: self.received() >= count, f"{count} received", timeout, 0.1)

    def kill_under_load(self, events=300):
        """A life that ends after some acknowledgements."""
        self.begin()
        self.wait_acked(self.choose.randrange(events))
        time.sleep(self.choose.uniform(0, 0.02))  # where in a batch it strikes
        self.gateway.kill()

    def kill_in_start(self):
        """A life that ends while it recovers what is stored, or soon after."""
        self.begin(wait=False)
        time.sleep(self.choose.uniform(0, 0.2))
        self.gateway.kill()

    def kill_in_stop(self):
        """A life that ends in the middle of the planned stop."""
        self.begin()
        self.wait_acked(self.choose.randrange(1, 300))
        self.gateway.process.terminate()
        time.sleep(self.choose.uniform(0, 0.05))
        self.gateway.kill()

    def run(self, kills, events=300, last=None):
        """Lives that end under load; last() is called before the last one, which ends in peace."""
        for _ in range(kills):
            self.kill_under_load(events)
        if last:
            last()
        self.begin()
        return self.finish(events)

    def finish(self, events=300):
        """Some more acknowledgements, and the planned end."""
        self.wait_acked(events)
        self.gateway.wait_ready()
        self.gateway.stop_clean()
        return self.witness.drain()

    @property
    def since(self):
        """From which number on the ledger counts: of a queue in memory that of the last life."""
        return 1 if self.storage == "disk" else self.first
