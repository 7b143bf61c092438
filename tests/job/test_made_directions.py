"""Directions that take long to make are made once in a job, and not at all in a dry run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from slicer_core.curvature.operators import LossHessian
from slicer_core.errors import StopRequested
from slicer_core.job import Job, Reporter, estimate, run_job

MakeJob = Callable[..., Job]
OPTIONS = {"method": "hessian1d", "grid": "3", "steps": "last", "eigen_tolerance": 0.01}


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a product with the Hessian."""
    made: list[int] = []
    real = LossHessian._product

    def counted(self, vector):
        made.append(1)
        return real(self, vector)

    monkeypatch.setattr(LossHessian, "_product", counted)
    return made


class StopsAtPoints(Reporter):
    """Stops once the directions are there and the points begin."""

    def begin(self, label: str, num_points: int) -> None:
        if "eigenvectors" not in label:
            raise StopRequested(75)


def test_a_run_that_goes_on_does_not_make_them_again(make_job: MakeJob, products: list[int]) -> None:
    with pytest.raises(StopRequested):
        run_job(make_job(**OPTIONS, blocks=True), reporter=StopsAtPoints())
    count = len(products)
    assert count > 0
    (resumed,) = run_job(make_job(**OPTIONS, blocks=True)).slices
    assert len(products) == count
    (fresh,) = run_job(make_job(**OPTIONS, blocks=True, fresh=True)).slices
    assert len(products) == 2 * count
    assert np.array_equal(resumed.data.loss, fresh.data.loss)
    # The norm of what is made anew was seen to differ in its last digit.
    (kept,), (made,) = resumed.data.directions, fresh.data.directions
    assert (kept.norm, kept.eigenvalue) == pytest.approx((made.norm, made.eigenvalue), rel=1e-12)
    residual = pytest.approx(made.recipe["residual"], rel=1e-6)
    assert kept.recipe == {**made.recipe, "residual": residual}
    assert replace(kept, norm=made.norm, eigenvalue=made.eigenvalue, recipe=made.recipe) == made
    layers = resumed.data.measures["layer_eigenvalue"].details["layers"]
    assert list(layers) == ["0", "2", "4"]
    # A block's eigenvalue is at most that of the whole (Cauchy's interlacing).
    top = resumed.data.directions[0].eigenvalue
    assert top is not None
    assert all(layer["eigenvalue"] <= top * 1.001 for layer in layers.values())
    run_job(make_job(**OPTIONS, blocks=True))
    assert len(products) == 2 * count


def test_a_dry_run_makes_none(make_job: MakeJob, products: list[int]) -> None:
    notes: list[str] = []

    class Notes(Reporter):
        def note(self, text: str) -> None:
            notes.append(text)

    cost = estimate(make_job(**OPTIONS), Notes())
    assert cost.points == 3
    assert not products
    assert any("up to 2000 products" in note for note in notes)


def test_a_curve_is_trained_once_and_its_budget_is_a_part_of_the_job(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slicer_core.evaluate.gradient import DifferentiableLoss

    steps: list[int] = []
    real = DifferentiableLoss.batch_gradient

    def counted(self, batch, **options):
        steps.append(1)
        return real(self, batch, **options)

    monkeypatch.setattr(DifferentiableLoss, "batch_gradient", counted)
    options = {"method": "bezier", "steps": "first", "grid": "5", "train_steps": 4}

    class StopsAfterTraining(Reporter):
        def begin(self, label: str, num_points: int) -> None:
            if "curve" not in label and "line" not in label:
                raise StopRequested(75)

    with pytest.raises(StopRequested):
        run_job(make_job(**options), reporter=StopsAfterTraining())
    assert len(steps) == 4
    (found,) = run_job(make_job(**options)).slices
    assert run_job(make_job(**options)).num_new == 0
    assert len(steps) == 4
    assert found.data.measures["straight_barrier"].value >= 0
    assert found.data.directions[0].recipe["steps"] == 4
    assert estimate(make_job(**options)).points == 5
    assert run_job(make_job(**options | {"train_steps": 5})).num_new == 1
    assert len(steps) == 9
