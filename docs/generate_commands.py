"""Makes docs/commands: a page for each command, from its help and its options. `python docs/generate_commands.py`.

A test holds that what is committed is what this makes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from loss_slicer.app import app

FOLDER = Path(__file__).parent / "commands"
_OPTIONS = "Options"
_METAVARS = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}


def pages() -> dict[str, str]:
    """File name -> text of the page."""
    group = typer.main.get_command(app)
    commands: dict[str, Any] = vars(group)["commands"]
    index = [
        "# Commands",
        "",
        *(
            f"- [`loss-slicer {name}`]({name}.md): {_first_sentence(command.help)}"
            for name, command in commands.items()
        ),
        "",
        "`loss-slicer --version` shows the version. `-h` and `--help` work everywhere. `--install-completion`",
        "completes commands and options in your shell.",
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *commands,
        "```",
        "",
    ]
    return {"index.md": "\n".join(index)} | {f"{name}.md": _page(name, command) for name, command in commands.items()}


def _page(name: str, command: Any) -> str:
    panels: dict[str, list[str]] = {}
    usage = [f"loss-slicer {name}", "[OPTIONS]"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            usage.append(_argument_metavar(parameter))
            panels.setdefault("Arguments", []).append(_entry(usage[-1], parameter))
        else:
            panel = parameter.rich_help_panel or _OPTIONS
            panels.setdefault(panel, []).append(_entry(_flags(parameter), parameter))
    parts = [f"# `loss-slicer {name}`", "", "```text", " ".join(usage), "```", "", _paragraphs(command.help), ""]
    for panel, entries in panels.items():
        parts += [f"## {panel}", "", *entries, ""]
    return "\n".join(parts)


def _argument_metavar(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    name = f"{name}..." if parameter.nargs == -1 else name
    return name if parameter.required else f"[{name}]"


def _flags(parameter: Any) -> str:
    flags = ", ".join(sorted(parameter.opts, key=len, reverse=True))
    if parameter.secondary_opts:
        flags += " / " + ", ".join(parameter.secondary_opts)
    if parameter.is_flag:
        return flags
    return f"{flags} {parameter.metavar or _METAVARS[parameter.type_descriptor.annotation]}"


def _entry(shown: str, parameter: Any) -> str:
    text = _one_line(parameter.help or "")
    default = parameter.default
    told = (
        getattr(parameter, "show_default", False)
        and not any(default is none for none in (None, False))
        and default not in ((), [])
        and not callable(default)
    )
    words = [text, f"(default: {default})" if told else "", "Required." if parameter.required else ""]
    repeated = " May be given several times." if parameter.multiple and "several times" not in text else ""
    return f"- `{shown}`: {' '.join(word for word in words if word)}{repeated}"


def _first_sentence(text: str) -> str:
    return _one_line(text.partition("\n\n")[0])


def _paragraphs(text: str) -> str:
    return "\n\n".join(_one_line(part) for part in text.strip().split("\n\n"))


def _one_line(text: str) -> str:
    """As one paragraph, with what Markdown would take for markup written as such."""
    return re.sub(r"([*_<>|\\$])", r"\\\1", re.sub(r"\s+", " ", text.strip()))


def main() -> None:
    """Writes the pages, and removes those of commands that are gone."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
