"""The extra's libraries, and the one message where they are missing."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator

from slicer_core.errors import UsageError


@contextlib.contextmanager
def needing_extra(what: str = "curvature and permutations need") -> Iterator[None]:
    """Around the imports of curvlinops and scipy; `what` needs them.

    What a library calls that another has deprecated is theirs, and no error where the caller makes errors of warnings.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("curvlinops", "einops", "scipy"):
            raise
        raise UsageError(
            f"{what} {error.name}, which is not installed: pip install 'tensorboard-loss-slicer[curvature]'"
        ) from error


def check_extra(what: str) -> None:
    """Looks for curvlinops and scipy without importing them.

    Raises:
        UsageError: one of them is not installed.
    """
    with needing_extra(what):
        for name in ("curvlinops", "scipy"):
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
