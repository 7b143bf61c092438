"""`loss-slicer export`: the files hold what the log holds, read back by the libraries that others use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from PIL import Image
from typer.testing import Result

from tensorboard_loss_slicer import log_slice

Command = Callable[..., Result]


@pytest.fixture
def log(run: Command, workplace: Path) -> Path:
    assert run(method="random2d", grid="4x3").exit_code == 0
    # The files come from the event files alone.
    (workplace / "runs" / "sgd" / "loss_slicer" / "slices.sqlite").unlink()
    shutil.rmtree(workplace / "sgd")
    return workplace / "runs"


@pytest.mark.parametrize("name, suffix", [("npz", ".npz"), ("csv", ".csv"), ("json", ".json"), ("netcdf", ".nc")])
def test_every_step_becomes_a_file_with_the_logs_numbers(
    name: str, suffix: str, log: Path, call: Command, tools: SimpleNamespace
):
    result = call("export", log, "--format", name)

    assert result.exit_code == 0
    logged = tools.read_log(log)["sgd/loss_slicer"]["random2d"]
    files = {int(path.name.split("-step-")[1].split("-")[0]): path for path in Path("exported").iterdir()}
    assert sorted(files) == sorted(logged) == [0, 200, 2000]
    assert sorted(result.output.split()) == sorted(map(str, files.values()))
    for step, path in files.items():
        assert path.suffix == suffix
        np.testing.assert_array_equal(read_loss(path).astype(logged[step].loss.dtype), logged[step].loss)


def read_loss(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        return np.load(path, allow_pickle=False)["loss_train"]
    if path.suffix == ".csv":
        rows = np.genfromtxt(path, delimiter=",", names=True, encoding="utf-8")
        return rows["loss_train"].reshape(4, 3)
    if path.suffix == ".json":
        return np.array(json.loads(path.read_text())["arrays"][0]["values"])
    with xarray.open_dataset(path) as opened:
        return opened["loss_train"].values


def test_an_animation_has_a_picture_for_each_step(log: Path, call: Command):
    result = call("export", log, "--format", "gif")
    assert result.exit_code == 0
    (path,) = Path("exported").iterdir()
    with Image.open(path) as animation:
        assert animation.n_frames == 3
        assert animation.size == (1000, 750)


def test_figures_and_vtk_are_written(log: Path, call: Command):
    for name, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("vtk", b"<?xml")):
        assert call("export", log, "--format", name, "--step", "last", "--out", name).exit_code == 0
        (path,) = Path(name).iterdir()
        assert path.read_bytes().startswith(start)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--format", "xls"), "--format 'xls' is not one of npz"),
        (("--format", "csv", "--view", "surface"), "--view is for figures"),
        (("--format", "svg", "--view", "family"), "give one of contour"),
        (("--tag", "nothing"), "no tag fits"),
    ],
)
def test_what_can_not_be_written_is_one_message_and_no_file(
    arguments: tuple[str, ...], message: str, log: Path, call: Command
):
    result = call("export", log, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not Path("exported").exists()


def test_a_run_that_is_nowhere_finite_costs_the_others_no_animation(log: Path, call: Command):
    # It comes first.
    nowhere = {"samples": [(-1.0, float("nan")), (1.0, float("nan"))], "start_loss": 1.0, "end_loss": 1.0}
    log_slice("line", nowhere, step=0, logdir=log / "diverged")
    result = call("export", log, "--format", "gif")
    assert result.exit_code == 2
    assert "error: diverged, line: no slice has a finite value" in result.stderr
    (path,) = Path("exported").iterdir()
    assert path.name.startswith("sgd-random2d")


def test_a_file_that_can_not_be_written_is_told(log: Path, call: Command):
    Path("taken").write_text("a file")
    result = call("export", log, "--out", "taken")
    assert result.exit_code == 2
    assert "can't be written" in result.output
    assert Path("taken").read_text() == "a file"
