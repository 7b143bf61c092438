"""Answers of TensorBoard's fast loader without the 40 ms that each of them would wait.

Its process sends an answer in two pieces, and the system holds the second back until the first is acknowledged, which
waits 40 ms for something to go along with. Another question is such a thing: where none follows soon, a small one does.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Thread
from typing import TYPE_CHECKING, TypeVar

from tensorboard.data.provider import RunTagFilter

from tensorboard_loss_slicer.metadata import PLUGIN_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorboard.context import RequestContext
    from tensorboard.data.provider import DataProvider

T = TypeVar("T")

# Where the provider of the fast loader is defined; asking so imports nothing where another one runs.
_FAST_PROVIDER = "tensorboard.data.grpc_provider"

# An answer that nothing holds back takes one to a few milliseconds.
_SECONDS = 0.004
# Some answers take longer for other reasons.
_MOST_IN_A_ROW = 3


class Prompter:
    """Asks the provider; one of the fast loader gets a small question where it owes an answer and no other is asked."""

    def __init__(self, provider: DataProvider) -> None:
        self._provider = provider
        self._is_fast = type(provider).__module__ == _FAST_PROVIDER
        self._changed = Condition()
        self._owed = 0
        self._prompts_left = 0
        self._next_prompt = 0.0
        self._asker: tuple[RequestContext, str]
        if self._is_fast:
            self._threads = ThreadPoolExecutor(_MOST_IN_A_ROW + 1, "prompt")
            Thread(target=self._watch, name="prompter", daemon=True).start()

    def ask(self, context: RequestContext, experiment_id: str, question: Callable[[], T]) -> T:
        """What `question`, which calls the provider, returns or raises."""
        if not self._is_fast:
            return question()
        with self._changed:
            self._owed += 1
            self._prompts_left = _MOST_IN_A_ROW
            self._next_prompt = time.monotonic() + _SECONDS
            self._asker = (context, experiment_id)
            self._changed.notify()
        try:
            return question()
        finally:
            with self._changed:
                self._owed -= 1

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._owed > 0 and self._prompts_left > 0)
                rest = self._next_prompt - time.monotonic()
                if rest <= 0:
                    self._prompts_left -= 1
                    self._next_prompt += _SECONDS
                    try:
                        self._threads.submit(self._prompt, *self._asker)
                    except RuntimeError:
                        # The interpreter ends.
                        return
            if rest > 0:
                time.sleep(rest)

    def _prompt(self, context: RequestContext, experiment_id: str) -> None:
        # No run has this name: an empty list of them stands for all.
        no_run = RunTagFilter(runs=[""])
        self._provider.list_blob_sequences(
            context, experiment_id=experiment_id, plugin_name=PLUGIN_NAME, run_tag_filter=no_run
        )
