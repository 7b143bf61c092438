"""A report as JUnit XML, which most CI systems show: a test case for each quantity of each slice."""

from __future__ import annotations

from xml.etree import ElementTree

from slicer_core.checks.report import CheckedSlice, Report, Row
from slicer_core.checks.texts import visible


def encode_junit(report: Report) -> bytes:
    """UTF-8 XML: what failed is a failure, what is absent an error."""
    counts = {
        "tests": str(sum(len(checked.rows) for checked in report.slices)),
        "failures": str(report.count("failed")),
        "errors": str(report.count("absent")),
    }
    name = f"loss-slicer {report.command}"
    root = ElementTree.Element("testsuites", {"name": name, **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for checked in report.slices:
        for row in checked.rows:
            _add_case(suite, checked, row)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _add_case(suite: ElementTree.Element, checked: CheckedSlice, row: Row) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": visible(f"{checked.run}.{checked.tag}"),
            "name": visible(f"{checked.step}: {row.quantity} {row.expected}"),
        },
    )
    if row.outcome != "passed":
        kind = "failure" if row.outcome == "failed" else "error"
        found = ElementTree.SubElement(case, kind, {"type": row.outcome, "message": visible(row.reason)})
        found.text = "\n".join(map(visible, _describe(row)))
    else:
        ElementTree.SubElement(case, "system-out").text = visible(_describe(row)[0])


def _describe(row: Row) -> list[str]:
    lines = [f"{row.quantity}: {'absent' if row.found is None else row.found}, expected {row.expected}"]
    return lines + ([f"baseline: {row.baseline}"] if row.baseline is not None else [])
