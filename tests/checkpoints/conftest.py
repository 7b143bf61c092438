"""Checkpoint files as trainers write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

Save = Callable[..., Path]


@pytest.fixture(scope="session")
def weights() -> Callable[[float], dict[str, Tensor]]:
    return lambda value=1.0: {"layer.weight": torch.full((2, 3), value), "layer.bias": torch.arange(2.0) + value}


@pytest.fixture
def save(weights) -> Save:
    """`save(path, value, **metadata)`: a checkpoint in the format of the path's suffix."""

    def write(path: Path, value: float = 1.0, **metadata: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            texts = {key: str(entry) for key, entry in metadata.items()}
            safetensors.torch.save_file(weights(value), path, metadata=texts or None)
        else:
            torch.save({"model": weights(value), **metadata} if metadata else weights(value), path)
        return path

    return write
