"""The witness itself: what it may not do is hold up the gateway."""

import os

import pytest

from conftest import PLUGINS
from harness import gateway as harness
from harness.gateway import Gateway, run_penstock
from harness.process import wait_until
from witness import Witness

BOTH = (harness.PLUGINS, PLUGINS)


@pytest.mark.parametrize("how", ["closed", "deaf"])
def test_the_gateway_goes_on_without_a_reader(how, tmp_path, start):
    fifo, out = tmp_path / "fifo", tmp_path / "out"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    count = 3000 if how == "closed" else 20000  # deaf: more than the pipe holds
    config = (f'[sources.orders]\nplugin = "witness"\nwitness = "{fifo}"\ncount = {count}\n'
              f'max_size = "64B"\n'
              f'[sinks.out]\nplugin = "file"\nfrom = ["orders"]\npath = "{out}"\n'
              f'fsync = "never"\n')
    if how == "closed":
        os.close(reader)
    gateway = start(Gateway(tmp_path, config, plugin_dirs=BOTH))
    gateway.wait_for(r"error .*the witness .* is gone .*dropped")
    wait_lines(out, count)
    gateway.stop_clean()
    assert gateway.text().count("is gone") == 1
    if how == "deaf":
        os.close(reader)


def wait_lines(out, count):
    def lines():
        return out.exists() and out.read_bytes().count(b"\n") >= count
    wait_until(lines, f"{count} lines in {out}")


def test_what_the_options_refuse(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[sources.a]\nplugin = "witness"\nwitness = "here"\nmin_size = "2KiB"\n'
                      'max_size = "1KiB"\n[sinks.b]\nplugin = "null"\nfrom = ["a"]\n')
    done = run_penstock("check", "--config", config, plugin_dir=":".join(map(str, BOTH)))
    assert done.returncode == 78
    assert "full path of a FIFO" in done.stdout + done.stderr
    assert "less than min_size" in done.stdout + done.stderr


def test_a_bad_file_next_stops_the_source(tmp_path, start):
    witness = Witness(tmp_path)
    try:
        next_file = tmp_path / "next"
        next_file.write_text("none\n")
        config = witness.source("orders", next_file) + witness.sink()
        gateway = Gateway(tmp_path, config, plugin_dirs=BOTH)
        start_anyway(gateway)
        wait_until(lambda: "holds no number" in gateway.text(), gateway.tail)
        gateway.kill()
    finally:
        witness.close()


def start_anyway(gateway):
    """Without waiting until it runs: it may refuse to."""
    super(Gateway, gateway).start()
