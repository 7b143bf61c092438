"""A model whose copies other processes train is sliced by one of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from slicer_core import EvaluationSettings, HessianSlicer, ModelWrapper, RandomDirectionSlicer

DATA = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 0, 1])


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[DistributedDataParallel]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        yield DistributedDataParallel(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)))
    finally:
        distributed.destroy_process_group()


def test_no_pass_of_a_slice_waits_for_the_other_processes(
    replica: DistributedDataParallel, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str] = []
    monkeypatch.setattr(replica, "_pre_forward", lambda *batch: (waited.append("for buffers"), (batch, {}))[1])
    wrapper = ModelWrapper(replica, nn.CrossEntropyLoss(), DATA)
    found = [
        RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy=name), progress=False)
        .slice_1d(n_samples=3)
        .arrays[0]
        .values
        for name in ("loop", "partial", "vmap", "streaming")
    ]
    HessianSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    assert waited == []
    for values in found[1:]:
        np.testing.assert_allclose(values, found[0], rtol=2e-6)
    with torch.no_grad():
        replica(DATA[0])
    assert waited == ["for buffers"], "a pass of the training is what it was"
