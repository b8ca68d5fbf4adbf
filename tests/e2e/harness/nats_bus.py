"""A real nats-server with JetStream, and reading back what is in its streams with nats-py."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import shutil
import socket

import nats
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from harness.process import CACHE, Process, free_port, wait_until

CURRENT = "2.15.2"
BINARIES = {
    "current": os.environ.get("PENSTOCK_NATS_SERVER_CURRENT")
    or CACHE / f"nats-server-{CURRENT}" / "nats-server",
    "debian": shutil.which("nats-server") or "nats-server",
}


@dataclasses.dataclass
class Message:
    sequence: int
    subject: str
    headers: dict
    data: bytes


class NatsServer(Process):
    """kill() and start() keep port and store. config: more lines of the server's configuration."""

    def __init__(self, directory, config="", binary="current", name="nats", **connect):
        self.port = free_port()
        self.more = config
        self.config = directory / f"{name}.conf"
        self.store = directory / f"{name}-store"
        self.connect_options = connect  # what a reader needs to get in
        program = pathlib.Path(BINARIES[binary])
        assert program.exists(), f"{program} is missing: ./x setup"
        super().__init__(name, [program, "-c", self.config], directory)

    def start(self):
        self.write_config()
        super().start()
        self.wait_for("Server is ready")
        wait_until(self.accepts, f"a connection to {self.name}")
        return self

    def write_config(self):
        self.config.write_text(f'listen: "127.0.0.1:{self.port}"\n'
                               f'jetstream {{ store_dir: "{self.store}" }}\n{self.more}\n')

    def accepts(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2):
            return True
        return False

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def sink(self, name="bus", sources=("orders",), subject="events.{source}.{subject}",
             message_format="raw", options=""):
        names = ", ".join(f'"{source}"' for source in sources)
        return (f'[sinks.{name}]\nplugin = "nats-jetstream"\nfrom = [{names}]\n'
                f'format = "{message_format}"\nservers = ["{self.url}"]\n'
                f'subject = "{subject}"\n{options}\n')

    def _run(self, work):
        """work(JetStream context), on a connection of its own."""
        async def whole():
            async def ignore(_):
                pass
            client = await nats.connect(self.url, connect_timeout=5, allow_reconnect=False,
                                        error_cb=ignore, **self.connect_options)
            try:
                return await work(client.jetstream(timeout=10))
            finally:
                await client.close()
        return asyncio.run(whole())

    def add_stream(self, name="EVENTS", subjects=("events.>",), **options):
        config = StreamConfig(name=name, subjects=list(subjects), **options)
        self._run(lambda js: js.add_stream(config))

    def delete_stream(self, name="EVENTS"):
        self._run(lambda js: js.delete_stream(name))

    def purge_stream(self, name="EVENTS"):
        self._run(lambda js: js.purge_stream(name))

    def update_stream(self, name="EVENTS", **changes):
        async def work(js):
            config = (await js.stream_info(name)).config
            await js.update_stream(config.evolve(**changes))
        self._run(work)

    def switch_subjects(self, away, back, times, name="EVENTS"):
        """Gives the stream the subjects away and then back, so many times, in quick succession."""
        async def work(js):
            config = (await js.stream_info(name)).config
            for subjects in (away, back) * times:
                await js.update_stream(config.evolve(subjects=list(subjects)))
                await asyncio.sleep(0.02)  # for how long each holds
        self._run(work)

    def state(self, name="EVENTS"):
        return self._run(lambda js: js.stream_info(name)).state

    def stream_config(self, name="EVENTS"):
        return self._run(lambda js: js.stream_info(name)).config

    def has_stream(self, name="EVENTS"):
        async def work(js):
            try:
                await js.stream_info(name)
                return True
            except nats.js.errors.NotFoundError:
                return False
        return self._run(work)

    def count(self, name="EVENTS"):
        return self.state(name).messages

    def wait_count(self, count, name="EVENTS", timeout=60.0):
        """Until the stream, which may be yet to be made, has at least so many messages."""
        seen = {}

        def enough():
            try:
                seen["n"] = self.count(name)
            except nats.js.errors.NotFoundError:
                return False
            return seen["n"] >= count
        wait_until(enough, lambda: f"{count} messages in {name}, {seen} are there", timeout, 0.05)

    def last_payload(self, name="EVENTS"):
        async def work(js):
            last = (await js.stream_info(name)).state.last_seq
            return (await js.get_msg(name, last)).data
        return self._run(work)

    def last_of(self, subject, name="EVENTS"):
        """The last payload on the subject; None: there is none."""
        async def work(js):
            try:
                return (await js.get_last_msg(name, subject)).data
            except nats.js.errors.NotFoundError:
                return None
        return self._run(work)

    def settled(self, subject, name="EVENTS"):
        """Whether each consumer of the subject has got all and acknowledged all."""
        async def work(js):
            consumers = [one for one in await js.consumers_info(name)
                         if one.config.filter_subject == subject]
            return bool(consumers) and all(one.num_pending == one.num_ack_pending == 0
                                           for one in consumers)
        return self._run(work)

    def read(self, name="EVENTS"):
        """All messages of the stream, in its order."""
        async def work(js):
            left = (await js.stream_info(name)).state.messages
            config = ConsumerConfig(ack_policy=AckPolicy.NONE)
            reader = await js.pull_subscribe("", stream=name, config=config)
            out = []
            while left > 0:
                batch = await reader.fetch(min(left, 500), timeout=20)
                out += [Message(m.metadata.sequence.stream, m.subject, dict(m.headers or {}),
                                m.data) for m in batch]
                left -= len(batch)
            return out
        return self._run(work)

    def payloads(self, name="EVENTS"):
        return [message.data for message in self.read(name)]
