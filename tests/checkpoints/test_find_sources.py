from __future__ import annotations

import os
from pathlib import Path

import pytest

from slicer_core.checkpoints import find_sources, open_checkpoint, recognize
from slicer_core.checkpoints.steps import step_from_name
from slicer_core.errors import CheckpointError


def steps(*given: Path | str) -> list[list[int]]:
    return [[checkpoint.step for checkpoint in source.checkpoints] for source in find_sources([str(g) for g in given])]


def step_of(path: Path) -> tuple[int, str] | None:
    checkpoint, is_known = open_checkpoint(path)
    return (checkpoint.step, checkpoint.step_unit) if is_known else None


def test_a_folder_gives_its_checkpoints_ascending_by_step(tmp_path, save) -> None:
    for name in ("step-100.pt", "step-20.safetensors", "step-3.pth", "optimizer-3.pt", "notes.txt"):
        save(tmp_path / name)
    (source,) = find_sources([str(tmp_path)])
    assert [checkpoint.step for checkpoint in source.checkpoints] == [3, 20, 100]
    assert [checkpoint.format.name for checkpoint in source.checkpoints] == ["torch", "safetensors", "torch"]
    assert source.folder == tmp_path
    assert source.failures == ()


def test_a_file_a_glob_and_a_folder_of_the_same_files_are_one_source(tmp_path, save, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (1, 2, 3):
        save(tmp_path / "run" / f"step-{step}.pt")
    assert steps("run/step-2.pt") == [[2]]
    assert steps("run/step-[12].pt") == [[1, 2]]
    assert steps("run", "run/*.pt", str(tmp_path / "run" / "step-1.pt"), "./run") == [[1, 2, 3]]


def test_a_glob_over_folders_gives_a_source_for_each(tmp_path, save) -> None:
    for run in ("a", "b"):
        save(tmp_path / run / "checkpoints" / "step-1.pt")
    found = find_sources([str(tmp_path / "*" / "checkpoints")])
    assert [source.name for source in found] == ["a", "b"]
    deep = find_sources([str(tmp_path / "**" / "*.pt")])
    assert [source.name for source in deep] == ["a", "b"]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["exp7"], ["exp7"]),
        (["exp7/checkpoints"], ["exp7"]),
        (["x/exp7/checkpoints", "y/exp7"], ["x/exp7", "y/exp7"]),
        (["x/exp7", "y/exp7", "x/other"], ["x/exp7", "y/exp7", "other"]),
        (["exp7", "exp7/checkpoints"], ["exp7", "checkpoints"]),
        (["a/x/c", "b/x/c"], ["a/x/c", "b/x/c"]),
    ],
)
def test_sources_are_named_by_their_folders_and_told_apart_by_more_of_the_path(folders, names, tmp_path, save) -> None:
    given = [save(tmp_path / folder / "step-1.pt").parent for folder in folders]
    assert [source.name for source in find_sources([str(folder) for folder in given])] == names


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_step_in_the_file_counts_more_than_its_name(suffix, tmp_path, save) -> None:
    assert step_of(save(tmp_path / f"step-1{suffix}", step=700)) == (700, "step")
    assert step_of(save(tmp_path / f"step-2{suffix}", epoch=4)) == (4, "epoch")
    assert step_of(save(tmp_path / f"step-3{suffix}", epoch=4, global_step=90)) == (90, "step")


@pytest.mark.parametrize("value", ["x", "-1", "1" * 5000, "²"])
def test_a_step_in_the_file_that_is_no_number_is_passed_over(value, tmp_path, save) -> None:
    assert step_of(save(tmp_path / "step-3.safetensors", step=value)) == (3, "step")
    number = int(value) if value.lstrip("-").isdecimal() and len(value) < 100 else 10**30
    assert step_of(save(tmp_path / "step-4.pt", step=number)) == (4, "step")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("step-500.pt", (500, "step")),
        ("model_step00500.pt", (500, "step")),
        ("epoch=3-step=1200.ckpt", (1200, "step")),
        ("net_epoch_7.pth", (7, "epoch")),
        ("checkpoint-42.bin", (42, "step")),
        ("iter_10.pt", (10, "step")),
        ("0012.safetensors", (12, "step")),
        ("model-final.pt", (None, "step")),
        ("step1-step2.pt", (None, "step")),
    ],
)
def test_steps_in_names(name, expected) -> None:
    assert step_from_name(Path(name)) == expected


def test_a_step_that_is_unknown_is_an_error_with_what_to_do(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    save(tmp_path / "best.pt", 2.0)
    with pytest.raises(CheckpointError, match=r"1 of 2 checkpoints is unknown: best.pt\. .*--step-map best\.pt=500"):
        steps(tmp_path)


def test_a_step_that_is_there_twice_is_an_error_with_both_names(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    save(tmp_path / "last.pt", 2.0, step=1)
    with pytest.raises(CheckpointError, match=r"steps are there twice.* 1: last\.pt, step-1\.pt"):
        steps(tmp_path)


def test_a_link_to_a_checkpoint_of_the_folder_is_not_another_one(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    os.symlink("step-1.pt", tmp_path / "latest.pt")
    assert steps(tmp_path) == [[1]]
    elsewhere = save(tmp_path / "elsewhere" / "step-9.pt")
    os.symlink(elsewhere, tmp_path / "step-2.pt")
    assert steps(tmp_path) == [[1, 2]]


def test_a_link_that_leads_to_nothing_is_a_checkpoint_that_can_not_be_read(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    lost = {"step-2.pt": "/gone/step-2.pt", "checkpoint-3": "/gone/checkpoint-3", "loop.pt": "loop.pt"}
    for name, target in (lost | {"optimizer.pt": "/gone/optimizer.pt", "notes": "/gone/notes"}).items():
        os.symlink(target, tmp_path / name)
    for given in (tmp_path, tmp_path / "[csl]*"):
        (source,) = find_sources([str(given)])
        assert [checkpoint.step for checkpoint in source.checkpoints] == [1]
        told = {path.name: str(error) for path, error in source.failures}
        assert set(told) == set(lost)
        assert all(f"is a link to {lost[name]}, where nothing is" in message for name, message in told.items())
    with pytest.raises(CheckpointError, match=r"step-2\.pt is a link to /gone/step-2\.pt, where nothing is"):
        find_sources([str(tmp_path / "step-2.pt")])


def test_steps_and_epochs_are_not_mixed(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    save(tmp_path / "epoch-2.pt")
    with pytest.raises(CheckpointError, match=r"step-1\.pt \(step\), epoch-2\.pt \(epoch\)\. Say with --step-map"):
        steps(tmp_path)


def test_one_file_that_can_not_be_read_does_not_stop_the_others(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    (tmp_path / "step-2.pt").write_bytes(b"")
    (source,) = find_sources([str(tmp_path)])
    assert [checkpoint.step for checkpoint in source.checkpoints] == [1]
    ((path, error),) = source.failures
    assert path == tmp_path / "step-2.pt"
    assert "is empty" in str(error)
    (tmp_path / "step-1.pt").unlink()
    with pytest.raises(CheckpointError, match="is empty"):
        steps(tmp_path)


def test_what_is_not_there_is_said(tmp_path, save) -> None:
    for given in (tmp_path / "gone", tmp_path / "*.pt"):
        with pytest.raises(CheckpointError, match="there is no file or folder"):
            steps(given)
    save(tmp_path / "run" / "checkpoints" / "step-1.pt")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*\.safetensors.* some are in .*checkpoints"):
        steps(tmp_path / "run")


def test_a_pipe_is_no_checkpoint(tmp_path, save) -> None:
    save(tmp_path / "step-1.pt")
    os.mkfifo(tmp_path / "step-2.pt")
    with pytest.raises(CheckpointError, match=r"step-2\.pt is neither a file nor a folder, such as a pipe"):
        find_sources([str(tmp_path / "step-2.pt")])
    for given in (tmp_path, tmp_path / "*.pt"):
        (source,) = find_sources([str(given)])
        assert [checkpoint.step for checkpoint in source.checkpoints] == [1]


def test_files_of_optimizers_are_left_out_and_names_that_only_resemble_them_are_not(tmp_path, save) -> None:
    for name in ("optimizer-1.pt", "optim.bin", "scheduler.pt", "scaler.pt", "rng_state_0.pth", "training_args.bin"):
        save(tmp_path / name)
    save(tmp_path / "upscaler_step-4.pt")
    save(tmp_path / "optimal-step-5.pt")
    assert steps(tmp_path) == [[4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n  <HTML><body>Not found", "web page"),
        (b"\xef\xbb\xbf<!doctype html>", "web page"),
        (b"\x1f\x8b\x08\x00\x00", "compressed with gzip"),
        (b"", "is empty"),
        (b"hello world", "of no known format: expected a safetensors file, a file of torch.save, the index of"),
        (b"\xff" * 100, "of no known format"),
    ],
)
def test_files_that_are_no_checkpoints_are_told_by_their_first_bytes(content, message, tmp_path) -> None:
    path = tmp_path / "step-1.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"step-1.pt .*{message}"):
        recognize(path)


def test_the_format_goes_by_content_and_not_by_suffix(tmp_path, save) -> None:
    path = save(tmp_path / "step-1.safetensors").rename(tmp_path / "step-1.bin")
    assert recognize(path).name == "safetensors"
    path = save(tmp_path / "step-2.pt").rename(tmp_path / "step-2.safetensors")
    assert recognize(path).name == "torch"


def test_a_fingerprint_is_that_of_the_bytes(tmp_path, save) -> None:
    for name, value in (("step-1.safetensors", 1.0), ("step-2.safetensors", 1.0), ("step-3.safetensors", 2.0)):
        save(tmp_path / name, value)
    (source,) = find_sources([str(tmp_path)])
    first, second, third = (checkpoint.fingerprint() for checkpoint in source.checkpoints)
    assert first == second != third
