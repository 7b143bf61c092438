"""When a callback takes a slice, and how long slices may take. Counts and seconds are given: nothing reads a clock."""

from __future__ import annotations

from dataclasses import dataclass

from slicer_core.errors import UsageError

DEFAULT_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every n epochs or every n steps.

    Raises:
        UsageError: both are given, or one is not a positive whole number.
    """

    epochs: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise UsageError("log_every_n_epochs and log_every_n_steps are both given: slices follow one of them")
        for name, every in (("log_every_n_epochs", self.epochs), ("log_every_n_steps", self.steps)):
            if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
                raise UsageError(f"{name} {every!r} is not a whole number from 1 up")
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", DEFAULT_EPOCHS)

    @property
    def setting(self) -> str:
        """As it was given: `log_every_n_epochs=10`."""
        return f"log_every_n_steps={self.steps}" if self.steps else f"log_every_n_epochs={self.epochs}"

    @property
    def every(self) -> int:
        """Epochs or steps from one slice to the next."""
        return self.steps or self.epochs or DEFAULT_EPOCHS

    def after_epoch(self, epoch: int) -> bool:
        """Whether the epoch, counted from 0, ends with a slice."""
        return self.epochs is not None and epoch % self.epochs == 0

    def after_step(self, before: int, now: int) -> bool:
        """Whether one is due now, where the count of steps was `before` when this was last asked."""
        return self.steps is not None and now // self.steps > before // self.steps


@dataclass(kw_only=True)
class TimeBudget:
    """Slices together take at most `max_overhead` of the training time: of the time so far, or of the time from one
    slice to the next where that is more. `needed` is what the next slice takes, as far as that is known.
    """

    max_overhead: float | None
    spent: float = 0.0
    needed: float = 0.0

    def allowed(self, training: float, periods: float) -> float:
        """Seconds that the next slice may take after so many seconds of training, which are `periods` from one slice
        to the next.
        """
        if self.max_overhead is None:
            return float("inf")
        period = training / periods if periods > 0 else 0.0
        return self.max_overhead * max(training, period) - self.spent

    def overhead(self, training: float, periods: float) -> float:
        """The share of the training time that slices like the next one would take in the long run."""
        return self.needed * periods / training if training > 0 else float("inf")
