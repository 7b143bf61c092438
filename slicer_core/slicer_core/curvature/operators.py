"""The Hessian of the loss, and its generalized Gauss-Newton matrix, as linear operators of `curvlinops`.

`curvlinops` has a Hessian too, but only of a mean over (X, y) batches, with derivatives in forward mode, which
recurrent layers lack. Here it is that of whatever loss the user has: `batch_loss`, a `LossSum`, class weights,
`ignore_index`. The Gauss-Newton matrix is the library's own.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, cast

import torch
from curvlinops import GGNLinearOperator
from curvlinops._torch_base import PyTorchLinearOperator  # the base of its operators; it has no public name
from torch import Tensor, nn
from torch.autograd import forward_ad

from slicer_core.errors import DataError, UsageError
from slicer_core.evaluate.gradient import DifferentiableLoss, gradients
from slicer_core.subject import Batch, ModelWrapper


class _LossOperator(PyTorchLinearOperator):
    """A symmetric matrix over the parameters of a `DifferentiableLoss`, at its point."""

    SELF_ADJOINT = True

    def __init__(self, loss: DifferentiableLoss, tick: Callable[[], None] | None = None) -> None:
        """`tick` is called after each product."""
        shapes = [tuple(parameter.shape) for parameter in loss.parameters.values()]
        super().__init__(shapes, shapes)
        self._loss = loss
        self._tick = tick

    @property
    def device(self) -> torch.device:
        """Where vectors live."""
        return next(iter(self._loss.parameters.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next(iter(self._loss.parameters.values())).dtype

    def _matmat(self, X: list[Tensor]) -> list[Tensor]:  # noqa: N803 - the library's name
        columns = []
        for index in range(X[0].shape[-1]):
            columns.append(self._product([entry[..., index].contiguous() for entry in X]))
            if self._tick is not None:
                self._tick()
        return [torch.stack(entries, dim=-1) for entries in zip(*columns, strict=True)]

    def _product(self, vector: Sequence[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class LossHessian(_LossOperator):
    """H = ∂²L/∂θ² by products Hv = ∂⟨∇L, v⟩/∂θ, each at the cost of about two gradients.

    Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 1994.

    Raises:
        DataError: in a product, the model or its loss has no second derivative.
    """

    def _product(self, vector: Sequence[Tensor]) -> list[Tensor]:
        parameters = list(self._loss.parameters.values())

        def derivative(term: Tensor) -> Sequence[Tensor | None]:
            first = gradients(term, parameters, create_graph=True)
            slopes = [
                (gradient * entry).sum()
                for gradient, entry in zip(first, vector, strict=True)
                if gradient is not None and gradient.requires_grad
            ]
            # Where the loss is linear the second derivative is zero, and no error.
            return _leaf_gradients(torch.stack(slopes).sum(), parameters) if slopes else [None] * len(parameters)

        with _second_derivatives("hessian"):
            return self._loss.summed(derivative)


def _leaf_gradients(slope: Tensor, leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """∂slope/∂leaf through all of the graph.

    `autograd.grad` visits only what leads to the leaves, and so passes by the nodes that torch leaves where a function
    has no second derivative, without a word.
    """
    slope.backward()
    found = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return found


class GaussNewton(_LossOperator):
    """The generalized Gauss-Newton matrix G = Σ Jᵀ(∂²ℓ/∂f²)J, with J = ∂f/∂θ of the model's output f.

    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural Computation 2002.

    Raises:
        UsageError: the loss is a `batch_loss`, so that there is no output to cut it at.
        DataError: in a product, the model has no derivative in forward mode.
    """

    def __init__(self, loss: DifferentiableLoss, wrapper: ModelWrapper, tick: Callable[[], None] | None = None) -> None:
        super().__init__(loss, tick)
        if wrapper.batch_loss is not None:
            raise UsageError(
                "--curvature ggn needs the model's output apart from the loss, which batch_loss does not give: give "
                "the module a loss_fn, or --curvature hessian"
            )
        self._wrapper = wrapper
        _import_forward_mode()

    def _product(self, vector: Sequence[Tensor]) -> list[Tensor]:
        loss, wrapper = self._loss, self._wrapper

        def product() -> list[Tensor]:
            model = _Outputs(wrapper.model)
            operator = GGNLinearOperator(
                model,
                _SumOverSamples(wrapper),
                list(loss.parameters.values()),
                cast("Any", [_as_pair(batch) for batch in loss.batches()]),
                check_deterministic=False,
                num_data=1,
                batch_size_fn=lambda _: 1,
            )
            return [entry[..., 0] for entry in operator._matmat([entry[..., None] for entry in vector])]

        with _second_derivatives("ggn"), loss.running(grad=True):
            found, scale = loss.holding(product), loss.scale
        decay = loss.decay_by_name()
        return [
            entry * scale + decay[name] * given
            for name, entry, given in zip(loss.parameters, found, vector, strict=True)
        ]


class _Outputs(nn.Module):
    """The model as the library calls it: with one argument, which has all inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MutableMapping[str, Any]) -> Any:
        return self.model(*batch["inputs"])


class _SumOverSamples(nn.Module):
    """Σs of a batch from the model's output, of which the library is told that it is a sum."""

    reduction = "sum"

    def __init__(self, wrapper: ModelWrapper) -> None:
        super().__init__()
        # In a tuple, so that a loss module's tensors are not swapped: they are held already.
        self._wrapper = (wrapper,)

    def forward(self, output: Any, target: Any) -> Tensor:
        return self._wrapper[0].terms_of_output(output, target, len(target)).sums.sum()


def _as_pair(batch: Batch) -> tuple[dict[str, Any], Any]:
    *inputs, target = batch.data
    return {"inputs": tuple(inputs)}, target


@contextlib.contextmanager
def _second_derivatives(curvature: str) -> Iterator[None]:
    """Turns what torch raises for operations without derivatives into one message."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        other = "" if curvature == "hessian" else ", or give --curvature hessian"
        raise DataError(
            f"the curvature ({curvature}) can't be had: the model or its loss has an operation that torch can't "
            f"differentiate twice ({reason}). Take another operation in its place{other}"
        ) from error


def _import_forward_mode() -> None:
    """What torch imports when a tensor is first given a tangent warns of what torch itself has deprecated."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore")
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
