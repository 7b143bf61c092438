"""Which points of a grid are evaluated to a tolerance, and how far interpolated ones are off, on known functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from slicer_core.evaluate.lattice import Step
from slicer_core.evaluate.refinement import Grid, Refinement
from slicer_core.plan import axis_values

LINE = axis_values(-1, 1, 51)
Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


def refined(grid: Grid, truth: np.ndarray, tolerance: float) -> tuple[Refinement, np.ndarray]:
    """The end of a refinement, and the mask of what it asked for; it is shown nothing else of the truth."""
    evaluated = grid.first_points()
    while True:
        shown = np.where(evaluated, truth, np.nan)
        found = grid.refine(shown, evaluated, tolerance=tolerance)
        if not found.wanted.any():
            return found, evaluated
        assert not (found.wanted & evaluated).any()
        evaluated |= found.wanted


def on_grid(function: Function, rows: np.ndarray = LINE, columns: np.ndarray = LINE) -> tuple[Grid, np.ndarray]:
    return Grid.of([rows, columns]), function(rows[:, None], columns[None, :])


def spikes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.exp(-((a - 0.4) ** 2 + (b + 0.2) ** 2) / 0.02) + a**2


SMOOTH: dict[str, Function] = {
    "quadratic": lambda a, b: 1 + a**2 - a * b + 3 * b**2,
    "softplus": lambda a, b: np.log1p(np.exp(4 * a + 2 * b)) + b**2,
    "valley": lambda a, b: 1 / (1 + 25 * (a - b) ** 2),
    "bump": spikes,
    "steep": lambda a, b: np.exp(3 * a * a + 2 * b),
}
# High derivatives change sign near an end, so that there the coarser levels may see next to no error.
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": lambda x: np.sin(5 * x + 0.5),
    "faster sine": lambda x: np.sin(6 * x),
    "slower sine": lambda x: np.sin(4 * x + 1),
    "bump": lambda x: np.exp(-((x - 0.6) ** 2) / 0.18),
    "bump at an end": lambda x: np.exp(-((x - 0.9) ** 2) / 0.1),
    "valley": lambda x: 1 / (1 + 4 * (x + 0.8) ** 2),
    "two valleys": lambda x: np.log(np.exp(-16 * (x + 0.7) ** 2) + np.exp(-12 * (x - 0.6) ** 2) + 0.1),
}
KINKED: dict[str, Function] = {
    "ridge along an axis": lambda a, b: np.abs(a - 0.13) + b**2,
    "ridge across": lambda a, b: np.abs(a + 0.7 * b - 0.21),
    "ring": lambda a, b: np.maximum(np.hypot(a, b) - 0.6, 0.0),
    "corner": lambda a, b: np.maximum(np.maximum(a - 0.3, b - 0.1), 0.0),
}


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4])
@pytest.mark.parametrize("name", SMOOTH | KINKED)
def test_no_point_is_further_off_than_the_stated_bound(name: str, tolerance: float) -> None:
    grid, truth = on_grid((SMOOTH | KINKED)[name])
    found, evaluated = refined(grid, truth, tolerance)
    assert np.abs(found.values - truth).max() <= found.errors.max() or evaluated.all()
    np.testing.assert_array_equal(found.values[evaluated], truth[evaluated])
    assert (found.errors[evaluated] == 0).all()
    # Before what was seen makes it larger, the bound is the tolerance.
    assert found.errors.max() <= tolerance * found.calibration
    # What was seen is not the worst that there is.
    assert found.calibration == 1 or found.calibration > 1.25


@pytest.mark.parametrize("size", [21, 22, 25, 31, 41, 51])
@pytest.mark.parametrize("name", CURVES)
def test_no_point_of_a_curve_is_further_off_than_the_tolerance(name: str, size: int) -> None:
    line = axis_values(-1, 1, size)
    truth = CURVES[name](line)[None]
    for tolerance in (3e-4, 1e-3, 3e-3, 1e-2):
        found, _ = refined(Grid.of([line]), truth, tolerance)
        error = np.abs(found.values - truth).max()
        assert error <= tolerance
        assert error <= found.errors.max() + 1e-12


@pytest.mark.parametrize("size", [21, 22, 25, 31, 51])
def test_a_curve_is_evaluated_next_to_its_ends(size: int) -> None:
    line = axis_values(-1, 1, size)
    _, evaluated = refined(Grid.of([line]), line[None] ** 2, 1e3)
    (interpolated,) = np.nonzero(~evaluated[0])
    assert {0, 1, size - 2, size - 1}.isdisjoint(interpolated)
    assert interpolated.size


def test_more_error_is_expected_next_to_the_edges_of_a_plane() -> None:
    line, every = axis_values(-1, 1, 22), np.arange(22)
    # The last interval is a short one, without a new line.
    coarse = np.r_[0:22:2, 21]
    step = Step((line, line), (coarse, coarse), (every, every))
    edges = np.zeros((22, 22), dtype=bool)
    edges[[1, 19]] = edges[:, [1, 19]] = True
    np.testing.assert_array_equal(step.margin > 1, edges & step.new)


@pytest.mark.parametrize("name", ["quadratic", "softplus", "bump", "steep"])
def test_smooth_functions_need_a_third_of_the_points_or_less(name: str) -> None:
    grid, truth = on_grid(SMOOTH[name])
    _, evaluated = refined(grid, truth, 0.01 * np.ptp(truth))
    assert 3 * evaluated.sum() <= evaluated.size


def test_a_quadratic_is_known_after_the_first_points_and_the_probes() -> None:
    grid, truth = on_grid(SMOOTH["quadratic"])
    found, evaluated = refined(grid, truth, 1e-6)
    np.testing.assert_allclose(found.values, truth, atol=1e-12)
    assert evaluated.sum() < truth.size / 8


@pytest.mark.parametrize("name", KINKED)
def test_a_ridge_is_evaluated_along_its_length(name: str) -> None:
    grid, truth = on_grid(KINKED[name])
    _, evaluated = refined(grid, truth, 1e-3)
    # Where the second difference along an axis is that of a kink, the point itself was evaluated.
    bend = np.abs(np.diff(truth, 2, axis=0))[:, 1:-1] + np.abs(np.diff(truth, 2, axis=1))[1:-1]
    assert evaluated[1:-1, 1:-1][bend > 0.01].all()
    assert not evaluated.all()


def test_the_center_and_a_ring_around_it_are_always_evaluated() -> None:
    grid, truth = on_grid(SMOOTH["quadratic"])
    _, evaluated = refined(grid, truth, 1e3)
    assert evaluated[23:28, 23:28].all()
    # Between two lines the cell is the four points around it.
    even, off = axis_values(-1, 1, 40), axis_values(-1, 2, 52)
    _, evaluated = refined(Grid.of([even, off]), np.zeros((40, 52)), 1.0)
    assert evaluated[18:22, 15:20].all()
    assert evaluated.mean() < 0.4


@pytest.mark.parametrize("sizes", [(51, 31), (23, 100), (64, 7), (2, 45), (33, 12)])
@pytest.mark.parametrize("limits", [(0.0, 1.0), (-0.3, 1.7), (0.5, 3.0)])
def test_any_shape_and_any_range(sizes: tuple[int, int], limits: tuple[float, float]) -> None:
    rows, columns = axis_values(*limits, sizes[0]), axis_values(-1, 1, sizes[1])
    grid, truth = on_grid(spikes, rows, columns)
    found, evaluated = refined(grid, truth, 0.01)
    assert np.abs(found.values - truth).max() <= max(found.errors.max(), 1e-12)
    assert evaluated.sum() < truth.size
    corners = evaluated[np.ix_([0, -1], [0, -1])]
    assert corners.all()


def test_rows_and_columns_are_not_exchanged() -> None:
    rows, columns = axis_values(0, 1, 21), axis_values(-1, 1, 51)
    grid, truth = on_grid(lambda a, b: np.sin(3 * a) + 10 * b**3, rows, columns)
    turned = Grid.of([columns, rows])
    found, _ = refined(grid, truth, 0.05)
    other, _ = refined(turned, truth.T, 0.05)
    assert np.abs(found.values - truth).max() < 0.05
    assert np.abs(other.values - truth.T).max() < 0.05


def test_lines_may_be_uneven() -> None:
    uneven = axis_values(-0.5, 1.5, 51, anchors=(0.0, 1.0)) ** 3
    grid, truth = on_grid(SMOOTH["softplus"], uneven, LINE)
    found, evaluated = refined(grid, truth, 0.01)
    assert np.abs(found.values - truth).max() <= found.errors.max()
    assert evaluated.mean() < 0.5


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 20])
def test_few_points_are_all_evaluated(size: int) -> None:
    line = np.linspace(-1, 1, size)
    assert Grid.of([line, line]).first_points().all()
    assert Grid.of([line]).first_points().all()


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_region_that_is_not_finite_is_evaluated_to_its_edge(hole: float) -> None:
    grid, truth = on_grid(lambda a, b: np.where((a - 0.5) ** 2 + b**2 < 0.1, hole, a**2 + b**2))
    found, evaluated = refined(grid, truth, 0.01)
    inside = ~np.isfinite(truth)
    assert evaluated[inside].all()
    np.testing.assert_array_equal(found.values[inside], truth[inside])
    assert np.isfinite(found.values[~inside]).all()
    assert np.abs(found.values[~inside] - truth[~inside]).max() <= 0.01
    assert not evaluated.all()


def test_nothing_finite_means_everything_is_evaluated() -> None:
    grid = Grid.of([LINE, LINE])
    _, evaluated = refined(grid, np.full((51, 51), np.nan), 0.01)
    assert evaluated.all()


@pytest.mark.filterwarnings("error")
def test_huge_values_give_no_warning_and_are_evaluated() -> None:
    grid, truth = on_grid(lambda a, b: np.exp(np.minimum(400 * (a + b), 709.0)))
    found, evaluated = refined(grid, truth, 0.01)
    assert evaluated[truth > 1e3].all()
    assert np.isfinite(found.values).all()


def test_curves_of_a_family_are_refined_each_for_itself() -> None:
    truth = np.stack([LINE**2, np.abs(LINE - 0.3), np.sin(40 * LINE)])
    found, evaluated = refined(Grid.of([LINE], num_curves=3), truth, 0.01)
    assert np.abs(found.values - truth).max() <= found.errors.max()
    first, second, third = evaluated.sum(axis=1)
    assert first < second < third
    alone, alone_evaluated = refined(Grid.of([LINE]), truth[:1], 0.01)
    assert alone_evaluated.sum() < 30
    assert np.abs(alone.values - truth[:1]).max() < 0.01


def test_noise_of_the_values_is_no_reason_to_refine() -> None:
    grid, smooth = on_grid(SMOOTH["quadratic"])
    noise = 0.01 * np.random.default_rng(0).standard_normal(smooth.shape)

    def count(known: float) -> int:
        evaluated = grid.first_points()
        while True:
            spread = np.full(smooth.shape, known)
            found = grid.refine(smooth + noise, evaluated, tolerance=0.02, noise=spread)
            if not found.wanted.any():
                assert (found.noise[evaluated] == known).all()
                assert (found.noise[~evaluated] >= known).all()
                return int(evaluated.sum())
            evaluated |= found.wanted

    assert count(0.01) < count(0.0)


def test_without_a_tolerance_nothing_more_is_wanted_and_errors_are_still_estimated() -> None:
    grid, truth = on_grid(spikes)
    found = grid.refine(truth, grid.first_points(), tolerance=None)
    assert not found.wanted.any()
    assert np.isfinite(found.values).all()
    assert 0 < found.errors.max() < np.inf
    assert np.abs(found.values - truth).max() <= found.errors.max()


def test_the_same_grid_is_refined_alike_again() -> None:
    grid, truth = on_grid(KINKED["ring"])
    first, first_evaluated = refined(grid, truth, 1e-3)
    second, second_evaluated = refined(grid, truth, 1e-3)
    np.testing.assert_array_equal(first_evaluated, second_evaluated)
    np.testing.assert_array_equal(first.values, second.values)
