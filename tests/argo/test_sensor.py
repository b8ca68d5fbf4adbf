"""What the gateway wrote is dispatched by Argo's own Sensor: every event, once, with its data."""

import base64
import json

import pytest
from comparison import outcome
from conftest import FULL
from corpus import corpus
from harness.process import wait_until
from lives import Gateway
from sources import SOURCES

PLAIN, PLAIN_WITH, JSON, JSON_WITH = SOURCES


@pytest.fixture
def run(payload_server, argo_sensor, start, tmp_path):
    """run(bus, sources, payloads) -> {source's name: (the gateway's Outcome, the ArgoSensor)}"""
    def run_gateway(bus, sources, payloads, whole):
        sensors = {one.name: argo_sensor(bus, one, whole=whole) for one in sources}
        server = payload_server(payloads)
        gateway = start(Gateway(tmp_path, "".join(one.table(server) for one in sources) +
                                bus.sink([one.name for one in sources])))
        bus.wait_end([one.place(bus) for one in sources])
        gateway.stop_clean()
        written = bus.read()
        return {one.name: (outcome(gateway, one.name, written[one.place(bus)], payloads),
                           sensors[one.name]) for one in sources}
    return run_gateway


def assert_dispatched(bus, source, result, sensor, payloads):
    """Each message that the gateway wrote, and nothing else."""
    wait_until(lambda: bus.settled(source.place(bus), sensor.sensor), "the Sensor's last word", 120,
               0.2)
    events = sensor.wait_dispatched(len(result.written))
    assert len(events) == len(result.written)
    by_id = {event.id: event for event in events}
    for number, message in result.written.items():
        wanted = json.loads(message.value)
        event = by_id.pop(wanted["id"])
        data = base64.b64decode(wanted.pop("data_base64"))
        assert event.data == data, f"payload {number}: {payloads[number][:100]!r}"
        assert all(getattr(event, name) == value for name, value in wanted.items()
                   if name != "specversion"), (wanted, event)
        if not source.json_body:
            assert data.startswith(b'{"body":' + source.body(payloads[number]))
    assert not by_id


@pytest.mark.parametrize("sources, whole", [
    pytest.param(SOURCES, False, id="drivers"), pytest.param([JSON_WITH], True, id="whole"),
    pytest.param([PLAIN_WITH], True, id="whole-plain", marks=pytest.mark.full)])
def test_jetstream(sources, whole, run, jetstream, seed):
    payloads = corpus(seed, 1000 if FULL else 100, [b"\xfe" * 3 * 1024 * 1024])
    bus = jetstream()
    for source, (result, sensor) in zip(sources, run(bus, sources, payloads, whole).values()):
        assert_dispatched(bus, source, result, sensor, payloads)


@pytest.mark.parametrize("source, whole", [
    pytest.param(JSON_WITH, False, id="drivers"), pytest.param(PLAIN_WITH, True, id="whole"),
    pytest.param(PLAIN, False, id="drivers-plain", marks=pytest.mark.full),
    pytest.param(JSON, True, id="whole-json", marks=pytest.mark.full)])
def test_kafka(source, whole, run, kafka_bus, seed):
    payloads = corpus(seed, 1000 if FULL else 100, [b'"' + b"x" * 500000 + b'"'])
    kafka_bus.add_topics_of(f"sensor-{source.name}")
    (result, sensor), = run(kafka_bus, [source], payloads, whole).values()
    assert_dispatched(kafka_bus, source, result, sensor, payloads)
