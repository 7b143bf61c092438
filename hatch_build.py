"""Builds the page into the plugin's `static/`, and as one script into `static_report/`, when one is missing or older
than its sources; Hatch calls it for wheels, source distributions and editable installs, `python hatch_build.py` by
hand."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLUGIN = Path("tb_plugin/tensorboard_loss_slicer")
STATIC = PLUGIN / "static"
REPORT = PLUGIN / "static_report" / "report.js"
FRONTEND = Path("frontend")
ENTRY = "index.js"
HASH_FILE = ".sources-hash"
SOURCES = ("package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")
WAY_OUT = (
    "install Node.js 20.19 or newer of 20, or 22.12 or newer, and try again; or install the released package "
    "(pip install tensorboard-loss-slicer), which carries the built page"
)


class PageBuildError(Exception):
    """The page can't be built; the message says what to do."""


class CustomBuildHook(BuildHookInterface):
    """What `[tool.hatch.build.hooks.custom]` runs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make sure that the page is there before files are collected.

        Args:
            version: `standard` or `editable`; the page is needed in both.
            build_data: unused, the page's files are listed under `artifacts` in pyproject.toml.
        """
        try:
            ensure_page(Path(self.root), self.app.display_info)
        except PageBuildError as error:
            self.app.abort(str(error))


def ensure_page(root: Path, report: Any = print) -> bool:
    """Build the page where it is missing or not made from these sources; whether it was built.

    Raises:
        PageBuildError: it has to be built, and that is not possible.
    """
    static, frontend = root / STATIC, root / FRONTEND
    made = (static / ENTRY, root / REPORT)
    is_built = all(file.is_file() for file in made)
    if not (frontend / "package.json").is_file():
        if is_built:
            return False
        raise PageBuildError(
            f"there is neither a built page ({STATIC / ENTRY}) nor its sources ({FRONTEND}/): {WAY_OUT}"
        )
    wanted = sources_hash(frontend)
    recorded = static / HASH_FILE
    if is_built and recorded.is_file() and recorded.read_text(encoding="ascii").strip() == wanted:
        return False
    npm = _find_npm()
    report(f"Building the page into {STATIC}")
    _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], frontend)
    _run([npm, "run", "build"], frontend)
    for file in made:
        if not file.is_file():
            raise PageBuildError(f"the build of the page made no {file.relative_to(root)}")
    recorded.write_text(f"{wanted}\n", encoding="ascii")
    return True


def sources_hash(frontend: Path) -> str:
    """A hash of everything that the built page is made from: names and contents, not times."""
    files = [*(frontend / name for name in SOURCES), *(frontend / "src").rglob("*")]
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(
        (path for path in files if path.is_file()), key=lambda path: path.relative_to(frontend).as_posix()
    ):
        for part in (path.relative_to(frontend).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def _find_npm() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise PageBuildError(
            f"building the page needs Node.js, and no `{'node' if node is None else 'npm'}` is found: {WAY_OUT}"
        )
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    major, minor = (int(found[1]), int(found[2])) if found else (0, 0)
    if not ((major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22):
        raise PageBuildError(f"building the page needs a newer Node.js than {version or 'the one found'}: {WAY_OUT}")
    return npm


def _run(command: list[str], folder: Path) -> None:
    # A terminal's colors would only clutter the message below.
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise PageBuildError(f"`npm {' '.join(command[1:])}` failed in {folder} with status {done.returncode}:\n{tail}")


def main() -> None:
    """Build the page if need be, and say so."""
    try:
        built = ensure_page(Path(__file__).parent)
    except PageBuildError as error:
        sys.exit(str(error))
    print("The page is built." if built else "The page is up to date.")


if __name__ == "__main__":
    main()
