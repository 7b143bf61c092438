"""Lines to a permuted network as jobs: both barriers are kept, and jobs without it are what they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slicer_core.errors import UsageError
from slicer_core.job import Job, Reporter, estimate, run_job
from slicer_core.job.prepare import prepare

MakeJob = Callable[..., Job]
OPTIONS = {"method": "linear", "to": "last", "steps": "first", "grid": "5", "range": "0:1"}


def test_both_barriers_are_reported(make_job: MakeJob) -> None:
    (aligned,) = run_job(make_job(**OPTIONS, align="weights")).slices
    (plain,) = run_job(make_job(**OPTIONS)).slices
    measures = aligned.data.measures
    assert measures["unaligned_barrier"].value == pytest.approx(plain.data.measures["barrier"].value, rel=1e-5)
    assert measures["barrier"].error is not None
    assert aligned.data.directions[0].norm <= plain.data.directions[0].norm
    assert run_job(make_job(**OPTIONS)).num_new == 0
    assert estimate(make_job(**OPTIONS, align="weights")).points == 5


def test_the_default_is_no_part_of_the_hash(make_job: MakeJob) -> None:
    def hash_of(**more: str) -> str:
        prepared = prepare(make_job(**OPTIONS, **more), Reporter())
        return prepared.job_hash(prepared.sources[0])

    assert hash_of(align="none") == hash_of()
    assert hash_of(align="weights") != hash_of()


def test_a_random_end_is_no_network_to_align(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match="needs another trained network"):
        run_job(make_job(**OPTIONS | {"to": "random"}, align="weights"))
