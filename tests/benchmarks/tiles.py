"""Convolutions of 3 by 3 by Winograd's tiles against torch's own, in a process of one thread.

For each size: the best of several runs of each in turns, and the rounding of both, as the root of the mean square of
what differs from float64 over that of the outputs.

    python tests/benchmarks/tiles.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import machine
from slicer_core.evaluate.winograd import ConvolutionShape, compiled, convolution, tiled_convolutions_of

# Channels in and out, height and width, images: the stages of ResNet-20 and of ResNet-18 for CIFAR.
_SIZES = ((16, 32, 32), (32, 16, 32), (64, 8, 32), (64, 32, 8), (128, 16, 8), (256, 8, 16), (512, 4, 32))
_ROUNDS = 15


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    here = machine.this_machine("cpu", tuned=False)
    print(", ".join(f"{name} {value}" for name, value in here.describe().items()))
    print(f"a C compiler: {'yes' if compiled() is not None else 'no'}")
    print(f"{'channels':>8} {'size':>6} {'images':>6}  {'torch ms':>8} {'tiles ms':>8} {'by torch':>8}", end="")
    print(f"  {'rounding':>8} {'of tiles':>8}")
    with torch.inference_mode():
        for channels, size, images in _SIZES:
            _row(channels, size, images)


def _row(channels: int, size: int, images: int) -> None:
    like = {"memory_format": torch.channels_last}
    x = torch.randn(images, channels, size, size).relu_().contiguous(**like)
    weight = (torch.randn(channels, channels, 3, 3) / (9 * channels) ** 0.5).contiguous(**like)
    bias, out = torch.randn(channels), torch.empty_like(x)
    shape = ConvolutionShape(
        images=images,
        channels=channels,
        height=size,
        width=size,
        outputs=channels,
        padding=(1, 1),
        dtype=x.dtype,
    )
    (tiled,) = tiled_convolutions_of([shape])
    made, convolution.compiled = convolution.compiled, lambda: None
    (by_torch,) = tiled_convolutions_of([shape])
    convolution.compiled = made
    runs: list[Callable[[], Tensor]] = [
        lambda: F.conv2d(x, weight, bias, padding=1),
        lambda: tiled(x, tiled.filters_of(weight), bias, out=out),
        lambda: by_torch(x, by_torch.filters_of(weight), bias, out=out),
    ]
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    roundings = [_rms(run().double() - exact) / _rms(exact) for run in runs[:2]]
    best = [float("inf")] * len(runs)
    for _ in range(_ROUNDS):
        for number, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[number] = min(best[number], time.perf_counter() - start)
    times = " ".join(f"{1e3 * seconds:8.2f}" for seconds in best)
    print(f"{channels:8} {size:3}×{size:<2} {images:6}  {times}  " + " ".join(f"{value:8.0e}" for value in roundings))


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


if __name__ == "__main__":
    main()
