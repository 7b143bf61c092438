"""Eigenpairs and traces against the dense matrix."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from slicer_core import ModelWrapper
from slicer_core.curvature import eigenpairs, hutchinson_trace, layer_eigenvalues
from slicer_core.errors import ConvergenceError, StopRequested, UsageError
from slicer_core.extra import needing_extra


@pytest.fixture(scope="module")
def network() -> tuple[ModelWrapper, np.ndarray]:
    """A float32 network of 331 parameters, and its Hessian in float64."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 7))
    inputs, target = 2 * torch.randn(40, 6), torch.randint(0, 7, (40,))
    wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (inputs, target))
    names = wrapper.varying_names()
    parameters = {name: tensor.detach().double() for name, tensor in model.named_parameters()}
    sizes = [tensor.numel() for tensor in parameters.values()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = dict(zip(names, flat.split(sizes), strict=True))
        named = {name: part.reshape(parameters[name].shape) for name, part in parts.items()}
        return nn.functional.cross_entropy(functional_call(model, named, (inputs.double(),)), target)

    flat = torch.cat([tensor.reshape(-1) for tensor in parameters.values()])
    hessian = torch.autograd.functional.hessian(loss, flat)
    assert isinstance(hessian, torch.Tensor)
    return wrapper, hessian.numpy()


@pytest.mark.parametrize("which", ["top", "bottom"])
def test_eigenpairs_are_those_of_the_dense_matrix(network, curvature_tools, which) -> None:
    wrapper, dense = network
    values, vectors = np.linalg.eigh(dense)
    order = slice(None, None, -1) if which == "top" else slice(None)
    found = eigenpairs(curvature_tools.problem_of(wrapper, 16).matrix(), 3, which=which, tolerance=1e-6)
    np.testing.assert_allclose(found.values, values[order][:3], atol=1e-4)
    for index in range(3):
        cosine = abs(found.vectors[:, index] @ vectors[:, order][:, index])
        assert cosine == pytest.approx(1.0, abs=1e-4)
        largest = np.abs(found.vectors[:, index]).argmax()
        assert found.vectors[largest, index] > 0
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=0), 1.0, atol=1e-9)
    residual = np.linalg.norm(dense @ found.vectors - found.vectors * found.values, axis=0)
    np.testing.assert_allclose(found.residuals, residual, atol=2e-6)
    assert (np.abs(found.values - values[order][:3]) <= found.residuals + 2e-6).all()


def test_small_matrices_are_written_out(curvature_tools) -> None:
    curvatures = torch.tensor([3.0, -2.0, 0.5, 7.0]).double()
    matrix = curvature_tools.problem_of(curvature_tools.quadratic(curvatures)).matrix()
    top, bottom = eigenpairs(matrix, 2), eigenpairs(matrix, 2, which="bottom")
    np.testing.assert_allclose(top.values, [7.0, 3.0], atol=1e-12)
    np.testing.assert_allclose(bottom.values, [-2.0, 0.5], atol=1e-12)
    np.testing.assert_allclose(top.vectors, np.eye(4)[:, [3, 0]], atol=1e-12)
    assert (top.residuals < 1e-12).all()


def test_the_same_seed_gives_the_same_vectors(network, curvature_tools) -> None:
    matrix = curvature_tools.problem_of(network[0]).matrix()
    first, again = (eigenpairs(matrix, 2, seed=5) for _ in range(2))
    assert np.array_equal(first.vectors, again.vectors)


def test_products_are_limited(network, curvature_tools) -> None:
    with pytest.raises(ConvergenceError, match=r"within 10 products.*--products"):
        eigenpairs(curvature_tools.problem_of(network[0]).matrix(), 3, max_products=10)


def test_curvature_that_is_not_finite_is_told(network, curvature_tools) -> None:
    wrapper, _ = network
    broken = {**wrapper.state(), "4.bias": torch.full((7,), float("nan"))}
    problem = curvature_tools.problem_of(wrapper, state=broken)
    with pytest.raises(ConvergenceError, match="not finite"):
        eigenpairs(problem.matrix(), 1)


def test_a_stop_comes_through(network, curvature_tools) -> None:
    calls = []

    def tick() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise StopRequested(75)

    with pytest.raises(StopRequested):
        eigenpairs(curvature_tools.problem_of(network[0], tick=tick).matrix(), 2)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 400}, "400 eigenvectors are wanted of 331"),
        ({"count": 1, "tolerance": 0.0}, "--eigen-tolerance 0"),
        ({"count": 1, "which": "middle"}, "--which 'middle'"),
        ({"count": 1, "max_products": 0}, "--products 0"),
    ],
)
def test_bad_requests_are_told(network, curvature_tools, arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        eigenpairs(curvature_tools.problem_of(network[0]).matrix(), **arguments)


def test_each_layer_has_the_eigenvalue_of_its_block(network, curvature_tools) -> None:
    wrapper, dense = network
    found = layer_eigenvalues(curvature_tools.problem_of(wrapper), tolerance=1e-6)
    start = 0
    for layer, size in (("0", 84), ("2", 156), ("4", 91)):
        block = dense[start : start + size, start : start + size]
        assert found[layer].values[0] == pytest.approx(np.linalg.eigvalsh(block)[-1], abs=1e-4)
        start += size


def test_the_trace_lies_within_its_error(network, curvature_tools) -> None:
    wrapper, dense = network
    found = hutchinson_trace(curvature_tools.problem_of(wrapper).matrix(), probes=200, seed=1)
    # The variance of zᵀHz with signs z is twice the squares off the diagonal.
    spread = np.sqrt(2 * (dense**2).sum() - 2 * (np.diag(dense) ** 2).sum())
    assert found.whole.error == pytest.approx(spread / np.sqrt(200), rel=0.25)
    assert abs(found.whole.value - np.trace(dense)) < 3 * found.whole.error
    assert abs(found.layers["2"].value - np.trace(dense[84:240, 84:240])) < 3.5 * found.layers["2"].error
    assert sum(layer.value for layer in found.layers.values()) == pytest.approx(found.whole.value)


def test_the_trace_of_a_diagonal_matrix_is_exact(curvature_tools) -> None:
    curvatures = torch.tensor([3.0, -2.0, 0.5, 7.0]).double()
    found = hutchinson_trace(curvature_tools.problem_of(curvature_tools.quadratic(curvatures)).matrix(), probes=3)
    assert found.whole.value == pytest.approx(8.5, abs=1e-12)
    assert found.whole.error == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(UsageError, match="0 probes"):
        hutchinson_trace(curvature_tools.problem_of(curvature_tools.quadratic(curvatures)).matrix(), probes=0)


def test_what_the_libraries_call_that_is_deprecated_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needed_by_a_library.py").write_text(
        "import warnings\nwarnings.warn('is deprecated', DeprecationWarning, stacklevel=2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with needing_extra():
            importlib.import_module("needed_by_a_library")
