"""Which of the mappings in a file is the model: the only one, or the one that is named."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from slicer_core.checkpoints import ReadOptions, recognize
from slicer_core.checkpoints.checkpoint import CheckpointFormat
from slicer_core.checkpoints.torch_format import TORCH
from slicer_core.checkpoints.weights import USUAL_KEYS
from slicer_core.errors import CheckpointError

ONES = {"w": torch.ones(2, 2)}
TWOS = {"w": torch.full((2, 2), 2.0)}


def saved(tmp_path: Path, value: Any) -> Path:
    torch.save(value, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def value(path: Path, weights: str | None = None) -> float:
    read = TORCH.read(path, ReadOptions(weights=weights))
    assert set(read) == {"w"}
    assert TORCH.contents(path, ReadOptions(weights=weights)).tensors["w"].shape == (2, 2)
    return read["w"][0, 0].item()


@pytest.mark.parametrize("key", [*USUAL_KEYS, "generator"])
def test_the_only_set_is_taken_from_under_its_key(key, tmp_path) -> None:
    path = saved(tmp_path, {key: TWOS, "optimizer": {"state": {"w": torch.ones(2, 2)}}, "epoch": 3})
    assert value(path) == 2
    contents = TORCH.contents(path)
    assert (contents.weights, contents.step, contents.step_unit) == (key, 3, "epoch")


@pytest.mark.parametrize(
    ("tree", "candidates"),
    [
        ({"state_dict": ONES, "state_dict_ema": TWOS}, ["state_dict", "state_dict_ema"]),
        ({"model": ONES, "model_ema": TWOS}, ["model", "model_ema"]),
        ({"model": {"raw": ONES, "averaged": TWOS}}, ["model.raw", "model.averaged"]),
        ({"generator": ONES, "discriminator": {"v": torch.ones(3)}}, ["generator", "discriminator"]),
        ({"state_dict": ONES, "current_model_state": TWOS}, ["state_dict", "current_model_state"]),
        ({"state_dict": ONES, "callbacks": {"EMA": {"shadow": TWOS}}}, ["state_dict", "callbacks.EMA.shadow"]),
        ({**ONES, "ema": TWOS}, [".", "ema"]),
    ],
)
def test_of_several_sets_none_is_guessed_and_each_can_be_named(tree, candidates, tmp_path) -> None:
    path = saved(tmp_path, tree)
    for read in (TORCH.contents, TORCH.read):
        with pytest.raises(CheckpointError, match="several sets of weights") as caught:
            read(path)
        assert all(f"{candidate} (1 tensors)" in str(caught.value) for candidate in candidates)
        assert "--weights KEY" in str(caught.value)
    read = [TORCH.read(path, ReadOptions(weights=candidate)) for candidate in candidates]
    assert len({next(iter(tensors.values())).sum().item() for tensors in read}) == 2


def test_a_set_of_other_shapes_under_no_usual_key_is_no_rival(tmp_path) -> None:
    assert value(saved(tmp_path, {"model": ONES, "queue": {"q": torch.ones(5)}, "best_loss": torch.tensor(1.0)})) == 1


def test_a_key_that_is_not_there_is_told_with_those_that_are(tmp_path) -> None:
    path = saved(tmp_path, {"model": ONES})
    with pytest.raises(CheckpointError, match=r"no weights under --weights 'ema'; there are model \(1 tensors\)"):
        TORCH.read(path, ReadOptions(weights="ema"))


def test_numbers_and_extra_state_beside_the_tensors_of_a_state_are_left_out(tmp_path) -> None:
    assert value(saved(tmp_path, {**ONES, "epoch": 3, "layer._extra_state": [1, 2], "note": None})) == 1


@pytest.mark.parametrize("format_", ["safetensors", "sharded"])
def test_names_of_one_mapping_are_told_apart_by_their_prefix(format_, tmp_path) -> None:
    tensors = {f"{prefix}.layer.w": torch.full((2,), number) for prefix, number in (("net", 1.0), ("ema", 2.0))}
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(tensors, path)
    if format_ == "sharded":
        path = tmp_path / "model.safetensors.index.json"
        path.write_text('{"weight_map": {"net.layer.w": "model.safetensors", "ema.layer.w": "model.safetensors"}}')
    found: CheckpointFormat = recognize(path)
    assert found.name == format_
    for read in (found.read, found.open):
        assert {name: tensor[0].item() for name, tensor in read(path, ReadOptions(weights="ema")).items()} == {
            "layer.w": 2
        }
    assert set(found.contents(path, ReadOptions(weights="net")).tensors) == {"layer.w"}
    assert set(found.read(path)) == {"net.layer.w", "ema.layer.w"}
    with pytest.raises(CheckpointError, match="no weights under --weights 'gone'; its names begin with ema, net"):
        found.read(path, ReadOptions(weights="gone"))


def test_what_trainers_put_beside_the_weights_and_only_holds_values_is_read(tmp_path) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, model="resnet18"),
        "metric": np.float64(3.5),
        "count": np.int64(3),
        "output": tmp_path,
    }
    assert value(saved(tmp_path, {"model": ONES, "epoch": 1, **beside})) == 1
