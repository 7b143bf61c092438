"""Whether this installation can show slices: package, requirements, entry point, TensorBoard and the page's files."""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tensorboard_loss_slicer.serving.static_files import StaticFile

PACKAGE = "tensorboard-loss-slicer"
PLUGIN = "loss_slicer"
ENTRY_POINT_GROUP = "tensorboard_plugins"

# Each of these installs its own copy of the package `tensorboard`.
_OTHER_TENSORBOARDS = ("tb-nightly", "tensorflow-tensorboard", "tensorboard-nightly")

# What one file of the page says of another: imports, files by URL, and style sheets' url().
_QUOTE = "[\"'`]"
_REFERENCES = {
    ".js": re.compile(
        rf"\b(?:from|import)\s*\(?\s*{_QUOTE}(\.{{1,2}}/[^\"'`?#]+)|new URL\(\s*{_QUOTE}([^\"'`:?#]+){_QUOTE}\s*,"
    ),
    ".css": re.compile(r"url\(\s*[\"']?(?!data:|#)([^)\"':?#]+)()"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check. A warning may be meant so; a problem is wrong."""

    check: str
    status: Literal["ok", "warning", "problem"]
    message: str
    advice: str = ""


def check_installation() -> list[Finding]:
    """All checks of the installation, in the order in which their causes depend on each other."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        check_package,
        check_requirements,
        check_other_tensorboards,
        check_entry_point,
        check_other_plugins,
        check_command,
        check_data_server,
        check_page,
    )
    return [finding for check in checks for finding in check()]


def check_package() -> Iterator[Finding]:
    """The package is installed, once."""
    name = "package"
    found = {
        str(distribution.locate_file("")): distribution.version for distribution in metadata.distributions(name=PACKAGE)
    }
    where = "; ".join(f"{version} in {place}" for place, version in found.items())
    if not found:
        advice = f"install it into this environment: {sys.executable} -m pip install {PACKAGE}"
        yield Finding(check=name, status="problem", message=f"{PACKAGE} is not installed", advice=advice)
    elif len(found) > 1:
        advice = f"uninstall it until none is left ({sys.executable} -m pip uninstall {PACKAGE}), then install it once"
        message = f"{PACKAGE} is installed more than once: {where}"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    else:
        yield Finding(check=name, status="ok", message=f"{PACKAGE} {where}, Python {sys.version.split()[0]}")


def check_requirements() -> Iterator[Finding]:
    """Each package that this one needs is there, in a version that it works with."""
    name = "requirements"
    try:
        needed = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    except metadata.PackageNotFoundError:
        return
    needed = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = False
    for need in needed:
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            message = f"{need.name} is not installed, {need} is needed"
        else:
            if need.specifier.contains(version, prereleases=True):
                continue
            message = f"{need.name} {version} is installed, {need} is needed"
        wrong = True
        advice = f"{sys.executable} -m pip install '{need}'"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    if not wrong:
        yield Finding(check=name, status="ok", message=f"{len(needed)} packages in versions that work")


def check_other_tensorboards() -> Iterator[Finding]:
    """No second distribution overwrites TensorBoard's files."""
    name = "TensorBoard"
    there = {other for other in _OTHER_TENSORBOARDS for _ in metadata.distributions(name=other)}
    versions = [distribution.version for distribution in metadata.distributions(name="tensorboard")]
    if there:
        both = ", ".join(sorted(there))
        message = f"{both} is installed beside tensorboard: they write the same files"
        advice = f"{sys.executable} -m pip uninstall {' '.join(sorted(there))} tensorboard, then install tensorboard"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    elif versions:
        yield Finding(check=name, status="ok", message=f"tensorboard {versions[0]}")


def check_entry_point() -> Iterator[Finding]:
    """TensorBoard finds the plugin, once, and can import it."""
    name = "entry point"
    found = [entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP) if entry.name == PLUGIN]
    if not found:
        message = f"no entry point {PLUGIN} in the group {ENTRY_POINT_GROUP}: TensorBoard does not know the plugin"
        advice = f"install the package again: {sys.executable} -m pip install --force-reinstall --no-deps {PACKAGE}"
        yield Finding(check=name, status="problem", message=message, advice=advice)
        return
    if len(found) > 1:
        message = f"{len(found)} entry points have the name {PLUGIN}: TensorBoard refuses to start"
        yield Finding(
            check=name, status="problem", message=message, advice=f"uninstall all but one {PACKAGE}, see package above"
        )
    try:
        found[0].load()
    except Exception as error:  # noqa: BLE001 - whatever it raises stops TensorBoard, and is what to report
        message = f"{found[0].value} can't be imported: {type(error).__name__}: {error}"
        advice = "TensorBoard does not start like this; install the package again"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    else:
        yield Finding(check=name, status="ok", message=f"{PLUGIN} = {found[0].value}")


def check_other_plugins() -> Iterator[Finding]:
    """Every other plugin can be imported: TensorBoard does not start with one that can't."""
    name = "other plugins"
    others = [entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP) if entry.name != PLUGIN]
    wrong = False
    for entry in others:
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001 - as above
            wrong = True
            message = f"plugin {entry.name} ({entry.value}) can't be imported: {type(error).__name__}: {error}"
            owner = entry.dist.name if entry.dist else entry.name
            advice = f"TensorBoard does not start with it; update or uninstall {owner}"
            yield Finding(check=name, status="problem", message=message, advice=advice)
    if others and not wrong:
        names = ", ".join(sorted(entry.name for entry in others))
        yield Finding(check=name, status="ok", message=f"can be imported: {names}")


def check_command() -> Iterator[Finding]:
    """The command `tensorboard` belongs to this environment."""
    name = "command"
    found = shutil.which("tensorboard")
    here = Path(sysconfig.get_path("scripts"))
    advice = f"start it as {sys.executable} -m tensorboard.main --logdir …"
    if found is None:
        message = "the command tensorboard is not on the search path"
        yield Finding(check=name, status="warning", message=message, advice=advice)
    elif not here.is_dir() or not Path(found).parent.samefile(here):
        message = f"the command tensorboard is {found}, of another environment than {sys.executable}"
        yield Finding(check=name, status="warning", message=message, advice=advice)
    else:
        yield Finding(check=name, status="ok", message=found)


def check_data_server() -> Iterator[Finding]:
    """TensorBoard's fast loader is there; without it the Python loader reads the log."""
    name = "loader"
    try:
        version = metadata.version("tensorboard-data-server")
    except metadata.PackageNotFoundError:
        message = "tensorboard-data-server is not installed: TensorBoard reads logs with its slower loader"
        advice = f"{sys.executable} -m pip install tensorboard-data-server"
        yield Finding(check=name, status="warning", message=message, advice=advice)
    else:
        yield Finding(check=name, status="ok", message=f"tensorboard-data-server {version}")


def check_page() -> Iterator[Finding]:
    """The page is built, and every file that one of its files names is there."""
    from tensorboard_loss_slicer.serving.static_files import PAGE_ENTRY, STATIC_FOLDER, load_static_files

    name = "page"
    files = load_static_files()
    advice = (
        "in a source checkout: cd frontend && npm ci --ignore-scripts && npm run build; "
        f"else install {PACKAGE} again; then start TensorBoard again"
    )
    missing = [PAGE_ENTRY] if PAGE_ENTRY not in files else missing_files(files)
    if missing:
        message = f"the page lacks {', '.join(missing)} in {STATIC_FOLDER}"
        yield Finding(check=name, status="problem", message=message, advice=advice)
    else:
        yield Finding(check=name, status="ok", message=f"{len(files)} files in {STATIC_FOLDER}")


def missing_files(files: Mapping[str, StaticFile]) -> list[str]:
    """Names, relative to the page's folder, that a file of the page imports or loads but that are not in `files`."""
    missing: set[str] = set()
    for name, file in files.items():
        pattern = _REFERENCES.get(posixpath.splitext(name)[1])
        if pattern is None:
            continue
        for groups in pattern.findall(file.content.decode("utf-8", errors="replace")):
            reference = next(group for group in groups if group)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), reference))
            if target not in files:
                missing.add(target)
    return sorted(missing)
