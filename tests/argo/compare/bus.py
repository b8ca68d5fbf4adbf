"""The buses, as both clients use them and as an independent reader sees them afterwards."""

import base64
import json
import ssl

import buses
from harness.kafka_bus import KafkaBus, make_certificates
from harness.nats_bus import NatsServer
from harness.process import BUILD, Process
from nats_wire import NatsWire, Tap

STREAM, SUBJECTS = "default", "default.*.*"


def unwrap(value):
    """The payload in an event of Argo's form, which either client wrote."""
    event = json.loads(value)
    assert event["specversion"] == "1.0" and event["type"] == "generic", value[:200]
    body = json.loads(base64.b64decode(event["data_base64"]))["body"]
    return base64.b64decode(body or "")


class JetStream(NatsServer):
    """One server of JetStream with TLS, on which Argo insists. The stream is as Argo makes it, but
    for one replica and no limit of its messages."""

    def __init__(self, directory):
        make_certificates(directory)
        self.ca = directory / "ca.pem"
        self.tls = ssl.create_default_context(cafile=self.ca)
        super().__init__(directory, f'tls {{ cert_file: "{directory}/server.pem", '
                                    f'key_file: "{directory}/server.key" }}', tls=self.tls)
        self.made = False

    def start(self):
        super().start()
        if not self.made:
            self.add_stream(STREAM, [SUBJECTS], duplicate_window=300)
            self.made = True
        return self

    def flags(self):
        """Argo's."""
        return ["--jetstream", self.url]

    def table(self, source):
        """The gateway's."""
        return buses.table("bus", "nats-jetstream", [source],
                           f'servers = ["{self.url}"]\ntls = {{ ca_file = "{self.ca}" }}')

    def info(self):
        """Of the stream, as the server says it."""
        with NatsWire(self.port, self.tls) as wire:
            return json.loads(wire.request(f"$JS.API.STREAM.INFO.{STREAM}"))

    def server_pid(self):
        return self.pid

    def tap(self):
        """Notes from now on when which event came."""
        return Tap(self.port, self.tls, SUBJECTS)

    def count(self, _=STREAM):
        return self.info()["state"]["messages"]

    def arrived(self):
        return [unwrap(data) for data in self.payloads(STREAM)]


class Flood(Process):
    """Sends to JetStream what both clients would, made beforehand: what is left is the bus."""

    def __init__(self, directory, bus, size):
        program = BUILD / "tests" / "bench" / "yardsticks" / "bench_flood"
        super().__init__("flood", [program, str(bus.port), str(size)], directory)


class Kafka(KafkaBus):
    """One broker, and a topic with one partition."""

    def __init__(self, **options):
        super().__init__(**options)
        self.topics = 0
        self.with_new_topic()

    def with_new_topic(self):
        self.topics += 1
        self.topic = self.add_topic(f"events-{self.topics}")
        return self

    def flags(self):
        return ["--kafka", self.broker.bootstrap, "--topic", self.topic]

    def table(self, source):
        return buses.table("bus", "kafka", [source], f'topic = "{self.topic}"\nclient = '
                           f'{{ "bootstrap.servers" = "{self.broker.bootstrap}" }}')

    def server_pid(self):
        return self.broker.pid()

    def kill(self):
        self.broker.kill()

    def start(self):
        self.broker.start()
        return self

    def count(self, topic=None):
        return super().count(topic or self.topic)

    def wait_count(self, count, timeout=60.0):
        super().wait_count(count, self.topic, timeout)

    def arrived(self):
        return [unwrap(record.value) for record in self.read(self.topic)]
