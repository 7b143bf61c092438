"""Compiles C and loads it: once for all processes of a user on a machine, where that can be kept."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

# The first that the compiler takes; what is not finite is told by arithmetic, whatever `CC` says of it.
_FLAGS = tuple(("-O3", *native, "-fno-fast-math") for native in (("-march=native",), ("-mcpu=native",), ()))
_SECONDS = 60
# What tells processors apart, for which compilers make different code.
_PROCESSOR = Path("/proc/cpuinfo")
_PROCESSOR_LINES = ("vendor_id", "model name", "flags", "Features", "CPU part")


@functools.cache
def library(source: Path) -> ctypes.CDLL | None:
    """What the source compiles to; None where there is no compiler, or it fails.

    It is kept in the user's folder for what can be made again (`loss-slicer` in `XDG_CACHE_HOME`, or in `~/.cache`), as
    long as nobody else may write there.
    """
    # Whatever is amiss, from quotes in the variable to a full disk, torch's operations do the same.
    with contextlib.suppress(OSError, ValueError):
        if (found := _compiler()) is not None:
            return _loaded(found[0], source, _folder(), _name(*found, source))
    return None


def is_kept(source: Path) -> bool:
    """Whether `library` need not compile it."""
    with contextlib.suppress(OSError, ValueError):
        found, folder = _compiler(), _folder()
        return found is not None and folder is not None and _is_ours(folder / _name(*found, source), stat.S_ISREG)
    return False


def _compiler() -> tuple[list[str], Path] | None:
    """The command, and the program that it starts; None where there is none."""
    command = shlex.split(os.environ.get("CC") or "cc")
    program = shutil.which(command[0]) if command else None
    return None if program is None else (command, Path(program))


def _loaded(compiler: Sequence[str], source: Path, kept: Path | None, name: str) -> ctypes.CDLL | None:
    if kept is not None and _is_ours(kept / name, stat.S_ISREG):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(kept / name))
    # What is loaded needs its file no more.
    with tempfile.TemporaryDirectory(prefix="loss-slicer-", dir=kept) as folder:
        made = Path(folder) / name
        if not _compile(compiler, source, made):
            return None
        loaded = ctypes.CDLL(str(made))
        if kept is not None:
            # Others see all of it or nothing.
            made.replace(kept / name)
        return loaded


def _compile(compiler: Sequence[str], source: Path, made: Path) -> bool:
    for flags in _FLAGS:
        command = [*compiler, *flags, "-shared", "-fPIC", str(source), "-o", str(made)]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
            return True
    return False


def _folder() -> Path | None:
    """Where compiled files are kept; None where they can't be, or where others may write too."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loss-slicer"
        if folder.is_absolute():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return folder if _is_ours(folder, stat.S_ISDIR) and os.access(folder, os.W_OK) else None
    return None


def _is_ours(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Whether it is there, of that kind, and nobody but its owner, who is this user, may write to it."""
    if not hasattr(os, "getuid"):
        return False
    try:
        found = path.lstat()
    except OSError:
        return False
    return is_kind(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _name(compiler: Sequence[str], program: Path, source: Path) -> str:
    """Tells apart all that what is compiled depends on."""
    about = program.resolve().stat()
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = [line for line in _PROCESSOR.read_text().splitlines() if line.startswith(_PROCESSOR_LINES)]
    machine = platform.machine(), platform.processor(), sorted({*lines})
    told = compiler, program.resolve(), about.st_size, about.st_mtime_ns, _FLAGS, machine
    digest = hashlib.sha256(repr(told).encode())
    for path in (source, *sorted(Path(__file__).parent.glob("*.h"))):
        digest.update(path.read_bytes())
    return f"{source.stem}-{digest.hexdigest()[:32]}.so"
