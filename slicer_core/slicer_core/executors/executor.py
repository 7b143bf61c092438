"""What every executor answers: results of tasks, in whatever order they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from slicer_core.errors import SlicerError

Task = TypeVar("Task")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task has no result. `is_set_aside`: its workers were lost; other tasks like it may well do."""

    error: SlicerError
    is_set_aside: bool = False


class Executor(ABC, Generic[Task]):
    """Runs tasks. Used as a context: what it started is gone afterwards.

    `tells_progress`: whether it does so itself, while a task runs.
    """

    tells_progress = False

    @abstractmethod
    def run(self, task: Task) -> Any:
        """The result of one task, or a `Failure`; nothing else runs meanwhile."""

    @abstractmethod
    def share(self, decided: Any) -> None:
        """Tells all workers, those to come too, what holds for all tasks from now on."""

    @abstractmethod
    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """Each task with its result or a `Failure`. Tasks are taken one by one, when there is somebody to run them."""

    def close(self) -> None:
        """Ends what was started."""

    def __enter__(self) -> Executor[Task]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
