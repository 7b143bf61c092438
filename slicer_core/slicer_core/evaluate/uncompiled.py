"""Passes in which nothing is compiled, and passes whose code is told that it is captured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

# What torch.export sets, in which torch has no public way.
_FLAGS = ("_is_compiling_flag", "_is_exporting_flag")


def uncompiled() -> AbstractContextManager[Any]:
    """For passes under a mode: what a model compiles, as `torch.cond` does at its first call, runs as it is written.

    Under a mode, torch would take its code for what can't be compiled, and remember that.
    """
    # Who has not imported it has compiled nothing, and it takes long to import.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def told_of_capture() -> Iterator[None]:
    """For passes in which `torch.compiler.is_compiling()` and `is_exporting()` are true, as in those of `torch.export`.

    Code that asks leaves out what can't be captured, such as a look at whether a mask covers anything.
    """
    before = {name: getattr(torch.compiler, name) for name in _FLAGS if hasattr(torch.compiler, name)}
    try:
        for name in before:
            setattr(torch.compiler, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(torch.compiler, name, value)
