"""The client ends under load, asked to or not: what of that which the server handed over to gRPC
never comes to the bus."""

import functools
import signal
import subprocess
import time

from account import account
from case import Case, Row, all_are, median, number, spread, values
from clients import ON_DISK, PENSTOCK, SOURCE, Penstock
from stage import settled

GRACE = 30  # seconds that Kubernetes gives
REST = 3  # seconds without a new event, after which nothing more comes
AWAY = 3


def begin(stage, contender, rate):
    """Some seconds of load."""
    bus = stage.jetstream()
    server = stage.server(**({"rate": rate} if rate else {}))
    client = stage.client(contender, server, bus)
    bus.wait_count(1)
    time.sleep(stage.choose.uniform(1, 2))  # where it strikes
    return bus, server, client


def finish(client, server, bus):
    """Nobody sends any more; what the client had stored it delivers in its next life. stored: what
    its ledger says, which with a queue on disk goes over both lives."""
    server.wait_for(r"^END 1 ")
    server.stop()
    if not isinstance(client, Penstock):
        settled(bus, float("inf"), REST)
        return account(server, bus)
    client.start()
    settled(bus, float("inf"), REST)
    client.stop_clean()
    return {**account(server, bus), "stored": client.ledger(SOURCE, "bus").received}


def kill(stage, contender, rate, away=0):
    bus, server, client = begin(stage, contender, rate)
    if away:
        bus.kill()
        time.sleep(away)  # for so long the queue grows, or what there is in its place
    client.kill()
    if away:
        bus.start()
    return finish(client, server, bus)


def terminate(stage, contender, rate):
    bus, server, client = begin(stage, contender, rate)
    before, asked = bus.count(), time.monotonic()
    client.process.send_signal(signal.SIGTERM)
    try:
        status = client.process.wait(GRACE)
    except subprocess.TimeoutExpired:
        status = None
    seconds, after = time.monotonic() - asked, bus.count()
    client.kill()
    return {"status": status, "seconds": seconds, "after": after - before,
            **finish(client, server, bus)}


def load(rate):
    return f"at {rate:,} events/s" if rate else "at full speed"


def lost(results, contender):
    return spread(values(results, contender, "lost"))


def terminate_rows(rate, results):
    argo = (f"alive after {GRACE} s, {number(median(results, 'argo', 'after'))} more events on the "
            f"bus; killed then: {lost(results, 'argo')} lost")
    if any(one["status"] is not None for one in results["argo"]):
        argo = f"exit statuses {values(results, 'argo', 'status')}: {lost(results, 'argo')} lost"
    ours = (f"ends in {spread(values(results, 'penstock', 'seconds'), 2)} s, exit "
            f"{results['penstock'][0]['status']}: {lost(results, 'penstock')} lost")
    return [Row(f"SIGTERM {load(rate)}", argo, ours, "ends by itself",
                all_are(results, "status"))]


def kill_rows(what, results):
    met = all(one["stored"] == one["on_bus"] and one["gaps"] == 0 for one in results[ON_DISK])
    disk = f"{lost(results, ON_DISK)} lost, {'none' if met else 'SOME'} of them stored"
    return [Row(what, f"{lost(results, 'argo')} lost",
                f"queue in memory: {lost(results, 'penstock')} lost; on disk: {disk}",
                "nothing lost that was stored on disk", met)]


def kill_case(name, what, rate, **options):
    return Case(name, functools.partial(kill, rate=rate, **options),
                functools.partial(kill_rows, what), ("argo", *PENSTOCK))


CASES = [Case("sigterm", functools.partial(terminate, rate=1000),
              functools.partial(terminate_rows, 1000)),
         Case("sigterm-full", functools.partial(terminate, rate=0),
              functools.partial(terminate_rows, 0)),
         kill_case("kill", "kill -9 at 1,000 events/s", 1000),
         kill_case("kill-full", "kill -9 at full speed", 0),
         kill_case("kill-away", f"kill -9 at 1,000 events/s, NATS away for {AWAY} s by then", 1000,
                   away=AWAY)]
