"""One event that is too large for both clients, 5 MiB, among others of 1 KiB."""

import re
import time

from account import account
from case import Case, Row, all_are, number, spread, values
from harness.monitor import Monitor
from stage import settled

RATE, SIZE, LARGE, AT = 200, 1024, 5 * 1024 * 1024, 1200
TOTAL = 2000
QUIET = 8  # Argo connects anew after up to 5 s
WATCHED = 20  # seconds
NAMED = r"larger than max"  # gRPC's words, and ours


def run(stage, contender):
    """The server goes on with the next event."""
    bus = stage.jetstream()
    server = stage.server(rate=RATE, size=SIZE, total=TOTAL, oversize_at=AT, oversize_size=LARGE,
                          oversize_once=True)
    client = stage.client(contender, server, bus)
    tap = bus.tap()
    settled(bus, TOTAL - 1, QUIET)
    result = signs(client, contender)
    times = [at for at, _ in tap.messages()]
    client.kill()
    server.wait_for(rf"^END {server.connections()} ")
    server.stop()
    pause = max(b - a for a, b in zip(times, times[1:])) / 1e9
    return {**result, **account(server, bus, besides=AT), "pause_s": pause}


def signs(client, contender):
    """Whether the log says what happened; and a counter, of the gateway."""
    out = {"named": bool(re.search(NAMED, client.text()))}
    if contender != "argo":
        text = Monitor(client).metrics().text
        out["counted"] = int(sum(float(value) for value in
                                 re.findall(r"^\S*oversize_total\S* ([\d.]+)$", text, re.M)))
    return out


def again(stage, contender):
    """The server begins every stream with that event."""
    bus = stage.jetstream()
    server = stage.server(rate=RATE, size=SIZE, oversize_at=1, oversize_size=LARGE)
    client = stage.client(contender, server, bus)
    server.wait_for(r"^STREAM 1 ")
    time.sleep(WATCHED)  # how often it comes back meanwhile is what is asked
    return {**signs(client, contender), "connections": server.connections(),
            "arrived": bus.count()}


def told(results, contender):
    text = "named in the log" if all_are(results, "named", True, (contender,)) else "not named"
    if "counted" in results[contender][0]:
        text += f", counted ({results[contender][0]['counted']})"
    return text


def rows(results):
    def cell(contender):
        return (f"{spread(values(results, contender, 'lost'))} others lost, "
                f"{spread(values(results, contender, 'pause_s'), 1)} s without events; "
                f"{told(results, contender)}")
    met = all_are(results, "named", True) and all(one["counted"] == 1
                                                  for one in results["penstock"])
    return [Row(f"an event of 5 MiB among {number(TOTAL)} of 1 KiB at {RATE} events/s; the server "
                "goes on with the next one", cell("argo"), cell("penstock"),
                "named, counted", met)]


def again_rows(results):
    def cell(contender):
        one = results[contender][0]
        return (f"{one['connections']} streams in {WATCHED} s, {one['arrived']} events on the bus; "
                f"{told(results, contender)}")
    return [Row("the same from a server that begins every stream with that event",
                cell("argo"), cell("penstock"), "named, counted", all_are(results, "named", True))]


CASES = [Case("oversize", run, rows), Case("oversize-again", again, again_rows, rounds=1)]
