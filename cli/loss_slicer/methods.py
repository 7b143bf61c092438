"""`loss-slicer methods`: what `--method` may be."""

from __future__ import annotations

from typing import Annotated

import typer

from loss_slicer.statuses import reported, write_json
from slicer_core.methods import METHODS

SCHEMA = 1


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List the methods: how slices are made, their defaults and their own options."""
    with reported():
        _show(as_json)


def _show(as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": row.name,
                "slice_type": row.slice_type,
                "geometry": row.geometry,
                "summary": row.summary,
                "grid": row.grid,
                "range": row.range,
                "options": [
                    {"flag": option.flag, "default": option.default, "help": option.help} for option in row.options
                ],
            }
            for row in METHODS.values()
        ]
        write_json({"schema": SCHEMA, "methods": rows})
        return
    for row in METHODS.values():
        typer.echo(f"{row.name:<10} {row.geometry:<7} {row.summary}; --grid {row.grid} --range {row.range}")
        for option in row.options:
            typer.echo(f"{'':<18} {option.flag} (default {option.default}): {option.help}")
