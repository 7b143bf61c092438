"""The first bytes of files that are no checkpoints, or of formats that are not read, and what to do about each."""

from __future__ import annotations

import os
from pathlib import Path

from slicer_core.errors import CheckpointError

FIRST_BYTES = 512
_BLANK = b"\xef\xbb\xbf \t\r\n"
# (place, bytes, message)
_KNOWN = (
    (0, b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (0, b"<!doctype", "is a web page, not a checkpoint: download the file itself"),
    (0, b"<html", "is a web page, not a checkpoint: download the file itself"),
    (0, b"\x1f\x8b", "is compressed with gzip: unpack it first, with `gunzip`"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first, with `zstd -d`"),
    (0, b"\xfd7zxz\0", "is compressed with xz: unpack it first, with `unxz`"),
    (257, b"ustar", "is a tar archive: unpack it first, with `tar -xf`"),
    (0, b"\x89hdf\r\n", "is an HDF5 file, as Keras writes them; convert it to a state dict of the PyTorch model first"),
    (0, b"gguf", "is a GGUF file of quantized weights; take the checkpoint that it was made from"),
)


def first_bytes(path: Path) -> bytes:
    """The file's beginning; of a folder, nothing.

    Raises:
        CheckpointError: it is empty, can't be opened, or is of a kind that is known not to be a checkpoint.
    """
    if path.is_dir():
        return b""
    if path.is_symlink() and not path.exists():
        raise CheckpointError(
            f"{path} is a link to {os.readlink(path)}, where nothing is: bring that back, or remove the link"
        )
    try:
        with path.open("rb") as file:
            first = file.read(FIRST_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path} can't be opened: {error.strerror or error}") from error
    if not first:
        raise CheckpointError(f"{path} is empty")
    lower = first.lower()
    for place, known, message in _KNOWN:
        if lower[place:].startswith(known) or (place == 0 and lower.lstrip(_BLANK).startswith(known)):
            raise CheckpointError(f"{path} {message}")
    return first
