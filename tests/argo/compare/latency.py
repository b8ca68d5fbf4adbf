"""From the moment in which the server made an event until a subscriber of the bus has it."""

import json
import statistics

from bus import unwrap
from case import Case, Row, median, number, part, ratio
from measure import cpu_seconds

RATE, SECONDS, WARM = 1000, 20, 2


def run(stage, contender):
    bus = stage.jetstream()
    server = stage.server(payloads="timed", rate=RATE, total=RATE * (SECONDS + WARM))
    client = stage.client(contender, server, bus)
    tap = bus.tap()
    bus.wait_count(RATE * WARM)
    before, cpu = bus.count(), cpu_seconds(client.pid)
    bus.wait_count(RATE * (SECONDS + WARM), timeout=SECONDS + 60)
    cpu = cpu_seconds(client.pid) - cpu
    delays = []
    for at, data in tap.messages():
        event = json.loads(unwrap(data))
        if event["seq"] >= RATE * WARM:
            delays.append((at - event["at"]) / 1e6)
    tap.close()
    assert len(delays) == RATE * SECONDS, f"{len(delays)} of {RATE * SECONDS} events"
    cuts = statistics.quantiles(delays, n=100)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(delays),
            "cpu_us": cpu * 1e6 / (RATE * (SECONDS + WARM) - before)}


def rows(results):
    def cell(contender):
        return " / ".join(number(median(results, contender, key), 2)
                          for key in ("p50_ms", "p99_ms"))
    return [Row(f"latency at {RATE:,} events/s into JetStream, p50 / p99, ms", cell("argo"),
                cell("penstock")),
            Row(f"CPU of the client an event at {RATE:,} events/s, us",
                number(median(results, "argo", "cpu_us")),
                f"{number(median(results, 'penstock', 'cpu_us'), 1)} "
                f"(1/{part(ratio(results, 'argo', 'penstock', 'cpu_us'))})")]


CASES = [Case("latency", run, rows)]
