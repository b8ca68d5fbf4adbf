"""The fixtures of tests/e2e, and the witness."""

import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)

from harness.process import BUILD  # noqa: E402
from witness import Witness  # noqa: E402

pytest_collection_modifyitems = e2e.pytest_collection_modifyitems
pytest_sessionstart = e2e.pytest_sessionstart
pytest_runtest_makereport = e2e.pytest_runtest_makereport
start, gateway = e2e.start, e2e.gateway
nats_server, nats, each_nats = e2e.nats_server, e2e.nats, e2e.each_nats
session_kafka, kafka, topic = e2e.session_kafka, e2e.kafka, e2e.topic

PLUGINS = BUILD / "tests" / "faults" / "plugins"


@pytest.fixture
def witness(tmp_path):
    one = Witness(tmp_path)
    yield one
    one.close()
