"""A `transformers` model with the data of its training as a `ModelWrapper`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from slicer_core.errors import ModuleError
from slicer_core.subject.huggingface import classification_loss, next_token_loss
from slicer_core.subject.in_order import in_order
from slicer_core.subject.losses import LossSum
from slicer_core.subject.wrapper import ModelWrapper


def from_transformers(
    model: nn.Module,
    *,
    train_data: Any = None,
    test_data: Any = None,
    batch_loss: Callable[[nn.Module, Any], Tensor | LossSum] | None = None,
    device: torch.device | str | None = None,
) -> ModelWrapper:
    """The model with the library's loss: of the next token, of a text's class, or the one that its forward returns.

    Args:
        model: a `PreTrainedModel`, or one of PEFT around it.
        train_data, test_data: loaders whose batches are dictionaries of the model's inputs, or what else
            `ModelWrapper` takes. A shuffled loader, as the Trainer makes it, is read in order, whole.
        batch_loss, device: see `ModelWrapper`.

    Raises:
        ModuleError: there is no data.
    """
    data = {"train_data": in_order(train_data, dict), "test_data": in_order(test_data, dict), "device": device}
    return ModelWrapper(model, batch_loss=batch_loss or _own_loss(model), **data)


def _own_loss(model: Any) -> Callable[[nn.Module, Any], Tensor | LossSum]:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = getattr(inner, "config", None)
    if _is_listed(inner, "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"):
        return next_token_loss
    one_label = getattr(config, "problem_type", None) in (None, "single_label_classification")
    classifies = one_label and getattr(config, "num_labels", 0) > 1
    if classifies and _is_listed(inner, "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"):
        return classification_loss
    return _returned_loss


def _is_listed(model: Any, table: str) -> bool:
    """Whether the library has the model's class, or one that it derives from, in one of its tables of classes."""
    names = set(getattr(importlib.import_module("transformers.models.auto.modeling_auto"), table).values())
    return any(kind.__name__ in names for kind in type(model).__mro__)


def _returned_loss(model: nn.Module, batch: Any) -> Tensor:
    loss = getattr(model(**batch), "loss", None)
    if loss is None:
        raise ModuleError(
            f"{type(model).__name__} returns no loss for a batch with {', '.join(map(str, batch))}: give data with "
            "labels, or batch_loss"
        )
    return loss
