"""What the server handed to gRPC, against what lies on the bus: the verdict of tests/faults."""

from servers import EVENT
from verdict import ALL, judge


def account(server, bus, besides=None):
    """Numbers of all connections of the server's life, which has ended. besides: the number of an
    event of the first one that is not counted as lost."""
    emitted = server.handed_over()
    verdict = judge(emitted, {}, bus.arrived(), owed=ALL)
    rows = verdict.rows.values()
    lost = [(source, number) for source, row in verdict.rows.items() for number in row.lost
            if (source, number) != (f"{EVENT}/1-1", besides)]
    bad = [finding for finding in verdict.findings() if "altered" in finding]
    assert not bad, bad
    return {"sent": sum(row.emitted for row in rows), "on_bus": sum(row.arrived for row in rows),
            "lost": len(lost), "duplicates": sum(len(row.duplicates) for row in rows),
            "gaps": sum(map(gaps, rows)),
            "reordered": sum(len(row.reordered) for row in rows)}


def gaps(row):
    """How many of the lost ones lie below an event that did arrive."""
    missing = set(row.lost)
    last = next((n for n in range(row.emitted, 0, -1) if n not in missing), 0)
    return sum(number < last for number in missing)
