"""The page and slices of a log as one HTML file, which a browser opens without a server."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slicer_core.errors import SlicerError, UsageError
from slicer_core.slices import encode_slice
from tensorboard_loss_slicer.log_selection import LoggedSlice

SCRIPT = Path(__file__).resolve().parent / "static_report" / "report.js"
MAX_REPORT_BYTES = 128 * 2**20
"""Of the slices in one file: a browser holds all of them in memory, as text and again as numbers."""

_DOCUMENT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
<noscript>The slices in this file are drawn by its script, and scripts are turned off in this browser.</noscript>
<script type="application/json" id="loss-slicer-slices">{slices}</script>
<script type="module">{script}</script>
</body>
</html>
"""
# Nothing but the one script runs, and nothing is asked of any host.
_POLICY = (
    "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def make_report(chosen: Sequence[LoggedSlice], *, title: str) -> bytes:
    """An HTML document with the slices as they are logged, bit for bit, and the views of the TensorBoard page.

    Raises:
        UsageError: the slices are larger than `MAX_REPORT_BYTES`.
        SlicerError: the package was installed without its page.
    """
    slices: list[dict[str, Any]] = []
    size = 0
    for each in chosen:
        slices.append(_embedded(each))
        size += len(slices[-1]["header"]) + sum(map(len, slices[-1]["arrays"]))
        if size > MAX_REPORT_BYTES:
            raise UsageError(
                f"the first {len(slices)} of {len(chosen)} slices take {size / 2**20:.0f} MiB, and an HTML file holds "
                f"at most {MAX_REPORT_BYTES // 2**20} MiB: choose fewer with --run, --tag or --step"
            )
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    document = _DOCUMENT.format(
        policy=_POLICY.format(digest=digest),
        title=html.escape(title),
        slices=_json_in_html({"tags": _tags(chosen), "slices": slices}),
        script=script,
    )
    # Names of a log may hold halves of characters, which no file can.
    return document.encode("utf-8", "replace")


def _embedded(each: LoggedSlice) -> dict[str, Any]:
    header, *arrays = encode_slice(each.data)
    return {
        "run": each.run,
        "tag": each.tag,
        "step": each.step,
        "wall_time": each.wall_time if math.isfinite(each.wall_time) else None,
        "header": header.decode(),
        "arrays": [base64.b64encode(array).decode() for array in arrays],
    }


def _tags(chosen: Sequence[LoggedSlice]) -> dict[str, dict[str, dict[str, Any]]]:
    """As the plugin's route `/tags` gives them, of what the page reads."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for each in chosen:
        found.setdefault(each.run, {})[each.tag] = {
            "slice_type": each.data.slice_type,
            "geometry": each.data.geometry,
            "description": each.description or "",
            "problem": None,
        }
    return found


def _json_in_html(value: object) -> str:
    """JSON in ASCII without a character that could end or change the element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _script() -> str:
    try:
        text = SCRIPT.read_text("utf-8")
    except OSError as error:
        raise SlicerError(
            "Loss Slicer is installed without its page, so no HTML file can be made: in a source checkout run "
            "`python hatch_build.py`; an installed package, install again (`loss-slicer doctor` says more)"
        ) from error
    # What would end the element stands in string literals only.
    return re.sub("<(?=/script|!--)", r"\\x3c", text, flags=re.IGNORECASE)
