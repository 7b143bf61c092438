"""Where code of the user's runs: what it raises is told as theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from slicer_core.errors import SlicerError, UserCodeError

_NEEDS_GRADIENTS = (
    " (gradients are off while points are evaluated: let code that needs them run in torch.enable_grad())"
)

# On the SystemExit that Ray's handler of SIGTERM raises, in whatever code runs when a node is taken away.
_OF_RAY = "ray_terminate_msg"


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
        if hasattr(error, _OF_RAY):
            raise
        hint = _NEEDS_GRADIENTS if "does not require grad" in str(error) else ""
        raise UserCodeError(f"{doing} raised {type(error).__name__}: {error}{hint}") from error
