"""The memory that a process and its children take together, looked at from outside."""

from __future__ import annotations

from pathlib import Path

LOOK_SECONDS = 0.02
"""Between two looks, of which each takes about a millisecond a process."""


def together(process: int) -> int:
    """Bytes of a process and all that descend from it."""
    return sum(map(resident, family(process)))


def family(process: int) -> list[int]:
    """A process and all that descend from it."""
    found = [process]
    for entry in found:
        for children in Path(f"/proc/{entry}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def resident(process: int) -> int:
    """The memory of a process in bytes, pages that it shares with others by its part; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
