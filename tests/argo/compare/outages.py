"""The bus is away and comes back: what is lost meanwhile."""

import functools
import time

from account import account
from case import Case, Row, all_are, median, number, spread, values
from stage import settled

BEFORE, AWAY, AFTER = 5, 12, 13  # seconds of events
QUIET = 14  # of Argo's longest pause: 5 s to the next try to connect, and 8 s of retries


def run(stage, contender, kind, rate, before=BEFORE, away=AWAY, after=AFTER):
    total = rate * (before + away + after)
    bus = stage.bus(kind)
    server = stage.server(rate=rate, total=total)
    client = stage.client(contender, server, bus)
    kept = stage.kept(client)
    bus.wait_count(rate * before)
    bus.kill()
    begin = time.monotonic()
    time.sleep(away)  # what is measured is that time passes
    bus.start()
    away = time.monotonic() - begin
    settled(bus, total, QUIET)
    exits = kept.stop()
    client.kill()
    server.wait_for(rf"^END {server.connections()} ")
    server.stop()
    return {**account(server, bus), "away_s": away, "exits": exits}


def cell(results, contender):
    rounds = results[contender]
    text = f"{spread(values(results, contender, 'lost'))} lost"
    text += f" of {number(median(results, contender, 'sent'))}"
    twice = max(values(results, contender, "duplicates"))
    text += f", {twice} twice" if twice else ", none twice"
    exits = sum(bool(one["exits"]) for one in rounds)
    if exits:
        status = next(one["exits"][0] for one in rounds if one["exits"])
        text += f"; exits with {status} ({exits} of {len(rounds)} runs), started again 1 s later"
    return text


def rows(bus, rate, results):
    away = median(results, "penstock", "away_s")
    met = all_are(results, "lost") and all_are(results, "exits", [])
    return [Row(f"{bus} killed, back after {away:.0f} s, {rate:,} events/s", cell(results, "argo"),
                cell(results, "penstock"), "none lost", met)]


def case(name, kind, rate, rounds=3, **seconds):
    bus = "NATS" if kind == "jetstream" else "Kafka"
    return Case(name, functools.partial(run, kind=kind, rate=rate, **seconds),
                functools.partial(rows, bus, rate), rounds=rounds)


CASES = [case("nats-outage-10", "jetstream", 10), case("nats-outage-1000", "jetstream", 1000),
         case("kafka-outage-1000", "kafka", 1000)]
QUICK = [case("nats-outage", "jetstream", 1000, rounds=1, before=1, away=2, after=1)]
