"""preset = "argo": what Argo Events' Sensors expect on the bus, and what the check says of it."""

import json
import ssl

import pytest

from harness.gateway import run_penstock
from harness.kafka_bus import make_certificates
from harness.process import free_port

COUNT = 300
SOURCE = '[sources.orders]\nplugin = "generator"\n'


def sink(nats_url, options="", stream="stream = { replicas = 1 }"):
    return (f'[sinks.bus]\nplugin = "nats-jetstream"\npreset = "argo"\nfrom = ["orders"]\n'
            f'servers = ["{nats_url}"]\n{stream}\n{options}\n')


def check(tmp_path, config):
    path = tmp_path / "penstock.toml"
    path.write_text(config)
    return run_penstock("check", "--config", path)


def bodies(payloads):
    events = [json.loads(data) for data in payloads]
    assert {(e["source"], e["subject"], e["type"]) for e in events} == {("es", "ev", "generic")}
    return events


NAMES = 'insecure = true\nevent_source = "es"\nevent_name = "ev"'


@pytest.mark.parametrize("version", ["current", "debian"])
def test_jetstream(version, event_server, nats_server, gateway):
    """A bus without the stream: it is made as Argo's controller would have it."""
    bus = nats_server(binary=version)
    server = event_server()
    running = gateway(server.source("orders", options=NAMES, count=COUNT) + sink(bus.url))
    running.wait_for("created stream default")
    bus.wait_count(COUNT, "default")
    running.stop_clean()
    messages = bus.read("default")
    assert {message.subject for message in messages} == {"default.es.ev"}
    events = bodies(message.data for message in messages)
    assert [message.headers for message in messages] == [{"Nats-Msg-Id": e["id"]} for e in events]
    config = bus.stream_config("default")
    assert (config.max_msgs, config.max_bytes, config.max_age, config.duplicate_window,
            config.discard, config.retention, config.storage, config.num_replicas,
            config.subjects) == (50000, -1, 168 * 3600, 300, "old", "limits", "file", 1,
                                 ["default.*.*"])


def test_a_stream_that_exists_is_left_as_it_is(event_server, nats_server, gateway):
    bus = nats_server()
    bus.add_stream("default", ["default.*.*"], max_msgs=1234, discard="new")
    server = event_server()
    running = gateway(server.source("orders", options=NAMES, count=COUNT) + sink(bus.url))
    bus.wait_count(COUNT, "default")
    running.wait_for("max_messages is 1234, configured is 50000")
    running.stop_clean()
    assert bus.stream_config("default").max_msgs == 1234


def test_three_replicas_in_a_cluster(event_server, nats_server, gateway):
    """As Argo's controller has it, and with nothing but the preset."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = [nats_server(f'server_name: n{i}\ncluster {{ name: c, listen: "127.0.0.1:{port}", '
                           f'routes: [{routes}] }}', name=f"nats{i}")
               for i, port in enumerate(ports)]
    server = event_server()
    running = gateway(server.source("orders", options=NAMES, count=COUNT) +
                      sink(servers[0].url, stream=""))
    running.wait_for("created stream default", timeout=60)
    servers[0].wait_count(COUNT, "default")
    running.stop_clean()
    assert servers[0].stream_config("default").num_replicas == 3


def test_three_replicas_on_a_server_alone(event_server, nats_server, gateway):
    bus = nats_server()
    running = gateway(event_server().source("orders", options=NAMES, count=1) +
                      sink(bus.url, stream="") + '[gateway]\nshutdown_timeout = "0s"\n')
    running.wait_for(r"warn  sink bus: .*write stream = \{ replicas = 1 \}")
    running.stop()


def test_kafka(event_server, kafka, topic, gateway):
    server = event_server()
    running = gateway(server.source("orders", options=NAMES, count=COUNT) +
                      f'[sinks.lake]\nplugin = "kafka"\npreset = "argo"\nfrom = ["orders"]\n'
                      f'topic = "{topic}"\n'
                      f'client = {{ "bootstrap.servers" = "{kafka.broker.bootstrap}" }}\n')
    kafka.wait_count(COUNT, topic)
    running.stop_clean()
    records = kafka.read(topic)
    assert {record.key for record in records} == {b"es.ev"}
    assert [record.headers for record in records] == [[]] * COUNT
    bodies(record.value for record in records)


SELF_SIGNED = """
tls {{ cert_file: "{0}/server.pem", key_file: "{0}/server.key" }}
authorization {{ {1} }}
"""
LOGINS = {"js": ("user: js, password: pw", 'user = "js"\npassword = "env:P"',
                 {"user": "js", "password": "pw"}),
          "token": ("token: pw", 'token = "env:P"', {"token": "pw"})}


@pytest.fixture
def unverified():
    """How the reader of the test gets in."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("version", ["current", "debian"])
@pytest.mark.parametrize("login", LOGINS)
def test_unverified_tls_is_loud(login, version, tmp_path, event_server, nats_server, gateway,
                                unverified):
    """The bus of Argo's controller: a certificate that nobody signed, and a login."""
    make_certificates(tmp_path)
    config, keys, reader = LOGINS[login]
    bus = nats_server(SELF_SIGNED.format(tmp_path, config), binary=version,
                      tls=unverified, **reader)
    keys += "\ntls = { insecure_skip_verify = true }"
    running = gateway(event_server().source("orders", options=NAMES, count=COUNT) +
                      sink(bus.url, keys), env={"P": "pw"})
    running.wait_for(r"warn  gateway: .*tls.insecure_skip_verify: .*not verified")
    running.wait_for("created stream default")
    bus.wait_count(COUNT, "default")
    running.stop_clean()


@pytest.mark.parametrize("key, value", [("enable.ssl.certificate.verification", "false"),
                                        ("ssl.endpoint.identification.algorithm", "none")])
def test_unverified_tls_of_kafka_is_loud(key, value, tmp_path):
    said = check(tmp_path, SOURCE + '[sinks.lake]\nplugin = "kafka"\npreset = "argo"\n'
                 'from = ["orders"]\ntopic = "t"\n[sinks.lake.client]\n'
                 f'"bootstrap.servers" = "h:1"\n"security.protocol" = "SSL"\n"{key}" = "{value}"\n')
    assert said.returncode == 0
    assert f"penstock.toml:11:{len(key) + 6}: warning: client/{key}: the " in said.stderr


# ---- what the check says

def test_check_prints_what_the_preset_fills_in(tmp_path):
    said = check(tmp_path, SOURCE + sink("nats://h:1"))
    assert said.returncode == 0, said.stderr
    assert "preset argo, beside what the table says itself:\n      format = \"argo\"" in said.stdout
    assert 'stream.max_messages = 50000\n' in said.stdout
    assert "replicas" not in said.stdout


def test_check_says_that_such_a_stream_loses_events(tmp_path):
    said = check(tmp_path, SOURCE + sink("nats://h:1"))
    assert ("penstock.toml:5:10: warning: preset argo: stream.discard: EVENTS CAN BE LOST: when "
            "the stream has 50000 messages") in said.stderr
    assert 'write stream = { discard = "new" }' in said.stderr
    safe = 'stream = { replicas = 1, discard = "new", max_age = "0s" }'
    said = check(tmp_path, SOURCE + sink("nats://h:1", stream=safe))
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("key", ["event_name", "event_source"])
@pytest.mark.parametrize("name", ["a.b", "a b", "*", "a>"])
def test_check_names_what_makes_no_subject_of_the_stream(key, name, tmp_path):
    said = check(tmp_path, f'{SOURCE}{key} = "{name}"\n' + sink("nats://h:1"))
    assert said.returncode == 0
    assert f"penstock.toml:3:{len(key) + 4}: warning: events of source \"orders\"" in said.stderr
    assert f"choose an {key} without" in said.stderr


def test_an_unknown_preset(tmp_path):
    said = check(tmp_path, SOURCE + sink("nats://h:1").replace('"argo"', '"argos"'))
    assert said.returncode == 78
    assert 'sinks.bus.preset: expected argo, found "argos"' in said.stderr
