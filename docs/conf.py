"""Sphinx's settings for these pages: `make docs` builds them, and warnings are errors."""

from __future__ import annotations

import re
from typing import Any

from slicer_core.version import __version__

# A link to a file beside the pages, as the included page of the examples has some.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)*[\w/-]+\.(?:md|py)\)")

project = "Loss Slicer"
author = "The Loss Slicer authors"
project_copyright = author
release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["pictures/*.py"]
# Blocks that are only indented are commands.
highlight_language = "bash"
# Options have two dashes.
smartquotes = False
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"Loss Slicer {release}"
html_copy_source = False
html_show_sourcelink = False


def setup(app: Any) -> None:
    """The repository's own pages outside this folder: one is included, links to files beside it are plain text."""
    app.connect("source-read", _link_the_examples)
    app.connect("include-read", lambda app, path, parent, content: _unlink(content))


def _link_the_examples(app: Any, page: str, source: list[str]) -> None:
    source[0] = source[0].replace("(../checkpoints_examples/README.md)", "(examples.md)")
    source[0] = source[0].replace("[CONTRIBUTING.md](../CONTRIBUTING.md)", "`CONTRIBUTING.md`")


def _unlink(content: list[str]) -> None:
    content[0] = _OUTSIDE.sub(r"\1", content[0])
