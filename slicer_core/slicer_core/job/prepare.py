"""All that can be known and checked before anything is evaluated or written."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from slicer_core.checkpoints import (
    Checkpoint,
    StepMap,
    file_hash,
    find_sources,
)
from slicer_core.choices import BatchNormPolicy, CompileChoice, Ignore, Normalization, StrategyName
from slicer_core.directions import PathPoint
from slicer_core.errors import UsageError
from slicer_core.evaluate import EvaluationSettings, streams
from slicer_core.evaluate.memory import parse_bytes
from slicer_core.job.configuration import Job
from slicer_core.job.prepared_source import (
    PreparedSource,
    check_some_left,
    check_writable,
    fit_of,
    named_checkpoint,
    prepare_source,
    read_options,
)
from slicer_core.job.reporter import Reporter
from slicer_core.job.subject_source import (
    SubjectSource,
    find_subject,
    from_here,
    load_job_subject,
    module_text,
    subject_entry,
)
from slicer_core.job.workers import memory_of_worker
from slicer_core.measures import MeasureRow, find_measures
from slicer_core.measures.surroundings import check_measurable
from slicer_core.methods import MethodRow, find_method
from slicer_core.methods.method import AUTO, Method, SliceOptions
from slicer_core.methods.slicer import chosen_splits
from slicer_core.parameters import NamedTensors
from slicer_core.plan import axis_values, check_num_points
from slicer_core.subject import (
    Fit,
    ModelWrapper,
    ModuleFile,
    find_classes,
    match_state,
    one_memory_note,
    tensors_fingerprint,
)
from slicer_core.tolerance import Tolerance

NUMBERS_VERSION = 19
"""Part of every job's hash; it grows when the same job would give other numbers."""


@dataclass(frozen=True, kw_only=True)
class PreparedJob:
    """A job whose module has run, whose checkpoints fit the model, and whose data has been read once."""

    job: Job
    row: MethodRow
    method: Method
    options: SliceOptions
    settings: EvaluationSettings
    batchnorm: BatchNormPolicy
    splits: tuple[str, ...]
    metrics: tuple[str, ...] | None
    measures: tuple[MeasureRow, ...]
    module: SubjectSource
    wrapper: ModelWrapper
    sources: tuple[PreparedSource, ...]
    _fits: dict[Path, Fit] = field(default_factory=dict, repr=False)
    _fingerprints: dict[Path, str] = field(default_factory=dict, repr=False)

    @property
    def split_share(self) -> float:
        """How much of a point is done where it is evaluated on one split."""
        return 1 / len(self.splits)

    def fit(self, checkpoint: Checkpoint) -> Fit:
        """How the checkpoint's tensors are the model's.

        Raises:
            CheckpointError: it can't be read, or does not fit.
        """
        if checkpoint.path not in self._fits:
            self._fits[checkpoint.path] = fit_of(checkpoint, self.wrapper)
        return self._fits[checkpoint.path]

    def fingerprint(self, checkpoint: Checkpoint) -> str:
        """The hash of a checkpoint's file, of what the module adds to it, and of what the method reads beside it."""
        if checkpoint.path not in self._fingerprints:
            print_of_file = checkpoint.fingerprint()
            added = self.fit(checkpoint).from_module
            if added:
                own = self.wrapper.state()
                values = tensors_fingerprint({name: own[name] for name in added})
                print_of_file = _hashed(f"{print_of_file} {values}")
            for file in self.method.files_of(checkpoint):
                print_of_file = _hashed(f"{print_of_file} {file.name} {file_hash(file)}")
            self._fingerprints[checkpoint.path] = print_of_file
        return self._fingerprints[checkpoint.path]

    def state(self, checkpoint: Checkpoint) -> NamedTensors:
        """The checkpoint's tensors under the model's names, on the device; lazy where the run streams.

        Raises:
            CheckpointError: it can't be read, or does not fit.
        """
        tensors = checkpoint.open() if self.settings.strategy == "streaming" else checkpoint.read()
        return match_state(tensors, self.wrapper.model, source=str(checkpoint.path))

    def other(self, source: PreparedSource, name: str, *, option: str | None = None) -> Checkpoint:
        """The checkpoint called by a word, a step number, or its path, as the option (the method's) names it.

        Raises:
            SlicerError: there is none.
        """
        return named_checkpoint(source.all_checkpoints, name, option or self.method.points_option, self.job)

    def other_state(self, source: PreparedSource, name: str) -> NamedTensors:
        """`state` of `other`."""
        return self.state(self.other(source, name))

    def path(self, source: PreparedSource) -> tuple[PathPoint, ...]:
        """All checkpoints of the source, to be read when they are asked for."""

        def point(checkpoint: Checkpoint) -> PathPoint:
            model, name = self.wrapper.model, str(checkpoint.path)
            return PathPoint(step=checkpoint.step, open=lambda: match_state(checkpoint.open(), model, source=name))

        return tuple(map(point, source.all_checkpoints))

    def job_hash(self, source: PreparedSource) -> str:
        """A hash of all that the numbers depend on, but for the checkpoint itself."""
        job = self.job
        # A point is what its tensors are, by whatever name.
        references = {name: self.fingerprint(self.other(source, name)) for name in self.method.references()}
        references |= {name: file_hash(Path(os.path.expanduser(name))) for name in self.method.files()}
        own = {
            option.name: value
            for option in self.row.options
            if (value := getattr(self.method, option.name)) != option.default or not option.unhashed_default
        }
        samples = self._samples()
        text = json.dumps(
            {
                "numbers": NUMBERS_VERSION,
                "method": [job.method, {name: _resolved(value, references) for name, value in own.items()}],
                "slice": repr(self.options),
                "scale_from": None
                if job.scale_from == "each"
                else self.fingerprint(self.other(source, job.scale_from, option="--scale-from")),
                "settings": [job.batch_size, str(self.settings.dtype), self.batchnorm, self.wrapper.batch_coupled],
                "module": subject_entry(self.module, job),
                "metrics": self.metrics,
                "data": {name: self._data_fingerprint(name) for name in self._data_names()},
            }
            # What says nothing is left out, so that results of jobs without it stay where they are.
            | ({"samples": samples} if samples else {})
            | ({"weight_decay": job.weight_decay} if job.weight_decay else {})
            | ({} if job.weights is None else {"weights": job.weights})
            | ({"path": [*map(self.fingerprint, source.all_checkpoints)]} if self.method.uses_path else {})
            | ({"per_class": True} if job.per_class else {})
            | ({"tf32": True} if self.wrapper.tf32 else {})
            | ({} if self.settings.tolerance is None else {"tolerance": str(self.settings.tolerance)}),
            sort_keys=True,
            default=str,
        )
        return _hashed(text)

    def _samples(self) -> dict[str, int]:
        """The number of samples of each split that is not taken whole."""
        samples = self.settings.samples
        if samples is None:
            return {}
        wholes = [self.wrapper.split(name, self.settings.batch_size) for name in self.splits]
        return {whole.name: samples for whole in wholes if samples < whole.num_samples}

    def _data_fingerprint(self, name: str) -> str:
        return self.wrapper.split(name, self.settings.batch_size).fingerprint

    def _data_names(self) -> tuple[str, ...]:
        needed = self.batchnorm == "recompute" or self.method.reads_first_split
        first = self.wrapper.splits[:1] if needed else ()
        return tuple(dict.fromkeys((*self.splits, *first)))


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _resolved(value: Any, references: Mapping[str, str]) -> Any:
    """An option's value with the points that it names, one or several with commas between, as their fingerprints."""
    if not isinstance(value, str) or value in references or not all(part in references for part in value.split(",")):
        return references.get(value, value)
    return ",".join(references[part] for part in value.split(","))


def prepare(job: Job, reporter: Reporter, *, beside: Callable[[str], int] | None = None) -> PreparedJob:
    """Finds, checks and loads everything; writes nothing.

    `beside`: by the type of device, how many of a cluster's processes share this one's; they share its memory too.

    Raises:
        SlicerError: the first thing that can't be right.
    """
    row = find_method(job.method)
    method = row.create(job.method_options)
    options = _slice_options(job, row, method)
    memory_budget = None if job.memory_budget is None else parse_bytes(job.memory_budget)
    module = find_subject(job)
    found = find_sources(job.checkpoints, read_options(job), StepMap.parse(job.step_map))
    if job.trust_checkpoint:
        reporter.note("checkpoint files are trusted: reading them may run code that is in them")
    reporter.note(f"module: {from_here(module.path)} ({module.chosen_by})")
    wrapper = load_job_subject(module, job)
    _place(wrapper, job)
    if (note := one_memory_note(wrapper.model)) is not None:
        reporter.note(note)
    if job.executor == "local":
        sharing = job.workers if beside is None else beside(wrapper.device.type)
        memory_budget = memory_of_worker(memory_budget, sharing, wrapper.device, named=":" in job.device)
    wrapper.check_samples(job.samples)
    if job.per_class:
        wrapper.classes = find_classes(wrapper, chosen_splits(wrapper, job.split), job.batch_size)
    batchnorm = cast("BatchNormPolicy", job.batchnorm or method.default_batchnorm)
    fits: dict[Path, Fit] = {}
    sources = tuple(prepare_source(source, job, method, wrapper, reporter, fits) for source in found)
    check_some_left(sources)
    for source in sources:
        check_writable(source.run_dir)
    prepared = PreparedJob(
        job=job,
        row=row,
        method=method,
        options=replace(options, batchnorm=batchnorm),
        settings=EvaluationSettings(
            batch_size=job.batch_size,
            samples=job.samples,
            dtype=None if job.dtype is None else getattr(torch, job.dtype),
            strategy=_strategy(job, wrapper, memory_budget, reporter),
            repeats=sum(len(source.selected) for source in sources),
            memory_budget=memory_budget,
            workers=job.workers or torch.get_num_threads(),
            compile=cast("CompileChoice", job.compile),
            weight_decay=job.weight_decay,
            tolerance=None if job.tolerance is None else Tolerance.parse(job.tolerance),
        ),
        batchnorm=batchnorm,
        splits=chosen_splits(wrapper, job.split),
        metrics=_chosen_metrics(wrapper, job.metrics),
        measures=find_measures(",".join([job.measures or "", *(["gradient_norm"] if job.gradient_norm else [])])),
        module=module,
        wrapper=wrapper,
        sources=sources,
        _fits=fits,
    )
    for measure in prepared.measures:
        streaming = prepared.settings.strategy == "streaming"
        check_measurable(measure, streaming=streaming, chosen=job.strategy == "streaming")
    for source in prepared.sources:
        # What it names has to be there before the first point is evaluated.
        prepared.job_hash(source)
    return prepared


def _slice_options(job: Job, row: MethodRow, method: Method) -> SliceOptions:
    num_axes = method.num_axes or (2 if row.geometry == "grid" else 1)
    options = SliceOptions.parse(
        grid=job.grid or row.grid,
        range=row.range if job.range in (None, AUTO) else job.range,
        num_axes=num_axes,
        normalize=cast("Normalization", job.normalize),
        ignore=cast("Ignore", job.ignore),
        params=job.params,
        exclude=job.exclude,
        seed=job.seed,
    )
    if options.range is not None:
        for points, (low, high) in zip(options.grid or (), options.range, strict=True):
            axis_values(low, high, points)
    check_num_points(options.grid or ())
    return options


def _place(wrapper: ModelWrapper, job: Job) -> None:
    """Puts the wrapper on the device, and says on it what the job says.

    Raises:
        UsageError: there is no such device.
    """
    if job.batch_coupled:
        wrapper.batch_coupled = True
    if job.tf32:
        wrapper.tf32 = True
    if job.device == "auto":
        # A module that chose a device for its model is left there: its loss may hold tensors on it.
        if torch.cuda.is_available() and not wrapper.device_given and wrapper.device.type == "cpu":
            wrapper.to("cuda")
        return
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", job.device):
        raise UsageError(f"--device {job.device!r} is not one of auto, cpu, cuda, cuda:0 (or another number) and mps")
    device = torch.device(job.device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        # The rest of torch's message may be a page of its internals.
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise UsageError(f"--device {job.device} can't be used on this machine: {reason}") from error
    if device.index is not None:
        # What the module's code calls just "cuda" is this one too.
        torch.cuda.set_device(device)
    wrapper.to(device)


def _strategy(job: Job, wrapper: ModelWrapper, memory_budget: int | None, reporter: Reporter) -> StrategyName:
    """The job's, with streaming decided, since checkpoints are read and directions are made lazily then."""
    if job.strategy != "auto" or not streams(wrapper, job.strategy, memory_budget):
        return cast("StrategyName", job.strategy)
    reporter.note("strategy: streaming, since three copies of the parameters do not fit the memory")
    return "streaming"


def _chosen_metrics(wrapper: ModelWrapper, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    chosen = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    for name in chosen:
        if name not in wrapper.metrics:
            raise UsageError(f"--metrics names {name!r}; the module has {', '.join(wrapper.metrics) or 'none'}")
    return chosen


def describe_settings(prepared: PreparedJob) -> dict[str, Any]:
    """The resolved configuration as it is stored with a slice."""
    resolved = replace(
        prepared.job,
        grid="x".join(map(str, prepared.options.grid or ())),
        range=",".join(f"{low!r}:{high!r}" for low, high in prepared.options.range or ()) or AUTO,
        batchnorm=prepared.batchnorm,
        module=module_text(prepared.module) if isinstance(prepared.module, ModuleFile) else None,
    )
    return resolved.to_dict()
