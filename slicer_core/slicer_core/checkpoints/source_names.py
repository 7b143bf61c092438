"""Names of sources: short, and apart from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def source_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The folder's name, its parent's where it is called `checkpoints`; alike ones with more of their paths."""
    homes = {
        folder: folder.parent if folder.name == "checkpoints" and folder.parent.name else folder for folder in folders
    }
    shared = {home for home in homes.values() if list(homes.values()).count(home) > 1}
    homes = {folder: folder if home in shared else home for folder, home in homes.items()}
    depths = dict.fromkeys(folders, 1)
    while True:
        names = {folder: _last_parts(home, depths[folder]) for folder, home in homes.items()}
        alike = [folder for folder in folders if list(names.values()).count(names[folder]) > 1]
        growing = [folder for folder in alike if depths[folder] < len(homes[folder].parts)]
        if not growing:
            return names
        for folder in growing:
            depths[folder] += 1


def _last_parts(folder: Path, count: int) -> str:
    return "/".join(folder.parts[-count:]).lstrip("/") or "checkpoints"
