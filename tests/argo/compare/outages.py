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
        text += f"; exits with {rounds[-1]['exits'] and rounds[-1]['exits'][0]}" \
                f" ({exits} of {len(rounds)} runs)"
    return text


def rows(bus, how, results):
    away = median(results, "penstock", "away_s")
    met = all_are(results, "lost") and all_are(results, "exits", [])
    rate = results["rate"]
    return [Row(f"{bus} {how} {away:.0f} s, {rate:,} events/s", cell(results, "argo"),
                cell(results, "penstock"), "none lost", met)]


def case(name, kind, rate, **options):
    bus = "NATS" if kind == "jetstream" else "Kafka"

    def rows_at(results):
        return rows(bus, "killed, back after", {**results, "rate": rate})
    return Case(name, functools.partial(run, kind=kind, rate=rate), rows_at, **options)


CASES = [case("nats-outage-10", "jetstream", 10), case("nats-outage-1000", "jetstream", 1000),
         case("kafka-outage-1000", "kafka", 1000)]
QUICK = [Case("nats-outage-quick",
              functools.partial(run, kind="jetstream", rate=1000, before=1, away=2, after=1),
              lambda results: rows("NATS", "killed, back after", {**results, "rate": 1000}),
              rounds=1)]
