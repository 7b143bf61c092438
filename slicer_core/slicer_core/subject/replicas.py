"""Models whose copies in other processes are kept alike, evaluated in this process alone."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def leave_other_processes_alone(model: nn.Module) -> None:
    """A pass goes by what `DistributedDataParallel` adds, which sends buffers and prepares a backward pass for all.

    The other processes take no part in a slice, or run another number of passes, so each would wait for what nobody
    sends. What is set here are attributes of the modules, for who evaluates to put back.
    """
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            # Past nn.Module's own assignment, which would make a second child of it.
            vars(module)["forward"] = module.module
