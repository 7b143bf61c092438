"""A file that shrinks or does not fit the memory while it is read fails by itself: the process goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from slicer_core.checkpoints import open_checkpoint, safetensors_format, torch_format
from slicer_core.errors import CheckpointError

MODULE = """
from pathlib import Path
import torch
from torch import nn
from slicer_core.subject import ModelWrapper

def batch_loss(model, batch):
    # The second checkpoint shrinks while the first one is sliced, as when a trainer writes it again.
    for path in Path("run").iterdir():
        if path.stem == "step-2" and path.stat().st_size > 4096:
            with path.open("r+b") as file:
                file.truncate(4096)
    return model(batch[0]).square().mean(dim=1)

def build():
    return ModelWrapper(nn.Linear(64, 64), None, (torch.ones(4, 64), torch.zeros(4)), batch_loss=batch_loss)
"""


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_that_shrinks_during_a_run_fails_its_checkpoint_alone(suffix, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    for step in (1, 2, 3):
        tensors = {"weight": torch.full((64, 64), step / 10), "bias": torch.zeros(64)}
        path = tmp_path / "run" / f"step-{step}{suffix}"
        safetensors.torch.save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    (tmp_path / "module.py").write_text(MODULE)
    command = [sys.executable, "-m", "loss_slicer", "run", "--checkpoints", "run", "--module", "module.py"]
    options = ["--method", "random1d", "--grid", "3", "--strategy", "loop", "--device", "cpu", "--json"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert f"step-2{suffix}" in done.stderr
    assert "cut short" in done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert sorted(entry["step"] for entry in document["slices"]) == [1, 3]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_that_shrinks_in_the_middle_of_its_reading_is_an_error_of_ours(suffix, tmp_path, monkeypatch) -> None:
    path = tmp_path / f"step-1{suffix}"
    tensors = {f"w{number}": torch.randn(1000, 100) for number in range(10)}
    safetensors.torch.save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    checkpoint = open_checkpoint(path)[0]

    def shrink() -> None:
        os.truncate(path, path.stat().st_size // 2)

    if suffix == ".safetensors":
        fill = safetensors_format._fill
        reads: list[int] = []

        def fill_and_shrink(*arguments: object) -> None:
            reads.append(1)
            if len(reads) == 3:
                shrink()
            fill(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(safetensors_format, "_fill", fill_and_shrink)
    else:
        check = torch_format._check_zip

        def check_and_shrink(path: Path, *, whole: bool) -> None:
            check(path, whole=whole)
            shrink()

        monkeypatch.setattr(torch_format, "_check_zip", check_and_shrink)
    with pytest.raises(CheckpointError, match=r"step-1"):
        checkpoint.read()


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from slicer_core.checkpoints import open_checkpoint
from slicer_core.errors import CheckpointError

checkpoints = [open_checkpoint(Path(name))[0] for name in sys.argv[1:]]
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**27,) * 2)
for checkpoint in checkpoints:
    try:
        print(len(checkpoint.read()))
    except CheckpointError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells the size of a process")
def test_a_file_that_does_not_fit_the_memory_is_an_error_and_the_next_one_is_read(tmp_path) -> None:
    large, small = {"w": torch.zeros(2**26)}, {"w": torch.zeros(4)}
    paths = [tmp_path / name for name in ("step-1.safetensors", "step-2.pt", "step-3.safetensors", "step-4.pt")]
    safetensors.torch.save_file(large, paths[0])
    torch.save(large, paths[1])
    safetensors.torch.save_file(small, paths[2])
    torch.save(small, paths[3])
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *map(str, paths)], capture_output=True, text=True, timeout=300,
        check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    first, second, *others = done.stdout.splitlines()
    assert "step-1.safetensors can't be read: its tensors do not fit the memory" in first
    assert "step-2.pt can't be read: its tensors do not fit the memory" in second
    assert others == ["1", "1"]
