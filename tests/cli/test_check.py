"""`loss-slicer check` and `compare` on real logs: statuses, reports read back, and names that mean harm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from typer.testing import CliRunner, Result

from loss_slicer.app import app
from slicer_core.slices import Slice
from tensorboard_loss_slicer.summary_v2 import log_slice

Command = Callable[..., Result]
HOSTILE = "a|b `c` <img src=x onerror=alert(1)> [x](http://e.example) *d* @team \x1b[31m"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, tools: SimpleNamespace) -> Path:
    """Runs `sgd` and `adam`, both with a line from each checkpoint to the first."""
    folder = tmp_path_factory.mktemp("logs")
    found = [tools.copy_checkpoints(optimizer, folder / optimizer) for optimizer in ("sgd", "adam")]
    arguments = ["--method", "linear", "--to", "first", "--grid", "5", "--samples", "200"]
    checkpoints = [part for each in found for part in ("--checkpoints", each)]
    done = CliRunner().invoke(
        app, list(map(str, ["run", *checkpoints, *arguments, "--module", tools.MODULE, "--logdir", folder / "runs"]))
    )
    assert done.exit_code == 0, done.output
    return folder / "runs"


@pytest.fixture
def slices(log: Path, tools: SimpleNamespace) -> dict[int, Slice]:
    return tools.read_log(log)["sgd/loss_slicer"]["linear"]


def written(folder: Path, data: Slice, *, tag: str = "linear", step: int = 200) -> Path:
    """A log of one slice."""
    with SummaryWriter(str(folder)) as writer:
        log_slice(tag, data, step, writer=writer)
    return folder


def test_a_threshold_passes_up_to_the_measured_number_and_fails_below_it(
    log: Path, slices: dict[int, Slice], call: Command
):
    step = max(slices)
    increase = slices[step].measures["largest_increase"].value
    assert increase > 0
    for bound, status in ((increase * 1.01, 0), (increase * 0.99, 1)):
        result = call("check", log, "--run", "sgd", "--max-loss-increase", bound, "--no-nonfinite", "--json")
        assert result.exit_code == status
        document = json.loads(result.stdout)
        assert (document["schema"], document["outcome"]) == (1, ("passed", "failed")[status])
        rows = document["slices"][0]["rows"]
        assert [row["quantity"] for row in rows] == ["loss_increase", "nonfinite"]
        assert rows[0]["found"]["value"] == pytest.approx(increase, rel=1e-6)
        assert [row["outcome"] for row in rows] == [("passed", "failed")[status], "passed"]


def test_rules_name_any_number_of_the_header(log: Path, slices: dict[int, Slice], call: Command):
    last = slices[max(slices)]
    assert last.center is not None
    for name, value in (
        ("center.loss.train", last.center.loss["train"]),
        ("barrier", last.measures["barrier"].value),
        ("measures.barrier.value", last.measures["barrier"].value),
        ("barrier.at", last.measures["barrier"].details["at"]),
        ("directions.0.norm", last.directions[0].norm),
    ):
        rules = (f"{name} <= {value + 1e-9}", f"{name} >= {value - 1e-9}")
        result = call("check", log, "--run", "sgd", *(part for rule in rules for part in ("--rule", rule)))
        assert result.exit_code == 0, result.output
        assert "2 of 2 passed" in result.output


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--rule", "barier < 1"), "nearest: barrier"),
        (("--max-sharpness", "30"), "has no number of this name"),
        (("--rule", "__import__('os').system('x')"), "is not NAME OP NUMBER"),
        (("--max-barrier", "nan"), "has to be finite"),
        ((), "there is nothing to check"),
        (("--no-nonfinite", "--tag", "nothing"), "no tag fits"),
        (("--no-nonfinite", "--tag", "linear", "--tag", "hess*"), "no slice fits --tag hess*; those of the other"),
        (("--no-nonfinite", "--run", "sdg"), "no slice fits --run sdg; those of the other choices are of sgd"),
        (("--no-nonfinite", "--step", "200,7,2000"), "no slice has step 7 (--step 200,7,2000)"),
        # A quantity that fails beside one that is absent: the check is not the one that was asked for.
        (("--rule", "barrier < -1", "--rule", "center.loss.nowhere < 1"), "1 failed, 1 could not be checked"),
    ],
)
def test_what_can_not_be_checked_has_status_2(arguments: tuple[str, ...], message: str, log: Path, call: Command):
    result = call("check", log, "--run", "sgd", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_provisional_slice_fails_unless_it_is_allowed(slices: dict[int, Slice], call: Command):
    half = replace(slices[200], status="provisional", filled=0.4)
    logdir = written(Path("half"), half, tag="linear/preview")
    refused = call("check", logdir, "--no-nonfinite")
    assert refused.exit_code == 1
    assert "provisional, 40%" in refused.output
    assert call("check", logdir, "--no-nonfinite", "--allow-provisional").exit_code == 0
    # The whole one is there too: its preview is of no account any more.
    written(logdir, slices[200])
    assert call("check", logdir, "--no-nonfinite").exit_code == 0


def test_losses_that_are_not_finite_never_pass(slices: dict[int, Slice], call: Command):
    values = slices[200].loss.copy()
    values[0] = np.nan
    arrays = (replace(slices[200].arrays[0], values=values), *slices[200].arrays[1:])
    logdir = written(Path("diverged"), replace(slices[200], arrays=arrays))
    for arguments in (("--no-nonfinite",), ("--max-loss-increase", "1e9")):
        assert call("check", logdir, *arguments).exit_code == 1


def test_a_log_compared_with_itself_is_the_same_and_a_worse_one_fails(log: Path, call: Command):
    same = call("compare", log, log, "--tolerance", "0", "--any-change", "--step", "all")
    assert same.exit_code == 0
    assert "failed" not in same.output
    # Runs of one log by their folders.
    losses = {}
    for baseline, new in (("sgd", "adam"), ("adam", "sgd")):
        result = call("compare", log / baseline, log / new, "--quantity", "center.*", "--tolerance", "0", "--json")
        (checked,) = json.loads(result.stdout)["slices"]
        (row,) = [row for row in checked["rows"] if row["quantity"] == "center.loss.train"]
        losses[new] = row["found"]["value"]
        assert checked["run"] == new
        assert result.exit_code == (1 if row["change"] == "worse" else 0)
    assert losses["sgd"] != losses["adam"]


def test_worse_fails_and_better_only_on_request(slices: dict[int, Slice], call: Command):
    early, late = written(Path("early"), slices[200]), written(Path("late"), slices[2000])
    worse = call("compare", late, early)
    assert worse.exit_code == 1
    assert "center.loss.train" in worse.output
    center = ("--quantity", "center.*")
    assert call("compare", early, late, *center, "--step", "first").exit_code == 0
    assert call("compare", early, late, *center, "--any-change").exit_code == 1
    assert call("compare", late, early, *center, "--tolerance", "center.*=100").exit_code == 0


def test_of_two_logs_each_choice_is_in_one(log: Path, slices: dict[int, Slice], call: Command):
    other = written(Path("other"), slices[200], tag="line")
    written(other, slices[200])
    tags = ("--tag", "linear", "--tag", "line")
    added = call("compare", log / "sgd", other, *tags, "--step", "200")
    assert added.exit_code == 0
    assert "Not in the baseline" in added.output
    refused = call("compare", log / "sgd", other, *tags, "--tag", "lime", "--step", "200")
    assert refused.exit_code == 2
    assert "no slice fits --tag lime; those of the other choices are of line, linear" in refused.output


def test_what_can_not_be_compared_has_status_2(log: Path, slices: dict[int, Slice], call: Command):
    wider = replace(slices[200].axes[0], values=slices[200].axes[0].values * 2)
    narrow = written(Path("narrow"), slices[200])
    wide = written(Path("wide"), replace(slices[200], axes=(wider,)))
    other = written(Path("other"), slices[200], tag="another")
    for baseline, new, arguments, message in (
        (narrow, wide, (), "slices on other axes"),
        (narrow, other, (), "no slice of the new log"),
        (narrow, narrow, ("--tolerance", "-1"), "is not a part of the baseline"),
        (narrow, narrow, ("--quantity", "nothing"), "the baseline has no such quantity"),
        (log, narrow, (), "no slice of the new log"),
        (narrow, Path("nowhere"), (), "there is no log directory"),
    ):
        result = call("compare", baseline, new, *arguments)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())


def test_reports_are_read_back_and_no_name_is_markup(slices: dict[int, Slice], call: Command):
    logdir = written(Path("logs") / HOSTILE.replace("/", "-"), slices[200], tag=HOSTILE).parent
    rules = ("--rule", "barrier < -1", "--rule", "nonfinite == 0", "--rule", "*x* < 1")
    result = call("check", logdir, *rules, "--junit", "out/report.xml", "--markdown", "out/summary.md")
    assert result.exit_code == 2
    assert "\x1b" not in result.output

    suite = ElementTree.parse("out/report.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    cases = suite.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [["failure"], ["system-out"], ["error"]]
    assert "<img src=x onerror=alert(1)>" in str(cases[0].get("classname"))

    summary = Path("out/summary.md").read_text()
    for sign in ("<img", "onerror=alert(", "`", "](http", "*d*", "@team", "\x1b"):
        assert sign not in summary
    rows = [line for line in summary.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {7}
    assert "<pre>" in summary
    (picture,) = Path("out").glob("*.png")
    assert f"]({picture.name})" in summary
    assert set(picture.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    with Image.open(picture) as opened:
        assert opened.size == (600, 450)


def test_a_summary_without_matplotlib_says_so(log: Path, call: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = call("check", log, "--run", "sgd", "--no-nonfinite", "--markdown", "summary.md")
    assert result.exit_code == 0
    assert "No PNG: figures need matplotlib" in result.output
    assert "<pre>" in Path("summary.md").read_text()
    assert list(Path().glob("*.png")) == []
    assert call("check", log, "--run", "sgd", "--no-nonfinite", "--markdown", "m.md", "--no-pictures").exit_code == 0
    assert "<pre>" not in Path("m.md").read_text()


def test_rules_of_a_file_hold_besides_those_of_the_command(log: Path, call: Command, tmp_path: Path):
    path = tmp_path / "rules.toml"
    for rules, status, names in (
        (["width >= 0"], 0, ["barrier", "width"]),
        (["width >= 0", "directions.0.norm < 0"], 1, ["barrier", "width", "directions.0.norm"]),
    ):
        path.write_text(f"rules = {json.dumps(rules)}")
        arguments = ("--run", "sgd", "--rule", "barrier < 1e9", "--config", path, "--json")
        result = call("check", log, *arguments)
        assert result.exit_code == status, result.output
        (checked,) = json.loads(result.stdout)["slices"]
        assert [row["quantity"] for row in checked["rows"]] == names


@pytest.mark.parametrize(
    "content, message",
    [
        ("rules = ['barrier <= 0.05; import os']", "is not NAME OP NUMBER"),
        ("rules = 3", "needs a list of texts"),
        ("rules = []", "needs a list of texts"),
        ("rule = ['barrier <= 1']", "unknown key 'rule'"),
        ("rules = [", "can't be read"),
    ],
)
def test_a_file_that_holds_no_rules_is_one_message(
    content: str, message: str, log: Path, call: Command, tmp_path: Path
):
    path = tmp_path / "rules.toml"
    path.write_text(content)
    result = call("check", log, "--config", path)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
