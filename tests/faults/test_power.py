"""Power cuts under the whole gateway: recorded once, then cut anywhere."""

import json
import os
import subprocess

import pytest

from conftest import FULL, PLUGINS
from harness import gateway as harness
from harness.gateway import Gateway

TOOLS = PLUGINS.parent
IMAGES = 10000 if FULL else 300


def run_tool(name, *arguments, timeout=100):
    done = subprocess.run([str(word) for word in (TOOLS / name, *arguments)], check=False,
                          capture_output=True, text=True, timeout=timeout)
    print(done.stdout[-3000:], done.stderr[-1000:])
    return done


def record(tmp_path, start, witness, count, seed):
    """Two queues into two sinks; the files of the state directory, as the gateway wrote them."""
    state = tmp_path / "state"
    state.mkdir()
    config = f'[gateway]\nstate_dir = "{state}"\n'
    names = ("orders", "shipments")
    for name in names:
        config += witness.source(name, tmp_path / f"next-{name}", 'storage = "disk"', rate=2000,
                                 count=count, max_size='"20KiB"', seed=seed)
    config += witness.sink("bus", names) + witness.sink("lake", names)
    env = {"LD_PRELOAD": str(TOOLS / "recorder.so"), "PENSTOCK_RECORD_DIR": str(state),
           "PENSTOCK_RECORD_LOG": str(tmp_path / "log"),
           "PENSTOCK_RECORD_MARK": str(witness.path)}
    gateway = start(Gateway(tmp_path, config, plugin_dirs=(harness.PLUGINS, PLUGINS), env=env))
    for name in names:
        witness.wait_acked(name, count)
    gateway.stop_clean()
    return state


@pytest.mark.timeout(1200)
def test_power_cuts(tmp_path, start, witness, report):
    state = record(tmp_path, start, witness, 1000, report.seed)
    log, scratch = tmp_path / "log", f"/dev/shm/power-cuts-{os.getpid()}"
    assert run_tool("crash-images", "verify", log, state).returncode == 0
    common = (log, scratch, "--seed", report.seed, "--names", "both", "--jobs", 2,
              "--json", tmp_path / "result.json")
    done = run_tool("crash-images", "run", *common, "--count", IMAGES, "--", TOOLS / "store-check",
                    timeout=1100)
    result, told = json.loads((tmp_path / "result.json").read_text()), witness.drain()
    assert result["images"] == IMAGES
    emitted = sum(last - first + 1 for ranges in told.emitted.values() for first, last in ranges)
    report.add(done.returncode == 0 and result["failed"] == 0, {"power cut": IMAGES},
               [str(one) for one in result["first_failures"]], emitted=emitted,
               acked=sum(map(len, told.acked.values())), lost=result["failed"])
    assert run_tool("crash-images", "run", *common, "--count", 100, "--without-syncs", "--",
                    TOOLS / "store-check").returncode == 1, "the check cannot fail"
    subprocess.run(["rm", "-rf", scratch], check=True)
