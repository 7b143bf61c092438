"""`loss-slicer doctor` on installations and logs with one thing wrong."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from loss_slicer import doctor_checks
from loss_slicer.doctor import doctor
from loss_slicer.doctor_checks import Finding, missing_files
from loss_slicer.doctor_log_checks import check_log, log_summary, read_log
from slicer_core.slices import Axis, Slice, SliceArray
from tensorboard_loss_slicer.protos import slice_summary
from tensorboard_loss_slicer.serving.static_files import load_static_files

if TYPE_CHECKING:
    from pathlib import Path


def curve(seed: int) -> Slice:
    values = np.random.default_rng(seed).normal(size=5)
    return Slice(
        slice_type="random_direction_1d",
        geometry="curve",
        axes=(Axis(name="d", label="d", values=np.linspace(-1.0, 1.0, 5)),),
        arrays=(SliceArray(name="loss", split="train", role="value", values=values),),
    )


def write_run(folder: Path, steps: list[int], *, tag: str = "random1d") -> Path:
    """An event file with one slice a step; returns the file."""
    before = set(folder.glob("*"))
    writer = EventFileWriter(str(folder))
    for step in steps:
        writer.add_event(Event(wall_time=1.0, step=step, summary=slice_summary(tag, curve(step))))
    writer.close()
    (file,) = set(folder.glob("*")) - before
    return file


def findings_of(logdir: Path) -> list[Finding]:
    return check_log(logdir, read_log(logdir))


def by_check(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.status for finding in findings}


def install(folder: Path, name: str, version: str, entry_points: str = "") -> None:
    """What an installer leaves of a distribution, in a folder that stands on the search path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_log_without_faults_has_only_good_findings(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "loss_slicer", [0, 10, 20])
    write_run(tmp_path / "b" / "loss_slicer", [5], tag="other")
    assert by_check(findings_of(tmp_path)) == {"event files": "ok", "slices": "ok"}
    assert log_summary(read_log(tmp_path)) == {
        "a/loss_slicer": {
            "random1d": {"slice_type": "random_direction_1d", "slices": 3, "first_step": 0, "last_step": 20}
        },
        "b/loss_slicer": {"other": {"slice_type": "random_direction_1d", "slices": 1, "first_step": 5, "last_step": 5}},
    }


def test_a_file_that_is_cut_off_is_a_problem_and_what_comes_before_is_read(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run", [0, 10])
    os.truncate(file, file.stat().st_size - 7)
    problems = [finding for finding in findings_of(tmp_path) if finding.status == "problem"]
    assert len(problems) == 1
    assert str(file) in problems[0].message
    assert "cut off" in problems[0].message
    assert read_log(tmp_path)["run"].tags["random1d"].steps == [0]


def test_a_flipped_byte_is_a_problem(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run", [0, 10])
    content = bytearray(file.read_bytes())
    content[-20] ^= 0xFF
    file.write_bytes(content)
    problems = [finding for finding in findings_of(tmp_path) if finding.status == "problem"]
    assert [finding.check for finding in problems] == ["event files"]
    assert "damaged" in problems[0].message


def test_a_slice_that_cannot_be_decoded_is_a_problem_with_its_step(tmp_path: Path) -> None:
    summary = slice_summary("t", curve(0))
    summary.value[0].tensor.string_val[1] = b"rubbish"
    writer = EventFileWriter(str(tmp_path / "run"))
    writer.add_event(Event(wall_time=1.0, step=40, summary=summary))
    writer.close()
    problems = [finding for finding in findings_of(tmp_path) if finding.status == "problem"]
    assert [finding.check for finding in problems] == ["slices"]
    assert "step 40" in problems[0].message


@pytest.mark.parametrize("steps", [[0, 20, 10], [0, 10, 10]])
def test_steps_that_do_not_ascend_are_a_problem(tmp_path: Path, steps: list[int]) -> None:
    write_run(tmp_path / "run", steps)
    assert by_check(findings_of(tmp_path))["step order"] == "problem"


@pytest.mark.parametrize("count, expected", [(1000, None), (1001, "warning")])
def test_more_steps_than_tensorboard_keeps_are_a_warning(tmp_path: Path, count: int, expected: str | None) -> None:
    write_run(tmp_path / "run", list(range(count)))
    assert by_check(findings_of(tmp_path)).get("sampling") == expected


def test_slices_in_an_earlier_file_of_a_run_are_a_warning(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [0]).rename(tmp_path / "run" / "events.out.tfevents.1000000001.host")
    assert "several files" not in by_check(findings_of(tmp_path))
    write_run(tmp_path / "run", [10]).rename(tmp_path / "run" / "events.out.tfevents.1000000002.host")
    found = by_check(findings_of(tmp_path))
    assert found["several files"] == "warning"
    assert "problem" not in found.values()


def test_a_log_without_event_files_or_without_slices_is_a_problem(tmp_path: Path) -> None:
    assert by_check(findings_of(tmp_path)) == {"event files": "problem"}
    EventFileWriter(str(tmp_path / "run")).close()
    assert by_check(findings_of(tmp_path)) == {"event files": "ok", "slices": "problem"}


def test_the_status_is_0_for_a_good_log_and_1_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor_checks, "check_installation", list)
    file = write_run(tmp_path / "run", [0, 10])
    assert doctor(tmp_path) == 0
    assert "log: run random1d random_direction_1d 2 0…10" in capsys.readouterr().out
    os.truncate(file, file.stat().st_size - 1)
    assert doctor(tmp_path) == 1


def test_json_is_one_document_that_agrees_with_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", [0])
    status = doctor(tmp_path, as_json=True)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["ok"] is (status == 0)
    assert document["ok"] is all(finding["status"] != "problem" for finding in document["findings"])
    assert document["log"]["runs"]["run"]["random1d"]["slices"] == 1
    checks = {finding["check"] for finding in document["findings"]}
    assert checks >= {"package", "requirements", "TensorBoard", "entry point", "command", "loader", "page", "slices"}


def test_control_codes_in_a_name_do_not_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", [1, 0], tag="\x1b]0;title\x07[red]")
    doctor(tmp_path)
    plain = capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    doctor(tmp_path)
    for text in (plain, capsys.readouterr().out):
        assert "\x1b]0" not in text
        assert "\x07" not in text
        assert "[red]" in text


def test_a_version_that_does_not_work_is_named_with_the_one_that_does(packages: Path) -> None:
    install(packages, "tensorboard", "2.19.0")
    (finding,) = doctor_checks.check_requirements()
    assert finding.status == "problem"
    assert "tensorboard 2.19.0 is installed, tensorboard>=2.21 is needed" in finding.message


def test_a_second_tensorboard_is_a_conflict(packages: Path) -> None:
    assert [finding.status for finding in doctor_checks.check_other_tensorboards()] == ["ok"]
    install(packages, "tb-nightly", "2.22.0a1")
    (finding,) = doctor_checks.check_other_tensorboards()
    assert finding.status == "problem"
    assert "tb-nightly" in finding.message


def test_a_second_installation_is_a_problem_that_names_both_places(packages: Path) -> None:
    assert [finding.status for finding in doctor_checks.check_package()] == ["ok"]
    install(packages, "tensorboard-loss-slicer", "0.0.1")
    (finding,) = doctor_checks.check_package()
    assert finding.status == "problem"
    assert f"0.0.1 in {packages}" in finding.message


def test_a_plugin_that_cannot_be_imported_is_named_since_tensorboard_stops_at_it(packages: Path) -> None:
    install(packages, "broken-board", "1.0", "[tensorboard_plugins]\nbroken = no_such_module_here:Plugin\n")
    (finding,) = doctor_checks.check_other_plugins()
    assert finding.status == "problem"
    assert "broken" in finding.message
    assert "uninstall broken-board" in finding.advice


def test_an_entry_point_that_cannot_be_imported_is_a_problem(packages: Path) -> None:
    install(packages, "another", "1.0", "[tensorboard_plugins]\nloss_slicer = no_such_module_here:Plugin\n")
    findings = list(doctor_checks.check_entry_point())
    assert any(finding.status == "problem" and "no_such_module_here" in finding.message for finding in findings)


def test_the_command_of_another_environment_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "tensorboard"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.status for finding in doctor_checks.check_command()] == ["warning"]
    monkeypatch.setenv("PATH", "")
    assert [finding.status for finding in doctor_checks.check_command()] == ["warning"]
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"))
    assert [finding.status for finding in doctor_checks.check_command()] == ["ok"]


def test_files_that_the_page_names_but_lacks_are_found(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    script = (
        'import{a}from"./chunk-1.js";import"./chunk-2.js";const w=()=>import(`./assets/lazy.js`);'
        'new Worker(new URL("assets/worker.js", import.meta.url));const s="./not-a-reference.js";import x from "react";'
    )
    (tmp_path / "index.js").write_text(script)
    (tmp_path / "assets" / "lazy.js").write_text('export*from"../chunk-1.js";import"./deep.js"')
    (tmp_path / "chunk-1.js").write_text("")
    (tmp_path / "page.css").write_text("a{background:url(dot.png)} b{background:url(data:image/png;base64,AA)}")
    assert missing_files(load_static_files(tmp_path)) == [
        "assets/deep.js",
        "assets/worker.js",
        "chunk-2.js",
        "dot.png",
    ]
