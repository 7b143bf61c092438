"""The wheel that people install: what it holds, and that it works where only it is installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = (
    "loss_slicer/app.py",
    "slicer_core/job/run.py",
    "slicer_core/examples/digits.safetensors",
    "slicer_core/examples/LICENSE-digits.md",
    "pysclice/slicers.py",
    "tensorboard_loss_slicer/plugin.py",
    "tensorboard_loss_slicer/static/index.js",
    "tensorboard_loss_slicer/static_report/report.js",
    "tensorboard_loss_slicer/demos/demo_linear_interpolation.py",
    *(f"{package}/py.typed" for package in ("loss_slicer", "slicer_core", "pysclice", "tensorboard_loss_slicer")),
)

PACKAGES = {
    "loss_slicer",
    "slicer_core",
    "pysclice",
    "tensorboard_loss_slicer",
    "tensorboard_loss_slicer-0.1.0.dist-info",
}


@pytest.fixture(scope="module")
def source_distribution(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built after the wheel, whose build makes the page where it is missing."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.mark.long
def test_twine_finds_no_fault_in_what_is_uploaded(wheel: Path, source_distribution: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source_distribution)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("PASSED") == 2


def test_a_wheel_of_the_source_distribution_is_the_same_and_needs_no_node(
    wheel: Path, source_distribution: Path, tmp_path: Path
) -> None:
    with tarfile.open(source_distribution) as archive:
        # Python 3.11.0 to 3.11.3 knows no filter; the archive is this project's own.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (unpacked,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    # No Node.js in there: the page comes with the sources.
    subprocess.run(command, cwd=unpacked, check=True, capture_output=True, env={"PATH": str(tmp_path)})

    assert not (unpacked / "frontend" / "node_modules").exists()
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == wheel.read_bytes()


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
