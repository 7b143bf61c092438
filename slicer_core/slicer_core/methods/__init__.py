"""How slices are made: one file a method, each from a center to the plan of its points."""

from slicer_core.methods.table import METHODS, MethodOption, MethodRow, all_options, find_method

__all__ = ["METHODS", "MethodOption", "MethodRow", "all_options", "find_method"]
