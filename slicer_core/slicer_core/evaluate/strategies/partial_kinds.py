"""The kinds of partial evaluation, by the name of the strategy."""

from __future__ import annotations

from collections.abc import Mapping

from slicer_core.evaluate.strategies.partial import PartialKernel
from slicer_core.evaluate.strategies.partial_compiled import PartialCompiledKernel
from slicer_core.evaluate.strategies.partial_cudagraph import PartialCudaGraphKernel
from slicer_core.evaluate.strategies.partial_native import PartialNativeKernel
from slicer_core.evaluate.strategies.partial_vmap import PartialVmapKernel
from slicer_core.evaluate.strategies.partial_vmap_compiled import PartialVmapCompiledKernel
from slicer_core.evaluate.strategies.partial_vmap_cudagraph import PartialVmapCudaGraphKernel
from slicer_core.evaluate.strategies.partial_winograd import PartialWinogradKernel

PARTIAL_KINDS: Mapping[str, type[PartialKernel]] = {
    "partial": PartialKernel,
    "partial-vmap": PartialVmapKernel,
    "partial-native": PartialNativeKernel,
    "partial-winograd": PartialWinogradKernel,
    "partial-compiled": PartialCompiledKernel,
    "partial-vmap-compiled": PartialVmapCompiledKernel,
    "partial-cudagraph": PartialCudaGraphKernel,
    "partial-vmap-cudagraph": PartialVmapCudaGraphKernel,
}
