"""Sums of many points on a batch: the same bits however many rows are added up at a time."""

from __future__ import annotations

import pytest
import torch

from slicer_core.errors import DataError
from slicer_core.evaluate import outputs
from slicer_core.evaluate.objective import SampleTerms
from slicer_core.evaluate.outputs import SumsOutput
from slicer_core.subject import LOSS, Batch

ENTRIES, POINTS = 37, 11


def collected(monkeypatch: pytest.MonkeyPatch, cached: int, counts: torch.Tensor) -> outputs.PointSums:
    monkeypatch.setattr(outputs, "_CACHED_BYTES", cached)
    generator = torch.Generator().manual_seed(0)
    batch = Batch(data=(), num_samples=ENTRIES)
    output = SumsOutput(POINTS, torch.device("cpu"), is_total=False)
    for _ in range(2):
        center = SampleTerms(sums=torch.rand(ENTRIES, generator=generator), counts=counts[0])
        output.begin_batch(batch, {LOSS: center})
        values = torch.rand(POINTS, ENTRIES, generator=generator)
        values[3, 5] = torch.nan
        for start, stop in ((0, 4), (4, POINTS)):
            output.add({LOSS: (values[start:stop], counts[start:stop])}, slice(start, stop))
    return output.result()[LOSS]


@pytest.mark.parametrize("is_row", [True, False])
def test_a_points_sums_do_not_depend_on_how_many_are_added_up_at_once(
    is_row: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.ones(1, ENTRIES).expand(POINTS, -1)
    counts = counts if is_row else counts.contiguous()
    whole, single = (collected(monkeypatch, cached, counts) for cached in (2**30, 1))
    assert whole.to_bytes() == single.to_bytes()
    generator = torch.Generator().manual_seed(0)
    expected = torch.zeros(POINTS, dtype=torch.float64)
    for _ in range(2):
        torch.rand(ENTRIES, generator=generator)
        expected += torch.rand(POINTS, ENTRIES, generator=generator).double().sum(dim=1)
    known = torch.arange(POINTS) != 3
    torch.testing.assert_close(torch.from_numpy(whole.total)[known], expected[known])
    assert whole.groups is not None
    torch.testing.assert_close(torch.from_numpy(whole.groups.points).sum(dim=1)[known], expected[known])
    assert torch.from_numpy(whole.total)[3].isnan()


def test_sums_of_parts_of_the_data_add_up_to_the_bits_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes, cpu = (5, 9, 2, 7), torch.device("cpu")
    whole, parts, first = SumsOutput(POINTS, cpu, is_total=False), [], 0
    for size in sizes:
        alone = SumsOutput(POINTS, cpu, is_total=False, first_entry=first)
        counts = torch.rand(size, generator=generator)
        counts[1] = 0
        center = SampleTerms(sums=torch.rand(size, generator=generator) * (counts > 0), counts=counts)
        values = torch.rand(POINTS, size, generator=generator)
        values[3, 1] = torch.inf
        for output in (whole, alone):
            output.begin_batch(Batch(data=(), num_samples=size), {LOSS: center})
            output.add({LOSS: (values, counts.expand(POINTS, -1))}, slice(0, POINTS))
        parts.append(alone.result()[LOSS])
        first += size
    assert outputs.PointSums.added(parts).to_bytes() == whole.result()[LOSS].to_bytes()


def test_counts_that_differ_at_one_point_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = torch.ones(POINTS, ENTRIES)
    counts[7, 2] = 2
    with pytest.raises(DataError, match="is divided by changes with the parameters"):
        collected(monkeypatch, 2**30, counts)
