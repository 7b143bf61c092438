"""`--hf FOLDER --text FILE`: the center is the loss of `transformers` itself on all of the text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from slicer_core.errors import DataError, ModuleError, UsageError
from slicer_core.job import Job

Sliced = Callable[..., list[Any]]


def library_loss(folder: Path, tokenizer: Any, lines: list[str], length: int = 16, **classes: Any) -> float:
    """`from_pretrained` and the model's own loss on all sequences in one batch."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = [tokenizer(line)["input_ids"] for line in lines]
    pieces = [tokens[start : start + length] for tokens in ids for start in range(0, len(tokens), length)]
    batch = tokenizer.pad({"input_ids": pieces}, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with torch.no_grad():
        return model(**batch, labels=labels).loss.item()


@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_the_center_is_the_librarys_own_loss(
    kind: str, gpt2_run: Path, tokenizer: Any, texts: SimpleNamespace, sliced: Sliced
) -> None:
    given = {"checkpoints": str(gpt2_run), "hf": str(gpt2_run / "checkpoint-4"), "text": str(getattr(texts, kind))}
    lines = ["\n".join(texts.lines)] if kind == "txt" else texts.lines
    for finished in sliced(**given, batch_size=3):
        expected = library_loss(gpt2_run / f"checkpoint-{finished.step}", tokenizer, lines)
        assert finished.data.center.loss["train"] == pytest.approx(expected, rel=1e-6)
        assert finished.data.loss[1, 1] == pytest.approx(expected, rel=1e-6)
        assert len({*finished.data.loss.ravel().tolist()}) == 9


def small(name: str, size: int) -> Any:
    """Families whose files have other names or layouts than their models, and attention within a window."""
    import transformers

    shared = {"vocab_size": size, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    more: dict[str, Any] = {
        "GPTNeoX": {"intermediate_size": 24},
        "Mixtral": {
            "intermediate_size": 12, "num_key_value_heads": 1, "num_local_experts": 3, "num_experts_per_tok": 2,
        },
        "Mistral": {"intermediate_size": 24, "num_key_value_heads": 1, "sliding_window": 3},
    }  # fmt: skip
    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1, "max_position_embeddings": 16}
    config = getattr(transformers, f"{name}Config")(**shared, **more[name], **ids)
    torch.manual_seed(0)
    return getattr(transformers, f"{name}ForCausalLM")(config)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("GPTNeoX", "1 tensors renamed or stacked by the rules of transformers: embed_out.weight"),
        ("Mixtral", "20 tensors renamed or stacked by the rules of transformers: model.layers.0.block_sparse_moe"),
        ("Mistral", ""),
    ],
)
def test_other_families_are_read_as_their_library_reads_them(
    name: str, note: str, tokenizer: Any, texts: SimpleNamespace, sliced: Sliced, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint-3"
    small(name, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    given = {"checkpoints": str(folder), "hf": str(folder), "text": str(texts.jsonl)}
    expected = library_loss(folder, tokenizer, texts.lines)
    for strategy in ("loop", "streaming"):
        (finished,) = sliced(**given, strategy=strategy, name=strategy)
        assert finished.data.center.loss["train"] == pytest.approx(expected, rel=1e-6)
        assert len({*finished.data.loss.ravel().tolist()}) == 9
        notes = finished.data.checkpoint.get("notes") or [""]
        assert notes[0].startswith(note) if note else notes == [""]


def test_sequences_are_as_long_as_is_asked_and_the_engine_agrees_with_the_loop(
    gpt2_run: Path, tokenizer: Any, texts: SimpleNamespace, sliced: Sliced
) -> None:
    checkpoint = gpt2_run / "checkpoint-4"
    given = {"checkpoints": str(checkpoint), "hf": str(checkpoint), "text": str(texts.txt), "sequence_length": 5}
    (loop,) = sliced(**given)
    expected = library_loss(checkpoint, tokenizer, ["\n".join(texts.lines)], length=5)
    assert loop.data.center.loss["train"] == pytest.approx(expected, rel=1e-6)
    (engine,) = sliced(**given, strategy="auto", name="engine")
    assert engine.data.loss == pytest.approx(loop.data.loss, rel=2e-5)


def test_text_configuration_and_length_are_part_of_what_was_computed(
    gpt2_run: Path, texts: SimpleNamespace, sliced: Sliced, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gpt2_run / "checkpoint-4", folder)
    given = {"checkpoints": str(gpt2_run / "checkpoint-4"), "hf": str(folder), "text": str(texts.jsonl)}
    assert [finished.stored for finished in sliced(**given)] == [False]
    assert [finished.stored for finished in sliced(**given)] == [True]
    with texts.jsonl.open("a") as file:
        file.write('{"text": "hills and valleys"}\n')
    assert [finished.stored for finished in sliced(**given)] == [False]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"activation_function": "relu"}))
    assert [finished.stored for finished in sliced(**given)] == [False]
    assert [finished.stored for finished in sliced(**given, sequence_length=4)] == [False]


def test_a_model_that_classifies_takes_labels(tokenizer: Any, sliced: Sliced, tmp_path: Path, gpt2_config: Any) -> None:
    from transformers import GPT2ForSequenceClassification

    torch.manual_seed(0)
    model = GPT2ForSequenceClassification(gpt2_config).eval()
    folder = tmp_path / "step-7"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lines, labels = ["the loss of a net", "hills", "a path leads down from above"], [0, 1, 1]
    text = tmp_path / "classes.jsonl"
    text.write_text(
        "\n".join(json.dumps({"text": line, "label": label}) for line, label in zip(lines, labels, strict=True))
    )
    (finished,) = sliced(checkpoints=str(folder), hf=str(folder), text=str(text), split="train")
    with torch.no_grad():
        expected = model(**tokenizer(lines, padding=True, return_tensors="pt"), labels=torch.tensor(labels)).loss
    assert finished.data.center.loss["train"] == pytest.approx(expected.item(), rel=1e-6)
    text.write_text('{"text": "the loss"}')
    with pytest.raises(DataError, match=r'needs a \.jsonl file with a "label" in each line'):
        sliced(checkpoints=str(folder), hf=str(folder), text=str(text))


def test_what_can_not_be_used_is_told(gpt2_run: Path, texts: SimpleNamespace, sliced: Sliced, tmp_path: Path) -> None:
    from transformers import T5Config

    folder = gpt2_run / "checkpoint-4"
    given = {"checkpoints": str(folder), "hf": str(folder), "text": str(texts.txt)}
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"words": 1}\n')
    (tmp_path / "empty.txt").write_text("the")
    (tmp_path / "foreign.csv").write_text("the")
    for changes, error, message in (
        ({"hf": str(tmp_path)}, UsageError, "has no config.json: give the local folder"),
        ({"text": str(tmp_path / "none.txt")}, UsageError, r"none\.txt can't be read"),
        ({"text": str(tmp_path / "foreign.csv")}, UsageError, r"neither a \.txt nor a \.jsonl"),
        ({"text": str(tmp_path / "broken.jsonl")}, UsageError, 'line 2 is not an object with a "text"'),
        ({"text": str(tmp_path / "empty.txt")}, DataError, "nothing to predict"),
        ({"sequence_length": 17}, UsageError, "17 is not from 2 to the model's 16 positions"),
        ({"module": "subject.py"}, UsageError, "--module and --set have no meaning"),
        ({"split": "test"}, UsageError, "test"),
    ):
        with pytest.raises(error, match=message):
            sliced(**(given | changes))
    with pytest.raises(UsageError, match="needs data: give --text"):
        Job(checkpoints=("a",), hf="b")
    with pytest.raises(UsageError, match="--text has a meaning only with --hf"):
        Job(checkpoints=("a",), text="b")
    shutil.copytree(folder, tmp_path / "t5")
    T5Config().save_pretrained(tmp_path / "t5")
    with pytest.raises(ModuleError, match="only causal language models and sequence classification"):
        sliced(**(given | {"hf": str(tmp_path / "t5")}))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("BertForMaskedLM", "Bert"), ("BertForTokenClassification", "Bert"), ("BartForConditionalGeneration", "Bart"),
        ("T5ForConditionalGeneration", "T5"), ("GPT2Model", "GPT2"), ("BertForQuestionAnswering", "Bert"),
    ],
)  # fmt: skip
def test_a_model_of_another_kind_is_never_taken_for_a_language_model(
    name: str, made: str, tokenizer: Any, texts: SimpleNamespace, sliced: Sliced, tmp_path: Path
) -> None:
    import transformers

    small: dict[str, dict[str, Any]] = {
        "Bert": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
        "Bart": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8},
        "T5": {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2},
        "GPT2": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    }
    config = getattr(transformers, f"{made}Config")(vocab_size=len(tokenizer), **small[made])
    folder = tmp_path / "checkpoint-1"
    getattr(transformers, name)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.raises(
        ModuleError, match=rf"\({name}\), and only causal language models and sequence classif.* can be"
    ):
        sliced(checkpoints=str(folder), hf=str(folder), text=str(texts.txt))


def test_code_in_a_folder_is_never_run(gpt2_run: Path, texts: SimpleNamespace, sliced: Sliced, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(gpt2_run / "checkpoint-4", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModuleError):
        sliced(checkpoints=str(folder), hf=str(folder), text=str(texts.txt))
    assert not (tmp_path / "ran").exists()
