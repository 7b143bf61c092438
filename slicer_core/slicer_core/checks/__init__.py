"""Thresholds on slices and comparisons of them, for scripts that have to say yes or no, and reports of both.

Numpy only: slices come from whoever reads them, and files are written by the caller.
"""

from __future__ import annotations

from slicer_core.checks.comparison import Tolerance, compare_slices, find_tolerance, parse_tolerance
from slicer_core.checks.document import report_document
from slicer_core.checks.junit import encode_junit
from slicer_core.checks.markdown import Picture, encode_markdown
from slicer_core.checks.quantities import Quantity, find_quantity
from slicer_core.checks.report import CheckedSlice, Outcome, Report, Row
from slicer_core.checks.rule_file import read_rules
from slicer_core.checks.rules import Rule, parse_rule
from slicer_core.checks.thresholds import check_slice, check_whole

__all__ = [
    "CheckedSlice",
    "Outcome",
    "Picture",
    "Quantity",
    "Report",
    "Row",
    "Rule",
    "Tolerance",
    "check_slice",
    "check_whole",
    "compare_slices",
    "encode_junit",
    "encode_markdown",
    "find_quantity",
    "find_tolerance",
    "parse_rule",
    "parse_tolerance",
    "read_rules",
    "report_document",
]
