"""Programs that a test starts, and waiting for what they do."""

import ctypes
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("PENSTOCK_BUILD") or ROOT / "build" / "dev")
CACHE = pathlib.Path(os.environ.get("PENSTOCK_CACHE") or ROOT / "build" / "cache")


def wait_until(condition, what, timeout=30.0, interval=0.02):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(interval)


def free_port():
    """A port outside the range from which the kernel serves clients, so that no client takes it
    while the server that owns it is down."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    choose = random.SystemRandom()
    for _ in range(1000):
        port = choose.randrange(10000, low if low > 12000 else 60000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One program with its output in a file. start() may follow kill() or stop()."""

    def __init__(self, name, command, directory, env=None):
        self.name, self.command, self.directory = name, [str(word) for word in command], directory
        self.env = env
        self.log = directory / f"{name}.log"
        self.process = None

    def start(self):
        assert self.process is None, f"{self.name} runs already"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, env=self.env and {**os.environ, **self.env},
                preexec_fn=die_with_parent)
        return self

    @property
    def pid(self):
        return self.process.pid

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=25):
        return f"{self.name}:\n" + "\n".join(self.text().splitlines()[-lines:])

    def written(self):
        """How much the program has written: for wait_for(since)."""
        return len(self.text())

    def wait_for(self, pattern, timeout=30.0, since=0):
        """The match of pattern in what the program has written."""
        def look():
            found = re.search(pattern, self.text()[since:], re.MULTILINE)
            assert found or self.runs(), f"{self.name} ended before {pattern!r}\n{self.tail()}"
            return found
        return wait_until(look, lambda: f"{pattern!r} from {self.tail()}", timeout)

    def stop(self, timeout=30.0):
        """SIGTERM; the exit status."""
        return self.end(signal.SIGTERM, timeout)

    def kill(self):
        """kill -9."""
        return self.end(signal.SIGKILL)

    def freeze(self):
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def end(self, how, timeout=30.0):
        if self.process is None:
            return None
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.send_signal(signal.SIGCONT)
        return self.wait_for_end(timeout)

    def wait_for_end(self, timeout=30.0):
        process, self.process = self.process, None
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.send_signal(signal.SIGCONT)
            process.wait()
            raise AssertionError(f"not ended within {timeout:g} s: {self.tail()}") from None

    def memory_kib(self, field="VmRSS"):
        """VmRSS now, or VmHWM: the most it ever was."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1])
