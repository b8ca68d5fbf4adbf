"""The fixtures of tests/e2e, the witness, and the report of the run."""

import importlib.util
import json
import pathlib
import random
import sys
import zlib

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)

from harness.process import BUILD  # noqa: E402
from report import OfTest, Report, Scenario, markdown  # noqa: E402
from witness import Witness  # noqa: E402

pytest_collection_modifyitems = e2e.pytest_collection_modifyitems
pytest_sessionstart = e2e.pytest_sessionstart
pytest_runtest_makereport = e2e.pytest_runtest_makereport
start, gateway = e2e.start, e2e.gateway
nats_server, nats, each_nats = e2e.nats_server, e2e.nats, e2e.each_nats
session_kafka, kafka, topic = e2e.session_kafka, e2e.kafka, e2e.topic
payload_server = e2e.payload_server

PLUGINS = BUILD / "tests" / "faults" / "plugins"
FULL = e2e.FULL
RUN = pytest.StashKey[Report]()


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, help="of the run; each test makes its own of it")
    parser.addoption("--report", type=pathlib.Path, help="write the report there, as JSON")


def pytest_configure(config):
    seed = config.getoption("--seed")
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    config.stash[RUN] = Report(seed)


def pytest_report_header(config):
    return f"seed: {config.stash[RUN].seed} (--seed)"


def of_run(config, name):
    report = config.stash[RUN]
    return OfTest(report, name, zlib.crc32(f"{report.seed} {name}".encode()))


def scenario_name(nodeid):
    """Short, and the same in quick and full: test_kill.py::test_to_jetstream[disk] is
    kill: to jetstream [disk]."""
    file, _, test = nodeid.rpartition("/")[2].partition(".py::test_")
    return f"{file.removeprefix('test_')}: {test}".replace("_", " ").replace("[", " [")


@pytest.fixture
def report(request):
    """Judges, and reports; report.seed is this test's seed."""
    one = of_run(request.config, scenario_name(request.node.nodeid))
    print("seed", request.config.stash[RUN].seed, "of the run,", one.seed, "of", one.name)
    return one


@pytest.fixture
def witness(tmp_path):
    one = Witness(tmp_path)
    yield one
    one.close()


class Failures:
    """A test that fails before it has judged makes the report not good as well, and one that has a
    witness and does not judge fails."""

    def __init__(self, config):
        self.config = config

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        done = outcome.get_result()
        if call.when != "call" or not done.passed or "witness" not in item.fixturenames:
            return
        if "report" not in item.funcargs or not item.funcargs["report"].judged:
            done.outcome, done.longrepr = "failed", "it has not judged: use the fixture report"

    def pytest_runtest_logreport(self, report):
        if not report.failed:
            return
        run, name = self.config.stash[RUN], scenario_name(report.nodeid)
        if any(row.name.startswith(name) and not row.good for row in run.rows):
            return
        said = getattr(report.longrepr, "reprcrash", None)
        finding = said.message if said else str(report.longrepr)
        finding = (finding.splitlines() or ["failed"])[0]
        run.rows.append(Scenario(name, False, findings=[finding],
                                 seed=of_run(self.config, name).seed))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    session.config.pluginmanager.register(Failures(session.config))


def pytest_sessionfinish(session):
    run, path = session.config.stash[RUN], session.config.getoption("--report")
    if path:
        path.write_text(json.dumps(run.as_json(), indent=2) + "\n")
        path.with_suffix(".md").write_text(markdown(run.rows, [run.seed]))


def pytest_terminal_summary(terminalreporter, config):
    run = config.stash[RUN]
    terminalreporter.section(f"faults, --seed {run.seed}")
    if run.rows:
        terminalreporter.write_line(markdown(run.rows, [run.seed]))
