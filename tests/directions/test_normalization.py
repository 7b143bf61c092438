from __future__ import annotations

import pytest
import torch
from torch import nn

from slicer_core.directions import FilterLayout, filter_layouts, normalize_direction, random_direction
from slicer_core.errors import UsageError


def parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def normalized(model: nn.Module, **options) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    raw = random_direction(parameters(model), seed=0, axis=0)
    return raw, normalize_direction(raw, parameters(model), layouts=filter_layouts(model), **options)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 4, 2), nn.Conv1d(4, 6, 3, groups=2), nn.Linear(5, 3), nn.Embedding(6, 4)]
)
def test_each_filter_along_dimension_0_gets_the_norm_of_the_weights(layer) -> None:
    raw, scaled = normalized(layer)
    weights = layer.weight.detach().double()
    for index in range(len(weights)):
        d = raw["weight"][index].double()
        expected = d * weights[index].norm() / (d.norm() + 1e-10)
        torch.testing.assert_close(scaled["weight"][index].double(), expected, rtol=1e-6, atol=0)
    assert "bias" not in scaled


@pytest.mark.parametrize("groups", [1, 2])
def test_an_output_channel_of_a_transposed_convolution_is_one_filter(groups) -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups)
    raw, scaled = normalized(layer)
    inputs, outputs = 4 // groups, 6 // groups
    for group in range(groups):
        rows = slice(group * inputs, (group + 1) * inputs)
        for channel in range(outputs):
            d = raw["weight"][rows, channel].double()
            theta = layer.weight.detach()[rows, channel].double()
            expected = d * theta.norm() / (d.norm() + 1e-10)
            torch.testing.assert_close(scaled["weight"][rows, channel].double(), expected, rtol=1e-6, atol=0)


def test_those_filters_are_what_makes_one_output_channel() -> None:
    """Scaling a filter, as the layout has it, scales one output channel of the transposed convolution."""
    layer = nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False)
    images = torch.randn(1, 4, 3, 3)
    before = layer(images)
    with torch.no_grad():
        layer.weight[2:4, 1] *= 3
    ratio = (layer(images) / before).mean(dim=(0, 2, 3))
    torch.testing.assert_close(ratio, torch.tensor([1.0, 1, 1, 1, 3, 1]))


def test_other_normalizations_are_their_formulas() -> None:
    layer = nn.Linear(4, 3)
    theta = layer.weight.detach()
    for name, expected in {
        "layer": lambda d: d * theta.norm() / d.norm(),
        "weight": lambda d: d * theta,
        "dfilter": lambda d: torch.stack([row / row.norm() for row in d]),
        "dlayer": lambda d: d / d.norm(),
        "none": lambda d: d,
    }.items():
        raw, scaled = normalized(layer, normalization=name)
        torch.testing.assert_close(scaled["weight"], expected(raw["weight"]), msg=name)


def test_a_bias_is_left_out_or_one_filter_or_the_center_itself() -> None:
    layer = nn.Linear(4, 3)
    bias = layer.bias.detach()
    raw, as_filter = normalized(layer, ignore="none")
    torch.testing.assert_close(as_filter["bias"], raw["bias"] * bias.norm() / raw["bias"].norm())
    _, as_li = normalized(layer, ignore="li")
    assert torch.equal(as_li["bias"], bias)
    _, left_out = normalized(layer)
    assert set(left_out) == {"weight"}


def test_a_filter_of_zeros_does_not_move_and_is_not_divided_by() -> None:
    scaled = normalize_direction({"w": torch.zeros(2, 3)}, {"w": torch.ones(2, 3)})
    assert torch.equal(scaled["w"], torch.zeros(2, 3))
    scaled = normalize_direction({"w": torch.ones(2, 3)}, {"w": torch.zeros(2, 3)})
    assert torch.equal(scaled["w"], torch.zeros(2, 3))


@pytest.mark.parametrize("normalization", ["filter", "layer", "weight", "dfilter", "dlayer", "none"])
@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.ConvTranspose2d(4, 6, 3, groups=2)])
def test_a_tensor_without_entries_stays_without(layer, normalization) -> None:
    """As the layer has it of a model whose optional inputs are none."""
    layer.nothing = nn.Parameter(torch.empty(5, 0))
    layer.none_of_any = nn.Parameter(torch.empty(0, 5, 2))
    _, scaled = normalized(layer, normalization=normalization)
    assert scaled["nothing"].shape == (5, 0)
    assert scaled["none_of_any"].shape == (0, 5, 2)


def test_a_center_in_half_precision_has_its_norms_taken_in_more() -> None:
    theta = torch.full((1, 4096), 0.1).bfloat16()
    scaled = normalize_direction({"w": torch.ones(1, 4096)}, {"w": theta})
    assert scaled["w"].dtype == torch.float32
    assert scaled["w"].double().norm().item() == pytest.approx(theta.double().norm().item(), rel=1e-6)


def test_a_row_of_a_fused_attention_weight_is_one_filter() -> None:
    """Row r of `in_proj_weight` makes unit r of the queries, keys and values together."""
    layer = nn.MultiheadAttention(4, 2)
    raw, scaled = normalized(layer)
    theta = layer.in_proj_weight.detach().double()
    assert theta.shape == (12, 4)
    for row in range(12):
        d = raw["in_proj_weight"][row].double()
        expected = d * theta[row].norm() / (d.norm() + 1e-10)
        torch.testing.assert_close(scaled["in_proj_weight"][row].double(), expected, rtol=1e-6, atol=0)
    separate = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
    _, scaled = normalized(separate)
    for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
        theta = separate.get_parameter(name).detach()
        torch.testing.assert_close(scaled[name].norm(dim=1), theta.norm(dim=1), rtol=1e-6, atol=0)


def test_an_output_unit_of_transformers_conv1d_is_a_column() -> None:
    """GPT-2's layer keeps its weight as (inputs, outputs)."""
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    layer = conv1d(3, 5)
    nn.init.normal_(layer.weight)
    raw, scaled = normalized(nn.Sequential(layer))
    theta = layer.weight.detach().double()
    for unit in range(3):
        d = raw["0.weight"][:, unit].double()
        expected = d * theta[:, unit].norm() / (d.norm() + 1e-10)
        torch.testing.assert_close(scaled["0.weight"][:, unit].double(), expected, rtol=1e-6, atol=0)


def test_only_the_own_class_of_transformers_has_its_units_in_columns() -> None:
    other = type("Conv1D", (nn.Linear,), {})
    assert filter_layouts(nn.Sequential(other(2, 3))) == {}


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose1d(4, 6, 3, groups=2),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Embedding(6, 4),
        nn.MultiheadAttention(4, 2),
    ],
)
def test_unit_filters_and_layers_have_norm_one_by_module_kind(layer) -> None:
    raw, units = normalized(layer, normalization="dfilter")
    _, whole = normalized(layer, normalization="dlayer")
    _, by_layer = normalized(layer, normalization="layer")
    _, by_weight = normalized(layer, normalization="weight")
    _, unscaled = normalized(layer, normalization="none")
    transposed = isinstance(layer, nn.ConvTranspose1d)
    for name, tensor in units.items():
        theta = layer.get_parameter(name).detach()
        # Of a transposed convolution, (2 groups, 2 inputs, 3 outputs, 3): filters are along dimension 2.
        filters = tensor.reshape(2, 2, 3, 3).transpose(1, 2).reshape(6, -1) if transposed else tensor.flatten(1)
        torch.testing.assert_close(filters.norm(dim=1), torch.ones(len(filters)))
        torch.testing.assert_close(whole[name], raw[name] / raw[name].norm())
        torch.testing.assert_close(by_layer[name], raw[name] * theta.norm() / raw[name].norm())
        torch.testing.assert_close(by_weight[name], raw[name] * theta)
        assert torch.equal(unscaled[name], raw[name])


def test_layouts_name_the_parameters_in_full() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ConvTranspose1d(2, 2, 1)))
    assert filter_layouts(model)["1.0.weight"] == FilterLayout(axis=1)
    assert "0.weight" not in filter_layouts(model)


@pytest.mark.parametrize("options", [{"normalization": "filters"}, {"ignore": "bias"}])
def test_unknown_words_are_refused_with_the_known_ones(options) -> None:
    with pytest.raises(UsageError, match=r"is not one of .*none"):
        normalize_direction({"w": torch.ones(1)}, {"w": torch.ones(1)}, **options)
