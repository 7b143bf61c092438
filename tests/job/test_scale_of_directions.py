"""An animation over steps: directions as long as those of one step, or as long as each step's own weights make them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slicer_core.job import Job, run_job

MakeJob = Callable[..., Job]


def norms(job: Job) -> list[list[float]]:
    """For each step those of both directions."""
    return [[direction.norm for direction in found.data.directions] for found in run_job(job).slices]


def test_with_scale_from_one_step_the_directions_are_as_long_at_each(make_job: MakeJob) -> None:
    each = norms(make_job(method="random2d"))
    first = norms(make_job(method="random2d", scale_from="first", name="first"))
    last = norms(make_job(method="random2d", scale_from="last", name="last"))
    assert len(each) == 3
    for axis in (0, 1):
        assert len({lengths[axis] for lengths in each}) == 3
    assert first == [each[0]] * 3
    assert last == [each[2]] * 3


def test_the_numbers_of_the_directions_do_not_depend_on_the_step(make_job: MakeJob) -> None:
    """Filter by filter, norms cancel out of the cosine of normalized directions only where they are the same."""
    fixed = run_job(make_job(method="random2d", scale_from="first")).slices
    assert len({found.data.cosine for found in fixed}) == 1
    assert fixed[0].data.cosine == pytest.approx(run_job(make_job(method="random2d")).slices[0].data.cosine)
