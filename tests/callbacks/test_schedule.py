"""When slices are due, and how long they may take: counts and seconds are given, so nothing here is timed."""

from __future__ import annotations

import math

import pytest

from slicer_core.errors import UsageError
from tensorboard_loss_slicer.callbacks.schedule import Schedule, TimeBudget
from tensorboard_loss_slicer.callbacks.settings import LandscapeSettings


def test_epochs_are_counted_from_the_first() -> None:
    due = [epoch for epoch in range(25) if Schedule(epochs=10).after_epoch(epoch)]
    assert due == [0, 10, 20]
    assert Schedule().setting == "log_every_n_epochs=10"
    assert not Schedule(steps=5).after_epoch(0)


def test_steps_that_are_counted_by_twos_or_from_a_checkpoint_are_not_missed() -> None:
    schedule = Schedule(steps=5)
    before, due = 3, []
    for step in range(4, 30, 2):
        if schedule.after_step(before, step):
            due.append(step)
        before = step
    assert due == [6, 10, 16, 20, 26]
    assert not schedule.after_step(10, 10)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"epochs": 1, "steps": 1}, "both given"),
        ({"epochs": 0}, "log_every_n_epochs 0 is not a whole number from 1 up"),
        ({"steps": 2.5}, "log_every_n_steps 2.5 is not"),
    ],
)
def test_an_interval_that_means_nothing_is_refused(given: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule(**given)


def test_slices_may_take_their_share_of_the_time_so_far_or_of_one_interval() -> None:
    budget = TimeBudget(max_overhead=0.1, needed=4.0)
    # One epoch of ten between slices: the interval will take 200 s.
    assert budget.allowed(20.0, periods=0.1) == pytest.approx(20.0)
    assert budget.overhead(20.0, periods=0.1) == pytest.approx(0.02)
    budget.spent = 15.0
    assert budget.allowed(200.0, periods=1.0) == pytest.approx(5.0)
    assert budget.allowed(100.0, periods=0.5) == pytest.approx(5.0)
    assert budget.allowed(1000.0, periods=5.0) == pytest.approx(85.0)
    assert budget.overhead(1000.0, periods=5.0) == pytest.approx(0.02)
    assert TimeBudget(max_overhead=None, spent=1e9).allowed(1.0, periods=1.0) == math.inf


@pytest.mark.parametrize(
    "given, message",
    [
        ({"method": "pca2d"}, "the path of all checkpoints"),
        ({"method": "linear"}, r"needs other checkpoints \(last\).*loss-slicer run"),
        ({"method": "nothing"}, "is not one of"),
        ({"method": "random1d", "options": {"to": "first"}}, "--to is an option of --method linear"),
        ({"grid": "3x4x5"}, "has 3 axes"),
        ({"range": "1:0"}, "--range"),
        ({"samples": 0}, "not a number of samples"),
        ({"max_overhead": 0.0}, "not a share of the training time"),
    ],
)
def test_settings_that_can_not_be_used_are_refused_before_training(given: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LandscapeSettings(**given)


def test_a_line_to_a_random_point_needs_no_checkpoint() -> None:
    assert LandscapeSettings(method="linear", options={"to": "random"}).slice_options().grid == (25,)
