"""Imports everything that a run needs, on a clock, before anything is measured. To be imported first of all."""

from __future__ import annotations

import importlib
import time


def _seconds(*modules: str) -> float:
    start = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    return time.perf_counter() - start


SECONDS = {
    "torch": _seconds("torch"),
    "slicer_core's evaluation": _seconds("slicer_core.evaluate", "slicer_core.subject"),
}
"""What was imported, in this order, and the seconds that it took beyond what came before."""
