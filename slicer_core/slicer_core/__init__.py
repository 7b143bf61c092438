"""Loss Slicer's library: slices of the loss surface of a PyTorch network. Names are imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slicer_core.version import __version__

if TYPE_CHECKING:
    from slicer_core.connectivity import CurveTraining
    from slicer_core.errors import SlicerError
    from slicer_core.evaluate import EvaluationSettings
    from slicer_core.job import Job, run_job
    from slicer_core.methods.axis import AxisParallelSlicer
    from slicer_core.methods.bezier import BezierSlicer
    from slicer_core.methods.custom import CustomSlicer
    from slicer_core.methods.gradient import GradientSlicer
    from slicer_core.methods.hessian import HessianSlicer
    from slicer_core.methods.layers import LayerSlicer
    from slicer_core.methods.linear import LinearInterpolationSlicer
    from slicer_core.methods.pca import PCASlicer
    from slicer_core.methods.plane import PlaneSlicer
    from slicer_core.methods.random_direction import RandomDirectionSlicer
    from slicer_core.slices import Slice
    from slicer_core.subject import LossSum, ModelWrapper, from_lightning, from_transformers
    from slicer_core.tolerance import Tolerance

_HOMES = {
    "AxisParallelSlicer": "slicer_core.methods.axis",
    "BezierSlicer": "slicer_core.methods.bezier",
    "CurveTraining": "slicer_core.connectivity",
    "CustomSlicer": "slicer_core.methods.custom",
    "EvaluationSettings": "slicer_core.evaluate",
    "GradientSlicer": "slicer_core.methods.gradient",
    "HessianSlicer": "slicer_core.methods.hessian",
    "Job": "slicer_core.job",
    "LayerSlicer": "slicer_core.methods.layers",
    "LinearInterpolationSlicer": "slicer_core.methods.linear",
    "LossSum": "slicer_core.subject",
    "ModelWrapper": "slicer_core.subject",
    "PCASlicer": "slicer_core.methods.pca",
    "PlaneSlicer": "slicer_core.methods.plane",
    "RandomDirectionSlicer": "slicer_core.methods.random_direction",
    "Slice": "slicer_core.slices",
    "SlicerError": "slicer_core.errors",
    "Tolerance": "slicer_core.tolerance",
    "from_lightning": "slicer_core.subject",
    "from_transformers": "slicer_core.subject",
    "run_job": "slicer_core.job",
}

__all__ = [
    "AxisParallelSlicer",
    "BezierSlicer",
    "CurveTraining",
    "CustomSlicer",
    "EvaluationSettings",
    "GradientSlicer",
    "HessianSlicer",
    "Job",
    "LayerSlicer",
    "LinearInterpolationSlicer",
    "LossSum",
    "ModelWrapper",
    "PCASlicer",
    "PlaneSlicer",
    "RandomDirectionSlicer",
    "Slice",
    "SlicerError",
    "Tolerance",
    "__version__",
    "from_lightning",
    "from_transformers",
    "run_job",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'slicer_core' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
