"""Which units of a network may be permuted without changing what it computes, read from its graph of modules."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from slicer_core.errors import UsageError

FIXED = 0
"""The group of what stays where it is: the network's inputs and outputs."""

_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh,
    nn.Hardsigmoid, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
    nn.Dropout3d, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
_POOLING = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_SAME_NAMES = (
    "relu relu_ relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh sigmoid softplus dropout softmax "
    "log_softmax"
)
_POOL_NAMES = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool2d adaptive_max_pool2d"
)
_FUNCTIONS = {
    getattr(home, name)
    for home in (F, torch)
    for name in (*_SAME_NAMES.split(), *_POOL_NAMES.split())
    if hasattr(home, name)
}
_METHODS = {*_SAME_NAMES.split(), "contiguous"}


@dataclass(frozen=True, kw_only=True)
class UnitGroups:
    """Groups of units by number, `FIXED` among them, and where each has its units.

    `sizes`: group -> number of units. `axes`: parameter or buffer -> axis -> group; an axis may be several times as
    long as its group, with the entries of each unit next to each other.
    """

    sizes: Mapping[int, int]
    axes: Mapping[str, Mapping[int, int]]


def unit_groups(model: nn.Module) -> UnitGroups:
    """The groups of a network of Linear, Conv and BatchNorm layers, with whatever acts on single units between.

    Units that are added, as in residual connections, are one group.

    Raises:
        UsageError: the network has something else, or can't be traced.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise UsageError(
            _refusal(f"its graph can't be traced ({reason[0] if reason else type(error).__name__})")
        ) from error
    return _Reader(model).read(graph)


@dataclass(frozen=True)
class _Units:
    """A tensor's units: their group, or FIXED, and whether they lie along its last axis (`flat`) or along axis 1."""

    group: int
    flat: bool | None


@dataclass
class _Reader:
    model: nn.Module
    parents: list[int] = field(default_factory=lambda: [FIXED])
    sizes: dict[int, int] = field(default_factory=dict)
    axes: dict[str, dict[int, int]] = field(default_factory=dict)

    def read(self, graph: fx.Graph) -> UnitGroups:
        found: dict[fx.Node, _Units | None] = {}
        for node in graph.nodes:
            found[node] = self._units(node, found)
        groups = {name: {axis: self._root(group) for axis, group in axes.items()} for name, axes in self.axes.items()}
        sizes: dict[int, int] = {}
        for group, size in self.sizes.items():
            root = self._root(group)
            if root != FIXED and sizes.setdefault(root, size) != size:
                raise UsageError(_refusal("layers of different widths are added"))
        return UnitGroups(sizes=sizes, axes=groups)

    def _units(self, node: fx.Node, found: Mapping[fx.Node, _Units | None]) -> _Units | None:
        inputs = [found[entry] for entry in node.all_input_nodes]
        given = [units for units in inputs if units is not None]
        if node.op == "placeholder":
            return _Units(FIXED, None)
        if node.op == "output":
            for units in given:
                self._join(units.group, FIXED)
            return None
        if node.op == "call_module":
            return self._of_module(node, given)
        if node.target is operator.getitem and given:
            # Of what goes in, any part has no units either, as in x[:, None].
            if self._root(given[0].group) != FIXED:
                raise UsageError(_refusal("its forward takes a part of a layer's output"))
            return _Units(FIXED, None)
        if self._tells_shape(node) or not given:
            if node.op == "get_attr":
                raise UsageError(_refusal(f"it reads {node.target} outside of a layer"))
            return None
        return self._of_call(node, given)

    def _of_module(self, node: fx.Node, given: list[_Units]) -> _Units:
        name = str(node.target)
        module = self.model.get_submodule(name)
        if len(given) != 1:
            raise UsageError(_refusal(f"layer {name} takes {len(given)} inputs"))
        (units,) = given
        if isinstance(module, (*_ELEMENTWISE, *_POOLING)):
            return units
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return _Units(units.group, True)
        if type(module) is nn.Linear and units.flat is not False:
            return self._layer(name, module, units, flat=True, outputs=module.out_features)
        if type(module) in _CONVOLUTIONS and units.flat is not True:
            assert isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
            if module.groups != 1:
                raise UsageError(_refusal(f"layer {name} is a grouped convolution"))
            return self._layer(name, module, units, flat=False, outputs=module.out_channels)
        if type(module) in _BATCHNORMS:
            for leaf, tensor in [*module.named_parameters(), *module.named_buffers()]:
                if tensor.ndim:
                    self._place(f"{name}.{leaf}", 0, units.group)
            return units
        raise UsageError(_refusal(f"layer {name} is a {type(module).__name__}"))

    def _layer(self, name: str, module: nn.Module, units: _Units, *, flat: bool, outputs: int) -> _Units:
        self._place(f"{name}.weight", 1, units.group)
        known = self.axes.get(f"{name}.weight", {}).get(0)
        group = self._new(outputs) if known is None else known
        self._place(f"{name}.weight", 0, group)
        if module.bias is not None:
            self._place(f"{name}.bias", 0, group)
        return _Units(group, flat)

    def _of_call(self, node: fx.Node, given: list[_Units]) -> _Units:
        first = given[0]
        target, name = node.target, getattr(node.target, "__name__", str(node.target))
        if target in (operator.add, operator.iadd, torch.add) or name in ("add", "add_"):
            for other in given[1:]:
                self._join(first.group, other.group)
            return first
        if len(given) == 1 and (target in _FUNCTIONS or (node.op == "call_method" and target in _METHODS)):
            return first
        if name == "flatten" and (*node.args[1:], *node.kwargs.values()) in ((1,), (1, -1)):
            return _Units(first.group, True)
        if name in ("view", "reshape") and len(node.args) == 3 and node.args[2] == -1:
            return _Units(first.group, True)
        dims = (*node.args[1:], *node.kwargs.values())[:1]
        if name == "mean" and dims and first.flat is False and _is_spatial(dims[0]):
            return _Units(first.group, True)
        raise UsageError(_refusal(f"its forward calls {name}"))

    def _tells_shape(self, node: fx.Node) -> bool:
        return (node.op == "call_method" and node.target in ("size", "dim")) or (
            node.op == "call_function" and node.target in (getattr, operator.getitem)
        )

    def _new(self, size: int) -> int:
        self.parents.append(len(self.parents))
        group = len(self.parents) - 1
        self.sizes[group] = size
        return group

    def _place(self, name: str, axis: int, group: int) -> None:
        """A layer that is called several times has its units in one group."""
        there = self.axes.setdefault(name, {}).setdefault(axis, group)
        self._join(there, group)

    def _root(self, group: int) -> int:
        while self.parents[group] != group:
            group = self.parents[group]
        return group

    def _join(self, left: int, right: int) -> None:
        low, high = sorted((self._root(left), self._root(right)))
        self.parents[high] = low


def _is_spatial(dims: Any) -> bool:
    listed = dims if isinstance(dims, (tuple, list)) else (dims,)
    return all(isinstance(dim, int) and (dim >= 2 or dim in (-1, -2)) for dim in listed)


def _refusal(reason: str) -> str:
    return (
        f"--align weights does not know which units of the model may be permuted: {reason}. It knows chains and "
        "residual sums of Linear, Conv, BatchNorm, pooling, Flatten and elementwise layers"
    )
