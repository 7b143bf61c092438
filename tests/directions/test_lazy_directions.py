"""A direction made block by block is the one made at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from slicer_core import parameters
from slicer_core.directions import coordinate_direction, coordinates_at, filter_layouts, random_direction
from slicer_core.directions import normalize_direction as normalize
from slicer_core.parameters import LazyTensors, NamedTensors, row_blocks, rows_of

LAYERS: dict[str, nn.Module] = {
    "linear": nn.Linear(6, 9),
    "convolution": nn.Conv2d(4, 6, 3),
    "transposed": nn.ConvTranspose2d(4, 6, 3),
    "transposed, in groups": nn.ConvTranspose2d(6, 8, 3, groups=2),
    "embedding": nn.Embedding(11, 3),
}


def at_hand(layer: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in layer.named_parameters()}


def lazily(tensors: dict[str, torch.Tensor]) -> LazyTensors:
    like = {name: tensor.to("meta") for name, tensor in tensors.items()}
    return LazyTensors(like, lambda name, start, stop: rows_of(tensors, name, start, stop))


@pytest.mark.parametrize("normalization", ["filter", "layer", "weight", "dfilter", "dlayer", "none"])
@pytest.mark.parametrize("ignore", ["biasbn", "none", "li"])
@pytest.mark.parametrize("name", LAYERS)
def test_blocks_of_a_direction_are_those_of_the_whole(name, ignore, normalization, monkeypatch) -> None:
    layer = LAYERS[name]
    options: dict[str, Any] = {"normalization": normalization, "ignore": ignore, "layouts": filter_layouts(layer)}

    def made(vector: NamedTensors) -> NamedTensors:
        return normalize(random_direction(vector, seed=3, axis=1), vector, **options)

    whole = made(at_hand(layer))
    monkeypatch.setattr(parameters, "BLOCK_BYTES", 20)
    direction, eager = made(lazily(at_hand(layer))), made(at_hand(layer))
    assert isinstance(direction, LazyTensors)
    assert list(direction) == list(whole)
    for key, tensor in whole.items():
        blocks = row_blocks(tensor)
        assert len(blocks) > 1
        # Blocks in any order, as a kernel may ask for them.
        for start, stop in reversed(blocks):
            torch.testing.assert_close(direction.rows(key, start, stop), tensor[start:stop], rtol=3e-7, atol=0)
        assert torch.equal(direction[key], eager[key])


def test_a_coordinates_direction_is_one_there_and_zero_elsewhere(monkeypatch) -> None:
    monkeypatch.setattr(parameters, "BLOCK_BYTES", 20)
    tensors = {"w": torch.randn(9, 6), "s": torch.tensor(1.0)}
    for coordinate in coordinates_at(lazily(tensors), [0, 31, 53, 54]):
        found = coordinate_direction(lazily(tensors), coordinate)
        assert isinstance(found, LazyTensors)
        expected = coordinate_direction(tensors, coordinate)
        assert torch.equal(found[coordinate.name], expected[coordinate.name])
