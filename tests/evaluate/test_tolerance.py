"""Slices to a tolerance against the same slices with every point evaluated, on networks and on closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicer_core import (
    AxisParallelSlicer,
    EvaluationSettings,
    LinearInterpolationSlicer,
    ModelWrapper,
    RandomDirectionSlicer,
    Slice,
)
from slicer_core.errors import StoreError, UsageError
from slicer_core.evaluate import (
    Grid,
    NestedSums,
    PointSums,
    adaptive,
    evaluate,
    evaluate_to_tolerance,
    increments,
    stored_sums,
)
from slicer_core.plan import PointBlock, axis_values
from slicer_core.slices import decode_slice, encode_slice
from slicer_core.subject import stratified_order
from slicer_core.tolerance import Tolerance


def to(text: str, **others: Any) -> EvaluationSettings:
    return EvaluationSettings(tolerance=Tolerance.parse(text), **others)


def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(120, 6, generator=generator)
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 0.5).long()


@pytest.fixture(scope="module")
def trained() -> ModelWrapper:
    """A small network on its way to a minimum, with a metric."""
    inputs, classes = samples()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), classes).backward()
        optimizer.step()
    metrics = {"accuracy": lambda output, target: (output.argmax(1) == target).float()}
    return ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, classes), metrics=metrics)


def plane(wrapper: ModelWrapper, settings: EvaluationSettings | None = None, **options: Any) -> Slice:
    slicer = RandomDirectionSlicer(wrapper, settings=settings, progress=False)
    return slicer.slice_2d(**{"grid_size": (41, 33), "range": ((-1.0, 1.0), (0.0, 1.0))} | options)


def told(result: Slice, split: str = "train") -> dict[str, Any]:
    return result.evaluation["tolerance"][split]


def test_the_worst_error_is_within_the_stated_bound_for_fewer_evaluations(trained: ModelWrapper) -> None:
    full, found = plane(trained), plane(trained, to("1%"))
    report = told(found)
    assert report["given"] == "1%"
    assert report["loss"] == pytest.approx(0.01 * full.center.loss["train"])
    assert np.abs(found.loss - full.loss).max() <= report["error_bound"]
    assert report["sample_evaluations_of_all"] == 41 * 33 * 120
    assert 2 * report["sample_evaluations"] < report["sample_evaluations_of_all"]
    assert found.center == full.center


def test_points_say_whether_they_are_interpolated(trained: ModelWrapper) -> None:
    full, found = plane(trained), plane(trained, to("1%"))
    interpolated = found.array(role="interpolated") == 1
    counts, stderr = found.array(role="count"), found.array(role="stderr")
    report = told(found)
    assert interpolated.sum() == report["points_interpolated"]
    assert (~interpolated).sum() == report["points_evaluated"]
    assert ((counts == 0) == interpolated).all()
    whole = counts == 120
    np.testing.assert_allclose(found.loss[whole], full.loss[whole], rtol=1e-6)
    np.testing.assert_allclose(stderr[whole], full.array(role="stderr")[whole], rtol=1e-4)
    # An interpolated point has the spread of the samples, and the error of the interpolation beside it.
    spread = full.array(role="stderr")[interpolated]
    assert (np.abs(stderr[interpolated] - spread) <= report["error_bound"] + 0.1 * spread).all()
    # Also for a metric, which has no tolerance of its own.
    assert (found.array("accuracy", role="interpolated") == found.array(role="interpolated")).all()
    assert np.abs(found.array("accuracy") - full.array("accuracy")).max() < 0.1
    again = decode_slice(encode_slice(found))
    assert (again.array(role="interpolated") == found.array(role="interpolated")).all()
    assert told(again) == report


def test_without_a_tolerance_nothing_is_marked(trained: ModelWrapper) -> None:
    full = plane(trained, grid_size=3)
    assert "tolerance" not in full.evaluation
    assert {array.role for array in full.arrays} == {"value", "stderr", "difference_stderr", "count"}


def test_the_same_numbers_come_again(trained: ModelWrapper) -> None:
    first, second = plane(trained, to("3%")), plane(trained, to("3%"))
    for one, other in zip(first.arrays, second.arrays, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    assert told(first) == told(second)


@pytest.mark.parametrize("name", ["trained", "many"])
def test_every_sample_evaluation_is_counted(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def counting(wrapper: Any, data: Any, blocks: Any, center: Any, **options: Any) -> Any:
        nonlocal asked
        asked += sum(len(block.coefficients) for block in blocks) * data.num_samples
        return evaluate(wrapper, data, blocks, center, **options)

    monkeypatch.setattr(increments, "evaluate", counting)
    found = plane(request.getfixturevalue(name), to("2%"))
    assert told(found)["sample_evaluations"] == asked
    # And each sample of each point once.
    assert found.array(role="count").sum() == asked


def many_samples(wrapper: ModelWrapper) -> tuple[Tensor, Tensor]:
    (batch,) = wrapper.split("train", 1700).batches()
    return tuple(batch.data)


@pytest.mark.parametrize("tolerance", ["0.1", "1%", "0.001"])
def test_a_quadratic_loss_has_its_closed_form(tolerance: str) -> None:
    center = torch.tensor([0.5, -0.25, 1.0])

    class Point(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(center.clone())

        def forward(self, rows: Tensor) -> Tensor:
            return rows @ self.weight

    generator = torch.Generator().manual_seed(1)
    rows, target = torch.randn(40, 3, generator=generator), torch.randn(40, generator=generator)
    wrapper = ModelWrapper(Point(), nn.MSELoss(), (rows, target))
    directions = ({"weight": torch.tensor([1.0, 0.0, 1.0])}, {"weight": torch.tensor([0.0, 2.0, 0.0])})
    first, second = axis_values(-2, 1, 51), axis_values(-1, 1, 40)
    mesh = np.stack([part.ravel() for part in np.meshgrid(first, second, indexing="ij")], axis=1)
    found = evaluate_to_tolerance(
        wrapper,
        wrapper.split("train"),
        [PointBlock(directions=lambda: directions, coefficients=mesh)],
        wrapper.state(),
        Grid.of([first, second]),
        tolerance=Tolerance.parse(tolerance),
        settings=EvaluationSettings(dtype=torch.float64),
    )
    steps = torch.stack([direction["weight"] for direction in directions]).double().numpy()
    points = center.double().numpy() + mesh @ steps
    residuals = points @ rows.double().numpy().T - target.double().numpy()
    expected = (residuals**2).mean(axis=1)
    whole = adaptive.complete(found.sums["loss"], Grid.of([first, second]), tolerance=found.tolerance["loss"])
    evaluated = found.sums["loss"].num_entries == 40
    np.testing.assert_allclose(whole.values[evaluated], expected[evaluated], rtol=1e-12)
    assert np.abs(whole.values - expected).max() <= found.tolerance["error_bound"]
    assert found.tolerance["sample_evaluations"] * 5 < found.tolerance["sample_evaluations_of_all"]


def test_a_region_that_overflows_is_evaluated(trained: ModelWrapper) -> None:
    # Far out the exponential is infinite in float32, near the center it is smooth.
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.exp(output.square().sum(dim=1) / 2)

    wrapper = ModelWrapper(trained.model, loss, samples())
    full, found = plane(wrapper, range=(-3.0, 3.0)), plane(wrapper, to("1%"), range=(-3.0, 3.0))
    assert np.isinf(full.loss).any()
    np.testing.assert_array_equal(np.isfinite(found.loss), np.isfinite(full.loss))
    assert (found.array(role="count")[~np.isfinite(full.loss)] > 0).all()


def test_curves_and_families_have_tolerances(trained: ModelWrapper) -> None:
    full = RandomDirectionSlicer(trained, progress=False).slice_1d()
    found = RandomDirectionSlicer(trained, settings=to("1%"), progress=False).slice_1d()
    assert np.abs(found.loss - full.loss).max() <= told(found)["error_bound"]
    assert told(found)["points_evaluated"] < 30

    options: dict[str, Any] = {"n_samples": 51, "params_to_slice": "random:12"}
    full = AxisParallelSlicer(trained, progress=False).slice(**options)
    found = AxisParallelSlicer(trained, settings=to("1%"), progress=False).slice(**options)
    assert found.loss.shape == (12, 51)
    assert np.abs(found.loss - full.loss).max() <= told(found)["error_bound"]
    assert 2 * told(found)["sample_evaluations"] < told(found)["sample_evaluations_of_all"]


def test_a_line_keeps_its_ends(trained: ModelWrapper) -> None:
    start = trained.get_parameters()
    end = trained.get_random_parameters(0.3, seed=1)
    full = LinearInterpolationSlicer(trained, progress=False).slice(start, end)
    found = LinearInterpolationSlicer(trained, settings=to("2%"), progress=False).slice(start, end)
    assert np.abs(found.loss - full.loss).max() <= told(found)["error_bound"]
    assert [marker.loss for marker in found.markers] == [marker.loss for marker in full.markers]


@pytest.fixture(scope="module")
def many(trained: ModelWrapper) -> ModelWrapper:
    """The same network on more samples than most points need."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1700, 6, generator=generator)
    classes = (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 0.5).long()
    return ModelWrapper(trained.model, nn.CrossEntropyLoss(), (inputs, classes))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("batch_size", [None, 300])
def test_points_are_evaluated_on_as_many_samples_as_they_need(
    many: ModelWrapper, batch_size: int | None, reduction: str
) -> None:
    wrapper = ModelWrapper(many.model, nn.CrossEntropyLoss(reduction=reduction), many_samples(many))
    small = {"range": ((-0.5, 0.5), (0.0, 0.5)), "grid_size": (21, 25)}
    full, found = plane(wrapper, **small), plane(wrapper, to("6%", batch_size=batch_size), **small)
    counts, report = found.array(role="count"), told(found)
    # N/16, N/8, N/4 and N/2, less what is not whole.
    assert set(np.unique(counts)) <= {0, 106, 212, 425, 850, 1700}
    assert len(np.unique(counts[counts > 0])) > 2
    # The nearer to the center, the more do the samples have in common with it; what lies next to it tells whether a
    # part of the samples can be trusted.
    near = counts[6:15, 3:6]
    assert np.median(near[near > 0]) == 106
    assert (counts[8:13, :3] == 1700).all()
    assert report["sample_evaluations"] == counts.sum() < 0.2 * full.array(role="count").sum()
    assert np.abs(found.loss - full.loss).max() <= report["error_bound"]
    assert report["sampling_standard_error"] <= report["loss"]
    # The center is known on all samples, and so is what lies beside it.
    assert found.loss[10, 0] == pytest.approx(full.center.loss["train"], rel=1e-6)
    # Fewer samples leave the error of a mean over all of them, and their own.
    part = (counts > 0) & (counts < 1700)
    stderr, spread = found.array(role="stderr")[part], full.array(role="stderr")[part]
    assert (stderr > 0.8 * spread).all()
    assert (stderr <= np.hypot(1.3 * spread, report["sampling_standard_error"])).all()
    assert (counts[~np.isfinite(full.loss)] == 1700).all()


def test_rare_large_losses_are_not_missed() -> None:
    """Five samples of 1,700 make nearly all of the loss, and the smallest part has none of them."""

    class Weight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 2))

        def forward(self, rows: Tensor) -> Tensor:
            return rows @ self.weight.T

    generator = torch.Generator().manual_seed(0)
    rows = 0.01 * torch.randn(1700, 2, generator=generator)
    order = stratified_order(ModelWrapper(Weight(), nn.MSELoss(), (rows, rows[:, :1])).split("train"), 0)
    rows[torch.from_numpy(order[1000:1005])] = 30.0
    wrapper = ModelWrapper(Weight(), nn.MSELoss(), (rows, torch.zeros(1700, 1)))
    full, found = plane(wrapper, grid_size=21), plane(wrapper, to("1%"), grid_size=21)
    assert np.abs(found.loss - full.loss).max() <= told(found)["error_bound"] + 1e-6
    assert told(found)["error_bound"] <= 5 * told(found)["loss"]


def test_a_split_whose_samples_can_not_be_told_apart_is_evaluated_whole(many: ModelWrapper) -> None:
    inputs, classes = many_samples(many)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output, target)

    mean = ModelWrapper(many.model, loss, (inputs, classes))
    coupled = ModelWrapper(many.model, nn.CrossEntropyLoss(), (inputs, classes), batch_coupled=True)
    for wrapper in (mean, coupled):
        found = plane(wrapper, to("5%", batch_size=500), grid_size=21)
        counts = found.array(role="count")
        assert len(np.unique(counts)) == 2
        assert counts[10, 0] == counts.max()


def test_progress_reaches_every_point(trained: ModelWrapper) -> None:
    line = np.linspace(-1, 1, 51)
    vectors = ({name: torch.ones_like(tensor) for name, tensor in trained.get_parameters().items()},)
    points: list[float] = []
    evaluate_to_tolerance(
        trained,
        trained.split("train", 50),
        [PointBlock(directions=lambda: vectors, coefficients=line[:, None])],
        trained.state(),
        Grid.of([line]),
        tolerance=Tolerance.parse("1%"),
        settings=EvaluationSettings(batch_size=50),
        advance=points.append,
    )
    assert sum(points) == pytest.approx(51)


def test_sums_of_a_part_come_back_from_bytes(trained: ModelWrapper) -> None:
    line = np.linspace(-1, 1, 51)
    vectors = ({name: torch.ones_like(tensor) for name, tensor in trained.get_parameters().items()},)
    block = PointBlock(directions=lambda: vectors, coefficients=line[:, None])
    given = (trained, trained.split("train"), [block], trained.state())
    found = evaluate_to_tolerance(
        *given, Grid.of([line]), tolerance=Tolerance.parse("1%"), settings=EvaluationSettings()
    ).sums["loss"]
    again = stored_sums(found.to_bytes())
    assert isinstance(again, NestedSums)
    for name in ("values", "stderr", "num_entries", "sampling_error"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.num_points, again.center_value, again.entries) == (51, found.center_value, "samples")
    # What was stored without a tolerance is read as before.
    whole = evaluate(*given, settings=EvaluationSettings()).sums["loss"]
    plain = stored_sums(whole.to_bytes())
    assert isinstance(plain, PointSums)
    np.testing.assert_array_equal(plain.values, whole.values)
    for damaged in (found.to_bytes()[:-1], found.to_bytes() + b"\0", b"[]\n", b'{"parts": []}\n', b'{"parts": [1]}\n'):
        with pytest.raises(StoreError, match="can't be read"):
            stored_sums(damaged)


@pytest.mark.parametrize("text", ["0", "-1%", "nan", "inf", "%", "1%%", "tight", ""])
def test_a_tolerance_is_a_positive_number(text: str) -> None:
    with pytest.raises(UsageError, match="positive number"):
        Tolerance.parse(text)


def test_a_percentage_is_of_the_loss_at_the_center() -> None:
    assert Tolerance.parse("2.5%").absolute(-4.0) == pytest.approx(0.1)
    assert Tolerance.parse("0.25").absolute(-4.0) == 0.25
    # Nothing is a part of what is not finite: all points are evaluated.
    assert Tolerance.parse("1%").absolute(float("nan")) == 0.0
    assert [str(Tolerance.parse(text)) for text in ("1%", " 1.0 %", "0.0700", "1e-3")] == ["1%", "1%", "0.07", "0.001"]


def test_in_half_precision_the_difference_to_float32_is_stated(trained: ModelWrapper) -> None:
    small = {"range": ((-0.5, 0.5), (0.0, 0.5)), "grid_size": (9, 9)}
    full, found = plane(trained, **small), plane(trained, to("3%", dtype=torch.bfloat16), **small)
    precision = found.evaluation["precision"]["train"]
    assert precision["compared_points"] >= 8
    assert 0 < precision["largest_relative_difference"] < 0.05
    assert precision["center_loss_float32"] == pytest.approx(full.center.loss["train"], rel=1e-5)
    assert "precision" not in full.evaluation
