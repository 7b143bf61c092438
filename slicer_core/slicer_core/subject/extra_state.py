"""What modules save besides their tensors (`get_extra_state`), which is not taken from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

_NAME = "_extra_state"


def other_extra_state(saved: Mapping[str, Any], model: nn.Module) -> str | None:
    """What is wrong where a checkpoint has another state than the model; None where it has not.

    State that is a tensor by itself is compared with the tensors.
    """
    if not saved:
        return None
    for name, own in model.state_dict(keep_vars=True).items():
        if name.rpartition(".")[2] != _NAME or isinstance(own, Tensor):
            continue
        # Trainers and wrappers put prefixes before it.
        there = next((key for key in saved if key == name or key.endswith(f".{name}")), None)
        if there is not None and not _equal(saved[there], own):
            return (
                f"{there} is {_short(saved[there])}, the model's is {_short(own)}, and of a checkpoint only tensors "
                "are taken: give the model that state (set_extra_state) before it is wrapped"
            )
    return None


def _equal(left: Any, right: Any) -> bool:
    (lefts, left_form), (rights, right_form) = pytree.tree_flatten(left), pytree.tree_flatten(right)
    return left_form == right_form and all(map(_same, lefts, rights))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            return False
        return left.dtype == right.dtype and torch.equal(left.cpu(), right.cpu())
    try:
        return bool(left == right) or bool(left != left and right != right)
    except Exception:  # noqa: BLE001 - of arrays and the like it is not one answer
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
