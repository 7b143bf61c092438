"""Low-loss paths between two networks: curves that are trained, and permutations of units that make a line of one."""

from slicer_core.connectivity.curve import CURVES, Curve, CurveTraining, train_control

__all__ = ["CURVES", "Curve", "CurveTraining", "train_control"]
