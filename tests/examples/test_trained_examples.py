"""The committed checkpoints of the other examples: they fit their modules, and have the numbers of the README."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from slicer_core.errors import SlicerError
from slicer_core.job import Job, run_job

EXAMPLES = Path(__file__).parents[2] / "checkpoints_examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
DIGITS = (
    *(f"digits_conv/{run}" for run in ("skip", "plain")),
    *(f"digits_batch/{run}" for run in ("small", "small-decay", "large", "large-decay")),
)


def load_module(example: str) -> ModuleType:
    """`subject.py` by its path alone, as the command loads a user's module."""
    path = EXAMPLES / example / "subject.py"
    spec = importlib.util.spec_from_file_location(f"{example}_subject", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def last_checkpoint(folder: str) -> dict[str, torch.Tensor]:
    path = sorted((EXAMPLES / folder / "checkpoints").iterdir())[-1]
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["model"]


@pytest.mark.parametrize("folder", DIGITS)
def test_the_last_checkpoint_has_the_numbers_of_the_readme(folder: str):
    example, run = folder.split("/")
    subject = load_module(example)
    wrapper = subject.build_plain() if run == "plain" else subject.build()
    row = re.search(rf"^\| `{run}` \| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \|(?: ([\d.]+) \|)?$", README, re.M)
    assert row is not None
    wrapper.model.load_state_dict(last_checkpoint(folder))
    wrapper.model.eval()
    found = []
    for images, labels in subject.enlarged_digits() if example == "digits_conv" else subject.load_digits():
        with torch.no_grad():
            output = wrapper.model(images)
        found.append(torch.nn.functional.cross_entropy(output, labels).item())
        found.append(100 * subject.accuracy(output, labels).mean().item())
    assert row.groups()[:3] == (f"{found[0]:.4f}", f"{found[1]:.1f}", f"{found[3]:.1f}")
    if row[4] is not None:
        norm = torch.cat([parameter.detach().flatten() for parameter in wrapper.model.parameters()]).norm().item()
        assert row[4] == f"{norm:.1f}"


def test_the_language_model_has_the_losses_of_the_readme():
    subject = load_module("chars_gpt")
    wrapper = subject.build()
    wrapper.model.load_state_dict(last_checkpoint("chars_gpt"))
    text, _, characters = subject.load_text()
    losses = []
    for indices, count in zip(subject.load_text()[:2], (512, 128), strict=True):
        with torch.no_grad():
            result = subject.batch_loss(wrapper.model, subject.sequences(indices, count))
        losses.append((result.sum.sum() / result.count.sum()).item())

    assert f"{losses[0]:.4f} at the end on the 512" in README
    assert f"{losses[1]:.4f} on 128 of the rest" in README
    assert len(characters) == 76
    assert len(text) > 190_000


@pytest.mark.parametrize("example", ["digits_conv", "digits_batch", "chars_gpt"])
def test_the_readme_counts_the_parameters(example: str):
    model = load_module(example).build().model
    count = sum(parameter.numel() for parameter in model.parameters())
    section = README.partition(f"## {example}\n")[2].partition("\n## ")[0]
    assert f"({count:,} parameters" in " ".join(section.split())


def test_the_networks_with_and_without_skip_connections_refuse_each_others_checkpoints(tmp_path: Path):
    job = Job(
        checkpoints=(str(EXAMPLES / "digits_conv" / "skip" / "checkpoints"),),
        module=f"{EXAMPLES / 'digits_conv' / 'subject.py'}:build_plain",
        logdir=str(tmp_path),
        grid="3",
        method="random1d",
    )
    with pytest.raises(SlicerError, match="does not fit the model"):
        run_job(job)
    assert list(tmp_path.iterdir()) == []


def test_both_networks_start_from_the_same_weights():
    skip, plain = (
        torch.load(EXAMPLES / "digits_conv" / run / "checkpoints" / "epoch-00.pt", weights_only=True)["model"]
        for run in ("skip", "plain")
    )
    assert all(torch.equal(tensor, plain[name.replace("skip.", "plain.")]) for name, tensor in skip.items())


def test_all_examples_together_stay_below_20_megabytes():
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 20_000_000
