"""A pass recorded as it runs: the graph that `torch.export` finds, and none where values decide what runs."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
from slicer_core.evaluate import trace
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.trace import Trace
from slicer_core.subject import Batch

NUM_SAMPLES = 12
HIDDEN = 8


class Between(nn.Module):
    """Something between two layers, of which each sample has a row."""

    def __init__(self, between: Callable[..., Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, HIDDEN), nn.Linear(HIDDEN, 3)
        self.scale = nn.Parameter(torch.rand(HIDDEN) + 0.5)
        self.kept = [torch.randn(HIDDEN)]
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(torch.tanh(self.first(x)), self))


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(NUM_SAMPLES, 5), torch.randint(0, 3, (NUM_SAMPLES,))


def made(way: str, model: nn.Module, given: tuple[Tensor, Tensor]) -> Trace:
    wrapper = ModelWrapper(model.eval(), nn.CrossEntropyLoss(), given)
    with wrapper.evaluating():
        state, batch = dict(wrapper.state()), Batch(data=given, num_samples=NUM_SAMPLES)
        if way == "recorded":
            return trace._recorded(Objective(wrapper), state, batch)
        return trace._exported(Objective(wrapper), state, batch, dynamic=False)


def calls(found: Trace) -> list[str]:
    """Each call with its arguments, which are named by their place, and without those that are the default.

    What says how the GPU's library is to be used is left out too: torch switches it off while it exports.
    """
    names = {node: f"given {k}" for k, node in enumerate((*found.states.values(), *found.leaves, *found.constants))}
    lines = []
    for node in found.nodes:
        schema = getattr(node.target, "_schema", None)
        args, kwargs = fx.map_arg((node.args, node.kwargs), names.__getitem__)
        given = dict(enumerate(args)) | kwargs
        if schema is not None:
            places = {argument.name: argument for argument in schema.arguments}
            given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | kwargs
            given = {
                name: value
                for name, value in given.items()
                if value != places[name].default_value and not name.startswith("cudnn")
            }
        lines.append(f"{node.target} {given}")
        names[node] = f"result {len(lines)}"
    return lines


@functools.cache
def ones(size: int) -> Tensor:
    return torch.ones(size)[:, None]


def through_attention(h: Tensor, model: Between) -> Tensor:
    q = h.view(len(h), 2, 1, 4)
    return F.scaled_dot_product_attention(q, q * 2, q + 1).reshape(len(h), HIDDEN)


def in_halves(h: Tensor, model: Between) -> Tensor:
    a, b = h.chunk(2, dim=1)
    return torch.cat([b * model.scale[:4], a], dim=1)


def with_a_maximum(h: Tensor, model: Between) -> Tensor:
    best, place = h.max(dim=1, keepdim=True)
    return h * best + place


def written_in_place(h: Tensor, model: Between) -> Tensor:
    return h.relu_().add_(model.scale)


def with_new_tensors(h: Tensor, model: Between) -> Tensor:
    made = torch.tensor([1.0, 2.0]).sum() * torch.arange(HIDDEN, device=h.device)
    return h + made + h.new_full((HIDDEN,), 3.0) + torch.zeros_like(h)


def with_what_is_kept(h: Tensor, model: Between) -> Tensor:
    return h + model.kept[0]


def unless_it_is_captured(h: Tensor, model: Between) -> Tensor:
    """As `transformers` leaves out a mask that covers nothing."""
    covered = model.scale > 100
    if not torch.compiler.is_compiling() and not covered.any():
        return h * 2
    return torch.where(covered, 0.0, h) * 2


def by_einsum(h: Tensor, model: Between) -> Tensor:
    return torch.einsum("bi,ij->bj", h, torch.outer(model.scale, model.scale))


@pytest.mark.parametrize(
    "between",
    [
        through_attention,
        in_halves,
        with_a_maximum,
        written_in_place,
        with_new_tensors,
        with_what_is_kept,
        by_einsum,
        unless_it_is_captured,
    ],
)
def test_a_recording_is_what_torch_exports(between: Callable[..., Tensor]) -> None:
    model, given = Between(between), data()
    recorded, exported = (made(way, model, given) for way in ("recorded", "exported"))
    assert calls(recorded) == calls(exported)
    for ours, theirs in zip(recorded.nodes, exported.nodes, strict=True):
        shapes = [
            [(tensor.shape, tensor.dtype) for tensor in _tensors(node.meta.get("val"))] for node in (ours, theirs)
        ]
        assert shapes[0] == shapes[1]


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value or ())


def by_vmap(h: Tensor, model: Between) -> Tensor:
    return torch.func.vmap(lambda row: row * model.scale)(h)


def by_gradient(h: Tensor, model: Between) -> Tensor:
    return torch.func.grad(lambda z: (z**3 * model.scale).sum())(h)


def by_data(h: Tensor, model: Between) -> Tensor:
    return h * model.scale.data


def by_script(h: Tensor, model: Between) -> Tensor:
    return scripted(h, model.scale)


@torch.jit.script
def scripted(h: Tensor, scale: Tensor) -> Tensor:
    return torch.sin(h) * scale


@pytest.mark.parametrize(
    "between", [by_vmap, by_gradient, by_data, by_script, written_in_place, with_new_tensors, unless_it_is_captured]
)
def test_a_recording_gives_the_loops_numbers_at_all_points(between: Callable[..., Tensor]) -> None:
    model, given = Between(between), data()
    settings = [EvaluationSettings(strategy=name) for name in ("loop", "partial")]
    found = []
    for each in settings:
        torch.manual_seed(2)
        slicer = RandomDirectionSlicer(ModelWrapper(model, nn.CrossEntropyLoss(), given), settings=each, progress=False)
        found.append(slicer.slice_1d(n_samples=7))
    assert found[1].evaluation["strategy"] == "partial", found[1].evaluation["reason"]
    np.testing.assert_allclose(found[1].loss, found[0].loss, rtol=3e-7)


def by_number(h: Tensor, model: Between) -> Tensor:
    return h * model.scale.sum().item()


def by_list(h: Tensor, model: Between) -> Tensor:
    return h * model.scale.tolist()[0]


def by_numpy(h: Tensor, model: Between) -> Tensor:
    return h * float(model.scale.numpy().max())


def by_branch(h: Tensor, model: Between) -> Tensor:
    return h if model.scale.max() > 0 else h * 2


def by_count_of_a_mask(h: Tensor, model: Between) -> Tensor:
    return h * model.scale[model.scale > 1].shape[0]


def by_count_of_indices(h: Tensor, model: Between) -> Tensor:
    return h * len(torch.where(model.scale > 1)[0])


def by_classes(h: Tensor, model: Between) -> Tensor:
    return h * F.one_hot((model.scale > 1).long()).shape[1]


def by_places_to_split_at(h: Tensor, model: Between) -> Tensor:
    return h * torch.tensor_split(model.scale, (model.scale[:2] * 2).long())[0].shape[0]


def by_repeats(h: Tensor, model: Between) -> Tensor:
    return h * torch.repeat_interleave(model.scale, (model.scale * 2).long()).shape[0]


def by_an_index(h: Tensor, model: Between) -> Tensor:
    return h * model.scale[model.scale.argmax()]


def by_an_end(h: Tensor, model: Between) -> Tensor:
    return h[:, : model.scale.argmax() + 1].sum(dim=1, keepdim=True) * model.scale


def by_a_factor(h: Tensor, model: Between) -> Tensor:
    return torch.add(h, h, alpha=model.scale.sum())


def by_what_it_catches(h: Tensor, model: Between) -> Tensor:
    try:
        return h * float(model.scale[0])
    except RuntimeError:
        return h


def at_random(h: Tensor, model: Between) -> Tensor:
    return h + 1e-9 * torch.rand(HIDDEN)


def by_a_dropout(h: Tensor, model: Between) -> Tensor:
    return F.dropout(h, 1e-9, training=True)


def written_to_a_parameter(h: Tensor, model: Between) -> Tensor:
    model.scale.data.mul_(1.0)
    return h * model.scale


def written_to_a_view_of_a_parameter(h: Tensor, model: Between) -> Tensor:
    model.scale.detach()[2:].add_(0.0)
    return h * model.scale


def written_to_what_is_kept(h: Tensor, model: Between) -> Tensor:
    model.kept[0].mul_(1.0)
    return h + model.kept[0]


def written_by_parts(h: Tensor, model: Between) -> Tensor:
    h[:, 0] += 1
    return h


def reshaped_in_place(h: Tensor, model: Between) -> Tensor:
    return h.clone().unsqueeze_(1)[:, 0]


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (by_number, "reads values"),
        (by_list, "tolist"),
        (by_numpy, "numpy"),
        (by_branch, "reads values"),
        (by_count_of_a_mask, "reads values"),
        (by_count_of_indices, "reads values"),
        (by_classes, "reads values"),
        (by_places_to_split_at, "reads values"),
        (by_repeats, "reads values"),
        (by_an_index, "reads values"),
        (by_an_end, "reads values"),
        (by_a_factor, "reads values"),
        (by_what_it_catches, "reads values"),
        (at_random, "random numbers"),
        (by_a_dropout, "random numbers"),
        (written_to_a_parameter, "writes to what"),
        (written_to_a_view_of_a_parameter, "writes to what"),
        (written_to_what_is_kept, "writes to what"),
        (written_by_parts, "writes to tensors in place"),
        (reshaped_in_place, "more than values"),
    ],
)
def test_what_is_not_recorded_leaves_everything_as_it_was(between: Callable[..., Tensor], reason: str) -> None:
    model, given = Between(between), data()
    held = [*model.state_dict().values(), *model.kept, *given]
    before, generator = [tensor.clone() for tensor in held], torch.get_rng_state()
    versions = [tensor._version for tensor in held]
    with pytest.raises(Exception, match=reason):
        made("recorded", model, given)
    assert all(torch.equal(old, new) for old, new in zip(before, held, strict=True))
    assert [tensor._version for tensor in held] == versions
    assert torch.equal(torch.get_rng_state(), generator)
    assert not torch.compiler.is_compiling()
    assert not torch.compiler.is_exporting()


class Masked(nn.Module):
    """Leaves out its mask where that covers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, HIDDEN), nn.Linear(HIDDEN, 3)

    def forward(self, x: Tensor) -> Tensor:
        covered, hidden = x[:, :1] > 9, torch.tanh(self.first(x.clamp(max=1)))
        if torch.compiler.is_compiling() or covered.any():
            hidden = hidden.masked_fill(covered, 0.5)
        return self.last(hidden)


def test_code_that_asks_whether_it_is_captured_is_recorded_for_batches_of_both_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_exported(*args: Any, **options: Any) -> Trace:
        raise AssertionError("it is recorded")

    monkeypatch.setattr(trace, "_exported", not_exported)
    inputs, target = data()
    batches = [(inputs, target), (torch.cat([inputs[:4], inputs[4:] + 10]), target)]
    found = []
    for strategy in ("loop", "partial"):
        settings, wrapper = (
            EvaluationSettings(strategy=strategy),
            ModelWrapper(Masked(), nn.CrossEntropyLoss(), batches),
        )
        torch.manual_seed(2)
        for parameter in wrapper.model.parameters():
            nn.init.normal_(parameter)
        found.append(RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=7))
    assert found[1].evaluation["strategy"] == "partial", found[1].evaluation["reason"]
    np.testing.assert_allclose(found[1].loss, found[0].loss, rtol=3e-7)
    assert not torch.compiler.is_compiling()


def test_what_a_program_keeps_of_a_recording_is_a_tensor_later() -> None:
    """The first pass over so many samples at once is the recording."""
    ones.cache_clear()
    model, given = Between(lambda h, model: h * ones(len(h))), data()
    assert isinstance(made("recorded", model, given), Trace)
    assert type(ones(NUM_SAMPLES)) is not Tensor
    settings = [EvaluationSettings(strategy=name) for name in ("loop", "partial")]
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), given)
    losses = []
    for each in settings:
        torch.manual_seed(2)
        found = RandomDirectionSlicer(wrapper, settings=each, progress=False).slice_1d(n_samples=5)
        losses.append(found.loss)
    assert found.evaluation["strategy"] == "partial", found.evaluation["reason"]
    np.testing.assert_allclose(losses[1], losses[0], rtol=3e-7)


def test_what_a_model_compiles_is_recorded_as_it_is_written_and_compiled_later() -> None:
    runs = []

    def backend(graph: fx.GraphModule, inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            runs.append(1)
            return graph.forward(*args)

        return run

    part = torch.compile(nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.GELU()), backend=backend)
    model, given = Between(lambda h, model: part(h)), data()
    assert any("gelu" in line for line in calls(made("recorded", model, given)))
    model(given[0])
    assert runs


PROGRAM = """
import sys, torch
from torch import nn
from slicer_core import EvaluationSettings, ModelWrapper, RandomDirectionSlicer
model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(12, 5), torch.randint(0, 3, (12,))))
settings = EvaluationSettings(strategy="partial")
found = RandomDirectionSlicer(wrapper, settings=settings, progress=False).slice_1d(n_samples=3)
assert found.evaluation["strategy"] == "partial", found.evaluation
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_a_slice_imports_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
