"""`loss-slicer init`: the kind that it sees, and a file that is Python. That of each kind runs: tests/trainers."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import Result

from loss_slicer.subject_templates import TEMPLATES, subject_source

Call = Callable[..., Result]

PROJECT = """
import torch
from torch import nn

DATA = (torch.linspace(0, 1, 20 * 64).view(20, 64), torch.arange(20) % 10)


def MyModel():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_kind_is_python_with_marked_lines(kind: str) -> None:
    source = subject_source(kind, path="runs/a", folder='a "quoted" \\ folder')
    compile(source, "subject.py", "exec")
    assert "FILL IN" in source
    assert "def build() -> ModelWrapper:" in source
    assert TEMPLATES[kind][0] in source


def test_filled_in_it_runs(call: Call) -> None:
    written = call("init", "--checkpoints", "sgd/checkpoints")
    assert written.exit_code == 0
    assert "wrote subject.py for a network of your own. Fill in lines " in written.stdout
    assert "loss-slicer run --checkpoints sgd/checkpoints --module subject.py" in written.stdout
    Path("my_project.py").write_text(PROJECT)
    source = Path("subject.py").read_text().replace("import MyModel", "import DATA, MyModel")
    Path("subject.py").write_text(source.replace("MyDataset()", "DATA"))
    assert call("inspect", "sgd/checkpoints", "--module", "subject.py").stdout.count("  fits") == 3
    assert call("run", "--checkpoints", "sgd/checkpoints", "--grid", "3", "--steps", "last").exit_code == 0


def test_a_file_that_is_there_is_kept(call: Call) -> None:
    Path("subject.py").write_text("mine\n")
    refused = call("init")
    assert refused.exit_code == 2
    assert "subject.py is there already, and is not overwritten: give another --output" in refused.stderr
    assert Path("subject.py").read_text() == "mine\n"
    assert call("init", "--output", "other.py").exit_code == 0
    assert call("init", "--checkpoints", "nowhere", "--output", "third.py").exit_code == 2
    assert not os.path.exists("third.py")


def test_on_a_full_disk_no_half_of_a_file_is_left(call: Call) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        refused = call("init")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.exit_code == 2
    assert "--output subject.py can't be written" in refused.stderr
    assert not Path("subject.py").exists()
    assert call("init").exit_code == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/epoch=3-step=500.ckpt", "lightning"),
        ("b/checkpoint-3.pth.tar", "timm"),
        ("c/model_3.pth", "torchvision"),
        ("d/step-3.pt", "plain"),
        ("e/ckpt.pt", "nanogpt"),
    ],
)
def test_the_kind_is_seen(name: str, kind: str, call: Call) -> None:
    path = Path(name)
    path.parent.mkdir()
    weight = "transformer.h.0.attn.c_attn.weight" if kind == "nanogpt" else "weight"
    torch.save({"model": {weight: torch.zeros(2)}, "iter_num": 3}, path)
    written = call("init", "--checkpoints", path.parent)
    assert written.exit_code == 0, written.stderr
    assert f" for {TEMPLATES[kind][0]}." in written.stdout


@pytest.mark.parametrize(("file", "kind"), [("model", "trainer"), ("adapter_model", "peft")])
def test_hugging_face_folders_are_seen(file: str, kind: str, call: Call) -> None:
    from safetensors.torch import save_file

    folder = Path("out/checkpoint-5")
    folder.mkdir(parents=True)
    save_file(dict(nn.Linear(2, 2).state_dict()), folder / f"{file}.safetensors")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 5}))
    config = "config.json" if kind == "trainer" else "adapter_config.json"
    (folder / config).write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    written = call("init", "--checkpoints", "out")
    assert written.exit_code == 0, written.stderr
    assert f" for {TEMPLATES[kind][0]}." in written.stdout
    assert "out/checkpoint-5" in Path("subject.py").read_text()
