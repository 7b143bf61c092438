"""The slicers under their other names; they live in `slicer_core`."""

from slicer_core import AxisParallelSlicer, LinearInterpolationSlicer, RandomDirectionSlicer

__all__ = ["AxisParallelSlicer", "LinearInterpolationSlicer", "RandomDirectionSlicer"]
