"""`ModelWrapper` under its other name; it lives in `slicer_core`."""

from slicer_core import ModelWrapper

__all__ = ["ModelWrapper"]
