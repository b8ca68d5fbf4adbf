"""JetStream and Kafka, as Argo's programs and the gateway are told of them, and what is there."""

import base64
import dataclasses
import json
import time

from confluent_kafka import TopicPartition
from corpus import END
from harness.process import wait_until


@dataclasses.dataclass
class Written:
    """A message as it lies on the bus."""
    place: str  # JetStream: its subject, Kafka: its key
    headers: dict
    value: bytes


ENDS = tuple(b'{"body":' + body for body in (END, b'"' + base64.b64encode(END) + b'"'))


def carries_end(value):
    """Whether it is the message of the last payload of a corpus."""
    return base64.b64decode(json.loads(value)["data_base64"]).startswith(ENDS)


def table(name, plugin, sources, options):
    names = ", ".join(f'"{source}"' for source in sources)
    return (f'[sinks.{name}]\nplugin = "{plugin}"\npreset = "argo"\nfrom = [{names}]\n'
            f"{options}\n")


class JetStream:
    """What Argo calls a bus is one stream, with this name."""

    def __init__(self, server):
        self.server = server

    def flags(self):
        return ["--jetstream", self.server.url]

    def sink(self, sources):
        """The gateway's; it makes the stream where none is."""
        return table("bus", "nats-jetstream", sources,
                     f'servers = ["{self.server.url}"]\nstream = {{ replicas = 1 }}')

    def start_over(self):
        """Everything on it is gone."""
        self.server.delete_stream("default")

    def config(self):
        return self.server.stream_config("default")

    def place(self, source, event):
        return f"default.{source}.{event}"

    def wait_end(self, places, timeout=120.0):
        """Until the last message in each place is that of END."""
        for place in places:
            wait_until(lambda place=place: self._ended(place), f"the end of {place}", timeout, 0.1)

    def _ended(self, place):
        last = self.server.last_of(place, "default")
        return last is not None and carries_end(last)

    def settled(self, place, sensor):
        """Whether the Sensor has got all and acknowledged all."""
        return self.server.settled(place, "default")

    def read(self):
        """{place: what is in it, in its order}"""
        out = {}
        for message in self.server.read("default"):
            out.setdefault(message.subject, []).append(
                Written(message.subject, message.headers, message.data))
        return out


class Kafka:
    """A topic with one partition, so that there is an order."""

    def __init__(self, kafka, name):
        self.kafka, self.name, self.topics = kafka, name, 0
        self.start_over()

    def flags(self):
        return ["--kafka", self.kafka.broker.bootstrap, "--topic", self.topic]

    def sink(self, sources):
        return table("lake", "kafka", sources, f'topic = "{self.topic}"\nclient = '
                     f'{{ "bootstrap.servers" = "{self.kafka.broker.bootstrap}" }}')

    def add_topics_of(self, sensor):
        for kind in ("trigger", "action"):
            self.kafka.add_topic(f"{self.topic}-{sensor}-{kind}")

    def settled(self, place, sensor):
        """Whether the Sensor is through with what it read here and with what it decided on, behind
        which there is the end of a transaction."""
        reader = self.kafka.reader(f"argo-events-{sensor}")
        topics = {self.topic: 0, f"{self.topic}-{sensor}-action": 1}
        try:
            done = {one.topic: one.offset for one in
                    reader.committed([TopicPartition(topic, 0) for topic in topics], timeout=10)}
            return all(done[topic] >= self.kafka.ends(reader, topic)[0] - markers
                       for topic, markers in topics.items())
        finally:
            reader.close()

    def start_over(self):
        """Another topic."""
        self.topics += 1
        self.topic = self.kafka.add_topic(f"{self.name}-{self.topics}")

    def config(self):
        """Of the topic, which Argo makes no more than the gateway does."""
        return None

    def place(self, source, event):
        return f"{source}.{event}"

    def wait_end(self, places, timeout=120.0):
        waiting, end, reader = set(places), time.monotonic() + timeout, self.kafka.reader()
        try:
            reader.subscribe([self.topic])
            while waiting:
                assert time.monotonic() < end, f"not within {timeout:g} s: the end of {waiting}"
                for message in reader.consume(1000, timeout=0.2):
                    if message.error() is None and carries_end(message.value()):
                        waiting.discard(message.key().decode())
        finally:
            reader.close()

    def read(self):
        out = {}
        for record in self.kafka.read(self.topic):
            place = (record.key or b"").decode()
            out.setdefault(place, []).append(Written(place, dict(record.headers), record.value))
        return out
