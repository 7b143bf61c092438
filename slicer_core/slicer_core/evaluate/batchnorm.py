"""BatchNorm's running statistics away from the center: kept, moved along, or estimated anew at each point."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # the common base of all kinds; it has no public name

from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.strategies.loop import LoopKernel
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch


def running_statistics(model: nn.Module) -> list[str]:
    """The names of all running statistics of BatchNorm layers, tied ones once; empty where the model has none."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    own = {id(buffer) for layer in layers for buffer in layer.buffers(recurse=False)}
    return [name for name, buffer in model.named_buffers() if id(buffer) in own]


def recomputed_statistics(
    objective: Objective, center: NamedTensors, blocks: Sequence[PointBlock], batches: Callable[[], Iterable[Batch]]
) -> list[dict[str, Tensor]]:
    """Running statistics of each point as the plain average over the batches, one dictionary a point.

    As `torch.optim.swa_utils.update_bn` does it (Izmailov et al., "Averaging weights leads to wider optima", UAI
    2018), but with BatchNorm alone in train mode, so that dropout stays off.
    """
    names = running_statistics(objective.model)
    found: list[dict[str, Tensor]] = []
    for block in blocks:
        fresh = fresh_statistics(objective.model, center)
        kernel = LoopKernel(objective, {**center, **fresh}, block, [fresh] * len(block.coefficients))
        with averaging(objective.model):
            found += [kernel.after_passes(point, batches(), names) for point in range(len(block.coefficients))]
    return found


def fresh_statistics(model: nn.Module, center: NamedTensors) -> dict[str, Tensor]:
    """What an average starts from: it has no weight in it, unless it is not finite."""
    return {
        name: torch.ones_like(center[name]) if name.endswith("running_var") else torch.zeros_like(center[name])
        for name in running_statistics(model)
    }


@contextlib.contextmanager
def averaging(model: nn.Module) -> Iterator[None]:
    """BatchNorm in train mode with a cumulative average; modes and momenta are put back."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    before = [(layer.training, layer.momentum) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.momentum = True, None
        yield
    finally:
        for layer, (training, momentum) in zip(layers, before, strict=True):
            layer.training, layer.momentum = training, momentum
