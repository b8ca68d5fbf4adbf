"""As fast as it goes: events a second, CPU and memory of the client."""

import functools
import time

from bus import Flood
from case import Case, Row, median, number, part, ratio
from measure import cpu_seconds, peak_kib
from servers import Blast
from stage import settled

SIZE = 256
ON_BUS = 686  # what such a payload becomes in Argo's form
FLOOD = "flood"  # the third contender
WARM, SECONDS = 1, 5
FASTER, CHEAPER = 20, 30


def run(stage, contender, kind):
    bus = stage.bus(kind)
    if contender == FLOOD:
        client = stage.start(Flood(stage.directory, bus, ON_BUS))
    else:
        client = stage.client(contender, stage.start(Blast(stage.directory, SIZE)), bus)
    bus.wait_count(1)
    time.sleep(WARM)

    def now():
        return (time.monotonic(), cpu_seconds(client.pid), cpu_seconds(bus.server_pid()),
                bus.count())
    before = now()
    time.sleep(SECONDS)  # what is counted is what comes meanwhile
    seconds, cpu, bus_cpu, events = (b - a for a, b in zip(before, now()))
    return {"rate": events / seconds, "cpu_us": cpu * 1e6 / events,
            "bus_cpu_us": bus_cpu * 1e6 / events, "peak_mib": peak_kib(client.pid) / 1024}


def idle(stage, contender):
    """Connected to both sides, with one event behind it."""
    bus = stage.jetstream()
    client = stage.client(contender, stage.server(total=1), bus)
    settled(bus, 1, quiet=20)
    time.sleep(1)  # what the event has stirred up comes to rest
    return {"rss_mib": client.memory_kib() / 1024}


def rows(bus, results):
    faster = ratio(results, "penstock", "argo", "rate")
    cheaper = ratio(results, "argo", "penstock", "cpu_us")
    mib = [number(median(results, name, "peak_mib")) for name in ("argo", "penstock")]
    of_bus = [number(median(results, name, "bus_cpu_us"), 1) for name in ("argo", "penstock")]
    return [Row(f"events/s to {bus}, {SIZE} B", number(median(results, "argo", "rate")),
                f"{number(median(results, 'penstock', 'rate'))} ({part(faster)} times)",
                f"{FASTER} times", faster >= FASTER),
            Row(f"CPU of the client an event to {bus}, us",
                number(median(results, "argo", "cpu_us")),
                f"{number(median(results, 'penstock', 'cpu_us'), 1)} (1/{part(cheaper)})",
                f"1/{CHEAPER}", cheaper >= CHEAPER),
            Row(f"CPU of {bus} itself an event at that, us", *of_bus),
            Row(f"most memory (RSS) at that, to {bus}, MiB", *mib)]


def jetstream_rows(results):
    times = [f"{part(ratio(results, FLOOD, name, 'rate'))} times"
             for name in ("argo", "penstock")]
    limit = number(median(results, FLOOD, "rate"))
    return [*rows("JetStream", results),
            Row(f"the limit: {limit} events/s, which JetStream takes from a sender whose messages "
                "are made beforehand", *(f"this is {one} as many" for one in times))]


def idle_rows(results):
    return [Row("memory (RSS) idle, connected, MiB",
                *(number(median(results, name, "rss_mib")) for name in ("argo", "penstock")))]


CASES = [Case("speed-jetstream", functools.partial(run, kind="jetstream"),
              jetstream_rows, contenders=("argo", "penstock", FLOOD), rounds=5),
         Case("speed-kafka", functools.partial(run, kind="kafka"),
              functools.partial(rows, "Kafka"), rounds=5, kafka=True),
         Case("idle", idle, idle_rows, rounds=1)]
