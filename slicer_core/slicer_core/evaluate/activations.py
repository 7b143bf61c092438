"""How large the largest intermediate tensor of the model is for one sample."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree  # the flattening that torch.export itself uses

from slicer_core.evaluate.layout import first_samples
from slicer_core.evaluate.modes import DispatchMode
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.uncompiled import uncompiled
from slicer_core.parameters import NamedTensors
from slicer_core.subject import Batch, copied

_FEW = 4


def bytes_a_sample(objective: Objective, state: NamedTensors, batch: Batch) -> int:
    """What a sample more adds to the largest result of an operation, from runs on a few of a batch.

    0 where the model does not run on a few: it is made for one size of batches.
    """
    few = first_samples(batch, _FEW)
    fewer = first_samples(batch, max(1, few.num_samples // 2))
    try:
        large, small = _result_bytes(objective, state, few), _result_bytes(objective, state, fewer)
    except Exception:  # noqa: BLE001 - whatever the model's code raises, and it runs on the whole batch
        return 0
    if few.num_samples == fewer.num_samples:
        return max(large, default=0) // few.num_samples
    if len(large) != len(small):
        return max(large, default=0) // few.num_samples
    # What does not grow with the batch is computed from weights alone.
    grown = max((more - less for more, less in zip(large, small, strict=True)), default=0)
    return grown // (few.num_samples - fewer.num_samples)


def _result_bytes(objective: Objective, state: NamedTensors, batch: Batch) -> list[int]:
    held, given = objective.unharmed(state), Batch(data=copied(batch.data), num_samples=batch.num_samples)
    with uncompiled(), _Results() as results:
        objective.holding(held, lambda: objective.terms(given))
    return results.sizes


class _Results(DispatchMode):
    """Notes the bytes of what each operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.sizes.append(sum(leaf.nbytes for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)))
        return result
