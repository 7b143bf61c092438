"""Sizes as people write them, and what the machine has left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from slicer_core import host_memory
from slicer_core.errors import UsageError
from slicer_core.evaluate.memory import free_memory, memory_budget_bytes, parse_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * 2**30), ("500MB", 500 * 10**6), ("4294967296", 4 * 2**30), ("1.5 kib", 1536), ("2TB", 2 * 10**12),
        ("12B", 12), (" 3MiB ", 3 * 2**20), ("0.5GB", 5 * 10**8),
    ],
)  # fmt: skip
def test_a_size_is_read_in_both_kinds_of_units(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "4G", "-1GB", "4 GiB 2", "1e9", "GiB", "4,5GB", "nan"])
def test_what_is_no_size_is_told_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_bytes(text)
    assert f"--memory-budget {text!r} is not a size" in str(refused.value)
    assert "as in 4GiB or 500MB, or a plain number of bytes" in str(refused.value)


@pytest.mark.parametrize("text", ["0", "0.2B"])
def test_no_memory_at_all_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="leaves no memory at all"):
        parse_bytes(text)


def test_a_given_budget_is_taken_as_it_is() -> None:
    assert memory_budget_bytes(123, CPU) == 123


def test_what_is_free_is_a_part_of_what_there_is() -> None:
    assert 0 < free_memory(CPU) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def write_group(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def test_the_tightest_control_group_bounds_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process in a group without a limit, inside one that has one."""
    statistics = "anon 700\ninactive_file 300"
    used = {"memory.current": 1000, "memory.stat": statistics}
    write_group(tmp_path / "user", {"memory.max": 5000, **used})
    write_group(tmp_path / "user" / "job", {"memory.max": "max", **used})
    (tmp_path / "own").write_text("0::/user/job\n")
    monkeypatch.setattr(host_memory, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(host_memory, "_OWN_GROUPS", tmp_path / "own")
    assert free_memory(CPU) == 5000 - 1000 + 300


def test_a_control_group_of_the_first_version_bounds_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"memory.limit_in_bytes": 9000, "memory.usage_in_bytes": 2000, "memory.stat": "total_inactive_file 10"}
    write_group(tmp_path / "memory" / "job", files)
    (tmp_path / "own").write_text("5:cpuset:/job\n4:memory:/job\n")
    monkeypatch.setattr(host_memory, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(host_memory, "_OWN_GROUPS", tmp_path / "own")
    assert free_memory(CPU) == 9000 - 2000 + 10
