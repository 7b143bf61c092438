"""The heart: losses of many points of parameter space on the same data."""

from slicer_core.evaluate.batchnorm import running_statistics
from slicer_core.evaluate.evaluator import Evaluation, EvaluationSettings, evaluate
from slicer_core.evaluate.sums import PointSums

__all__ = [
    "Evaluation",
    "EvaluationSettings",
    "PointSums",
    "evaluate",
    "running_statistics",
]
