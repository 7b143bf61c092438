"""Eval mode, for a model that others' tensors are put into."""

from __future__ import annotations

import torch
from torch import nn


def enter_eval_mode(model: nn.Module) -> None:
    """`model.eval()`, but where a module's own code for it writes to tensors, as one that merges adapters into weights.

    Other tensors are put in the places of such a module's own, so it is to compute with what it has, unmerged. What
    such a module has kept in eval mode, made of its weights of then, it lets go where it goes through train mode.
    """
    own = [
        module
        for module in model.modules()
        if type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval
    ]
    tensors = {id(tensor): tensor for module in own for tensor in (*module.parameters(), *module.buffers())}
    if not tensors:
        model.eval()
        return
    kept = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    for module in own:
        if not module.training:
            module.train()
    model.eval()
    with torch.no_grad():
        written = [
            (tensor, before)
            for tensor, before in kept
            if not torch.equal(tensor.detach().nan_to_num(), before.nan_to_num())
        ]
        for tensor, before in written:
            tensor.data.copy_(before)
    if written:
        for module, before in attributes:
            vars(module).clear()
            vars(module).update(before)
            module.training = False
