"""The transforms of inputs and sums by a few lines of C, for a process of one thread where there is a compiler.

They read and write what they transform once, which torch's operations do several times.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from slicer_core.evaluate.winograd.memory import Memory, Sizes
from slicer_core.evaluate.winograd.shape import PRODUCTS, ConvolutionShape

_SOURCE = Path(__file__).with_name("transforms.c")
# The first that the compiler takes; what is not finite is told by arithmetic, whatever `CC` says of it.
_FLAGS = tuple(("-O3", *native, "-fno-fast-math") for native in (("-march=native",), ("-mcpu=native",), ()))
_SECONDS = 60
# Planes that lie a multiple of 4 KB apart would share few places of a cache. A tile that nobody reads parts them; with
# a gap, torch would multiply one pair of matrices after another.
_MORE_TILES = 1


class CompiledTransforms:
    """See `Transforms`."""

    def __init__(self, shape: ConvolutionShape, memory: Memory) -> None:
        library = compiled()
        assert library is not None
        self._library, self._shape = library, shape
        ((self.inputs,), (self.sums,)) = (
            memory.parts(name, shape.dtype, sizes) for name, (sizes,) in self.needs(shape).items()
        )

    @staticmethod
    def needs(shape: ConvolutionShape) -> dict[str, list[Sizes]]:
        """See `Memory`."""
        return {
            "inputs": [[(PRODUCTS, shape.tiles + _MORE_TILES, shape.channels)]],
            "sums": [[(PRODUCTS, shape.tiles + _MORE_TILES, shape.outputs)]],
        }

    def read(self, images: Tensor) -> None:
        """See `Transforms`."""
        shape = self._shape
        if images.stride(3) != 1:
            images = images.contiguous()
        self._library.winograd_inputs(
            images.data_ptr(),
            *images.shape,
            *images.stride()[:3],
            *shape.padding,
            shape.high,
            shape.wide,
            self.inputs.data_ptr(),
            self.inputs.stride(0),
        )

    def write(self, images: Tensor, bias: Tensor | None) -> None:
        """See `Transforms`."""
        shape = self._shape
        # A copy has to stay alive while it is read.
        added = None if bias is None else bias.contiguous()
        place = images if images.stride(3) == 1 else torch.empty_like(images, memory_format=torch.contiguous_format)
        self._library.winograd_outputs(
            self.sums.data_ptr(),
            self.sums.stride(0),
            *place.shape,
            shape.high,
            shape.wide,
            None if added is None else added.data_ptr(),
            place.data_ptr(),
            *place.stride()[:3],
        )
        if place is not images:
            images.copy_(place)


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or it fails."""
    # Whatever is amiss, from quotes in the variable to a full disk, torch's operations do the same.
    with contextlib.suppress(OSError, ValueError):
        compiler = shlex.split(os.environ.get("CC") or "cc")
        if compiler and shutil.which(compiler[0]) is not None:
            return _made_by(compiler)
    return None


def _made_by(compiler: Sequence[str]) -> ctypes.CDLL | None:
    # What is loaded needs its file no more.
    with tempfile.TemporaryDirectory(prefix="loss-slicer-") as folder:
        made = Path(folder) / "transforms.so"
        for flags in _FLAGS:
            command = [*compiler, *flags, "-shared", "-fPIC", str(_SOURCE), "-o", str(made)]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
                return _declared(ctypes.CDLL(str(made)))
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    number, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    library.winograd_inputs.argtypes = [pointer, *[number] * 11, pointer, number]
    library.winograd_outputs.argtypes = [pointer, *[number] * 7, pointer, pointer, *[number] * 3]
    library.winograd_inputs.restype = library.winograd_outputs.restype = None
    return library
