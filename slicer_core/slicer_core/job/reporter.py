"""What a run tells whoever watches it. The base class is silent; the command line shows it in its own ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slicer_core.errors import SlicerError, StoreError
from slicer_core.slices import Slice


@dataclass(frozen=True, kw_only=True)
class FinishedSlice:
    """A slice that is in the store.

    `stored`: it was there before this run. `only_adds`: nothing that a view of the store showed before was dropped or
    replaced by it, and no later step of its tag is there, so that the view can be appended to.
    """

    source: str
    run_dir: Path
    tag: str
    step: int
    wall_time: float
    data: Slice
    stored: bool = False
    only_adds: bool = False


@dataclass(frozen=True, kw_only=True)
class FailedCheckpoint:
    """A checkpoint without a slice, and why. `label`: its step, as in `step 200`, where that is known."""

    path: Path
    error: SlicerError
    label: str | None = None

    @property
    def text(self) -> str:
        """The error, and before it the checkpoint where the error does not name it and is not of the store."""
        told = str(self.error)
        if self.path.name in told or isinstance(self.error, StoreError):
            return told
        return f"{self.path}{'' if self.label is None else f' ({self.label})'}: {told}"

    def named_error(self) -> SlicerError:
        """An error of the same class with `text` as its message."""
        return type(self.error)(self.text)


class Reporter:
    """Called by `run_job` as it goes on; any of it may raise `StopRequested` to stop between chunks of points."""

    def note(self, text: str) -> None:
        """Something a person should know: which module runs, what is skipped."""

    def begin(self, label: str, num_points: int) -> None:
        """A checkpoint's evaluation starts, of so many points, each on all splits."""

    def advance(self, num_points: float) -> None:
        """So many of its points are done."""

    def finished(self, result: FinishedSlice) -> None:
        """A slice is there, new or stored."""

    def failed(self, failure: FailedCheckpoint) -> None:
        """A checkpoint could not be sliced, others are."""
