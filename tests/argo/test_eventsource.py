"""The same payloads through Argo's own event source and through the gateway, onto the same bus: the
same bytes, and what Argo drops is what the gateway keeps as dead letters."""

import pytest
from comparison import assert_same, now, outcome
from conftest import FULL
from corpus import END, corpus
from lives import Gateway
from sources import SOURCES

# Argo's gRPC takes 4 MiB, in which the name of the event and two lengths lie beside the payload.
GRPC_ROOM = 4 * 1024 * 1024 - len(b"\x0a\x08scripted") - len(b"\x12\xf1\xff\xff\x01")
KAFKA_ROOM = 1000000  # of a record, in Argo's client


@pytest.fixture
def compare(payload_server, argo_eventsource, start, tmp_path):
    """compare(bus, payloads) -> {source's name: the gateway's Outcome}, which is Argo's too"""
    def run(bus, payloads):
        since, server = now(), payload_server(payloads)
        places = {one.name: one.place(bus) for one in SOURCES}
        argo = [argo_eventsource(bus, server, one) for one in SOURCES]
        bus.wait_end(places.values())
        for process in argo:
            process.kill()
        theirs, made = bus.read(), bus.config()
        bus.start_over()
        gateway = start(Gateway(tmp_path, "".join(one.table(server) for one in SOURCES) +
                                bus.sink([one.name for one in SOURCES])))
        bus.wait_end(places.values())
        gateway.stop_clean()
        ours = bus.read()
        assert bus.config() == made
        assert ours.keys() == theirs.keys() == set(places.values())
        outcomes = {}
        for name, place in places.items():
            outcomes[name] = outcome(gateway, name, ours[place], payloads)
            assert_same(outcomes[name], theirs[place], payloads, since)
        return outcomes
    return run


def assert_reasons(outcomes, payloads, room=None):
    """What is no JSON is dead where it is declared as such. What the bus has no room for is dead
    everywhere; bytes are in base64 twice."""
    for source in SOURCES:
        too_large = 0
        for number, reason in outcomes[source.name].dead.items():
            payload = payloads[number]
            if reason.startswith("rejected: "):
                too_large += 1
                assert len(payload) > room * 9 // 16 - 1000, (payload[:100], reason)
            else:
                assert source.json_body and "but is not JSON" in reason, (payload[:100], reason)
        assert (too_large > 0) == (room is not None)


@pytest.mark.parametrize("binary", ["current", pytest.param("debian", marks=pytest.mark.full)])
def test_jetstream(binary, compare, jetstream, seed):
    large = [b"\xfe" * GRPC_ROOM, b'"' + b"<" * 900000 + b'"', b" " * (GRPC_ROOM - 1) + b"1"]
    payloads = corpus(seed, 1000 if FULL else 100, large)
    assert_reasons(compare(jetstream(binary), payloads), payloads)


def test_kafka(compare, kafka_bus, seed):
    twice, once = (KAFKA_ROOM - 5000) * 9 // 16, (KAFKA_ROOM - 5000) * 3 // 4
    large = [b"x" * twice, b'"' + b"y" * (once - 10000) + b'"', b'"' + b"z" * KAFKA_ROOM + b'"']
    payloads = corpus(seed, 1000 if FULL else 100, large)
    assert_reasons(compare(kafka_bus, payloads), payloads, KAFKA_ROOM)


@pytest.mark.full
def test_larger_than_the_nats_server_takes(compare, jetstream):
    """Argo tries five times, and drops it."""
    room = 65536
    payloads = [b"1", b"7" * room, b"2", b'"' + b"x" * (room * 9 // 16 - 5000) + b'"', END]
    outcomes = compare(jetstream(max_payload=room), payloads)
    assert_reasons(outcomes, payloads, room)
    assert all(list(one.dead) == [1] for one in outcomes.values())
