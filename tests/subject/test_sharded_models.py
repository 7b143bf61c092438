"""A model whose tensors lie on several devices is refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from slicer_core import ModelWrapper, RandomDirectionSlicer
from slicer_core.errors import CheckpointError, ModuleError


def test_a_sharded_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.Linear(4, 2)
        sharded = distribute_tensor(model.weight.detach(), init_device_mesh("cpu", (1,)), [Shard(0)])
        model.weight = nn.Parameter(sharded)
        with pytest.raises(ModuleError, match=r"sharded over devices \(weight\), and a slice needs") as refused:
            ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(3, 4), torch.zeros(3, dtype=torch.int64)))
        assert "get_model_state_dict" in str(refused.value)
        whole = ModelWrapper(nn.Linear(4, 2), nn.CrossEntropyLoss(), (torch.randn(3, 4), torch.tensor([0, 1, 0])))
        with pytest.raises(CheckpointError, match=r"sharded over devices .* under 'weight'"):
            RandomDirectionSlicer(whole).slice_1d({"weight": sharded}, n_samples=3)
    finally:
        distributed.destroy_process_group()
