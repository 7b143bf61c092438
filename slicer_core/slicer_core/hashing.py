"""Hashes of much data: block by block, on several cores.

SHA-256, for which processors have instructions. The hash of the whole is that of its size and of the hashes of its
blocks, so that it does not depend on how many cores there are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

DIGEST_BYTES = 16
_BLOCK_BYTES = 1 << 22
# More threads than this wait for the disk or the memory.
_MAX_THREADS = 8


def bytes_digest(view: memoryview) -> bytes:
    """The hash of what lies in memory, `DIGEST_BYTES` long."""
    # One without entries can't be cast.
    flat = view.cast("B") if view.nbytes else memoryview(b"")
    return _digest(flat.nbytes, lambda: lambda start: flat[start : start + _BLOCK_BYTES])


def file_digest(file: Path) -> bytes:
    """The hash of a file's bytes, that of `bytes_digest` of them.

    Raises:
        OSError: it can't be read.
    """
    size = file.stat().st_size

    def reader() -> Callable[[int], memoryview]:
        buffer = memoryview(bytearray(min(size, _BLOCK_BYTES)))

        def read(start: int) -> memoryview:
            with file.open("rb", buffering=0) as stream:
                stream.seek(start)
                filled = 0
                while filled < len(buffer) and (count := stream.readinto(buffer[filled:])):
                    filled += count
            return buffer[:filled]

        return read

    return _digest(size, reader)


def _digest(size: int, reader: Callable[[], Callable[[int], memoryview]]) -> bytes:
    """`reader` gives each thread the means to read the block that begins at a byte."""
    starts = range(0, size, _BLOCK_BYTES)
    threads = max(1, min(len(starts), _MAX_THREADS, _num_cores()))
    stopped = Event()

    def share(first: int) -> list[bytes]:
        read, found = reader(), []
        for start in starts[first::threads]:
            if stopped.is_set():
                break
            found.append(hashlib.sha256(read(start)).digest())
        return found

    if threads == 1:
        shares = [share(0)]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            try:
                shares = list(pool.map(share, range(threads)))
            finally:
                # After an interrupt the others need not go on.
                stopped.set()
    whole = hashlib.sha256(f"{size} ".encode())
    for number in range(len(starts)):
        whole.update(shares[number % threads][number // threads])
    return whole.digest()[:DIGEST_BYTES]


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
