"""`loss-slicer plot` on a log that the command itself made."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from event_logs import UNREADABLE, a_line, write_log
from tensorboard_loss_slicer.event_files import EventFileLog, SliceEvent

Command = Callable[..., Result]


@pytest.fixture
def log(run: Command, workplace: Path) -> Path:
    for method, grid in (("random2d", "5x3"), ("linear", "5")):
        assert run(method=method, grid=grid).exit_code == 0
    return workplace / "runs"


def png_size(path: Path) -> tuple[int, int]:
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_each_chosen_slice_becomes_a_figure(log: Path, call: Command):
    result = call("plot", log, "--step", "all", "--tag", "random*", "--dpi", "50")

    assert result.exit_code == 0
    written = sorted(Path("figures").iterdir())
    assert [path.name.rpartition("-")[0] for path in written] == [
        f"sgd-random2d-step-{step}" for step in (0, 200, 2000)
    ]
    assert sorted(result.output.split()) == [str(path) for path in written]
    assert png_size(written[0])[0] == 250


def test_curves_of_all_steps_fit_into_one_figure(log: Path, call: Command):
    result = call("plot", log, "--tag", "linear", "--step", "all", "--overlay", "--out", "line.svg")
    assert result.exit_code == 0
    assert "<svg" in Path("line.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--tag", "randm2d"), "nearest: random2d"),
        (("--run", "adam"), "there are sgd"),
        (("--step", "7"), "no slice has one of the steps 7"),
        (("--step", "soon"), "--step 'soon' is not all"),
        (("--format", "bmp"), "--format 'bmp' is not one of png"),
        (("--view", "family", "--tag", "linear"), "give one of curve"),
        (("--out", "one.png"), "is one file, and 2 figures"),
        (("--levels", "few"), "--levels 'few'"),
        (("--scale", "cubic"), "--scale 'cubic'"),
    ],
)
def test_what_can_not_be_drawn_is_one_message_and_no_file(
    arguments: tuple[str, ...], message: str, log: Path, call: Command, workplace: Path
):
    before = sorted(workplace.iterdir())
    result = call("plot", log, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert sorted(workplace.iterdir()) == before


def test_a_folder_without_a_log_is_told(call: Command, workplace: Path):
    assert "no log directory" in call("plot", "nowhere").output
    assert "no event files" in call("plot", "sgd").output


def test_what_can_not_be_read_or_drawn_is_told_and_the_rest_drawn(workplace: Path, call: Command):
    write_log(
        Path("runs/run"),
        [("a", 1, [1, 2, 3]), ("b", 1, UNREADABLE), ("c", 1, [-1, 2, 3]), ("d", 1, [1, 2, 3])],
    )

    result = call("plot", "--dpi", "30", "--scale", "log")

    assert result.exit_code == 2
    assert [path.name.rpartition("-")[0] for path in sorted(Path("figures").iterdir())] == [
        "run-a-step-1",
        "run-d-step-1",
    ]
    told = [text for text in result.stderr.splitlines() if text]
    assert len(told) == 2
    assert "tag 'b', step 1: " in told[0]
    assert told[1].startswith("error: run, c, step 1: --scale log")

    assert call("plot", "--dpi", "30", "--tag", "[ad]").exit_code == 0
    nothing = call("plot", "--tag", "b", "--out", "none")
    assert nothing.exit_code == 2
    assert "tag 'b', step 1: " in nothing.stderr
    assert not Path("none").exists()
    assert not Path("none").exists()


def test_files_are_named_by_letters_whatever_the_log_says(workplace: Path, call: Command):
    data = a_line([0.0, 1.0, 2.0])
    tags = ("../../../etc/x", "a/b\x1b[31m", "a b", "a-b", "名" * 400)
    with EventFileLog(Path("hostile/run")) as events:
        for tag in tags:
            events.append(SliceEvent(tag=tag, step=1, wall_time=1.0, data=data))

    result = call("plot", "hostile", "--dpi", "30", "--out", "out")

    assert result.exit_code == 0
    names = [path.name for path in Path("out").iterdir()]
    assert len(names) == len(tags)
    assert all(name.replace("-", "").replace(".png", "").isascii() and "/" not in name for name in names)
    assert {path.name for path in workplace.iterdir()} == {"sgd", "hostile", "out"}


def test_the_latest_writing_of_a_step_counts(tmp_path: Path):
    from torch.utils.tensorboard import SummaryWriter

    from tensorboard_loss_slicer.log_selection import select_slices
    from tensorboard_loss_slicer.summary_v2 import log_slice

    def line(height: float) -> dict[str, Any]:
        return {"samples": [(0.0, height), (1.0, height)], "start_loss": height, "end_loss": height}

    with SummaryWriter(str(tmp_path / "live")) as writer:
        for height in (1.0, 2.0):
            log_slice("line", line(height), step=5, writer=writer)
    (found,) = select_slices(tmp_path, steps="all")
    assert found.data.loss.tolist() == [2.0, 2.0]
    assert (found.run, found.tag, found.step) == ("live", "line", 5)
