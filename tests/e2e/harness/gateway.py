"""The gateway under test, as a user runs it: a configuration file and a process."""

import dataclasses
import os
import re
import subprocess

from harness.process import BUILD, Process

PENSTOCK = BUILD / "bin" / "penstock"
PLUGINS = BUILD / "plugins"
LEDGER = re.compile(
    r"ledger: (?P<source>\S+) -> (?P<sink>[^\s:]+): received (?P<received>\d+) = "
    r"delivered (?P<delivered>\d+) \+ dead-lettered (?P<dead_lettered>\d+) \+ "
    r"dropped (?P<dropped>\d+)(?: \((?P<reasons>[^)]*)\))? \+ pending (?P<pending>\d+)"
    r"(?P<notes>.*)")


@dataclasses.dataclass
class Ledger:
    received: int
    delivered: int
    dead_lettered: int
    dropped: dict
    pending: int
    notes: dict

    def balances(self):
        settled = self.delivered + self.dead_lettered + sum(self.dropped.values())
        return self.received == settled + self.pending


def parse_ledger(match):
    reasons = (match["reasons"] or "").split(", ")
    dropped = {name: int(n) for name, n in (reason.split() for reason in reasons if reason)}
    assert sum(dropped.values()) == int(match["dropped"]), match[0]
    notes = re.findall(r"; (\d+) ([^;]+)", match["notes"])
    numbers = (int(match[key]) for key in ("received", "delivered", "dead_lettered"))
    return Ledger(*numbers, dropped, int(match["pending"]), {text: int(n) for n, text in notes})


def run_penstock(*arguments, timeout=30, env=None, plugin_dir=PLUGINS):
    """A command that ends by itself."""
    environment = {**os.environ, "PENSTOCK_PLUGIN_DIR": str(plugin_dir), **(env or {})}
    return subprocess.run([str(PENSTOCK), *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, env=environment, stdin=subprocess.DEVNULL, check=False)


class Gateway(Process):
    def __init__(self, directory, config, name="gateway", plugin_dirs=(PLUGINS,), env=None,
                 flags=()):
        self.config = directory / f"{name}.toml"
        self.config.write_text(config)
        environment = {"PENSTOCK_PLUGIN_DIR": ":".join(map(str, plugin_dirs)),
                       "STATE_DIRECTORY": str(directory / f"{name}-state"), **(env or {})}
        super().__init__(name, [PENSTOCK, "run", "--config", self.config, *flags], directory,
                         environment)

    def start(self):
        super().start()
        self.wait_for(r"gateway: running: ")
        return self

    def ledgers(self):
        """The closing ledger: {(source, sink): Ledger}. It must balance, whatever happened."""
        found = {(m["source"], m["sink"]): parse_ledger(m) for m in LEDGER.finditer(self.text())}
        assert found, f"no closing ledger in {self.tail()}"
        for route, ledger in found.items():
            assert ledger.balances(), f"{route} does not balance: {ledger}"
        assert "DOES NOT BALANCE" not in self.text()
        return found

    def ledger(self, source, sink):
        return self.ledgers()[source, sink]

    def stop_clean(self, timeout=40.0):
        """SIGTERM, and the end that it should have: all delivered, exit status 0."""
        code = self.stop(timeout)
        assert code == 0, f"exit status {code}\n{self.tail()}"
        for route, ledger in self.ledgers().items():
            assert ledger.pending == 0, f"{route}: {ledger}"
        return self

    def wait_for_sink(self, sink, state="ready", timeout=30.0, since=0):
        self.wait_for(rf"sink {re.escape(sink)}: {state}", timeout, since)
