"""A chunk of points in one call, by `torch.func.vmap` over the parameters that vary."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import vmap

from slicer_core.evaluate.strategies.batching import quiet_batching
from slicer_core.evaluate.strategies.kernel import ChunkTerms, Kernel
from slicer_core.subject import Batch

_CHUNK_BYTES = 64 * 2**20
_CHUNK_POINTS = 32


class VmapKernel(Kernel):
    """Needs a batching rule for each operation; a model that lacks one raises, and the evaluator takes the loop."""

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`."""

        def at(varied: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
            copies = {name: self.held[name].clone() for name in self.objective.written}
            found = self.objective.holding(self.held | copies | varied, lambda: self.objective.terms(batch))
            return {name: (terms.sums, terms.counts) for name, terms in found.items()}

        with quiet_batching():
            return vmap(at)(self._stacked(points))

    def chunk_size(self, batch: Batch) -> int:
        """Bounded by the bytes of the stacked parameters; activations are a few times that in common networks."""
        size = sum(self.center[name].nbytes for name in self.varying)
        return max(1, min(_CHUNK_POINTS, _CHUNK_BYTES // max(1, size)))

    def _stacked(self, points: slice) -> dict[str, Tensor]:
        stacked = {}
        # A copy to a device of its own memory costs as much as it takes to start an operation or two.
        columns: dict[torch.dtype, Tensor] = {}
        for name in self.varying:
            base = self.center[name]
            values = base.expand(points.stop - points.start, *base.shape).clone()
            for index, direction in enumerate(self.directions):
                if name in direction:
                    # A direction may have more digits than the weights of a model of half precision.
                    dtype = direction[name].dtype
                    if dtype not in columns:
                        columns[dtype] = torch.from_numpy(self.coefficients[points]).to(base.device, dtype)
                    weights = columns[dtype][:, index]
                    values.addcmul_(weights.reshape(-1, *([1] * base.ndim)), direction[name])
            stacked[name] = self.objective.cast(values)
        return stacked
