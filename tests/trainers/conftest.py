"""Small trainings with the libraries that people use, whose checkpoints those libraries write themselves."""

from __future__ import annotations

import os

# Before any of the libraries is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from loss_slicer.app import app
from slicer_core.job import FinishedSlice, Job, run_job

SENTENCE = "the loss of a net is seen from above as hills and valleys where a path leads down"
WORDS = SENTENCE.split()
LINES = [
    " ".join(WORDS[(start * step) % len(WORDS)] for step in range(2, length))
    for start, length in ((1, 9), (3, 14), (5, 6), (7, 11))
]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One token a word, made here; nothing is fetched."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<unk>", "<pad>", *dict.fromkeys(WORDS)])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")


@pytest.fixture(scope="session")
def gpt2_config(tokenizer: Any) -> Any:
    from transformers import GPT2Config

    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1}
    return GPT2Config(vocab_size=len(tokenizer), n_positions=16, n_embd=8, n_layer=2, n_head=2, **ids)


@pytest.fixture(scope="session")
def train(tokenizer: Any) -> Callable[..., None]:
    """`transformers.Trainer` for four steps on `LINES`, saving after two and four."""

    def run(model: Any, output: Path, **arguments: Any) -> None:
        from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

        settings = TrainingArguments(
            output_dir=str(output),
            max_steps=4,
            save_steps=2,
            per_device_train_batch_size=2,
            learning_rate=0.05,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=3,
            **arguments,
        )
        data = [tokenizer(line) for line in LINES]
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
        Trainer(model, settings, train_dataset=data, data_collator=collator, processing_class=tokenizer).train()

    return run


@pytest.fixture(scope="session")
def gpt2_run(train: Callable[..., None], gpt2_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Trainer's output folder of a small GPT-2: `checkpoint-2` and `checkpoint-4`."""
    from transformers import GPT2LMHeadModel

    output = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    train(GPT2LMHeadModel(gpt2_config), output)
    return output


@pytest.fixture
def texts(tmp_path: Path) -> SimpleNamespace:
    """`LINES` as one text and as one document a line."""
    import json

    (tmp_path / "text.txt").write_text("\n".join(LINES))
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in LINES))
    return SimpleNamespace(txt=tmp_path / "text.txt", jsonl=tmp_path / "text.jsonl", lines=LINES)


@pytest.fixture
def sliced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[FinishedSlice]]:
    """The slices of a job of 3×3 points by option names; those given win."""
    monkeypatch.chdir(tmp_path)

    def run(**values: Any) -> list[FinishedSlice]:
        result = run_job(Job.from_values({"method": "random2d", "grid": "3", "strategy": "loop"} | values))
        assert not result.failures, [str(failure.error) for failure in result.failures]
        return list(result.slices)

    return run


@pytest.fixture
def inspected() -> Callable[..., list[dict[str, Any]]]:
    """What `loss-slicer inspect --json` says of each checkpoint."""
    import json

    def call(*arguments: object) -> list[dict[str, Any]]:
        result = CliRunner().invoke(app, ["inspect", *map(str, arguments), "--json"])
        assert result.exit_code == 0, result.stderr
        (source,) = json.loads(result.stdout)["sources"]
        assert source["failures"] == []
        return source["checkpoints"]

    return call


@pytest.fixture
def write_module(tmp_path: Path) -> Callable[[str], str]:
    """Writes a user's module file and gives its path."""

    def write(source: str, name: str = "subject.py") -> str:
        (tmp_path / name).write_text(source)
        return str(tmp_path / name)

    return write
