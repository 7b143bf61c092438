"""What is known of a saved checkpoint before its tensors are read, and what a format has to answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from slicer_core.errors import CheckpointError
from slicer_core.hashing import file_digest

if TYPE_CHECKING:
    from torch import Tensor

    from slicer_core.parameters import NamedTensors

StepUnit = Literal["step", "epoch", "save"]
"""What a checkpoint's number counts; `save` is a counter of savings, as accelerate's folders have it."""
Stamp = tuple[int, int] | None
"""Size and time of the last change of a file; None where it is not there."""
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
    """The tensors of a checkpoint by name, and the step that the file itself states, if it does.

    `weights` is the key under which the tensors lie in the file, where they lie under one. `extra` is what modules have
    saved beside their tensors (`get_extra_state`), by its names.
    """

    tensors: Mapping[str, TensorInfo]
    step: int | None = None
    step_unit: StepUnit = "step"
    weights: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the user wants files read: which of several weight sets, and whether they may run code."""

    weights: str | None = None
    trusted: bool = False


AS_IT_IS = ReadOptions()
"""The only set of weights that is there, safely."""

Result_co = TypeVar("Result_co", covariant=True)


class Read(Protocol[Result_co]):
    """A function of a format: from a path, with the user's options, to what it reads."""

    def __call__(self, path: Path, options: ReadOptions = ...) -> Result_co:
        """Reads; raises CheckpointError with the file's name."""
        ...


def only_itself(path: Path) -> tuple[Path, ...]:
    """The files of a checkpoint that is one file."""
    return (path,)


@dataclass(frozen=True, kw_only=True)
class CheckpointFormat:
    """A kind of file, or of a set of files that is named by one of them or by its folder.

    `recognizes(path, first_bytes)` decides by content; a folder's first bytes are empty. `contents` reads no more than
    it must, `read` gives the tensors on the CPU; both raise CheckpointError with the file's name. `open` gives them
    too, but reads them when they are asked for where that is possible. `files` are all those that are read.
    """

    name: str
    suffixes: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    contents: Read[Contents]
    read: Read[dict[str, Tensor]]
    open: Read[NamedTensors]
    files: Callable[[Path], tuple[Path, ...]] = only_itself


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One saved training step: where it is, which step, and the format that reads it.

    `path` is the file or folder that the user knows, `data` what the format reads of it: the same, or a file, an index
    of files or a folder in it. `adapter` is the configuration of an adapter (PEFT), whose tensors are those of the
    adapter alone. `stamps` are those of its files when the step was found out, where that is known.
    """

    path: Path
    data: Path
    step: int
    step_unit: StepUnit
    format: CheckpointFormat
    options: ReadOptions = AS_IT_IS
    adapter: Mapping[str, Any] | None = field(default=None, compare=False)
    stamps: tuple[Stamp, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str:
        """`step 200`."""
        return f"{self.step_unit} {self.step}"

    def contents(self) -> Contents:
        """Names, shapes and dtypes; see `CheckpointFormat`."""
        return self.format.contents(self.data, self.options)

    def read(self) -> dict[str, Tensor]:
        """The tensors, on the CPU; see `CheckpointFormat`.

        Raises:
            CheckpointError: they can't be read, or are not those whose step was found out.
        """
        tensors = self.format.read(self.data, self.options)
        self._check_unchanged()
        return tensors

    def open(self) -> NamedTensors:
        """As `read`, but the tensors are read when they are asked for if the format has that."""
        tensors = self.format.open(self.data, self.options)
        self._check_unchanged()
        return tensors

    def num_bytes(self) -> int:
        """The size of its files together."""
        return sum(file.stat().st_size for file in self.format.files(self.data))

    def fingerprint(self) -> str:
        """A hash of the bytes of its files, and of their names where it has several."""
        files = self.format.files(self.data)
        if len(files) == 1:
            return file_hash(files[0])
        whole = hashlib.blake2b(digest_size=16)
        for file in sorted(files):
            whole.update(f"{file.name}\0{file_hash(file)}\n".encode("utf-8", "surrogatepass"))
        return whole.hexdigest()

    def _check_unchanged(self) -> None:
        if self.stamps is not None and self.stamps != stamps_of(self.format.files(self.data)):
            raise CheckpointError(
                f"{self.path} was written again after its step was looked up ({self.label}): run the same command again"
            )


def stamps_of(files: Iterable[Path]) -> tuple[Stamp, ...]:
    """Sizes and times of last change; None of a file that is not there."""
    stamps: list[Stamp] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_size, status.st_mtime_ns))
    return tuple(stamps)


def file_hash(file: Path) -> str:
    """A hash of a file's bytes.

    Raises:
        CheckpointError: it can't be read.
    """
    try:
        return file_digest(file).hex()
    except OSError as error:
        raise CheckpointError(f"{file} can't be read: {error.strerror or error}") from error
