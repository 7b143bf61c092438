"""What the modes have in common under which operations are seen as they are dispatched."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):
    """A mode that imports nothing."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch's own setting: without it, it imports its compiler to leave alone what nobody compiles."""
        return False
