"""Parameters that share memory under several names without being tied, which a slice moves apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SHOWN = 3


def one_memory_note(model: nn.Module) -> str | None:
    """What a person should know of such parameters, None where there are none.

    `head.weight.data = embedding.weight.data` makes them. A training's steps, which write into tensors, move both at
    once; a point of a slice has a tensor of its own for each.
    """
    names: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters():
        if address := _address(tensor):
            names.setdefault(address, []).append(name)
    for name, buffer in model.named_buffers():
        if (address := _address(buffer)) in names:
            names[address].append(name)
    found = [" and ".join(group) for group in names.values() if len(group) > 1]
    if not found:
        return None
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"{', '.join(found[:_SHOWN])}{more} share memory, but are not one parameter, so a slice moves each on its own: "
        "assign one to the other's name, as in head.weight = embedding.weight, where they are meant to be tied"
    )


def _address(tensor: Tensor) -> int:
    """Where the tensor's first entry is; 0 where it has none, or is made of other tensors."""
    if tensor.layout is not torch.strided:
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return 0
