"""Rules in a TOML file, for a project that checks the same ones in several places."""

from __future__ import annotations

import tomllib
from pathlib import Path

from slicer_core.checks.rules import Rule, parse_rule
from slicer_core.errors import UsageError

_KEY = "rules"


def read_rules(path: Path) -> list[Rule]:
    """The rules of a file that has them under `rules`, as texts that `parse_rule` takes.

    Raises:
        UsageError: it can't be read, has another key, no rule, or one that is not of that form.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {path} can't be read: {error}") from error
    others = [key for key in table if key != _KEY]
    if others:
        raise UsageError(f"--config {path} has the unknown key {others[0]!r}: it holds {_KEY} = [...] and nothing else")
    texts = table.get(_KEY)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"--config {path} needs a list of texts, as in {_KEY} = ['barrier <= 0.05']")
    try:
        return [parse_rule(text) for text in texts]
    except UsageError as error:
        raise UsageError(f"--config {path}: {error}") from error
