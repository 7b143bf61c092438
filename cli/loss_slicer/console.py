"""Rich's console as the command uses it."""

from __future__ import annotations

from rich.console import Console


class PipeConsole(Console):
    """Leaves it to the command what a reader that has gone means; rich would end the process with status 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich while the error is handled."""
        raise BrokenPipeError
