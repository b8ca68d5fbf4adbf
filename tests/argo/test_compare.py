"""The short form of ./x bench-argo."""

import pathlib
import subprocess
import sys

import pytest


@pytest.mark.full
def test_loses_nothing_and_is_back_within_a_second(seed):
    """In an outage of the bus, and of the event server."""
    program = pathlib.Path(__file__).parent / "compare" / "run"
    done = subprocess.run([sys.executable, program, "--quick", "--seed", str(seed)],
                          capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
