"""Whether stored slices are of another training than the one whose checkpoints lie in the folder now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slicer_core.job.prepare import PreparedJob
from slicer_core.job.prepared_source import PreparedSource
from slicer_core.slices import parse_header
from slicer_core.store import Store, StoredSlice

HELD_OTHERS = "held slices of another training; they leave the log (another --logdir keeps both)"


def note_folder(store: Store, job: str, fingerprint: str, source: PreparedSource) -> None:
    """Keeps where a checkpoint lay, whatever folder the command was given in."""
    folder = _folder_of(source)
    if _noted_folder(store, job, fingerprint) != folder:
        store.put_note(job, _note_name(fingerprint), folder)


def is_of_other_training(
    store: Store, stored: Sequence[StoredSlice], prepared: PreparedJob, source: PreparedSource
) -> bool:
    """Of slices of one job: a step that both have tells; without one, the folder that the checkpoints lay in."""
    by_step = {checkpoint.step: checkpoint for checkpoint in source.all_checkpoints}
    shared = [there for there in stored if there.step in by_step]
    if shared:
        return any(prepared.fingerprint(by_step[there.step]) != there.checkpoint for there in shared)
    folder = _folder_of(source)
    return any(
        (_noted_folder(store, there.job, there.checkpoint) or _logged_folder(there)) != folder for there in stored
    )


def beside_others(store: Store, tag: str, source: PreparedSource) -> Iterator[str]:
    """What is to be said where other tags of the log have slices of checkpoints that lie in another folder."""
    folder, others = _folder_of(source), dict[str, set[str]]()
    for there, job, fingerprint in store.origins():
        other = None if there == tag else _noted_folder(store, job, fingerprint)
        # One that is gone may have been moved here.
        if other not in (None, folder) and Path(other).is_dir():
            others.setdefault(other, set()).add(there)
    for other, tags in sorted(others.items()):
        yield (
            f"its log also has slices of the checkpoints in {other} (tag {', '.join(sorted(tags))}): another --logdir "
            "keeps trainings apart"
        )


def _folder_of(source: PreparedSource) -> str:
    return str(source.all_checkpoints[0].path.parent.resolve())


def _note_name(fingerprint: str) -> str:
    return f"folder {fingerprint}"


def _noted_folder(store: Store, job: str, fingerprint: str) -> str | None:
    return store.note(job, _note_name(fingerprint))


def _logged_folder(stored: StoredSlice) -> str:
    """As the path was given then, from the folder that this command is given in."""
    checkpoint = parse_header(stored.blobs[0]).get("checkpoint") or {}
    return str(Path(str(checkpoint.get("path", ""))).parent.resolve())
