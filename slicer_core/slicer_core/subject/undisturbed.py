"""A model to oneself while it is sliced, whatever the caller's threads and torch's modes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

# By the model's id, which is its own as long as somebody has its lock.
_locks: WeakValueDictionary[int, threading.RLock] = WeakValueDictionary()
_guard = threading.Lock()


def _free_all() -> None:
    global _guard
    _locks.clear()
    _guard = threading.Lock()


# A forked child does not have the threads that hold them.
os.register_at_fork(after_in_child=_free_all)


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """A model holds the tensors of one point at a time, so a second thread that slices it waits here.

    Gradients and versions of tensors are needed within, so an `inference_mode` of the caller's ends meanwhile.
    """
    with _guard:
        lock = _locks.setdefault(id(model), threading.RLock())
    # Only then, since it makes gradients possible below a `no_grad` of the caller's too.
    leaving = torch.inference_mode(False) if torch.is_inference_mode_enabled() else contextlib.nullcontext()
    with lock, leaving:
        yield


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor, or its copy where it was made in inference mode, and so has neither gradients nor versions."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
