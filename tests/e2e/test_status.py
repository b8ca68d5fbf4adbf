"""penstock status against a running gateway: what it shows, and when it cannot."""

import json
import os
import re
import socket
import stat
import subprocess
import tempfile

from harness.gateway import PENSTOCK, Gateway, run_penstock
from harness.process import ROOT, free_port, wait_until
from test_cli import compile_plugin

SOCKET = '[gateway]\nadmin_socket = "admin.sock"\n'
GENERATOR = '[sources.orders]\nplugin = "generator"\nrate = 200.0\n'
VOID = '[sinks.void]\nplugin = "null"\nfrom = ["orders"]\n'


def status(running):
    """The JSON, read while the gateway runs."""
    done = run_penstock("status", "--json", "--config", running.config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def status_when(running, condition, what):
    """Asks until condition(status) holds."""
    seen = {}

    def look():
        seen.clear()
        seen.update(status(running))
        return condition(seen) and seen
    return dict(wait_until(look, lambda: f"{what} in {json.dumps(seen, indent=1)}"))


def balances(ledger):
    settled = ledger["delivered"] + ledger["dead_lettered"] + sum(ledger["dropped"].values())
    return ledger["received"] == settled + ledger["pending"]


def test_shows_sources_sinks_routes_and_rates(gateway):
    running = gateway(SOCKET + 'name = "edge-7"\n' + GENERATOR + VOID)
    seen = status_when(running, lambda s: s["routes"][0]["delivered_per_second"], "a rate")
    one = seen["gateway"]
    assert (one["name"], one["state"], one["pid"]) == ("edge-7", "running", running.pid)
    assert 0 < one["uptime_seconds"] < 100
    assert 0.5 <= one["rates_over_seconds"] <= 15
    assert seen["memory"]["limit"] == 256 << 20
    source, = seen["sources"]
    assert (source["name"], source["plugin"], source["state"]) == ("orders", "generator", "ready")
    assert 100 < source["received_per_second"] < 400
    queue = source["queue"]
    assert (queue["storage"], queue["when_full"], queue["max_events"]) == ("memory", "block", 16384)
    assert queue["end"] - queue["begin"] == queue["events"] <= 200
    sink, = seen["sinks"]
    assert (sink["name"], sink["plugin"], sink["state"]) == ("void", "null", "ready")
    route, = seen["routes"]
    assert (route["source"], route["sink"], route["backoff"]) == ("orders", "void", None)
    assert balances(route["ledger"]) and route["ledger"]["delivered"] > 0
    assert route["ledger"]["delivered"] <= route["cursor"]["next"] <= queue["end"]
    assert 100 < route["delivered_per_second"] < 400
    running.stop_clean()
    assert running.ledger("orders", "void").delivered >= route["ledger"]["delivered"]


def test_text_for_people_has_rates_at_once(gateway):
    running = gateway(SOCKET + GENERATOR + VOID)
    done = run_penstock("status", "--config", running.config)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert re.search(r"^gateway \S+: running for \S+, penstock \S+, pid " + str(running.pid) + "$",
                     done.stdout, re.MULTILINE)
    assert re.search(r"^memory: \S+ of 256MiB$", done.stdout, re.MULTILINE)
    assert re.search(r"^orders +generator +ready +\S+ +\d+/s +memory +\d+ of 16384 ",
                     done.stdout, re.MULTILINE)
    assert re.search(r"^void +null +ready ", done.stdout, re.MULTILINE)
    assert re.search(r"^orders -> void +\d+/s +\d+ ", done.stdout, re.MULTILINE)


def test_a_dead_bus_shows_its_state_its_reason_and_what_waits(gateway):
    url = f"nats://127.0.0.1:{free_port()}"
    running = gateway(
        SOCKET + 'shutdown_timeout = "0s"\n' + GENERATOR +
        'queue = { max_events = 50, when_full = "drop_newest" }\n' + VOID +
        f'[sinks.bus]\nplugin = "nats-jetstream"\nfrom = ["orders"]\nservers = ["{url}"]\n')

    def full(seen):
        return seen["sources"][0]["queue"]["dropped_newest"] > 0 and seen["sinks"][1]["reason"]
    seen = status_when(running, full, "a full queue and a reason")
    bus = seen["sinks"][1]
    assert bus["state"] == "connecting" and url in bus["reason"], bus
    assert seen["sinks"][0]["state"] == "ready"
    queue = seen["sources"][0]["queue"]
    assert (queue["events"], queue["begin"], queue["end"]) == (50, 0, 50)
    route = next(one for one in seen["routes"] if one["sink"] == "bus")
    assert balances(route["ledger"]), route
    assert route["ledger"]["pending"] == 50 and route["ledger"]["dropped"]["when_full"] > 0
    assert route["cursor"] == {"committed": 0, "next": 0}
    older = status_when(running, lambda s: s["routes"][1]["oldest_pending_seconds"] > 0.5,
                        "an old event")
    assert older["routes"][1]["oldest_pending_seconds"] <= older["gateway"]["uptime_seconds"]
    text = run_penstock("status", "--config", running.config).stdout
    assert re.search(r"^bus +nats-jetstream +connecting ", text, re.MULTILINE)
    assert url in text and "dropped as when_full " in text


def test_a_refused_event_shows_the_backoff(gateway, nats_server):
    server = nats_server()  # without a stream
    running = gateway(SOCKET + 'shutdown_timeout = "0s"\n' + GENERATOR + "count = 1\n" +
                      '[sinks.bus]\nplugin = "nats-jetstream"\nfrom = ["orders"]\n'
                      f'servers = ["{server.url}"]\nsubject = "events.x"\n')
    seen = status_when(running, lambda s: s["routes"][0]["backoff"], "a backoff")
    backoff = seen["routes"][0]["backoff"]
    assert backoff["failures"] >= 1 and backoff["reason"], backoff
    assert 0 <= backoff["seconds_to_next_try"] <= 10
    assert seen["sinks"][0]["state"] == "ready"
    assert f"failed in a row: {backoff['reason'][:20]}" in \
        run_penstock("status", "--config", running.config).stdout
    server.add_stream()
    seen = status_when(running, lambda s: s["routes"][0]["ledger"]["delivered"], "the delivery")
    assert seen["routes"][0]["backoff"] is None
    assert seen["routes"][0]["ledger"]["retries"] >= 1
    assert seen["sources"][0]["state"] == "finished"


def test_a_sink_that_is_stuck_in_submit_holds_up_no_status(gateway, tmp_path):
    drop = tmp_path / "dropped"
    drop.mkdir(mode=0o755)
    compile_plugin(ROOT / "tests" / "e2e" / "plugins" / "stuck_sink.cc", drop / "sink-stuck.so")
    until = tmp_path / "until"
    running = gateway(SOCKET + f'plugin_dirs = ["{drop}"]\n' + GENERATOR + "count = 1000\n" + VOID +
                      f'[sinks.stuck]\nplugin = "stuck"\nfrom = ["orders"]\nuntil = "{until}"\n')
    seen = status_when(running, lambda s: s["sinks"][1]["reason"] == "in submit" and
                       s["routes"][0]["ledger"]["delivered"] > 100, "the others going on")
    assert seen["routes"][1]["ledger"]["delivered"] == 0
    assert seen["routes"][1]["oldest_pending_seconds"] > 0
    until.touch()
    status_when(running, lambda s: s["routes"][1]["ledger"]["delivered"] == 1000, "all delivered")
    running.stop_clean()


def test_a_queue_on_disk_shows_its_store_and_what_waits_since_before_the_start(gateway, tmp_path):
    running = gateway(SOCKET + f'state_dir = "{tmp_path}/state"\n' + GENERATOR + "count = 40\n" +
                      'queue = { storage = "disk" }\n'
                      '[sinks.bus]\nplugin = "nats-jetstream"\nfrom = ["orders"]\n'
                      f'servers = ["nats://127.0.0.1:{free_port()}"]\n')

    def stored(seen):
        queue = seen["sources"][0]["queue"]
        return queue["events"] == 40 and queue["unstored"] == 0
    seen = status_when(running, stored, "40 events on disk")
    assert seen["store"] == {"directory": f"{tmp_path}/state/store", "state": "good", "reason": ""}
    assert seen["sources"][0]["queue"]["storage"] == "disk"
    before = seen["routes"][0]["oldest_pending_seconds"]
    assert before > 0
    running.kill()
    running.start()
    seen = status(running)
    assert seen["routes"][0]["ledger"]["pending"] >= 40
    assert seen["routes"][0]["oldest_pending_seconds"] > seen["gateway"]["uptime_seconds"]
    assert seen["routes"][0]["oldest_pending_seconds"] > before
    assert f"store: good, {tmp_path}/state/store" in \
        run_penstock("status", "--config", running.config).stdout


def test_answers_while_it_stops(gateway):
    running = gateway(SOCKET + 'shutdown_timeout = "1m"\n' + GENERATOR +
                      '[sinks.bus]\nplugin = "nats-jetstream"\nfrom = ["orders"]\n'
                      f'servers = ["nats://127.0.0.1:{free_port()}"]\n')
    status_when(running, lambda s: s["routes"][0]["ledger"]["pending"], "something to drain")
    os.kill(running.pid, 15)
    seen = status_when(running, lambda s: s["gateway"]["state"] == "stopping" and
                       s["sources"][0]["state"] == "stopped", "stopping")
    assert seen["routes"][0]["ledger"]["pending"] > 0
    assert running.stop() == 1  # the second signal
    assert not (running.directory / "admin.sock").exists()


# ---- the socket

def test_the_socket_is_the_owners_only_and_outlives_no_stop(gateway, tmp_path):
    running = gateway(SOCKET + GENERATOR + VOID)
    path = tmp_path / "admin.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    running.stop_clean()
    assert not path.exists()
    done = run_penstock("status", "--config", running.config)
    assert done.returncode == 1
    assert done.stderr == (f"penstock: no gateway runs with this configuration (no {path}): "
                           "start it, or name its socket with --socket\n")


def test_what_a_killed_gateway_left_is_replaced(gateway, tmp_path):
    running = gateway(SOCKET + GENERATOR + VOID)
    running.kill()
    assert (tmp_path / "admin.sock").exists()
    done = run_penstock("status", "--config", running.config)
    assert done.returncode == 1 and "left over from one that died" in done.stderr
    running.start()
    assert status(running)["gateway"]["pid"] == running.pid
    running.stop_clean()


def test_a_second_gateway_is_refused(gateway, tmp_path):
    running = gateway(SOCKET + GENERATOR + VOID)
    second = run_penstock("run", "--config", running.config)
    assert second.returncode == 78
    assert f"gateway.toml:2:16: error: admin socket {tmp_path}/admin.sock: a gateway (pid " \
        f"{running.pid}) listens there already" in second.stderr, second.stderr
    assert status(running)["gateway"]["pid"] == running.pid


def test_a_socket_that_cannot_be_made_is_a_wrong_configuration(tmp_path):
    config = tmp_path / "penstock.toml"
    config.write_text('[gateway]\nadmin_socket = "run/admin.sock"\n' + GENERATOR + VOID)
    done = run_penstock("run", "--config", config)
    assert done.returncode == 78
    assert f"the directory {tmp_path}/run does not exist" in done.stderr, done.stderr
    assert run_penstock("check", "--config", config).returncode == 0, "check makes no socket"


def test_the_default_socket_need_not_be_possible(start, tmp_path):
    missing = tmp_path / "missing"
    running = start(Gateway(tmp_path, GENERATOR + VOID, env={"RUNTIME_DIRECTORY": str(missing)}))
    said = running.wait_for(r"warn  gateway: runs without an admin socket.*")[0]
    assert f"{missing} does not exist" in said
    running.stop_clean()
    missing.mkdir()
    running.start()
    assert "without an admin socket" not in running.text()
    done = run_penstock("status", "--json", "--socket", missing / "admin.sock")
    assert json.loads(done.stdout)["gateway"]["pid"] == running.pid
    running.stop_clean()


def test_switched_off_there_is_no_socket(gateway, tmp_path):
    running = gateway('[gateway]\nadmin_socket = "none"\n' + GENERATOR + VOID)
    assert not list(tmp_path.glob("*.sock"))
    assert "admin socket" not in running.text()
    done = run_penstock("status", "--config", running.config)
    assert done.returncode == 1 and "admin_socket is switched off" in done.stderr


def test_another_user_is_told_who_may(gateway):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # tmp_path is root's alone
        os.chmod(directory, 0o755)
        path = f"{directory}/admin.sock"
        running = gateway(f'[gateway]\nadmin_socket = "{path}"\n' + GENERATOR + VOID)
        command = [str(PENSTOCK), "status", "--socket", path]
        if os.geteuid() == 0:
            command[:0] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        else:
            os.chmod(path, 0)  # as near as one user can come to being another
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1, done
        assert (f"{path}: permission denied: run this as the user that the gateway runs as, "
                "or as root") in done.stderr
        running.stop_clean()


# ---- what answers

def test_something_else_on_the_socket_is_no_gateway(tmp_path):
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [str(PENSTOCK), "status", "--socket", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as asking:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            out, err = asking.communicate(timeout=20)
    assert asking.returncode == 1 and out == ""
    assert "is not understood" in err and "another version" in err


def test_the_socket_of_a_configuration_that_cannot_be_read(tmp_path):
    config = tmp_path / "penstock.toml"
    config.write_text("[[")
    done = run_penstock("status", "--config", config)
    assert done.returncode == 78
    assert "penstock.toml:1:" in done.stderr and "name it with --socket" in done.stderr
    done = run_penstock("status", "--config", tmp_path / "none.toml")
    assert done.returncode == 78 and "none.toml" in done.stderr
