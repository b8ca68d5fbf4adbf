"""Queues on disk: what a restart, another configuration and a second gateway find there."""

import pytest
from harness.gateway import run_penstock
from harness.process import free_port

STATE = '[gateway]\nadmin_socket = "none"\nstate_dir = "{dir}/state"\n'
SOURCE = """[sources.orders]
plugin = "generator"
count = {count}
size = 100
queue = {{ storage = "disk" }}
"""


def sink(name, port):
    return (f'[sinks.{name}]\nplugin = "nats-jetstream"\nfrom = ["orders"]\n'
            f'servers = ["nats://127.0.0.1:{port}"]\nsubject = "events.orders"\nformat = "raw"\n')


def config(directory, count, *sinks):
    return STATE.format(dir=directory) + SOURCE.format(count=count) + "".join(sinks)


@pytest.fixture
def backlog(gateway, tmp_path):
    """500 events on disk for two sinks whose bus is away."""
    port = free_port()
    sinks = {"bus": sink("bus", port), "other": sink("other", port)}
    running = gateway(config(tmp_path, 500, *sinks.values()), name="first")
    running.wait_for("source orders: finished")
    assert running.stop() == 0, running.tail()
    assert running.ledger("orders", "bus").pending == 500
    assert "1000 events are on disk and go on at the next start" in running.text()
    return sinks


def refused(tmp_path, text, code=78):
    path = tmp_path / "changed.toml"
    path.write_text(text)
    done = run_penstock("run", "--config", path)
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_stop_with_a_dead_bus_keeps_the_backlog_and_does_not_wait(backlog, gateway, nats,
                                                                    tmp_path):
    running = gateway(config(tmp_path, 10, nats.sink("bus", subject="events.orders"),
                             nats.sink("other", subject="events.other",
                                       options='msg_id = "{id}-{sink}"')),
                      name="second")
    running.wait_for("store: recovered 500 events of source orders")
    running.wait_for_sink("bus")
    running.wait_for_sink("other")
    running.wait_for("source orders: finished")
    running.stop_clean()
    assert running.ledger("orders", "bus").delivered == 510
    assert running.ledger("orders", "bus").received == 510
    assert nats.state().messages == 1020


def test_a_source_that_is_gone_and_has_events_left_refuses_the_start(backlog, tmp_path):
    text = config(tmp_path, 1, backlog["bus"], backlog["other"]).replace("orders", "renamed")
    error = refused(tmp_path, text)
    assert "source orders is no longer in the configuration, and 500 events for sink" in error
    assert "penstock queue forget orders" in error


def test_a_queue_that_is_to_be_in_memory_now_refuses_the_start(backlog, tmp_path):
    text = config(tmp_path, 1, *backlog.values()).replace('"disk"', '"memory"')
    assert 'source orders no longer has queue.storage = "disk"' in refused(tmp_path, text)


def test_a_sink_that_is_gone_and_has_events_left_refuses_the_start(backlog, tmp_path):
    error = refused(tmp_path, config(tmp_path, 1, backlog["bus"]))
    assert "sink other no longer reads source orders, and 500 events for it" in error
    assert "penstock queue forget orders --sink other" in error


def test_a_second_gateway_on_the_same_store_is_refused(gateway, tmp_path):
    text = config(tmp_path, 1, sink("bus", free_port()))
    first = gateway(text)
    error = refused(tmp_path, text, code=1)  # the other one may end: not for systemd to give up
    assert f"is in use by process {first.pid}" in error
    assert "gateway.state_dir" in error


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "state").write_text("a file")
    error = refused(tmp_path, config(tmp_path, 1, sink("bus", free_port())))
    assert f"{tmp_path}/state" in error


def test_a_gateway_in_memory_runs_without_a_state_directory_and_says_what_that_means(gateway,
                                                                                    tmp_path):
    (tmp_path / "state").write_text("a file")
    text = config(tmp_path, 5, '[sinks.void]\nplugin = "null"\nfrom = ["orders"]\n')
    running = gateway(text.replace('"disk"', '"memory"'))
    running.wait_for("no dead letters are kept")
    running.stop_clean()


def test_a_limit_of_attempts_is_refused_where_they_cannot_be_counted(tmp_path):
    text = (config(tmp_path, 1) + '[sinks.lake]\nplugin = "kafka"\nfrom = ["orders"]\n'
            'topic = "t"\nclient = { "bootstrap.servers" = "127.0.0.1:1" }\n'
            "retry = { limit = 3 }\n")
    path = tmp_path / "penstock.toml"
    path.write_text(text)
    done = run_penstock("check", "--config", path)
    assert done.returncode == 78
    assert "sinks.lake.retry.limit: the plugin kafka tries again by itself" in done.stderr
    path.write_text(text.replace("limit = 3", 'limit = "1h"'))
    done = run_penstock("check", "--config", path)
    assert done.returncode == 0, done.stderr
    assert "until 3600 s after the first attempt" in done.stdout


def test_what_is_too_large_for_the_bus_goes_to_the_dead_letters_and_stays_there(
        gateway, nats_server, tmp_path):
    nats = nats_server()
    nats.add_stream(max_msg_size=50)
    text = config(tmp_path, 3, nats.sink("bus", subject="events.orders"))
    running = gateway(text)
    running.wait_for_sink("bus")
    running.wait_for("source orders: finished")
    running.stop_clean()
    ledger = running.ledger("orders", "bus")
    assert (ledger.received, ledger.dead_lettered) == (3, 3)
    again = gateway(text.replace("count = 3", "count = 1"), name="again")
    again.wait_for_sink("bus")
    again.wait_for("source orders: finished")
    again.stop_clean()
    assert again.ledger("orders", "bus").dead_lettered == 4
