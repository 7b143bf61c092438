"""Which strategy runs a block on a batch: the one that was asked for, or the loop where it does not apply or differs.

Each batch is held against the loop, which runs the user's own forward, at one point off the center.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Sequence

import torch

from slicer_core.errors import SlicerError
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.strategies import (
    Kernel,
    LoopKernel,
    PartialKernel,
    Session,
    Traces,
    VmapKernel,
    bytes_a_sample,
    split_batch,
)
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError
from slicer_core.evaluate.trace import batch_tensors
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import LOSS, Batch, ModelWrapper

# The rounding of a strategy against the loop's, by the precision of the sums of a batch.
_RELATIVE = {torch.float64: 1e-9}
_DEFAULT_RELATIVE = 1e-4
_ABSOLUTE = 1e-6
# A capture pays where the loop alone would take several times as long: seconds of both, measured on two cores.
_FIRST_CAPTURE_SECONDS = 1.5
_CAPTURE_SECONDS = 0.5
_WORTH = 2.0
# Parts of a batch keep the largest activation near this, on a CPU; smaller ones cost more calls than they save misses.
_CACHE_BYTES = 4 * 2**20
_MIN_PART = 16

_TRACES: weakref.WeakKeyDictionary[ModelWrapper, dict[torch.dtype | None, Traces]] = weakref.WeakKeyDictionary()


class StrategyChoice:
    """Gives kernels for blocks and batches, and remembers what was used and why something was given up."""

    def __init__(
        self, name: str, wrapper: ModelWrapper, objective: Objective, state: NamedTensors, dtype: torch.dtype | None
    ) -> None:
        self._name = name
        self._wrapper = wrapper
        self._part_size = sys.maxsize
        self._objective = objective
        self._state = state
        traces = _TRACES.setdefault(wrapper, {}).setdefault(dtype, Traces())
        self._session = Session(traces)
        self._used: dict[str, int] = {}
        self._reasons: dict[str, None] = {}
        self._given_up: set[frozenset[str]] = set()

    @property
    def strategy(self) -> str:
        """The strategies that ran, the most used first."""
        return "+".join(sorted(self._used, key=lambda name: -self._used[name])) or "loop"

    @property
    def reason(self) -> str | None:
        """Why a strategy was given up, or None."""
        return "; ".join(self._reasons) or None

    def settle(self, batch: Batch, blocks: Sequence[PointBlock], repeats: float) -> None:
        """Resolves `auto` once: the loop where all of the evaluation is shorter than a capture would take.

        `repeats`: how many times as much of the same is to come, other batches and other slices together.
        """
        if self._name == "auto":
            self._name = "partial" if self._pays(batch, blocks, repeats) else "loop"
        if self._name == "partial" and blocks and _is_splittable(self._wrapper, batch):
            try:
                size = bytes_a_sample(self._session.traces, self._objective, self._state, batch)
            except CannotEvaluateError:
                return
            self._part_size = max(_MIN_PART, _CACHE_BYTES // max(1, size))

    def parts(self, batch: Batch) -> list[Batch]:
        """The batch in parts whose activations fit a core's cache, where the loss is a sum over its samples."""
        if self._part_size >= batch.num_samples or not _is_splittable(self._wrapper, batch):
            return [batch]
        return split_batch(batch, self._part_size)

    def _pays(self, batch: Batch, blocks: Sequence[PointBlock], repeats: float) -> bool:
        if not blocks or self._session.traces.tracer.knows(batch):
            return True
        kernel = LoopKernel(self._objective, self._state, blocks[0])
        kernel.terms(batch, slice(0, 1))
        start = time.perf_counter()
        kernel.terms(batch, slice(0, 1))
        loop = (time.perf_counter() - start) * sum(len(block.coefficients) for block in blocks) * repeats
        capture = _CAPTURE_SECONDS if "torch._dynamo" in sys.modules else _FIRST_CAPTURE_SECONDS
        if loop > _WORTH * capture:
            return True
        self._reasons["the job is too short to pay for a capture"] = None
        return False

    def kernel(
        self, block: PointBlock, batch: Batch, buffers: Sequence[NamedTensors] | None, *, probe: int | None
    ) -> Kernel:
        """The kernel for a block on a batch; `probe` is the seed of the point that is checked, None for no check."""
        kernel = None
        varied = frozenset(name for direction in block.directions() for name in direction)
        if self._name != "loop" and varied not in self._given_up:
            try:
                kernel = self._create(block, buffers)
                if probe is not None:
                    self._check(kernel, block, batch, probe)
            except (SlicerError, CannotEvaluateError, RuntimeError, ValueError, TypeError, IndexError) as error:
                text = str(error.__cause__ or error).strip()
                shown = text.splitlines()[0][:200] if text else type(error).__name__
                self._reasons[f"{self._name}: {shown}"] = None
                self._given_up.add(varied)
                kernel = None
        name = self._name if kernel is not None else "loop"
        self._used[name] = self._used.get(name, 0) + 1
        return kernel or LoopKernel(self._objective, self._state, block, buffers)

    def _create(self, block: PointBlock, buffers: Sequence[NamedTensors] | None) -> Kernel:
        if buffers is not None:
            raise CannotEvaluateError("BatchNorm statistics differ from point to point")
        if self._name == "vmap":
            return VmapKernel(self._objective, self._state, block)
        return PartialKernel(self._objective, self._state, block, session=self._session)

    def _check(self, kernel: Kernel, block: PointBlock, batch: Batch, seed: int) -> None:
        """Raises CannotEvaluateError where the kernel's terms at a point are not the loop's."""
        point = _point_off_center(block, seed)
        ours = kernel.terms(batch, slice(point, point + 1))
        loops = LoopKernel(self._objective, self._state, block).terms(batch, slice(point, point + 1))
        for name, (sums, counts) in loops.items():
            mine, my_counts = ours[name]
            if not torch.equal(counts, my_counts.expand(counts.shape)):
                raise CannotEvaluateError(f"its counts of {name} differ from the loop's")
            left, right = mine.double().sum().item(), sums.double().sum().item()
            same = left == right or (left != left and right != right)
            relative = _RELATIVE.get(sums.dtype, _DEFAULT_RELATIVE)
            # A metric may jump where rounding decides between equals, one sample at a time.
            steps = 0.0 if name == LOSS else 2.0
            if not same and not abs(left - right) <= relative * abs(right) + _ABSOLUTE + steps:
                raise CannotEvaluateError(f"its {name} of a batch at a point is {left:.8g}, the loop's {right:.8g}")


def _is_splittable(wrapper: ModelWrapper, batch: Batch) -> bool:
    """Where the loss is known to be a sum over samples, any partition gives the same sums."""
    return (
        wrapper.form.terms is not None
        and wrapper.device.type == "cpu"
        and all(tensor.ndim > 0 and tensor.shape[0] == batch.num_samples for tensor in batch_tensors(batch))
    )


def _point_off_center(block: PointBlock, seed: int) -> int:
    """A point of the block by a seed, the next one off the center from there."""
    generator = torch.Generator().manual_seed(seed)
    count = len(block.coefficients)
    first = int(torch.randint(count, (1,), generator=generator))
    return next((point for point in (*range(first, count), *range(first)) if block.coefficients[point].any()), first)
