#!/usr/bin/env python3
"""The verdict: what a witness saw acknowledged, against what an independent client read back.

    verdict.py --witness FILE --bus FILE [--dead FILE] [--strict] [--json FILE]

The witness's FILE holds its lines (witness.py), the others one payload a line, in hex, in the order
of the bus. With --sink NAME in place of --bus the lines of that sink `witness` count. Exit status
0: nothing lost, invented or altered, and order and duplicates within what was promised; 1: a
finding; 2: usage.

For each source
  lost        acknowledged, and neither on the bus nor in the dead letters
  invented    intact, but its source never emitted that number, or there is no such source
  altered     not intact: head, length or checksum are wrong
  duplicates  arrivals on the bus beyond the first of each number
  reordered   first arrivals behind that of a higher number
  in both     on the bus and in the dead letters; allowed: an answer may be unknown
  window      emitted, never acknowledged, and nowhere: what the contract itself does not cover

A source that takes no acknowledgements, as that of the generic contract, is owed something else,
which counts as acknowledged then: all that it emitted, or, where it or the gateway was killed,
all up to its highest number that arrived (GAPLESS).

The gateway's own ledger, if given, must say the same as the bus: delivered is what arrived and is
no dead letter, each number once, dead-lettered is what lies there, and it balances.
"""

import argparse
import bisect
import dataclasses
import json
import pathlib
import re
import sys
import zlib

from witness import read_records

HEAD = re.compile(rb"w1 (\S+) (\d+) (\d+) ([0-9a-f]{8})\n")
UNKNOWN = "?"  # the source of a payload that does not even say that
ACKED, GAPLESS, ALL = "acked", "gapless", "all"  # what a source is owed


def parse_payload(payload):
    """(source, number) of an intact payload of numbered.h, else ValueError."""
    head = HEAD.match(payload)
    if not head:
        raise ValueError("no head")
    body = payload[head.end():]
    if len(body) != int(head[3]):
        raise ValueError(f"{len(body)} bytes in place of {int(head[3])}")
    if zlib.crc32(body, zlib.crc32(payload[3:head.start(4)])) != int(head[4], 16):
        raise ValueError("wrong checksum")
    return head[1].decode(), int(head[2])


def claimed_source(payload):
    """The source that a damaged payload names."""
    found = re.match(rb"w1 (\S+) ", payload)
    return found[1].decode(errors="replace") if found else UNKNOWN


@dataclasses.dataclass
class Row:
    """One source. Lists hold the numbers concerned."""
    emitted: int = 0
    acked: int = 0
    arrived: int = 0
    dead: int = 0
    lost: list = dataclasses.field(default_factory=list)
    invented: list = dataclasses.field(default_factory=list)
    altered: int = 0
    duplicates: list = dataclasses.field(default_factory=list)
    reordered: list = dataclasses.field(default_factory=list)
    in_both: list = dataclasses.field(default_factory=list)
    window: int = 0


class Emitted:
    """Membership in ranges of numbers."""

    def __init__(self, ranges):
        self.ranges = sorted(ranges)
        self.firsts = [first for first, _ in self.ranges]
        overlap = [b for a, b in zip(self.ranges, self.ranges[1:]) if b[0] <= a[1]]
        assert not overlap, f"numbers used twice, the test is at fault: {overlap[:3]}"

    def __contains__(self, number):
        at = bisect.bisect_right(self.firsts, number) - 1
        return at >= 0 and number <= self.ranges[at][1]

    def __len__(self):
        return sum(last - first + 1 for first, last in self.ranges)


def sort_out(payloads, rows):
    """{source: [number, ...]} in their order; what is altered goes into the rows."""
    numbers = {}
    for payload in payloads:
        try:
            source, number = payload if isinstance(payload, tuple) else parse_payload(payload)
        except ValueError:
            rows.setdefault(claimed_source(payload), Row()).altered += 1
            continue
        numbers.setdefault(source, []).append(number)
    return numbers


def owed_to(owed, emitted, acked, settled):
    """The numbers that count as acknowledged."""
    if owed == ACKED:
        return acked
    highest = max(settled, default=0)
    return [number for first, last in emitted.ranges for number in range(first, last + 1)
            if owed == ALL or number <= highest]


def judge_source(row, emitted, acked, arrived, dead, owed):
    emitted = Emitted(emitted)
    acked = owed_to(owed, emitted, acked, {*arrived, *dead})
    row.emitted, row.acked, row.arrived, row.dead = map(len, (emitted, acked, arrived, dead))
    here, buried, highest = set(), set(dead), 0
    for number in arrived:
        if number in here:
            row.duplicates.append(number)
            continue
        if number < highest:
            row.reordered.append(number)
        highest = max(highest, number)
        here.add(number)
    settled = here | buried
    row.lost = sorted(set(acked) - settled)
    row.invented = sorted(number for number in settled if number not in emitted)
    row.in_both = sorted(here & buried)
    row.window = len(emitted) - len((settled | set(acked)) - set(row.invented))


def family(source):
    """The gateway's name of the source: a server's payloads say `NAME/CONNECTION`."""
    return source.split("/")[0]


def of_family(numbers, source, since):
    """The (name, number) that count for the ledger of a source."""
    def counts(name, number):
        return number >= since if isinstance(since, int) else name in since
    return {(name, number) for name, those in numbers.items() if family(name) == source
            for number in those if counts(name, number)}


def disagreement(source, ledger, here, buried):
    """What the gateway's ledger says otherwise than bus and dead letters, as text."""
    wrong = [] if ledger.balances() else ["it does not balance"]
    for what, says, found in (("delivered", ledger.delivered, len(here - buried)),
                              ("dead-lettered", ledger.dead_lettered, len(buried))):
        if says != found:
            wrong.append(f"{says} {what} in place of {found}")
    return [f"{source}: its ledger is wrong: {', '.join(wrong)}"] if wrong else []


class Verdict:
    def __init__(self, rows, strict, max_duplicates, disagreements, ledgers):
        self.rows, self.strict, self.max_duplicates = rows, strict, max_duplicates
        self.disagreements, self.ledgers = disagreements, ledgers

    def findings(self):
        out = list(self.disagreements)
        for source, row in sorted(self.rows.items()):
            bad = {"lost": row.lost, "invented": row.invented}
            if self.strict:
                bad["reordered"] = row.reordered
            if self.max_duplicates is not None and len(row.duplicates) > self.max_duplicates:
                bad["duplicates"] = row.duplicates
            out += [f"{source}: {len(numbers)} {what}: {numbers[:8]}"
                    for what, numbers in bad.items() if numbers]
            if row.altered:
                out.append(f"{source}: {row.altered} altered")
        return out

    def good(self):
        return not self.findings()

    def as_json(self):
        sources = {source: dataclasses.asdict(row) for source, row in sorted(self.rows.items())}
        return {"good": self.good(), "strict": self.strict, "findings": self.findings(),
                "max_duplicates": self.max_duplicates, "ledgers": self.ledgers,
                "sources": sources}

    def table(self):
        columns = [field.name for field in dataclasses.fields(Row)]
        lines = [["source", *(name.replace("_", " ") for name in columns)]]
        for source, row in sorted(self.rows.items()):
            values = (getattr(row, name) for name in columns)
            lines.append([source, *(str(len(v) if isinstance(v, list) else v) for v in values)])
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths))
                for line in lines]
        return "\n".join([*text, *self.findings(), "good" if self.good() else "NOT GOOD"])


def judge(emitted, acked, arrived, dead=(), strict=False, max_duplicates=None, owed=ACKED,
          ledgers=None, since=0):
    """emitted: {source: [(first, last)]}; acked: {source: [number]}; arrived and dead: payloads, or
    (source, number), of one partition in its order. max_duplicates: for each source, None: any.
    ledgers: {source of the gateway: what its ledger says of the numbers from `since` on, or of
    these sources, if that is a set}."""
    rows = {}
    on_bus, buried = sort_out(arrived, rows), sort_out(dead, rows)
    for source in {*emitted, *acked, *on_bus, *buried}:
        judge_source(rows.setdefault(source, Row()), emitted.get(source, []),
                     acked.get(source, []), on_bus.get(source, []), buried.get(source, []), owed)
    disagreements = []
    for source, ledger in (ledgers or {}).items():
        disagreements += disagreement(source, ledger, of_family(on_bus, source, since),
                                      of_family(buried, source, since))
    return Verdict(rows, strict, max_duplicates, disagreements, len(ledgers or {}))


def of_sink(pairs, sink):
    """(source, number) of the lines of one sink, source by source."""
    return [(source, number) for (name, source), numbers in pairs.items() if name == sink
            for number in numbers]


def read_hex(path):
    return [bytes.fromhex(line) for line in pathlib.Path(path).read_text().splitlines()]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--witness", required=True, metavar="FILE")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--bus", metavar="FILE", help="payloads read back, in hex")
    where.add_argument("--sink", metavar="NAME", help="the sink witness of this name is the bus")
    parser.add_argument("--dead", metavar="FILE", help="dead letters, in hex")
    parser.add_argument("--strict", action="store_true", help="a changed order is a finding")
    parser.add_argument("--max-duplicates", type=int, metavar="N", help="more are a finding")
    parser.add_argument("--json", metavar="FILE", help="write all of it there")
    options = parser.parse_args(arguments)
    try:
        records = read_records(pathlib.Path(options.witness).read_text().splitlines())
        dead = read_hex(options.dead) if options.dead else []
        if options.sink:
            arrived = of_sink(records.delivered, options.sink)
            arrived += [b""] * records.broken.get(options.sink, 0)
            dead += of_sink(records.rejected, options.sink)
        else:
            arrived = read_hex(options.bus)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    verdict = judge(records.emitted, records.acked, arrived, dead, options.strict,
                    options.max_duplicates)
    print(verdict.table())
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(verdict.as_json(), indent=2) + "\n")
    return 0 if verdict.good() else 1


if __name__ == "__main__":
    sys.exit(main())
