"""The wheel that people install: what it holds, and that it works where only it is installed."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

REQUIRED = (
    "loss_slicer/app.py",
    "slicer_core/job/run.py",
    "slicer_core/examples/digits.safetensors",
    "slicer_core/examples/LICENSE-digits.md",
    "pysclice/slicers.py",
    "tensorboard_loss_slicer/plugin.py",
    "tensorboard_loss_slicer/static/index.js",
    "tensorboard_loss_slicer/static_report/report.js",
)

PACKAGES = {
    "loss_slicer",
    "slicer_core",
    "pysclice",
    "tensorboard_loss_slicer",
    "tensorboard_loss_slicer-0.1.0.dist-info",
}


def test_the_wheel_carries_the_packages_the_page_and_the_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert [name for name in REQUIRED if name not in names] == []
    assert [name for name in names if name.split("/")[0] not in PACKAGES] == []


def test_the_page_of_the_wheel_is_a_module_that_exports_render(wheel: Path) -> None:
    script = zipfile.ZipFile(wheel).read("tensorboard_loss_slicer/static/index.js").decode()

    assert "as render" in script
    assert len(script) > 100_000


def test_the_command_and_the_plugin_come_from_the_wheel(wheel_python: Path) -> None:
    code = (
        "import importlib.metadata as m, loss_slicer, tensorboard_loss_slicer;"
        "print(loss_slicer.__file__, tensorboard_loss_slicer.__file__);"
        "print([e.value for e in m.entry_points(group='tensorboard_plugins') if e.name == 'loss_slicer'][0])"
    )
    printed = subprocess.run(
        [str(wheel_python), "-c", code], capture_output=True, text=True, check=True, cwd=wheel_python.parent
    ).stdout

    assert printed.count(str(wheel_python.parent.parent)) == 2
    assert "tensorboard_loss_slicer.plugin:TBLoader" in printed

    version = subprocess.run(
        [str(wheel_python.with_name("loss-slicer")), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert version.strip() == "loss-slicer 0.1.0"
