"""LoRA by PEFT: the adapter's file over the base model of the user's module, and slices in the adapter alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slicer_core import RandomDirectionSlicer, from_transformers

Sliced = Callable[..., list[Any]]

SUBJECT = """
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2LMHeadModel

from slicer_core import LossSum, ModelWrapper

BASE = {base!r}
IDS = torch.tensor({ids!r})


def make_model():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = GPT2LMHeadModel.from_pretrained(BASE)
        return get_peft_model(base, LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", **{options!r}))


def loss(model, batch):
    logits = model(input_ids=batch["ids"]).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch["ids"][:, 1:], reduction="none")
    return losses.mean(dim=1)


def build():
    return ModelWrapper(make_model(), train_data=[dict(ids=IDS)], batch_loss=loss)
"""


@pytest.fixture(params=[{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=["lora", "dora", "head"])
def source(request: pytest.FixtureRequest, gpt2_run: Path) -> str:
    ids = [[2, 3, 4, 5, 6, 7], [5, 4, 3, 2, 9, 8]]
    return SUBJECT.format(base=str(gpt2_run / "checkpoint-4"), ids=ids, options=request.param)


def test_an_adapter_is_sliced_over_the_base_of_the_module(
    source: str,
    train: Callable[..., None],
    sliced: Sliced,
    inspected: Callable[..., list[dict[str, Any]]],
    write_module: Callable[[str], str],
    tmp_path: Path,
) -> None:
    names: dict[str, Any] = {"__name__": "subject"}
    exec(compile(source, "subject.py", "exec"), names)
    train(names["make_model"](), tmp_path / "adapter")
    module = write_module(source)
    entries = inspected(tmp_path / "adapter", "--module", module)
    assert [entry["step"] for entry in entries] == [2, 4]
    assert all("not in the checkpoint, which is an adapter, and taken from the module" in e["match"] for e in entries)

    from peft import PeftModel
    from transformers import GPT2LMHeadModel

    ids = {"input_ids": names["IDS"], "labels": names["IDS"]}
    slices = sliced(checkpoints=str(tmp_path / "adapter"), module=module, params=["*lora*"])
    for finished in slices:
        base = GPT2LMHeadModel.from_pretrained(names["BASE"])
        model: Any = PeftModel.from_pretrained(base, str(tmp_path / "adapter" / f"checkpoint-{finished.step}")).eval()
        with torch.no_grad():
            expected = model(**ids).loss.item()
        assert finished.data.center.loss["train"] == pytest.approx(expected, rel=1e-5)
        assert len(set(finished.data.loss.ravel().tolist())) == 9
        kept = finished.data.checkpoint["from_module"]
        assert "base_model.model.transformer.wte.weight" in kept
        assert not any("lora_" in name for name in kept)
    assert slices[0].data.center.loss != slices[1].data.center.loss


def test_what_the_module_adds_is_part_of_what_was_computed(
    gpt2_run: Path, train: Callable[..., None], sliced: Sliced, write_module: Callable[[str], str], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(gpt2_run / "checkpoint-2", tmp_path / "base")
    source = SUBJECT.format(base=str(tmp_path / "base"), ids=[[2, 3, 4, 5], [5, 4, 9, 8]], options={})
    names: dict[str, Any] = {"__name__": "subject"}
    exec(compile(source, "subject.py", "exec"), names)
    train(names["make_model"](), tmp_path / "adapter")
    given = {"checkpoints": str(tmp_path / "adapter" / "checkpoint-4"), "module": write_module(source)}
    (first,) = sliced(**given)
    (again,) = sliced(**given)
    assert again.stored
    shutil.rmtree(tmp_path / "base")
    shutil.copytree(gpt2_run / "checkpoint-4", tmp_path / "base")
    (other,) = sliced(**given)
    assert not other.stored
    assert other.data.center.loss != first.data.center.loss


def test_an_adapter_without_its_model_says_what_is_to_be_built(
    gpt2_run: Path, train: Callable[..., None], sliced: Sliced, write_module: Callable[[str], str], tmp_path: Path
) -> None:
    from slicer_core.errors import CheckpointError

    source = SUBJECT.format(base=str(gpt2_run / "checkpoint-4"), ids=[[2, 3, 4, 5]], options={})
    names: dict[str, Any] = {"__name__": "subject"}
    exec(compile(source, "subject.py", "exec"), names)
    train(names["make_model"](), tmp_path / "adapter")
    plain = write_module(
        source.replace("ModelWrapper(make_model()", "ModelWrapper(GPT2LMHeadModel.from_pretrained(BASE)")
    )
    with pytest.raises(CheckpointError, match=r"build the model with peft\.get_peft_model around its base model"):
        sliced(checkpoints=str(tmp_path / "adapter"), module=plain)


@pytest.mark.filterwarnings("ignore")
def test_a_trained_prompt_predicts_the_first_token_too() -> None:
    """Its model gives scores behind each of the prompt's tokens, which no label belongs to."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=11, n_positions=12, n_embd=8, n_layer=1, n_head=2)
    prompt = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(transformers.GPT2LMHeadModel(config), prompt).eval()
    ids = torch.randint(0, 11, (5, 6))
    labels = ids.clone()
    labels[2:, 4:] = -100
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    with torch.no_grad():
        expected = model(**batch).loss.item()
    data = [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, 2), slice(2, 5))]
    found = RandomDirectionSlicer(from_transformers(model, train_data=data), progress=False).slice_1d(n_samples=3)
    assert found.center.loss["train"] == pytest.approx(expected, rel=1e-5)
