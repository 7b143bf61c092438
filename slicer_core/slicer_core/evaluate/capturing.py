"""What a capture takes, measured on two cores."""

from __future__ import annotations

import sys

from torch import nn

CAPTURE_PASSES = 6
"""Of the model: the graph, its parts and their check, and the trial of it take as long as so many."""

# Beside them, in seconds, and what each module adds that has none below it. Where a graph has to be exported, the first
# one imports much.
_RECORDING_SECONDS = 0.005
_RECORDING_SECONDS_A_MODULE = 0.001
_FIRST_EXPORT_SECONDS = 1.5
_EXPORT_SECONDS = 0.05
_EXPORT_SECONDS_A_MODULE = 0.01
# A layer of a recurrent network is gone through step by step, and takes as long as so many modules.
_MODULES_A_RECURRENT_LAYER = 20


def seconds_to_record(model: nn.Module) -> float:
    """Beside the passes, where the model can be recorded."""
    return _RECORDING_SECONDS + sum(map(_modules_in, model.modules())) * _RECORDING_SECONDS_A_MODULE


def seconds_to_export(model: nn.Module) -> float:
    """Beside the passes, where it has to be exported."""
    seconds = _EXPORT_SECONDS + sum(map(_modules_in, model.modules())) * _EXPORT_SECONDS_A_MODULE
    return seconds if "torch._dynamo" in sys.modules else seconds + _FIRST_EXPORT_SECONDS


def _modules_in(module: nn.Module) -> int:
    """What the module itself adds, in modules of the usual kind."""
    if isinstance(module, nn.RNNBase):
        return _MODULES_A_RECURRENT_LAYER * module.num_layers * (2 if module.bidirectional else 1)
    return 1 if next(module.children(), None) is None else 0
