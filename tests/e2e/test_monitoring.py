"""What monitoring sees of a running gateway: metrics, probes, and a status that is watched."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time

from harness.gateway import PENSTOCK, run_penstock
from harness.monitor import LISTEN, Metrics, Monitor
from harness.process import ROOT, die_with_parent, free_port, wait_until
from test_cli import compile_plugin

GATEWAY = '[gateway]\nadmin_socket = "admin.sock"\n' + LISTEN
GENERATOR = '[sources.orders]\nplugin = "generator"\nrate = 200.0\n'
VOID = '[sinks.void]\nplugin = "null"\nfrom = ["orders"]\n'
ANSWERS_WITHIN = 1.0  # seconds


def when(look, condition, what, timeout=30.0):
    """Looks until what it sees satisfies the condition, and returns that."""
    seen = {}

    def once():
        seen["now"] = look()
        return condition(seen["now"])
    wait_until(once, lambda: f"{what}, last seen: {seen}", timeout)
    return seen["now"]


def status(running):
    done = run_penstock("status", "--json", "--config", running.config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def over_socket(path, target):
    """The body of an answer at the admin socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with client.makefile("rb") as answer:
            head, body = answer.read().decode().split("\r\n\r\n", 1)
    assert head.startswith("HTTP/1.1 200 "), head
    return body


# ---- metrics

def test_metrics_agree_with_the_ledger_and_the_bus(gateway, nats):
    running = gateway(GATEWAY + 'name = "edge-7"\n' + GENERATOR + "count = 300\n" + VOID +
                      nats.sink())
    monitor = Monitor(running)
    done = when(monitor.metrics, lambda m: m.route("orders", "bus")["delivered"] == 300, "all")
    assert nats.count() == 300
    shown = status(running)
    for route in shown["routes"]:
        ledger, seen = route["ledger"], done.route("orders", route["sink"])
        for name in ("received", "delivered", "dead_lettered", "pending", "dropped", "retries",
                     "reordered"):
            assert seen[name] == ledger[name], (name, route)
        assert seen["unknown_answers"] == ledger["unknown"]
        assert seen["duplicates"] == {"first": ledger["duplicates_at_once"],
                                      "later": ledger["duplicates"]}
        assert done.balances("orders", route["sink"])
    assert done["penstock_source_received_events_total", {"source": "orders"}] == 300
    assert done["penstock_queue_limit_events", {"source": "orders"}] == 16384
    assert done["penstock_gateway_info", {"name": "edge-7"}] == 1
    assert done["penstock_sink_info", {"sink": "bus", "plugin": "nats-jetstream"}] == 1
    assert done.state("penstock_source_state", source="orders") in ("ready", "finished")
    assert done.state("penstock_sink_state", sink="bus") == "ready"
    assert done.state("penstock_gateway_state") == "running"
    connects = "penstock_plugin_nats_jetstream_connects_total", {"sink": "bus"}
    assert done[connects] >= 1
    assert done.families["penstock_plugin_nats_jetstream_connects"] == "counter"
    running.stop_clean()
    assert running.ledger("orders", "bus").delivered == 300


def test_metrics_of_the_process_are_those_of_the_kernel(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    seen = Monitor(running).metrics()
    resident = running.memory_kib() * 1024
    assert 0.5 * resident < seen["process_resident_memory_bytes"] < 1.5 * resident
    fds = len(os.listdir(f"/proc/{running.pid}/fd"))
    assert abs(seen["process_open_fds"] - fds) <= 3
    assert seen["process_max_fds"] >= fds
    assert 0 < seen["process_cpu_seconds_total"] < 60
    assert 0 < time.time() - seen["process_start_time_seconds"] < 60


def test_counters_only_grow_under_load_and_the_ledger_balances_in_each_scrape(gateway, nats):
    running = gateway(GATEWAY + '[sources.orders]\nplugin = "generator"\nrate = 20000.0\n'
                      'count = 40000\nqueue = { max_events = 500, when_full = "drop_newest" }\n' +
                      VOID + nats.sink())
    monitor = Monitor(running)
    before = {}

    def look():
        nonlocal before
        seen = monitor.metrics()
        for key, value in before.items():
            assert seen.samples[key] >= value, key
        before = seen.counters()
        for sink in ("void", "bus"):
            assert seen.balances("orders", sink), seen.route("orders", sink)
        return seen.route("orders", "bus")
    when(look, lambda route: route["delivered"] > 0, "a flow")
    nats.freeze()
    when(look, lambda route: route["dropped"]["when_full"] > 0, "a full queue")
    nats.thaw()
    when(look, lambda route: route["received"] == 40000 and route["pending"] == 0, "all settled")
    running.stop_clean()


def test_after_a_crash_counters_begin_again_and_still_balance(gateway, nats, tmp_path):
    running = gateway(GATEWAY + f'state_dir = "{tmp_path}/state"\n' + GENERATOR + "count = 40\n" +
                      'queue = { storage = "disk" }\n' + nats.sink())
    when(Monitor(running).metrics, lambda m: m.route("orders", "bus")["delivered"] == 40, "all")
    nats.kill()
    running.kill()
    running.start()  # the generator has 40 more
    monitor = Monitor(running)
    seen = when(monitor.metrics, lambda m: m.route("orders", "bus")["received"] == 40, "40 more")
    route = seen.route("orders", "bus")
    assert route["delivered"] == 0 and route["pending"] >= 40
    assert route["recovered"] == route["pending"] - 40
    assert seen.balances("orders", "bus")
    assert seen["penstock_source_received_events_total", {"source": "orders"}] == 40
    assert status(running)["routes"][0]["ledger"]["received"] == 80
    nats.start()
    done = when(monitor.metrics, lambda m: m.route("orders", "bus")["pending"] == 0, "all")
    assert done.balances("orders", "bus")
    assert done.route("orders", "bus")["oldest_pending_age"] == 0


def test_both_ways_give_the_same_and_dead_letters_are_counted(gateway, tmp_path):
    drop = tmp_path / "dropped"
    drop.mkdir(mode=0o755)
    compile_plugin(ROOT / "tests" / "e2e" / "plugins" / "picky_sink.cc", drop / "sink-picky.so")
    refuse = tmp_path / "refuse"
    refuse.touch()
    running = gateway(GATEWAY + f'plugin_dirs = ["{drop}"]\nstate_dir = "{tmp_path}/state"\n' +
                      GENERATOR + "count = 5\ndead_letters = { max_events = 3 }\n"
                      f'[sinks.picky]\nplugin = "picky"\nfrom = ["orders"]\nwhile = "{refuse}"\n')
    monitor = Monitor(running)
    seen = when(monitor.metrics, lambda m: m.route("orders", "picky")["held"] >= 1, "held events")
    assert seen["penstock_dead_letter_events", {"source": "orders"}] == 3
    assert seen["penstock_dead_letter_limit_events", {"source": "orders"}] == 3
    assert seen.route("orders", "picky")["dead_lettered"] == 3
    code, lines = monitor.probe("/readyz")
    assert (code, lines[0]) == (503, "not ready")
    assert lines[1:] == [
        "orders -> picky: stopped: no room for more dead letters of source orders"]
    at_socket = Metrics(over_socket(tmp_path / "admin.sock", "/metrics"))
    assert at_socket.route("orders", "picky")["dead_lettered"] == 3
    refuse.unlink()
    done = run_penstock("deadletters", "replay", "--all", "--config", running.config)
    assert done.returncode == 0, done.stderr
    name = "penstock_dead_letter_replayed_events_total", {"source": "orders"}
    when(monitor.metrics, lambda m: m[name] >= 3, "the replay")
    when(lambda: monitor.probe("/readyz"), lambda seen: seen == (200, ["ready"]), "readiness")


# ---- probes

def test_readiness_follows_the_bus_and_health_does_not(gateway, nats):
    running = gateway(GATEWAY + GENERATOR + nats.sink())
    monitor = Monitor(running)
    when(lambda: monitor.probe("/readyz"), lambda seen: seen == (200, ["ready"]), "readiness")
    nats.stop()
    code, lines = when(lambda: monitor.probe("/readyz"), lambda seen: seen[0] == 503, "the outage")
    assert lines[0] == "not ready" and len(lines) == 2
    assert lines[1].startswith("sink bus: connecting: "), lines
    assert monitor.probe("/healthz") == (200, ["healthy"])
    assert monitor.metrics().state("penstock_sink_state", sink="bus") == "connecting"
    nats.start()
    when(lambda: monitor.probe("/readyz"), lambda seen: seen == (200, ["ready"]), "readiness")


def test_before_and_after_it_runs_a_gateway_is_healthy_and_not_ready(gateway):
    running = gateway(GATEWAY + 'shutdown_timeout = "1m"\n' + GENERATOR +
                      '[sinks.bus]\nplugin = "nats-jetstream"\nfrom = ["orders"]\n'
                      f'servers = ["nats://127.0.0.1:{free_port()}"]\n')
    monitor = Monitor(running)
    when(monitor.metrics, lambda m: m.route("orders", "bus")["pending"] > 0, "something to drain")
    os.kill(running.pid, signal.SIGTERM)
    code, lines = when(lambda: monitor.probe("/readyz"),
                       lambda seen: "gateway: stopping" in seen[1], "stopping")
    assert code == 503
    assert monitor.probe("/healthz") == (200, ["healthy"])
    assert running.stop() == 1  # the second signal
    with socket.socket() as free:  # nobody listens any more
        assert free.connect_ex((monitor.host, monitor.port)) != 0


def slowest(monitor, paths, seconds):
    """Asks in turn for so long; the longest that each took."""
    longest = dict.fromkeys(paths, 0.0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in paths:
            code, _, _, took = monitor.ask(path)
            assert code == 200 or path == "/readyz"
            longest[path] = max(longest[path], took)
    return longest


def test_a_frozen_bus_holds_up_no_answer(gateway, nats):
    running = gateway(GATEWAY + 'shutdown_timeout = "0s"\n' +
                      '[sources.orders]\nplugin = "generator"\nrate = 20000.0\n' + nats.sink())
    monitor = Monitor(running)
    when(monitor.metrics, lambda m: m.route("orders", "bus")["delivered"] > 1000, "a flow")
    nats.freeze()
    # Through the time in which the client finds out, gives up and tries to connect again.
    longest = slowest(monitor, ("/healthz", "/metrics", "/readyz", "/status"), 8)
    nats.thaw()
    print({path: f"{took:.3f} s" for path, took in longest.items()})
    assert max(longest.values()) < ANSWERS_WITHIN, longest


def test_a_sink_that_never_returns_holds_up_no_answer(gateway, tmp_path):
    drop = tmp_path / "dropped"
    drop.mkdir(mode=0o755)
    compile_plugin(ROOT / "tests" / "e2e" / "plugins" / "stuck_sink.cc", drop / "sink-stuck.so")
    until = tmp_path / "until"
    running = gateway(GATEWAY + f'plugin_dirs = ["{drop}"]\n' + GENERATOR +
                      f'[sinks.stuck]\nplugin = "stuck"\nfrom = ["orders"]\nuntil = "{until}"\n')
    monitor = Monitor(running)
    when(lambda: status(running), lambda s: s["sinks"][0]["reason"] == "in submit", "in submit")
    longest = slowest(monitor, ("/healthz", "/metrics", "/readyz", "/status"), 1)
    assert max(longest.values()) < ANSWERS_WITHIN, longest
    until.touch()


# ---- the listener

def test_tcp_serves_only_what_looks(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    monitor = Monitor(running)
    code, _, body, _ = monitor.ask("/")
    assert code == 404
    assert re.findall(r"^  (.*)$", body, re.MULTILINE) == [
        "GET /healthz", "GET /metrics", "GET /readyz", "GET /status"]
    for path in ("/queues", "/queues/events", "/deadletters", "/deadletters/payload"):
        assert monitor.ask(path)[0] == 404
    for path in ("/queues/forget", "/deadletters/replay", "/deadletters/drop", "/reload", "/drain"):
        assert monitor.ask(path, "POST")[0] == 404
    for path in ("/metrics", "/healthz", "/readyz", "/status"):
        assert monitor.ask(path, "POST")[0] == 405
        assert monitor.ask(path, "HEAD")[:3:2] == (200, "")
    assert json.loads(monitor.ask("/status")[2])["gateway"]["pid"] == running.pid


def test_an_address_that_cannot_be_had_is_named_with_its_place(tmp_path):
    config = tmp_path / "penstock.toml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(f'[gateway]\nadmin_socket = "none"\nadmin_listen = "{address}"\n' +
                          f'state_dir = "{tmp_path}/state"\n' + GENERATOR + VOID)
        done = run_penstock("run", "--config", config)
    assert done.returncode == 1
    assert (f"{config}:3:16: error: gateway.admin_listen: cannot listen on {address}: another "
            "process has that port: stop it, or choose another") in done.stderr, done.stderr


def test_check_says_what_is_served_and_warns_where_others_may_reach_it(tmp_path):
    config = tmp_path / "penstock.toml"
    config.write_text('[gateway]\nadmin_listen = "0.0.0.0:9464"\n' + GENERATOR + VOID)
    done = run_penstock("check", "--config", config)
    assert done.returncode == 0
    assert f"{config}:2:16: warning: gateway.admin_listen: \"0.0.0.0:9464\"" in done.stderr
    assert "there is no authentication" in done.stderr
    assert "http://0.0.0.0:9464 serves /metrics, /healthz, /readyz and /status" in done.stdout


# ---- status --watch

WATCH = ["status", "--watch", "--interval", "100ms"]


class Terminal:
    """A command on a terminal of its own, of so many rows and columns."""

    def __init__(self, *arguments, rows=40, columns=120):
        self.main, other = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [str(PENSTOCK), *map(str, arguments)], stdin=other, stdout=other, stderr=other,
            start_new_session=True, preexec_fn=self.take_terminal)
        os.close(other)
        self.output = ""

    @staticmethod
    def take_terminal():
        die_with_parent()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that its keys become signals

    def resize(self, rows, columns):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        """Takes what has come."""
        while select.select([self.main], [], [], 0)[0]:
            try:
                piece = os.read(self.main, 65536)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            self.output += piece.decode()

    def frames(self):
        self.read()
        return [re.sub(r"\x1b\[[KJ]", "", frame).replace("\r", "")
                for frame in self.output.split("\x1b[H")[1:]]

    def wait_for_frame(self, pattern, since=0):
        def look():
            whole = self.frames()[since:]
            return next((frame for frame in whole if re.search(pattern, frame, re.M)), None)
        return wait_until(look, lambda: f"{pattern!r} in {self.frames()[-2:]}")

    def press(self, key):
        os.write(self.main, key)

    def end(self):
        """Its exit status; after that there is no terminal any more."""
        code = self.process.wait(20)
        self.read()
        os.close(self.main)
        return code


def test_a_watch_redraws_until_ctrl_c_and_leaves_the_terminal_as_it_was(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    watch = Terminal(*WATCH, "--config", running.config)
    first = watch.wait_for_frame(r"orders -> void +\d")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, every 100ms; Ctrl-C ends it\n\n"
                    r"gateway \S+: running for ", first), first
    wait_until(lambda: len(watch.frames()) > 3, "more frames")
    delivered = [int(n) for frame in watch.frames()
                 for n in re.findall(r"orders -> void +\S+ +\d+ +(\d+)", frame)]
    assert delivered == sorted(delivered) and delivered[-1] > delivered[0]
    assert watch.output.startswith("\x1b[?1049h\x1b[?25l\x1b[H")
    watch.press(b"\x03")
    assert watch.end() == 0
    assert watch.output.endswith("\x1b[?25h\x1b[?1049l")


def test_a_watch_fits_its_window(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    watch = Terminal(*WATCH, "--config", running.config, rows=5, columns=30)
    frame = watch.wait_for_frame(r"^\.\.\. \d+ more lines")
    assert len(frame.splitlines()) == 5 and max(map(len, frame.splitlines())) == 30
    watch.resize(50, 200)
    watch.wait_for_frame(r"orders -> void")
    watch.press(b"\x03")
    assert watch.end() == 0


def test_a_watch_waits_for_a_gateway_that_restarts(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    watch = Terminal(*WATCH, "--config", running.config)
    watch.wait_for_frame(rf"pid {running.pid}$")
    seen = len(watch.frames())
    running.stop_clean()
    away = watch.wait_for_frame(r"^waiting for it since \d{4}-", seen)
    assert "no gateway runs with this configuration" in away
    running.start()
    watch.wait_for_frame(rf"pid {running.pid}$", seen)
    assert watch.process.poll() is None
    watch.process.send_signal(signal.SIGTERM)
    assert watch.end() == -signal.SIGTERM
    assert watch.output.endswith("\x1b[?25h\x1b[?1049l")


def test_a_watch_that_cannot_go_on_says_why_on_the_screen_that_stays(gateway, tmp_path):
    running = gateway(GATEWAY + GENERATOR + VOID)
    watch = Terminal(*WATCH, "--config", running.config)
    watch.wait_for_frame(r"orders -> void")
    running.stop_clean()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "admin.sock"))
        other.listen()
        connection, _ = other.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert watch.end() == 1
    left = watch.output.rsplit("\x1b[?1049l", 1)[1]
    assert "is not understood" in left and "another version" in left, left


def watching(*arguments):
    return subprocess.Popen([str(PENSTOCK), *WATCH, *map(str, arguments)], text=True, bufsize=1,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=die_with_parent)


def test_without_a_terminal_a_watch_prints_one_block_after_another(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    with watching("--config", running.config) as watch:
        lines = [watch.stdout.readline() for _ in range(40)]
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=20)
    assert watch.returncode == 0
    assert not any("\x1b" in line for line in lines)
    heads = [i for i, line in enumerate(lines) if re.fullmatch(r"\d{4}-\S+ \d\d:\d\d:\d\d\n", line)]
    assert len(heads) >= 3, lines
    for head in heads[1:]:
        assert lines[head - 1] == "\n"
    for head in heads[:-1]:
        assert lines[head + 1].startswith("gateway ")


def test_a_watch_as_json_is_a_line_for_each_look(gateway):
    running = gateway(GATEWAY + GENERATOR + VOID)
    with watching("--json", "--config", running.config) as watch:
        looks = [json.loads(watch.stdout.readline()) for _ in range(8)]
        running.stop_clean()
        assert "waiting for it since" in watch.stderr.readline() + watch.stderr.readline()
        running.start()
        assert "it answers again" in watch.stderr.readline()
        later = json.loads(watch.stdout.readline())
        while later["gateway"]["pid"] != running.pid:
            later = json.loads(watch.stdout.readline())
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=20)
    assert watch.returncode == 0
    uptimes = [look["gateway"]["uptime_seconds"] for look in looks]
    assert uptimes == sorted(uptimes)
    assert looks[-1]["routes"][0]["delivered_per_second"] > 0


def test_a_watch_of_nobody_and_a_wrong_interval_end_at_once(tmp_path):
    done = run_penstock("status", "--watch", "--socket", tmp_path / "admin.sock")
    assert done.returncode == 1 and "no gateway runs" in done.stderr
    for words, why in ((["--watch", "--interval", "5"], "5\" is not a duration"),
                       (["--watch", "--interval", "1ms"], "must be from 100ms to 1h"),
                       (["--interval", "1s"], "--watch")):
        done = run_penstock("status", *words)
        assert done.returncode == 2 and why in done.stderr, done.stderr
