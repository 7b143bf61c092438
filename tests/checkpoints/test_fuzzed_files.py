"""Every reader on mutated files: a value or a SlicerError, in bounded time, and nothing in the file runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp

from slicer_core.checkpoints import StepMap, adam_moments, open_checkpoint
from slicer_core.errors import SlicerError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2).half(), "n": torch.tensor(3)}
SECONDS_A_FILE = 20


class Trap:
    """Makes a folder when it is unpickled by Python's own unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def torch_bytes(value: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def training_state(folder: Path) -> dict[str, Any]:
    moments = {index: {"step": torch.tensor(1.0), "exp_avg": tensor.float(), "exp_avg_sq": tensor.float()}
               for index, tensor in enumerate(WEIGHTS.values())}  # fmt: skip
    optimizer = {"state": moments, "param_groups": [{"params": list(moments), "betas": (0.9, 0.99), "eps": 1e-8}]}
    return {"model": WEIGHTS, "optimizer": optimizer, "epoch": 3}


def safetensors_file(folder: Path) -> list[Path]:
    safetensors.torch.save_file(WEIGHTS, folder / "step-1.safetensors", metadata={"step": "4"})
    return [folder / "step-1.safetensors"]


def torch_zip(folder: Path) -> list[Path]:
    (folder / "step-1.pt").write_bytes(torch_bytes(training_state(folder)))
    return [folder / "step-1.pt"]


def torch_legacy(folder: Path) -> list[Path]:
    (folder / "step-1.pt").write_bytes(torch_bytes(training_state(folder), legacy=True))
    return [folder / "step-1.pt"]


def hostile_zip(folder: Path) -> list[Path]:
    (folder / "step-1.pt").write_bytes(torch_bytes({"model": WEIGHTS, "x": Trap(folder / "trap")}))
    return [folder / "step-1.pt"]


def hostile_legacy(folder: Path) -> list[Path]:
    (folder / "step-1.pt").write_bytes(torch_bytes({"model": WEIGHTS, "x": Trap(folder / "trap")}, legacy=True))
    return [folder / "step-1.pt"]


def sharded(folder: Path) -> list[Path]:
    whole = folder / "checkpoint-5"
    whole.mkdir()
    for number, name in enumerate(WEIGHTS):
        safetensors.torch.save_file({name: WEIGHTS[name]}, whole / f"model-{number}.safetensors")
    places = {name: f"model-{number}.safetensors" for number, name in enumerate(WEIGHTS)}
    (whole / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (whole / "trainer_state.json").write_text(json.dumps({"global_step": 5, "log_history": [{"loss": 1.5}]}))
    return [whole, whole / "model.safetensors.index.json", whole / "trainer_state.json", whole / "model-0.safetensors"]


def adapter(folder: Path) -> list[Path]:
    whole = folder / "checkpoint-5"
    whole.mkdir()
    torch.save(WEIGHTS, whole / "adapter_model.bin")
    (whole / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["q"]}))
    return [whole, whole / "adapter_config.json", whole / "adapter_model.bin"]


def distributed(folder: Path) -> list[Path]:
    whole = folder / "step-5"
    dcp.save({"model": WEIGHTS, "step": 5}, checkpoint_id=whole, no_dist=True)
    return [whole, whole / ".metadata", next(whole.glob("*.distcp"))]


def hostile_distributed(folder: Path) -> list[Path]:
    whole, metadata, _ = distributed(folder)
    found = dcp.FileSystemReader(whole).read_metadata()
    found.planner_data["x"] = Trap(folder / "trap")
    metadata.write_bytes(pickle.dumps(found))
    return [whole, metadata]


FORMATS = [safetensors_file, torch_zip, torch_legacy, hostile_zip, hostile_legacy, sharded, adapter, distributed,
           hostile_distributed]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four changes: other bytes, bits, numbers, parts that are gone, there twice, elsewhere or cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(changed) + 1)
        length = min(chance.choice((1, 1, 4, 8, 64, 500)), len(changed) - at)
        kind = chance.randrange(8)
        if kind == 0 and length:
            changed[at : at + length] = chance.randbytes(length)
        elif kind == 1 and length:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 2 and length:
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, *b"c.R()]}srjpiITNQ\x80\x81\x8c\x93\x94"))
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            source = chance.randrange(len(changed) + 1)
            part = changed[source : source + length]
            changed[at : at + len(part)] = part
        elif kind == 6:
            number = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1))
            changed[at : at + 8] = number.to_bytes(8, "little")
        else:
            del changed[at:]
        if not changed:
            changed += b"\0"
    return bytes(changed)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """An error where the block takes longer, also in a loop of its own."""

    def stop(*arguments: object) -> None:
        raise AssertionError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(path: Path) -> str:
    """How reading all that can be read of a checkpoint ends; any exception but ours goes through."""
    try:
        checkpoint = open_checkpoint(path, step_map=StepMap())[0]
        shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.read().items()}
        assert all(isinstance(name, str) for name in shapes)
        {name: checkpoint.open()[name] for name in list(shapes)[:2]}
        adam_moments(checkpoint, shapes)
    except SlicerError as error:
        message = str(error)
        assert message
        for word in ("weights_only", "safe_globals", "trust"):
            assert word not in message
        return "refused"
    return "read"


def fuzz(write: Callable[[Path], list[Path]], folder: Path, count: int) -> set[str]:
    folder.mkdir()
    path, *targets = write(folder)
    targets = targets or [path]
    originals = {target: target.read_bytes() for target in targets}
    outcomes: set[str] = set()
    changed = path
    for seed in range(count):
        chance = random.Random(f"{write.__name__} {seed}")
        target = chance.choice(targets)
        if changed in originals and changed != target:
            changed.write_bytes(originals[changed])
        changed = target
        target.write_bytes(mutated(originals[target], chance))
        try:
            with within(SECONDS_A_FILE):
                outcomes.add(outcome(path))
        except BaseException as error:
            error.add_note(f"seed {seed} of {write.__name__}, {target.name}")
            raise
    assert not (folder / "trap").exists(), "a mutated file ran code"
    shutil.rmtree(folder)
    return outcomes


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_mutated_files_end_in_a_value_or_an_error_of_ours(write, tmp_path) -> None:
    # Reading a distributed checkpoint takes several times as long as a file; the long run has its thousands too.
    assert "refused" in fuzz(write, tmp_path / "few", 100 if write in (distributed, hostile_distributed) else 250)


@pytest.mark.long
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_many_mutated_files_end_in_a_value_or_an_error_of_ours(write, tmp_path) -> None:
    assert "refused" in fuzz(write, tmp_path / "many", 20_000)
