"""The user's Python file: found, checked, and run to give a `ModelWrapper`. The only code of the user's that runs."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shlex
import stat
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from slicer_core.errors import ModuleError
from slicer_core.subject.user_code import user_code
from slicer_core.subject.wrapper import ModelWrapper

DEFAULT_FILE = "subject.py"
DEFAULT_BUILD = "build"
_NAMES = ("model", "loss_fn", "batch_loss", "train_data", "test_data", "metrics")


@dataclass(frozen=True, kw_only=True)
class ModuleFile:
    """A file that will run, the name of its build function, and why it was chosen."""

    path: Path
    build: str = DEFAULT_BUILD
    chosen_by: str = "--module"

    @property
    def digest(self) -> str:
        """Hash of the source; part of what a result depends on."""
        return hashlib.blake2b(self.path.read_bytes(), digest_size=16).hexdigest()


def find_module(given: str | None, *, checkpoints: Sequence[str] = (), directory: Path | None = None) -> ModuleFile:
    """`given` as FILE[:NAME], else `[tool.loss-slicer] module` of ./pyproject.toml, else ./subject.py.

    A file that lies only beside the checkpoints is never taken: a downloaded folder must not run code.

    Raises:
        ModuleError: there is none, it is not a file, or anyone on the machine may write to it.
    """
    here = directory or Path.cwd()
    chosen = _from_option(given) or _from_pyproject(here) or _from_default(here)
    if chosen is None:
        raise ModuleError(_nothing_found(checkpoints))
    if not chosen.path.is_file():
        raise ModuleError(f"the module {chosen.path} ({chosen.chosen_by}) is not a file: give --module FILE[:NAME]")
    if chosen.path.stat().st_mode & stat.S_IWOTH:
        raise ModuleError(f"anyone may write to {chosen.path}, so it is not run: chmod o-w {chosen.path}")
    return chosen


def load_subject(module: ModuleFile, settings: Mapping[str, Any] | None = None) -> ModelWrapper:
    """Runs the file and its build function with `settings` as keyword arguments.

    They may change the working directory while they run; what else is given as relative paths is from where it was.

    Raises:
        ModuleError: the file has neither the build function nor the plain names, or build returned something else.
        UserCodeError: the user's code raised.
    """
    with contextlib.chdir(os.curdir):
        return _subject(module, settings)


def _subject(module: ModuleFile, settings: Mapping[str, Any] | None) -> ModelWrapper:
    loaded = _execute(module.path)
    build = getattr(loaded, module.build, None)
    if callable(build):
        with user_code(f"{module.build}() of {module.path}"):
            wrapper = build(**dict(settings or {}))
        if not isinstance(wrapper, ModelWrapper):
            raise ModuleError(
                f"{module.build}() of {module.path} returned {type(wrapper).__name__}, "
                "expected a slicer_core.ModelWrapper"
            )
        return wrapper
    if module.build != DEFAULT_BUILD:
        raise ModuleError(f"{module.path} has no function {module.build!r}")
    names = {name: getattr(loaded, name) for name in _NAMES if hasattr(loaded, name)}
    if "model" not in names or "train_data" not in names or not {"loss_fn", "batch_loss"} & set(names):
        raise ModuleError(
            f"{module.path} has no function build(**settings) -> ModelWrapper, nor the plain names model, loss_fn (or "
            f"batch_loss) and train_data; of these it has {', '.join(names) or 'none'}"
        )
    if settings:
        raise ModuleError(f"--set needs a function build(**settings) in {module.path}, which has plain names only")
    return ModelWrapper(**names)


def _from_option(given: str | None) -> ModuleFile | None:
    if given is None:
        return None
    path, colon, name = given.rpartition(":")
    if colon and name.isidentifier():
        return ModuleFile(path=Path(path), build=name)
    return ModuleFile(path=Path(given))


def _from_pyproject(here: Path) -> ModuleFile | None:
    file = here / "pyproject.toml"
    if not file.is_file():
        return None
    try:
        tool = tomllib.loads(file.read_text("utf-8")).get("tool")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModuleError(f"{file} can't be read: {error}") from error
    table = tool.get("loss-slicer") if isinstance(tool, dict) else None
    given = table.get("module") if isinstance(table, dict) else None
    if given is None:
        return None
    if not isinstance(given, str):
        raise ModuleError(f"module under [tool.loss-slicer] in {file} is a text FILE[:NAME], not {given!r}")
    chosen = _from_option(given)
    assert chosen is not None
    return ModuleFile(path=here / chosen.path, build=chosen.build, chosen_by="[tool.loss-slicer] in pyproject.toml")


def _from_default(here: Path) -> ModuleFile | None:
    file = here / DEFAULT_FILE
    return ModuleFile(path=file, chosen_by=f"./{DEFAULT_FILE}") if file.is_file() else None


def _nothing_found(checkpoints: Sequence[str]) -> str:
    message = (
        "no module tells how to build the model: give --module FILE[:NAME], set module under [tool.loss-slicer] in "
        f"./pyproject.toml, or write ./{DEFAULT_FILE}"
    )
    for given in checkpoints:
        folder = Path(given)
        for candidate in (folder / DEFAULT_FILE, *(parent / DEFAULT_FILE for parent in list(folder.parents)[:2])):
            if candidate.is_file():
                words = [word for checkpoint in checkpoints for word in ("--checkpoints", checkpoint)]
                command = shlex.join(["loss-slicer", "run", *words, "--module", str(candidate)])
                return (
                    f"{message}. One lies beside the checkpoints, and is not run unless you name it. If you trust it: "
                    f"{command}"
                )
    return message


def _execute(path: Path) -> ModuleType:
    folder = str(path.resolve().parent)
    # What the file imports from beside itself has to be found, as when it is run as a script.
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = _name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModuleError(f"{path} is not a Python file: its name has to end in .py")
    loaded = importlib.util.module_from_spec(spec)
    # Data loaders' worker processes and pickles look the module up by its name.
    sys.modules[name] = loaded
    try:
        with user_code(f"running {path}"):
            spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[name]
        raise
    return loaded


def _name(path: Path) -> str:
    """What `import` would call the file, else a name of its own.

    Processes that are not forked, as those of data loaders by spawn or forkserver, import it by that name to find its
    classes. The file may be called like another module, or like one that is imported already.
    """
    stem = path.stem
    if stem.isidentifier() and stem not in sys.modules:
        importlib.invalidate_caches()
        found = importlib.util.find_spec(stem)
        if found is not None and found.origin is not None and os.path.realpath(found.origin) == os.path.realpath(path):
            return stem
    return f"loss_slicer_subject_{hashlib.blake2b(str(path.resolve()).encode(), digest_size=6).hexdigest()}"
