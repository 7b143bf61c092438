"""The hash of much data is the same however it is read, and differs wherever a byte does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slicer_core import hashing
from slicer_core.hashing import bytes_digest, file_digest

BLOCK = 1 << 22


@pytest.fixture(params=[1, 2, 8])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(hashing, "_num_cores", lambda: request.param)
    return request.param


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3])
def test_a_file_has_the_hash_of_its_bytes_on_any_number_of_cores(size: int, tmp_path: Path) -> None:
    content = np.random.default_rng(size).bytes(size)
    file = tmp_path / "file"
    file.write_bytes(content)
    found = file_digest(file)
    assert found == bytes_digest(memoryview(content))
    # Stored jobs are found again by it.
    blocks = [content[start : start + BLOCK] for start in range(0, size, BLOCK)]
    whole = hashlib.sha256(f"{size} ".encode() + b"".join(hashlib.sha256(block).digest() for block in blocks))
    assert found == whole.digest()[: hashing.DIGEST_BYTES]


def test_each_byte_and_each_block_counts(tmp_path: Path) -> None:
    content = bytearray(np.random.default_rng(0).bytes(3 * BLOCK + 5))
    seen = {bytes_digest(memoryview(content))}
    for place in (0, BLOCK - 1, BLOCK, 2 * BLOCK + 7, len(content) - 1):
        content[place] ^= 1
        seen.add(bytes_digest(memoryview(content)))
    swapped = content[BLOCK : 2 * BLOCK] + content[:BLOCK] + content[2 * BLOCK :]
    seen |= {bytes_digest(memoryview(part)) for part in (swapped, content[:-1], content + b"\0", content[:BLOCK])}
    assert len(seen) == 10


def test_what_cannot_be_read_is_an_error_from_any_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(6 * BLOCK))
    opened = []
    really = Path.open

    def fails_later(path: Path, *args: Any, **options: Any) -> Any:
        opened.append(path)
        if len(opened) > 3:
            raise OSError("gone")
        return really(path, *args, **options)

    monkeypatch.setattr(hashing, "_num_cores", lambda: 2)
    monkeypatch.setattr(Path, "open", fails_later)
    with pytest.raises(OSError, match="gone"):
        file_digest(file)
