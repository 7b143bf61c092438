"""The page's files, read into a table once: a request can only name an entry, never a path."""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STATIC_FOLDER = Path(__file__).resolve().parent.parent / "static"
PAGE_ENTRY = "index.js"

# The system's own registry of types differs between machines, and with nosniff a wrong one blanks the page.
MIME_TYPES: dict[str, str] = {
    ".css": "text/css",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}

_OTHER_TEXTS = ("application/json", "image/svg+xml")

# Each takes a connection of its own: the list of tags is on its way while the scripts are, and the first slices while
# the larger of them are read.
_ENTRY_MODULE = b"""\
const tags = fetch("tags").catch(() => null);
const started = import("./static/start.js").then(({ start }) => start(tags));
const scripts = Promise.all([
  import("./static/index.js"),
  import("./static/react.js"),
  import("./static/runtime.js"),
]);
export async function render() {
  const [page] = await scripts;
  page.render(await started);
}
"""

_UNBUILT_MODULE = b"""\
export function render() {
  const message = document.createElement("p");
  message.id = "loss-slicer-not-built";
  message.style.cssText =
    "font: 16px/1.5 sans-serif; max-width: 40em; margin: 3em auto; padding: 1em; background: #fff; color: #222";
  message.textContent =
    "Loss Slicer is installed without its page: its static files are missing. In a source checkout, build them with " +
    "\\"cd frontend && npm ci --ignore-scripts && npm run build\\", then start TensorBoard again. " +
    "In an installed package, install tensorboard-loss-slicer again. \\"loss-slicer doctor\\" says more.";
  document.body.appendChild(message);
}
"""


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    """A file as it is served. `etag` is a hash of the content."""

    content: bytes
    mime_type: str
    etag: str

    @property
    def is_text(self) -> bool:
        """Whether it gets smaller when it is compressed."""
        return self.mime_type.startswith("text/") or self.mime_type in _OTHER_TEXTS

    @cached_property
    def gzipped(self) -> bytes:
        """The content, compressed once: TensorBoard would do so for each request, and keep the others waiting."""
        return gzip.compress(self.content, mtime=0)


def load_static_files(folder: Path = STATIC_FOLDER) -> dict[str, StaticFile]:
    """Path below `folder`, with `/` between names -> file; empty where the page is not built.

    Hidden files and folders, and files of a type that a page does not use (build stamps), are left out.
    """
    files: dict[str, StaticFile] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            mime_type = MIME_TYPES.get(path.suffix)
            if mime_type is not None and not name.startswith("."):
                files[path.relative_to(folder).as_posix()] = _file(path.read_bytes(), mime_type)
    return files


def entry_module(files: Mapping[str, StaticFile]) -> StaticFile:
    """The module that TensorBoard imports; one that says what to do where the page is not built."""
    return _file(_ENTRY_MODULE if PAGE_ENTRY in files else _UNBUILT_MODULE, MIME_TYPES[".js"])


def _file(content: bytes, mime_type: str) -> StaticFile:
    return StaticFile(content=content, mime_type=mime_type, etag=hashlib.blake2b(content, digest_size=16).hexdigest())
