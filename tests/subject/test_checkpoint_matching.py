from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slicer_core.errors import CheckpointError
from slicer_core.subject import Mismatch, fit_names, match_state


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_state_dict_comes_back_under_the_models_own_names(network) -> None:
    model = network("convolution").model
    saved = {name: tensor + 1 for name, tensor in state_of(model).items()}
    found = match_state(saved, model, source="a.pt")
    own = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    assert sorted(found) == sorted(own)
    assert all(torch.equal(found[name], saved[name]) for name in own)


def test_dtypes_are_the_models(network) -> None:
    model = network("mlp").model
    saved = {name: tensor.half() for name, tensor in state_of(model).items()}
    found = match_state(saved, model, source="a.pt")
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert torch.equal(found["0.weight"], model[0].weight.half().float())


@pytest.mark.parametrize("kept", ["embed.weight", "head.weight", "both"])
def test_any_name_of_a_tied_tensor_will_do(kept, network) -> None:
    model = network("attention").model
    saved = state_of(model)
    for name in {"embed.weight", "head.weight"} - {kept} if kept != "both" else ():
        del saved[name]
    found = match_state(saved, model, source="a.pt")
    assert "head.weight" not in found
    assert torch.equal(found["embed.weight"], model.embed.weight)


def test_names_of_a_tied_tensor_that_differ_are_refused_but_nan_equals_nan(network) -> None:
    model = network("attention").model
    saved = state_of(model)
    saved["head.weight"] = saved["head.weight"] + 1
    with pytest.raises(CheckpointError, match=r"a\.pt has different values in embed\.weight and head\.weight"):
        match_state(saved, model, source="a.pt")
    saved["embed.weight"] = saved["head.weight"] = torch.full_like(saved["head.weight"], float("nan"))
    assert match_state(saved, model, source="a.pt")["embed.weight"].isnan().all()
    saved["embed.weight"] = saved["embed.weight"].half()
    assert match_state(saved, model, source="a.pt")["embed.weight"].isnan().all()


def without(saved: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in saved.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "head.bias"), "1 missing from the checkpoint: head.bias"),
        (lambda s: s | {"extra": torch.zeros(1)}, "1 not in the model: extra"),
        (lambda s: s | {"head.bias": torch.zeros(4)}, r"1 of another shape: head.bias is \[4\], the model's is \[3\]"),
        (lambda s: without(s, "head.bias") | {"haed.bias": torch.zeros(3)}, r"head\.bias \(nearest: haed\.bias\)"),
        (lambda s: {}, r"10 missing .* and 5 more"),
    ],
)
def test_what_differs_is_named(change, message, network) -> None:
    model = network("convolution").model
    with pytest.raises(CheckpointError, match=f"a.pt does not fit the model: .*{message}"):
        match_state(change(state_of(model)), model, source="a.pt")


def test_the_counter_of_batches_may_be_missing(network) -> None:
    model = network("convolution").model
    saved = without(state_of(model), "norm.num_batches_tracked")
    assert match_state(saved, model, source="a.pt")["norm.num_batches_tracked"] == model.norm.num_batches_tracked


def test_integers_are_not_taken_for_floating_weights(network) -> None:
    model = network("mlp").model
    saved: dict[str, Any] = state_of(model)
    saved["0.weight"] = torch.ones(6, 5, dtype=torch.int8)
    with pytest.raises(CheckpointError, match=r"0\.weight in int8.*quantized"):
        match_state(saved, model, source="a.pt")


def test_shapes_and_dtypes_alone_are_enough_to_compare(network) -> None:
    model = network("shared").model
    saved = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
    assert fit_names(saved, model).describe() == "fits"
    mismatch = fit_names(saved | {"head.bias": torch.empty(9, device="meta")}, model)
    assert isinstance(mismatch, Mismatch)
    assert mismatch.describe() == "1 of another shape: head.bias is [9], the model's is [3]"


def test_a_reparametrized_weight_is_matched_by_its_raw_tensors(network) -> None:
    model = network("weight_norm").model
    saved = state_of(model)
    assert any("parametrizations" in name for name in saved)
    assert match_state(saved, model, source="a.pt").keys() == saved.keys()


def test_a_buffer_that_is_not_saved_is_not_asked_for() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.ones(2), persistent=False)
    assert list(match_state(state_of(model), model, source="a.pt")) == ["weight", "bias"]
