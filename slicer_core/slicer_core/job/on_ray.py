"""A job on a Ray cluster: what its actors are sent, and what they make of it."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slicer_core.executors.executor import Executor
from slicer_core.executors.ray_cluster import RayCluster, actors_of_node
from slicer_core.job.configuration import Job
from slicer_core.job.prepare import PreparedJob
from slicer_core.job.work import TileTask
from slicer_core.subject import ModuleFile


@dataclass(frozen=True, kw_only=True)
class _Hello:
    """The job, its module within the files that are sent, and the folder that its relative paths are from.

    `actors`: how many there are in all, where the run says so.
    """

    job: Job
    module: str | None
    build: str | None
    folder: str
    actors: int | None


def on_ray(prepared: PreparedJob, job: Job, *, look: Callable[[], None]) -> Executor[TileTask]:
    """The executor. The module's own file is sent, with what it has imported from its folder or package.

    Raises:
        UsageError: see `RayCluster`.
    """
    module = prepared.module
    with tempfile.TemporaryDirectory(prefix="loss-slicer-") as folder:
        named = None
        if isinstance(module, ModuleFile):
            root = _root(module.path.resolve())
            for file in _sources(module.path.resolve(), root):
                target = Path(folder) / file.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
            named = str(module.path.resolve().relative_to(root))
        build = module.build if isinstance(module, ModuleFile) else None
        return RayCluster(
            _evaluator,
            _Hello(job=job, module=named, build=build, folder=str(Path.cwd()), actors=prepared.job.workers),
            address=prepared.job.ray_address,
            workers=prepared.job.workers,
            files=folder,
            look=look,
        )


def _evaluator(hello: _Hello) -> tuple[Callable[[TileTask], Any], Callable[[Any], None]]:
    """In an actor."""
    from slicer_core.job.prepare import prepare
    from slicer_core.job.reporter import Reporter
    from slicer_core.job.work import TileEvaluator

    job = hello.job
    if hello.module is not None:
        job = replace(job, module=f"{Path.cwd() / hello.module}:{hello.build}")
    if Path(hello.folder).is_dir():
        os.chdir(hello.folder)
    beside = functools.partial(actors_of_node, most=hello.actors)
    evaluator = TileEvaluator(prepare(job, Reporter(), beside=beside))
    return evaluator.run, evaluator.decide_as


def _root(path: Path) -> Path:
    """The folder above the package that the file is in; its own where it is in none."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _sources(path: Path, root: Path) -> Iterator[Path]:
    """The file, all of its package, and what was imported from beside it; Python only, so neither data nor secrets."""
    found = {path}
    if root != path.parent:
        top = root / path.relative_to(root).parts[0]
        found |= set(top.rglob("*.py"))
    libraries = tuple(Path(place).resolve() for place in (sys.prefix, sys.base_prefix))
    for loaded in list(sys.modules.values()):
        name = getattr(loaded, "__file__", None)
        # Some modules name files that are not there.
        if not name or not name.endswith(".py") or not Path(name).is_absolute() or not Path(name).is_file():
            continue
        file = Path(name).resolve()
        if file.is_relative_to(root) and not any(file.is_relative_to(library) for library in libraries):
            found.add(file)
    yield from sorted(found)
