"""The committed checkpoints of checkpoints_examples/digits_mlp, and the script and module they came from."""

from __future__ import annotations

import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from slicer_core.examples import load_digits

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "checkpoints_examples"
RUNS = ("sgd", "adam", "adamw")
ALL_RUNS = (*RUNS, "adam-seed1")
STEPS = [0, 10, 20, 40, 80, 120, 200, 320, 500, 800, 1200, 2000]

# Parameters are at most 0.2 here, where neighboring float32 numbers are 1.5e-8 apart. After ten steps, runs in float32
# and in float64 differ by 3.2e-8, and so do runs with other vector instructions; two float32 runs can differ by twice
# that. The ten steps themselves move parameters by up to 2.5e-2.
ROUNDING = 2e-7


def saved(run: str, folder: Path = EXAMPLES / "digits_mlp") -> list[Path]:
    return sorted((folder / run / "checkpoints").iterdir())


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as checkpoint:
        return checkpoint.metadata()


def load_module() -> ModuleType:
    """`subject.py` by its path alone, as the command loads a user's module."""
    spec = importlib.util.spec_from_file_location("digits_mlp_subject", EXAMPLES / "digits_mlp" / "subject.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def subject() -> ModuleType:
    return load_module()


@pytest.fixture(scope="module")
def trained_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script writes for one optimizer when a user runs it."""
    out = tmp_path_factory.mktemp("digits_mlp")
    command = [sys.executable, str(EXAMPLES / "digits_mlp" / "train.py"), "--optimizer", "sgd", "--out", str(out)]
    subprocess.run(command, check=True, cwd=out)
    return out


def evaluate(subject: ModuleType, path: Path, data: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, float]:
    """Loss and accuracy of a checkpoint on `data`."""
    images, labels = data
    model = subject.make_model()
    model.load_state_dict(load_file(path))
    with torch.no_grad():
        output = model(images)
    loss = torch.nn.functional.cross_entropy(output, labels).item()
    return loss, subject.accuracy(output, labels).mean().item()


@pytest.mark.parametrize("run", RUNS)
def test_each_file_name_has_the_step_of_its_metadata(run: str):
    for path, step in zip(saved(run), STEPS, strict=True):
        assert path.name == f"step-{step:06d}.safetensors"
        assert metadata(path) == {"format": "pt", "step": str(step), "optimizer": run, "seed": "0"}


def test_all_runs_start_from_the_same_tensors_and_then_part():
    start, *others = [load_file(saved(run)[0]) for run in RUNS]
    end, *other_ends = [load_file(saved(run)[-1]) for run in RUNS]
    for other in others:
        assert all(torch.equal(start[name], other[name]) for name in start)
    for other in other_ends:
        assert not any(torch.allclose(end[name], other[name], atol=0.1) for name in end)


@pytest.mark.parametrize("run", RUNS)
def test_the_training_loss_falls_from_each_checkpoint_to_the_next(run: str, subject: ModuleType):
    train_data, _ = load_digits()
    losses = [evaluate(subject, path, train_data)[0] for path in saved(run)]
    assert losses[0] == pytest.approx(torch.log(torch.tensor(10.0)).item(), rel=0.01)
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


@pytest.mark.parametrize("run", ALL_RUNS)
def test_the_last_checkpoint_has_the_numbers_of_the_readme(run: str, subject: ModuleType):
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{run}` \|[^|]*\| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) \|$", readme, re.M)
    assert row is not None
    train_data, test_data = load_digits()
    loss, train_accuracy = evaluate(subject, saved(run)[-1], train_data)
    _, test_accuracy = evaluate(subject, saved(run)[-1], test_data)
    norm = torch.cat([tensor.flatten() for tensor in load_file(saved(run)[-1]).values()]).norm().item()
    found = (f"{loss:.4f}", f"{100 * train_accuracy:.1f}", f"{100 * test_accuracy:.1f}", f"{norm:.1f}")
    assert row.groups() == found


def test_the_module_builds_a_wrapper_around_the_network(subject: ModuleType):
    wrapper = subject.build()
    checkpoint = load_file(saved("adam")[-1])
    parameters = wrapper.get_parameters()
    assert {name: tensor.shape for name, tensor in parameters.items()} == {
        name: tensor.shape for name, tensor in checkpoint.items()
    }


def test_the_script_trains_the_committed_checkpoints_again(trained_again: Path):
    for again, committed in list(zip(saved("sgd", trained_again), saved("sgd"), strict=True))[:2]:
        assert again.name == committed.name
        assert metadata(again) == metadata(committed)
        tensors, expected = load_file(again), load_file(committed)
        assert tensors.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(tensors[name], expected[name], rtol=0, atol=ROUNDING)


def test_the_script_trains_only_what_was_asked_for(trained_again: Path):
    assert [path.name for path in trained_again.iterdir()] == ["sgd"]
    assert [path.name for path in saved("sgd", trained_again)] == [path.name for path in saved("sgd")]


def test_the_committed_checkpoints_stay_small():
    assert sum(path.stat().st_size for run in ALL_RUNS for path in saved(run)) < 1_400_000
