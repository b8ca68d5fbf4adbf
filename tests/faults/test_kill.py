"""kill -9 of the gateway, the event server and the broker at random moments, under load.

The source witness is owed all that was acknowledged. A server of the generic contract is owed what
the gateway had stored: what arrives has no gap up to the last of each connection, and the ledger
counts as many; the rest is the contract's own window. While neither it nor the gateway is killed,
it is owed all."""

import random
import time

import pytest

from conftest import FULL
from lives import Gateway, Lives, NumberedServer
from verdict import ALL, GAPLESS, of_sink

KILLS = 30 if FULL else 4
KAFKA_KILLS = 15 if FULL else 2
BROKER_KILLS = 10 if FULL else 3
KAFKA_BROKER_KILLS = 4 if FULL else 1
STRICT = 'order = "strict"'
ORDER = pytest.mark.parametrize("order", ["relaxed", "strict"])
STORAGE = pytest.mark.parametrize("storage", ["memory", "disk"])


# ---- the gateway

def judged(report, lives, records, arrived, kills, **options):
    return report.judge(records, arrived, gateway=lives.gateway, since=lives.since,
                        faults={"kill gateway": kills}, **options)


@ORDER
@STORAGE
def test_gateway_to_jetstream(storage, order, tmp_path, start, witness, nats, report):
    """Acknowledged: in memory once every sink has it, on disk once it is stored."""
    lives = Lives(tmp_path, start, witness, nats.sink(options=f'order = "{order}"'), report.seed,
                  storage)
    records = lives.run(KILLS)
    judged(report, lives, records, nats.payloads(), KILLS, max_duplicates=0,
           strict=order == "strict")


@STORAGE
def test_gateway_at_any_moment(storage, tmp_path, start, witness, nats, report):
    """Also while it starts, so while the store is checked and recovered, and while it stops."""
    lives = Lives(tmp_path, start, witness, nats.sink(), report.seed, storage)
    lives.kill_under_load()
    for _ in range(KILLS):
        lives.choose.choice([lives.kill_under_load, lives.kill_in_start, lives.kill_in_stop])()
    lives.begin()
    judged(report, lives, lives.finish(), nats.payloads(), KILLS + 1, max_duplicates=0)


@ORDER
@STORAGE
def test_gateway_to_kafka(storage, order, tmp_path, start, witness, kafka, topic, report):
    """Kafka knows no ids: what a killed gateway had no answer for may be there twice."""
    bus = kafka.sink(topic, options=f'order = "{order}"', client='"linger.ms" = 5')
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage)
    records = lives.run(KAFKA_KILLS)
    judged(report, lives, records, kafka.values(topic), KAFKA_KILLS, strict=order == "strict")


@STORAGE
def test_gateway_to_the_sink_witness(storage, tmp_path, start, witness, report):
    """A bus that refuses and rejects some, and leaves others without an answer."""
    bus = witness.sink(retry_percent=3, unknown_percent=3, reject_percent=1)
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage)
    records = lives.run(KILLS)
    verdict = judged(report, lives, records, of_sink(records.delivered, "out"), KILLS)
    assert verdict.rows["orders"].dead > 0


def test_gateway_with_a_dead_bus_that_comes_back(tmp_path, start, witness, nats, report):
    """Lives that deliver nothing leave all that they acknowledged to the last one."""
    nats.kill()
    lives = Lives(tmp_path, start, witness, nats.sink(), report.seed, "disk")
    records = lives.run(KILLS, last=nats.start)
    verdict = judged(report, lives, records, nats.payloads(), KILLS, max_duplicates=0)
    assert verdict.rows["orders"].acked > 0


@STORAGE
def test_gateway_of_a_grpc_server(storage, tmp_path, start, witness, nats, report):
    choose = random.Random(report.seed)
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=3000))
    gateway = Gateway(tmp_path, server.source("orders", f'storage = "{storage}"') +
                      nats.sink(options=STRICT))
    start(gateway)
    for _ in range(KILLS):
        nats.wait_count(nats.count() + choose.randrange(1, 300))
        time.sleep(choose.uniform(0, 0.02))  # where in a batch it strikes
        gateway.kill()
        before = set(witness.drain().emitted)
        gateway.start()
    nats.wait_count(nats.count() + 300)
    gateway.stop_clean()
    server.stop()
    records = witness.drain()
    since = 1 if storage == "disk" else set(records.emitted) - before
    report.judge(records, nats.payloads(), gateway=gateway, since=since, owed=GAPLESS,
                 faults={"kill gateway": KILLS}, strict=True, max_duplicates=0)


# ---- the event server

@STORAGE
def test_event_server(storage, tmp_path, start, witness, nats, report):
    """What arrives of each of its lives has no gap and keeps its order."""
    choose = random.Random(report.seed)
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=3000))
    gateway = start(Gateway(tmp_path, server.source("orders", f'storage = "{storage}"') +
                            nats.sink(options=STRICT)))
    for _ in range(KILLS):
        nats.wait_count(nats.count() + choose.randrange(1, 300))
        time.sleep(choose.uniform(0, 0.02))
        server.kill()
        server.start()
    nats.wait_count(nats.count() + 300)
    gateway.stop_clean()
    server.stop()
    report.judge(witness.drain(), nats.payloads(), gateway=gateway, owed=GAPLESS, strict=True,
                 faults={"kill event server": KILLS}, max_duplicates=0)


# ---- the broker

@ORDER
@STORAGE
def test_nats_server(storage, order, tmp_path, start, witness, nats, report):
    options = f'order = "{order}"\nack_timeout = "1s"'
    lives = Lives(tmp_path, start, witness, nats.sink(options=options), report.seed, storage)
    lives.begin()
    for _ in range(BROKER_KILLS):
        nats.wait_count(nats.count() + lives.choose.randrange(1, 500))
        time.sleep(lives.choose.uniform(0, 0.05))
        nats.kill()
        time.sleep(lives.choose.uniform(0, 0.3))  # how long it is away
        nats.start()
    records = lives.finish()
    report.judge(records, nats.payloads(), gateway=lives.gateway, max_duplicates=0,
                 strict=order == "strict", faults={"kill nats-server": BROKER_KILLS})


@STORAGE
def test_nats_server_of_a_grpc_server(storage, tmp_path, start, witness, nats, report):
    choose, count = random.Random(report.seed), 2000 * (BROKER_KILLS + 1)
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=4000, count=count))
    gateway = start(Gateway(tmp_path, server.source("orders", f'storage = "{storage}"') +
                            nats.sink(options='ack_timeout = "1s"')))
    for kill in range(BROKER_KILLS):
        nats.wait_count(2000 * kill + choose.randrange(1, 1500))
        nats.kill()
        nats.start()
    nats.wait_count(count)
    gateway.stop_clean()
    report.judge(witness.drain(), nats.payloads(), gateway=gateway, owed=ALL, max_duplicates=0,
                 faults={"kill nats-server": BROKER_KILLS})


@pytest.mark.parametrize("storage, order", [("memory", "relaxed"), ("disk", "strict")])
def test_kafka_broker(storage, order, tmp_path, start, witness, kafka, topic, report):
    bus = kafka.sink(topic, options=f'order = "{order}"')
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage)
    lives.begin()
    for _ in range(KAFKA_BROKER_KILLS):
        kafka.wait_count(kafka.count(topic) + lives.choose.randrange(1, 1000), topic)
        kafka.broker.kill()
        kafka.broker.start()
    before = kafka.count(topic)
    kafka.wait_count(before + 500, topic)
    records = lives.finish()
    report.judge(records, kafka.values(topic), gateway=lives.gateway, strict=order == "strict",
                 faults={"kill kafka": KAFKA_BROKER_KILLS})


def test_kafka_broker_of_a_grpc_server(tmp_path, start, witness, kafka, topic, report):
    count = 4000 * (KAFKA_BROKER_KILLS + 1)
    choose = random.Random(report.seed)
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=4000, count=count))
    gateway = start(Gateway(tmp_path, server.source("orders", 'storage = "disk"') +
                            kafka.sink(topic)))
    for kill in range(KAFKA_BROKER_KILLS):
        kafka.wait_count(4000 * kill + choose.randrange(1, 3000), topic)
        kafka.broker.kill()
        kafka.broker.start()
    kafka.wait_count(count, topic)
    gateway.stop_clean()
    report.judge(witness.drain(), kafka.values(topic), gateway=gateway, owed=ALL,
                 faults={"kill kafka": KAFKA_BROKER_KILLS})
