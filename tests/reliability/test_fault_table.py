"""`docs/reliability.md`: every fault names tests that are there, and every file of tests here shows a fault."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def rows() -> list[list[str]]:
    """The cells of the table of faults."""
    lines = PAGE.partition("| fault |")[2].splitlines()[2:]
    table = [line for line in lines[: lines.index("")] if line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def named_tests() -> list[tuple[Path, str]]:
    """(file, keyword) of each test that the table names; the keyword is empty where it names all of a file."""
    found = []
    for _, _, tests in rows():
        names = re.findall(r"`([^` ]+\.py)(?: -k ([a-z_0-9]+))?`", tests)
        assert len(names) == tests.count(".py"), f"not of the form `FILE` or `FILE -k WORDS`: {tests}"
        found += [(ROOT / file if "/" in file else HERE / file, keyword) for file, keyword in names]
    return found


def test_every_fault_names_tests_that_are_there() -> None:
    assert len(rows()) >= 20
    for fault, happens, tests in rows():
        assert fault
        assert happens
        assert ".py" in tests, f"{fault} names no test"
    for file, keyword in named_tests():
        functions = re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
        assert any(keyword in name for name in functions), f"{file.name} has no test with {keyword!r} in its name"


def test_every_file_of_tests_here_is_named() -> None:
    named = {file for file, _ in named_tests()}
    assert {file for file in HERE.glob("test_*.py") if file != Path(__file__).resolve()} <= named
