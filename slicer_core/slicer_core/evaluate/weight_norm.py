"""Weight normalization where it is differentiated twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm  # torch has no public name for it
from torch.overrides import TorchFunctionMode

from slicer_core.evaluate.uncompiled import uncompiled

_FUSED = attrgetter("_weight_norm")(torch)


@contextlib.contextmanager
def composed_weight_norm(model: nn.Module) -> Iterator[None]:
    """The weight w = g·v/‖v‖ by operations of its own: the second derivatives of torch's one for it are wrong.

    Its gradient takes ‖v‖ for a constant, so what depends on v twice is missing in the Hessian (torch 2.13).
    """
    if any(map(_is_normalized, model.modules())):
        with uncompiled(), _Composed():
            yield
    else:
        yield


def _is_normalized(module: nn.Module) -> bool:
    # The older way is a hook, whose class is hidden by the function of that name.
    return isinstance(module, _WeightNorm) or any(
        type(hook).__name__ == "WeightNorm" for hook in module._forward_pre_hooks.values()
    )


class _Composed(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_composed if func is _FUSED else func)(*args, **(kwargs or {}))


def _composed(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))
