"""A whole run: from what the user said to slices in a store. Names are imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slicer_core.job.configuration import Job, read_config
    from slicer_core.job.cost import Estimate, estimate
    from slicer_core.job.reporter import FailedCheckpoint, FinishedSlice, Reporter
    from slicer_core.job.run import JobResult, View, run_job
    from slicer_core.job.subject_source import with_module

_HOMES = {
    "Estimate": "slicer_core.job.cost",
    "FailedCheckpoint": "slicer_core.job.reporter",
    "FinishedSlice": "slicer_core.job.reporter",
    "Job": "slicer_core.job.configuration",
    "JobResult": "slicer_core.job.run",
    "Reporter": "slicer_core.job.reporter",
    "View": "slicer_core.job.run",
    "estimate": "slicer_core.job.cost",
    "read_config": "slicer_core.job.configuration",
    "run_job": "slicer_core.job.run",
    "with_module": "slicer_core.job.subject_source",
}

__all__ = [
    "Estimate",
    "FailedCheckpoint",
    "FinishedSlice",
    "Job",
    "JobResult",
    "Reporter",
    "View",
    "estimate",
    "read_config",
    "run_job",
    "with_module",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'slicer_core.job' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
