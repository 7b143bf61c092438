"""What is known of a saved checkpoint before its tensors are read, and what a format has to answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from slicer_core.parameters import NamedTensors

StepUnit = Literal["step", "epoch"]
MAX_STEP_DIGITS = 18
"""Longer numbers are no steps: they would not fit into 64 bits."""


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """Shape, dtype (torch's name without the prefix) and bytes of one saved tensor."""

    shape: tuple[int, ...]
    dtype: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The tensors of a file by name, and the step that the file itself states, if it does."""

    tensors: Mapping[str, TensorInfo]
    step: int | None = None
    step_unit: StepUnit = "step"


@dataclass(frozen=True, kw_only=True)
class CheckpointFormat:
    """A kind of file.

    `recognizes(path, first_bytes)` decides by content. `contents(path)` reads no more than it must, `read(path)` gives
    the tensors on the CPU; both raise CheckpointError with the file's name. `open(path)` gives them too, but reads them
    when they are asked for where that is possible.
    """

    name: str
    suffixes: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    contents: Callable[[Path], Contents]
    read: Callable[[Path], dict[str, Tensor]]
    open: Callable[[Path], NamedTensors]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One saved training step: where it is, which step, and the format that reads it."""

    path: Path
    step: int
    step_unit: StepUnit
    format: CheckpointFormat

    def contents(self) -> Contents:
        """Names, shapes and dtypes; see `CheckpointFormat`."""
        return self.format.contents(self.path)

    def read(self) -> dict[str, Tensor]:
        """The tensors, on the CPU; see `CheckpointFormat`."""
        return self.format.read(self.path)

    def open(self) -> NamedTensors:
        """The tensors, on the CPU, which are read when they are asked for if the format has that."""
        return self.format.open(self.path)

    def fingerprint(self) -> str:
        """A hash of the file's bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
