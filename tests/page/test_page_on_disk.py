"""`loss-slicer export --format html`: one file, opened from disk, with the views and numbers of the page."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from loss_slicer.app import app
from slicer_core.errors import UsageError
from slicer_core.slices import decode_slice
from tensorboard_loss_slicer import report
from tensorboard_loss_slicer.log_selection import select_slices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Tab

ADAM = '["resnet20-adam/loss_slicer"]'
ENDING = "</script><script>window.hacked=1</script><!--<script>\u2028&"


@pytest.fixture(scope="module")
def log(make_log: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    logdir = tmp_path_factory.mktemp("log")
    make_log.usual(logdir)
    make_log.hostile(logdir)
    make_log.awkward(logdir)
    make_log.write_run(logdir, "ending", [(ENDING, 0, make_log.curve(0), ENDING)])
    return logdir


def export(log: Path, folder: Path, *arguments: str) -> Path:
    result = CliRunner().invoke(app, ["export", str(log), "--format", "html", "--out", str(folder), *arguments])
    assert result.exit_code == 0, result.stderr
    (path,) = folder.iterdir()
    assert result.stdout.split() == [str(path)]
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    assert re.search(rf"\d+ slices in one file of {size}", result.stderr)
    return path


@pytest.fixture(scope="module")
def file(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(log, tmp_path_factory.mktemp("all"))


def number(text: str) -> float:
    """A number of the page, which writes a true minus."""
    return float(text.replace("\u2212", "-").replace(",", ""))


def test_a_file_shows_the_logs_numbers_without_a_server(
    open_page: Callable[..., Tab], file: Path, make_log: Any
) -> None:
    tab = open_page(file, runs=ADAM, method="random_direction_2d", filter="filter-normalized")
    assert tab.page.url.startswith("file:")
    data = make_log.grid(2000)
    tab.hover(tab.card("landscape/filter-normalized").locator("canvas"), 0.3, 0.2)
    shown = tab.readout()
    i = int(np.abs(data.axes[0].values - number(shown["direction 1 (α₁)"])).argmin())
    j = int(np.abs(data.axes[1].values - number(shown["direction 2 (α₂)"])).argmin())
    assert number(shown["loss (train)"].split(" ± ")[0]) == float(f"{data.array('loss', 'train').item(i, j):.7g}")
    assert tab.frame.get_by_role("link", name="Download").count() == 0
    with tab.page.expect_download() as download:
        tab.save("PNG, 1×")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_all_views_of_the_page_are_in_the_file(open_page: Callable[..., Tab], file: Path) -> None:
    tab = open_page(file, runs=ADAM, method="random_direction_2d", display="surface", wait="[data-testid=surface]")
    tab.frame.wait_for_function("() => document.querySelector('[data-testid=surface] canvas')?.width > 0")
    for method in ("linear_interpolation", "axis_parallel", "pca_2d"):
        open_page(file, runs=ADAM, method=method)
    for method, count in (("linear_interpolation", 3), ("random_direction_2d", 8)):
        tab = open_page(file, runs='["awkward"]', method=method)
        tab.frame.wait_for_function("n => document.querySelectorAll('[data-testid=plot]').length === n", arg=count)
        assert tab.frame.get_by_role("alert").count() == 0


def test_names_in_the_log_stay_text(open_page: Callable[..., Tab], file: Path, make_log: Any) -> None:
    tab = open_page(file, runs=json.dumps(["ending", make_log.HOSTILE]))
    text = tab.frame.locator("main").inner_text()
    assert text.count(make_log.HOSTILE) >= 3
    assert "</script><script>window.hacked=1</script><!--<script>" in text
    assert tab.frame.evaluate("window.hacked ?? null") is None
    assert tab.frame.locator("script").count() == 2


def test_the_file_holds_what_the_log_holds_bit_for_bit(open_page: Callable[..., Tab], file: Path, log: Path) -> None:
    tab = open_page(file)
    text = tab.frame.locator("#loss-slicer-slices").text_content()
    assert text is not None
    found = {(each["run"], each["tag"], each["step"]): each for each in json.loads(text)["slices"]}
    logged = select_slices(log, steps="all")
    assert len(logged) == len(found)
    for each in logged:
        kept = found[each.run, each.tag, each.step]
        again = decode_slice([kept["header"].encode(), *map(base64.b64decode, kept["arrays"])])
        for array, other in zip(each.data.arrays, again.arrays, strict=True):
            assert array.values.tobytes() == other.values.tobytes()


def test_only_what_is_chosen_is_in_the_file(log: Path, tmp_path: Path) -> None:
    path = export(log, tmp_path / "one", "--run", "resnet20-adam", "--tag", "landscape/filter*", "--step", "last")
    content = path.read_text("utf-8")
    assert "resnet20-sgd" not in content
    assert "landscape/explodes" not in content
    assert "default-src 'none'" in content
    assert path.name == path.name.lower()


def test_too_much_for_one_file_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_REPORT_BYTES", 2**20)
    with pytest.raises(UsageError, match="at most 1 MiB: choose fewer with --run, --tag or --step"):
        report.make_report(select_slices(log, steps="all"), title="")
