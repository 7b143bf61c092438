"""`vmap` as the strategies run it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from operator import attrgetter

import torch


@contextlib.contextmanager
def quiet_batching() -> Iterator[None]:
    """Without the warning at each call of an operation that `vmap` runs point by point.

    That is as fast as it is, and trials see it. torch has no public switch for it, and does not tell how it stands.
    """
    switch = attrgetter("_C._functorch._set_vmap_fallback_warning_enabled")(torch)
    switch(False)
    try:
        yield
    finally:
        switch(True)
