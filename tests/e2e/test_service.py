"""What the service manager is told: ready, alive, status, stopping; and the bound on log lines."""

import itertools
import re
import time

import pytest
from harness.process import ROOT, free_port, wait_until
from harness.service_manager import ServiceManager
from test_cli import compile_plugin

GATEWAY = '[gateway]\nadmin_socket = "none"\n'
VOID = '[sinks.void]\nplugin = "null"\nfrom = ["idle"]\n'
IDLE = '[sources.idle]\nplugin = "generator"\ncount = 1\n'


@pytest.fixture
def manager():
    """manager(watchdog=SECONDS) -> ServiceManager"""
    made = []

    def make(watchdog=None):
        made.append(ServiceManager(watchdog))
        return made[-1]
    yield make
    for one in made:
        one.close()


def drop(tmp_path, source, name):
    folder = tmp_path / "dropped"
    folder.mkdir(mode=0o755)
    compile_plugin(ROOT / "tests" / "e2e" / "plugins" / source, folder / f"{name}.so")
    return f'plugin_dirs = ["{folder}"]\n'


def dead_bus(name, source):
    return (f'[sinks.{name}]\nplugin = "nats-jetstream"\nfrom = ["{source}"]\n'
            f'servers = ["nats://127.0.0.1:{free_port()}"]\nsubject = "events.{name}"\n')


def test_a_sink_that_never_returns_ends_the_feeding_and_is_named(gateway, manager, tmp_path):
    period = 3.0
    watched = manager(period)
    until = tmp_path / "until"
    plugins = drop(tmp_path, "stuck_sink.cc", "sink-stuck")
    running = gateway(GATEWAY + plugins + IDLE + VOID + '[sinks.stuck]\nplugin = "stuck"\n'
                      f'from = ["idle"]\nuntil = "{until}"\n', env=watched.env)
    running.wait_for(r"error sink stuck: submit has not returned for \d+ s; the service manager "
                     r"will restart the gateway$")
    last = watched.times("WATCHDOG=1")[-1]
    # Longer than systemd would wait.
    wait_until(lambda: time.monotonic() > last + period + 0.5, "the period's end")
    assert watched.times("WATCHDOG=1")[-1] == last
    until.touch()
    running.wait_for(r"warn +sink stuck: goes on again$")
    wait_until(lambda: watched.times("WATCHDOG=1", since=last + period), "feeding again")
    running.stop_clean()


def test_idle_with_a_dead_bus_or_a_full_queue_it_is_alive(gateway, manager, tmp_path):
    """All of them at once, with a queue on disk and one in memory, for three periods."""
    period = 3.0
    watched = manager(period)
    small = 'queue = {{ storage = "{}", max_events = 10, when_full = "block" }}\n'
    running = gateway(
        GATEWAY + f'state_dir = "{tmp_path}/state"\nshutdown_timeout = "0s"\n' + IDLE + VOID +
        '[sources.dead]\nplugin = "generator"\ncount = 5\n' + dead_bus("gone", "dead") +
        '[sources.full]\nplugin = "generator"\n' + small.format("memory") +
        dead_bus("full", "full") +
        '[sources.stored]\nplugin = "generator"\n' + small.format("disk") +
        dead_bus("stored", "stored"), env=watched.env)
    (ready,) = (at for at, _ in watched.all_of("^READY=1$"))
    wait_until(lambda: time.monotonic() > ready + 3 * period, "three periods")
    fed = [ready, *watched.times("WATCHDOG=1"), time.monotonic()]
    assert max(b - a for a, b in itertools.pairwise(fed)) < period, fed
    assert "has not" not in running.text()


def test_the_status_names_what_is_wrong_until_it_is_well(gateway, manager, nats_server):
    watched = manager()
    server = nats_server()
    server.add_stream()
    server.kill()
    running = gateway(GATEWAY + '[sources.orders]\nplugin = "generator"\nrate = 100\n' +
                      server.sink("bus", subject="events.orders"),
                      env=watched.env)
    wait_until(lambda: watched.all_of("^READY=1$"), "READY=1")
    assert watched.messages[0][1].startswith("READY=1\nSTATUS=running: 1 source, 1 sink")
    wait_until(lambda: re.search(r"running: 1 source, 1 sink; 0 delivered/s; "
                                 r"sink bus: connecting for \d+ s", watched.status()),
               lambda: f"a status about the bus: {watched.messages}")
    server.start()
    wait_until(lambda: re.search(r"1 sink; [1-9][0-9,]* delivered/s$", watched.status()),
               lambda: f"a status without the bus: {watched.messages}")
    told = [at for at, _ in watched.all_of("^STATUS=")]
    assert min(b - a for a, b in itertools.pairwise(told)) > 4.5, told
    assert not watched.times("WATCHDOG=1"), "nobody asked for that"
    running.stop_clean()


def test_a_long_stop_asks_for_time_until_its_deadline(gateway, manager):
    """Events in memory and a dead bus: it drains for the whole shutdown_timeout."""
    watched = manager(4.0)
    running = gateway(GATEWAY + 'shutdown_timeout = "4s"\n' + IDLE + dead_bus("bus", "idle"),
                      env=watched.env)
    running.wait_for("source idle: finished")
    assert running.stop() == 1
    ended = time.monotonic()
    (stopping,) = watched.times("STOPPING=1")
    longer = [(at, int(found[1])) for at, found in watched.all_of(r"^EXTEND_TIMEOUT_USEC=(\d+)$")]
    assert longer[0][0] - stopping < 1
    assert all(at <= stopping + 4.5 for at, _ in longer)
    # Each asks for more than the time to the next, and the last for more than the rest took.
    moments = [at for at, _ in longer] + [ended]
    assert all(b - a < usec / 1e6 for (a, usec), b in zip(longer, moments[1:], strict=True))
    assert re.match(r"stopping: 1 source, 1 sink; (\d+ delivered/s; )?1 pending; sink bus: "
                    r"connecting for \d+ s", watched.status()), watched.messages


def test_a_backlog_on_disk_and_no_ready_sink_do_not_hold_up_the_stop(gateway, manager, tmp_path):
    watched = manager()
    running = gateway(GATEWAY + f'state_dir = "{tmp_path}/state"\nshutdown_timeout = "20s"\n' +
                      IDLE + 'queue = { storage = "disk" }\n' + dead_bus("bus", "idle"),
                      env=watched.env)
    running.wait_for("source idle: finished")
    begin = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - begin < 8
    assert "1 events are on disk and go on at the next start" in running.text()


def test_sinks_that_answer_nothing_take_their_time_together(gateway, tmp_path):
    """Each may take two seconds for its last receipts."""
    plugins = drop(tmp_path, "silent_sink.cc", "sink-silent")
    running = gateway(GATEWAY + 'shutdown_timeout = "0s"\n' + plugins + IDLE +
                      "".join(f'[sinks.s{i}]\nplugin = "silent"\nfrom = ["idle"]\n'
                              for i in range(8)))
    for i in range(8):
        running.wait_for(f"sink s{i}: ready: has one")
    begin = time.monotonic()
    assert running.stop() == 1
    assert 1.5 < time.monotonic() - begin < 8
    assert running.ledger("idle", "s7").pending == 1


def test_a_plugin_that_logs_in_a_loop_is_held_back(gateway, tmp_path):
    plugins = drop(tmp_path, "chatty_source.cc", "source-chatty")
    running = gateway(GATEWAY + plugins + '[sources.loud]\nplugin = "chatty"\nlines = 20000\n'
                      '[sinks.void]\nplugin = "null"\nfrom = ["loud"]\n')
    running.wait_for("source loud: finished")
    running.stop_clean()
    written = len(re.findall(r"source loud: line \d+$", running.text(), re.MULTILINE))
    assert 50 <= written < 500
    held_back = re.findall(r"warn +source loud: (\d+) lines were held back: a plugin may log 50 at "
                           r"once, then 10 a second$", running.text(), re.MULTILINE)
    assert written + sum(map(int, held_back)) == 20000
