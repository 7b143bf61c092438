"""Weights & Biases, offline: what a run's own files hold is the slice."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tensorboard_loss_slicer import read_events

# The second block is the plugin's original description's own, with the names that it leaves to its reader before it.
SCRIPT = """
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from pysclice.core import ModelWrapper
from pysclice.slicers import AxisParallelSlicer, RandomDirectionSlicer
from slicer_core.figures import Labeled, draw
from tensorboard_loss_slicer.wandb import wandb_media

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
wrapper = ModelWrapper(model, nn.CrossEntropyLoss(), (torch.randn(20, 4), torch.randint(3, (20,))))
slice_data = RandomDirectionSlicer(wrapper).slice_2d(grid_size=(4, 3), range=(0.0, 1e5))
slice_data.arrays[0].values[1, 2] = float("nan")
slice_data.arrays[0].values[2, 1] = float("inf")
axis_slice = AxisParallelSlicer(wrapper).slice(n_samples=3, params_to_slice=[0, 1])
# W&B takes figures where pyplot has been imported, as plotting scripts do.
import matplotlib.pyplot
slice_plot = draw([Labeled(label="landscape", data=slice_data)])
writer = SummaryWriter("runs")
epoch = 3

import wandb
from tensorboard_loss_slicer.summary_v2 import log_slice

run = wandb.init(project="slices")

# Log to both TensorBoard and W&B
log_slice('landscape', slice_data, step=epoch)
wandb.log({"loss_landscape": wandb.Image(slice_plot)}, step=epoch)

log_slice("axis", axis_slice, step=epoch)
wandb.log(wandb_media("landscape", slice_data) | wandb_media("axis", axis_slice) | {"loss": 1.5}, step=epoch + 1)
wandb.finish()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script ran."""
    folder = tmp_path_factory.mktemp("wandb")
    (folder / "script.py").write_text(SCRIPT)
    environment = {
        **os.environ,
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def records(path: Path) -> Iterator[bytes]:
    """The records of a run's own file: LevelDB's log format after seven bytes of W&B's."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, parts = 7, b""
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):
            yield parts
            parts = b""


def history(folder: Path) -> list[dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found: list[dict[str, Any]] = []
    for content in records(path):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            entry: dict[str, Any] = {}
            for item in record.history.item:
                *outer, last = list(item.nested_key) or [item.key]
                place = entry
                for key in outer:
                    place = place.setdefault(key, {})
                place[last] = json.loads(item.value_json)
            found.append(entry)
    return found


def test_the_run_holds_figures_and_tables_beside_other_values(folder: Path) -> None:
    first, second = history(folder)
    assert first["loss_landscape"]["_type"] == "image-file"
    assert (second["_step"], second["loss"]) == (4, 1.5)
    (files,) = folder.glob("wandb/offline-run-*/files")
    for entry in (first["loss_landscape"], second["landscape"], second["axis"]):
        with Image.open(files / entry["path"]) as picture:
            picture.load()
            assert (picture.width, picture.height) == (entry["width"], entry["height"])
            colors = np.asarray(picture.convert("RGB")).reshape(-1, 3)
            assert len(np.unique(colors, axis=0)) > 50


def test_the_table_has_each_point_with_its_coordinates_and_numbers_as_they_are(folder: Path) -> None:
    logged = {event.tag: event.data for event in read_events(folder / "runs")}
    second = history(folder)[1]
    (files,) = folder.glob("wandb/offline-run-*/files")
    grid = json.loads((files / second["landscape/points"]["path"]).read_text())
    data = logged["landscape"]
    assert grid["columns"][:3] == ["direction_0", "direction_1", "loss_train"]
    assert len(grid["data"]) == 12
    for index, row in enumerate(grid["data"]):
        i, j = divmod(index, 3)
        assert row[:2] == [data.axes[0].values[i], data.axes[1].values[j]]
        assert float(row[2]) == pytest.approx(float(data.loss[i, j]), nan_ok=True, rel=0)
    family = json.loads((files / second["axis/points"]["path"]).read_text())
    assert family["columns"][:2] == ["curve", "layer"]
    assert [row[0] for row in family["data"]] == ["0.weight[0,0]"] * 3 + ["0.weight[0,1]"] * 3


def test_what_is_missing_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['wandb'] = None\n"
        "from tensorboard_loss_slicer.wandb import wandb_media\n"
        "wandb_media('name', {'samples': [(0.0, 1.0), (1.0, 2.0)]})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "wandb_media needs wandb, which is not installed: pip install" in done.stderr
