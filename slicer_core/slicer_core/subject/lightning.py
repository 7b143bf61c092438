"""A Lightning module with its data as a `ModelWrapper`, for `lightning` and `pytorch_lightning` alike.

Nothing of Lightning is imported: what the user's objects have is asked of them.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slicer_core.errors import ModuleError
from slicer_core.subject.in_order import in_order
from slicer_core.subject.losses import LossSum
from slicer_core.subject.user_code import user_code
from slicer_core.subject.wrapper import ModelWrapper

STEPS = ("training_step", "validation_step", "test_step")
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_LOGGING = ("log", "log_dict", "print")


def from_lightning(
    module: nn.Module,
    datamodule: Any = None,
    *,
    train_data: Any = None,
    test_data: Any = None,
    step: str = "training_step",
    loss_fn: Callable[..., Any] | None = None,
    metrics: Mapping[str, Callable[[Any, Any], Tensor]] | None = None,
    device: torch.device | str | None = None,
) -> ModelWrapper:
    """The module with the loss that its `step` returns, or `loss_fn(module(inputs…), target)` where that is given.

    The data are those of the datamodule's training and validation loaders (its `prepare_data` and `setup("fit")` are
    run), of the module's own loaders without one, or those given. A shuffled loader is read in order, whole. What the
    step logs goes nowhere, and no trainer is there.

    Args:
        module: a `LightningModule`.
        datamodule: a `LightningDataModule`, or anything with its methods.
        train_data, test_data: loaders, datasets or what else `ModelWrapper` takes, in place of the loaders.
        step: which step's loss is taken: a tensor, or a dictionary with it under `loss`.
        loss_fn, metrics, device: see `ModelWrapper`.

    Raises:
        ModuleError: the module has no such step or optimizes by hand, or there is no data.
        UserCodeError: the datamodule raised.
    """
    if not isinstance(module, nn.Module):
        raise ModuleError(f"module is a {type(module).__name__}, expected a LightningModule")
    if train_data is None and test_data is None:
        train_data, test_data = _loaders(datamodule if datamodule is not None else module)
    data = {"train_data": in_order(train_data), "test_data": in_order(test_data), "device": device}
    if loss_fn is not None:
        return ModelWrapper(module, loss_fn, metrics=metrics, **data)
    return ModelWrapper(module, metrics=metrics, batch_loss=_StepLoss(module, step), **data)


class _StepLoss:
    """`batch_loss(model, batch)` by one of the module's steps, without a trainer."""

    def __init__(self, module: nn.Module, step: str) -> None:
        function = getattr(module, step, None)
        if step not in STEPS or not callable(function):
            raise ModuleError(
                f"{type(module).__name__} has no {step!r}: give step one of {', '.join(STEPS)}, or loss_fn"
            )
        if not getattr(module, "automatic_optimization", True):
            raise ModuleError(
                f"{type(module).__name__} optimizes by hand (automatic_optimization=False), so its {step} would change "
                "its parameters: give loss_fn, or a ModelWrapper with batch_loss"
            )
        self._step = step
        self._indices, self._options = _index_arguments(function)

    def __call__(self, model: nn.Module, batch: Any) -> Tensor | LossSum:
        with _without_logging(model):
            found = getattr(model, self._step)(batch, *self._indices, **self._options)
        loss = found.get("loss") if isinstance(found, Mapping) else found
        if not isinstance(loss, (Tensor, LossSum)):
            raise ModuleError(
                f"{self._step} of {type(model).__name__} returned {type(found).__name__} without a loss: return the "
                "loss, or a dictionary with it under 'loss'; or give step or loss_fn"
            )
        return loss


def _index_arguments(step: Callable[..., Any]) -> tuple[tuple[int, ...], dict[str, int]]:
    """Zeros for what a step takes beside the batch: the batch's index in the second place, whatever its name.

    So `lightning.pytorch.utilities.signature_utils.is_param_in_hook_signature` has it.
    """
    parameters = inspect.signature(step).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    second = [name for name, kind in zip(parameters, kinds, strict=True) if kind in _BY_POSITION][1:2]
    takes_index = inspect.Parameter.VAR_POSITIONAL in kinds or (second and second != ["dataloader_idx"])
    by_name = [name for name in ("batch_idx", "dataloader_idx") if name in parameters and [name] != second]
    by_name += [name for name in second if not takes_index]
    return ((0,) if takes_index else ()), dict.fromkeys(by_name, 0)


@contextlib.contextmanager
def _without_logging(model: nn.Module) -> Iterator[None]:
    """Logging goes nowhere, and torchmetrics that the step feeds are as before afterwards."""
    own = {name: vars(model)[name] for name in _LOGGING if name in vars(model)}
    metrics = [part for part in model.modules() if hasattr(part, "_update_count") and hasattr(part, "_defaults")]
    before = [(part, {name: _copied(value) for name, value in vars(part).items()}) for part in metrics]
    vars(model).update(dict.fromkeys(_LOGGING, _nothing))
    try:
        yield
    finally:
        for name in _LOGGING:
            vars(model).pop(name, None)
        vars(model).update(own)
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return list(value) if isinstance(value, list) else value


def _nothing(*_args: Any, **_options: Any) -> None:
    pass


def _loaders(owner: Any) -> tuple[Any, Any]:
    """The training and the validation loader, the first of several of the latter; None where there is none."""
    with user_code(f"setting up the data of {type(owner).__name__}"):
        for name, arguments in (("prepare_data", ()), ("setup", ("fit",))):
            if _is_written(owner, name):
                getattr(owner, name)(*arguments)
        found = [
            getattr(owner, name)() if _is_written(owner, name) else None
            for name in ("train_dataloader", "val_dataloader")
        ]
    train, validation = found
    if isinstance(validation, (list, tuple)):
        validation = validation[0] if validation else None
    if train is None and validation is None:
        raise ModuleError(
            f"{type(owner).__name__} gives no data: give a datamodule with train_dataloader(), or train_data"
        )
    return train, validation


def _is_written(owner: Any, name: str) -> bool:
    """Whether the user wrote the hook; Lightning's own raise, or do nothing."""
    hook = getattr(owner, name, None)
    return callable(hook) and not str(getattr(hook, "__module__", "")).endswith("core.hooks")
