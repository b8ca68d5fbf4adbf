"""TLS, mutual TLS and each way to log in, against real servers."""

import ssl
import time

import pytest

from harness import nats_keys
from harness.event_server import LANGUAGES, assert_numbered
from harness.kafka_bus import PASSWORD, USER, KafkaBus, make_certificates
from harness.process import wait_until

COUNT = 300


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with ca.pem, server.pem, server.key (127.0.0.1, localhost), client.pem, client.key
    and, of nobody's trust, other.pem."""
    folder, other = tmp_path_factory.mktemp("tls"), tmp_path_factory.mktemp("other")
    make_certificates(folder)
    make_certificates(other)
    (folder / "other.pem").write_bytes((other / "ca.pem").read_bytes())
    (folder / "other-client.pem").write_bytes((other / "client.pem").read_bytes())
    (folder / "other-client.key").write_bytes((other / "client.key").read_bytes())
    return folder


def tls_table(folder, ca="ca.pem", client=None, more=""):
    pair = (f', cert_file = "{folder}/{client}.pem", key_file = "{folder}/{client}.key"'
            if client else "")
    return f'tls = {{ ca_file = "{folder}/{ca}"{pair}{more} }}'


def server_flags(folder, mutual=False):
    flags = ["--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key"]
    return [*flags, "--tls-ca", folder / "ca.pem"] if mutual else flags


# ---- the event server

@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
def test_source(language, mutual, certificates, event_server, nats, gateway):
    server = event_server(language, arguments=server_flags(certificates, mutual))
    options = tls_table(certificates, client="client" if mutual else None)
    running = gateway(server.source("orders", options=options, count=COUNT) + nats.sink())
    nats.wait_count(COUNT)
    running.stop_clean()
    assert_numbered(nats.payloads(), COUNT)


def test_source_by_another_name(certificates, event_server, nats, gateway):
    server = event_server(arguments=server_flags(certificates))
    options = tls_table(certificates, more=', server_name = "localhost"')
    running = gateway(server.source("orders", options=options, count=COUNT) + nats.sink())
    nats.wait_count(COUNT)
    running.stop_clean()


def refused_source(certificates, mutual, options, event_server, nats, gateway):
    """What the log says of a source that must not get through."""
    server = event_server(arguments=server_flags(certificates, mutual))
    running = gateway(server.source("orders", options=options, count=COUNT) + nats.sink())
    said = running.wait_for(r"warn  source orders: .*(?i:certificate|handshake|ssl|tls).*")[0]
    running.stop_clean()
    assert nats.count() == 0 and server.streams() == []
    return said


def test_source_of_an_unknown_authority(certificates, event_server, nats, gateway):
    said = refused_source(certificates, False, tls_table(certificates, ca="other.pem"),
                          event_server, nats, gateway)
    assert "certificate" in said.lower(), said


def test_source_of_a_wrong_name(certificates, event_server, nats, gateway):
    options = tls_table(certificates, more=', server_name = "somebody.else"')
    refused_source(certificates, False, options, event_server, nats, gateway)


def test_source_of_an_authority_of_the_system(tmp_path, certificates, event_server, nats, gateway):
    """Without a word about certificates; the system's are looked at again when they change."""
    system = tmp_path / "system.pem"
    system.write_bytes((certificates / "other.pem").read_bytes())
    server = event_server(arguments=server_flags(certificates))
    running = gateway(server.source("orders", options="", count=COUNT) + nats.sink(),
                      env={"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(system)})
    running.wait_for(r"warn  source orders: .*see tls.ca_file")
    assert nats.count() == 0
    (tmp_path / "new.pem").write_bytes((certificates / "ca.pem").read_bytes())
    (tmp_path / "new.pem").rename(system)
    nats.wait_count(COUNT)
    running.stop_clean()


def test_source_that_wants_our_certificate(certificates, event_server, nats, gateway):
    refused_source(certificates, True, tls_table(certificates), event_server, nats, gateway)


@pytest.mark.parametrize("language", LANGUAGES)
def test_source_token_corrected(language, tmp_path, certificates, event_server, nats, gateway):
    server = event_server(language,
                          arguments=[*server_flags(certificates), "--token", "right-token"])
    token = tmp_path / "token"
    token.write_text("wrong-token\n")
    options = tls_table(certificates) + f'\nauth_token_file = "file:{token}"'
    running = gateway(server.source("orders", options=options, count=COUNT) + nats.sink())
    running.wait_for(r"warn  source orders: .*UNAUTHENTICATED.*")
    assert nats.count() == 0
    token.write_text("right-token\n")
    nats.wait_count(COUNT)
    running.stop_clean()
    assert_numbered(nats.payloads(), COUNT)
    assert "right-token" not in running.text() and "wrong-token" not in running.text()


# The content of a token's file, and the header's bytes, which are those that Argo Events sends.
TOKENS = {
    "plain": (b"t0.k-en_/+==", b"Bearer t0.k-en_/+=="),
    "one newline": (b"t0ken\n", b"Bearer t0ken"),
    "spaces inside": (b"a b  c\n", b"Bearer a b  c"),
    "a space at the end": (b"t0ken \n", b"Bearer t0ken "),
    "a second newline": (b"t0ken\n\n", "a line break"),
    "a newline of Windows": (b"t0ken\r\n", "a line break"),
    "two lines": (b"t0\nken\n", "a line break"),
    "no ASCII": ("t\u00f6ken".encode(), "printable ASCII"),
    "empty": (b"", "is empty"),
    "a newline only": (b"\n", "is empty"),
    "missing": (None, "No such file"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_source_token_bytes(language, tmp_path, event_server, gateway):
    """All of them in one gateway; what cannot be sent is said, and then corrected."""
    server, tables = event_server(language), []
    for number, (content, _) in enumerate(TOKENS.values()):
        path = tmp_path / f"token{number}"
        if content is not None:
            path.write_bytes(content)
        tables.append(server.source(f"s{number}", count=1, options=(
            f'insecure = true\nauth_token_file = "file:{path}"')))
    running = gateway("".join(tables) + '[sinks.none]\nplugin = "null"\nfrom = ["*"]\n')
    for number, (_, expected) in enumerate(TOKENS.values()):
        if isinstance(expected, str):
            running.wait_for(rf"warn  source s{number}: connecting: .*{expected}.*next attempt in")
            (tmp_path / f"token{number}").write_bytes(b"corrected\n")
    expected = {f"s{number}": header if isinstance(header, bytes) else b"Bearer corrected"
                for number, (_, header) in enumerate(TOKENS.values())}
    wait_until(lambda: len(server.authorizations()) == len(TOKENS), "a stream for each token")
    assert server.authorizations() == expected
    running.stop_clean()
    assert "t0ken" not in running.text()


# ---- NATS

def run_into(bus, sink_options, event_server, gateway):
    bus.add_stream()
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) + bus.sink(options=sink_options))
    bus.wait_count(COUNT)
    running.stop_clean()
    assert_numbered(bus.payloads(), COUNT)


PASSWORDS = {
    "password": ('user: "me", password: "right-secret"', {"user": "me", "password": "right-secret"},
                 'user = "me"\npassword'),
    "token": ('token: "right-secret"', {"token": "right-secret"}, "token"),
}


@pytest.mark.parametrize("way", PASSWORDS)
def test_nats_secret_corrected(way, tmp_path, event_server, nats_server, gateway):
    login, reader, key = PASSWORDS[way]
    bus = nats_server(f"authorization {{ {login} }}", **reader)
    bus.add_stream()
    secret = tmp_path / "secret"
    secret.write_text("wrong-secret")
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) +
                      bus.sink(options=f'{key} = "file:{secret}"'))
    running.wait_for(r"warn  sink bus: .*(?i:authori|authenti).*")
    assert bus.count() == 0
    secret.write_text("right-secret\n")
    bus.wait_count(COUNT)
    running.stop_clean()
    assert_numbered(bus.payloads(), COUNT)
    assert "right-secret" not in running.text() and "wrong-secret" not in running.text()


def test_nats_secret_of_the_environment(event_server, nats_server, gateway):
    bus = nats_server('authorization { token: "t0ken" }', token="t0ken")
    bus.add_stream()
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) +
                      bus.sink(options='token = "env:BUS_TOKEN"'), env={"BUS_TOKEN": "t0ken"})
    bus.wait_count(COUNT)
    running.stop_clean()


def test_nats_secret_of_a_credential(tmp_path, event_server, nats_server, gateway):
    """As systemd hands it over."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "bus").write_text("t0ken")
    bus = nats_server('authorization { token: "t0ken" }', token="t0ken")
    bus.add_stream()
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) +
                      bus.sink(options='token = "credential:bus"'),
                      env={"CREDENTIALS_DIRECTORY": str(folder)})
    bus.wait_count(COUNT)
    running.stop_clean()


@pytest.mark.parametrize("version", ["current", "debian"])
def test_nats_nkey(version, tmp_path, event_server, nats_server, gateway):
    key, seed = nats_keys.user_key(), tmp_path / "seed"
    seed.write_bytes(key.seed + b"\n")
    bus = nats_server(f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}", binary=version,
                      nkeys_seed_str=key.seed.decode())
    run_into(bus, f'nkey_seed_file = "{seed}"', event_server, gateway)


@pytest.mark.parametrize("version", ["current", "debian"])
def test_nats_credentials(version, tmp_path, event_server, nats_server, gateway):
    config, text = nats_keys.operator_mode()
    credentials = tmp_path / "user.creds"
    credentials.write_text(text)
    bus = nats_server(config, binary=version, user_credentials=str(credentials))
    run_into(bus, f'creds_file = "{credentials}"', event_server, gateway)


def tls_nats(nats_server, folder, mutual, **options):
    config = (f'tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key", '
              f'ca_file: "{folder}/ca.pem", verify: {"true" if mutual else "false"} }}')
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return nats_server(config, tls=context, tls_hostname="localhost", **options)


@pytest.mark.parametrize("version", ["current", "debian"])
@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
def test_nats_tls(version, mutual, certificates, event_server, nats_server, gateway):
    bus = tls_nats(nats_server, certificates, mutual, binary=version)
    run_into(bus, tls_table(certificates, client="client" if mutual else None), event_server,
             gateway)


WRONG_TLS = {
    "unknown authority": (False, {"ca": "other.pem"}),
    "no certificate of ours": (True, {}),
    "a stranger's certificate": (True, {"client": "other-client"}),
    "wrong name": (False, {"more": ', server_name = "somebody.else"'}),
}


@pytest.mark.parametrize("what", WRONG_TLS)
def test_nats_tls_refused(what, certificates, event_server, nats_server, gateway):
    mutual, options = WRONG_TLS[what]
    bus = tls_nats(nats_server, certificates, mutual)
    bus.add_stream()
    server = event_server()
    running = gateway('[gateway]\nshutdown_timeout = "0s"\n' + server.source("orders", count=3) +
                      bus.sink(options=tls_table(certificates, **options)))
    running.wait_for(r"warn  sink bus: .*(?i:certificate|handshake|ssl|tls).*")
    running.stop()
    running.ledgers()
    assert bus.count() == 0


def test_nats_without_our_tls(certificates, event_server, nats_server, gateway):
    """A server that demands TLS is not talked to in the clear."""
    bus = tls_nats(nats_server, certificates, False)
    bus.add_stream()
    server = event_server()
    running = gateway('[gateway]\nshutdown_timeout = "0s"\n' + server.source("orders", count=3) +
                      bus.sink())
    running.wait_for(r"warn  sink bus: .*(?i:secure|tls|certificate).*")
    running.stop()
    assert bus.count() == 0


# ---- Kafka

@pytest.fixture(scope="module")
def secure_kafka():
    """SSL demands a client certificate, SASL_SSL and SASL_PLAINTEXT a password."""
    bus = KafkaBus(sasl=True, tls=True,
                   properties={"listener.name.ssl.ssl.client.auth": "required"})
    yield bus
    bus.close()


def kafka_sink(bus, topic, listener, protocol, properties):
    client = "".join(f'"{key}" = "{value}"\n' for key, value in properties.items())
    return (f'[sinks.lake]\nplugin = "kafka"\nfrom = ["orders"]\nformat = "raw"\n'
            f'topic = "{topic}"\n[sinks.lake.client]\n'
            f'"bootstrap.servers" = "{bus.broker.address(listener)}"\n'
            f'"security.protocol" = "{protocol}"\n{client}')


def sasl(password):
    return {"sasl.mechanism": "PLAIN", "sasl.username": USER, "sasl.password": password}


@pytest.mark.parametrize("listener", ["SASL_PLAINTEXT", "SASL_SSL", "SSL"])
def test_kafka(listener, secure_kafka, tmp_path, event_server, gateway):
    topic = secure_kafka.add_topic(f"through-{listener}")
    properties = {}
    if "SASL" in listener:
        secret = tmp_path / "secret"
        secret.write_text(PASSWORD)
        properties.update(sasl(f"file:{secret}"))
    if "SSL" in listener:
        properties["ssl.ca.location"] = secure_kafka.broker.file("ca.pem")
    if listener == "SSL":
        properties.update({"ssl.certificate.location": secure_kafka.broker.file("client.pem"),
                           "ssl.key.location": secure_kafka.broker.file("client.key")})
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) +
                      kafka_sink(secure_kafka, topic, listener, listener, properties))
    secure_kafka.wait_count(COUNT, topic)
    running.stop_clean()
    assert_numbered(secure_kafka.values(topic), COUNT)


def test_kafka_unverified_is_loud(secure_kafka, tmp_path, event_server, gateway):
    """Without an authority to trust it works only so, and each start says what that means."""
    topic = secure_kafka.add_topic("unverified")
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    properties = {**sasl(f"file:{secret}"), "enable.ssl.certificate.verification": "false"}
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) +
                      kafka_sink(secure_kafka, topic, "SASL_SSL", "SASL_SSL", properties))
    running.wait_for(r"warn  gateway: .*client/enable.ssl.certificate.verification: .*not verified")
    secure_kafka.wait_count(COUNT, topic)
    running.stop_clean()


def test_kafka_secret_corrected(secure_kafka, tmp_path, event_server, gateway):
    topic = secure_kafka.add_topic("secret-corrected")
    secret = tmp_path / "secret"
    secret.write_text("wrong-secret")
    server = event_server()
    running = gateway(server.source("orders", count=COUNT) +
                      kafka_sink(secure_kafka, topic, "SASL_PLAINTEXT", "SASL_PLAINTEXT",
                                 sasl(f"file:{secret}")))
    running.wait_for(r"(warn|error) +sink lake: .*(?i:authenti|credential).*")
    time.sleep(6)  # so that the wrong secret has been read again: a second look must follow
    assert secure_kafka.count(topic) == 0
    secret.write_text(PASSWORD + "\n")
    secure_kafka.wait_count(COUNT, topic, timeout=15)
    running.stop_clean()
    assert_numbered(secure_kafka.values(topic), COUNT)
    assert PASSWORD not in running.text() and "wrong-secret" not in running.text()


@pytest.mark.parametrize("what", ["unknown authority", "no certificate of ours"])
def test_kafka_tls_refused(what, secure_kafka, certificates, event_server, gateway):
    topic = secure_kafka.add_topic("refused-" + what.replace(" ", "-"))
    ca = {"unknown authority": certificates / "other.pem",
          "no certificate of ours": secure_kafka.broker.file("ca.pem")}[what]
    server = event_server()
    running = gateway('[gateway]\nshutdown_timeout = "0s"\n' + server.source("orders", count=3) +
                      kafka_sink(secure_kafka, topic, "SSL", "SSL", {"ssl.ca.location": ca}))
    running.wait_for(r"(warn|error) +sink lake: .*(?i:certificate|handshake|ssl).*")
    running.stop()
    assert secure_kafka.count(topic) == 0
