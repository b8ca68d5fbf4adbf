"""Filters of sources and sinks: what they drop, and that the ledger and the bus agree."""

import json
import signal

from harness.event_server import assert_consecutive
from harness.gateway import run_penstock
from harness.monitor import Monitor
from harness.process import free_port, wait_until

SOURCE = """[gateway]
state_dir = "{dir}/state"
admin_socket = "{dir}/admin.sock"
admin_listen = "127.0.0.1:{port}"
[sources.orders]
plugin = "generator"
count = {count}
rate = {rate}
json = true
size = 120
queue = {{ storage = "{storage}" }}
{filter}
"""


def source(directory, count, storage="disk", rate=0, filter_keys=""):
    return SOURCE.format(dir=directory, port=free_port(), count=count, rate=rate, storage=storage,
                         filter=filter_keys)


def numbers(payloads):
    return [json.loads(payload)["seq"] for payload in payloads]


def test_both_levels_over_a_kill_in_the_middle(gateway, nats, tmp_path):
    """Every third event is dropped by the source's filter, of the rest each sink takes a half."""
    count = 6000
    config = (source(tmp_path, count, rate=3000, filter_keys="filter = 'body.seq % 3 ~= 0'") +
              nats.sink("even", subject="events.even",
                        options="filter = 'body.seq % 2 == 0'\nmsg_id = '{id}-{sink}'") +
              nats.sink("odd", subject="events.odd", options="""msg_id = '{id}-{sink}'
filter = '''
-- the others
body.seq % 2 ~= 0'''"""))
    first = gateway(config, name="first")
    nats.wait_count(600)
    first.end(signal.SIGKILL)
    state = nats.state().messages
    # What the generator had made and was not stored is lost; it begins again, behind what was.
    second = gateway(config, name="second")
    second.wait_for("source orders: finished")
    second.stop_clean()
    assert nats.state().messages > state
    got = {"even": [], "odd": []}
    for message in nats.read():
        got[message.subject.split(".")[1]].append(json.loads(message.data)["seq"])
    assert all(n % 2 == 0 and n % 3 for n in got["even"])
    assert all(n % 2 and n % 3 for n in got["odd"])
    received = set()
    for sink, arrived in got.items():
        ledger = second.ledger("orders", sink)
        received.add(ledger.received)
        assert ledger.delivered == len(arrived), ledger
        assert ledger.dropped == {"filtered": ledger.received - len(arrived)}, ledger
        assert ledger.dead_lettered == 0 and "filter errors" not in ledger.notes
        # Two runs of the generator, each complete but for the tail that the kill took.
        again = arrived.index(min(arrived), 1)
        keep = [n for n in range(count) if n % 3 and n % 2 == (0 if sink == "even" else 1)]
        assert arrived[:again] == keep[:again]
        assert arrived[again:] == keep
    assert len(received) == 1


def test_an_error_is_a_dead_letter_that_a_better_filter_lets_go_or_drops(gateway, nats, tmp_path):
    config = (source(tmp_path, 40) +
              nats.sink(options="filter = 'body.seq % 10 ~= 0 or body.x.y > 5'"))
    running = gateway(config)
    nats.wait_count(36)
    path = running.config
    running.wait_for("dead-lettered event .*the sink's filter: attempt to compare number with nil")
    monitor = Monitor(running)
    metrics = monitor.metrics()
    assert metrics.route("orders", "bus")["filter_errors"] == 4
    status = run_penstock("status", "--config", path)
    assert "4 filter errors" in status.stdout, status.stdout
    listed = run_penstock("deadletters", "list", "--config", path)
    assert listed.stdout.count("filter_error: the sink's filter: attempt to compare") == 4
    # 0 and 20 are let go by the new one, 10 and 30 are dropped.
    path.write_text(config.replace("body.x.y > 5", "body.seq % 20 == 0"))
    assert run_penstock("reload", "--config", path).returncode == 0
    replayed = run_penstock("deadletters", "replay", "--all", "--config", path)
    assert replayed.returncode == 0, replayed.stderr
    nats.wait_count(38)
    settled = "0 kept, 4 ever, 2 delivered after all, 2 dropped"
    wait_until(lambda: settled in run_penstock("queue", "info", "orders", "--config", path).stdout,
               settled)
    ledger = running.stop_clean().ledger("orders", "bus")
    assert (ledger.delivered, ledger.dead_lettered) == (36, 4)
    assert sorted(numbers(nats.payloads())) == [n for n in range(40) if n not in (10, 30)]


def test_a_reload_takes_up_a_new_filter(gateway, nats, tmp_path):
    config = (source(tmp_path, 0, storage="memory", rate=500, filter_keys="filter = 'false'") +
              nats.sink())
    running = gateway(config)
    running.wait_for_sink("bus")
    running.config.write_text(config.replace("'false'", "'body.seq >= 0'"))
    assert run_penstock("reload", "--config", running.config).returncode == 0
    nats.wait_count(200)
    running.config.write_text(config.replace("'false'", "'body.seq ='"))
    done = run_penstock("reload", "--config", running.config)
    assert done.returncode != 0
    assert "unexpected '='; to compare, write ==" in done.stderr + done.stdout
    ledger = running.stop_clean().ledger("orders", "bus")
    assert ledger.dropped.get("filtered", 0) > 0
    assert ledger.delivered == nats.state().messages
    assert_consecutive(numbers(nats.payloads()), ledger.delivered)


def test_check_says_what_a_filter_does_and_where_it_is_wrong(tmp_path):
    path = tmp_path / "penstock.toml"
    text = (source(tmp_path, 1, filter_keys="filter = 'subjekt == 1'") +
            '[sinks.void]\nplugin = "null"\nfrom = ["*"]\non_filter_error = "pass"\n')
    path.write_text(text)
    done = run_penstock("check", "--config", path)
    assert done.returncode == 78
    assert 'penstock.toml:12:11: error: sources.orders.filter: unknown name \'subjekt\'; did you ' \
        'mean "subject"?' in done.stderr, done.stderr
    assert "sinks.void.on_filter_error: has no effect without a filter" in done.stderr
    path.write_text(text.replace("subjekt == 1", "body.seq > 5") + 'filter = "subject ~= id"\n')
    done = run_penstock("check", "--config", path)
    assert done.returncode == 0, done.stderr
    assert "only events for which body.seq > 5 (filter of source orders)" in done.stdout
    assert "only events for which subject ~= id (filter of sink void); the others are dropped " \
        "and counted (filtered); where it fails, the event passes" in done.stdout
