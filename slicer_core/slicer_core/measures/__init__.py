"""Numbers of a whole slice, each with its error: one file a measure, and one line in the table of them. See `measure`.

Those of the points alone need numpy only; those that evaluate the model again are imported when they are asked for.
"""

from slicer_core.measures.field import Line, LossField
from slicer_core.measures.measure import measure, with_measures
from slicer_core.measures.table import MEASURES, MeasureRow, find_measures

__all__ = ["MEASURES", "Line", "LossField", "MeasureRow", "find_measures", "measure", "with_measures"]
