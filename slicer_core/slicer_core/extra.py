"""The extra's libraries, and the one message where they are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from slicer_core.errors import UsageError


@contextlib.contextmanager
def needing_extra() -> Iterator[None]:
    """Around the imports of curvlinops and scipy.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("curvlinops", "einops", "scipy"):
            raise
        raise UsageError(
            f"curvature and permutations need {error.name}, which is not installed: "
            "pip install 'tensorboard-loss-slicer[curvature]'"
        ) from error
