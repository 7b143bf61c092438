"""A checkpoint's tensors under the model's names: exactly, or an error that says what differs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from slicer_core.errors import CheckpointError
from slicer_core.parameters import LazyTensors, NamedTensors, row_blocks, rows_of, shapes_of
from slicer_core.subject.conversion import converted
from slicer_core.subject.naming import Fit, Mismatch, SavedTensor, fit_names
from slicer_core.subject.own_loading import as_loaded, has_own_loading
from slicer_core.subject.targets import targets_of


def require_fit(saved: Mapping[str, SavedTensor], model: nn.Module, *, source: str) -> Fit:
    """How the checkpoint's tensors are the model's; see `fit_names`.

    Raises:
        CheckpointError: names, shapes or kinds of numbers differ, or there is more than one way.
    """
    found = fit_names(saved, model)
    if isinstance(found, Mismatch):
        raise CheckpointError(f"{source} does not fit the model: {found.describe()}")
    return found


def match_state(tensors: NamedTensors, model: nn.Module, *, source: str) -> NamedTensors:
    """The checkpoint under the model's own names (parameters, then buffers), in the model's dtypes and device.

    Lazy where the checkpoint is. What the checkpoint has no part in is the model's own. Where modules of the model have
    a part in its `load_state_dict`, the tensors are those that it leaves; see `own_loading`.

    Raises:
        CheckpointError: it does not fit (see `require_fit`), two names of one tied tensor hold different values, or
            a saved copy of what the model makes itself has other values.
    """
    fit = require_fit(shapes_of(tensors), model, source=source)
    if fit.is_converted:
        tensors = converted(tensors, model) or tensors
    targets = {target.name: target for target in targets_of(model)}
    for names in fit.saved.values():
        if any(not _same(tensors, name, names[0]) for name in names[1:]):
            raise CheckpointError(f"{source} has different values in {' and '.join(names)}, which the model ties")
    for name, names in fit.derived.items():
        if not _is_copy(tensors[names[0]], targets[name].tensor):
            raise CheckpointError(
                f"{source} has other values in {names[0]} than the model, which makes it itself: build the model with "
                "the settings of the training"
            )
    own = {name: target.tensor.detach() for name, target in targets.items() if not target.is_derived}
    # A forward pass may write to a buffer; a base model's parameters are left alone, and too large for a copy.
    own |= {name: own[name].clone() for name in fit.from_module if not targets[name].is_parameter}

    def rows(name: str, start: int, stop: int) -> Tensor:
        if name not in fit.saved:
            return rows_of(own, name, start, stop)
        return rows_of(tensors, fit.saved[name][0], start, stop).to(own[name].device, own[name].dtype)

    def whole() -> dict[str, Tensor]:
        return {
            name: tensors[fit.saved[name][0]].to(tensor.device, tensor.dtype) if name in fit.saved else tensor
            for name, tensor in own.items()
        }

    if has_own_loading(model):
        state = whole()
        loaded = as_loaded(
            model, {key: state[name] for name in fit.saved for key in targets[name].names}, source=source
        )
        made = {name: target.tensor for name, target in targets.items() if target.is_derived}
        if changed := [
            name for name, tensor in (state | made).items() if name in loaded and not _equal(loaded[name], tensor)
        ]:
            return state | {name: loaded[name] for name in changed}
    if isinstance(tensors, LazyTensors):
        return LazyTensors({name: tensor.to("meta") for name, tensor in own.items()}, rows)
    return whole()


def _same(tensors: NamedTensors, left: str, right: str) -> bool:
    """Whether all values are equal; NaN, as a diverged training leaves it, equals NaN."""
    for start, stop in row_blocks(shapes_of(tensors)[left]):
        pair = [rows_of(tensors, name, start, stop) for name in (left, right)]
        first, second = (rows.double() if rows.is_floating_point() else rows for rows in pair)
        if not _equal(first, second):
            return False
    return True


def _equal(left: Tensor, right: Tensor) -> bool:
    """Shapes and values; NaN equals NaN."""
    return left.shape == right.shape and bool(((left == right) | ((left != left) & (right != right))).all())


def _is_copy(saved: Tensor, made: Tensor) -> bool:
    """Whether the values are those that the model made, perhaps on another device or in fewer digits."""
    if not (saved.is_floating_point() and made.is_floating_point()):
        return bool((saved == made.cpu()).all())
    digits = max(torch.finfo(tensor.dtype).eps for tensor in (saved, made))
    return torch.allclose(saved.double(), made.cpu().double(), rtol=8 * digits, atol=0.0, equal_nan=True)
