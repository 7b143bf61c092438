"""`Job`: everything that a run is told, as one frozen value that reads from and prints as a TOML file. Torch-free."""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from slicer_core import choices
from slicer_core.errors import UsageError, suggestion
from slicer_core.measures.table import find_measures
from slicer_core.methods import all_options, find_method
from slicer_core.tolerance import Tolerance

WHAT = "What to slice"
SLICE = "The slice"
HOW = "How it is evaluated"
WHERE = "Where it goes"

# What a person decides each time, and no file for them.
_FOR_ONE_RUN = ("trust_checkpoint",)
_POINT_OPTIONS = ("to", "center", "scale_from")
_POINTS_OPTION = "through"
"""Several points with commas between."""


def _option(default: Any, help: str, *, panel: str, choices: tuple[str, ...] = ()) -> Any:
    """A field that the command shows as an option of the same name, in a panel of its help."""
    metadata = {"help": help, "panel": panel, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run. Field names are the command's options and, with dashes, the keys of a configuration file.

    Raises:
        UsageError: a value is not one of those that the option takes.
    """

    checkpoints: tuple[str, ...] = _option(
        (), "Checkpoint folder, file or glob; may be given several times.", panel=WHAT
    )
    method: str = _option("random2d", "How slices are made; `loss-slicer methods` lists them.", panel=WHAT)
    module: str | None = _option(None, "FILE[:NAME] with the function that builds the model and its data.", panel=WHAT)
    hf: str | None = _option(
        None,
        "Local Hugging Face folder whose transformers model and tokenizer are taken in place of a module.",
        panel=WHAT,
    )
    text: str | None = _option(None, "With --hf: the .txt or .jsonl file that the loss is taken on.", panel=WHAT)
    sequence_length: int | None = _option(
        None, "With --hf: tokens of a sequence (default: 1024, or the model's positions).", panel=WHAT
    )
    set: Mapping[str, Any] = _option(
        {},
        "KEY=VALUE for the build function (a TOML value, or True or False; else a text); may be given several times.",
        panel=WHAT,
    )
    steps: str = _option("all", "all, first, last, every:K, FROM:TO:BY, or steps as in first,100,500.", panel=WHAT)
    step_map: str | None = _option(
        None,
        "Steps of checkpoints whose files do not tell: a pattern of names with {step} or {epoch}, NAME=STEP,NAME=STEP, "
        "or a TOML, JSON or CSV file of names and steps.",
        panel=WHAT,
    )
    weights: str | None = _option(
        None, "Which set of weights is taken of files that hold several, as in ema or state_dict.", panel=WHAT
    )
    trust_checkpoint: bool = _option(
        False, "Read pickled modules too, which may run any code that is in the file.", panel=WHAT
    )
    grid: str | None = _option(None, "Points along each axis: N, or NxM.", panel=SLICE)
    range: str | None = _option(None, "LO:HI of the coordinates, or LO:HI,LO:HI for two axes.", panel=SLICE)
    normalize: str = _option("filter", "Scaling of random directions.", panel=SLICE, choices=choices.NORMALIZATIONS)
    ignore: str = _option(
        "biasbn",
        "biasbn leaves out tensors of one dimension; li copies the weights there.",
        panel=SLICE,
        choices=choices.IGNORES,
    )
    params: tuple[str, ...] = _option((), "GLOB of the parameters that vary; may be given several times.", panel=SLICE)
    exclude: tuple[str, ...] = _option((), "GLOB of parameters that stay; may be given several times.", panel=SLICE)
    seed: int = _option(0, "Seed of random directions.", panel=SLICE)
    center: str = _option("each", "Slices around each checkpoint, or around one: first, last or a step.", panel=SLICE)
    scale_from: str = _option("each", "Whose norms scale random directions: each, first, last or a step.", panel=SLICE)
    weight_decay: float = _option(
        0.0, "LAMBDA/2 times the squared norm of the parameters that are not frozen, added to the loss.", panel=SLICE
    )
    split: str = _option("train", "Which data the loss is taken on.", panel=HOW, choices=choices.SPLIT_NAMES)
    samples: int | None = _option(
        None,
        "Samples of each split that are evaluated, stratified by class, the same at every point, step and seed "
        "(default: all; BatchNorm is recomputed on all).",
        panel=HOW,
    )
    batch_size: int | None = _option(None, "Samples a batch, where the module gives tensors or a Dataset.", panel=HOW)
    batch_coupled: bool = _option(
        False, "The loss couples the samples of a batch, so its value belongs to this partition.", panel=HOW
    )
    metrics: str | None = _option(None, "Metrics of the module, as a,b, or none (default: all).", panel=HOW)
    per_class: bool = _option(
        False,
        "The loss of each class by itself too (class_0, class_1, …), for targets of one class a sample.",
        panel=HOW,
    )
    gradient_norm: bool = _option(
        False, "The gradient's norm at each point too: a backward pass there over all samples.", panel=HOW
    )
    measures: str | None = _option(
        None,
        "Measures that evaluate the model again, as a,b, or all but maps (default: only those of the slice's points).",
        panel=HOW,
    )
    batchnorm: str | None = _option(
        None,
        "Running statistics away from the center (default: recompute for linear, else frozen).",
        panel=HOW,
        choices=choices.BATCHNORM_POLICIES,
    )
    device: str = _option("auto", "auto, cpu, cuda[:i] or mps.", panel=HOW)
    dtype: str | None = _option(
        None, "Precision of the evaluation (default: the model's own).", panel=HOW, choices=choices.DTYPE_NAMES
    )
    tf32: bool = _option(
        False,
        "Products of float32 in TF32, with 10 bits of mantissa, where a GPU has it (default: in float32).",
        panel=HOW,
    )
    strategy: str = _option(
        "auto",
        "How points are run; auto takes what is fastest in trials (docs/evaluation.md).",
        panel=HOW,
        choices=choices.STRATEGY_NAMES,
    )
    compile: str = _option(
        "auto",
        "Whether torch.compile may be used; auto where the job is long enough to pay for it.",
        panel=HOW,
        choices=choices.COMPILE_CHOICES,
    )
    workers: int | None = _option(
        None,
        "Processes that share the points, each with data and model of its own, one for each GPU or with a part of the "
        "threads (default: this one, which on a CPU may fork where that is faster).",
        panel=HOW,
    )
    executor: str = _option(
        "local", "Where points are evaluated: here, or on a Ray cluster.", panel=HOW, choices=choices.EXECUTOR_NAMES
    )
    ray_address: str | None = _option(
        None, "Of a running Ray cluster, as in auto or HOST:PORT (default: one is started here).", panel=HOW
    )
    memory_budget: str | None = _option(
        None,
        "Memory that the evaluation may take, as in 4GiB or 500MB; --workers share it (default: what is free).",
        panel=HOW,
    )
    tolerance: str | None = _option(
        None,
        "What values may differ by from those at all points on all samples: a loss as in 0.01, or a part of the "
        "center's as in 1%. Smooth parts of the grid are interpolated then, and marked, and points take as many "
        "samples as they need (default: all is evaluated).",
        panel=HOW,
    )
    logdir: str = _option("runs", "The TensorBoard log directory.", panel=WHERE)
    name: str | None = _option(None, "Tag of the slices (default: the method).", panel=WHERE)
    preview: bool = _option(
        False,
        "While a slice is evaluated, log a coarse one under TAG/preview, finer as points come; the whole one takes its "
        "place. Of `run` alone.",
        panel=WHERE,
    )
    fresh: bool = _option(False, "Start over; earlier results are kept aside.", panel=WHERE)
    method_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            allowed = entry.metadata.get("choices")
            value = getattr(self, entry.name)
            if allowed and value is not None and value not in allowed:
                raise UsageError(f"{flag(entry.name)} {value!r} is not one of {', '.join(allowed)}")
        if not self.checkpoints:
            raise UsageError("no checkpoints: give --checkpoints with a folder, a file or a glob")
        if not 0.0 <= self.weight_decay < math.inf:
            raise UsageError(f"--weight-decay {self.weight_decay} is not a finite number from 0 up")
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"--samples {self.samples} is not a number of samples: give 1 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size} is not a number of samples: give 1 or more")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers} is not a number of processes: give 1 or more")
        if self.ray_address is not None and self.executor != "ray":
            raise UsageError("--ray-address has no meaning without --executor ray")
        if self.tolerance is not None:
            Tolerance.parse(self.tolerance)
            if self.preview:
                raise UsageError("--preview has no meaning with --tolerance, which gives all points of a slice at once")
        find_measures(self.measures)
        if self.name is not None and not self.name.strip():
            raise UsageError("--name is empty: give a tag, or leave it out to use the method's name")
        if choices.is_preview(self.tag):
            raise UsageError(
                f"--name {self.name!r} ends in {choices.PREVIEW!r}, which marks slices that are not complete yet"
            )
        if not self.logdir.strip():
            raise UsageError("--logdir is empty: give a directory, or leave it out to use runs")
        self._check_subject()
        row = find_method(self.method)
        row.check_options(self.method_options)

    def _check_subject(self) -> None:
        """The model comes from a module, or from a Hugging Face folder with a text."""
        if self.hf is None:
            given = [name for name in ("text", "sequence_length") if getattr(self, name) is not None]
            if given:
                raise UsageError(f"{flag(given[0])} has a meaning only with --hf FOLDER")
        elif self.text is None:
            raise UsageError(f"--hf {self.hf} needs data: give --text with a .txt or .jsonl file")
        elif self.module is not None or self.set:
            raise UsageError("--hf takes the model from a folder, so --module and --set have no meaning with it")

    @property
    def tag(self) -> str:
        """The tag under which slices are logged."""
        return self.name or self.method

    @property
    def preview_tag(self) -> str:
        """The tag of slices that are not complete yet."""
        return self.tag + choices.PREVIEW

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Job:
        """From option names (with `_`) to values as the command line or a file gives them; None means not given.

        Raises:
            UsageError: a name is unknown, or a value has the wrong type.
        """
        own = {entry.name: entry for entry in dataclasses.fields(cls) if entry.name != "method_options"}
        options = all_options()
        fields: dict[str, Any] = {}
        method_options: dict[str, Any] = {}
        for name, value in values.items():
            if value is None:
                continue
            if name in own:
                fields[name] = _typed(name, value, str(own[name].type))
            elif name in options:
                method_options[name] = _typed(name, value, type(options[name].default).__name__)
            else:
                raise UsageError(f"unknown option {name!r}{suggestion(name, [*own, *options])}")
        return cls(**fields, method_options=method_options)

    def to_toml(self) -> str:
        """A configuration file that repeats the run from anywhere: its paths are absolute."""
        given = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for name in ("method_options", "set", *_FOR_ONE_RUN):
            del given[name]
        row = find_method(self.method)
        given |= {"grid": self.grid or row.grid, "range": self.range or row.range} | dict(self.method_options)
        values = {
            name.replace("_", "-"): list(value) if isinstance(value, tuple) else value
            for name, value in with_absolute_paths(given, Path.cwd()).items()
            if value is not None and value != ()
        }
        return tomli_w.dumps(values | ({"set": dict(self.set)} if self.set else {}))

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values with absolute paths, for the header of a slice."""
        fields = with_absolute_paths(dataclasses.asdict(self), Path.cwd())
        options = with_absolute_paths(self.method_options, Path.cwd())
        return _json_values(fields | {"method_options": options})


def flag(name: str) -> str:
    """The flag of an option as it is typed."""
    return "--" + name.replace("_", "-")


def read_config(path: Path) -> dict[str, Any]:
    """The options of a TOML file by name (with `_`), its relative paths made relative to the file.

    Raises:
        UsageError: it can't be read, or has a key that is no option.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {path} can't be read: {error}") from error
    known = {entry.name for entry in dataclasses.fields(Job)} - {"method_options"} | set(all_options())
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UsageError(f"--config {path} has the unknown key {key!r}{suggestion(name, known)}")
        if name in _FOR_ONE_RUN:
            raise UsageError(f"--config {path} has {key!r}, which is for one run: give {flag(name)} with the command")
        values[name] = value
    return with_absolute_paths(values, path.resolve().parent)


def with_absolute_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same options with the paths among them made absolute from `folder`."""
    result = dict(values)
    given = result.get("checkpoints")
    if isinstance(given, str):
        result["checkpoints"] = [_absolute(given, folder)]
    elif isinstance(given, (list, tuple)):
        result["checkpoints"] = [_absolute(entry, folder) for entry in given]
    step_map = result.get("step_map")
    if isinstance(step_map, str) and "{" not in step_map and (folder / step_map).is_file():
        result["step_map"] = _absolute(step_map, folder)
    for name in ("logdir", "module", "hf", "text", "directions", *_POINT_OPTIONS):
        if name in result and not (name in _POINT_OPTIONS and _is_point_word(result[name])):
            result[name] = _absolute(result[name], folder)
    if isinstance(result.get(_POINTS_OPTION), str):
        points = result[_POINTS_OPTION].split(",")
        result[_POINTS_OPTION] = ",".join(
            point if _is_point_word(point) else _absolute(point, folder) for point in points
        )
    return result


def _is_point_word(text: Any) -> bool:
    """Whether a point is given by a word or a step, not by the path of a checkpoint."""
    return text in ("each", "first", "middle", "last", "random") or (isinstance(text, str) and text.isdecimal())


def _absolute(text: Any, folder: Path) -> Any:
    return str(folder / Path(os.path.expanduser(text))) if isinstance(text, str) and text.strip() else text


def _json_values(value: Any) -> Any:
    """What TOML has and JSON has not, dates and times, as texts."""
    if isinstance(value, Mapping):
        return {str(key): _json_values(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_values(entry) for entry in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _typed(name: str, value: Any, type_text: str) -> Any:
    """The value as the option's type, or an error that names both."""
    base = type_text.removesuffix(" | None")
    if base.startswith("tuple"):
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, str) for entry in entries):
            raise UsageError(f"{flag(name)} takes texts, not {value!r}")
        return tuple(entries)
    if base.startswith("Mapping"):
        if not isinstance(value, Mapping):
            raise UsageError(f"{name} is a table of KEY = VALUE, not {value!r}")
        return dict(value)
    if base == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
        # A configuration file may well say `grid = 51` or `tolerance = 0.01`.
        return str(value)
    if base == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected: dict[str, type] = {"str": str, "int": int, "bool": bool, "float": float}
    if not isinstance(value, expected[base]) or (base == "int" and isinstance(value, bool)):
        raise UsageError(f"{flag(name)} takes {_TYPE_WORDS[base]}, not {value!r}")
    return value


_TYPE_WORDS = {"str": "a text", "int": "a whole number", "bool": "true or false", "float": "a number"}
