"""Events that the bus or the encoder never takes, among others that it does, with kills of the
gateway around them: each becomes one dead letter, whole and with its reason."""

import base64
import json
import re

import pytest
from conftest import FULL
from harness.process import wait_until
from letters import listed, read_letters
from lives import Gateway, Lives
from verdict import parse_payload

KILLS = 8 if FULL else 3
EVENTS = 400 if FULL else 200  # of a life, at most
EVERY = 40  # so many-th is poison
MARGIN = 1000  # bytes of headers or envelope, at the most
REASONS = {"subject": r"rejected: .*(no subject to publish to|topic)",
           "id": r"unencodable: the source gave the event an id of",
           "large": r"rejected: .*(max_payload of|max\.message\.bytes)",
           "json": r"unencodable: the payload is declared application/json but is not JSON"}


def kind_of(number, kinds, every=EVERY):
    """As the source chooses; None: it can be delivered, unless it is too large."""
    return kinds[number // every % len(kinds)] if number % every == 0 else None


def same(payload):
    return payload


def of_cloudevent(message):
    return base64.b64decode(json.loads(message)["data_base64"])


def lives_of(tmp_path, start, witness, bus, report, storage, kinds, room):
    """Some events are larger than the bus has room for."""
    poison = {"poison_every": EVERY, "poison": json.dumps(kinds), "max_size": room * 17 // 16}
    return Lives(tmp_path, start, witness, bus, report.seed, storage, rate=1500, **poison)


def judged(report, lives, records, arrived, kinds, room, **options):
    """The verdict; and what lies in the dead letters is what must. room: bytes that the bus takes;
    what comes near to it may be on either side, because headers count as well."""
    gateway = lives.gateway
    letters = read_letters(gateway)
    ledgers = {source: one for (source, _), one in gateway.ledgers().items()}
    report.judge(records, arrived, [letter.payload for letter in letters], since=lives.since,
                 ledgers=ledgers, faults={"kill gateway": KILLS}, **options)
    numbers = [parse_payload(letter.payload)[1] for letter in letters]
    assert len(set(numbers)) == len(numbers), "an event has two dead letters"
    seen = set()
    for number, letter in zip(numbers, letters):
        kind = kind_of(number, kinds) or "large"
        assert re.match(REASONS[kind], letter.reason), (number, letter.reason)
        assert kind != "large" or len(letter.payload) > room - MARGIN
        seen.add(kind)
    assert seen == {*kinds, "large"}, "not every kind of poison was there"
    for payload in arrived:
        assert kind_of(parse_payload(payload)[1], kinds) is None, "poison on the bus"
        assert len(payload) <= room


@pytest.mark.parametrize("storage, order, message_format", [
    ("disk", "relaxed", "raw"), ("memory", "strict", "cloudevents"),
    pytest.param("disk", "strict", "cloudevents", marks=pytest.mark.full),
    pytest.param("memory", "relaxed", "argo", marks=pytest.mark.full)])
def test_jetstream(storage, order, message_format, tmp_path, start, witness, nats_server, report):
    nats = nats_server("max_payload: 32768")
    nats.add_stream()
    kinds = ["subject", "id"] if message_format == "raw" else ["subject", "id", "json"]
    bus = nats.sink(message_format=message_format, options=f'order = "{order}"')
    # In base64, once, or twice in Argo's form, an event grows to 4/3.
    room = int(32768 * {"raw": 1, "cloudevents": 3 / 4, "argo": 9 / 16}[message_format])
    lives = lives_of(tmp_path, start, witness, bus, report, storage, kinds, room)
    records = lives.run(KILLS, EVENTS)
    decode = {"raw": same, "cloudevents": of_cloudevent, "argo": of_argo}[message_format]

    judged(report, lives, records, [decode(one) for one in nats.payloads()], kinds, room,
           max_duplicates=0, strict=order == "strict")


def of_argo(message):
    body = json.loads(of_cloudevent(message))["body"]
    return base64.b64decode(body)


@pytest.mark.parametrize("storage, order", [
    ("disk", "strict"), pytest.param("memory", "relaxed", marks=pytest.mark.full)])
def test_kafka(storage, order, tmp_path, start, witness, kafka, report):
    name = f"poisoned-{storage}"
    topic = kafka.add_topic(f"{name}-orders", max_message_bytes=20000)
    bus = kafka.sink(name + "-{subject}", options=f'order = "{order}"')
    kinds = ["subject", "id"]
    lives = lives_of(tmp_path, start, witness, bus, report, storage, kinds, 20000)
    records = lives.run(KILLS, EVENTS)

    judged(report, lives, records, kafka.values(topic), kinds, 20000, strict=order == "strict")


@pytest.mark.parametrize("message_format", ["cloudevents", "argo"])
def test_declared_json(message_format, payload_server, nats, start, tmp_path):
    """What is no JSON is a dead letter. An empty payload is none, and bytes that are no UTF-8
    arrive as they are: in base64 (cloudevents), or as Argo's own client sends them."""
    bad = [b'{"a":', b"\x00", b"\xff", b"{} {}"]
    good = [b'{"a":1}', b"", b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}']
    server = payload_server([one for pair in zip(good, bad) for one in pair])
    running = start(Gateway(tmp_path, server.source("orders", options="insecure = true\n"
                                                    "json_body = true") +
                            nats.sink(message_format=message_format)))
    nats.wait_count(len(good))
    wait_until(lambda: len(listed(running)) == len(bad), "the dead letters")
    running.stop_clean()
    events = [json.loads(data) for data in nats.payloads()]
    if message_format == "argo":
        bodies = [base64.b64decode(one["data_base64"]) for one in events]
        assert bodies == [b'{"body":%s}' % (one or b"null") for one in good]
    else:
        assert [one.get("data") for one in events] == [{"a": 1}, None, None, None]
        in_base64 = [base64.b64decode(one.get("data_base64", "")) for one in events]
        assert in_base64 == [b"", *good[1:]]
    ledger = running.ledger("orders", "bus")
    assert (ledger.delivered, ledger.dead_lettered, ledger.dropped) == (4, 4, {})
    letters = read_letters(running)
    assert all("is not JSON" in letter.reason for letter in letters)
    assert [letter.payload for letter in letters] == bad


@pytest.mark.parametrize("bus", ["nats", "kafka"])
def test_an_empty_payload_is_delivered(bus, payload_server, nats, kafka, topic, start, tmp_path):
    server = payload_server([b"a", b"", b"b"])
    sink = nats.sink() if bus == "nats" else kafka.sink(topic)
    running = start(Gateway(tmp_path, server.source("orders") + sink))
    if bus == "nats":
        nats.wait_count(3)
    else:
        kafka.wait_count(3, topic)
    running.stop_clean()
    assert (nats.payloads() if bus == "nats" else kafka.values(topic)) == [b"a", b"", b"b"]
