"""The report: what a scenario lacks makes the whole of it not good."""

import json
import pathlib
import subprocess
import sys

import pytest

import report as program
from harness.gateway import Ledger
from harness.process import ROOT
from report import OfTest, Report, Scenario, markdown, total
from test_verdict import payloads
from witness import read_records

LINES = ["E orders 1 4", "A orders 1", "A orders 2", "A orders 3"]


@pytest.fixture
def run():
    return Report(seed=17)


def of(run, name="a"):
    return OfTest(run, name, 1)


def written(run, path):
    path.write_text(json.dumps(run.as_json()))
    return str(path)


def test_good(run, tmp_path, capsys):
    of(run).judge(read_records(LINES), payloads(1, 2, 3), faults={"kill gateway": 7})
    of(run, "b").judge(read_records(LINES), payloads(1, 2), payloads(3), faults={"cut": 2})
    assert program.main([written(run, tmp_path / "run.json")]) == 0
    table = capsys.readouterr().out
    assert "| a | gateway 7 |  | 4 | 3 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 0 | good | 1 |" in table
    assert "| **total** | gateway 7 | cut 2 | 8 | 6 | 0 | 0 | 0 | 0 | 0 | 1 | 2 | 0 |" in table


def test_an_inserted_loss_makes_it_not_good(run, tmp_path, capsys):
    of(run).judge(read_records(LINES), payloads(1, 2, 3))
    with pytest.raises(AssertionError, match="1 lost"):
        of(run, "b").judge(read_records(LINES), payloads(1, 3))
    of(run, "c").judge(read_records(LINES), payloads(1, 2, 3))
    capsys.readouterr()
    assert program.main([written(run, tmp_path / "run.json"), "--json",
                         str(tmp_path / "sum.json")]) == 1
    table = capsys.readouterr().out
    assert "| b |  |  | 4 | 3 | 1 |" in table and "- b: orders: 1 lost: [2]" in table
    assert table.count("NOT GOOD") == 2
    assert json.loads((tmp_path / "sum.json").read_text())["total"]["lost"] == 1


def test_what_something_else_found(run):
    with pytest.raises(AssertionError, match="image 3"):
        of(run).add(False, {"power cut": 10}, ["image 3"], lost=1)
    assert not program.good(run.rows)


def test_nothing_at_all_is_not_good(run, tmp_path):
    assert program.main([written(run, tmp_path / "run.json")]) == 1
    assert not program.good([])


def test_runs_are_added_up(run, tmp_path, capsys):
    of(run).judge(read_records(LINES), payloads(1, 2, 3), faults={"kill nats-server": 2})
    one = written(run, tmp_path / "run.json")
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{program.BEGIN}\nold\n{program.END}\nafter\n")
    assert program.main([one, one, "--write", str(document)]) == 0
    text = document.read_text()
    assert "2 runs, --seed 17, 17" in text and "old" not in text
    assert "| a | nats-server 4 |  | 8 | 6 |" in text and text.endswith("\nafter\n")
    document.write_text("no markers")
    with pytest.raises(SystemExit, match="faults: begin"):
        program.main([one, "--write", str(document)])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        program.main([str(document)])


def test_a_bad_row_of_one_run_is_bad_in_the_sum():
    assert not total([Scenario("a", True), Scenario("a", False)]).good
    assert "NOT GOOD" in markdown(program.summed([Scenario("a", True), Scenario("a", False)]), [1])


def test_the_document_has_its_place():
    text = (ROOT / "docs" / "delivery.md").read_text()
    assert text.count(program.BEGIN) == text.count(program.END) == 1


SCENARIOS = """
def test_good(report, witness):
    report.add(True, {})

def test_without_a_verdict(witness):
    pass

def test_that_fails_first(report):
    assert 1 == 2
"""


def test_a_scenario_without_a_verdict_makes_it_not_good(tmp_path):
    """A whole run, with the fixtures of this folder."""
    here = pathlib.Path(program.__file__).parent
    (tmp_path / "conftest.py").symlink_to(here / "conftest.py")
    (tmp_path / "test_them.py").write_text(SCENARIOS)
    out = tmp_path / "out.json"
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           "--report", str(out), "--seed", "5", str(tmp_path)], check=False,
                          capture_output=True, text=True, timeout=100, cwd=tmp_path)
    run = json.loads(out.read_text())
    assert (done.returncode, run["seed"], run["good"]) == (1, 5, False), done.stdout
    good, silent, failed = run["scenarios"]
    assert good["good"] and not silent["good"] and not failed["good"]
    assert silent["findings"] == ["it has not judged: use the fixture report"]
    assert "assert 1 == 2" in failed["findings"][0]
    assert len({one["seed"] for one in run["scenarios"]}) == 3


class Stopped:
    """A gateway that says this at its end."""

    def __init__(self, *ledger, dead=()):
        names = ("received", "delivered", "dead_lettered")
        self.ledger, self.dead = dict(zip(names, ledger)), list(dead)

    def runs(self):
        return False

    def dead_letters(self):
        return self.dead

    def ledgers(self):
        return {("orders", "bus"): Ledger(dropped={}, pending=0, notes={}, **self.ledger)}


def test_a_ledger_that_agrees(run):
    of(run).judge(read_records(LINES), payloads(1, 2, 2), gateway=Stopped(3, 2, 1,
                                                                          dead=payloads(3)))
    of(run).judge(read_records(LINES), payloads(1, 2, 3, 4), gateway=Stopped(2, 2, 0), since=3)
    assert [(row.dead, row.ledgers) for row in run.rows] == [(1, 1), (0, 1)]


@pytest.mark.parametrize("ledger, said", [((3, 2, 1), "2 delivered in place of 3"),
                                          ((4, 3, 0), "does not balance"),
                                          ((4, 4, 0), "4 delivered in place of 3")])
def test_a_ledger_that_does_not(ledger, said, run):
    with pytest.raises(AssertionError, match=said):
        of(run).judge(read_records(LINES), payloads(1, 2, 3), gateway=Stopped(*ledger))
    assert not run.rows[0].good and run.rows[0].ledgers == 0
