"""Partial evaluation: what does not move is run once a batch, what moves affinely is combined, the rest is run a point.

See `trace`, `partition`, `prologue`, `cut` and `epilogue`. `CannotEvaluateError` says why it does not apply.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, fx

from slicer_core.choices import Layout
from slicer_core.evaluate.aliasing import SeenRuns, form_of
from slicer_core.evaluate.clock import clock
from slicer_core.evaluate.combine import Combiner
from slicer_core.evaluate.cut import dear_nodes
from slicer_core.evaluate.decisions import Decisions, moved_key
from slicer_core.evaluate.epilogue import Epilogue, compile_epilogue
from slicer_core.evaluate.layout import batch_laid_out, split_batch, weight_laid_out
from slicer_core.evaluate.matrix_layout import known_layout
from slicer_core.evaluate.objective import Objective
from slicer_core.evaluate.partition import Partition, moving_shape, partition
from slicer_core.evaluate.prologue import (
    Components,
    NotAffineError,
    StillParts,
    Values,
    affine_components,
    center_values,
    num_bytes,
)
from slicer_core.evaluate.replaced import Replacing
from slicer_core.evaluate.shortage import MemoryShortageError
from slicer_core.evaluate.strategies.kernel import CannotEvaluateError, ChunkTerms, Kernel
from slicer_core.evaluate.trace import NotTraceableError, Trace, Tracer
from slicer_core.parameters import NamedTensors
from slicer_core.plan import PointBlock
from slicer_core.subject import Batch

_CHUNK_BYTES = 32 * 2**20
_CHUNK_POINTS = 256
_LAYOUT_RUNS = 3
_KEPT_BYTES = 16 * 2**20


class Traces:
    """What slices of one model share: its traces, and what was settled on for them."""

    def __init__(self) -> None:
        self.tracer = Tracer()
        # In the order in which batches needed them: one that has a mask of -inf, say, may need another than the first.
        self.partitions: dict[tuple[Trace, frozenset[str]], list[Partition]] = {}
        # Which of its results share memory, so that only the first batch of a shape has to be looked at.
        self.seen: SeenRuns = {}
        # By what moves and the number of threads: what is faster on two need not be so on one.
        self.layouts: dict[tuple[str, int], Layout] = {}
        self.compiled: dict[tuple[type, Trace, frozenset[str], int], Any] = {}
        # What trials chose for a kind of slice, with their timings, so that the next checkpoint needs none.
        self.chosen: dict[Any, tuple[Any, dict[str, float]]] = {}
        # How many samples small batches may have together, by form and size of the first and the bytes that move: it is
        # not to depend on what was evaluated before.
        self.larger: dict[Any, int] = {}
        # What later processes are to do alike.
        self.decisions = Decisions()
        # Whether strategies are among them: a training loop's next slice may be of another length.
        self.decides_alike = False
        # Whether rounding of this model's terms is more than usual.
        self.is_rough = False

    def forget(self) -> None:
        """Lets go of what was captured, for a model that has changed since."""
        self.tracer, self.partitions, self.seen, self.compiled = Tracer(), {}, {}, {}
        self.larger = {}


@dataclass
class Runner:
    """What runs the points of one kernel, its owner; the next block that moves the same tensors takes it over."""

    key: Any
    combiner: Combiner
    epilogue: Epilogue
    owner: object


class Session:
    """What the blocks of one slice share on a batch: its layout, and what an earlier block needed or made."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        self.runner: Runner | None = None
        # For the set of tensors that moved last, what `affine_components` computes whichever way they move.
        self.still: tuple[Any, StillParts] = (None, {})
        # Values at the center of what blocks begin with, see `center_values`.
        self.entered: Values = {}
        self._given: Batch | None = None
        self._laid_out: Batch | None = None
        self._values: Values = {}
        self._split: tuple[Batch | None, dict[int, list[Batch]]] = (None, {})

    def split(self, batch: Batch, size: int) -> list[Batch]:
        """`split_batch`; the last batch's parts are the same objects each time, so that what is known of them stays."""
        if self._split[0] is not batch:
            self._split = (batch, {})
        if size not in self._split[1]:
            self._split[1][size] = split_batch(batch, size)
        return self._split[1][size]

    def laid_out(self, batch: Batch, objective: Objective) -> Batch:
        """The batch in the layout that the model runs fastest on; a new one lets go of the last one's values."""
        if batch is not self._given or self._laid_out is None:
            self._given, self._laid_out, self._values = batch, batch_laid_out(batch, objective), {}
            self.runner, self.still, self.entered = None, (None, {}), {}
        return self._laid_out

    def forget(self) -> None:
        """Lets go of what belongs to the batch."""
        self._given, self._laid_out, self._values = None, None, {}
        self.runner, self.still, self.entered = None, (None, {}), {}

    def kept_bytes(self) -> int:
        """Of what is there only to save later blocks time."""
        pairs = [part for pair in self.still[1].values() for part in pair]
        return num_bytes((*pairs, *self.entered.values()))

    def keep_within(self, room: int) -> None:
        """Lets go of that where there are fewer bytes for it."""
        if self.kept_bytes() > room:
            self.still, self.entered = (None, {}), {}

    def constants(
        self, trace: Trace, state: NamedTensors, batch: Batch, parts: Partition, *, keeps_entered: bool
    ) -> Values:
        """The values at the center that the moving part reads; `keeps_entered`: for components of other blocks too."""
        missing = [node for node in parts.constants if node not in self._values]
        if missing:
            # An earlier block's values lead to those of the layers after it, and so does what it moved.
            key, still = self.still
            moved = {node: center for node, (_, center) in still.items()} if key and key[0] is trace else {}
            known = moved | self.entered | self._values
            entered = self.entered if keeps_entered else None
            self._values |= center_values(trace, state, batch, missing, known, entered)
        return {node: self._values[node] for node in parts.constants}


class PartialKernel(Kernel):
    """A block on one batch, point after point; prologue and code are made when its terms are first asked for."""

    has_tiles: ClassVar[bool] = False
    """Whether convolutions are run by tiles where they pay."""

    layout: ClassVar[Layout | None] = None
    """How matrices lie that are combined; None where that is timed."""

    def __init__(
        self,
        objective: Objective,
        center: NamedTensors,
        block: PointBlock,
        buffers: Sequence[NamedTensors] | None = None,
        session: Session | None = None,
        memory_budget: int = sys.maxsize,
        recomputing: bool = False,
    ) -> None:
        super().__init__(objective, center, block, buffers)
        self._memory_budget = memory_budget
        self._recomputing = recomputing
        if buffers is not None:
            raise CannotEvaluateError("BatchNorm statistics differ from point to point")
        self._session = session or Session(Traces())
        given, self.center = self.center, {name: weight_laid_out(own, objective) for name, own in self.center.items()}
        self.held = {
            name: self.center[name] if tensor is given[name] else weight_laid_out(tensor, objective)
            for name, tensor in self.held.items()
        }
        self._batch: Batch | None = None
        self._runner: Runner | None = None
        self._token = object()

    def terms(self, batch: Batch, points: slice) -> ChunkTerms:
        """See `Kernel`.

        Raises:
            CannotEvaluateError: the loss has no graph.
        """
        self.prepare(batch)
        count = points.stop - points.start
        rows: dict[fx.Node, Tensor] = {}
        for row, coefficients in enumerate(self.coefficients[points].tolist()):
            self._combiner.move_to(coefficients)
            for node, value in zip(self._epilogue.results, self._epilogue.run(), strict=True):
                if node not in rows:
                    rows[node] = value.new_empty((count, *value.shape))
                rows[node][row].copy_(value)
        return self.collected(rows, count)

    def prepare(self, batch: Batch) -> None:
        """Runs the prologue on the batch, unless it is the one that is prepared.

        Raises:
            CannotEvaluateError: the loss has no graph.
        """
        if batch is self._batch and (self._runner is None or self._runner.owner is self._token):
            return
        session, varied = self._session, frozenset(self.varying)
        laid_out = session.laid_out(batch, self.objective)
        try:
            trace = session.traces.tracer.trace(self.objective, self.held, laid_out)
        except NotTraceableError as reason:
            raise CannotEvaluateError(str(reason)) from reason
        number, (parts, constants, components) = self._parts_of(trace, laid_out, varied)
        self.trace, self.parts, self.constants = trace, parts, constants
        self.key = (trace, varied, number)
        frontier = {node: components[node] for node in parts.frontier}
        if (needed := _combined_bytes(frontier)) > self._memory_budget:
            raise MemoryShortageError(f"what is combined takes {needed} bytes")
        # The other half is for tiles.
        session.keep_within((self._memory_budget - needed) // 2)
        self.make_epilogue(frontier)
        self._batch = batch

    def make_epilogue(self, frontier: Mapping[fx.Node, Components]) -> None:
        """Makes what runs the general part from the frontier's components."""
        traces, key = self._session.traces, moved_key(self.varying)
        layout = self.layout or traces.decisions.layouts.get(key)
        if layout is None:
            threads = torch.get_num_threads()
            if (key, threads) not in traces.layouts:
                traces.layouts[key, threads] = self._faster_layout(frontier)
            layout = traces.layouts[key, threads]
        # What is large is not to stay behind where the next kernel may be another.
        combined = sum(parts[0].nbytes for parts in frontier.values())
        is_kept = not self._recomputing and combined <= _KEPT_BYTES
        moved = sum(tensor.nbytes for direction in self.directions for tensor in direction.values())
        self.is_light = is_kept and moved <= _KEPT_BYTES
        forms = tuple((node, form_of(parts[0])) for node, parts in frontier.items())
        runner = self._session.runner if is_kept else None
        runner_key = (type(self), self.key, layout, forms, len(self.directions))
        if runner is None or runner.key != runner_key:
            runner = Runner(runner_key, *self._compiled(frontier, layout), self._token)
        else:
            runner.combiner.load(frontier)
            runner.owner = self._token
        self._runner, self._session.runner = runner, runner if is_kept else None
        self._combiner, self._epilogue = runner.combiner, runner.epilogue

    def replacing(self, memory: int, combiner: Combiner) -> Replacing | None:
        """What finds operations that are run by functions of our own, which take so many bytes at most.

        What it tells the combiner to leave out, those add up themselves.
        """
        return None

    def collected(self, rows: Mapping[fx.Node, Tensor], count: int) -> ChunkTerms:
        """The chunk's terms of the results that move, each of shape (points, entries), and of those that don't."""

        def whole(node: fx.Node) -> Tensor:
            return rows[node] if node in rows else self.constants[node].expand(count, -1)

        return {name: (whole(sums), whole(counts)) for name, (sums, counts) in self.trace.outputs.items()}

    def chunk_size(self, batch: Batch) -> int:
        """Bounded by the bytes of the collected terms."""
        return max(1, min(_CHUNK_POINTS, _CHUNK_BYTES // (24 * max(1, batch.num_samples))))

    def _compiled(self, frontier: Mapping[fx.Node, Components], layout: Layout) -> tuple[Combiner, Epilogue]:
        num_directions = len(self.directions)
        dtypes = {node: self.held[name].dtype for name, node in self.trace.states.items() if node in frontier}
        combiner = Combiner(frontier, num_directions, layout=layout, dtypes=dtypes)
        combiner.move_to([0.0] * num_directions)
        # A partition that is made anew for each block is not to be remembered.
        seen = None if self._recomputing else self._session.traces.seen
        views = combiner.views
        left = max(0, self._memory_budget - _combined_bytes(frontier) - self._session.kept_bytes())
        replacing = self.replacing(left, combiner)
        return combiner, compile_epilogue(self.trace, self.parts, views, self.constants, seen, replacing=replacing)

    def _faster_layout(self, frontier: Mapping[fx.Node, Components]) -> Layout:
        matrices = [node for node, parts in frontier.items() if node.op != "placeholder" and parts[0].ndim == 2]
        known = known_layout(matrices, self.parts.general, self.objective.device)
        if known is not None:
            return known
        return "columns" if self._seconds(frontier, "columns") < self._seconds(frontier, "rows") else "rows"

    def _seconds(self, frontier: Mapping[fx.Node, Components], layout: Layout) -> float:
        combiner, epilogue = self._compiled(frontier, layout)
        best, device = float("inf"), self.objective.device
        for run in range(_LAYOUT_RUNS):
            start = clock(device)
            combiner.move_to([0.0] * (len(self.directions) - 1) + [float(run)])
            epilogue.run()
            best = min(best, clock(device) - start)
        return best

    def _parts_of(
        self, trace: Trace, batch: Batch, varied: frozenset[str]
    ) -> tuple[int, tuple[Partition, Values, dict[fx.Node, Components]]]:
        """The first partition that holds on the batch, and which one of the known ones it is."""
        known = self._session.traces.partitions.setdefault((trace, varied), [])
        for number, parts in enumerate(() if self._recomputing else known):
            constants = self._constants(trace, batch, parts)
            with contextlib.suppress(NotAffineError):
                return number, (parts, constants, self._components(trace, parts, constants, checked=False))
        # What was affine on other batches is not on this one.
        return len(known), self._settle(trace, batch, varied)

    def _settle(
        self, trace: Trace, batch: Batch, varied: frozenset[str]
    ) -> tuple[Partition, Values, dict[fx.Node, Components]]:
        """Finds the partition: claims that fail their check, and cones that are dear to combine, become general."""
        # Components of the half precisions would cancel; weights alone are combined, in float32.
        whole = self._has_no_components
        denied: set[fx.Node] = set(trace.nodes) if whole else set()
        decided, key = self._session.traces.decisions.cuts, moved_key(varied)
        dear_known = whole or key in decided
        if not whole and dear_known:
            denied |= {node for node in trace.nodes if trace.labels[node] in decided[key]}
        while True:
            parts = partition(trace, varied, denied)
            constants = self._constants(trace, batch, parts)
            seconds: dict[fx.Node, float] = {}
            try:
                components = self._components(trace, parts, constants, checked=True, seconds=seconds)
            except NotAffineError as failure:
                denied.add(failure.node)
                continue
            if (node := moving_shape(trace, parts)) is not None:
                raise CannotEvaluateError(f"{node.target} has another shape at other points")
            dear = set() if dear_known else dear_nodes(parts, components, constants, seconds)
            dear_known = True
            if not dear:
                self.seconds_before = len(self.directions) * sum(seconds.values())
                if not self._recomputing:
                    self._session.traces.partitions.setdefault((trace, varied), []).append(parts)
                if not whole:
                    decided.setdefault(key, tuple(sorted(trace.labels[node] for node in denied)))
                return parts, constants, components
            denied |= dear

    @property
    def _has_no_components(self) -> bool:
        return self.objective.is_reduced or self._recomputing

    def _constants(self, trace: Trace, batch: Batch, parts: Partition) -> Values:
        keeps_entered = not self._has_no_components
        return self._session.constants(trace, self.held, batch, parts, keeps_entered=keeps_entered)

    def _components(
        self,
        trace: Trace,
        parts: Partition,
        constants: Values,
        *,
        checked: bool,
        seconds: dict[fx.Node, float] | None = None,
    ) -> dict[Any, Components]:
        key = (trace, parts)
        if self._session.still[0] != key:
            self._session.still = (key, {})
        return affine_components(
            trace,
            parts,
            constants,
            self.center,
            self.directions,
            checked=checked,
            still=self._session.still[1],
            entered=self._session.entered,
            seconds=seconds,
        )


def _combined_bytes(frontier: Mapping[fx.Node, Components]) -> int:
    """Of components, and beside them a row's part and the point itself."""
    return sum(tensors[0].nbytes * (len(tensors) + 2) for tensors in frontier.values())
