"""Commands on logs in which some slices can't be read: the rest is done, and the status says that it is not all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import Result

from event_logs import UNREADABLE, write_log

Command = Callable[..., Result]


@pytest.fixture
def log(workplace: Path) -> Path:
    """Tag `part` lacks its second step, tag `none` its only one."""
    slices = [("part", 1, [1, 2, 3]), ("part", 2, UNREADABLE), ("part", 3, [1, 2, math.inf]), ("none", 1, UNREADABLE)]
    write_log(workplace / "runs" / "run", slices)
    return workplace / "runs"


def told(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("format, files", [("json", 2), ("gif", 1), ("html", 1)])
def test_export_writes_what_can_be_read(format: str, files: int, log: Path, call: Command):
    result = call("export", log, "--format", format)

    assert result.exit_code == 2
    assert len(list(Path("exported").iterdir())) == files
    assert ["tag 'none', step 1: " in line for line in told(result)] == [True, False]
    assert "tag 'part', step 2: " in told(result)[1]


def test_export_of_nothing_readable_writes_nothing(log: Path, call: Command):
    result = call("export", log, "--tag", "none", "--format", "html")
    assert (result.exit_code, len(told(result))) == (2, 1)
    assert not Path("exported").exists()


@pytest.mark.parametrize("command", ["plot", "export", "check"])
def test_a_slice_that_is_not_chosen_need_not_be_readable(command: str, log: Path, call: Command):
    rules = ["--no-nonfinite"] if command == "check" else []
    result = call(command, log, "--tag", "part", "--step", "1", *rules)
    assert (result.exit_code, told(result)) == (0, [])


def test_the_last_step_is_the_last_one_also_where_it_can_not_be_read(workplace: Path, call: Command):
    write_log(workplace / "runs" / "run", [("part", 1, [1, 2, 3]), ("part", 2, UNREADABLE)])

    result = call("check", "runs", "--no-nonfinite", "--json")

    assert result.exit_code == 2
    (checked,) = json.loads(result.stdout)["slices"]
    assert checked["step"] == "step 2"


def test_a_later_writing_of_the_step_counts(workplace: Path, call: Command):
    write_log(workplace / "runs" / "run", [("part", 1, UNREADABLE), ("part", 1, [1, 2, 3])])
    assert call("export", "runs").exit_code == 0


def test_check_reports_what_can_not_be_read_beside_the_rest(log: Path, call: Command):
    result = call("check", log, "--step", "all", "--no-nonfinite", "--junit", "found.xml")

    assert result.exit_code == 2
    cases = ElementTree.parse("found.xml").getroot().iter("testcase")
    found = {(case.get("classname"), case.get("name")): {each.tag for each in case} for case in cases}
    assert found == {
        ("run.part", "step 1: nonfinite == 0"): {"system-out"},
        ("run.part", "step 3: nonfinite == 0"): {"failure"},
        ("run.part", "step 2: slice readable"): {"error"},
        ("run.none", "step 1: slice readable"): {"error"},
    }
    assert "1 of 4 passed, 1 failed, 2 could not be checked (4 slices)" in result.stdout


def test_compare_reports_what_can_not_be_read_of_either_log_beside_the_rest(workplace: Path, call: Command):
    line = [1, 2, 3]
    write_log(
        workplace / "old" / "run",
        [("both", 1, UNREADABLE), ("fine", 1, line), ("gone", 1, line), ("new", 1, line), ("old", 1, UNREADABLE)],
    )
    write_log(
        workplace / "now" / "run",
        [
            ("added", 1, UNREADABLE),
            ("both", 1, UNREADABLE),
            ("fine", 1, line),
            ("new", 1, UNREADABLE),
            ("old", 1, line),
        ],
    )

    result = call("compare", "old", "now", "--json", "--markdown", "found.md")

    assert result.exit_code == 2
    found = {each["tag"]: each["rows"] for each in json.loads(result.stdout)["slices"]}
    reasons = {tag: [row["reason"] for row in rows if row["outcome"] == "absent"] for tag, rows in found.items()}
    assert found.keys() == {"added", "both", "fine", "gone", "new", "old"}
    # They have been compared: such lines have nothing to compare.
    assert reasons["fine"] == ["the baseline has no such quantity"]
    assert reasons["gone"] == ["not in the new log"]
    for tag, logs in {"added": ["now"], "both": ["old", "now"], "new": ["now"], "old": ["old"]}.items():
        assert [f"tag '{tag}', step 1: " in reason for reason in reasons[tag]] == [True] * len(logs)
        assert all(str(Path(log) / "run") in reason for log, reason in zip(logs, reasons[tag], strict=True)), reasons
