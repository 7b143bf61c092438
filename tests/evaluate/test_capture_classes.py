"""Which nodes of well-known networks stand still, are combined, and are run again; and what is computed once."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from slicer_core.evaluate import prologue
from slicer_core.evaluate.partition import partition
from slicer_core.evaluate.prologue import Values, center_values
from slicer_core.evaluate.trace import Trace, Tracer


class Residual(nn.Module):
    """A block of ResNet-20 (He et al. 2016, section 4.2), with a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.relu, self.skip = nn.ReLU(inplace=True), nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.second_norm(self.second(self.relu(self.first_norm(self.first(x)))))
        return self.relu(out + self.skip(x))


class Decoder(nn.Module):
    """A block of GPT-2: attention to what came before, then a network of two layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        size, length, width = x.shape
        split = self.attend(self.first_norm(x)).split(width, dim=2)
        query, key, value = (part.view(size, length, self.heads, width // self.heads).transpose(1, 2) for part in split)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(found.transpose(1, 2).reshape(size, length, width))
        return x + self.down(F.gelu(self.up(self.second_norm(x))))


class Language(nn.Module):
    """GPT-2 at a small size."""

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 8), nn.Embedding(5, 8)
        self.blocks = nn.Sequential(*(Decoder(8, 2) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 11, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(hidden))).transpose(1, 2)


def perceptron() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4))
    return model, torch.randn(6, 5), torch.randint(0, 4, (6,))


def resnet20() -> tuple[nn.Module, Tensor, Tensor]:
    layers: list[nn.Module] = [nn.Conv2d(3, 2, 3, 1, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU(inplace=True)]
    inputs = 2
    for outputs, stride in ((2, 1), (4, 2), (8, 2)):
        for number in range(3):
            layers.append(Residual(inputs, outputs, stride if number == 0 else 1))
            inputs = outputs
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return model, torch.randn(4, 3, 8, 8), torch.randint(0, 10, (4,))


def language() -> tuple[nn.Module, Tensor, Tensor]:
    return Language(), torch.randint(0, 11, (4, 5)), torch.randint(0, 11, (4, 5))


NETWORKS = {"MLP": perceptron, "ResNet-20": resnet20, "GPT": language}


@pytest.fixture(scope="module")
def traces(captured: Callable[..., Any]) -> Mapping[str, tuple[Any, Trace]]:
    return {name: (made := captured(*make()), made.trace()) for name, make in NETWORKS.items()}


def classes(trace: Trace, names: set[str]) -> dict[str, Counter[str]]:
    """Class -> how many nodes of each operation."""
    parts = partition(trace, names)
    found: dict[str, Counter[str]] = {"constant": Counter(), "affine": Counter(), "general": Counter()}
    for node in trace.nodes:
        if node.target is not operator.getitem:
            found[parts.kind(node)][str(node.target).split(".")[1]] += 1
    return found


# Cross-entropy over few classes, for classifiers: what of it runs at each point. The rest depends on the targets alone.
PICKED = dict.fromkeys(("_log_softmax", "gather", "select", "neg", "where"), 1)

EXPECTED: dict[str, dict[str, dict[str, dict[str, int]]]] = {
    "MLP": {
        "all": {
            "affine": {"linear": 1},
            "general": {"relu": 2, "linear": 2, "transpose": 1} | PICKED,
        },
        "last": {"affine": {"linear": 1, "transpose": 1}, "general": PICKED},
    },
    "ResNet-20": {
        # Weights and scales of BatchNorm move together, so that their product is not affine.
        "all": {
            "affine": {"mul": 42, "reshape": 21, "add": 21},
            "general": {
                "mul": 21,
                "conv2d": 21,
                "relu": 19,
                "add": 9,
                "adaptive_avg_pool2d": 1,
                "flatten": 1,
                "linear": 1,
                "transpose": 1,
            }
            | PICKED,
        },
        "last": {"affine": {"linear": 1, "transpose": 1}, "general": PICKED},
        # Of the weights alone, each folded one is combined, and the first convolution with them.
        "weights": {
            "affine": {"mul": 21, "conv2d": 1},
            "general": {
                "conv2d": 20,
                "relu": 19,
                "add": 9,
                "adaptive_avg_pool2d": 1,
                "flatten": 1,
                "linear": 1,
                "transpose": 1,
            }
            | PICKED,
        },
    },
    "GPT": {
        "all": {
            "affine": {"embedding": 2, "add": 1},
            "general": {
                "linear": 9,
                "layer_norm": 5,
                "add": 4,
                "split": 2,
                "reshape": 9,
                "transpose": 9,
                "scaled_dot_product_attention": 2,
                "gelu": 2,
                "cross_entropy_loss": 1,
                "sum": 1,
            },
        },
        "last": {
            "affine": {"linear": 1, "transpose": 1},
            "general": {"cross_entropy_loss": 1, "reshape": 1, "sum": 1},
        },
    },
}


LAST = {"MLP": "4.", "ResNet-20": "14.", "GPT": "head."}


@pytest.mark.parametrize(("name", "which"), [(name, which) for name in EXPECTED for which in EXPECTED[name]])
def test_nodes_of_known_networks_keep_their_class(
    name: str, which: str, traces: Mapping[str, tuple[Any, Trace]]
) -> None:
    made, trace = traces[name]
    names = {
        "all": set(made.wrapper.varying_names()),
        "last": {key for key in made.wrapper.varying_names() if key.startswith(LAST[name])},
        "weights": {key for key, tensor in made.wrapper.state().items() if tensor.ndim > 1},
    }[which]
    found = classes(trace, names)
    assert {kind: dict(found[kind]) for kind in ("affine", "general")} == EXPECTED[name][which]


@pytest.mark.parametrize(("mode", "kind"), [("mean", "affine"), ("sum", "affine"), ("max", "general")])
def test_bags_of_embeddings_are_combined_but_not_their_largest_rows(
    mode: Any, kind: str, captured: Callable[..., Any]
) -> None:
    model = nn.Sequential(nn.EmbeddingBag(20, 6, mode=mode, padding_idx=0), nn.ReLU(), nn.Linear(6, 3))
    found = recorded_classes(captured(model, torch.randint(20, (6, 5)), torch.randint(3, (6,))))
    (operation,) = (name for counts in found.values() for name in counts if "embedding_bag" in name)
    assert found[kind][operation] == 1


class Sums(nn.Module):
    """Entries of a first layer summed up onto zeros that have its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.zeros_like(x).index_add(1, torch.tensor([1, 1, 0, 2]), x)
        return self.last(torch.relu(x))


def test_zeros_like_what_moves_stand_still(captured: Callable[..., Any]) -> None:
    found = recorded_classes(captured(Sums(), torch.randn(6, 5), torch.randint(3, (6,))))
    assert found["constant"]["zeros_like"] == 1
    assert found["affine"] == {"linear": 1, "index_add": 1}


def recorded_classes(made: Any) -> dict[str, Counter[str]]:
    """Where all parameters move, of the graph that is recorded."""
    with made.wrapper.evaluating():
        trace = Tracer().trace(made.objective, made.wrapper.state(), made.batch)
    return classes(trace, set(made.wrapper.varying_names()))


def layers_in_order(trace: Trace) -> list[str]:
    """Weights by the first node that reads them."""
    index = {node: number for number, node in enumerate(trace.nodes)}
    first = {
        name: min(index[user] for user in node.users)
        for name, node in trace.states.items()
        if name.endswith("weight") and node.meta["val"].ndim > 1
    }
    return sorted(first, key=first.__getitem__)


@pytest.mark.parametrize("name", NETWORKS)
def test_of_layers_in_order_each_activation_that_stands_still_is_computed_once(
    name: str, traces: Mapping[str, tuple[Any, Trace]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, trace = traces[name]
    counts: Counter[fx.Node] = Counter()
    plain = prologue.call

    def counted(node: fx.Node, value: Callable[[fx.Node], Any]) -> Any:
        counts[node] += 1
        return plain(node, value)

    monkeypatch.setattr(prologue, "call", counted)
    state, known, layers = made.wrapper.state(), Values(), layers_in_order(trace)
    of_the_batch = set(trace.leaves)
    for node in trace.nodes:
        if of_the_batch.intersection(node.all_input_nodes):
            of_the_batch.add(node)
    with torch.no_grad():
        for layer in layers:
            known |= center_values(trace, state, made.batch, partition(trace, {layer}).constants, known)
        once = {node: count for node, count in counts.items() if node in of_the_batch}
        assert len(once) > len(layers)
        assert set(once.values()) == {1}
        wanted = partition(trace, {layers[-1]}).constants
        for node, value in center_values(trace, state, made.batch, wanted).items():
            assert not isinstance(value, Tensor) or torch.equal(value, known[node])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trace_for_one_size_makes_the_same_calls(
    name: str, traces: Mapping[str, tuple[Any, Trace]], captured: Callable[..., Any]
) -> None:
    """What is decided for the calls of one trace holds for those of another by their labels."""
    made, trace = traces[name]
    with made.wrapper.evaluating():
        closed = Tracer().trace(made.objective, made.wrapper.state(), made.batch)
    names = set(made.wrapper.varying_names())
    kinds = []
    for each in (trace, closed):
        parts = partition(each, names)
        kinds.append({each.labels[node]: parts.kind(node) for node in each.nodes if has_tensor(node)})
    assert kinds[0] == kinds[1]


def has_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)
