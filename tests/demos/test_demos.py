"""Each demo is a real training whose slices TensorBoard's own reader finds, in a folder that is new each time."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loss_slicer.app import app
from slicer_core.slices import Slice
from tensorboard_loss_slicer import read_events
from tensorboard_loss_slicer.demos import DEMOS

EPOCHS = 2
STEPS = [0, 1, 2]
EXPECTED = {
    "linear_interpolation": {"": {"to_random": STEPS, "start_to_end": [EPOCHS]}},
    "axis_parallel": {"": dict.fromkeys(("first_pixels", "largest", "random"), STEPS)},
    "hyperparameter_tuning": {
        f"learning_rate_{rate}": {"landscape": STEPS, "start_to_end": [EPOCHS]} for rate in (0.01, 0.1, 1.0)
    },
    "multiple_runs": {
        "sgd": {"landscape": STEPS},
        "adam": {
            "landscape": STEPS,
            **{f"linear_scale_{scale}": [EPOCHS] for scale in (0.1, 0.5, 1.0, 2.0)},
            **{f"group_{number}_analysis": [EPOCHS] for number in range(3)},
        },
        "adamw": {"landscape": STEPS},
        **{f"{name}/loss_slicer": {"pca2d": [EPOCHS]} for name in ("sgd", "adam", "adamw")},
        "between": {pair: [EPOCHS] for pair in ("sgd_to_adam", "sgd_to_adamw", "adam_to_adamw")},
    },
}


def log_of(folder: Path) -> dict[str, dict[str, dict[int, Slice]]]:
    """Run -> tag -> step -> slice."""
    log: dict[str, dict[str, dict[int, Slice]]] = {}
    for run in sorted({file.parent for file in folder.rglob("*tfevents*")}):
        name = "" if run == folder else str(run.relative_to(folder))
        for event in read_events(run):
            log.setdefault(name, {}).setdefault(event.tag, {})[event.step] = event.data
    return log


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_logs_its_slices_while_it_trains(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    importlib.import_module(DEMOS[name].module).main(["--epochs", str(EPOCHS)])

    log = log_of(tmp_path / "demo_logs" / name)
    assert {run: {tag: sorted(steps) for tag, steps in tags.items()} for run, tags in log.items()} == EXPECTED[name]
    for tags in log.values():
        for steps in tags.values():
            for data in steps.values():
                assert data.center is not None
                assert all(math.isfinite(loss) for loss in data.center.loss.values())
    printed = capsys.readouterr().out
    assert f"The log is in demo_logs/{name}." in printed
    assert "    tensorboard --logdir=demo_logs\n" in printed


def test_the_training_lowers_the_loss(tmp_path: Path) -> None:
    importlib.import_module(DEMOS["linear_interpolation"].module).main(["--epochs", "4", "--logdir", str(tmp_path)])

    (line,) = log_of(tmp_path / "linear_interpolation")[""]["start_to_end"].values()
    positions = line.axes[0].values.tolist()
    assert line.loss[positions.index(1.0)] < line.loss[positions.index(0.0)] - 0.5


def test_the_command_runs_a_demo_and_a_second_one_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        done = CliRunner().invoke(app, ["demo", "linear_interpolation", "--epochs", "1", "--logdir", "logs"])
        assert done.exit_code == 0, done.output

    assert sorted(folder.name for folder in (tmp_path / "logs").iterdir()) == [
        "linear_interpolation",
        "linear_interpolation-2",
    ]
    first, second = (log_of(tmp_path / "logs" / name) for name in ("linear_interpolation", "linear_interpolation-2"))
    # Which way is fastest is found by timing, and ways differ by rounding.
    expected = pytest.approx(first[""]["start_to_end"][1].loss, rel=1e-6)
    assert second[""]["start_to_end"][1].loss == expected


def test_without_a_name_the_demos_are_listed() -> None:
    listed = CliRunner().invoke(app, ["demo"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(DEMOS)


def test_a_demo_that_is_not_there_is_refused_with_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["demo", "multiple_run"])
    assert refused.exit_code == 2
    assert "nearest: multiple_runs" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_python_m_runs_a_demo_and_its_help_names_the_options() -> None:
    module = DEMOS["multiple_runs"].module
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert {"--logdir", "--epochs", "--seed"} <= set(re.findall(r"--\w+", done.stdout))
    assert f"python -m {module}" in done.stdout
