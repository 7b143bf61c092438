"""A permutation of the units of one network that brings its weights as near as may be to those of another.

Ainsworth, Hayase, Srinivasa, "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from slicer_core.connectivity.units import FIXED, UnitGroups
from slicer_core.extra import needing_extra
from slicer_core.parameters import NamedTensors
from slicer_core.philox import random_order

Permutations = Mapping[int, np.ndarray]
"""Group -> p (n,): unit i of the permuted network is unit p[i] of the given one."""

_RESTARTS = 3
_MOST_ROUNDS = 100


def permuted(state: NamedTensors, groups: UnitGroups, permutations: Permutations) -> dict[str, Tensor]:
    """The state with its units in another order: the same function, where `groups` are the network's."""
    return {name: _permuted(tensor, groups.axes.get(name, {}), groups, permutations) for name, tensor in state.items()}


def match_weights(
    target: NamedTensors, state: NamedTensors, groups: UnitGroups, *, seed: int = 0
) -> tuple[dict[int, np.ndarray], float]:
    """Permutations of the units of `state`, and Σ of the products of its permuted parameters with those of `target`.

    Group by group in a random order, the assignment of units that is best while all others stay (by
    `scipy.optimize.linear_sum_assignment`), until none changes: a local optimum. The best of three orders.

    Args:
        target: the parameters that stay.
        state: the parameters to be permuted, of the same names and shapes.
        groups: which units go together.
        seed: of the orders.

    Raises:
        UsageError: scipy is not installed.
    """
    names = [name for name in target if any(group != FIXED for group in groups.axes.get(name, {}).values())]
    ours = {name: target[name].detach().double().cpu() for name in names}
    theirs = {name: state[name].detach().double().cpu() for name in names}
    found = [_descend(ours, theirs, groups, f"{seed}/matching/{restart}") for restart in range(_RESTARTS)]
    return max(found, key=lambda pair: pair[1])


def _descend(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], groups: UnitGroups, stream: str
) -> tuple[dict[int, np.ndarray], float]:
    with needing_extra():
        from scipy.optimize import linear_sum_assignment
    permutations = {group: np.arange(size) for group, size in groups.sizes.items()}
    numbers = list(permutations)
    for sweep in range(_MOST_ROUNDS):
        changed = False
        for index in random_order(f"{stream}/{sweep}", len(numbers)) if numbers else ():
            group = numbers[index]
            products = _products(ours, theirs, groups, permutations, group)
            _, assigned = linear_sum_assignment(products, maximize=True)
            before = products[np.arange(len(products)), permutations[group]].sum()
            gained = products[np.arange(len(products)), assigned].sum() - before
            if gained > 1e-9 * max(1.0, abs(before)):
                permutations[group] = np.asarray(assigned)
                changed = True
        if not changed:
            break
    moved = permuted(theirs, groups, permutations)
    return permutations, sum(float((ours[name] * moved[name]).sum()) for name in ours)


def _products(
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    groups: UnitGroups,
    permutations: Permutations,
    group: int,
) -> np.ndarray:
    """[i, j]: what unit j of theirs in the place of our unit i adds to the sum of products."""
    size = groups.sizes[group]
    total = torch.zeros(size, size, dtype=torch.float64)
    for name, tensor in ours.items():
        own_axes = groups.axes[name]
        for axis, owner in own_axes.items():
            if owner == group:
                others = {other: number for other, number in own_axes.items() if other != axis}
                moved = _permuted(theirs[name], others, groups, permutations)
                total += _by_unit(tensor, axis, size) @ _by_unit(moved, axis, size).T
    return total.numpy()


def _by_unit(tensor: Tensor, axis: int, size: int) -> Tensor:
    return tensor.movedim(axis, 0).reshape(size, -1)


def _permuted(tensor: Tensor, axes: Mapping[int, int], groups: UnitGroups, permutations: Permutations) -> Tensor:
    for axis, group in axes.items():
        if group != FIXED:
            block = tensor.shape[axis] // groups.sizes[group]
            order = (torch.from_numpy(permutations[group])[:, None] * block + torch.arange(block)).reshape(-1)
            tensor = tensor.index_select(axis, order.to(tensor.device))
    return tensor
