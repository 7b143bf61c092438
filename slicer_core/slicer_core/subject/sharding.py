"""Models that are sharded over devices, which can't be sliced."""

from __future__ import annotations

import sys
from types import ModuleType

from torch import Tensor, nn

from slicer_core.errors import ModuleError


def refuse_sharded(model: nn.Module) -> None:
    """Raises ModuleError where no process holds all of the model's parameters."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    named = [name for name, entry in model.named_parameters() if is_sharded(entry)]
    named += [name or "the model" for name, module in model.named_modules() if _is_wrapped(module, fsdp)]
    if named:
        raise ModuleError(
            f"the model is sharded over devices ({', '.join(named[:3])}{', …' if len(named) > 3 else ''}), and a slice "
            "needs all of it on one, with room for its parameters and one batch's activations: build it without FSDP "
            "or DTensor and load the full weights, which torch.distributed.checkpoint.state_dict.get_model_state_dict "
            "gives with StateDictOptions(full_state_dict=True, cpu_offload=True)"
        )


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a part of one that lies on several devices."""
    # Only a program that shards has imported what it shards with.
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def _is_wrapped(module: nn.Module, fsdp: ModuleType | None) -> bool:
    return fsdp is not None and isinstance(module, fsdp.FullyShardedDataParallel)
