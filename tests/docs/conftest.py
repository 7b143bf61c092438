"""The pages and their blocks, and a folder for each page with what it leaves to its reader."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from markdown_it import MarkdownIt
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import slicer_core.examples
import slicer_core.examples.digits
from loss_slicer.app import app
from slicer_core import ModelWrapper, RandomDirectionSlicer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = Path("checkpoints_examples")
DIGITS = EXAMPLES / "digits_mlp"
WITH_A_LOG = {f"docs/{name}.md" for name in ("figures", "export", "ci", "reading", "wire-format", "troubleshooting")}
SHELL = ""
"""The language of blocks that are only indented: commands."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code of a page. `language` is the first word after the fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page's blocks run: an own folder, which is the current one, and names for its Python blocks."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)


def pages() -> list[str]:
    """All pages that people read, from the root of the repository."""
    docs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *docs, "checkpoints_examples/README.md"]


def blocks(page: str) -> list[Block]:
    """The blocks of code of a page, in its order."""
    tokens = MarkdownIt("commonmark").parse((ROOT / page).read_text(encoding="utf-8"))
    return [
        Block(
            page=page,
            line=token.map[0] + 1 if token.map else 0,
            language=(token.info.split() or [SHELL])[0] if token.type == "fence" else SHELL,
            text=token.content,
        )
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


@pytest.fixture(scope="session")
def site() -> SimpleNamespace:
    """The functions above, since test files can't import one another."""
    return SimpleNamespace(ROOT=ROOT, SHELL=SHELL, blocks=blocks, pages=pages)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same digits, but 5 of each class to train and 2 to test: the blocks are to run, not to be looked at."""
    whole = slicer_core.examples.digits.load_digits

    def load_few(test_fraction: float = 0.2) -> Any:
        return tuple(
            tuple(torch.cat([part[labels == digit][:count] for digit in range(10)]) for part in (images, labels))
            for (images, labels), count in zip(whole(test_fraction), (5, 2), strict=True)
        )

    for module in (slicer_core.examples, slicer_core.examples.digits):
        monkeypatch.setattr(module, "load_digits", load_few)


def copy_examples(folder: Path) -> None:
    """The example trainings, with few checkpoints of each, and their pages' folders for pictures."""
    kept = {
        DIGITS: ("step-000000", "step-000200", "step-002000"),
        EXAMPLES / "digits_conv": ("epoch-20",),
        EXAMPLES / "digits_batch": ("epoch-00", "epoch-60"),
        EXAMPLES / "chars_gpt": ("step-2000",),
    }
    for example, stems in kept.items():
        for path in (ROOT / example).rglob("*"):
            if path.is_file() and (path.parent.name != "checkpoints" or path.stem in stems):
                (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / path.relative_to(ROOT))
    (folder / "docs" / "pictures").mkdir(parents=True)


def add_experiment(folder: Path) -> None:
    """A training's checkpoints where people have them, and the module for them."""
    shutil.copytree(folder / DIGITS / "sgd" / "checkpoints", folder / "runs" / "exp7" / "checkpoints")
    shutil.copytree(folder / DIGITS / "sgd" / "checkpoints", folder / "checkpoints")
    shutil.copy(folder / DIGITS / "subject.py", folder / "subject.py")


def add_project(folder: Path) -> None:
    """The reader's own package: a network, its data, and both for Lightning."""
    (folder / "my_project.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from slicer_core.examples import load_digits\n\n"
        "def Network():\n"
        "    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))\n\n"
        "def load_data(split):\n"
        "    return load_digits()[0 if split == 'train' else 1]\n"
    )


def add_lightning(folder: Path) -> None:
    """`Module` and `Data` of the reader's package."""
    with (folder / "my_project.py").open("a") as file:
        file.write(
            "\nimport lightning\n\n"
            "class Module(lightning.LightningModule):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.network = Network()\n\n"
            "    def training_step(self, batch, batch_idx):\n"
            "        images, labels = batch\n"
            "        return nn.functional.cross_entropy(self.network(images), labels)\n\n"
            "class Data(lightning.LightningDataModule):\n"
            "    def train_dataloader(self):\n"
            "        dataset = torch.utils.data.TensorDataset(*load_data('train'))\n"
            "        return torch.utils.data.DataLoader(dataset, batch_size=32)\n"
        )


def add_hugging_face(folder: Path) -> None:
    """A small GPT-2 with a tokenizer of its own, as the Trainer leaves it, and a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    lines = ["call me ishmael", "some years ago", "never mind how long"] * 4
    vocabulary = {
        word: number for number, word in enumerate(["<unk>", "<pad>", *dict.fromkeys(" ".join(lines).split())])
    }
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    output = folder / "out" / "checkpoint-500"
    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1}
    config = GPT2Config(vocab_size=len(vocabulary), n_positions=16, n_embd=8, n_layer=1, n_head=2, **ids)
    GPT2LMHeadModel(config).save_pretrained(output)
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>").save_pretrained(output)
    (output / "trainer_state.json").write_text('{"global_step": 500}')
    (folder / "valid.txt").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs` of two methods at three steps of one training, made by the command."""
    folder = tmp_path_factory.mktemp("log")
    source = (
        "--module",
        str(ROOT / DIGITS / "subject.py"),
        "--checkpoints",
        str(ROOT / DIGITS / "sgd" / "checkpoints"),
    )
    common = (*source, "--steps", "0,200,2000", "--samples", "50", "--logdir", str(folder / "runs"))
    for method in (["random2d", "--grid", "7"], ["linear", "--grid", "11"]):
        done = CliRunner().invoke(app, ["run", "--method", *method, *common])
        assert done.exit_code == 0, done.output
    return folder / "runs"


def names_for(folder: Path) -> dict[str, Any]:
    """What Python blocks may leave to their reader: a wrapped network, its parts, and points of a training."""
    (images, labels), _ = slicer_core.examples.load_digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    checkpoints = [load_file(path) for path in sorted((folder / DIGITS / "sgd" / "checkpoints").iterdir())]
    model.load_state_dict(checkpoints[-1])
    loss_fn = nn.CrossEntropyLoss()
    wrapper = ModelWrapper(model, loss_fn, (images, labels))
    return {
        "model": model,
        "loss_fn": loss_fn,
        "images": images,
        "labels": labels,
        "epochs": 1,
        "wrapper": wrapper,
        **dict(zip(("first", "second", "third"), checkpoints, strict=True)),
        **dict(zip(("start", "middle", "end"), checkpoints, strict=True)),
        "last": checkpoints[-1],
        "other": checkpoints[1],
        "step": torch.ones(64, 64),
        "result": RandomDirectionSlicer(wrapper, progress=False).slice_2d(grid_size=5),
    }


@pytest.fixture
def place(few_digits: None, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Place]:
    """Page -> the folder that it finds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # A terminal's width would cut tables; colors would be in what is compared.
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def prepare(page: str) -> Place:
        copy_examples(tmp_path)
        if page in WITH_A_LOG:
            shutil.copytree(log, tmp_path / "runs")
            shutil.copytree(log, tmp_path / "baseline")
        add_experiment(tmp_path)
        add_project(tmp_path)
        if page in ("README.md", "docs/models.md"):
            add_hugging_face(tmp_path)
        if page == "docs/models.md":
            add_lightning(tmp_path)
        return Place(folder=tmp_path, names=names_for(tmp_path))

    return prepare
