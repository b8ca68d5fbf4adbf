"""The event server goes and comes back: how long until its events flow again."""

import functools
import time

from bus import unwrap
from case import Case, Row, number, spread, values
from harness.process import wait_until
from servers import EVENT
from verdict import parse_payload

RATE = 100
TICK = 5  # seconds; Argo connects on a grid of these, so the outage begins anywhere on it
GOAL = 1.0


def run(stage, contender, away):
    bus = stage.jetstream()
    server = stage.server(rate=RATE)
    stage.client(contender, server, bus)
    tap = bus.tap()
    wait_until(tap.messages, "a first event")
    time.sleep(TICK + 1 + stage.choose.uniform(0, TICK))  # a connection that is well settled
    server.kill()
    time.sleep(away)  # what is measured is that time passes
    server.begin()
    wait_until(lambda: "PORT" in server.text(), server.tail, interval=0.002)
    back = time.time_ns()

    def first():
        return next((at for at, data in reversed(tap.messages())
                     if parse_payload(unwrap(data))[0].startswith(f"{EVENT}/2-")), None)
    wait_until(first, f"an event of {server.name}'s second life", interval=0.2)
    came = min(at for at, data in tap.messages()
               if parse_payload(unwrap(data))[0].startswith(f"{EVENT}/2-"))
    tap.close()
    return {"seconds": max(0.0, (came - back) / 1e9)}


def rows(away, results):
    def cell(contender):
        return spread(values(results, contender, "seconds"), 2) + " s"
    most = max(values(results, "penstock", "seconds"))
    return [Row(f"event server killed, listens again after {away} s: from then to the first new "
                "event on the bus", cell("argo"), cell("penstock"), f"{number(GOAL)} s",
                most <= GOAL)]


def case(away, **options):
    return Case(f"return-{away}", functools.partial(run, away=away),
                functools.partial(rows, away), **options)


CASES = [case(away, rounds=5) for away in (1, 7, 20)]
QUICK = [case(1, rounds=1)]
