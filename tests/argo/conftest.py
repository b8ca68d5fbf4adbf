"""The fixtures of tests/e2e, the two buses as Argo wants them, and the run's seed."""

import importlib.util
import pathlib
import random
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults")]  # there: lives, letters
spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)

from buses import JetStream, Kafka  # noqa: E402
from harness.kafka_bus import make_certificates  # noqa: E402
from programs import PROGRAMS, ArgoEventSource, ArgoSensor  # noqa: E402

pytest_collection_modifyitems = e2e.pytest_collection_modifyitems
pytest_runtest_makereport = e2e.pytest_runtest_makereport
start, nats_server = e2e.start, e2e.nats_server
session_kafka, kafka, payload_server = e2e.session_kafka, e2e.kafka, e2e.payload_server

FULL = e2e.FULL
SEED = pytest.StashKey[int]()


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, help="of the payloads that are made at random")


def pytest_configure(config):
    seed = config.getoption("--seed")
    config.stash[SEED] = random.SystemRandom().getrandbits(32) if seed is None else seed


def pytest_report_header(config):
    return f"seed: {config.stash[SEED]} (--seed)"


def pytest_sessionstart():
    e2e.pytest_sessionstart()
    for program in ("argo-eventsource", "argo-sensor"):
        if not (PROGRAMS / program).exists():
            pytest.exit(f"{PROGRAMS / program} is not built: tests/argo/build", 2)


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line(f"argo, --seed {config.stash[SEED]}")


@pytest.fixture
def seed(request):
    print("seed", request.config.stash[SEED])
    return request.config.stash[SEED]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    return folder


@pytest.fixture
def jetstream(nats_server, certificates):
    """jetstream(binary="current", max_payload="8MB") -> JetStream"""
    def make(binary="current", max_payload="8MB"):
        return JetStream(nats_server(
            f'tls {{ cert_file: "{certificates}/server.pem", '
            f'key_file: "{certificates}/server.key" }}\n'
            f"allow_non_tls: true\nmax_payload: {max_payload}", binary=binary))
    return make


@pytest.fixture
def kafka_bus(request, kafka):
    """On the broker that all tests share, with topics of this test's own."""
    number = kafka.buses = getattr(kafka, "buses", 0) + 1
    return Kafka(kafka, f"argo-{number}-{request.node.originalname}")


@pytest.fixture
def argo_eventsource(start, tmp_path):
    """argo_eventsource(bus, server, source) -> a running ArgoEventSource"""
    return lambda *words, **options: start(ArgoEventSource(tmp_path, *words, **options))


@pytest.fixture
def argo_sensor(start, tmp_path):
    """argo_sensor(bus, source, ...) -> an ArgoSensor that misses nothing"""
    return lambda *words, **options: start(ArgoSensor(tmp_path, *words, **options))
