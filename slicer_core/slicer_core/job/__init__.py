"""A whole run: from what the user said to slices in a store. Names are imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slicer_core.job.configuration import Job, read_config
    from slicer_core.job.cost import Estimate, estimate
    from slicer_core.job.reporter import FailedCheckpoint, FinishedSlice, Reporter
    from slicer_core.job.run import JobResult, View, run_job
    from slicer_core.job.shards import Shard
    from slicer_core.job.status import StoreStatus, log_status, run_dirs
    from slicer_core.job.subject_source import with_module
    from slicer_core.job.view import stored_slices

_HOMES = {
    "Estimate": "slicer_core.job.cost",
    "FailedCheckpoint": "slicer_core.job.reporter",
    "FinishedSlice": "slicer_core.job.reporter",
    "Job": "slicer_core.job.configuration",
    "JobResult": "slicer_core.job.run",
    "Reporter": "slicer_core.job.reporter",
    "Shard": "slicer_core.job.shards",
    "StoreStatus": "slicer_core.job.status",
    "View": "slicer_core.job.run",
    "estimate": "slicer_core.job.cost",
    "read_config": "slicer_core.job.configuration",
    "log_status": "slicer_core.job.status",
    "run_dirs": "slicer_core.job.status",
    "run_job": "slicer_core.job.run",
    "stored_slices": "slicer_core.job.view",
    "with_module": "slicer_core.job.subject_source",
}

__all__ = [
    "Estimate",
    "FailedCheckpoint",
    "FinishedSlice",
    "Job",
    "JobResult",
    "Reporter",
    "Shard",
    "StoreStatus",
    "View",
    "estimate",
    "log_status",
    "read_config",
    "run_dirs",
    "run_job",
    "stored_slices",
    "with_module",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'slicer_core.job' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
