"""How an answer is refused: an HTTP status and a message for a person."""

from __future__ import annotations

_QUOTED_CHARACTERS = 120


class RequestError(Exception):
    """The request can't be answered; becomes a text/plain reply of `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def quoted(value: object) -> str:
    """The value as Python text, cut to a length that many messages together can bear, without half characters."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…"
