"""Weight decay as a part of the loss: ½λ‖θ‖² at the points of a slice, without visiting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from slicer_core.parameters import NamedTensors, dot
from slicer_core.plan import PointBlock


@dataclass(frozen=True, kw_only=True)
class WeightDecay:
    """½·`strength`·‖θ‖² over the parameters of those names, in float64."""

    strength: float
    names: frozenset[str]

    @classmethod
    def of(cls, model: nn.Module, strength: float) -> WeightDecay:
        """Over the parameters that are not frozen; a tied one counts once."""
        names = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)
        return cls(strength=strength, names=names)

    def at(self, state: NamedTensors) -> float:
        """At a point with these tensors."""
        mine = self._decayed(state)
        return self.strength / 2 * dot(mine, mine)

    def along(self, center: NamedTensors, blocks: Sequence[PointBlock]) -> np.ndarray:
        """At the points of the blocks, one after another, shape (points,).

        θ = θ₀ + Σ αᵢdᵢ gives ‖θ₀‖² + 2·Σ αᵢ⟨θ₀, dᵢ⟩ + Σ αᵢαⱼ⟨dᵢ, dⱼ⟩, so a block costs its inner products alone.
        """
        start = self._decayed(center)
        squared_norm = dot(start, start)
        found = []
        for block in blocks:
            directions = [self._decayed(direction) for direction in block.directions()]
            slopes = np.array([dot(direction, start) for direction in directions])
            products = np.array([[dot(left, right) for right in directions] for left in directions])
            alphas = block.coefficients
            # What overflows is a result like others.
            with np.errstate(all="ignore"):
                found.append(squared_norm + 2 * alphas @ slopes + ((alphas @ products) * alphas).sum(axis=1))
        return self.strength / 2 * np.concatenate(found)

    def _decayed(self, tensors: NamedTensors) -> NamedTensors:
        return {name: tensor for name, tensor in tensors.items() if name in self.names}
