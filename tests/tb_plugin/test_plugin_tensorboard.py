"""The plugin inside real TensorBoard processes, with both loaders, a path prefix and the sampling flag."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from slicer_core.slices import encode_slice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import SimpleNamespace

LAUNCHER = """
import sys
from tensorboard import default, program
from tensorboard_loss_slicer.plugin import TBLoader
board = program.TensorBoard(plugins=[*default.get_plugins(), TBLoader])
board.configure(sys.argv)
sys.exit(board.main())
"""
DEADLINE_SECONDS = 90


@dataclass(frozen=True, kw_only=True)
class Board:
    """A running TensorBoard."""

    url: str
    samples: int
    log: Path

    def get(self, path: str, headers: dict[str, str] | None = None, **arguments: Any) -> tuple[int, bytes, Any]:
        query = urllib.parse.urlencode(arguments)
        request = urllib.request.Request(f"{self.url}/data/{path}?{query}", headers=headers or {})
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def json(self, path: str, **arguments: Any) -> Any:
        status, content, _ = self.get(path, **arguments)
        assert status == 200, content
        return json.loads(content)


@pytest.fixture(scope="module")
def logdir(logs: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    logdir = tmp_path_factory.mktemp("boards")
    grids = [logs.slice_event("random2d", step, encode_slice(logs.grid_slice(step))) for step in range(0, 1300, 10)]
    logs.write_events(logdir / "exp" / "loss_slicer", grids)
    many = [logs.slice_event("many", step, [b'{"schema":1}']) for step in range(1050)]
    logs.write_events(logdir / "long", many)
    marked = logs.slice_event(logs.HOSTILE_NAME, 1, encode_slice(logs.grid_slice(1)))
    logs.write_events(logdir / logs.HOSTILE_NAME, [marked])
    return logdir


def start(logdir: Path, log: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """TensorBoard by its own command where the plugin's entry point is installed, else by a launcher that adds it."""
    installed = any(entry.name == "loss_slicer" for entry in entry_points(group="tensorboard_plugins"))
    command = [sys.executable, *(["-m", "tensorboard.main"] if installed else ["-c", LAUNCHER])]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--logdir", str(logdir), "--port", "0", *options],
            env={**os.environ, "TENSORBOARD_LOSS_SLICER_DEBUG": "1"},
            stderr=errors,
            stdout=errors,
            text=True,
        )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"at (http://\S+?)/? \(Press", log.read_text()):
            return process, found[1]
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"TensorBoard did not start: {log.read_text()}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((1000, ("--load_fast", "true", "--path_prefix", "/team/a")), id="fast-loader-below-a-prefix"),
        pytest.param((0, ("--load_fast", "false", "--samples_per_plugin", "loss_slicer=0")), id="python-loader"),
    ],
)
def board(request: pytest.FixtureRequest, logdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    samples, options = request.param
    log = tmp_path_factory.mktemp("board") / "stderr.txt"
    process, url = start(logdir, log, *options)
    try:
        board = Board(url=url, samples=samples, log=log)
        expected = {"exp/loss_slicer": 1290, "long": 1049}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            tags = board.json("plugin/loss_slicer/tags")
            last = {run: tag["last_step"] for run in expected for tag in tags.get(run, {}).values()}
            if last == expected and len(tags) == 3:
                break
            assert time.monotonic() < deadline, f"only {last} was loaded"
            time.sleep(0.2)
        yield board
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_all_of_130_steps_are_there(board: Board) -> None:
    steps = board.json("plugin/loss_slicer/steps", run="exp/loss_slicer", tag="random2d")
    assert steps["steps"] == list(range(0, 1300, 10))
    assert steps["num_arrays"] == [2] * 130
    assert steps["sampled"] is False


def test_more_steps_than_tensorboard_keeps_are_said_to_be_sampled(board: Board) -> None:
    steps = board.json("plugin/loss_slicer/steps", run="long", tag="many")
    assert steps["limit"] == board.samples
    assert len(steps["steps"]) == (board.samples or 1050)
    assert steps["sampled"] is (board.samples > 0)


def test_headers_and_arrays_are_the_stored_bytes(board: Board, logs: SimpleNamespace) -> None:
    stored = encode_slice(logs.grid_slice(640))
    where = {"run": "exp/loss_slicer", "tag": "random2d", "step": 640}
    assert board.get("plugin/loss_slicer/header", **where)[1] == stored[0]
    status, content, headers = board.get("plugin/loss_slicer/data", **where, array=2)
    assert (status, content) == (200, stored[2])
    again = board.get("plugin/loss_slicer/data", {"If-None-Match": headers["ETag"]}, **where, array=2)
    assert again[:2] == (304, b"")


def test_a_batch_of_every_step_is_one_reply(board: Board, logs: SimpleNamespace) -> None:
    query = {"run": "exp/loss_slicer", "tag": "random2d", "steps": list(range(0, 1300, 10)), "blobs": [0, 1]}
    request = urllib.request.Request(
        f"{board.url}/data/plugin/loss_slicer/batch",
        data=json.dumps({"requests": [query]}).encode(),
        headers={"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"},
    )
    with urllib.request.urlopen(request) as reply:
        content = reply.read()
    length = int.from_bytes(content[:4], "little")
    parts = json.loads(content[4 : 4 + length])["parts"]
    assert len(parts) == 260
    for part in parts[::37]:
        begin = 4 + length + part["offset"]
        stored = encode_slice(logs.grid_slice(part["step"]))
        assert content[begin : begin + part["length"]] == stored[part["blob"]]


def test_names_with_markup_reach_the_page_as_texts(board: Board, logs: SimpleNamespace) -> None:
    steps = board.json("plugin/loss_slicer/steps", run=logs.HOSTILE_NAME, tag=logs.HOSTILE_NAME)
    assert steps["steps"] == [1]
    status, content, headers = board.get("plugin/loss_slicer/steps", run="<script>", tag=logs.HOSTILE_NAME)
    assert status == 404
    assert headers.get_content_type() == "text/plain"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"<script>" in content


def test_a_large_body_is_refused_and_the_server_goes_on(board: Board) -> None:
    request = urllib.request.Request(
        f"{board.url}/data/plugin/loss_slicer/batch",
        data=b" " * (2 * 2**20),
        headers={"Content-Type": "application/json"},
    )
    with pytest.raises((urllib.error.URLError, ConnectionError)) as refused:
        urllib.request.urlopen(request)
    if isinstance(refused.value, urllib.error.HTTPError):
        assert refused.value.code == 413
    assert board.get("plugin/loss_slicer/tags")[0] == 200


def test_paths_out_of_the_page_are_not_there(board: Board) -> None:
    for path in ("..%2f..%2fplugin.py", "%2e%2e/plugin.py", "../../plugin.py", "%2fetc%2fpasswd"):
        assert board.get(f"plugin/loss_slicer/static/{path}")[0] == 404


def test_the_tab_opens_a_page_that_imports_the_module(board: Board) -> None:
    listed = board.json("plugins_listing")["loss_slicer"]
    assert (listed["enabled"], listed["tab_name"]) == (True, "Loss Slicer")
    _, page, _ = board.get("plugin_entry.html", name="loss_slicer")
    assert b'<base href="plugin/loss_slicer/" />' in page
    assert b'import("./index.js")' in page
    status, module, headers = board.get("plugin/loss_slicer/index.js")
    assert (status, headers.get_content_type()) == (200, "text/javascript")
    assert b"render" in module


def test_debugging_writes_requests_to_standard_error_and_tensorboard_has_nothing_to_warn_of(board: Board) -> None:
    _, _, headers = board.get("plugin/loss_slicer/tags")
    board.get("plugin/loss_slicer/tags", {"If-None-Match": headers["ETag"]})
    written = board.log.read_text()
    assert "/data/plugin/loss_slicer/tags" in written
    assert "-> 304" in written
    assert "Content-Type" not in written
