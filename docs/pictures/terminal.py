"""Makes terminal.svg: a real run of the command in a pseudo-terminal, drawn by rich."""

from __future__ import annotations

import io
import os
import pty
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
COLUMNS = 80
SHOWN = "loss-slicer run --checkpoints adam/checkpoints --method random2d"


def main() -> None:
    """Runs the command on the digits from their own folder, with an empty log, and saves what it printed."""
    os.environ |= {"COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(REPOSITORY / "checkpoints_examples" / "digits_mlp", Path(folder) / "digits")
        os.chdir(Path(folder) / "digits")
        printed = _run([sys.executable, "-m", "loss_slicer", *SHOWN.split()[1:], "--steps", "last"])
    # The bar takes itself away at the end.
    lines = [line for line in _settled(printed) if "points/s" not in line]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {SHOWN} --steps last", style="bold"))
    for line in lines[:-1]:
        console.print(Text.from_ansi(line))
    console.save_svg(str(HERE / "terminal.svg"), title="loss-slicer", unique_id="terminal")


def _run(command: list[str]) -> str:
    chunks: list[bytes] = []

    def keep(descriptor: int) -> bytes:
        chunks.append(os.read(descriptor, 65536))
        return chunks[-1]

    status = pty.spawn(command, keep)
    if status != 0:
        sys.exit(f"the command ended with status {status}")
    return b"".join(chunks).decode()


def _settled(printed: str) -> list[str]:
    """The lines that stay: those over which the progress bar did not draw again."""
    lines: list[str] = []
    for line in printed.replace("\r\n", "\n").split("\n"):
        last = line.split("\x1b[2K")[-1].split("\r")[-1]
        lines.append(last.replace("\x1b[?25l", "").replace("\x1b[?25h", ""))
    return lines


if __name__ == "__main__":
    main()
