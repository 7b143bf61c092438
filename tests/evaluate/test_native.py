"""C that is compiled when it is first used, and kept."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from slicer_core.evaluate.native import is_kept, library
from slicer_core.evaluate.winograd import by_compiler

load = library.__wrapped__
COMPILED = pytest.mark.skipif(by_compiler.compiled() is None, reason="there is no C compiler")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "loss-slicer"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "answer.c"
    path.write_text("int answer(void) { return 42; }\n")
    return path


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the compiler leaves a line each time that it runs."""
    compiler, log = tmp_path / "cc", tmp_path / "log"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {os.environ.get("CC", "cc")} "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    return log


def times(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_without_a_compiler_or_where_it_fails_there_is_none(
    tmp_path: Path, kept: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\nexit 1\n")
    failing.chmod(0o755)
    for compiler in ("no-such-compiler", str(failing), "an 'open quote", " "):
        monkeypatch.setenv("CC", compiler)
        assert load(source) is None
    assert not kept.exists() or not list(kept.iterdir())


@COMPILED
def test_it_is_compiled_once(kept: Path, source: Path, counting: Path) -> None:
    for number in range(2):
        assert is_kept(source) == (number > 0)
        assert load(source).answer() == 42
    assert times(counting) == 1
    (made,) = kept.iterdir()
    assert made.name.startswith("answer-")
    assert kept.stat().st_mode & 0o777 == 0o700
    source.write_text("int answer(void) { return 43; }\n")
    assert load(source).answer() == 43
    assert times(counting) == 2


@COMPILED
def test_what_is_kept_and_can_not_be_loaded_is_compiled_again(kept: Path, source: Path, counting: Path) -> None:
    assert load(source).answer() == 42
    (made,) = kept.iterdir()
    made.unlink()
    made.write_bytes(b"no library")
    assert load(source).answer() == 42
    assert times(counting) == 2
    assert ctypes.CDLL(str(made)).answer() == 42


@COMPILED
@pytest.mark.parametrize("harm", ["the folder is everybody's", "the file is everybody's", "the file is a link"])
def test_what_others_could_have_written_is_not_loaded(harm: str, kept: Path, source: Path, counting: Path) -> None:
    assert load(source).answer() == 42
    (made,) = kept.iterdir()
    if harm == "the folder is everybody's":
        kept.chmod(0o777)
    elif harm == "the file is everybody's":
        made.chmod(0o777)
    else:
        made.rename(made.with_name("elsewhere"))
        made.symlink_to("elsewhere")
    assert not is_kept(source)
    assert load(source).answer() == 42
    assert times(counting) == 2


@COMPILED
@pytest.mark.parametrize("place", ["/dev/null/cache", "", "relative"])
def test_where_nothing_can_be_kept_it_is_compiled_each_time(
    place: str, source: Path, counting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert load(source).answer() == 42
    assert times(counting) == 2
    assert not (tmp_path / "relative").exists()
