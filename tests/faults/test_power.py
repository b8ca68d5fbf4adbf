"""Power cuts under the whole gateway: recorded once, then cut anywhere."""

import json
import os
import random
import subprocess

import pytest

from conftest import PLUGINS
from harness import gateway as harness
from harness.gateway import Gateway

TOOLS = PLUGINS.parent
SEED = random.SystemRandom().getrandbits(32)


def run_tool(name, *arguments, timeout=100):
    done = subprocess.run([str(word) for word in (TOOLS / name, *arguments)], check=False,
                          capture_output=True, text=True, timeout=timeout)
    print(done.stdout[-3000:], done.stderr[-1000:])
    return done


def record(tmp_path, start, witness, count):
    """Two queues into two sinks; the files of the state directory, as the gateway wrote them."""
    state = tmp_path / "state"
    state.mkdir()
    config = f'[gateway]\nstate_dir = "{state}"\n'
    names = ("orders", "shipments")
    for name in names:
        config += witness.source(name, tmp_path / f"next-{name}", 'storage = "disk"', rate=2000,
                                 count=count, max_size='"20KiB"', seed=SEED)
    config += witness.sink("bus", names) + witness.sink("lake", names)
    env = {"LD_PRELOAD": str(TOOLS / "recorder.so"), "PENSTOCK_RECORD_DIR": str(state),
           "PENSTOCK_RECORD_LOG": str(tmp_path / "log"),
           "PENSTOCK_RECORD_MARK": str(witness.path)}
    gateway = start(Gateway(tmp_path, config, plugin_dirs=(harness.PLUGINS, PLUGINS), env=env))
    for name in names:
        witness.wait_acked(name, count)
    gateway.stop_clean()
    return state


@pytest.mark.timeout(900)
@pytest.mark.parametrize("images", [300, pytest.param(10000, marks=pytest.mark.full)])
def test_power_cuts(images, tmp_path, start, witness):
    state = record(tmp_path, start, witness, 1000)
    log, scratch = tmp_path / "log", f"/dev/shm/power-cuts-{os.getpid()}"
    assert run_tool("crash-images", "verify", log, state).returncode == 0
    common = (log, scratch, "--seed", SEED, "--names", "both", "--jobs", 2,
              "--json", tmp_path / "result.json")
    done = run_tool("crash-images", "run", *common, "--count", images, "--", TOOLS / "store-check",
                    timeout=800)
    assert done.returncode == 0
    assert json.loads((tmp_path / "result.json").read_text())["images"] == images
    assert run_tool("crash-images", "run", *common, "--count", 100, "--without-syncs", "--",
                    TOOLS / "store-check").returncode == 1, "the check cannot fail"
    subprocess.run(["rm", "-rf", scratch], check=True)
