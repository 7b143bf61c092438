"""Takes slices of a model that is being trained, within a time budget, and logs them; training goes on as if not."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable

import torch

from slicer_core.errors import SlicerError
from slicer_core.evaluate import EvaluationSettings
from slicer_core.methods.slicer import Slicer, chosen_splits
from slicer_core.slices import Slice
from slicer_core.subject import ModelWrapper
from tensorboard_loss_slicer.callbacks.random_states import random_states_kept
from tensorboard_loss_slicer.callbacks.schedule import Schedule, TimeBudget
from tensorboard_loss_slicer.callbacks.settings import LandscapeSettings
from tensorboard_loss_slicer.writers import LossSlicerWarning

_LOGGER = logging.getLogger("tensorboard_loss_slicer")

Log = Callable[[str, Slice, int], None]
"""Writes a slice under a tag at a step."""


class OverBudgetError(SlicerError):
    """A slice would take longer than it may."""


class LandscapeRecorder:
    """What a callback does at each end of an epoch or a step.

    A slice that can't be taken does not stop the training: it is told once, as a `LossSlicerWarning`, and no other is
    tried. One that would take too long is left out, which is told once as well.
    """

    def __init__(self, schedule: Schedule, settings: LandscapeSettings) -> None:
        self.schedule = schedule
        self.settings = settings
        self.taken = 0
        self.left_out = 0
        self._budget = TimeBudget(max_overhead=settings.max_overhead)
        self._wrapper: ModelWrapper | None = None
        self._began = time.monotonic()
        self._first_step = self._last_step = 0
        self._epochs = 0
        self._has_failed = self._has_told = False

    def begin(self, step: int) -> None:
        """Training starts, or goes on, after so many steps."""
        self._budget = TimeBudget(max_overhead=self.settings.max_overhead)
        self._wrapper = None
        self._began = time.monotonic()
        self._first_step = self._last_step = step
        self._epochs = self.taken = self.left_out = 0
        self._has_failed = self._has_told = False

    def step_ended(self, step: int, wrap: Callable[[], ModelWrapper], log: Log) -> None:
        """The optimizer has made `step` steps."""
        due = self.schedule.after_step(self._last_step, step)
        self._last_step = step
        if due:
            self._record(step, (step - self._first_step) / self.schedule.every, wrap, log)

    def epoch_ended(self, epoch: int, step: int, wrap: Callable[[], ModelWrapper], log: Log) -> None:
        """The epoch, counted from 0, is over."""
        self._epochs += 1
        if self.schedule.after_epoch(epoch):
            self._record(step, self._epochs / self.schedule.every, wrap, log)

    def end(self) -> None:
        """Training is over: says what was taken, and lets the data go."""
        self._wrapper = None
        _LOGGER.info(
            "%d slices taken in %.1f s, %d left out; the training took %.1f s",
            *(self.taken, self._budget.spent, self.left_out, self._training_seconds()),
        )

    def _training_seconds(self) -> float:
        return time.monotonic() - self._began - self._budget.spent

    def _record(self, step: int, periods: float, wrap: Callable[[], ModelWrapper], log: Log) -> None:
        if self._has_failed:
            return
        training = self._training_seconds()
        allowed = self._budget.allowed(training, periods)
        began = time.monotonic()
        try:
            if self._budget.needed > allowed:
                raise OverBudgetError
            with random_states_kept(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                self._wrapper = self._wrapper or wrap()
                # Read once, and not part of what the next slice takes.
                for split in chosen_splits(self._wrapper, self.settings.split):
                    self._wrapper.split(split, samples=self.settings.samples)
                read = time.monotonic()
                found = self._take(self._wrapper, allowed - (read - began))
                log(self.settings.tag or self.settings.method, found, step)
        except OverBudgetError:
            self.left_out += 1
            self._tell_once(training, periods)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the training is worth more than its slices
            self._has_failed = True
            self._wrapper = None
            reason = str(error) if isinstance(error, SlicerError) else f"{type(error).__name__}: {error}"
            self._warn(f"no slice could be taken at step {step}, and none will be tried again: {reason}")
        else:
            self.taken += 1
            self._budget.needed = time.monotonic() - read
        self._budget.spent += time.monotonic() - began

    def _take(self, wrapper: ModelWrapper, allowed: float) -> Slice:
        settings = self.settings
        pace = _Pace()

        def watch(share: float) -> None:
            elapsed, needed = pace.elapsed_and_needed(share, time.monotonic())
            # What is more than half done is finished: its time is spent either way, and later slices wait for it.
            if needed > max(allowed, 2.0 * elapsed):
                self._budget.needed = needed
                raise OverBudgetError

        slicer = Slicer(
            wrapper,
            split=settings.split,
            settings=EvaluationSettings(samples=settings.samples),
            progress=False,
            watch=watch,
        )
        pace.begin(time.monotonic())
        return slicer.take(settings.method, settings.make_method(), None, settings.slice_options())

    def _tell_once(self, training: float, periods: float) -> None:
        if self._has_told:
            return
        self._has_told = True
        needed, overhead = self._budget.needed, self._budget.overhead(training, periods)
        before = f", after {self._budget.spent:.2g} s for slices before" if self.taken else ""
        self._warn(
            f"a slice takes about {needed:.2g} s, which slows training by {100 * overhead:.2g}% with "
            f"{self.schedule.setting}{before}: more than max_overhead={self.settings.max_overhead:g}, so slices are "
            f"left out until training has gone on. Give fewer points (grid, now {self.settings.grid!r}), fewer samples "
            f"(now {self.settings.samples or 'all'}), a larger interval, or another max_overhead (None: no limit)"
        )

    def _warn(self, message: str) -> None:
        warnings.warn(f"LossLandscapeCallback: {message}", LossSlicerWarning, stacklevel=2)


class _Pace:
    """How long a slice will have taken, from the points that are done."""

    def __init__(self) -> None:
        self._start = self._first = 0.0
        self._first_share = 0.0

    def begin(self, now: float) -> None:
        self._start = now

    def elapsed_and_needed(self, share: float, now: float) -> tuple[float, float]:
        """Seconds until now, and of the whole slice. What comes before the first points is done once."""
        if not self._first_share:
            self._first, self._first_share = now, share
        done = share - self._first_share
        rest = (now - self._first) / done * (1.0 - share) if done > 0 else 0.0
        elapsed = now - self._start
        return elapsed, elapsed + rest
