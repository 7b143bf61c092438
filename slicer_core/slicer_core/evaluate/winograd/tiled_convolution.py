"""What convolutions by tiles have in common, whichever way they are done."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property

from torch import Tensor

from slicer_core.evaluate.native import Memory, Sizes
from slicer_core.evaluate.winograd.shape import ConvolutionShape


class TiledConvolution(ABC):
    """Convolutions of one shape."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        self._shape, self._memory = shape, memory

    @staticmethod
    @abstractmethod
    def filter_sizes(shape: ConvolutionShape) -> tuple[int, ...]:
        """Of what `filters_of` gives."""

    @staticmethod
    @abstractmethod
    def scratch(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """What else is written to: see `Memory`."""

    @classmethod
    def needs(cls, shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """All that is written to: see `Memory`."""
        return {"filters": [[cls.filter_sizes(shape)]], **cls.scratch(shape)}

    @property
    def filter_bytes(self) -> int:
        """What `filters_of` gives takes."""
        return self._shape.dtype.itemsize * math.prod(self.filter_sizes(self._shape))

    @cached_property
    def _filters(self) -> Tensor:
        """Where those of weights that move are written; there may be none."""
        (place,) = self._memory.parts("filters", self._shape.dtype, [self.filter_sizes(self._shape)])
        return place

    def filters_of(self, weight: Tensor, *, kept: bool = False) -> Tensor:
        """The transform of a weight of shape (outputs, channels, 3, 3).

        In memory that the next convolution writes to, or where it is `kept`, in memory of its own.
        """
        place = weight.new_empty(self.filter_sizes(self._shape)) if kept else self._filters
        self._transform(weight, place)
        return place

    def __call__(
        self,
        x: Tensor,
        filters: Tensor,
        bias: Tensor | None,
        *,
        out: Tensor,
        added: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """Writes the convolution to `out`, and what follows it.

        Outputs that are not finite make at least their image NaN: sums of inputs may overflow where no output would,
        and after an activation what is left of that could look like a number.

        Args:
            x: images, of shape (images, channels, height, width), quickest where channels are last in memory.
            filters: the weight's, by `filters_of`.
            bias: of shape (outputs,).
            out: of shape (images, outputs, out_height, out_width).
            added: what is added to that, of the same shape.
            relu: whether what is then below zero becomes zero.
        """
        more = None if added is None else added.permute(0, 2, 3, 1)
        self._convolve(x.permute(0, 2, 3, 1), filters, bias, more, relu, out.permute(0, 2, 3, 1))
        return out

    @abstractmethod
    def _transform(self, weight: Tensor, place: Tensor) -> None: ...

    @abstractmethod
    def _convolve(
        self, given: Tensor, filters: Tensor, bias: Tensor | None, added: Tensor | None, relu: bool, made: Tensor
    ) -> None:
        """As a call, with images of shape (images, height, width, channels)."""
