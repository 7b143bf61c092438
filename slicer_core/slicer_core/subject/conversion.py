"""Checkpoints of `transformers` models whose files have other names or layouts than the model has in memory.

Since its version 5 the library renames tensors when it reads a file, and stacks such as the experts of a mixture, by a
table of rules for each architecture. Those rules are applied here to tensors that our own readers give.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slicer_core.parameters import LazyTensors, NamedTensors, rows_of, shapes_of


def converted(tensors: NamedTensors, model: nn.Module) -> NamedTensors | None:
    """The tensors under the names and in the layouts that a `transformers` model has; lazy where names alone change.

    None where the model is another one, or the library's rules do not apply to these tensors.
    """
    like = {name: torch.empty_like(tensor, device="meta") for name, tensor in shapes_of(tensors).items()}
    names = {id(tensor): name for name, tensor in like.items()}
    found = _converted(like, model)
    if found is None or set(found) == set(like):
        return None
    renamed = {name: names[id(tensor)] for name, tensor in found.items() if id(tensor) in names}
    if len(renamed) < len(found):
        return _converted({name: tensors[name] for name in like}, model)
    if isinstance(tensors, LazyTensors):
        return LazyTensors(found, lambda name, start, stop: rows_of(tensors, renamed[name], start, stop))
    return {name: tensors[old] for name, old in renamed.items()}


def _converted(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor] | None:
    library: Any = sys.modules.get("transformers")
    # Only a program that has such a model has imported what makes it.
    if library is None or not isinstance(model, library.PreTrainedModel):
        return None
    own: Any = model
    try:
        conversion_mapping = importlib.import_module("transformers.conversion_mapping")
        core_model_loading = importlib.import_module("transformers.core_model_loading")

        rules = conversion_mapping.get_model_conversion_mapping(own)
        renamings = [rule for rule in rules if isinstance(rule, core_model_loading.WeightRenaming)]
        converters = [rule for rule in rules if isinstance(rule, core_model_loading.WeightConverter)]
        by_pattern = {pattern: rule for rule in converters for pattern in rule.source_patterns}
        parts: dict[str, Any] = {}
        for name in sorted(tensors, key=core_model_loading.dot_natural_key):
            new, pattern = core_model_loading.rename_source_key(name, renamings, converters)
            if pattern is None:
                parts[new] = core_model_loading.WeightRenaming(name, new)
            elif new not in parts:
                parts[new] = copy.deepcopy(by_pattern[pattern])
            parts[new].add_tensor(new, name, pattern or name, tensors[name])
        found: dict[str, Tensor] = {}
        for name, part in parts.items():
            for full, value in part.convert(name, model=own, config=own.config).items():
                (found[full],) = value if isinstance(value, list) else (value,)
    except Exception:  # noqa: BLE001 - an older library, or tensors that its rules do not fit: they stay as they are
        return None
    return found
