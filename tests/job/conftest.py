"""Jobs on three real checkpoints, through the library."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slicer_core.job import Job

EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: `sgd/checkpoints` with steps 0, 200 and 2000, and `subject.py`."""
    folder = tmp_path / "sgd" / "checkpoints"
    folder.mkdir(parents=True)
    for step in (0, 200, 2000):
        shutil.copy(EXAMPLE / "sgd" / "checkpoints" / f"step-{step:06d}.safetensors", folder)
    shutil.copy(EXAMPLE / "subject.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_job(workplace: Path) -> Callable[..., Job]:
    """A small job by option names; those given win."""

    def make(**values: Any) -> Job:
        return Job.from_values({"checkpoints": "sgd/checkpoints", "method": "random1d", "grid": "3"} | values)

    return make
