"""A file that shrinks or does not fit the memory while it is read fails by itself: the process goes on."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp

from command_process import run_command, run_script
from slicer_core.checkpoints import open_checkpoint, safetensors_format, torch_format
from slicer_core.errors import CheckpointError

MODULE = """
from pathlib import Path
import torch
from torch import nn
from slicer_core.subject import ModelWrapper

REMOVED = {removed}

def batch_loss(model, batch):
    # The second checkpoint shrinks or goes while the first is sliced, as when a trainer writes it again or keeps few.
    for path in Path("run").iterdir():
        if path.stem == "step-2" and REMOVED:
            path.unlink()
        elif path.stem == "step-2" and path.stat().st_size > 4096:
            with path.open("r+b") as file:
                file.truncate(4096)
    return model(batch[0]).square().mean(dim=1)

def build():
    return ModelWrapper(nn.Linear(64, 64), None, (torch.ones(4, 64), torch.zeros(4)), batch_loss=batch_loss)
"""


@pytest.mark.parametrize(
    ("suffix", "removed", "message"),
    [
        (".safetensors", False, "cut short"), (".pt", False, "cut short"),
        (".safetensors", True, "No such file or directory"), (".pt", True, "No such file or directory"),
    ],
)  # fmt: skip
def test_a_file_that_shrinks_or_goes_during_a_run_fails_its_checkpoint_alone(
    suffix, removed, message, tmp_path, monkeypatch
) -> None:
    (tmp_path / "run").mkdir()
    for step in (1, 2, 3):
        tensors = {"weight": torch.full((64, 64), step / 10), "bias": torch.zeros(64)}
        path = tmp_path / "run" / f"step-{step}{suffix}"
        safetensors.torch.save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    (tmp_path / "module.py").write_text(MODULE.replace("{removed}", str(removed)))
    monkeypatch.chdir(tmp_path)
    command = ["run", "--checkpoints", "run", "--module", "module.py"]
    options = ["--method", "random1d", "--grid", "3", "--strategy", "loop", "--device", "cpu", "--json"]
    done = run_command(*command, *options, env=os.environ, timeout=300)
    assert done.returncode == 3, done.stderr
    assert f"step-2{suffix}" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert sorted(entry["step"] for entry in document["slices"]) == [1, 3]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_that_is_written_again_is_not_read_under_the_step_it_had(suffix, tmp_path) -> None:
    path = tmp_path / f"last{suffix}"

    def save(step: int) -> None:
        tensors = {"weight": torch.full((4, 4), float(step))}
        if suffix == ".safetensors":
            safetensors.torch.save_file(tensors, path, metadata={"step": str(step)})
        else:
            torch.save({"state_dict": tensors, "step": step}, path)
        os.utime(path, ns=(step, step))

    save(1)
    checkpoint = open_checkpoint(path)[0]
    assert (checkpoint.step, checkpoint.read()["weight"][0, 0]) == (1, 1.0)
    save(2)
    for read in (checkpoint.read, checkpoint.open):
        with pytest.raises(CheckpointError, match=f"last{suffix} was written again after its step was looked up"):
            read()
    again = open_checkpoint(path)[0]
    assert (again.step, again.read()["weight"][0, 0]) == (2, 2.0)


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
            fill(*arguments)

        monkeypatch.setattr(safetensors_format, "_fill", fill_and_shrink)
    else:
        check = torch_format.check_sums

        def check_and_shrink(*arguments: object) -> None:
            check(*arguments)
            shrink()

        monkeypatch.setattr(torch_format, "check_sums", check_and_shrink)
    with pytest.raises(CheckpointError, match=r"step-1"):
        checkpoint.read()


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import torch
import torch.distributed.checkpoint
from slicer_core.checkpoints import open_checkpoint
from slicer_core.errors import CheckpointError

pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**27,) * 2)
for name in sys.argv[1:]:
    try:
        print(len(open_checkpoint(Path(name))[0].read()))
    except CheckpointError as error:
        print(error)
"""


def outcomes(paths: list[Path]) -> list[str]:
    """What reading each gives in a process to which the system grants 128 MiB more than it has at the start."""
    done = run_script(SHORT_OF_MEMORY, *paths, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells the size of a process")


def distributed(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(tensors, checkpoint_id=folder, no_dist=True)


def sharded(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    folder.mkdir()
    safetensors.torch.save_file(tensors, folder / "model-00001-of-00001.safetensors")
    places = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


WRITERS: dict[str, Callable[..., object]] = {
    "step-{}.safetensors": safetensors.torch.save_file,
    "step-{}.pt": torch.save,
    "step-{}.pth": functools.partial(torch.save, _use_new_zipfile_serialization=False),
    "checkpoint-{}": sharded,
    "step-{}": distributed,
}


@linux
def test_a_file_that_does_not_fit_the_memory_is_an_error_and_the_next_one_is_read(tmp_path) -> None:
    large, small = {"w": torch.zeros(2**26)}, {"w": torch.zeros(4)}
    paths = []
    for number, (name, write) in enumerate(WRITERS.items()):
        (tmp_path / str(number)).mkdir()
        for step, tensors in ((1, large), (2, small)):
            paths.append(tmp_path / str(number) / name.format(step))
            write(tensors, paths[-1])
    found = outcomes(paths)
    assert found[1::2] == ["1"] * len(WRITERS)
    for path, message in zip(paths[::2], found[::2], strict=True):
        if path.suffix == ".pth":
            # Its header can't be told from the rest, so that the whole is asked for at once.
            assert f"{path} can't be read: what it holds does not fit the memory, of which " in message
        else:
            assert f"{path}" in message
            assert "can't be read: its tensors do not fit the memory. They take 256.0 MiB, and " in message


@linux
def test_a_small_file_that_makes_many_objects_is_stopped_and_the_next_one_is_read(tmp_path) -> None:
    bomb, plain = tmp_path / "step-1.pt", tmp_path / "step-2.pt"
    torch.save({"w": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(bomb, "w") as changed:
        for entry in archive.infolist():
            # Each byte of the pickle is a dictionary.
            made = b"\x80\x02" + b"}" * 5_000_000 + b"."
            changed.writestr(entry, made if entry.filename.endswith("data.pkl") else archive.read(entry))
    first, second = outcomes([bomb, plain])
    assert f"{bomb} can't be read: what it holds does not fit the memory, of which" in first
    assert second == "1"


AT_MOST = """
from slicer_core.host_memory import at_most

with at_most(2**26):
    try:
        bytearray(2**28)
        print("granted")
    except MemoryError:
        print("refused")
print(len(bytearray(2**28)))
"""


@linux
def test_an_allocation_beyond_the_limit_fails_instead_of_the_process(tmp_path) -> None:
    done = subprocess.run([sys.executable, "-c", AT_MOST], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["refused", str(2**28)]
