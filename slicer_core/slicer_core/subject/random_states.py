"""Random states that the user's training goes on with, left where they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def own_random_states(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """What is drawn within from torch (on the host and on `devices`), numpy and Python is drawn again after."""
    python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(of_numpy)


@contextlib.contextmanager
def own_generator(source: Any) -> Iterator[None]:
    """Likewise of the generator that a DataLoader has for itself."""
    generator = getattr(source, "generator", None)
    if not isinstance(generator, torch.Generator):
        yield
        return
    before = generator.get_state()
    try:
        yield
    finally:
        generator.set_state(before)
