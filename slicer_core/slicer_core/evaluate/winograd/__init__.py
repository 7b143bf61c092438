"""Convolutions of 3 by 3 in a quarter of the multiplications, by Winograd's minimal filtering F(4×4, 3×3).

Lavin and Gray, 2016, https://arxiv.org/abs/1509.09308: tiles d of 6 by 6 inputs and filters g are transformed to BᵀdB
and GgGᵀ, multiplied entry by entry and summed over the channels, which is 36 matrix products, and AᵀmA of the sums m
are 4 by 4 outputs. Rounding is four to six times that of the usual way: up to 2e-6 of the outputs in float32.
"""

from slicer_core.evaluate.winograd.by_compiler import compiled
from slicer_core.evaluate.winograd.convolution import (
    FEWEST_CHANNELS,
    saves_products,
    tiled_convolutions_of,
)
from slicer_core.evaluate.winograd.shape import ConvolutionShape
from slicer_core.evaluate.winograd.tiled_convolution import TiledConvolution

__all__ = [
    "FEWEST_CHANNELS",
    "ConvolutionShape",
    "TiledConvolution",
    "compiled",
    "saves_products",
    "tiled_convolutions_of",
]
