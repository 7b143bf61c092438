"""A report as one JSON document."""

from __future__ import annotations

import math
from typing import Any

from slicer_core.checks.quantities import Quantity
from slicer_core.checks.report import Report, Row

SCHEMA = 1


def report_document(report: Report) -> dict[str, Any]:
    """JSON values; a number that is not finite is null, as in a slice's header."""
    return {
        "schema": SCHEMA,
        "command": report.command,
        "outcome": report.outcome,
        "counts": {outcome: report.count(outcome) for outcome in ("passed", "failed", "absent")},
        "notes": list(report.notes),
        "slices": [
            {
                "run": checked.run,
                "tag": checked.tag,
                "step": checked.step,
                "rows": [_row(row) for row in checked.rows],
            }
            for checked in report.slices
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    document: dict[str, Any] = {
        "quantity": row.quantity,
        "outcome": row.outcome,
        "expected": row.expected,
        "found": _quantity(row.found),
        "reason": row.reason,
    }
    if row.baseline is not None:
        document |= {"baseline": _quantity(row.baseline), "change": row.change}
    return document


def _quantity(found: Quantity | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"value": _number(found.value), "error": _number(found.error), "lower_bound": found.lower_bound}


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
