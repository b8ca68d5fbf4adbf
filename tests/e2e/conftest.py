"""Fixtures: each starts what it is named after, in the test's own directory, and ends it."""

import contextlib
import functools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.event_server import BUILDERS, EventServer, PayloadServer  # noqa: E402
from harness.gateway import PENSTOCK, Gateway  # noqa: E402
from harness.kafka_bus import KafkaBus  # noqa: E402
from harness.nats_bus import NatsServer  # noqa: E402

FULL = os.environ.get("PENSTOCK_TEST_FULL", "") not in ("", "0")


def pytest_collection_modifyitems(config, items):
    """What is marked full is left out of the quick form, which is no skip."""
    if FULL:
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_sessionstart():
    if not PENSTOCK.exists():
        pytest.exit(f"{PENSTOCK} is not built: ./x build, or set PENSTOCK_BUILD", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With a failure come the last lines of every program that the test started."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for process in getattr(item, "started", []):
            report.sections.append((process.name, process.tail(40)))


@pytest.fixture
def start(request):
    """start(process): started now, killed after the test."""
    request.node.started = []

    def start_process(process):
        request.node.started.append(process)
        return process.start()
    yield start_process
    for process in reversed(request.node.started):
        with contextlib.suppress(ProcessLookupError):
            process.kill()


@pytest.fixture(scope="session")
def built_server():
    """Builds the server in a language, once, when a test needs it."""
    return functools.cache(lambda language: BUILDERS.get(language, lambda: None)())


@pytest.fixture
def event_server(start, tmp_path, built_server):
    """event_server(language="cpp", arguments=[...]) -> EventServer"""
    def make(language="cpp", **options):
        built_server(language)
        return start(EventServer(tmp_path, language, **options))
    return make


@pytest.fixture
def payload_server(start, tmp_path):
    """payload_server([bytes, ...]) -> PayloadServer"""
    return lambda payloads, **options: start(PayloadServer(tmp_path, payloads, **options))


@pytest.fixture
def gateway(start, tmp_path):
    """gateway(config, ...) -> a running Gateway"""
    return lambda config, **options: start(Gateway(tmp_path, config, **options))


@pytest.fixture
def nats_server(start, tmp_path):
    """nats_server(config="", binary="current") -> NatsServer"""
    return lambda config="", **options: start(NatsServer(tmp_path, config, **options))


@pytest.fixture
def nats(nats_server):
    """A current nats-server with the stream EVENTS for events.>"""
    server = nats_server()
    server.add_stream()
    return server


@pytest.fixture(params=["current", "debian"])
def each_nats(request, nats_server):
    """The same with each version of the server."""
    server = nats_server(binary=request.param)
    server.add_stream()
    return server


@pytest.fixture(scope="session")
def session_kafka():
    bus = KafkaBus()
    yield bus
    bus.close()


@pytest.fixture
def kafka(session_kafka):
    """The broker that all tests share; whoever ends it must start it again."""
    if session_kafka.broker.process is None:
        session_kafka.broker.start()
    return session_kafka


@pytest.fixture
def topic(request, kafka):
    """A topic of this test's own, one partition."""
    topics = getattr(kafka, "topics", 0)
    kafka.topics = topics + 1
    return kafka.add_topic(f"t{topics}-{request.node.originalname}")
