"""Where code of the user's runs: what it raises is told as theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from slicer_core.errors import SlicerError, UserCodeError


@contextlib.contextmanager
def user_code(doing: str) -> Iterator[None]:
    """Turns what the user's own code raises into a `UserCodeError` that keeps it as its cause.

    Raises:
        UserCodeError: the code inside raised.
    """
    try:
        yield
    except SlicerError:
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeError(f"{doing} raised {type(error).__name__}: {error}") from error
