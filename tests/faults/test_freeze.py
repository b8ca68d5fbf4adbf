"""SIGSTOP of each process for longer than every timeout in play, and SIGCONT: it goes on by itself.

In the quick form the timeouts are those that can be set short; the full form waits for the fixed
ones as well: the pings of the sink nats-jetstream (20 s) and the keepalive of a gRPC connection."""

import time

import pytest

from conftest import FULL
from lives import Gateway, Lives, NumberedServer
from verdict import ALL, GAPLESS

STORAGE = pytest.mark.parametrize("storage", ["memory", "disk"])
# The server cuts off who does not answer.
IMPATIENT = 'ping_interval: "500ms"\nping_max: 1\nwrite_deadline: "1s"\n'
STRICT = 'order = "strict"'
SHORT = 'ack_timeout = "500ms"'


@pytest.fixture
def impatient_nats(nats_server):
    server = nats_server(IMPATIENT)
    server.add_stream()
    return server


def frozen(process, seconds):
    process.freeze()
    time.sleep(seconds)  # what is tested is that time passes
    process.thaw()


@STORAGE
def test_gateway_to_jetstream(storage, tmp_path, start, witness, impatient_nats, report):
    """nats-server gives the gateway up meanwhile."""
    nats = impatient_nats
    lives = Lives(tmp_path, start, witness, nats.sink(options=SHORT), report.seed, storage)
    lives.begin()
    lives.wait_acked(500)
    frozen(lives.gateway, 4)
    lives.gateway.wait_for(r"sink bus: connecting: the connection was lost")
    records = lives.finish(2000)
    report.judge(records, nats.payloads(), gateway=lives.gateway, max_duplicates=0,
                 faults={"SIGSTOP gateway": 1})


def test_gateway_to_kafka(tmp_path, start, witness, kafka, topic, report):
    bus = kafka.sink(topic, options=STRICT, client='"socket.timeout.ms" = 1000')
    lives = Lives(tmp_path, start, witness, bus, report.seed, "disk")
    lives.begin()
    lives.wait_acked(500)
    frozen(lives.gateway, 4)
    records = lives.finish(2000)
    report.judge(records, kafka.values(topic), gateway=lives.gateway, strict=True,
                 faults={"SIGSTOP gateway": 1})


def test_gateway_of_a_grpc_server(tmp_path, start, witness, impatient_nats, report):
    """Flow control holds the server: not one event is lost."""
    nats, count = impatient_nats, 8000
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=3000, count=count))
    options = 'insecure = true\nkeepalive_time = "5s"\nidle_timeout = "30s"'
    gateway = start(Gateway(tmp_path, server.source("orders", options=options) +
                            nats.sink(options=SHORT)))
    nats.wait_count(500)
    frozen(gateway, 30 if FULL else 4)
    nats.wait_count(count)
    gateway.stop_clean()
    report.judge(witness.drain(), nats.payloads(), gateway=gateway, owed=ALL, max_duplicates=0,
                 faults={"SIGSTOP gateway": 1})


@pytest.mark.parametrize("how", ["idle", pytest.param("keepalive", marks=pytest.mark.full)])
def test_event_server(how, tmp_path, start, witness, nats, report):
    """The gateway gives its connection up; what the server had put onto that is its own window."""
    server = start(NumberedServer(tmp_path, witness, report.seed, rate=3000))
    options = {"idle": 'idle_timeout = "1s"', "keepalive": 'keepalive_time = "5s"'}[how]
    gateway = start(Gateway(tmp_path, server.source("orders", 'storage = "disk"',
                                                    f"insecure = true\n{options}") +
                            nats.sink(options=STRICT)))
    nats.wait_count(500)
    before = gateway.written()
    server.freeze()
    gateway.wait_for(r"source orders: connecting", since=before, timeout=60)
    server.thaw()
    gateway.wait_for(r"source orders: ready", since=before, timeout=60)
    nats.wait_count(nats.count() + 1000)
    gateway.stop_clean()
    server.stop()
    report.judge(witness.drain(), nats.payloads(), gateway=gateway, owed=GAPLESS, strict=True,
                 max_duplicates=0, faults={"SIGSTOP event server": 1})


@STORAGE
@pytest.mark.parametrize("order", ["relaxed", "strict"])
def test_nats_server(storage, order, tmp_path, start, witness, nats, report):
    """Answers come too late; in the full form the gateway gives the connection up as well."""
    options = f'{SHORT}\norder = "{order}"'
    lives = Lives(tmp_path, start, witness, nats.sink(options=options), report.seed, storage,
                  rate=1000)
    lives.begin()
    lives.wait_acked(500)
    before = lives.gateway.written()
    nats.freeze()
    if FULL:
        lives.gateway.wait_for_sink("bus", "connecting", since=before, timeout=60)
    else:
        time.sleep(2)  # four times ack_timeout
    nats.thaw()
    nats.wait_count(nats.count() + 2000)
    records = lives.finish()
    assert lives.gateway.ledger("orders", "bus").notes.get("answers unknown")
    report.judge(records, nats.payloads(), gateway=lives.gateway, max_duplicates=0,
                 strict=order == "strict", faults={"SIGSTOP nats-server": 1})


@pytest.mark.parametrize("storage, order", [("memory", "relaxed"), ("disk", "strict")])
def test_kafka(storage, order, tmp_path, start, witness, kafka, topic, report):
    bus = kafka.sink(topic, options=f'order = "{order}"', client='"socket.timeout.ms" = 1000')
    lives = Lives(tmp_path, start, witness, bus, report.seed, storage, rate=1000)
    lives.begin()
    lives.wait_acked(500)
    kafka.wait_count(1, topic)
    before = lives.gateway.written()
    kafka.broker.freeze()
    lives.gateway.wait_for(r"(?i)sink lake: .*timed out", 40, since=before)
    kafka.broker.thaw()
    kafka.wait_count(kafka.count(topic) + 2000, topic)
    records = lives.finish()
    report.judge(records, kafka.values(topic), gateway=lives.gateway, strict=order == "strict",
                 faults={"SIGSTOP kafka": 1})
