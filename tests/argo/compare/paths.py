"""Where the modules of other suites are found that this one uses. Imported before them."""

import importlib.machinery
import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
ARGO = pathlib.Path(os.environ.get("PENSTOCK_ARGO_EVENTSOURCE")
                    or ROOT / "build" / "argo" / "argo-eventsource")

sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "faults")]


def load_bench():
    """tests/bench/run, a program without the ending of a module."""
    loader = importlib.machinery.SourceFileLoader("bench", str(ROOT / "tests" / "bench" / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", loader))
    loader.exec_module(module)
    return module
