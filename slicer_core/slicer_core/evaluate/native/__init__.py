"""C that is compiled when it is first used, for processes of one thread where there is a compiler."""

from slicer_core.evaluate.native.library import is_kept, library
from slicer_core.evaluate.native.memory import Memory, Sizes

__all__ = ["Memory", "Sizes", "is_kept", "library"]
