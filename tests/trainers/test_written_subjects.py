"""`loss-slicer init` for each kind of checkpoint: the file that it writes, filled in where it says so, runs."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from loss_slicer.app import app
from loss_slicer.subject_templates import TEMPLATES

Filled = Callable[..., float]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The file's folder is put on it, where libraries of other tests would be taken from it.
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """Writes the file for a checkpoint, fills it in, and gives the loss at the center of a slice of 3×3 points."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, f"{result.stderr}{result.exception!r}"
        return result.stdout

    def run(kind: str, checkpoint: Path, answers: dict[str, str], *options: str, params: str = "*") -> float:
        assert f" for {TEMPLATES[kind][0]}." in call("init", "--checkpoints", checkpoint)
        lines = Path("subject.py").read_text().split("\n")
        for old, new in answers.items():
            (place,) = (number for number, line in enumerate(lines) if old in line and "FILL IN" in line)
            lines[place] = lines[place].replace(old, new)
        Path("subject.py").write_text("\n".join(lines))
        shared = ("--module", "subject.py", *options)
        assert "  fits" in call("inspect", checkpoint, *shared)
        command = ("run", "--checkpoints", checkpoint, "--grid", "3", "--strategy", "loop", "--device", "cpu", "--json")
        (found,) = json.loads(call(*command, *shared, "--params", params))["slices"]
        return found["header"]["center"]["loss"]["train"]

    return run


PROJECT = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


def net(width=5):
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3))


class MyDataset(TensorDataset):
    def __init__(self):
        inputs = torch.linspace(-1, 1, 60).view(10, 6)
        super().__init__(inputs, torch.arange(10) % 3)
"""


def project(more: str = "") -> dict[str, Any]:
    """Writes the user's own code, and gives its names."""
    Path("my_project.py").write_text(PROJECT + more)
    names: dict[str, Any] = {"__name__": "my_project"}
    exec(compile(PROJECT + more, "my_project.py", "exec"), names)
    return names


def loss_of(net: nn.Module, dataset: Any) -> float:
    with torch.no_grad():
        return F.cross_entropy(net.eval()(dataset.tensors[0]), dataset.tensors[1]).item()


def test_a_network_of_ones_own(filled: Filled, tmp_path: Path) -> None:
    names = project()
    torch.save(names["net"](7).state_dict(), "step-3.pt")
    net = names["net"](7)
    net.load_state_dict(torch.load("step-3.pt"))
    answers = {"import MyModel": "import MyDataset, net", "MyModel()": "net(7)"}
    assert filled("plain", tmp_path / "step-3.pt", answers) == pytest.approx(loss_of(net, names["MyDataset"]()))


LIGHTNING = """
import lightning as L


class MyModule(L.LightningModule):
    def __init__(self, width=4):
        super().__init__()
        self.net = net(width)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class MyDataModule(L.LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader(MyDataset(), batch_size=4, shuffle=True)
"""


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_module(filled: Filled, tmp_path: Path) -> None:
    import lightning

    names = project(LIGHTNING)
    module = names["MyModule"](width=8)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, names["MyDataModule"]())
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    found = filled("lightning", checkpoint, {"MyModule()": "MyModule(width=8)"})
    assert found == pytest.approx(loss_of(module.net, names["MyDataset"]()), rel=1e-6)


# What the written files call of the libraries, in their place.
LIBRARIES = {
    "timm": "import my_project\n\n\ndef create_model(name, num_classes):\n    return my_project.net()\n",
    "torchvision": "import my_project\nfrom types import SimpleNamespace\n\nmodels = SimpleNamespace("
    "get_model=lambda name, num_classes: my_project.net())\n",
}


@pytest.mark.parametrize("kind", LIBRARIES)
@pytest.mark.parametrize("averaged", [False, True])
def test_a_model_of_timm_or_torchvision(
    kind: str, averaged: bool, filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the library itself, where something has imported it, nor this one later.
    monkeypatch.setitem(sys.modules, kind, None)
    del sys.modules[kind]
    names = project()
    Path(f"{kind}.py").write_text(LIBRARIES[kind])
    net = names["net"]()
    raw = net.state_dict()
    average = {name: tensor * 0.5 for name, tensor in raw.items()}
    keys, file = (
        (("state_dict", "state_dict_ema"), "checkpoint-3.pth.tar")
        if kind == "timm"
        else (("model", "model_ema"), "model_3.pth")
    )
    saved = {keys[0]: raw, keys[1]: average, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(saved, tmp_path / file)
    net.load_state_dict(average if averaged else raw)
    answers = {"MyDataset()": "__import__('my_project').MyDataset()"}
    found = filled(kind, tmp_path / file, answers, "--weights", keys[averaged])
    assert found == pytest.approx(loss_of(net, names["MyDataset"]()), rel=1e-6)
    assert f"--weights {keys[0]} or --weights {keys[1]}" in Path("subject.py").read_text()


# With the names and the call of nanoGPT's model.py.
NANOGPT = """
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)

    def forward(self, x):
        q, k, v = self.c_attn(x).chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attn = Attention(config)

    def forward(self, x):
        return x + self.attn(x)


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        wte, wpe = nn.Embedding(config.vocab_size, config.n_embd), nn.Embedding(config.block_size, config.n_embd)
        h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.transformer = nn.ModuleDict(dict(wte=wte, wpe=wpe, h=h))
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx, targets=None):
        x = self.transformer.wte(idx) + self.transformer.wpe(torch.arange(idx.shape[1]))
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(x if targets is not None else x[:, [-1]])
        loss = None if targets is None else nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss
"""


def test_a_nanogpt(filled: Filled, tmp_path: Path) -> None:
    Path("model.py").write_text(NANOGPT)
    specification = importlib.util.spec_from_file_location("nanogpt_of_the_test", "model.py")
    assert specification is not None
    assert specification.loader is not None
    own = importlib.util.module_from_spec(specification)
    sys.modules["nanogpt_of_the_test"] = own
    specification.loader.exec_module(own)
    sizes = {"block_size": 8, "vocab_size": 11, "n_layer": 2, "n_head": 1, "n_embd": 4}
    arguments = {**sizes, "dropout": 0.0, "bias": False}
    model = own.GPT(own.GPTConfig(**arguments))
    saved = {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"model": saved, "model_args": arguments, "iter_num": 5, "config": {}}, tmp_path / "ckpt.pt")
    tokens = (np.arange(100) ** 2 % 11).astype(np.uint16)
    tokens.tofile(tmp_path / "val.bin")
    answers = {"256, 65": "8, 11", "6, 6, 384, False": "2, 1, 4, False", "data/shakespeare_char/val.bin": "val.bin"}
    written = filled("nanogpt", tmp_path / "ckpt.pt", answers)
    whole = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad():
        expected = model(whole[:96].view(12, 8), whole[1:97].view(12, 8))[1].item()
    assert written == pytest.approx(expected, rel=1e-6)


SENTENCES = ["the loss of a net", "hills and valleys where a path leads down"]
FOLDER_ANSWERS = {'["…"]': repr(SENTENCES)}


def text_loss(model: Any, tokenizer: Any) -> float:
    batch = dict(tokenizer(SENTENCES, padding=True, return_tensors="pt"))
    batch.pop("token_type_ids", None)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with torch.no_grad():
        return model.eval()(**batch, labels=labels).loss.item()


def test_a_model_of_transformers(filled: Filled, gpt2_run: Path, tokenizer: Any) -> None:
    from transformers import GPT2LMHeadModel

    folder = gpt2_run / "checkpoint-4"
    expected = text_loss(GPT2LMHeadModel.from_pretrained(folder), tokenizer)
    assert filled("trainer", folder, FOLDER_ANSWERS) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter(filled: Filled, gpt2_run: Path, tokenizer: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import GPT2LMHeadModel

    base = gpt2_run / "checkpoint-4"
    settings = LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(GPT2LMHeadModel.from_pretrained(base), settings).save_pretrained(tmp_path / "checkpoint-9")
    model = PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(base), str(tmp_path / "checkpoint-9"))
    answers = {'BASE = "…"': f"BASE = {str(base)!r}", **FOLDER_ANSWERS}
    found = filled("peft", tmp_path / "checkpoint-9", answers, params="*lora*")
    assert found == pytest.approx(text_loss(model, tokenizer), rel=1e-6)
