"""What an operation does besides giving a result that its arguments alone decide, by what torch says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload  # what is dispatched; torch gives it no public name

# Operations that can drop out do so only where one of these arguments, in this order, is not zero or false.
_RANDOM_SWITCHES = ("train", "training", "dropout_p")
# Norms update running statistics where one of these is true, which their schemas don't say.
_TRAINING_SWITCHES = ("training", "use_input_stats")
# Sizes of these results are values of their arguments, which their tags don't say.
_SIZED_BY_VALUES = (
    torch.ops.aten._pack_padded_sequence.default,
    torch.ops.aten._pad_packed_sequence.default,
    torch.ops.aten.segment_reduce.default,
    torch.ops.aten.tensor_split.tensor_indices_or_sections,
)
_MASKS = (torch.bool, torch.uint8)


def effect(function: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """That the call changes what the model holds, or is random; None where it does not, or writes to an argument.

    Tensors among the arguments may be nodes of a graph.
    """
    schema = function._schema
    defaults = {argument.name: argument.default_value for argument in schema.arguments}
    given = defaults | dict(zip(defaults, args, strict=False)) | dict(kwargs)
    if given.get("running_mean") is not None and any(given.get(switch) for switch in _TRAINING_SWITCHES):
        return f"the model changes its running statistics by {schema.name}"
    if torch.Tag.nondeterministic_seeded in function.tags and not _is_still(given):
        return f"the model draws random numbers by {schema.name}"
    return None


def reads_values(function: OpOverload, args: Sequence[Any]) -> bool:
    """Whether values of tensors may decide the result's size, or be given to Python."""
    if function is torch.ops.aten.index.Tensor:
        return any(isinstance(index, Tensor) and index.dtype in _MASKS for index in args[1])
    tags = function.tags
    if torch.Tag.dynamic_output_shape in tags or torch.Tag.data_dependent_output in tags:
        return True
    return function in _SIZED_BY_VALUES


def _is_still(given: Mapping[str, Any]) -> bool:
    switch = next((given[name] for name in _RANDOM_SWITCHES if name in given), True)
    return not isinstance(switch, fx.Node) and not switch
