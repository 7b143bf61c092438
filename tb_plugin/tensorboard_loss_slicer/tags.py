"""What one writer has put under each tag: its one slice type, and the last step."""

from __future__ import annotations

from typing import Protocol

from slicer_core.errors import UsageError


class TagTypeError(UsageError, ValueError):
    """A tag was given a slice of another type than it has; TensorBoard keeps one type a tag."""


class Typed(Protocol):
    """A slice, or what is known of a stored one."""

    @property
    def slice_type(self) -> str: ...  # noqa: D102 (the class says it)

    @property
    def geometry(self) -> str: ...  # noqa: D102


class TagBook:
    """The tags of one writer, as far as this process has seen them."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, str]] = {}
        self._steps: dict[str, int] = {}

    def check(self, tag: str, data: Typed) -> None:
        """Raises `TagTypeError` where the tag has slices of another type or geometry."""
        given = (data.slice_type, data.geometry)
        kind = self._kinds.get(tag, given)
        if kind != given:
            raise TagTypeError(
                f"tag {tag!r} holds slices of type {kind[0]!r} ({kind[1]}), so one of type {given[0]!r} ({given[1]}) "
                f"can't be added to it: give it a tag of its own"
            )

    def check_ascending(self, tag: str, step: int) -> None:
        """Raises `UsageError` where the tag has this step or a later one."""
        last = self._steps.get(tag)
        if last is not None and step <= last:
            raise UsageError(
                f"tag {tag!r} has step {last} already, so step {step} can't follow: give the steps of a tag in "
                f"ascending order, each once"
            )

    def next_step(self, tag: str) -> int:
        """One more than the tag's highest step, 0 for a new tag."""
        return self._steps.get(tag, -1) + 1

    def add(self, tag: str, step: int, data: Typed) -> None:
        """Remember that the slice was written."""
        self._kinds.setdefault(tag, (data.slice_type, data.geometry))
        self._steps[tag] = max(step, self._steps.get(tag, step))
