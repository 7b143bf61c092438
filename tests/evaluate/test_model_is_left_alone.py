"""After a slice, also one that failed, the model, its data and the random state are what they were, bit for bit."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import (
    AxisParallelSlicer,
    EvaluationSettings,
    LinearInterpolationSlicer,
    ModelWrapper,
    RandomDirectionSlicer,
)
from slicer_core.errors import DataError, UserCodeError
from slicer_core.methods.linear import Linear
from slicer_core.methods.method import SliceOptions
from slicer_core.methods.slicer import Slicer
from slicer_core.slices import Slice


def center_loss(found: Slice, split: str = "train") -> float:
    assert found.center is not None
    return found.center.loss[split]


def photograph(model: nn.Module) -> dict[str, Any]:
    """All that can be seen of a model; tensors by identity and by bytes."""

    def tensors(named: Any) -> list[tuple[str, int, type, bool, bytes, int]]:
        return [
            (name, id(t), type(t), t.requires_grad, t.detach().numpy().tobytes(), t.data_ptr()) for name, t in named
        ]

    return {
        "parameters": tensors(model.named_parameters(remove_duplicate=False)),
        "buffers": tensors(model.named_buffers(remove_duplicate=False)),
        "gradients": tensors((name, p.grad) for name, p in model.named_parameters() if p.grad is not None),
        "modes": [(name, module.training) for name, module in model.named_modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "random": torch.get_rng_state().numpy().tobytes(),
    }


@contextmanager
def unchanged(model: nn.Module, *data: Tensor) -> Iterator[None]:
    before, copies = photograph(model), [tensor.clone() for tensor in data]
    yield
    after = photograph(model)
    for part in before:
        assert after[part] == before[part], part
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(data, copies, strict=True))


def disturb(model: nn.Module) -> None:
    """Mixed modes, a frozen parameter, gradients."""
    modules = list(model.modules())
    modules[-1].eval()
    first, *_, last = model.parameters()
    first.requires_grad_(False)
    last.grad = torch.full_like(last, 0.25)


SLICES: dict[str, Callable[[ModelWrapper, EvaluationSettings], Any]] = {
    "plane": lambda w, s: RandomDirectionSlicer(w, settings=s, progress=False).slice_2d(grid_size=3),
    "line": lambda w, s: LinearInterpolationSlicer(w, settings=s, progress=False).slice(
        end_point=w.get_random_parameters(0.1), n_samples=5
    ),
    "axis": lambda w, s: AxisParallelSlicer(w, settings=s, progress=False).slice(n_samples=3, params_to_slice=[0, 5]),
}


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize("kind", SLICES)
@pytest.mark.parametrize("name", ["convolution", "attention", "weight_norm", "shared", "lstm"])
def test_a_slice_leaves_the_model_as_it_was(name, kind, strategy, network) -> None:
    net = network(name)
    disturb(net.model)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    with unchanged(net.model, *net.data):
        SLICES[kind](wrapper, EvaluationSettings(batch_size=9, strategy=strategy))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_another_dtype_is_not_left_in_the_model_or_the_loss(dtype, network) -> None:
    net = network("convolution")
    weight = torch.ones(3)
    loss_fn = nn.CrossEntropyLoss(weight=weight)
    with unchanged(net.model, *net.data):
        SLICES["plane"](ModelWrapper(net.model, loss_fn, net.data), EvaluationSettings(dtype=dtype))
    assert loss_fn.weight is weight


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize("fails_at", [1, 4, 9, 12])
def test_an_exception_in_the_loss_leaves_the_model_as_it_was(fails_at, strategy, network) -> None:
    net = network("shared")
    disturb(net.model)
    calls = []

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        calls.append(0)
        if len(calls) >= fails_at:
            raise RuntimeError("the user's")
        return F.cross_entropy(output, target, reduction="none")

    wrapper = ModelWrapper(net.model, loss_fn, net.data)
    with unchanged(net.model, *net.data), pytest.raises(UserCodeError, match="RuntimeError: the user's") as caught:
        SLICES["plane"](wrapper, EvaluationSettings(batch_size=11, strategy=strategy))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_recomputed_batchnorm_leaves_statistics_momenta_and_modes(network) -> None:
    net = network("convolution")
    disturb(net.model)
    wrapper = ModelWrapper(net.model, nn.CrossEntropyLoss(), net.data)
    with unchanged(net.model, *net.data):
        Slicer(wrapper, progress=False).take(
            "linear", Linear(to="random"), None, SliceOptions(grid=(4,), batchnorm="recompute")
        )
    assert net.model.norm.momentum == 0.1


class Counting(nn.Module):
    """Writes to a buffer at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("latest", torch.zeros(3))

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        output = self.layer(features)
        self.latest = output.detach().mean(dim=0)
        return output


class Shifting(nn.Module):
    """Writes to its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.layer(features.add_(1.0))


def limited() -> nn.Module:
    """An embedding that scales its own weights down when they are used."""
    return nn.Sequential(nn.Embedding(6, 5, max_norm=0.5), nn.Flatten(), nn.Linear(10, 3))


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial"])
@pytest.mark.parametrize("build", [Counting, Shifting, limited])
def test_what_a_forward_pass_writes_is_gone_and_does_not_reach_the_next_point(build, strategy) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build()
        inputs = torch.randint(0, 6, (20, 2)) if build is limited else torch.randn(20, 5)
        classes = torch.randint(0, 3, (20,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), [(inputs[:12], classes[:12]), (inputs[12:], classes[12:])])
    settings = EvaluationSettings(strategy=strategy)
    with unchanged(model, inputs, classes):
        found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(
            n_samples=5, range=(0.0, 1.0)
        )
        again = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(
            n_samples=2, range=(0.0, 1.0)
        )
    np.testing.assert_array_equal(found.loss[[0, -1]], again.loss)
    assert found.loss[0] == pytest.approx(center_loss(found), rel=1e-6)
    with torch.no_grad():
        expected = F.cross_entropy(model(inputs.clone()), classes).item()
    assert center_loss(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_that_a_hook_computes_is_put_back() -> None:
    layer = nn.utils.weight_norm(nn.Linear(5, 3))
    inputs, classes = torch.randn(8, 5), torch.randint(0, 3, (8,))
    layer(inputs)
    before = layer.weight
    values = before.detach().clone()
    RandomDirectionSlicer(ModelWrapper(layer, nn.CrossEntropyLoss(), (inputs, classes)), progress=False).slice_1d(
        n_samples=3
    )
    assert layer.weight is before
    assert torch.equal(before, values)


def test_gradients_can_be_taken_inside_the_loss(network) -> None:
    """A penalty on the gradient with respect to the input, as in physics-informed networks."""
    net = network("mlp")

    def batch_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        with torch.enable_grad():
            inputs = batch[0].requires_grad_(True)
            (slope,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
        return (slope**2).sum(dim=1)

    wrapper = ModelWrapper(net.model, train_data=net.data, batch_loss=batch_loss)
    with unchanged(net.model, *net.data):
        found = RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    assert np.isfinite(found.loss).all()
    assert not net.inputs.requires_grad


class CountsClippings(nn.Module):
    """Writes to a buffer where there is something to clip: in a later batch, or off the center."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.register_buffer("clipped", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if (count := (hidden.abs() > 2.5).sum()) > 0:
            self.clipped += count
        return self.head(torch.tanh(hidden)) * (1 + 0.01 * self.clipped)


class ClampsItsInput(nn.Module):
    """In place, and only where there is something to clamp."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 2.6:
            x.clamp_(-2.6, 2.6)
        return self.layer(x)


@pytest.mark.parametrize("strategy", ["loop", "vmap", "partial", "auto", "streaming"])
@pytest.mark.parametrize("kind", [CountsClippings, ClampsItsInput])
def test_what_only_a_later_pass_writes_is_gone_too(kind: type[nn.Module], strategy: Any) -> None:
    inputs, target = torch.randn(33, 4).clamp(-1.5, 1.5), torch.randint(3, (33,))
    inputs[20] *= 4
    given = inputs.clone()
    model = kind()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (given, target))
    settings = EvaluationSettings(strategy=strategy, batch_size=10)
    slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
    losses = [slicer.slice_1d(n_samples=5, range=(-3.0, 3.0)).loss for _ in range(2)]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert torch.equal(given, inputs)
    assert all(not buffer.any() for buffer in model.buffers())
    np.testing.assert_allclose(losses[0][2], F.cross_entropy(model(inputs.clone()), target).item(), rtol=1e-6)


class WritesToALargeBuffer(nn.Module):
    """Which is not put back at each point for fear of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("seen", torch.zeros(600, 500))

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 2.6:
            self.seen += 1
        return self.layer(x)


def test_a_large_buffer_that_only_a_later_pass_writes_is_an_error() -> None:
    inputs = torch.randn(33, 4).clamp(-1.5, 1.5)
    inputs[20] *= 4
    wrapper = ModelWrapper(WritesToALargeBuffer(), nn.CrossEntropyLoss(), (inputs, torch.randint(3, (33,))))
    slicer = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(batch_size=10), progress=False)
    with pytest.raises(DataError, match="writes to seen, but not in the first pass"):
        slicer.slice_1d(n_samples=3)


class Adapted(nn.Module):
    """Merges its adapter into the weight in eval mode, as loralib's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.merged = nn.Parameter(torch.randn(3, 4)), False
        self.left, self.right = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2, 4))

    def train(self, mode: bool = True) -> Adapted:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (self.left @ self.right) * (-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.merged else self.weight + self.left @ self.right
        return F.linear(x, weight)


@pytest.mark.parametrize("strategy", ["loop", "partial", "streaming"])
def test_adapters_that_eval_mode_merges_stay_apart(strategy: Any) -> None:
    model, data = nn.Sequential(Adapted(), nn.Dropout()), (torch.randn(12, 4), torch.randint(3, (12,)))
    before = copy.deepcopy(model.state_dict())
    own = F.cross_entropy(model[0](data[0]), data[1]).item()
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), data)
    found = RandomDirectionSlicer(wrapper, settings=EvaluationSettings(strategy=strategy), progress=False).slice_1d()
    assert center_loss(found) == pytest.approx(own, rel=1e-6)
    assert found.loss[25] == pytest.approx(own, rel=1e-6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert (model.training, model[0].merged) == (True, False)


class Drawing(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Draws where it is read, and gives the same all the same."""

    def __init__(self) -> None:
        self.inputs, self.target = torch.randn(12, 4), torch.randint(3, (12,))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        random.random(), np.random.random(), torch.rand(1)
        return self.inputs[index], self.target[index]


@pytest.mark.parametrize("keeps", [True, False])
def test_all_random_states_are_those_of_before(keeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not keeps:
        monkeypatch.setattr("slicer_core.subject.data._KEPT_BYTES", 0)
    generator = torch.Generator()
    loader = torch.utils.data.DataLoader(Drawing(), batch_size=5, generator=generator)
    wrapper = ModelWrapper(nn.Linear(4, 3), nn.CrossEntropyLoss(), loader)

    def states() -> list[Any]:
        return [random.getstate(), *map(str, np.random.get_state()), torch.get_rng_state(), generator.get_state()]

    before = states()
    RandomDirectionSlicer(wrapper, progress=False).slice_1d(n_samples=3)
    for now, then in zip(states(), before, strict=True):
        assert torch.equal(now, then) if isinstance(now, Tensor) else now == then
