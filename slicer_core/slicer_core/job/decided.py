"""What timing decided for a job, kept in its store: every later start, and every worker, takes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer_core.store import Store

_NOTE = "decided"


def stored_decisions(store: Store, job: str) -> Any:
    """What was decided so far; None where nothing was."""
    return store.note(job, _NOTE)


def keep_decisions(store: Store, job: str, decided: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keeps what is new in `decided`, and returns all: what was decided first stays."""
    before = store.note(job, _NOTE)
    if before is None:
        found = dict(decided)
    else:
        own = {kind: {**new, **before["decisions"][kind]} for kind, new in decided["decisions"].items()}
        found = {**before, "decisions": own}
    if found != before:
        store.put_note(job, _NOTE, found)
    return found
