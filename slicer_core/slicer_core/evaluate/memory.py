"""How many bytes an evaluation may take: what the user allows, or what the machine has left."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from slicer_core.errors import UsageError

_UNITS = {"": 1, "b": 1} | {
    f"{letter}{infix}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for infix, base in (("", 1000), ("i", 1024))
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_MEMORY_INFO = Path("/proc/meminfo")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


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
    """Bytes that can still be taken on the device; on the host, within the limits of the process's control group."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch's allocator has set aside and does not use is there as well.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_host_memory(), *_control_group_rests())


def _host_memory() -> int:
    try:
        lines = _MEMORY_INFO.read_text().splitlines()
    except OSError:
        # A system that does not tell what is free: half of what there is.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


def _control_group_rests() -> list[int]:
    """What each control group of the process leaves of its limit, of both versions of the interface."""
    rests = [2**63 - 1]
    for folder, limit, used in _control_groups():
        try:
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            # Cached files that nobody has touched lately count as used, and give way when memory is asked for.
            idle = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
            rests.append(max(0, int((folder / limit).read_text()) - int((folder / used).read_text()) + idle))
        except (OSError, ValueError):
            # No such group, or no limit, which reads "max".
            continue
    return rests


def _control_groups() -> list[tuple[Path, str, str]]:
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return []
    groups = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        path = Path(name.lstrip("/"))
        if controllers == "":
            top, files = _CONTROL_GROUPS, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            top, files = _CONTROL_GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # A limit further up holds too; inside a container its own group is at the top.
        groups += [(top / folder, *files) for folder in (path, *path.parents)]
    return groups
