"""A `transformers` model from a local Hugging Face folder, with the library's loss on a text, without a user's module.

Only the architecture and the tokenizer come from the folder; the weights are the checkpoints'. Nothing is fetched, and
no code of the folder runs.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from slicer_core.errors import DataError, ModuleError, UsageError
from slicer_core.subject.losses import LossSum
from slicer_core.subject.user_code import user_code
from slicer_core.subject.wrapper import ModelWrapper

DEFAULT_SEQUENCE_LENGTH = 1024
DEFAULT_BATCH_SIZE = 8
# What `transformers` leaves out of a loss.
_IGNORED = -100
_CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class HuggingFaceFolder:
    """A folder with a `config.json` and a tokenizer, in the place of a module file."""

    path: Path
    chosen_by: str = "--hf"

    @property
    def digest(self) -> str:
        """Hash of the architecture; what the tokenizer makes of the text is part of the data's fingerprint."""
        return hashlib.blake2b((self.path / _CONFIG).read_bytes(), digest_size=16).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Record:
    """One document of the text, with its class where the file has one."""

    text: str
    label: int | None = None


def find_folder(given: str) -> HuggingFaceFolder:
    """The folder, checked.

    Raises:
        UsageError: it has no `config.json`.
    """
    path = Path(os.path.expanduser(given))
    if not (path / _CONFIG).is_file():
        raise UsageError(
            f"--hf {given} has no {_CONFIG}: give the local folder of a transformers model, with its configuration and "
            "its tokenizer"
        )
    return HuggingFaceFolder(path=path)


def from_huggingface(
    folder: HuggingFaceFolder, text: Path, *, sequence_length: int | None = None, batch_size: int | None = None
) -> ModelWrapper:
    """The folder's model with the library's loss on a text, as training data.

    A causal language model has the mean cross-entropy of the next token over all sequences: each document (a whole
    `.txt`, each `text` of a `.jsonl`) is cut into sequences of `sequence_length` tokens, the last one shorter. A model
    for sequence classification takes each `text`, cut off at that length, with its `label`.

    Raises:
        UsageError: the text can't be read, or the sequence length is not one that the model has.
        ModuleError: `transformers` is missing, or the folder has no model of these two kinds or no tokenizer.
        DataError: nothing of the text is left to predict, or labels are missing.
    """
    transformers = _transformers()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with user_code(f"reading the configuration and the tokenizer in {folder.path}"):
        config = transformers.AutoConfig.from_pretrained(str(folder.path), **local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder.path), **local)
    classifies = any(str(name).endswith("ForSequenceClassification") for name in config.architectures or ())
    auto = transformers.AutoModelForSequenceClassification if classifies else transformers.AutoModelForCausalLM
    if not _is_of_kind(config, auto):
        raise ModuleError(
            f"--hf {folder.path} has a {config.model_type} model ({', '.join(config.architectures or ['unnamed'])}), "
            "and only causal language models and sequence classification can be run from a folder: write a module "
            "(loss-slicer init)"
        )
    if classifies and (config.problem_type or "single_label_classification") != "single_label_classification":
        raise ModuleError(f"--hf {folder.path} classifies by {config.problem_type}, not by one label: write a module")
    length = _length(sequence_length, config)
    records = read_records(text)
    # Its first weights are never used, and training's random state is left alone.
    with torch.random.fork_rng(devices=()), user_code(f"building the model of {folder.path}"):
        model = auto.from_config(config, trust_remote_code=False)
    samples = _classified(records, tokenizer, length, text) if classifies else _sequences(records, tokenizer, length)
    if not samples:
        raise DataError(f"--text {text} has no sequence of two tokens or more, so there is nothing to predict")
    size = max(int(sample["input_ids"].max()) for sample in samples)
    if size >= model.get_input_embeddings().weight.shape[0]:
        raise DataError(f"the tokenizer in {folder.path} gives token {size}, which the model has not: is it its own?")
    # Some models look for the token that pads to find where a text ends.
    pad = next((token for token in (config.pad_token_id, tokenizer.pad_token_id) if token is not None), 0)
    data = DataLoader(
        samples,  # type: ignore[arg-type]  # a list is a dataset
        batch_size=batch_size or DEFAULT_BATCH_SIZE,
        collate_fn=functools.partial(_padded, pad=pad),
    )
    return ModelWrapper(model, train_data=data, batch_loss=classification_loss if classifies else next_token_loss)


def _is_of_kind(config: Any, auto: Any) -> bool:
    """Whether the class that the library makes for the kind is the one that the folder was written from.

    Of an encoder's configuration it would make a language model too, into which the weights of its masked one fit.
    """
    if type(config) not in auto._model_mapping:
        return False
    found = auto._model_mapping[type(config)]
    names = {made.__name__ for made in (found if isinstance(found, (list, tuple)) else (found,))}
    return not config.architectures or bool(names & set(config.architectures))


def read_records(path: Path) -> list[Record]:
    """The documents of a `.txt` (one) or a `.jsonl` file (one a line, under `text`, with a `label` or not).

    Raises:
        UsageError: it can't be read, is not UTF-8 or of another kind, or a line is no such object.
    """
    if path.suffix not in (".txt", ".jsonl"):
        raise UsageError(f"--text {path} is neither a .txt nor a .jsonl file")
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--text {path} can't be read: {error}") from error
    if path.suffix == ".txt":
        return [Record(text=content)]
    # By line feeds alone: other separators may stand within a JSON text.
    lines = [(number, line) for number, line in enumerate(content.split("\n"), start=1) if line.strip()]
    return [_record(path, number, line) for number, line in lines]


def _record(path: Path, number: int, line: str) -> Record:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--text {path}, line {number} is not JSON: {error}") from error
    text = entry.get("text") if isinstance(entry, dict) else None
    label = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(text, str) or not (label is None or type(label) is int):
        raise UsageError(f'--text {path}, line {number} is not an object with a "text" (and a whole "label", if any)')
    return Record(text=text, label=label)


def _length(given: int | None, config: Any) -> int:
    limit = getattr(config, "max_position_embeddings", None)
    if given is None:
        return min(DEFAULT_SEQUENCE_LENGTH, limit or DEFAULT_SEQUENCE_LENGTH)
    if given < 2 or (limit and given > limit):
        raise UsageError(f"--sequence-length {given} is not from 2 to the model's {limit or 'any number of'} positions")
    return given


def _sequences(records: Sequence[Record], tokenizer: Any, length: int) -> list[dict[str, Tensor]]:
    """Sequences of `length` tokens and then the shorter ones, so that few batches have padding."""
    pieces = [piece for record in records for piece in _pieces(_tokens(record.text, tokenizer), length)]
    ordered = sorted((piece for piece in pieces if len(piece) > 1), key=len, reverse=True)
    return [{"input_ids": piece, "labels": piece} for piece in ordered]


def _classified(records: Sequence[Record], tokenizer: Any, length: int, path: Path) -> list[dict[str, Tensor]]:
    if any(record.label is None for record in records):
        raise DataError(f'--text {path}: a model that classifies needs a .jsonl file with a "label" in each line')
    samples = [
        {"input_ids": _tokens(record.text, tokenizer)[:length], "labels": torch.tensor(record.label)}
        for record in records
    ]
    return sorted((entry for entry in samples if len(entry["input_ids"])), key=lambda entry: -len(entry["input_ids"]))


def _tokens(text: str, tokenizer: Any) -> Tensor:
    # Its warning that a text is longer than the model's positions does not hold for what is cut afterwards.
    return torch.tensor(tokenizer(text, verbose=False)["input_ids"], dtype=torch.int64)


def _pieces(tokens: Tensor, length: int) -> Iterator[Tensor]:
    for start in range(0, len(tokens), length):
        yield tokens[start : start + length]


def _padded(samples: Sequence[dict[str, Tensor]], pad: int) -> dict[str, Tensor]:
    """Sequences of one length, with a mask where some of them are padded; what pads a sequence is no label."""
    lengths = [len(sample["input_ids"]) for sample in samples]
    rows = nn.utils.rnn.pad_sequence([entry["input_ids"] for entry in samples], batch_first=True, padding_value=pad)
    batch = {"input_ids": rows}
    if min(lengths) < max(lengths):
        batch["attention_mask"] = (torch.arange(rows.shape[1]) < torch.tensor(lengths)[:, None]).long()
    labels = [sample["labels"] for sample in samples]
    if labels[0].ndim:
        return batch | {"labels": nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=_IGNORED)}
    return batch | {"labels": torch.stack(labels)}


def next_token_loss(model: nn.Module, batch: dict[str, Tensor]) -> LossSum:
    """`transformers`' loss of causal language models, as sums over sequences: in float32, padding left out."""
    # The cache of keys and values is for generation.
    logits, labels = _logits(model, batch, use_cache=False), batch["labels"]
    # Behind a prompt that PEFT trains the first token is predicted too.
    has_prompt = logits.shape[1] > labels.shape[1]
    labels = labels if has_prompt else labels[:, 1:]
    logits = logits[:, -labels.shape[1] - 1 : -1]
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="none")
    return LossSum(sum=losses.view(labels.shape).sum(dim=1), count=(labels != _IGNORED).sum(dim=1).to(losses.dtype))


def classification_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """One cross-entropy a text."""
    return F.cross_entropy(_logits(model, batch), batch["labels"], reduction="none")


def _logits(model: nn.Module, batch: dict[str, Tensor], **options: Any) -> Tensor:
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    return model(**inputs, **options).logits.float()


def _transformers() -> Any:
    """The library.

    Raises:
        ModuleError: it is missing, or can't be imported.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError:
        pass
    except (RuntimeError, OSError):
        # One that was built for another torch. Texts need none, but `transformers` imports what is there.
        sys.modules["torchvision"] = None  # type: ignore[assignment] - None is how Python marks what is not to be imported
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ModuleError(
            f"--hf needs transformers ({error}): pip install 'tensorboard-loss-slicer[transformers]'"
        ) from error
