"""What a method may evaluate before it has its points: the loss around the center, where directions come from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slicer_core.errors import ResourceError
from slicer_core.evaluate import EvaluationSettings
from slicer_core.parameters import LazyTensors, NamedTensors
from slicer_core.subject import ModelWrapper, SplitData


@dataclass(frozen=True, kw_only=True)
class Made:
    """Vectors that took long to make, and what is to be said of them (JSON values)."""

    vectors: tuple[NamedTensors, ...]
    facts: Mapping[str, Any]


def _made_anew(name: str, make: Callable[[], Made]) -> Made:
    return make()


def _silent(*_: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a method may evaluate the loss while it plans.

    `split`: the run's first one, None for the wrapper's. `begin(label, steps)` and `advance(steps)` tell how far it is,
    and may raise to stop. `kept(name, make)` is what `make` gave when it was first asked for in this job and at this
    center. `rehearsal`: only the plan's shape is wanted, so that placeholders do in place of what takes long.
    """

    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    split: str | None = None
    begin: Callable[[str, int], None] = field(default=_silent, repr=False)
    advance: Callable[[float], None] = field(default=_silent, repr=False)
    kept: Callable[[str, Callable[[], Made]], Made] = field(default=_made_anew, repr=False)
    rehearsal: bool = False

    def data(self, wrapper: ModelWrapper) -> SplitData:
        """The samples whose loss directions are made from."""
        return wrapper.split(self.split or wrapper.splits[0], self.settings.batch_size, self.settings.samples)


def refuse_lazy(state: NamedTensors, what: str) -> None:
    """For what needs several copies of the parameters at once.

    Raises:
        ResourceError: the run streams them, since they fill the memory.
    """
    if isinstance(state, LazyTensors):
        raise ResourceError(
            f"{what} takes several copies of the parameters, which do not fit the memory: give a larger "
            "--memory-budget if there is more, another --device, or another --method"
        )
