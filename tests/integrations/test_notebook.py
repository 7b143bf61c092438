"""A real notebook: a slice as the last expression of a cell, and TensorBoard inside one."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

Run = Callable[..., list[Any]]

SLICE = """
import numpy as np
from slicer_core.slices import Axis, Slice, SliceArray

values = np.array([[1.0, 2.0, 4.0], [3.0, np.nan, 5.0]])
data = Slice(
    slice_type="random_direction_2d",
    geometry="grid",
    axes=tuple(Axis(name=f"d{i}", label="<b>direction</b>", values=np.arange(float(n))) for i, n in enumerate((2, 3))),
    arrays=(SliceArray(name="loss", split="train", role="value", values=values),),
)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs cells as a notebook and gives the outputs of each."""
    monkeypatch.setenv("TENSORBOARD_BINARY", str(Path(sys.executable).with_name("tensorboard")))
    # Where TensorBoard's notebook magic looks for servers to use again.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    kernel = tmp_path / "kernels" / "ours" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "ours", "language": "python"}))

    def execute(*cells: str) -> list[Any]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        place = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, kernel_name="ours", timeout=240, resources=place).execute()
        return [cell.outputs for cell in notebook.cells]

    yield execute
    # The servers that the magic started outlive their notebook.
    for path in (tmp_path / ".tensorboard-info").glob("pid-*.info"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(path.read_text())["pid"], signal.SIGTERM)


def shown(outputs: list[Any]) -> dict[str, Any]:
    (result,) = [output for output in outputs if output.output_type == "execute_result"]
    return result.data


def test_a_slice_shows_itself_as_its_figure(run: Run) -> None:
    data = shown(run(SLICE, "data")[1])
    assert "text/html" not in data
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
        assert picture.width > picture.height > 300
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_without_matplotlib_a_slice_is_a_table_that_names_the_extra(run: Run) -> None:
    data = shown(run("import sys; sys.modules['matplotlib'] = None", SLICE, "data")[2])
    assert "image/png" not in data
    page = data["text/html"]
    assert "pip install 'tensorboard-loss-slicer[plot]'" in page
    assert "<th>&lt;b&gt;direction&lt;/b&gt;</th><td>0 to 2</td>" in page
    assert "<td>1 to 5; 1 not finite</td>" in page


def test_tensorboard_in_a_notebook_has_the_plugin_and_its_slices(run: Run, tmp_path: Path) -> None:
    found = run(
        SLICE + "from tensorboard_loss_slicer import log_slice\nlog_slice('plane', data, step=3, logdir='log/here')",
        "%load_ext tensorboard",
        "%tensorboard --logdir log --port 0",
        """
import json, time, urllib.request
from tensorboard import manager

(server,) = manager.get_all()
base = f"http://localhost:{server.port}{server.path_prefix}/data"
tags = {}
while not tags:
    time.sleep(0.2)
    tags = json.load(urllib.request.urlopen(f"{base}/plugin/loss_slicer/tags"))
print(json.dumps([json.load(urllib.request.urlopen(f"{base}/plugins_listing"))["loss_slicer"], tags]))
""",
    )
    printed = "".join(output.text for output in found[3] if output.output_type == "stream")
    plugin, tags = json.loads(printed)
    assert plugin["enabled"] is True
    assert tags["here"]["plane"]["last_step"] == 3
    (frame,) = [output.data["text/html"] for output in found[2] if "text/html" in output.get("data", {})]
    assert "<iframe" in frame
