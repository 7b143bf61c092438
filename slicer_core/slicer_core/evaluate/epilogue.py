"""The general part of a graph as straight-line code that is run once a point, writing into buffers made once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, fx

from slicer_core.evaluate.aliasing import (
    FOREVER,
    SeenRun,
    SeenRuns,
    form_of,
    form_of_value,
    last_reads,
    memory_of,
    seen_run,
)
from slicer_core.evaluate.heads import fused_heads
from slicer_core.evaluate.partition import Partition
from slicer_core.evaluate.prologue import call
from slicer_core.evaluate.replaced import Replaced, Replacing
from slicer_core.evaluate.tails import Tail, passed_on, tail_of
from slicer_core.evaluate.trace import Trace
from slicer_core.evaluate.writers import IN_PLACE, OVER_SECOND, BufferPool, Writer, can_write_into, into

Aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Epilogue:
    """`run()` gives the moving results, in the order of `results`, from what lies in the buffers at that moment.

    They may lie in memory that the next run writes to.
    """

    run: Callable[[], tuple[Tensor, ...]]
    results: tuple[fx.Node, ...]


def moving_results(trace: Trace, parts: Partition) -> tuple[fx.Node, ...]:
    """The outputs that move with the point, each once."""
    moving = {*parts.affine, *parts.general}
    return tuple(dict.fromkeys(node for pair in trace.outputs.values() for node in pair if node in moving))


def compile_epilogue(
    trace: Trace,
    parts: Partition,
    views: Mapping[fx.Node, Tensor],
    constants: Mapping[fx.Node, Any],
    seen: SeenRuns | None = None,
    *,
    replacing: Replacing | None = None,
) -> Epilogue:
    """Python code for the general nodes, in place or into kept buffers where nobody sees the difference.

    `replacing`: finds operations that are run by functions of our own.

    What aliases what is seen in one real run at the point that the buffers hold now, so the caller puts a point there.
    What such a run showed is kept in `seen`, so that the next batch of the same shape needs none.
    """
    results = moving_results(trace, parts)
    plan = _Plan(parts, views, constants, results, {} if seen is None else seen, replacing)
    source, names = plan.source()
    scope: dict[str, Any] = dict(names)
    # Only names that are made here stand in the source; the user's are never part of it.
    exec(_code(source), scope)
    # Left among its own globals, the function would keep all buffers until the next collection of cycles.
    return Epilogue(run=scope.pop("run"), results=results)


@functools.lru_cache(maxsize=32)
def _code(source: str) -> CodeType:
    """The same for most batches of a shape."""
    return compile(source, "<epilogue>", "exec")


class _Plan:
    """Decides, for each general node, whether its result may overwrite an argument or go to a buffer of its own."""

    def __init__(
        self,
        parts: Partition,
        views: Mapping[fx.Node, Tensor],
        constants: Mapping[fx.Node, Any],
        results: tuple[fx.Node, ...],
        seen: SeenRuns,
        replacing: Replacing | None,
    ) -> None:
        self._parts = parts
        self._order = {node: index for index, node in enumerate(parts.general)}
        self._views = views
        self._constants = constants
        self._results = results
        self._fused = fused_heads(parts, results)
        self._last_read = last_reads(parts, results)
        run = self._seen_run(seen)
        self._group, self._meta, self._aliases = dict(run.groups), run.forms, run.aliases
        # What lies in kept memory: the same tensor at each point.
        self._places: dict[fx.Node, Any] = dict(views)
        self._pool = BufferPool()
        self._dies = self._find_deaths()
        self._tails: dict[fx.Node, Tail] = {}
        # Those that are the same as another, since that has done what they do.
        self._passed_on: dict[fx.Node, fx.Node] = {}
        self._replaced: Replaced = {}
        if replacing is not None:
            left = [node for node in parts.general if node not in self._fused]
            self._replaced = replacing(left, self._form, constants)
            for replacement in self._replaced.values():
                self._passed_on |= replacement.passed_on

    def source(self) -> tuple[str, dict[str, Any]]:
        """The code of `run`, and what the names in it stand for."""
        names: dict[str, Any] = {}
        symbols: dict[fx.Node, str] = {}
        for index, (node, view) in enumerate(self._views.items()):
            symbols[node] = f"b{index}"
            names[symbols[node]] = view
        lines = ["def run():"]
        for index, node in enumerate(self._parts.general):
            if (place := self._place(node)) is not None:
                self._places[node] = names[f"v{index}"] = place
                symbols[node] = f"v{index}"
            else:
                symbols[node] = f"t{index}"
                function, more = self._function(node, index), self._tails.get(node, Tail()).keywords()
                # The functions that write in place take what the operation leaves out as not given.
                kwargs = {key: value for key, value in node.kwargs.items() if function is None or value is not None}
                names[f"f{index}"] = function or node.target
                args = ", ".join(self._expression(value, symbols, names) for value in node.args)
                keywords = "".join(
                    f", {key}={self._expression(value, symbols, names)}" for key, value in (kwargs | more).items()
                )
                lines.append(f"    {symbols[node]} = f{index}({args}{keywords})")
            dead = [
                symbols[entry]
                for entry in node.all_input_nodes
                if self._is_read_last(entry, index) and symbols[entry] not in names
            ]
            if dead:
                lines.append(f"    del {', '.join(dead)}")
        returned = "".join(f"{symbols[node]}, " for node in self._results)
        lines.append(f"    return ({returned})")
        return "\n".join(lines), names

    def _function(self, node: fx.Node, index: int) -> Callable[..., Any] | None:
        if (same := self._same_as(node)) is not None:
            self._lies_in(node, self._group[same])
            position = node.args.index(same)
            return lambda *given: given[position]
        if node in self._fused:
            return self._fused[node]
        replacement = self._replaced.get(node)
        if replacement is not None and (buffer := self._buffer(node, index)) is not None:
            self._tails[node] = tail = tail_of(
                node, replacement.absorbs, self._order, self._results, self._form_if_tensor
            )
            self._passed_on |= passed_on(node, tail)
            return replacement.into(buffer)
        return self._over_argument(node, index) or self._into_buffer(node, index)

    def _place(self, node: fx.Node) -> Any:
        """What the node's result is at every point, where it is a view of what lies in kept memory; else None."""
        if (same := self._same_as(node)) is not None:
            if same in self._places:
                # Read later, the other must not be written over when it was last read itself.
                self._lies_in(node, self._group[same])
            return self._places.get(same)
        if node not in self._aliases or any(
            entry in self._order and entry not in self._places for entry in node.all_input_nodes
        ):
            return None
        view = self._call(node, self._places)
        # A reshape copies where the strides leave no other way.
        kept = {pointer for entry in node.all_input_nodes for pointer in memory_of(self._places.get(entry))}
        return view if memory_of(view) <= kept else None

    def _over_argument(self, node: fx.Node, index: int) -> Writer | None:
        """The operation in place, if it has a way and nobody reads the argument afterwards."""
        for position, ways in enumerate((IN_PLACE, OVER_SECOND)):
            writer = ways.get(node.target)
            if writer is None or len(node.args) <= position or (position == 1 and node.kwargs):
                continue
            argument = node.args[position]
            if isinstance(argument, fx.Node) and self._may_overwrite(argument, node, index):
                self._lies_in(node, self._group[argument])
                if argument in self._places:
                    self._places[node] = self._places[argument]
                return writer
        return None

    def _may_overwrite(self, argument: fx.Node, node: fx.Node, index: int) -> bool:
        group = self._group.get(argument)
        if group is None or self._dies[group] > index or node.args.count(argument) > 1:
            return False
        others = [entry for entry in node.all_input_nodes if entry is not argument]
        return self._meta.get(argument) == self._meta.get(node) and all(
            self._group.get(entry) != group for entry in others
        )

    def _into_buffer(self, node: fx.Node, index: int) -> Writer | None:
        """The operation into a kept buffer."""
        if not can_write_into(node.target) or (buffer := self._buffer(node, index)) is None:
            return None
        return into(node.target, buffer)

    def _buffer(self, node: fx.Node, index: int) -> Tensor | None:
        """Kept memory for the node's result, if that is one tensor without gaps."""
        meta, group = self._meta.get(node), self._group[node]
        if meta is None:
            return None
        shape, dtype, device, strides = meta
        like = torch.empty_strided(shape, strides, dtype=dtype, device=device)
        is_dense = like.untyped_storage().nbytes() == like.nbytes
        if not is_dense or (node.target is Aten.linear.default and like.ndim != 2 and not like.is_contiguous()):
            return None
        self._places[node] = self._pool.take(like, group, lambda owner: self._dies[owner] < index)
        return self._places[node]

    def _form(self, node: fx.Node) -> tuple[Any, ...]:
        return self._meta[node] if node in self._meta else form_of(self._constants[node])

    def _form_if_tensor(self, node: fx.Node) -> Any:
        return self._meta[node] if node in self._meta else form_of_value(self._constants.get(node))

    def _lies_in(self, node: fx.Node, group: int) -> None:
        """The node's result lies where an argument lay, and lives on in its group."""
        old = self._group[node]
        self._dies[group] = max(self._dies[group], self._dies[old])
        for entry, other in self._group.items():
            if other == old:
                self._group[entry] = group

    def _same_as(self, node: fx.Node) -> fx.Node | None:
        """A node that is the same at every point."""
        return self._passed_on.get(node) or self._always_chosen(node)

    def _always_chosen(self, node: fx.Node) -> fx.Node | None:
        """What is chosen where a constant condition holds everywhere, as it does where no target is ignored."""
        if node.target is not Aten.where.ScalarOther:
            return None
        condition, chosen, _ = node.args
        if not isinstance(condition, fx.Node) or not isinstance(chosen, fx.Node) or condition not in self._constants:
            return None
        if not self._constants[condition].all() or self._meta.get(chosen) != self._meta.get(node):
            return None
        return chosen

    def _expression(self, value: Any, symbols: Mapping[fx.Node, str], names: dict[str, Any]) -> str:
        if isinstance(value, fx.Node):
            if value in symbols:
                return symbols[value]
            name = f"c{len(names)}"
            names[name] = self._constants[value]
            return name
        if isinstance(value, (list, tuple)):
            inner = "".join(f"{self._expression(entry, symbols, names)}, " for entry in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner})"
        name = f"c{len(names)}"
        names[name] = value
        return name

    def _seen_run(self, seen: SeenRuns) -> SeenRun:
        given = (*self._views.values(), *(self._constants[node] for node in self._parts.constants))
        key = (self._parts, *map(form_of_value, given))
        if key not in seen:
            seen[key] = seen_run(self._parts, self._views, self._constants, self._last_read, self._call)
        return seen[key]

    def _call(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        return call(
            node,
            lambda entry: values[entry] if entry in values else self._constants[entry],
            function=self._fused.get(node),
        )

    def _find_deaths(self) -> dict[int, int]:
        """Group -> the index of the node after whose reading nobody needs its memory."""
        deaths: dict[int, int] = {FOREVER: len(self._parts.general) + 1}
        for node, group in self._group.items():
            deaths[group] = max(deaths.get(group, -1), self._last_read.get(node, -1))
        return deaths

    def _is_read_last(self, entry: fx.Node, index: int) -> bool:
        return entry in self._order and self._last_read[entry] == index
