"""Slices that are shown before they are complete: every number in them is that of the whole one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from slicer_core.errors import UsageError
from slicer_core.evaluate import PointSums
from slicer_core.job import FinishedSlice, Job, Reporter, View, run_job
from slicer_core.job.work import TILE_SECONDS
from slicer_core.slices import Slice

MakeJob = Callable[..., Job]
CASES = [
    ("random2d", {"grid": "9x5", "split": "both", "weight_decay": 0.1}),
    ("random2d", {"grid": "5", "repeats": 2}),
    ("random1d", {"grid": "33"}),
    ("linear", {"grid": "17", "to": "last"}),
    ("layers", {"grid": "9"}),
    ("axis", {"grid": "5", "params_to_slice": "largest:4"}),
    ("pca2d", {"grid": "5"}),
]


class Seen:
    """What `run_job` shows, and all that its view has each time."""

    def __init__(self) -> None:
        self.results: list[FinishedSlice] = []
        self.views: list[list[tuple[str, int]]] = []

    def __call__(self, result: FinishedSlice, view: View) -> None:
        self.results.append(result)
        self.views.append([(each.tag, each.step) for each in view()])

    def previews(self, tag: str) -> list[Slice]:
        return [result.data for result in self.results if result.tag == f"{tag}/preview"]

    def wholes(self, tag: str) -> dict[int, Slice]:
        return {result.step: result.data for result in self.results if result.tag == tag}


@pytest.fixture(autouse=True)
def at_every_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of five points, and a preview for each that has something to show."""
    monkeypatch.setenv(TILE_SECONDS, "0")
    monkeypatch.setattr("slicer_core.job.work._tile_points", lambda seconds: 5)
    monkeypatch.setattr("slicer_core.job.preview._SHARE", math.inf)


@pytest.mark.parametrize(
    ("method", "options"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)]
)
def test_a_preview_has_some_of_the_points_with_their_own_numbers(
    method: str, options: dict[str, Any], make_job: MakeJob
) -> None:
    seen = Seen()
    steps = "all" if method == "pca2d" else "first"
    run_job(make_job(method=method, strategy="loop", preview=True, steps=steps, **options), seen)
    (whole,) = seen.wholes(method).values()
    previews = seen.previews(method)
    assert len(previews) >= 2
    assert len({preview.shape for preview in previews}) >= (1 if options.get("repeats") else 2)
    filled = [preview.filled for preview in previews]
    assert filled == sorted(filled)
    for preview in previews:
        assert preview.status == "provisional"
        assert preview.filled == preview.evaluation["points_done"] / preview.evaluation["points"] <= 1
        assert preview.evaluation["seconds_left"] >= 0
        where = [np.searchsorted(own.values, axis.values) for axis, own in zip(preview.axes, whole.axes, strict=True)]
        for axis, own, kept in zip(preview.axes, whole.axes, where, strict=True):
            np.testing.assert_array_equal(own.values[kept], axis.values)
        if whole.curves:
            names = [curve.name for curve in whole.curves]
            where.insert(0, np.array([names.index(curve.name) for curve in preview.curves]))
        for array in preview.arrays:
            np.testing.assert_array_equal(
                whole.array(array.name, array.split, array.role)[np.ix_(*where)], array.values
            )
        assert preview.center.loss.items() <= whole.center.loss.items()
        assert preview.directions == whole.directions
    # What only all points tell is not told of some.
    assert set(whole.measures) > set(previews[0].measures)


def test_each_whole_slice_takes_the_place_of_its_preview(make_job: MakeJob) -> None:
    seen = Seen()
    result = run_job(make_job(method="random2d", grid="5", strategy="loop", preview=True), seen)
    assert [each.tag for each in result.slices] == ["random2d"] * 3
    assert {step for each in seen.views for tag, step in each if tag != "random2d"} == {0, 200, 2000}
    for each in seen.views:
        assert len({step for _, step in each}) == len(each), "a step is there twice"
    assert seen.views[-1] == [("random2d", 0), ("random2d", 200), ("random2d", 2000)]


class StopAfter(Reporter):
    """Ctrl-C once so many points are done."""

    def __init__(self, num_points: int) -> None:
        self._left = float(num_points)

    def advance(self, num_points: float) -> None:
        self._left -= num_points
        if self._left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"preview": True}], ids=["same", "other job", "same, previews"])
def test_a_preview_that_a_stopped_run_left_goes_with_the_next_slice(options: dict[str, Any], make_job: MakeJob) -> None:
    job = {"method": "random2d", "grid": "9", "strategy": "loop", "steps": "first"}
    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        run_job(make_job(preview=True, **job), seen, StopAfter(40))
    assert seen.views[-1] == [("random2d/preview", 0)]
    run_job(make_job(**job | options), seen)
    assert seen.views[-1] == [("random2d", 0)]


def test_the_time_left_is_that_of_this_runs_own_points(make_job: MakeJob) -> None:
    job = {"method": "random2d", "grid": "9", "strategy": "loop", "steps": "first", "preview": True}
    with pytest.raises(KeyboardInterrupt):
        run_job(make_job(**job), Seen(), StopAfter(60))
    seen = Seen()
    run_job(make_job(**job), seen)
    first = seen.previews("random2d")[0].evaluation
    assert first["points_done"] > 40
    assert first["points_done"] < 81
    # 81 points of 64 kB of data take well under a minute, and those of the run before cost this one nothing.
    assert 0 < first["seconds_left"] < 60


def test_sums_of_chosen_points_are_those_points() -> None:
    sums = PointSums(
        total=np.arange(4.0), squares=np.arange(4.0) + 10, with_counts=np.arange(4.0) + 20,
        with_center=np.arange(4.0) + 30, center_total=1.0, center_squares=2.0, center_with_counts=3.0, count=5.0,
        count_squares=6.0, num_entries=7, counted=7,
    )  # fmt: skip
    found = sums.at(np.array([2, 0]))
    assert found.total.tolist() == [2, 0]
    assert found.with_center.tolist() == [32, 30]
    assert found.center_total == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preview": True, "tolerance": "1%"}, "no meaning with --tolerance"),
        ({"name": "mine/preview"}, "not complete yet"),
    ],
)
def test_what_can_not_have_previews_says_so(options: dict[str, Any], message: str, make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match=message):
        make_job(**options)
