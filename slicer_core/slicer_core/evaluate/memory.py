"""How many bytes an evaluation may take: what the user allows, or what the machine has left."""

from __future__ import annotations

import re

import torch

from slicer_core.errors import UsageError
from slicer_core.host_memory import free_host_memory

_UNITS = {"": 1, "b": 1} | {
    f"{letter}{infix}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for infix, base in (("", 1000), ("i", 1024))
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parse_bytes(text: str, *, option: str = "--memory-budget") -> int:
    """The bytes of a size such as `4GiB` (2³⁰), `1.5GB` (10⁹), `500MB` or `4294967296`.

    Raises:
        UsageError: not of these forms, or less than one byte.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found is not None else None
    if found is None or unit is None:
        raise UsageError(
            f"{option} {text!r} is not a size: give a number with B, KB, MB, GB or TB (powers of 1000) or KiB, MiB, "
            "GiB or TiB (powers of 1024), as in 4GiB or 500MB, or a plain number of bytes"
        )
    size = int(float(found[1]) * unit)
    if size < 1:
        raise UsageError(f"{option} {text!r} leaves no memory at all: give a size such as 4GiB")
    return size


def memory_budget_bytes(settings_budget: int | None, device: torch.device) -> int:
    """What an evaluation on the device may take beyond what is held now: `settings_budget`, or all that is free."""
    return free_memory(device) if settings_budget is None else settings_budget


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on the device; on the host, see `free_host_memory`."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch's allocator has set aside and does not use is there as well.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free_host_memory()
