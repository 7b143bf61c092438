"""Folders of formats that are not read themselves: recognized, and answered with the conversion to run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path

_DEEPSPEED = re.compile(r"(zero_pp_rank_\d+_)?mp_rank_\d+_(model|optim)_states\.pt|.*_optim_states\.pt")
_ORBAX = ("_CHECKPOINT_METADATA", "manifest.ocdbt", "_METADATA")
_ORBAX_SCRIPT = (
    "import jax, numpy, orbax.checkpoint, safetensors.numpy; "
    "tree = orbax.checkpoint.PyTreeCheckpointer().restore({folder!r}); "
    "leaves = jax.tree_util.tree_flatten_with_path(tree)[0]; "
    "safetensors.numpy.save_file({{'.'.join(str(getattr(k, 'key', getattr(k, 'idx', k))) for k in path): "
    "numpy.ascontiguousarray(leaf) for path, leaf in leaves if hasattr(leaf, 'shape')}}, {target!r})"
)


def conversion(folder: Path, names: Collection[str]) -> str | None:
    """What a folder of these names is and the command that converts it; None where it is no such folder."""
    if any(_DEEPSPEED.fullmatch(name) for name in names):
        # DeepSpeed puts its script beside the folders of the steps.
        home, target = folder.parent, folder.parent / f"{folder.name}-fp32"
        words = [str(home / "zero_to_fp32.py"), str(home), str(target), "--tag", folder.name]
        return (
            f"{folder} holds DeepSpeed ZeRO shards, which DeepSpeed itself puts together. Run\n"
            f"    python {shlex.join(words)}\n"
            f"and give {target}"
        )
    if any(name in names for name in _ORBAX):
        target = folder.parent / f"{folder.name}.safetensors"
        script = _ORBAX_SCRIPT.format(folder=str(folder.absolute()), target=str(target.absolute()))
        return (
            f"{folder} is an Orbax checkpoint (JAX). Where Orbax is installed, run\n"
            f"    python -c {shlex.quote(script)}\n"
            f"and give {target}; names and layouts of the arrays have to become the PyTorch model's"
        )
    return None
