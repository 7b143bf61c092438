"""The heart: losses of many points of parameter space on the same data."""

from slicer_core.evaluate.adaptive import AdaptiveEvaluation, Completed, complete, evaluate_to_tolerance
from slicer_core.evaluate.batchnorm import running_statistics
from slicer_core.evaluate.decisions import Decisions
from slicer_core.evaluate.evaluator import Evaluation, PointEvaluator, choose_strategy, evaluate
from slicer_core.evaluate.nested import NestedSums, stored_sums
from slicer_core.evaluate.precision import chosen_points
from slicer_core.evaluate.refinement import Grid
from slicer_core.evaluate.settings import EvaluationSettings
from slicer_core.evaluate.strategies.streaming import kept_elsewhere, streams
from slicer_core.evaluate.sums import GROUPS_BYTES, SUMS_BYTES, PointSums
from slicer_core.evaluate.traces import decide_alike
from slicer_core.evaluate.weight_decay import WeightDecay

__all__ = [
    "GROUPS_BYTES",
    "SUMS_BYTES",
    "AdaptiveEvaluation",
    "Completed",
    "Decisions",
    "Evaluation",
    "EvaluationSettings",
    "Grid",
    "NestedSums",
    "PointEvaluator",
    "PointSums",
    "WeightDecay",
    "choose_strategy",
    "chosen_points",
    "complete",
    "decide_alike",
    "evaluate",
    "evaluate_to_tolerance",
    "kept_elsewhere",
    "running_statistics",
    "stored_sums",
    "streams",
]
