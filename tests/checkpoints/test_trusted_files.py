"""Whole modules in pickles: refused by what they would run, read where the user trusts them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slicer_core.checkpoints import ReadOptions, find_sources, open_checkpoint
from slicer_core.errors import CheckpointError

TRUSTED = ReadOptions(trusted=True)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_whole_module_is_read_where_it_is_trusted_and_only_there(nested, legacy, tmp_path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    path = tmp_path / "step-1.pt"
    torch.save({"model": model, "epoch": 4} if nested else model, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"holds more than tensors \(.*torch\.nn\.modules") as caught:
        open_checkpoint(path)
    assert "trust" not in str(caught.value)
    checkpoint = open_checkpoint(path, TRUSTED)[0]
    assert (checkpoint.step, checkpoint.step_unit) == ((4, "epoch") if nested else (1, "step"))
    read = checkpoint.read()
    assert set(read) == set(model.state_dict())
    assert torch.equal(read["0.weight"], model[0].weight)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_what_is_not_trusted_runs_nothing_when_a_folder_is_looked_through(tmp_path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "step-1.pt")
    torch.save({"model": {"w": torch.ones(2)}, "x": Trap(tmp_path / "trap")}, tmp_path / "step-2.pt")
    (source,) = find_sources([str(tmp_path)])
    ((path, error),) = source.failures
    assert path.name == "step-2.pt"
    assert "mkdir" in str(error)
    assert not (tmp_path / "trap").exists()


def test_a_trusted_file_that_raises_is_a_failure_of_its_own(tmp_path) -> None:
    (tmp_path / "trap").mkdir()
    torch.save({"w": torch.ones(2)}, tmp_path / "step-1.pt")
    torch.save({"model": {"w": torch.ones(2)}, "x": Trap(tmp_path / "trap")}, tmp_path / "step-2.pt")
    (source,) = find_sources([str(tmp_path)], TRUSTED)
    assert [checkpoint.step for checkpoint in source.checkpoints] == [1]
    assert "can't be read as a torch file" in str(source.failures[0][1])
