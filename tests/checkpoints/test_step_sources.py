"""Where steps come from: the user's map, the file, the name; and checkpoints that are there twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slicer_core.checkpoints import StepMap, find_sources, open_checkpoint
from slicer_core.errors import CheckpointError, UsageError


def found(folder: Path, step_map: str | None = None) -> list[tuple[str, int, str]]:
    (source,) = find_sources([str(folder)], step_map=StepMap.parse(step_map))
    return [(checkpoint.path.name, checkpoint.step, checkpoint.step_unit) for checkpoint in source.checkpoints]


def test_the_users_word_counts_more_than_the_file_and_its_name(tmp_path, save) -> None:
    save(tmp_path / "run" / "step-1.pt", 1.0, step=700)
    save(tmp_path / "run" / "b.pt", 2.0)
    maps = {
        "a.toml": '"step-1.pt" = 5\n"b.pt" = 6\n',
        "a.json": json.dumps({"step-1.pt": 5, "run/b.pt": "6"}),
        "a.csv": "name,step\nstep-1.pt,5\nb.pt,6\n",
        "b.csv": "step-1.pt,5\nb.pt,6\n",
    }
    for name, text in maps.items():
        (tmp_path / name).write_text(text)
    for given in ("step-1.pt=5,b.pt=6", *(str(tmp_path / name) for name in maps)):
        assert found(tmp_path / "run", given) == [("step-1.pt", 5, "step"), ("b.pt", 6, "step")]


def test_epochs_are_labelled_as_such_wherever_they_come_from(tmp_path, save) -> None:
    save(tmp_path / "run" / "net_a3_x.pt", 1.0)
    for text, name in (
        ('"net_a3_x.pt" = {epoch = 3}', "a.toml"),
        ('{"net_a3_x.pt": {"epoch": 3}}', "a.json"),
        ("name,epoch\nnet_a3_x.pt,3", "a.csv"),
    ):
        (tmp_path / name).write_text(text)
        assert found(tmp_path / "run", str(tmp_path / name)) == [("net_a3_x.pt", 3, "epoch")]
    assert found(tmp_path / "run", "net_a{epoch}_x.pt") == [("net_a3_x.pt", 3, "epoch")]
    assert found(tmp_path / "run", "net_a{step}_x.pt") == [("net_a3_x.pt", 3, "step")]


def test_what_a_map_leaves_out_is_found_as_always(tmp_path, save) -> None:
    save(tmp_path / "run" / "step-1.pt", 1.0)
    save(tmp_path / "run" / "best.pt", 2.0)
    assert found(tmp_path / "run", "best.pt=9") == [("step-1.pt", 1, "step"), ("best.pt", 9, "step")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.toml", "is neither a file, nor a pattern"),
        ("a{step}b{step}", "more than one placeholder"),
        ("a{step}b{epoch}", "more than one placeholder"),
        ("other_{step}.pt", r"fits no name; there are best\.pt"),
        ("best.pt=5,last.pt=6", r"names last\.pt, which is not among the checkpoints best\.pt"),
        ("best.pt=five", r"gives 'best\.pt' the step 'five'"),
        ("best.pt=-1", "the step '-1'"),
        ("best.pt=" + "9" * 30, "expected a number from 0 up"),
        ("bad.toml", r"--step-map bad\.toml can't be read"),
        ("bad.json", r"--step-map bad\.json can't be read"),
        ("bad.csv", r"--step-map bad\.csv can't be read: expected two columns"),
        ("twice.csv", "a name is there twice"),
        ("deep.toml", r"gives 'best\.pt' the step"),
        ("bool.toml", r"gives 'best\.pt' the step True"),
    ],
)
def test_a_map_that_says_nothing_is_refused(given, message, tmp_path, save, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "run" / "best.pt", 1.0)
    Path("bad.toml").write_text("= 5")
    Path("bad.json").write_text('{"best.pt": 1, "best.pt": 2}')
    Path("bad.csv").write_text("best.pt\n")
    Path("twice.csv").write_text("best.pt,1\nbest.pt,2\n")
    Path("deep.toml").write_text('"best.pt" = {step = {a = 1}}')
    Path("bool.toml").write_text('"best.pt" = true')
    with pytest.raises(UsageError, match=message):
        found(tmp_path / "run", given)


def test_a_file_with_the_weights_of_another_one_is_no_second_checkpoint(tmp_path, save) -> None:
    for step in (1, 2):
        save(tmp_path / f"epoch={step - 1}-step={step}.ckpt", float(step), global_step=step)
    # As Lightning has it: the same weights and step, with other words beside them.
    save(tmp_path / "last.ckpt", 2.0, global_step=2, callbacks={"last": "last.ckpt"})
    save(tmp_path / "best.pt", 1.0)
    (source,) = find_sources([str(tmp_path)])
    assert [checkpoint.path.name for checkpoint in source.checkpoints] == ["epoch=0-step=1.ckpt", "epoch=1-step=2.ckpt"]
    assert {path.name: kept.name for path, kept in source.same.items()} == {
        "last.ckpt": "epoch=1-step=2.ckpt",
        "best.pt": "epoch=0-step=1.ckpt",
    }


def test_not_a_number_in_weights_does_not_make_a_copy_another_checkpoint(tmp_path) -> None:
    for name in ("step-1.pt", "last.pt"):
        torch.save({"w": torch.tensor([float("nan"), 1.0])}, tmp_path / name)
    assert found(tmp_path) == [("step-1.pt", 1, "step")]


def test_a_copy_that_can_not_be_read_is_not_taken_for_one(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt", 1.0)
    whole = save(tmp_path / "last.pt", 1.0, step=1).read_bytes()
    at = whole.index(torch.ones(4).numpy().tobytes())
    (tmp_path / "last.pt").write_bytes(whole[: at + 2] + b"\x01" + whole[at + 3 :])
    with pytest.raises(CheckpointError, match=r"steps are there twice.* 1: last\.pt, step-1\.pt"):
        found(tmp_path)


def test_timms_numbers_are_epochs_and_its_copies_are_found(tmp_path) -> None:
    state = {"arch": "resnet18", "state_dict": {"w": torch.ones(2)}, "optimizer": {"state": {}}, "metric": 3.5}
    for epoch in (4, 5):
        torch.save(
            {"epoch": epoch, **state, "state_dict": {"w": torch.ones(2) * epoch}},
            tmp_path / f"checkpoint-{epoch}.pth.tar",
        )
    for name in ("last.pth.tar", "model_best.pth.tar"):
        (tmp_path / name).write_bytes((tmp_path / "checkpoint-5.pth.tar").read_bytes())
    assert found(tmp_path) == [("checkpoint-4.pth.tar", 4, "epoch"), ("checkpoint-5.pth.tar", 5, "epoch")]


def test_timms_number_is_an_epoch_by_its_name_alone(tmp_path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "checkpoint-4.pth.tar")
    assert found(tmp_path) == [("checkpoint-4.pth.tar", 4, "epoch")]


@pytest.mark.parametrize("step", [7, np.int64(7), np.int32(7)])
def test_a_step_inside_may_be_a_number_of_numpy(step: Any, tmp_path: Path, save: Any) -> None:
    save(tmp_path / "best.pt", 1.0, global_step=step)
    found, is_known = open_checkpoint(tmp_path / "best.pt")
    assert (found.step, type(found.step), is_known) == (7, int, True)
