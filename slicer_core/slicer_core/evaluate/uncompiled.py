"""Passes in which nothing is compiled."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def uncompiled() -> AbstractContextManager[Any]:
    """For passes under a mode: what a model compiles, as `torch.cond` does at its first call, runs as it is written.

    Under a mode, torch would take its code for what can't be compiled, and remember that.
    """
    # Who has not imported it has compiled nothing, and it takes long to import.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
