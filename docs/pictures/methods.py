"""Makes method-*.png: runs the commands below each picture of docs/methods/, in a folder of their own.

`python docs/pictures/methods.py` makes all of them, `python docs/pictures/methods.py linear plane` these.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = "checkpoints_examples"


def blocks() -> dict[str, tuple[Path, list[list[str]]]]:
    """Method -> its page, and the words of the commands below its picture."""
    found = {}
    for page in sorted((ROOT / "docs" / "methods").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for method, lines in re.findall(r"\(\.\./pictures/method-(\w+)\.png\)\n\n((?:    .*\n)+)", text):
            commands = lines.replace("\\\n", " ").splitlines()
            found[method] = page, [shlex.split(command) for command in commands]
    return found


def main() -> None:
    """Runs them, and stops where one fails."""
    found = blocks()
    wanted = sys.argv[1:] or list(found)
    if unknown := [name for name in wanted if name not in found]:
        sys.exit(f"no picture of {', '.join(unknown)}: there are {', '.join(found)}")
    for method in wanted:
        page, commands = found[method]
        print(method, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            _draw(Path(folder), method, page, commands)


def _draw(folder: Path, method: str, page: Path, commands: list[list[str]]) -> None:
    (folder / EXAMPLES).symlink_to(ROOT / EXAMPLES)
    # What the commands need beside the examples, such as directions in a file.
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        if "save_file" in code:
            subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    for name, *arguments in commands:
        subprocess.run([Path(sysconfig.get_path("scripts")) / name, *arguments], cwd=folder, check=True)
    (drawn,) = folder.glob("figures/*.png")
    drawn.replace(Path(__file__).with_name(f"method-{method}.png"))


if __name__ == "__main__":
    main()
