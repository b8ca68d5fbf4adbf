"""The bus is there and refuses: for a while, for good, or until somebody has put it right."""

import os
import signal
import time

import pytest
from confluent_kafka import KafkaException
from conftest import FULL
from harness.kafka_bus import PASSWORD, USER, KafkaBus
from harness.process import wait_until
from letters import listed, read_letters, replay_all
from lives import Lives
from verdict import parse_payload

LONG = pytest.mark.full
RATE = 1000
RETRY = 'retry = { initial = "50ms", max = "500ms" }'
STORAGE = pytest.mark.parametrize("storage", ["disk", pytest.param("memory", marks=LONG)])
STORAGE_AND_ORDER = pytest.mark.parametrize("storage, order", [
    ("disk", "strict"), pytest.param("memory", "relaxed", marks=LONG)])


def flowing(tmp_path, start, witness, bus, on_bus, report, storage, **source):
    """A gateway that has delivered its first events. on_bus(): how many there are."""
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage, **{"rate": RATE, **source})
    lives.begin()
    wait_until(lambda: on_bus() > 80, "the first events on the bus", 30, 0.05)
    return lives


def route(gateway, source="orders"):
    one, = (one for one in gateway.status()["routes"] if one["source"] == source)
    ledger = one["ledger"]
    settled = ledger["delivered"] + ledger["dead_lettered"] + sum(ledger["dropped"].values())
    assert ledger["received"] == settled + ledger["pending"], ledger
    return one


def goes_on(count, timeout=20.0):
    before = count()
    wait_until(lambda: count() > before + RATE, "events after the refusal", timeout, 0.05)


# ---- JetStream

USERS = """authorization {{ users = [
  {{ user: admin, password: admin }}
  {{ user: me, password: "{password}", permissions: {{ publish: {{ deny: [{deny}] }} }} }} ] }}"""


def reload(nats):
    """The server reads its configuration anew."""
    nats.write_config()
    written = nats.written()
    os.kill(nats.pid, signal.SIGHUP)
    nats.wait_for("Reloaded server configuration", since=written)


def restart(nats):
    nats.kill()
    nats.start()


@pytest.fixture
def guarded(nats_server):
    """A server with the user me, and the readers' admin."""
    nats = nats_server(USERS.format(password="right", deny=""), user="admin", password="admin")
    nats.add_stream()
    return nats


def login(nats, tmp_path, options="", **sink):
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    return nats.sink(options=f'user = "me"\npassword = "file:{secret}"\n{RETRY}\n{options}', **sink)


@STORAGE
@pytest.mark.parametrize("change", [reload, pytest.param(restart, marks=LONG)])
def test_jetstream_password_changed(change, storage, guarded, tmp_path, start, witness, report):
    """By the server's configuration, and back."""
    nats, bus = guarded, login(guarded, tmp_path)
    lives = flowing(tmp_path, start, witness, bus, nats.count, report, storage)
    written = lives.gateway.written()
    nats.more = USERS.format(password="another", deny="")
    change(nats)
    lives.gateway.wait_for(r"warn +sink bus: .*(?i:authori|authenti)", since=written)
    sink, = lives.gateway.status()["sinks"]
    assert sink["state"] == "connecting" and "uthori" in str(sink), sink
    refused = nats.count()
    time.sleep(1)  # so that it stays refused for some attempts
    assert nats.count() == refused
    nats.more = USERS.format(password="right", deny="")
    change(nats)
    goes_on(nats.count)
    report.judge(lives.finish(), nats.payloads(), gateway=lives.gateway, since=lives.since,
                 faults={"password changed": 1}, max_duplicates=0)


def all_of_a_bus_at_rest(gateway, count, read):
    """What is on the bus while the gateway is frozen, which must be thawed again."""
    gateway.freeze()
    last = -1
    while last != (last := count()):
        time.sleep(0.3)  # what was on its way is there by then
    return read()


@STORAGE_AND_ORDER
def test_jetstream_stream_deleted(order, storage, nats, tmp_path, start, witness, report):
    """What the old stream had is gone with it; nothing else is."""
    bus = nats.sink(options=f'order = "{order}"\nack_timeout = "30s"\n{RETRY}')
    lives = flowing(tmp_path, start, witness, bus, nats.count, report, storage)
    arrived, written = [], lives.gateway.written()
    for _ in range(2):
        arrived += all_of_a_bus_at_rest(lives.gateway, nats.count, nats.payloads)
        nats.delete_stream()
        lives.gateway.thaw()
        lives.gateway.wait_for(r"warn .*orders -> bus: not delivered", since=written)
        time.sleep(0.5)  # so that it is away for some attempts
        assert "takes subject" in str(route(lives.gateway)["backoff"])
        nats.add_stream()
        goes_on(nats.count)
    records = lives.finish()
    report.judge(records, arrived + nats.payloads(), gateway=lives.gateway, since=lives.since,
                 faults={"stream deleted": 2}, max_duplicates=0, strict=order == "strict")


@STORAGE_AND_ORDER
@pytest.mark.parametrize("version", ["current", pytest.param("debian", marks=LONG)])
def test_jetstream_stream_full(version, order, storage, nats_server, tmp_path, start, witness,
                               report):
    """A full stream that refuses, purged again and again. No version of the server may take the
    id of an event that it refused for a duplicate."""
    nats = nats_server(binary=version)
    nats.add_stream(max_msgs=700, discard="new")
    bus = nats.sink(options=f'order = "{order}"\n{RETRY}')
    lives = flowing(tmp_path, start, witness, bus, nats.count, report, storage)
    arrived = []
    for _ in range(3):
        wait_until(lambda: nats.count() == 700, "a full stream")
        wait_until(lambda: "maximum messages" in str(route(lives.gateway)["backoff"]),
                   "the reason in the status", 10, 0.05)
        arrived += nats.payloads()
        nats.purge_stream()
    nats.update_stream(max_msgs=1_000_000)
    goes_on(nats.count)
    records = lives.finish()
    report.judge(records, arrived + nats.payloads(), gateway=lives.gateway, since=lives.since,
                 faults={"stream full": 3}, max_duplicates=0, strict=order == "strict")


@STORAGE
def test_jetstream_subject_denied(storage, guarded, tmp_path, start, witness, report):
    """One source may not publish: all of its events are dead letters, and those of the other are
    not disturbed. Once it may, they are sent again."""
    nats = guarded
    nats.more = USERS.format(password="right", deny='"events.secret.>"')
    restart(nats)
    bus = login(nats, tmp_path, sources=("orders", "secret"))
    bus += witness.source("secret", tmp_path / "next-secret", f'storage = "{storage}"', count=60,
                          rate=100, seed=report.seed)
    lives = flowing(tmp_path, start, witness, bus, nats.count, report, storage)
    gateway = lives.gateway
    wait_until(lambda: len(listed(gateway)) == 60, "60 dead letters", 30, 0.1)
    letters = read_letters(gateway)
    assert all("does not allow this user to publish to events.secret" in letter.reason
               for letter in letters)
    assert [parse_payload(letter.payload) for letter in letters] == \
        [("secret", number) for number in range(1, 61)]
    nats.more = USERS.format(password="right", deny="")
    reload(nats)
    replay_all(gateway)
    wait_until(lambda: listed(gateway) == [], "the replay", 30, 0.1)
    records = lives.finish()
    ledgers = gateway.ledgers()
    assert ledgers["secret", "bus"].received == 60
    report.judge(records, nats.payloads(), faults={"subject denied": 1}, max_duplicates=0,
                 since=lives.since, ledgers={"orders": ledgers["orders", "bus"]})


@STORAGE
def test_jetstream_limit_of_a_message_and_sealed(storage, nats_server, tmp_path, start, witness,
                                                 report):
    nats = nats_server()
    nats.add_stream(max_msg_size=3800)
    bus = nats.sink(options='order = "strict"')
    lives = flowing(tmp_path, start, witness, bus, nats.count, report, storage, rate=200, count=160)
    nats.update_stream(sealed=True)
    gateway = lives.gateway
    gateway.wait_for("source orders: finished", 30)
    wait_until(lambda: route(gateway)["ledger"]["pending"] == 0, "the last events", 30, 0.1)
    gateway.stop_clean()
    letters, arrived = read_letters(gateway), nats.payloads()
    reasons = {"limit": 0, "sealed": 0}
    for letter in letters:
        kind = "sealed" if "sealed" in letter.reason else "limit"
        assert kind == "sealed" or "message size exceeds maximum" in letter.reason, letter.reason
        reasons[kind] += 1
    assert all(reasons.values()), reasons
    ledger = gateway.ledger("orders", "bus")
    report.judge(witness.drain(), arrived, [letter.payload for letter in letters],
                 faults={"stream sealed": 1}, max_duplicates=0, strict=True,
                 ledgers={"orders": ledger})


# ---- Kafka

@pytest.fixture(scope="module")
def strict_kafka():
    """A broker with users that makes no topic by itself."""
    bus = KafkaBus(sasl=True, properties={"auto.create.topics.enable": "false"})
    yield bus
    bus.close()


def delete_topic(kafka, topic):
    admin = kafka.admin()
    for future in admin.delete_topics([topic]).values():
        future.result(30)


def make_topic(kafka, topic):
    """As soon as the broker has done with the old one."""
    def made():
        try:
            return kafka.add_topic(topic)
        except KafkaException:
            return None
    wait_until(made, f"topic {topic}", 30, 0.1)


@STORAGE_AND_ORDER
def test_kafka_topic_deleted(order, storage, strict_kafka, tmp_path, start, witness, report):
    """The new topic knows neither the producer nor its sequence numbers."""
    kafka, topic = strict_kafka, f"deleted-{order}-{storage}"
    kafka.add_topic(topic)
    bus = kafka.sink(topic, options=f'order = "{order}"\n{RETRY}',
                     client='"topic.metadata.refresh.interval.ms" = 1000')

    def count():
        return kafka.count(topic)
    lives = flowing(tmp_path, start, witness, bus, count, report, storage)
    arrived, written = [], lives.gateway.written()
    arrived += all_of_a_bus_at_rest(lives.gateway, count, lambda: kafka.values(topic))
    delete_topic(kafka, topic)
    lives.gateway.thaw()
    lives.gateway.wait_for(r"warn .*(?i:unknown topic)", 30, since=written)
    make_topic(kafka, topic)
    goes_on(count, 40)
    records = lives.finish()
    report.judge(records, arrived + kafka.values(topic), gateway=lives.gateway, since=lives.since,
                 faults={"topic deleted": 1}, strict=order == "strict")


def set_password(kafka, password):
    """And the broker is started again, as it reads it only then."""
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    kafka.broker.extra["listener.name.sasl_plaintext.plain.sasl.jaas.config"] = (
        f'{module} required user_{USER}="{password}";')
    kafka.broker.kill()
    kafka.broker._write_properties()
    kafka.broker.start()


@LONG
@STORAGE
def test_kafka_password_changed(storage, strict_kafka, tmp_path, start, witness, report):
    kafka, topic = strict_kafka, f"password-{storage}"
    kafka.add_topic(topic)
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    bus = kafka.sink(topic, options=RETRY, client=(
        '"security.protocol" = "SASL_PLAINTEXT"\n"sasl.mechanism" = "PLAIN"\n'
        f'"sasl.username" = "{USER}"\n"sasl.password" = "file:{secret}"'))
    bus = bus.replace(kafka.broker.bootstrap, kafka.broker.address("SASL_PLAINTEXT"))

    def count():
        return kafka.count(topic)
    lives = flowing(tmp_path, start, witness, bus, count, report, storage)
    written = lives.gateway.written()
    set_password(kafka, "another-secret")
    try:
        lives.gateway.wait_for(r"(warn|error) +sink lake: .*(?i:authenti|credential)", 40,
                               since=written)
        refused = count()
        time.sleep(1)  # so that it stays refused for some attempts
        assert count() == refused
    finally:
        set_password(kafka, PASSWORD)
    goes_on(count, 40)
    records = lives.finish()
    report.judge(records, kafka.values(topic), gateway=lives.gateway, since=lives.since,
                 faults={"password changed": 1})


# ---- over the retry limit

LIMITED = 'retry = { initial = "50ms", max = "500ms", limit = "1s" }'


@STORAGE
def test_over_the_retry_limit_and_replayed(storage, nats, tmp_path, start, witness, report):
    """There is no stream for longer than the limit: all that was received is dead letters. Then
    there is one, and they are sent again while the gateway is killed. The limit counts from an
    event's first attempt: while there is no connection at all, events wait."""
    kills, count = (10, 8000) if FULL else (3, 4000)
    nats.delete_stream()
    bus = nats.sink(options=f'{LIMITED}\nmax_in_flight = {{ events = 8192, bytes = "4MiB" }}')
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage, count=count, rate=0,
                  max_size='"300B"')
    lives.begin()
    gateway = lives.gateway
    wait_until(lambda: route(gateway)["ledger"]["dead_lettered"] == count,
               lambda: f'all of them dead letters: {route(gateway)["ledger"]}', 60, 0.1)
    wait_until(lambda: len(listed(gateway)) == count, "the commit of the last of them", 10, 0.1)
    letters = listed(gateway)
    said = {(letter["why"], "no stream takes subject" in letter["reason"]) for letter in letters}
    assert said == {("retry_limit", True)}, (said, letters[0])
    gateway.kill()
    # No life emits more, and a replay takes its time.
    config = gateway.config.read_text().replace("rate = 0\n", "rate = 0.0001\n")
    gateway.config.write_text(config.replace("events = 8192", "events = 1"))
    nats.add_stream()
    replay_all(gateway)
    found = []
    for _ in range(kills):
        gateway.start()
        before = nats.count()
        strike = before + lives.choose.randrange(max(1, (count - before) // 3))
        wait_until(lambda: nats.count() >= strike, f"{strike} sent again", 30, 0)
        gateway.kill()
        found.append(nats.count())
    gateway.start()
    wait_until(lambda: listed(gateway) == [], "the rest of the replay", 60, 0.1)
    gateway.stop_clean()
    print("on the bus at each kill:", found)
    assert any(0 < one < count for one in found), "no kill struck during the replay"
    report.judge(witness.drain(), nats.payloads(), faults={"kill gateway": kills + 1},
                 max_duplicates=0)
