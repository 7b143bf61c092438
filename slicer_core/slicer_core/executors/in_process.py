"""Tasks one after another, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from slicer_core.errors import SlicerError, StoreError
from slicer_core.executors.executor import Executor, Failure, Task


class InProcess(Executor[Task]):
    """Calls `evaluate` for each task; `decide` is told what is shared."""

    tells_progress = True

    def __init__(self, evaluate: Callable[[Task], Any], decide: Callable[[Any], None]) -> None:
        self._evaluate = evaluate
        self._decide = decide

    def run(self, task: Task) -> Any:
        """See `Executor`."""
        try:
            return self._evaluate(task)
        except StoreError:
            raise
        except SlicerError as error:
            return Failure(error=error)

    def share(self, decided: Any) -> None:
        """See `Executor`."""
        self._decide(decided)

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """See `Executor`."""
        for task in tasks:
            yield task, self.run(task)
