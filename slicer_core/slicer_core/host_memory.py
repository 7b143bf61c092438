"""How much memory the host still gives to this process, and a limit on what it may take meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MEMORY_INFO = Path("/proc/meminfo")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_OWN_SIZE = Path("/proc/self/statm")
_NO_LIMIT = 2**63 - 1


def free_host_memory() -> int:
    """Bytes that can still be taken, within the limits of the process and of its control groups."""
    return min(_host_memory(), *_control_group_rests(), _address_space_rest())


@contextmanager
def at_most(num_bytes: int) -> Iterator[None]:
    """Lets the process grow by about `num_bytes` meanwhile, beyond which an allocation fails.

    Without it the system grants more than it has, and kills a process that uses it. Where the system does not tell the
    size of a process nothing is limited.
    """
    size = _address_space()
    if size is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(size + num_bytes, *limits, _NO_LIMIT), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def size_text(num_bytes: int) -> str:
    """A size for a person, as in `1.5 GiB`."""
    size = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _host_memory() -> int:
    try:
        lines = _MEMORY_INFO.read_text().splitlines()
    except OSError:
        # A system that does not tell what is free: half of what there is.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


def _address_space() -> int | None:
    """The bytes of addresses that the process has, which its limit counts; None where the system does not tell."""
    with suppress(OSError):
        return int(_OWN_SIZE.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _address_space_rest() -> int:
    size = _address_space()
    if size is None:
        return _NO_LIMIT
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return _NO_LIMIT if soft == resource.RLIM_INFINITY else max(0, soft - size)


def _control_group_rests() -> list[int]:
    """What each control group of the process leaves of its limit, of both versions of the interface."""
    rests = [_NO_LIMIT]
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
