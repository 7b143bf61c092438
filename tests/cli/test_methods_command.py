"""`loss-slicer methods`: what `--method` may be."""

from __future__ import annotations

import json
from collections.abc import Callable

from typer.testing import Result

from slicer_core.methods import METHODS

Call = Callable[..., Result]


def test_each_method_is_listed_with_its_defaults_and_options(call: Call) -> None:
    shown = call("methods")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    for row in METHODS.values():
        (line,) = [line for line in lines if line.startswith(f"{row.name} ")]
        assert row.geometry in line
        assert f"--grid {row.grid} --range {row.range}" in line
        for option in row.options:
            assert any(option.flag in line and option.help in line for line in lines)


def test_as_json_it_is_one_document(call: Call) -> None:
    document = json.loads(call("methods", "--json").stdout)
    assert document["schema"] == 1
    rows = {row["name"]: row for row in document["methods"]}
    assert set(rows) == set(METHODS)
    assert rows["linear"]["slice_type"] == "linear_interpolation"
    assert rows["linear"]["options"][0]["flag"] == "--to"
    assert (rows["random2d"]["grid"], rows["random2d"]["range"]) == ("51x51", "-1:1")


def test_a_listed_default_is_what_a_run_takes(call: Call) -> None:
    for row in METHODS.values():
        printed = call(
            "run", "--checkpoints", "sgd/checkpoints", "--module", "m.py", "--method", row.name, "--print-config"
        )
        assert f'grid = "{row.grid}"' in printed.stdout
        assert f'range = "{row.range}"' in printed.stdout
