"""While points are evaluated, products of float32 are in float32, or in TF32 on request; then torch is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pytest
import torch
from torch import Tensor, backends, nn

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import prologue
from slicer_core.evaluate.gradient import DifferentiableLoss
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.partition import partition
from slicer_core.evaluate.trace import Tracer
from slicer_core.subject.float32 import float32_precision

PLACES: tuple[Any, ...] = attrgetter("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv")(backends)
CUDA_MATMUL, MKLDNN_MATMUL = PLACES[0], PLACES[3]


def switches() -> list[Any]:
    return [
        torch.get_float32_matmul_precision(),
        backends.cuda.matmul.allow_tf32,
        backends.cudnn.allow_tf32,
        *(place.fp32_precision for place in PLACES),
    ]


@pytest.fixture
def as_torch_starts() -> Iterator[None]:
    before = [place.fp32_precision for place in PLACES]
    yield
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    for place, precision in zip(PLACES, before, strict=True):
        place.fp32_precision = precision


class Looking(nn.Module):
    """Notes what torch is told at the time of each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.seen: list[list[Any]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(switches())
        return self.layer(inputs)


def asked_in_the_old_way() -> None:
    torch.set_float32_matmul_precision("medium")


def asked_in_the_new_way() -> None:
    CUDA_MATMUL.fp32_precision = "tf32"
    torch.set_float32_matmul_precision("high")


def asked_for_less() -> None:
    backends.cudnn.allow_tf32 = False


@pytest.mark.usefixtures("as_torch_starts")
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("ask", [lambda: None, asked_in_the_old_way, asked_in_the_new_way, asked_for_less])
def test_the_model_runs_with_what_was_asked_of_the_wrapper(ask: Any, tf32: bool) -> None:
    model = Looking()
    data = torch.randn(8, 4), torch.randint(3, (8,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data, tf32=tf32)
    settings = EvaluationSettings(strategy="loop")
    ask()
    before = switches()
    RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)
    assert switches() == before
    each = ["tf32" if tf32 else "ieee"] * len(PLACES)
    wanted = ["high" if tf32 else "highest", tf32, tf32, *each]
    assert model.seen
    assert all(seen == wanted for seen in model.seen)


@pytest.mark.usefixtures("as_torch_starts")
def test_switches_that_contradict_each_other_are_left_so() -> None:
    """As after a library that knows the older ones only: torch raises where they are asked."""
    torch.set_float32_matmul_precision("high")
    backends.cuda.matmul.allow_tf32 = False
    with pytest.raises(RuntimeError, match="precision"):
        torch.get_float32_matmul_precision()
    with float32_precision(tf32=False):
        assert torch.get_float32_matmul_precision() == "highest"
    assert CUDA_MATMUL.fp32_precision == "ieee"
    assert MKLDNN_MATMUL.fp32_precision == "tf32"


class LookingWhileDifferentiated(nn.Module):
    """Notes what cuDNN is told in each forward pass of which a gradient may be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 3, batch_first=True)
        self.seen: list[tuple[Any, ...]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            cudnn = backends.cudnn
            self.seen.append((cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32, cudnn.conv.fp32_precision))
        return self.layer(inputs)[0][:, -1]


@pytest.fixture
def asked_for_determinism() -> Iterator[None]:
    before = backends.cudnn.deterministic
    backends.cudnn.deterministic = True
    yield
    backends.cudnn.deterministic = before


@pytest.mark.usefixtures("as_torch_starts", "asked_for_determinism")
@pytest.mark.parametrize("what", ["gradient_norm", "curvature"])
def test_gradients_are_taken_in_float32_and_of_recurrent_layers_without_cudnn(what: str) -> None:
    model = LookingWhileDifferentiated()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(8, 5, 4), torch.randint(3, (8,))))
    if what == "gradient_norm":
        slicer = RandomDirectionSlicer(wrapper, measures=("gradient_norm",), progress=False)
        slicer.slice_1d(n_samples=2)
    else:
        split = wrapper.split("train")
        settings = EvaluationSettings()
        DifferentiableLoss(wrapper, split, wrapper.state(), wrapper.varying_names(), settings=settings).gradient()
    assert model.seen
    assert set(model.seen) == {(False, True, False, "ieee")}
    assert (backends.cudnn.enabled, backends.cudnn.deterministic) == (True, True)


def rounded_to_tf32(tensor: Tensor) -> Tensor:
    """With 10 bits of mantissa, as a GPU rounds what its matrix products are given."""
    bits = tensor.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def test_layers_stay_affine_where_their_products_are_rounded_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(node: Any, value: Any, *, function: Any = None) -> Any:
        def rounded(entry: Any) -> Any:
            found = value(entry)
            return rounded_to_tf32(found) if isinstance(found, Tensor) and found.ndim == 2 else found

        is_product = node.target is torch.ops.aten.linear.default
        return prologue_call(node, rounded if is_product else value, function=function)

    prologue_call = prologue.call
    monkeypatch.setattr(prologue, "call", call)
    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 3))
    data = torch.randn(500, 784), torch.randint(3, (500,))
    seen = []
    for tf32 in (False, True):
        wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data, tf32=tf32)
        objective = Objective(wrapper)
        with wrapper.evaluating():
            (batch,) = wrapper.split("train").batches()
            trace = Tracer().trace(objective, wrapper.state(), batch)
            parts = partition(trace, {"0.weight"})
            constants = prologue.center_values(trace, wrapper.state(), batch, parts.constants)
            direction = {"0.weight": torch.randn(64, 784)}
            try:
                prologue.affine_components(
                    trace, parts, constants, wrapper.state(), [direction], checked=True, still={}
                )
                seen.append("affine")
            except prologue.NotAffineError:
                seen.append("general")
    assert seen == ["general", "affine"]
