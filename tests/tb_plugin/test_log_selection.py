"""Which slices of a log the commands take, beside what TensorBoard shows of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from event_logs import FastLoader, write_log
from tensorboard_loss_slicer.log_selection import select_slices


def test_steps_that_a_resumed_training_left_behind_do_not_count(tmp_path: Path) -> None:
    steps = [0, 10, 20, 30, 40, 25, 35]
    write_log(tmp_path / "run", [("landscape", step, [100.0 - step]) for step in steps])

    chosen = {each.step: each.data.loss[0] for each in select_slices(tmp_path, steps="all")}

    assert list(chosen) == [0, 10, 20, 25, 35]
    with contextlib.closing(FastLoader(tmp_path)) as tensorboard:
        assert tensorboard.shows(chosen)
    assert [each.step for each in select_slices(tmp_path, steps="last")] == [35]
