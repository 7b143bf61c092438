"""Where a job's model and data come from: the user's module, or a Hugging Face folder with a text."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from slicer_core.job.configuration import Job
from slicer_core.subject import (
    HuggingFaceFolder,
    ModelWrapper,
    ModuleFile,
    find_folder,
    find_module,
    from_huggingface,
    load_subject,
)

SubjectSource = ModuleFile | HuggingFaceFolder


def find_subject(job: Job) -> SubjectSource:
    """The module file or the folder that the job names, or what is found without.

    Raises:
        SlicerError: there is none, or it is not to be run.
    """
    return find_folder(job.hf) if job.hf is not None else find_module(job.module, checkpoints=job.checkpoints)


def load_job_subject(module: SubjectSource, job: Job) -> ModelWrapper:
    """Runs the module file, or builds the folder's model.

    Raises:
        SlicerError: see `load_subject` and `from_huggingface`.
    """
    if isinstance(module, ModuleFile):
        return load_subject(module, job.set)
    assert job.text is not None
    text = Path(os.path.expanduser(job.text))
    return from_huggingface(module, text, sequence_length=job.sequence_length, batch_size=job.batch_size)


def subject_entry(module: SubjectSource, job: Job) -> list[Any]:
    """What the job's hash has of the code that makes the numbers; the data has a fingerprint of its own."""
    if isinstance(module, ModuleFile):
        return [module.digest, module.build, job.set]
    return ["hf", module.digest]


def from_here(path: Path) -> Path:
    """The path as a person in the current folder would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def with_module(job: Job) -> Job:
    """The job with its module named, so that it is the same from any folder.

    Raises:
        ModuleError: none is given, and none is found.
    """
    if job.module is not None or job.hf is not None:
        return job
    return replace(job, module=module_text(find_module(None)))


def module_text(module: ModuleFile) -> str:
    """FILE:NAME, as `--module` takes it."""
    return f"{module.path}:{module.build}"
