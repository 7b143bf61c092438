"""Networks that are captured whole: no layer of them falls back to the loop, and the numbers are those of float64."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper
from slicer_core.choices import StrategyName
from slicer_core.evaluate import Evaluation, evaluate, trace
from slicer_core.evaluate.strategies import partial as partial_evaluation
from slicer_core.evaluate.trace import Tracer
from slicer_core.plan import PointBlock

NUM_SAMPLES = 11
# Batches of 4, 4 and 3.
BATCH_SIZE = 4
POINTS = np.array([(0.0, 0.0), (0.5, -0.3), (-0.4, 0.2)])


class Recurrent(nn.Module):
    """The last step of a recurrent network, then a linear layer."""

    def __init__(self, kind: Callable[..., nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.cell = kind(3, 4, **options)
        self.head = nn.Linear(8 if options.get("bidirectional") else 4, 3)
        self.batch_first = bool(options.get("batch_first"))

    def forward(self, x: Tensor) -> Tensor:
        found, _ = self.cell(x if self.batch_first else x.transpose(0, 1))
        return self.head(found[:, -1] if self.batch_first else found[-1])


class SelfAttention(nn.Module):
    """Attention with the averages of its weights, which take another path than those without."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        found, weights = self.attention(x, x, x)
        return self.head(found.mean(dim=1)) + weights.amax(dim=(1, 2))[:, None]


class MaskedEncoder(nn.Module):
    """Two encoder layers over sequences of several lengths; token 0 fills them up."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(9, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        padding = x == 0
        found = self.encoder(self.tokens(x), src_key_padding_mask=padding)
        return self.head(found.masked_fill(padding[..., None], 0.0).sum(dim=1))


class Tied(nn.Module):
    """The output layer is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.norm = nn.Embedding(9, 6), nn.LayerNorm(6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.tokens(x)).mean(dim=1))


class Named(nn.Module):
    """A dictionary as output, as `transformers` gives."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = F.silu(self.first(x))
        return {"hidden": hidden, "logits": self.last(hidden)}


class Neighbors(nn.Module):
    """Sums over the neighbors of each of five nodes in a graph, then the mean of all nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.register_buffer("ends", torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 0, 4, 4, 3]]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            source, target = self.ends
            x = layer(x)
            x = torch.relu(torch.zeros_like(x).index_add(1, target, x[:, source]))
        return self.head(x.mean(dim=1))


def images(*layers: nn.Module) -> nn.Module:
    """Layers between a convolution and the classes."""
    return nn.Sequential(nn.Conv2d(2, 4, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def bag(mode: Literal["mean", "sum", "max"]) -> nn.Module:
    """What a sample's words have in common, then a layer."""
    return nn.Sequential(nn.EmbeddingBag(9, 4, mode=mode, padding_idx=0), nn.Tanh(), nn.Linear(4, 3))


def settled(model: nn.Module) -> nn.Module:
    """Running statistics that are not the initial ones, and a few steps of power iteration."""
    with torch.no_grad():
        for module in model.modules():
            mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
            if isinstance(mean, Tensor) and isinstance(variance, Tensor):
                mean.normal_(std=0.3)
                variance.uniform_(0.5, 2.0)
    return model


def vectors() -> Tensor:
    return torch.randn(NUM_SAMPLES, 5)


def series() -> Tensor:
    return torch.randn(NUM_SAMPLES, 6, 3)


def pictures() -> Tensor:
    return torch.randn(NUM_SAMPLES, 2, 6, 6)


def words() -> Tensor:
    lengths = torch.randint(1, 6, (NUM_SAMPLES, 1))
    return torch.randint(1, 9, (NUM_SAMPLES, 5)) * (torch.arange(5) < lengths)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "LSTM": (lambda: Recurrent(nn.LSTM, batch_first=True, num_layers=2, dropout=0.2), series),
    "LSTM, both ways, time first": (lambda: Recurrent(nn.LSTM, bidirectional=True), series),
    "GRU": (lambda: Recurrent(nn.GRU, batch_first=True), series),
    "GRU, both ways": (lambda: Recurrent(nn.GRU, batch_first=True, bidirectional=True), series),
    "RNN": (lambda: Recurrent(nn.RNN, batch_first=True), series),
    "attention with weights": (SelfAttention, lambda: torch.randn(NUM_SAMPLES, 5, 4)),
    "encoder with a padding mask": (MaskedEncoder, words),
    "ReLU in place": (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)), vectors),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
        vectors,
    ),
    "weight norm by a hook": (
        lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
        vectors,
    ),
    "spectral norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
        vectors,
    ),
    "spectral norm by a hook": (
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
        vectors,
    ),
    "tied weights": (Tied, words),
    "sums over neighbors": (Neighbors, lambda: torch.randn(NUM_SAMPLES, 5, 3)),
    "means of embeddings": (lambda: bag("mean"), words),
    "sums of embeddings": (lambda: bag("sum"), words),
    "largest of embeddings": (lambda: bag("max"), words),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.BatchNorm1d(4, affine=False)),
        vectors,
    ),
    "batch norm of images": (lambda: images(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, affine=False)), pictures),
    "group norm": (lambda: images(nn.GroupNorm(2, 4), nn.ELU()), pictures),
    "instance norm": (lambda: images(nn.InstanceNorm2d(4, affine=True), nn.ReLU()), pictures),
    "instance norm with statistics": (
        lambda: images(nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.ReLU()),
        pictures,
    ),
    "transposed convolution": (lambda: images(nn.ConvTranspose2d(4, 4, 3, stride=2, output_padding=1)), pictures),
    "padding to the same size": (lambda: images(nn.Conv2d(4, 4, 3, padding="same"), nn.BatchNorm2d(4)), pictures),
    "max pooling and upsampling": (lambda: images(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.GELU()), pictures),
}


def blocks(model: nn.Module) -> list[PointBlock]:
    """All parameters, then each alone: other parts of the graph stand still."""
    state = {name: tensor.detach() for name, tensor in model.named_parameters()}
    choices = [list(state), *([name] for name in state)]
    found = []
    for names in choices:
        directions = tuple({name: torch.randn_like(state[name]) for name in names} for _ in range(2))
        found.append(PointBlock(directions=lambda d=directions: d, coefficients=POINTS))
    return found


def in_double(
    make: Callable[[], nn.Module], model: nn.Module, loss: Callable[[nn.Module, Any, Tensor], Tensor], data: Any
) -> np.ndarray:
    """The mean loss at the points of `blocks(model)` by a loop over points in one batch of float64."""
    double = make()
    double.load_state_dict(copy.deepcopy(model.state_dict()))
    double = double.double().eval()
    inputs, target = (tensor.double() if tensor.is_floating_point() else tensor for tensor in data)
    torch.manual_seed(1)
    losses = []
    with torch.no_grad():
        center = {name: parameter.clone() for name, parameter in double.named_parameters()}
        for block in blocks(model):
            for coefficients in block.coefficients.tolist():
                for name, parameter in double.named_parameters():
                    moves = [direction.get(name, 0.0) for direction in block.directions()]
                    parameter.copy_(center[name] + sum(a * move for a, move in zip(coefficients, moves, strict=True)))
                losses.append(float(loss(double, inputs, target)))
    return np.array(losses)


def by_the_engine(wrapper: ModelWrapper, strategy: StrategyName, batch_size: int | None = BATCH_SIZE) -> Evaluation:
    torch.manual_seed(1)
    settings = EvaluationSettings(batch_size=batch_size, strategy=strategy)
    split = wrapper.split("train", batch_size)
    return evaluate(wrapper, split, blocks(wrapper.model), wrapper.state(), settings=settings)


def not_made(*args: Any, **options: Any) -> Any:
    """A way to make a trace that is to be left out."""
    raise trace.NotTraceableError("it is left out")


ALL_SIZES, EACH_SIZE = "exported for all sizes", "exported for each size"
# An export for one size differs from one for all where sizes are written into the graph.
CAPTURES = [(name, way) for name in NETWORKS for way in ("recorded", ALL_SIZES)]
CAPTURES += [(name, EACH_SIZE) for name in ("LSTM", "sums over neighbors", "batch norm", "means of embeddings")]


@pytest.mark.filterwarnings("ignore")  # torch's, about hooks of old
@pytest.mark.parametrize(("name", "way"), CAPTURES)
def test_a_network_is_captured_whole(
    name: str, way: str, close_to_float64: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_exported" if way == "recorded" else "_recorded", not_made)
    monkeypatch.setattr(partial_evaluation, "Tracer", functools.partial(Tracer, 0 if way == ALL_SIZES else 2))
    make, features = NETWORKS[name]
    model, data = settled(make()), (features(), torch.randint(0, 3, (NUM_SAMPLES,)))
    if name.startswith("spectral"):
        model(data[0])
    found = by_the_engine(ModelWrapper(model, nn.CrossEntropyLoss(), data), "partial")
    assert (found.strategy, found.reason) == ("partial", None)
    expected = in_double(make, model, lambda net, x, y: F.cross_entropy(net(x), y), data)
    close_to_float64(found.sums["loss"].values, expected)


def test_an_output_may_be_a_dictionary(close_to_float64: Callable[..., None]) -> None:
    def loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
        return F.cross_entropy(output["logits"], target) + output["hidden"].square().mean()

    model, data = Named(), (vectors(), torch.randint(0, 3, (NUM_SAMPLES,)))
    found = by_the_engine(ModelWrapper(model, loss, data), "partial")
    assert (found.strategy, found.reason) == ("partial", None)
    close_to_float64(found.sums["loss"].values, in_double(Named, model, lambda net, x, y: loss(net(x), y), data))


@pytest.mark.parametrize("closed_sizes", [0, 1, 2])
def test_a_mean_over_the_batch_in_the_model_fits_batches_of_any_size(
    closed_sizes: int, close_to_float64: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_evaluation, "Tracer", functools.partial(Tracer, closed_sizes))

    def batch_loss(model: nn.Module, batch: Any) -> Tensor:
        inputs, target = batch
        return F.cross_entropy(model(inputs), target, reduction="sum") / inputs.shape[0]

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))

    model, data = make(), (vectors(), torch.randint(0, 3, (NUM_SAMPLES,)))
    batches = [tuple(part) for part in zip(*(tensor.split(BATCH_SIZE) for tensor in data), strict=True)]
    found = by_the_engine(ModelWrapper(model, train_data=batches, batch_loss=batch_loss), "partial", None)
    assert (found.strategy, found.reason) == ("partial", None)
    close_to_float64(found.sums["loss"].values, in_double(make, model, lambda net, x, y: batch_loss(net, (x, y)), data))


class Mixed(nn.Module):
    """Its products run in bfloat16 where autocast has them, its norm in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = torch.relu(self.first(x))
        hidden = self.norm(hidden.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.last(hidden).float()


def test_autocast_inside_a_model_is_captured() -> None:
    """Held against the loop: rounding to bfloat16 is part of the model, so float64 is not its measure."""
    wrapper = ModelWrapper(Mixed(), nn.CrossEntropyLoss(), (vectors(), torch.randint(0, 3, (NUM_SAMPLES,))))
    found, expected = by_the_engine(wrapper, "partial"), by_the_engine(wrapper, "loop")
    assert (found.strategy, found.reason) == ("partial", None)
    np.testing.assert_allclose(found.sums["loss"].values, expected.sums["loss"].values, rtol=2e-5)


class SizeDependent(nn.Module):
    """What it computes depends on how many samples there are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return out if x.shape[0] > 3 else 2 * out


@pytest.mark.parametrize("closed_sizes", [0, 1, 2])
def test_a_branch_on_the_size_of_the_batch_is_not_burnt_in(closed_sizes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of four takes the one branch, the last one of three the other."""
    monkeypatch.setattr(partial_evaluation, "Tracer", functools.partial(Tracer, closed_sizes))
    data = (vectors(), torch.randint(0, 3, (NUM_SAMPLES,)))
    wrapper = ModelWrapper(SizeDependent(), nn.CrossEntropyLoss(), data, batch_coupled=True)
    found, expected = by_the_engine(wrapper, "partial"), by_the_engine(wrapper, "loop")
    np.testing.assert_allclose(found.sums["loss"].values, expected.sums["loss"].values, rtol=2e-5)
