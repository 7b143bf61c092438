"""The ends of a line: what its header says of them, against torch on the whole vectors, and their own losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slicer_core import EvaluationSettings, LinearInterpolationSlicer, ModelWrapper
from slicer_core.errors import UsageError


def test_norms_cosine_and_each_layers_share_of_the_squared_distance(network) -> None:
    net = network("convolution")
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    start = {name: value.double() for name, value in wrapper.get_parameters().items()}
    end = wrapper.get_random_parameters(0.5, seed=1)
    (direction,) = LinearInterpolationSlicer(wrapper, progress=False).slice(end_point=end, n_samples=5).directions
    ends = direction.recipe["ends"]

    flat = torch.cat([start[name].flatten() for name in start])
    other = torch.cat([end[name].double().flatten() for name in start])
    assert ends["norm_start"] == pytest.approx(flat.norm().item(), rel=1e-6)
    assert ends["norm_end"] == pytest.approx(other.norm().item(), rel=1e-6)
    assert ends["cosine"] == pytest.approx((flat @ other / flat.norm() / other.norm()).item(), rel=1e-6)
    whole = ((other - flat) ** 2).sum().item()
    layers = {name.rsplit(".", 1)[0] for name in start}
    assert set(ends["layers"]) == layers
    for layer in layers:
        own = [name for name in start if name.rsplit(".", 1)[0] == layer]
        share = sum(((end[name].double() - start[name]) ** 2).sum().item() for name in own) / whole
        assert ends["layers"][layer] == pytest.approx(share, rel=1e-5)
    assert sum(ends["layers"].values()) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dtype", [None, "float32", "same"])
@pytest.mark.parametrize("strategy", ["loop", "partial", "streaming"])
def test_a_line_between_weights_in_half_precision_reaches_its_end(strategy, dtype, half, network) -> None:
    """Weights far apart: their difference in as few digits leads elsewhere."""
    net = network("mlp")
    net.model.to(half)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), (net.inputs.to(half), net.classes))
    end = wrapper.get_random_parameters(1.5, seed=1)
    settings = EvaluationSettings(strategy=strategy, dtype=half if dtype == "same" else dtype)
    found = LinearInterpolationSlicer(wrapper, settings=settings, progress=False).slice(
        end_point=end, n_samples=3, range=(0.0, 1.0)
    )
    assert [found.loss[0], found.loss[-1]] == pytest.approx(
        [marker.loss["train"] for marker in found.markers], rel=1e-6
    )


def test_weights_of_8_bits_are_refused_and_may_be_left_out() -> None:
    """As a base of low precision below layers that are trained. torch has no sum of these types."""

    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.base = nn.Parameter(torch.randn(4, 4).to(torch.float8_e4m3fn), requires_grad=False)

        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features @ self.base.to(features.dtype))

    model = Scaled()
    end = {name: tensor.clone() for name, tensor in Scaled().state_dict().items() if name != "base"}
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(8, 4), torch.randint(0, 3, (8,))))
    slicer = LinearInterpolationSlicer(wrapper, progress=False)
    with pytest.raises(UsageError, match=r"of float8_e4m3fn can.t be moved.*leave them out with --exclude"):
        slicer.slice(end_point=end, n_samples=3)
    assert slicer.slice(end_point=end, n_samples=5, params=("weight", "bias")).loss.shape == (5,)
