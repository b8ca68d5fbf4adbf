#!/usr/bin/env python3
"""The report of the fault suite: a row for each scenario, and their sum.

    report.py FILE... [--markdown FILE] [--json FILE] [--write docs/delivery.md]

Each FILE is the JSON of one run, as `pytest tests/faults --report FILE` writes it. Rows of several
runs are added up. --write puts the table between the two marker lines of a document, if all is
good. Exit status 0: all is good; 1: something is not, or there is no row; 2: usage.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time

from verdict import judge

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
KILL = "kill "  # faults of this prefix are kills; the rest names who was killed


@dataclasses.dataclass
class Scenario:
    """A row. faults: {"kill gateway": 40, "power cut": 300, "SIGSTOP nats-server": 1}."""
    name: str
    good: bool
    faults: dict = dataclasses.field(default_factory=dict)
    emitted: int = 0
    acked: int = 0
    lost: int = 0
    invented: int = 0
    altered: int = 0
    duplicates: int = 0
    reordered: int = 0
    dead: int = 0
    window: int = 0
    ledgers: int = 0  # that were compared with the bus, and agree
    seconds: float = 0
    seed: int = 0
    findings: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.good = self.good and other.good
        for what, n in other.faults.items():
            self.faults[what] = self.faults.get(what, 0) + n
        for name in (*COUNTS, "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings = self.findings + other.findings


COUNTS = ("emitted", "acked", "lost", "invented", "altered", "duplicates", "reordered", "dead",
          "window", "ledgers")


class Report:
    """What the tests of one run find. `rows` may be read at any time."""

    def __init__(self, seed):
        self.seed, self.rows = seed, []

    def as_json(self):
        return {"seed": self.seed, "good": good(self.rows),
                "scenarios": [dataclasses.asdict(row) for row in self.rows]}


class OfTest:
    """The fixture `report`: judges, and thereby reports. seed: this test's own, to be used for all
    that it chooses, so that the run's seed replays it."""

    def __init__(self, report, name, seed):
        self.report, self.name, self.seed = report, name, seed
        self.since = time.monotonic()
        self.judged = 0  # verdicts of this test

    def judge(self, records, arrived, dead=(), faults=None, gateway=None, since=0, name=None,
              **options):
        """The verdict on what a witness was told (witness.Records) and what was read back; it is in
        the report then, and the test fails if it is not good. gateway: one that has stopped and
        whose only sink is the bus; its dead letters are read, and its ledger must agree with the
        bus as to the numbers from `since` on, or the sources in it. options: as those of
        verdict.judge."""
        if gateway is not None:
            assert not gateway.runs(), "stop the gateway first"
            dead = [*dead, *gateway.dead_letters()]
            options["ledgers"] = {source: one for (source, _), one in gateway.ledgers().items()}
        result = judge(records.emitted, records.acked, arrived, dead, since=since, **options)
        row = Scenario(name or self.name, result.good(), dict(faults or {}),
                       ledgers=result.ledgers - len(result.disagreements),
                       findings=result.findings())
        for one in result.rows.values():
            for what in COUNTS[:-1]:
                value = getattr(one, what)
                number = len(value) if isinstance(value, list) else value
                setattr(row, what, getattr(row, what) + number)
        print(result.table())
        self._add(row)
        assert result.good(), result.findings()
        return result

    def add(self, good, faults, findings=(), name=None, **counts):
        """A scenario that something else has judged, as the check of crash images. counts: as the
        columns of Scenario."""
        self._add(Scenario(name or self.name, bool(good), dict(faults), findings=list(findings),
                           **counts))
        assert good, list(findings)

    def _add(self, row):
        row.seed, row.seconds = self.seed, round(time.monotonic() - self.since, 1)
        self.report.rows.append(row)
        self.judged += 1


# ---- the table

def good(rows):
    return bool(rows) and all(row.good for row in rows)


def summed(rows):
    """One row for each name, in the order in which the names first come."""
    out = {}
    for row in rows:
        if row.name in out:
            out[row.name].add(row)
        else:
            out[row.name] = dataclasses.replace(row, faults=dict(row.faults))
    return list(out.values())


def total(rows):
    whole = Scenario("**total**", good(rows))
    for row in rows:
        whole.add(row)
    return whole


def listed(faults, kills):
    named = ((what.removeprefix(KILL), n) for what, n in sorted(faults.items())
             if what.startswith(KILL) == kills and n)
    return ", ".join(f"{what} {n:,}" for what, n in named)


def cells(row, with_seed):
    counts = [f"{getattr(row, name):,}" for name in COUNTS]
    verdict = "good" if row.good else "NOT GOOD"
    out = [row.name, listed(row.faults, True), listed(row.faults, False), *counts, verdict]
    return out + ([str(row.seed or "")] if with_seed else [])


def markdown(rows, seeds):
    """The table; rows of one run have their seeds beside them."""
    with_seed = len(seeds) == 1
    head = ["scenario", "kill -9", "other faults", *COUNTS, "verdict"] + ["seed"] * with_seed
    body = [head, ["---"] * 3 + ["--:"] * len(COUNTS) + ["---"] * (1 + with_seed)]
    body += [cells(row, with_seed) for row in [*rows, total(rows)]]
    lines = ["| " + " | ".join(line) + " |" for line in body]
    findings = [f"- {row.name}: {finding}" for row in rows for finding in row.findings]
    runs = "run" if len(seeds) == 1 else "runs"
    title = (f"{len(seeds)} {runs}, --seed {', '.join(map(str, seeds))}; "
             f"{total(rows).seconds / 60:.0f} min.")
    return "\n".join([title, "", *lines, *([""] if findings else []), *findings]) + "\n"


def put_between_markers(path, table, begin=BEGIN, end=END):
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"{path}: put the table's place there: a line {begin} and a line {end}")
    before, after = text.split(begin)[0], text.split(end)[1]
    path.write_text(f"{before}{begin}\n\n{table}\n{end}{after}")


def read_run(path):
    run = json.loads(pathlib.Path(path).read_text())
    return run["seed"], [Scenario(**row) for row in run["scenarios"]]


def write(rows, seeds, to_json=None, to_markdown=None):
    if to_json:
        out = {"seeds": seeds, "good": good(rows),
               "scenarios": [dataclasses.asdict(row) for row in rows],
               "total": dataclasses.asdict(total(rows))}
        pathlib.Path(to_json).write_text(json.dumps(out, indent=2) + "\n")
    if to_markdown:
        pathlib.Path(to_markdown).write_text(markdown(rows, seeds))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--write", metavar="DOCUMENT", type=pathlib.Path)
    options = parser.parse_args(arguments)
    try:
        runs = [read_run(path) for path in options.runs]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    rows, seeds = summed([row for _, those in runs for row in those]), [seed for seed, _ in runs]
    write(rows, seeds, options.json, options.markdown)
    print(markdown(rows, seeds), end="")
    if not good(rows) or not all(those for _, those in runs):
        return 1
    if options.write:
        put_between_markers(options.write, markdown(rows, seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
