"""Run every command of docs/gallery.md, in its order, from the repository's folder: `python docs/pictures/gallery.py`.

A word after it runs only the sections whose title holds it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "gallery.md"


def commands(wanted: str = "") -> list[list[str]]:
    """The page's commands as lists of words, those of sections whose title holds `wanted`."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    return [
        shlex.split(line)
        for section in sections
        if wanted.lower() in section.partition("\n")[0].lower()
        for line in re.findall(r"^    (loss-slicer .*)$", section, re.MULTILINE)
    ]


def main() -> None:
    """Runs them, and stops where one fails."""
    scripts = Path(sysconfig.get_path("scripts"))
    for _, *arguments in commands(" ".join(sys.argv[1:])):
        print("loss-slicer", shlex.join(arguments), flush=True)
        subprocess.run([scripts / "loss-slicer", *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
