"""A real Kafka broker (tests/kafka), and reading back what is in its topics."""

import dataclasses
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness.process import ROOT, wait_until

sys.path.insert(0, str(ROOT / "tests" / "kafka"))
from broker import PASSWORD, USER, Broker, make_certificates  # noqa: E402, F401


@dataclasses.dataclass
class Record:
    partition: int
    offset: int
    key: bytes
    headers: list
    value: bytes


class KafkaBus:
    """A broker, as the tests see it."""

    def __init__(self, **options):
        self.broker = Broker(**options)
        self.broker.start()

    def close(self):
        self.broker.close()

    def admin(self):
        return AdminClient({"bootstrap.servers": self.broker.bootstrap})

    def add_topic(self, name, partitions=1, **config):
        config = {key.replace("_", "."): str(value) for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
        admin = self.admin()
        for future in admin.create_topics([topic]).values():
            future.result(30)
        self.count(name)
        return name

    def sink(self, topic, name="lake", sources=("orders",), message_format="raw", options="",
             client=""):
        names = ", ".join(f'"{source}"' for source in sources)
        return (f'[sinks.{name}]\nplugin = "kafka"\nfrom = [{names}]\n'
                f'format = "{message_format}"\ntopic = "{topic}"\n{options}\n'
                f'[sinks.{name}.client]\n"bootstrap.servers" = "{self.broker.bootstrap}"\n'
                f'{client}\n')

    def reader(self, group="reader"):
        return Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": group,
                         "enable.auto.commit": False, "auto.offset.reset": "earliest",
                         "isolation.level": "read_uncommitted"})

    def ends(self, reader, topic, timeout=30.0):
        """{partition: one past its last offset}; waits until the topic's leaders answer."""
        last = {}

        def ask():
            try:
                known = reader.list_topics(topic, timeout=5).topics[topic]
                if known.error is not None or not known.partitions:
                    raise KafkaException(known.error)
                return {p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=5)[1]
                        for p in known.partitions}
            except KafkaException as error:
                last["error"] = str(error)
                return None
        return wait_until(ask, lambda: f"an answer about {topic}: {last}", timeout, 0.1)

    def count(self, topic):
        """Records of a topic; offsets of control records would count, but nobody writes any."""
        reader = self.reader()
        try:
            return sum(self.ends(reader, topic).values())
        finally:
            reader.close()

    def wait_count(self, count, topic, timeout=60.0):
        reader, seen = self.reader(), {}

        def enough():
            seen["n"] = sum(self.ends(reader, topic, timeout).values())
            return seen["n"] >= count
        try:
            wait_until(enough, lambda: f"{count} records in {topic}: {seen}", timeout, 0.1)
        finally:
            reader.close()

    def read(self, topic, timeout=60.0):
        """All records, each partition in its order."""
        reader, out = self.reader(), []
        try:
            ends = self.ends(reader, topic)
            reader.assign([TopicPartition(topic, p, 0) for p in ends])
            waiting = {p for p, end in ends.items() if end > 0}
            end = time.monotonic() + timeout
            while waiting:
                assert time.monotonic() < end, f"{topic} cannot be read: {len(out)} of {ends}"
                for message in reader.consume(1000, timeout=0.2):
                    if message.error():
                        raise KafkaException(message.error())
                    out.append(Record(message.partition(), message.offset(), message.key(),
                                      message.headers() or [], message.value()))
                    if message.offset() + 1 >= ends[message.partition()]:
                        waiting.discard(message.partition())
            return out
        finally:
            reader.close()

    def values(self, topic):
        return [record.value for record in self.read(topic)]
