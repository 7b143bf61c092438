"""Keeps freed memory in the process, so that evaluating point after point does not fault the same pages in again.

glibc gives blocks above a threshold back to the system at once; a network's activations are such blocks. Only the
command sets this, for its own process: a library must not.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_BYTES = 2**30


def keep_freed_memory() -> None:
    """Raises glibc's thresholds; does nothing where the C library is another."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_M_MMAP_THRESHOLD, _BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _BYTES)
