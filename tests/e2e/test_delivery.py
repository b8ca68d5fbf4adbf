"""Content, order and number of the events, read back from the bus by somebody else's client."""

import base64
import datetime
import json
import re

import pytest

from harness.event_server import (LANGUAGES, assert_consecutive, assert_numbered,
                                  numbers_by_stream, parse_payload)

COUNT = 2000
HOST_ID = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_server_into_jetstream(language, event_server, nats, gateway):
    server = event_server(language)
    running = gateway(server.source("orders", count=COUNT) + nats.sink())
    nats.wait_count(COUNT)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert (ledger.received, ledger.delivered) == (COUNT, COUNT)
    messages = nats.read()
    assert_numbered([m.data for m in messages], COUNT)
    assert {m.subject for m in messages} == {"events.orders.orders"}
    ids = [m.headers["Nats-Msg-Id"] for m in messages]
    assert all(HOST_ID.fullmatch(one) for one in ids)
    assert len({one[:16] for one in ids}) == 1
    assert_consecutive([int(one[16:], 16) for one in ids], COUNT)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_server_into_kafka(language, event_server, kafka, topic, gateway):
    server = event_server(language)
    running = gateway(server.source("orders", count=COUNT) + kafka.sink(topic))
    kafka.wait_count(COUNT, topic)
    ledger = running.stop_clean().ledger("orders", "lake")
    assert (ledger.received, ledger.delivered) == (COUNT, COUNT)
    records = kafka.read(topic)
    assert_numbered([r.value for r in records], COUNT)
    assert {(r.key, tuple(r.headers)) for r in records} == {(None, ())}


def test_each_version_of_nats(event_server, each_nats, gateway):
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) + each_nats.sink())
    each_nats.wait_count(COUNT)
    running.stop_clean()
    assert_numbered(each_nats.payloads(), COUNT)


def test_binary_payloads_arrive_byte_by_byte(payload_server, nats, kafka, topic, gateway):
    payloads = [b"", b"\0", b"\xff\xfe\0\r\n", bytes(range(256)), b"x" * 900_000,
                b"NATS/1.0\r\n\r\n", "snow ☃".encode()]
    server = payload_server(payloads)
    running = gateway(server.source("orders") + nats.sink() + kafka.sink(topic))
    nats.wait_count(len(payloads))
    kafka.wait_count(len(payloads), topic)
    running.stop_clean()
    assert nats.payloads() == payloads
    assert [value or b"" for value in kafka.values(topic)] == payloads


def test_both_buses_at_once(event_server, nats, kafka, topic, gateway):
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) + nats.sink() + kafka.sink(topic))
    nats.wait_count(COUNT)
    kafka.wait_count(COUNT, topic)
    ledgers = running.stop_clean().ledgers()
    assert {route: one.delivered for route, one in ledgers.items()} == {
        ("orders", "bus"): COUNT, ("orders", "lake"): COUNT}
    from_nats, from_kafka = nats.payloads(), kafka.values(topic)
    assert_numbered(from_nats, COUNT)
    assert from_nats == from_kafka
    assert len(server.streams()) == 1, "one call for both sinks"


def test_two_sources_into_one_sink(event_server, nats, kafka, topic, gateway):
    one, two = event_server("cpp", name="one"), event_server("cpp", name="two")
    both = ("orders", "clicks")
    running = gateway(one.source("orders", count=COUNT) + two.source("clicks", count=COUNT // 2) +
                      nats.sink(sources=both) + kafka.sink(topic, sources=("*",)))
    total = COUNT + COUNT // 2
    nats.wait_count(total)
    kafka.wait_count(total, topic)
    ledgers = running.stop_clean().ledgers()
    assert ledgers["orders", "bus"].delivered == ledgers["orders", "lake"].delivered == COUNT
    assert ledgers["clicks", "bus"].delivered == ledgers["clicks", "lake"].delivered == COUNT // 2
    by_subject = {}
    for message in nats.read():
        by_subject.setdefault(message.subject, []).append(message.data)
    assert set(by_subject) == {"events.orders.orders", "events.clicks.clicks"}
    assert_numbered(by_subject["events.orders.orders"], COUNT)
    assert_numbered(by_subject["events.clicks.clicks"], COUNT // 2)
    streams = numbers_by_stream(kafka.values(topic))
    assert sorted(len(numbers) for numbers in streams.values()) == [COUNT // 2, COUNT]
    for numbers in streams.values():
        assert_consecutive(numbers, len(numbers))


# What every event of the next tests says of itself.
IDENTITY = 'event_source = "shop"\nevent_name = "created"\nmetadata = { region = "eu1" }\n'
ATTRIBUTES = {"specversion": "1.0", "source": "shop", "type": "generic", "subject": "created",
              "region": "eu1"}


def assert_recent(text):
    """An RFC 3339 time in UTC, of these minutes."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z", text)
    assert match, text
    when = datetime.datetime.fromisoformat(match[1] + "+00:00")
    age = datetime.datetime.now(datetime.timezone.utc) - when
    assert abs(age) < datetime.timedelta(minutes=5), text


def run_format(message_format, options, event_server, nats, kafka, topic, gateway, count=100):
    """(payload as sent, NATS message, Kafka record) of each event, after a clean run."""
    server = event_server()
    raw = nats.sink("plain", subject="plain", options='msg_id = "{id}-{sink}"')
    running = gateway(server.source("orders", options="insecure = true\n" + options, count=count) +
                      nats.sink(message_format=message_format, options='msg_id = "{id}"') + raw +
                      kafka.sink(topic, message_format=message_format))
    for wait, arguments in ((nats.wait_count, (count,)), (nats.wait_count, (count, "PLAIN")),
                            (kafka.wait_count, (count, topic))):
        wait(*arguments)
    running.stop_clean()
    return list(zip(nats.payloads("PLAIN"), nats.read(), kafka.read(topic), strict=True))


@pytest.fixture
def formatted(event_server, nats, kafka, topic, gateway):
    nats.add_stream("PLAIN", ["plain"])
    return lambda message_format, options=IDENTITY: run_format(
        message_format, options, event_server, nats, kafka, topic, gateway)


def test_cloudevents(formatted):
    for payload, message, record in formatted("cloudevents", IDENTITY + "json_body = true"):
        event = json.loads(message.data)
        assert event.items() >= ATTRIBUTES.items()
        assert event["datacontenttype"] == "application/json"
        assert event["data"] == json.loads(payload)
        assert_recent(event["time"])
        assert event["id"] == message.headers["Nats-Msg-Id"]
        assert set(event) == {*ATTRIBUTES, "id", "time", "datacontenttype", "data"}
        assert json.loads(record.value) == event
        assert record.headers == [
            ("content-type", b"application/cloudevents+json; charset=UTF-8")]


def test_cloudevents_of_any_bytes(formatted):
    for payload, message, record in formatted("cloudevents"):
        event = json.loads(message.data)
        assert event.items() >= ATTRIBUTES.items()
        assert event["datacontenttype"] == "application/octet-stream"
        assert base64.b64decode(event["data_base64"], validate=True) == payload
        assert "data" not in event
        assert record.value == message.data


def test_cloudevents_binary(formatted):
    for payload, message, record in formatted("cloudevents-binary", IDENTITY + "json_body = true"):
        assert message.data == record.value == payload
        ce = {k[3:]: v for k, v in message.headers.items() if k.startswith("ce-")}
        assert ce.items() >= ATTRIBUTES.items()
        assert ce["id"] == message.headers["Nats-Msg-Id"]
        assert_recent(ce["time"])
        assert set(ce) == {*ATTRIBUTES, "id", "time"}
        in_kafka = {k: v.decode() for k, v in record.headers}
        assert in_kafka.pop("content-type") == "application/json"
        assert in_kafka == {f"ce_{k}": v for k, v in ce.items()}


def test_argo(formatted):
    """The fields of a message of Argo Events' own event source, and its Sensor's expectations."""
    options = ('event_source = "es"\nevent_name = "ev"\nmetadata = { b = "2", a = "<1>" }\n'
               'json_body = true')
    for payload, message, record in formatted("argo", options):
        event = json.loads(message.data)
        body = base64.b64decode(event["data_base64"], validate=True)
        assert body == b'{"body":' + payload + b',"metadata":{"a":"\\u003c1\\u003e","b":"2"}}'
        assert list(event) == ["specversion", "id", "source", "type", "subject", "datacontenttype",
                               "time", "data_base64"]
        assert (event["specversion"], event["source"], event["type"], event["subject"],
                event["datacontenttype"]) == ("1.0", "es", "generic", "ev", "application/json")
        assert HOST_ID.fullmatch(event["id"])
        assert_recent(event["time"])
        assert message.headers == {"Nats-Msg-Id": event["id"]}
        assert record.value == message.data


def test_argo_golden_bodies(payload_server, nats, gateway):
    golden = {b'{"x": 1,  "h":"<b>&\xe2\x80\xa8"}':
              rb'{"body":{"x":1,"h":"\u003cb\u003e\u0026\u2028"}}',
              b'{"b":1,"a":2,"b":3}': b'{"body":{"b":1,"a":2,"b":3}}',
              b' [1 ,\n 2]\n': b'{"body":[1,2]}',
              b'"str"': b'{"body":"str"}',
              b'{"a":1e400,"b":12345678901234567890}':
              b'{"body":{"a":1e400,"b":12345678901234567890}}'}
    server = payload_server([*golden, b"not json", b""])
    options = "insecure = true\njson_body = true"
    running = gateway(server.source("orders", options=options) + nats.sink(message_format="argo"))
    nats.wait_count(len(golden) + 1)
    running.stop_clean()
    bodies = [base64.b64decode(json.loads(data)["data_base64"]) for data in nats.payloads()]
    assert bodies == [*golden.values(), b'{"body":null}']
    ledger = running.ledger("orders", "bus")
    assert ledger.received == len(golden) + 2 and ledger.delivered == len(golden) + 1
    assert ledger.dead_lettered == 1, "what is no JSON is kept with its reason"


def test_templates_headers_and_key(event_server, nats, kafka, gateway):
    kafka_topic = kafka.add_topic("events-shop-created", partitions=4)
    server = event_server()
    headers = ('headers = { origin = "edge", route = "{table}/{sink}/{type}", '
               'where = "{metadata.region}" }')
    count = 200
    running = gateway(
        server.source("orders", options="insecure = true\n" + IDENTITY, count=count) +
        nats.sink(subject="events.{source}.{subject}.{metadata.region}", options=headers) +
        kafka.sink("events-{source}-{subject}", options='key = "{source}.{subject}"\n' + headers))
    nats.wait_count(count)
    kafka.wait_count(count, kafka_topic)
    running.stop_clean()
    expected = {"origin": "edge", "where": "eu1"}
    for message in nats.read():
        assert message.subject == "events.shop.created.eu1"
        del message.headers["Nats-Msg-Id"]
        assert message.headers == {**expected, "route": "orders/bus/generic"}
    records = kafka.read(kafka_topic)
    assert {r.key for r in records} == {b"shop.created"}
    assert len({r.partition for r in records}) == 1, "one key, one partition"
    assert dict(records[0].headers) == {
        "origin": b"edge", "where": b"eu1", "route": b"orders/lake/generic"}
    assert_consecutive([parse_payload(r.value)[1] for r in records], count)


def test_the_server_gets_name_and_config(event_server, nats, gateway):
    server = event_server("python")
    running = gateway(server.source("orders", options='insecure = true\nevent_name = "created"',
                                    count=1) + nats.sink())
    nats.wait_count(1)
    running.stop_clean()
    assert [(name, config) for _, name, config in server.streams()] == [("created", "count=1")]
