"""The words that options take, in one place: the command shows them without importing what they choose."""

from __future__ import annotations

from typing import Literal, get_args

Normalization = Literal["filter", "layer", "weight", "dfilter", "dlayer", "none"]
Ignore = Literal["biasbn", "none", "li"]
BatchNormPolicy = Literal["frozen", "interpolate", "recompute"]
StrategyName = Literal[
    "auto",
    "partial",
    "partial-vmap",
    "partial-native",
    "partial-winograd",
    "partial-compiled",
    "partial-vmap-compiled",
    "partial-cudagraph",
    "partial-vmap-cudagraph",
    "loop",
    "vmap",
    "streaming",
]
CompileChoice = Literal["auto", "on", "off"]
Layout = Literal["rows", "columns"]
SplitName = Literal["train", "test", "both"]
ExecutorName = Literal["local", "ray"]
DtypeName = Literal["float32", "float64", "bfloat16", "float16"]

NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)
IGNORES: tuple[str, ...] = get_args(Ignore)
BATCHNORM_POLICIES: tuple[str, ...] = get_args(BatchNormPolicy)
COMPILE_CHOICES: tuple[str, ...] = get_args(CompileChoice)
STRATEGY_NAMES: tuple[str, ...] = get_args(StrategyName)
SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
EXECUTOR_NAMES: tuple[str, ...] = get_args(ExecutorName)
DTYPE_NAMES: tuple[str, ...] = get_args(DtypeName)

PREVIEW = "/preview"
"""What the tag of slices that are not complete yet ends in, and no `--name`; before it is the tag of the whole ones."""


def is_preview(tag: str) -> bool:
    """Whether the tag is for slices that are not complete yet."""
    return tag.endswith(PREVIEW)
