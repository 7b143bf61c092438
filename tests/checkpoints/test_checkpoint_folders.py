"""Folders that are one checkpoint, folders of such, and sets of files with an index."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from slicer_core.checkpoints import ReadOptions, find_sources, open_checkpoint
from slicer_core.errors import CheckpointError
from slicer_core.parameters import LazyTensors

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4).bfloat16(), "b.bias": torch.ones(())}


def trainer(folder: Path, step: int, name: str = "model.safetensors", add: float = 0.0) -> Path:
    """A folder as Hugging Face's Trainer leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor + step + add for name, tensor in WEIGHTS.items()}
    if name.endswith(".safetensors"):
        safetensors.torch.save_file(weights, folder / name)
    else:
        torch.save(weights, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "epoch": 0.5}))
    for other in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / other).write_bytes(b"never opened")
    return folder


def sharded(folder: Path, ending: str, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = list(WEIGHTS)
    places = {}
    stem, _, suffix = ending.partition(".")
    for number, part in enumerate((names[:1], names[1:]), start=1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        tensors = {name: WEIGHTS[name] for name in part}
        if suffix == "safetensors":
            safetensors.torch.save_file(tensors, folder / file)
        else:
            torch.save(tensors, folder / file)
        places |= dict.fromkeys(part, file)
    index = folder / f"{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": places} | changes))
    return index


def assert_weights(read: Any) -> None:
    assert set(read) == set(WEIGHTS)
    assert all(torch.equal(read[name], tensor) for name, tensor in WEIGHTS.items())


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "adapter_model.safetensors"])
def test_a_trainers_folder_its_parent_a_glob_and_its_file_give_the_same(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (500, 1000):
        trainer(Path("outputs") / f"checkpoint-{step}", step, name)
    for given in (["outputs"], ["outputs/checkpoint-*"], ["outputs/checkpoint-1000", f"outputs/checkpoint-500/{name}"]):
        (source,) = find_sources(given)
        assert source.name == "outputs"
        assert [(checkpoint.step, checkpoint.step_unit) for checkpoint in source.checkpoints] == [
            (500, "step"),
            (1000, "step"),
        ]
        assert source.failures == ()
        for checkpoint in source.checkpoints:
            assert checkpoint.path.name == f"checkpoint-{checkpoint.step}"
            assert checkpoint.read()["a.weight"][0, 1] == 1 + checkpoint.step
            assert checkpoint.contents().tensors["a.weight"].shape == (2, 3)
            assert (checkpoint.adapter is not None) == name.startswith("adapter")


def test_the_step_in_the_trainers_state_counts_more_than_the_folders_name(tmp_path) -> None:
    checkpoint, is_known = open_checkpoint(trainer(tmp_path / "checkpoint-1", 70))
    assert (checkpoint.step, is_known) == (70, True)


def test_a_file_of_a_trainer_is_what_it_was_as_a_folder(tmp_path) -> None:
    folder = trainer(tmp_path / "checkpoint-5", 5)
    alone = open_checkpoint(folder)[0]
    file = open_checkpoint(folder / "model.safetensors")[0]
    assert alone.fingerprint() == file.fingerprint()
    assert file.step == 5
    assert alone.num_bytes() == (folder / "model.safetensors").stat().st_size


def test_the_final_weights_beside_the_folders_of_steps_are_the_last_steps(tmp_path) -> None:
    for step in (5, 10):
        trainer(tmp_path / "out" / f"checkpoint-{step}", step)
    trainer(tmp_path / "out", 10)
    (tmp_path / "out" / "trainer_state.json").unlink()
    (source,) = find_sources([str(tmp_path / "out")])
    assert [checkpoint.step for checkpoint in source.checkpoints] == [5, 10]
    assert source.same == {tmp_path / "out" / "model.safetensors": tmp_path / "out" / "checkpoint-10"}
    trainer(tmp_path / "out", 10, add=0.5)
    (tmp_path / "out" / "trainer_state.json").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 3 checkpoints is unknown: model\.safetensors"):
        find_sources([str(tmp_path / "out")])


def test_a_folder_of_one_model_without_a_number_is_a_source_of_its_own(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "gpt"
    folder.mkdir()
    safetensors.torch.save_file(WEIGHTS, folder / "model.safetensors", metadata={"step": "3"})
    torch.save(WEIGHTS, folder / "pytorch_model.bin")
    (source,) = find_sources([str(folder)])
    assert (source.name, source.folder, len(source.checkpoints)) == ("gpt", folder, 1)
    assert source.checkpoints[0].format.name == "safetensors"
    monkeypatch.chdir(folder)
    (source,) = find_sources(["."])
    assert (source.name, source.folder) == ("gpt", folder)


@pytest.mark.parametrize("ending", ["model.safetensors", "pytorch_model.bin"])
def test_a_set_of_files_with_an_index_is_one_checkpoint(ending, tmp_path) -> None:
    index = sharded(tmp_path / "checkpoint-7", ending)
    for given in (index, index.parent, tmp_path):
        ((checkpoint,),) = [source.checkpoints for source in find_sources([str(given)])]
        assert (checkpoint.step, checkpoint.format.name) == (7, "sharded")
        assert_weights(checkpoint.read())
        opened = checkpoint.open()
        assert isinstance(opened, LazyTensors) == (ending == "model.safetensors")
        assert_weights(opened)
        contents = checkpoint.contents()
        assert {name: info.shape for name, info in contents.tensors.items()} == {
            name: tuple(tensor.shape) for name, tensor in WEIGHTS.items()
        }
    before = checkpoint.fingerprint()
    shard = tmp_path / "checkpoint-7" / f"{ending.partition('.')[0]}-00002-of-00002.{ending.partition('.')[2]}"
    shard.write_bytes(shard.read_bytes() + b"\0")
    assert checkpoint.fingerprint() != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weight_map": {"a.weight": "../secret.safetensors"}},
            "names '../secret.safetensors': expected a file beside",
        ),
        ({"weight_map": {"a.weight": "/etc/passwd"}}, "names '/etc/passwd'"),
        ({"weight_map": {"a.weight": ".."}}, r"names '\.\.'"),
        ({"weight_map": {"a.weight": "gone.safetensors"}}, "names files that are not there: gone.safetensors"),
        ({"weight_map": {"z": "model-00001-of-00002.safetensors"}}, "has z; it has not"),
        ({"weight_map": {"a.weight": 5}}, "is not an index of weights"),
        ({"weight_map": {}}, "is not an index of weights"),
        ({"weight_map": {"a.weight": "notes.txt"}}, "is neither a safetensors nor a torch file"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(changes, message, tmp_path) -> None:
    index = sharded(tmp_path / "checkpoint-7", "model.safetensors", **changes)
    (index.parent / "notes.txt").write_text("notes")
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(index.parent)


def test_an_index_that_is_no_json_or_has_a_key_twice_is_refused(tmp_path) -> None:
    index = sharded(tmp_path / "checkpoint-7", "model.safetensors")
    for text in ("{", '{"weight_map": {"a": "x", "a": "y"}}', '{"a":' * 10**5):
        index.write_text(text)
        with pytest.raises(CheckpointError, match="is not a file of one JSON object"):
            open_checkpoint(index)


def test_a_file_of_a_set_without_its_index_is_told(tmp_path) -> None:
    index = sharded(tmp_path / "checkpoint-7", "model.safetensors")
    with pytest.raises(CheckpointError, match="is one of several files of a checkpoint"):
        open_checkpoint(index.parent / "model-00001-of-00002.safetensors")


def test_of_several_models_in_a_folder_none_is_guessed(tmp_path) -> None:
    folder = trainer(tmp_path / "checkpoint_3", 3)
    safetensors.torch.save_file({"c": torch.ones(1)}, folder / "model_1.safetensors")
    with pytest.raises(CheckpointError, match=r"several models.*: model, model_1\. Give --weights KEY"):
        open_checkpoint(folder)
    checkpoint = open_checkpoint(folder, ReadOptions(weights="model_1"))[0]
    assert set(checkpoint.read()) == {"c"}


def test_a_saving_is_counted_as_such_where_accelerate_numbers_it(tmp_path) -> None:
    for number in (0, 1):
        folder = trainer(tmp_path / f"checkpoint_{number}", number)
        (folder / "trainer_state.json").unlink()
        (folder / "random_states_0.pkl").write_bytes(b"never opened")
    (source,) = find_sources([str(tmp_path)])
    assert [(checkpoint.step, checkpoint.step_unit) for checkpoint in source.checkpoints] == [(0, "save"), (1, "save")]


def test_shards_of_deepspeed_are_answered_with_its_script(tmp_path) -> None:
    folder = tmp_path / "run" / "global_step500"
    folder.mkdir(parents=True)
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        (folder / name).write_bytes(b"never opened")
    with pytest.raises(CheckpointError, match=r"python -m deepspeed\.utils\.zero_to_fp32 .* --tag global_step500"):
        find_sources([str(folder)])
    (folder.parent / "zero_to_fp32.py").write_text("")
    for given in (folder, folder.parent):
        with pytest.raises(CheckpointError, match="DeepSpeed ZeRO shards") as caught:
            find_sources([str(given)])
        assert f"python {tmp_path}/run/zero_to_fp32.py {tmp_path}/run {tmp_path}/run/global_step500-fp32" in str(
            caught.value
        )
        assert "--tag global_step500" in str(caught.value)
    # Beside whole weights they are the optimizer's.
    trainer(folder.parent, 500)
    (source,) = find_sources([str(folder.parent)])
    assert [checkpoint.step for checkpoint in source.checkpoints] == [500]


def test_safetensors_parts_of_each_process_are_answered_with_a_script_that_joins_them(tmp_path) -> None:
    folder = tmp_path / "run" / "step-20"
    folder.mkdir(parents=True)
    for index in (0, 1):
        # As the writer of torch.distributed.checkpoint names and describes the rows of two processes.
        part = {"weight": WEIGHTS["a.weight"][index : index + 1]}
        places = {"DCP_SHARDING_INFO": json.dumps({"weight": {"saved_offsets": [index, 0]}})}
        name = f"shard-0000{index + 1}-model-00001-of-00001.safetensors"
        safetensors.torch.save_file(part, folder / name, metadata={"format": "pt", "DCP_VERSION": "1.0", **places})
    with pytest.raises(CheckpointError, match="parts of tensors that each process has saved") as caught:
        find_sources([str(tmp_path / "run")])
    exec(shlex.split(str(caught.value).splitlines()[1])[2], {})
    (source,) = find_sources([str(tmp_path / "run")])
    (checkpoint,) = source.checkpoints
    assert (checkpoint.path.name, checkpoint.step) == ("step-20-whole", 20)
    assert torch.equal(checkpoint.read()["weight"], WEIGHTS["a.weight"])
    assert [path.name for path, _ in source.failures] == ["step-20"]


def test_an_orbax_folder_is_answered_with_a_script(tmp_path) -> None:
    folder = tmp_path / "it's 5"
    folder.mkdir()
    for name in ("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"):
        (folder / name).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"is an Orbax checkpoint.*\n    python -c .*PyTreeCheckpointer"):
        find_sources([str(folder)])


def test_the_item_of_an_orbax_manager_that_has_the_weights_is_restored(tmp_path) -> None:
    folder = tmp_path / "4"
    for item in ("meta", "opt", "params"):
        (folder / item).mkdir(parents=True)
        if item != "meta":
            (folder / item / "_METADATA").write_bytes(b"{}")
    (folder / "_CHECKPOINT_METADATA").write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=rf'restore\("{folder}/params"\).*"{folder}\.safetensors"'):
        find_sources([str(folder)])


def test_a_folder_that_can_not_be_listed_is_told(tmp_path, monkeypatch) -> None:
    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    folder = trainer(tmp_path / "checkpoint-1", 1)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CheckpointError, match="can't be read: Permission denied"):
        open_checkpoint(folder)


@pytest.mark.parametrize("ending", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("has_final", [False, True])
def test_parts_without_their_index_are_an_incomplete_checkpoint(ending: str, has_final: bool, tmp_path: Path) -> None:
    trainer(tmp_path / "checkpoint-10", 10)
    sharded(tmp_path / "checkpoint-20", ending).unlink()
    if has_final:
        trainer(tmp_path, 30)

    (source,) = find_sources([str(tmp_path)])

    assert [checkpoint.step for checkpoint in source.checkpoints] == [10, 30][: 1 + has_final]
    ((path, error),) = source.failures
    assert path.name == "checkpoint-20"
    assert "checkpoint-20 is incomplete: it has 2 of the files of its weights" in str(error)
    with pytest.raises(CheckpointError, match=r"is incomplete: .* but no \.index\.json"):
        find_sources([str(path)])


def test_fsdp_weights_without_their_metadata_are_an_incomplete_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path / "checkpoint-10", 10)
    part = tmp_path / "checkpoint-20" / "pytorch_model_fsdp_0" / "__0_0.distcp"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"cut off")

    (source,) = find_sources([str(tmp_path)])

    assert [checkpoint.step for checkpoint in source.checkpoints] == [10]
    ((_, error),) = source.failures
    assert "checkpoint-20 is incomplete: its pytorch_model_fsdp_0 has no .metadata" in str(error)


@pytest.mark.parametrize("has_final", [False, True])
@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("checkpoint-20", ["optimizer.pt", "scheduler.pt", "trainer_state.json"]),
        ("checkpoint-20", ["config.json"]),
        ("checkpoint_20", ["random_states_0.pkl"]),
        ("step-20", ["optimizer.bin"]),
        ("step-20", []),
    ],
)
def test_a_folder_of_a_saving_without_weights_is_told(
    name: str, there: list[str], has_final: bool, tmp_path: Path
) -> None:
    trainer(tmp_path / "checkpoint-10", 10)
    folder = tmp_path / name
    folder.mkdir()
    for file in there:
        (folder / file).write_text("{}")
    if has_final:
        trainer(tmp_path, 30)
    told = f"{name} holds no weights: .* there is {'only ' + there[0] if there else 'nothing'}"

    for given in [str(tmp_path)], [str(tmp_path / "checkpoint-10"), str(tmp_path / f"{name[:4]}*{name[-2:]}")]:
        (source,) = find_sources(given)
        assert [checkpoint.step for checkpoint in source.checkpoints][:1] == [10]
        ((path, error),) = source.failures
        assert path.name == name
        assert re.search(told, str(error))
    with pytest.raises(CheckpointError, match=told):
        find_sources([str(folder)])


def test_numbered_folders_of_other_things_are_no_savings(tmp_path: Path) -> None:
    trainer(tmp_path / "checkpoint-10", 10)
    for file in ("step-20/picture.png", "version_0/hparams.yaml", "epoch_3/log.csv", "2/optimizer.yaml", "2/runs/1"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    torch.save(WEIGHTS, trainer(tmp_path / "checkpoint-5" / "unet", 5).parent / "step_5.pt")
    (source,) = find_sources([str(tmp_path)])
    assert [checkpoint.step for checkpoint in source.checkpoints] == [10]
    assert source.failures == ()


@pytest.mark.parametrize("beside", [None, "model.safetensors", "adapter_model.safetensors"])
def test_whole_weights_of_fsdp_are_those_of_their_folder(beside: str | None, tmp_path: Path) -> None:
    """Alone as accelerate saves them, and with the weights once more as the Trainer does."""
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        trainer(folder, step, "pytorch_model_fsdp.bin", add=1.0)
        if beside is not None:
            trainer(folder, step, beside)
    for given in (
        [tmp_path],
        [tmp_path / "checkpoint-10", tmp_path / "checkpoint-20" / (beside or "pytorch_model_fsdp.bin")],
    ):
        (source,) = find_sources([str(path) for path in given])
        assert source.failures == ()
        assert [checkpoint.step for checkpoint in source.checkpoints] == [10, 20]
        assert [checkpoint.path.name for checkpoint in source.checkpoints] == ["checkpoint-10", "checkpoint-20"]
        first = source.checkpoints[0].read()["a.weight"]
        assert first[0, 1] == (12 if beside is None else 11)


def test_of_several_whole_models_of_fsdp_none_is_guessed(tmp_path: Path) -> None:
    for name in ("pytorch_model_fsdp.bin", "pytorch_model_fsdp_1.bin"):
        trainer(tmp_path / "checkpoint_3", 3, name)
    with pytest.raises(CheckpointError, match=r"several models.*: pytorch_model_fsdp, pytorch_model_fsdp_1\. Give"):
        open_checkpoint(tmp_path / "checkpoint_3")


@pytest.mark.parametrize("name", ["pytorch_model_fsdp_rank0.bin", "pytorch_model_fsdp_0_rank0.bin"])
def test_weights_of_fsdp_that_each_process_saved_apart_are_told(name: str, tmp_path: Path) -> None:
    trainer(tmp_path / "checkpoint-10", 10)
    trainer(tmp_path / "checkpoint-20", 20, name)
    (source,) = find_sources([str(tmp_path)])
    assert [checkpoint.step for checkpoint in source.checkpoints] == [10]
    ((path, error),) = source.failures
    assert path.name == "checkpoint-20"
    assert "holds the FSDP weights of each process apart" in str(error)


@pytest.mark.parametrize("has_final", [False, True])
def test_folders_of_a_trainer_with_shards_of_deepspeed_are_told(has_final: bool, tmp_path: Path) -> None:
    trainer(tmp_path / "checkpoint-10", 10)
    shards = trainer(tmp_path / "checkpoint-20", 20) / "global_step20"
    (shards.parent / "model.safetensors").unlink()
    shards.mkdir()
    (shards / "mp_rank_00_model_states.pt").write_bytes(b"never opened")
    several = trainer(tmp_path / "checkpoint-30", 30)
    (several / "model.safetensors").unlink()
    trainer(several / "other", 30, "adapter_model.safetensors")
    if has_final:
        trainer(tmp_path, 40)
    (source,) = find_sources([str(tmp_path)])
    assert [checkpoint.step for checkpoint in source.checkpoints][:1] == [10]
    ((path, error),) = source.failures
    assert path.name == "checkpoint-20"
    assert "--tag global_step20" in str(error)
    with pytest.raises(CheckpointError, match="holds DeepSpeed ZeRO shards"):
        find_sources([str(shards.parent)])
