"""Where the modules of other suites are found that this one uses. Imported before them."""

import importlib.machinery
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]

sys.path[:0] = [str(ROOT / "tests" / name) for name in ("e2e", "faults", "argo", "kafka")]


def load_bench():
    """tests/bench/run, a program without the ending of a module."""
    loader = importlib.machinery.SourceFileLoader("bench", str(ROOT / "tests" / "bench" / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", loader))
    loader.exec_module(module)
    return module
