"""A run as it goes on: a rich progress bar on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from loss_slicer.accuracy import describe_accuracy
from loss_slicer.plain_text import printable
from loss_slicer.signals import Stop
from loss_slicer.statuses import say
from slicer_core.job import FailedCheckpoint, FinishedSlice, Job, Reporter


@contextlib.contextmanager
def choose_reporter(job: Job, stop: Stop, *, quiet: bool, verbose: bool) -> Iterator[Reporter]:
    """The reporter that fits where stderr goes."""
    if quiet:
        yield QuietReporter(stop)
    elif sys.stderr.isatty():
        with TerminalReporter(stop, verbose=verbose) as reporter:
            yield reporter
    else:
        yield LineReporter(stop, verbose=verbose)


class QuietReporter(Reporter):
    """Only failures."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def begin(self, label: str, num_points: int) -> None:
        """See `Reporter`."""
        self._stop.check()

    def advance(self, num_points: float) -> None:
        """See `Reporter`."""
        self._stop.check()

    def failed(self, failure: FailedCheckpoint) -> None:
        """See `Reporter`."""
        say(f"failed: {failure.text}")


class LineReporter(QuietReporter):
    """A line for each finished slice, and now and then one for how far a long one is."""

    SECONDS_BETWEEN_LINES = 60.0

    def __init__(self, stop: Stop, *, verbose: bool) -> None:
        super().__init__(stop)
        self._verbose = verbose
        self._label, self._num_points, self._done = "", 0, 0.0
        self._began = self._said = time.monotonic()

    def note(self, text: str) -> None:
        """See `Reporter`."""
        say(text)

    def begin(self, label: str, num_points: int) -> None:
        """See `Reporter`."""
        super().begin(label, num_points)
        self._label, self._num_points, self._done = label, num_points, 0.0
        self._began = self._said = time.monotonic()

    def advance(self, num_points: float) -> None:
        """See `Reporter`."""
        super().advance(num_points)
        self._done += num_points
        now = time.monotonic()
        if self._done and now - self._said >= self.SECONDS_BETWEEN_LINES:
            self._said = now
            left = (now - self._began) * (self._num_points / self._done - 1)
            say(f"{self._label}: {self._done:,.0f} of {self._num_points:,} points, about {left:,.0f} s left")

    def finished(self, result: FinishedSlice) -> None:
        """See `Reporter`."""
        say(describe_finished(result, time.monotonic() - self._began, verbose=self._verbose))


class TerminalReporter(QuietReporter):
    """A bar with rate and time left, and a line above it for what is finished."""

    def __init__(self, stop: Stop, *, verbose: bool) -> None:
        super().__init__(stop)
        self._verbose = verbose
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = None
        self._done = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> TerminalReporter:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """See `Reporter`."""
        self._console.print(Text(printable(text, limit=4000), style="dim"))

    def begin(self, label: str, num_points: int) -> None:
        """See `Reporter`."""
        super().begin(label, num_points)
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(printable(label), total=num_points, rate="")
        self._done, self._began = 0.0, time.monotonic()

    def advance(self, num_points: float) -> None:
        """See `Reporter`."""
        super().advance(num_points)
        self._done += num_points
        elapsed = time.monotonic() - self._began
        rate = f"{self._done / elapsed:,.0f} points/s" if elapsed > 0.2 else ""
        if self._task is not None:
            self._bar.update(self._task, completed=int(self._done), rate=rate)

    def finished(self, result: FinishedSlice) -> None:
        """See `Reporter`."""
        line = describe_finished(result, time.monotonic() - self._began, verbose=self._verbose)
        self._console.print(Text(printable(line, limit=4000)))

    def failed(self, failure: FailedCheckpoint) -> None:
        """See `Reporter`."""
        self._console.print(Text(printable(f"failed: {failure.text}", limit=4000), style="red"))


def describe_finished(result: FinishedSlice, seconds: float, *, verbose: bool) -> str:
    """One line: which checkpoint, its center's loss, how exact the values are, and how they were come by."""
    center = result.data.center
    losses = ", ".join(_loss(result, split) for split in center.loss) if center is not None else ""
    line = f"{printable(result.source)}  {result.data.step_unit} {result.step}  loss {losses}"
    evaluation = result.data.evaluation
    accuracy = "".join(f"  {text}" for text in describe_accuracy(evaluation))
    if result.stored:
        return f"{line}  (stored){accuracy}"
    line += f"  {result.data.loss.size} points  {seconds:.1f} s{accuracy}"
    if verbose:
        line += f"  strategy {evaluation.get('strategy')}, device {evaluation.get('device')}"
        line += f", {evaluation['workers']} workers" if "workers" in evaluation else ""
        line += describe_trials(evaluation.get("trials", {}))
        line += f", {evaluation['reason']}" if "reason" in evaluation else ""
    return line


def describe_trials(trials: Mapping[str, float]) -> str:
    """The seconds a point of one batch that each candidate took, in brackets; nothing where there were no trials."""
    if len(trials) < 2:
        return ""
    times = "; ".join(f"{label} {1e3 * seconds:.3g} ms" for label, seconds in trials.items())
    return f" (tried, a point of one batch: {times})"


def _loss(result: FinishedSlice, split: str) -> str:
    """The loss at the center and, of a part of the samples, how many they are and the loss on all."""
    center, evaluation = result.data.center, result.data.evaluation
    assert center is not None
    text = f"{split} {center.loss[split]:.6g}"
    if split not in center.whole_loss:
        return text
    part, whole = evaluation["samples"][split], evaluation["samples_of"][split]
    return f"{text} on {part:,} of {whole:,} samples ({center.whole_loss[split]:.6g} on all)"
