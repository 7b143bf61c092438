"""`loss-slicer inspect`: what is in a checkpoint folder, from its files' headers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from loss_slicer.options import parse_settings
from loss_slicer.plain_text import printable
from loss_slicer.statuses import reported, say, stdout_kept_for_json, write_json

SCHEMA = 1


def inspect(
    checkpoints: Annotated[list[str], typer.Argument(help="Checkpoint folders, files or globs.", metavar="PATH...")],
    module: Annotated[
        str | None, typer.Option(metavar="FILE[:NAME]", help="Also tell whether the tensors fit this module's model.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For the module's build function.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which set of weights of files that hold several.")
    ] = None,
    step_map: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Steps of checkpoints whose files do not tell, as for run.")
    ] = None,
    trust_checkpoint: Annotated[
        bool, typer.Option("--trust-checkpoint", help="Read pickled modules too, which may run any code in the file.")
    ] = False,
    tensors: Annotated[bool, typer.Option("--tensors", help="List the tensors of the first checkpoint too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks.")] = False,
) -> None:
    """Show step, format, tensors, dtype and size of each checkpoint, and how they match the model.

    The match is shown where --module names a file; no other code runs.
    """
    with reported(verbose=verbose):
        with stdout_kept_for_json(as_json):
            document = _document(checkpoints, module, settings or [], weights, step_map, trust_checkpoint)
        if as_json:
            write_json(document)
        else:
            _show(document, tensors=tensors)


def _document(
    given: list[str], module: str | None, settings: list[str], weights: str | None, step_map: str | None, trusted: bool
) -> dict[str, Any]:
    from slicer_core.checkpoints import ReadOptions, StepMap, find_sources

    sources = find_sources(given, ReadOptions(weights=weights, trusted=trusted), StepMap.parse(step_map))
    match = _matcher(module, settings)
    return {
        "schema": SCHEMA,
        "sources": [
            {
                "name": source.name,
                "folder": str(source.folder),
                "checkpoints": [_entry(checkpoint, match) for checkpoint in source.checkpoints],
                "same": {str(path): str(kept) for path, kept in source.same.items()},
                "failures": [{"path": str(path), "error": str(error)} for path, error in source.failures],
            }
            for source in sources
        ],
    }


def _matcher(module: str | None, settings: list[str]) -> Any:
    if module is None:
        return None
    from slicer_core.subject import find_module, fit_names, load_subject, other_extra_state

    file = find_module(module)
    say(f"module: {file.path}")
    model = load_subject(file, parse_settings(settings)).model

    return lambda contents: other_extra_state(contents.extra, model) or fit_names(contents.tensors, model).describe()


def _entry(checkpoint: Any, match: Any) -> dict[str, Any]:
    contents = checkpoint.contents()
    return {
        "path": str(checkpoint.path),
        "step": checkpoint.step,
        "step_unit": checkpoint.step_unit,
        "format": checkpoint.format.name,
        "data": str(checkpoint.data),
        "weights": contents.weights,
        "adapter": checkpoint.adapter is not None,
        "dtypes": dict(Counter(info.dtype for info in contents.tensors.values())),
        "bytes": sum(info.num_bytes for info in contents.tensors.values()),
        "tensors": {name: {"shape": list(info.shape), "dtype": info.dtype} for name, info in contents.tensors.items()},
        "match": None if match is None else match(contents),
    }


def _show(document: dict[str, Any], *, tensors: bool) -> None:
    for source in document["sources"]:
        print(f"{printable(source['name'])}  ({printable(source['folder'], limit=300)})")
        for entry in source["checkpoints"]:
            dtypes = ", ".join(f"{count} {dtype}" for dtype, count in entry["dtypes"].items())
            line = (
                f"  {entry['step_unit']} {entry['step']:>8}  {entry['format']:<12} {len(entry['tensors']):>4} tensors "
                f"({printable(dtypes)})  {entry['bytes']:>12,} bytes  {printable(Path(entry['path']).name)}"
            )
            line += f"  [{printable(entry['weights'])}]" if entry["weights"] else ""
            line += "  adapter" if entry["adapter"] else ""
            print(line if entry["match"] is None else f"{line}  {printable(entry['match'], limit=2000)}")
        for path, kept in source["same"].items():
            print(f"  the same weights: {printable(Path(path).name)} and {printable(Path(kept).name)}")
        for failure in source["failures"]:
            print(f"  unreadable: {printable(failure['error'], limit=2000)}")
        if tensors and source["checkpoints"]:
            for name, info in source["checkpoints"][0]["tensors"].items():
                print(f"    {printable(name, limit=200)}  {info['shape']}  {info['dtype']}")
