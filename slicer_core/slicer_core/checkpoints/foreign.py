"""Folders of formats that are not read themselves: recognized, and answered with the conversion to run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection
from pathlib import Path

_DEEPSPEED = re.compile(r"(zero_pp_rank_\d+_)?mp_rank_\d+_(model|optim)_states\.pt|.*_optim_states\.pt")
# As accelerate writes them where each process saves its own part.
_FSDP_PARTS = re.compile(r"pytorch_model_fsdp(_\d+)?_rank\d+\.bin")
# As torch.distributed.checkpoint's HuggingFaceStorageWriter writes them where each process saves its own part.
_HUGGING_FACE_PARTS = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")
_JOIN_SCRIPT = (
    "import os, pathlib, safetensors; "
    "from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files; "
    "os.makedirs({target}, exist_ok=True); consolidate_safetensors_files({folder}, {target}, "
    '{{name: 1 for file in pathlib.Path({folder}).glob("*.safetensors") '
    'for name in safetensors.safe_open(file, "pt").keys()}})'
)
_ORBAX = ("_CHECKPOINT_METADATA", "manifest.ocdbt", "_METADATA")
# With double quotes alone, so that a shell takes it within single ones.
_ORBAX_SCRIPT = (
    "import jax, numpy, orbax.checkpoint, safetensors.numpy; "
    "tree = orbax.checkpoint.PyTreeCheckpointer().restore({folder}); "
    "leaves = jax.tree_util.tree_flatten_with_path(tree)[0]; "
    'safetensors.numpy.save_file({{".".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path): '
    'numpy.ascontiguousarray(leaf) for path, leaf in leaves if hasattr(leaf, "shape")}}, {target})'
)
# A tree of arrays has this file. Where a manager saved several items, each has a folder of its own.
_ORBAX_TREE = "_METADATA"
_ORBAX_WEIGHTS = ("params", "model", "default", "state")


def conversion(folder: Path, names: Collection[str]) -> str | None:
    """What a folder of these names is and the command that converts it; None where it is no such folder."""
    if any(_DEEPSPEED.fullmatch(name) for name in names):
        home, target = folder.parent, folder.parent / f"{folder.name}-fp32"
        # DeepSpeed puts its script beside the folders of the steps; it is the same as in the library.
        script = home / "zero_to_fp32.py"
        program = [str(script)] if script.is_file() else ["-m", "deepspeed.utils.zero_to_fp32"]
        words = [*program, str(home), str(target), "--tag", folder.name]
        return (
            f"{folder} holds DeepSpeed ZeRO shards, which DeepSpeed itself puts together. Run\n"
            f"    python {shlex.join(words)}\n"
            f"and give {target}"
        )
    if any(map(_FSDP_PARTS.fullmatch, names)):
        return (
            f"{folder} holds the FSDP weights of each process apart, which only as many processes put together. Load "
            "it in your training script by accelerator.load_state, and save it by accelerator.save_model or with the "
            "state dict type FULL_STATE_DICT"
        )
    if any(map(_HUGGING_FACE_PARTS.fullmatch, names)):
        target = folder.parent / f"{folder.name}-whole"
        places = {"folder": json.dumps(str(folder.absolute())), "target": json.dumps(str(target.absolute()))}
        return (
            f"{folder} holds the parts of tensors that each process has saved by torch.distributed.checkpoint's "
            "HuggingFaceStorageWriter. Save with its enable_consolidation=True, or run\n"
            f"    python -c {shlex.quote(_JOIN_SCRIPT.format(**places))}\n"
            f"and give {target}"
        )
    if any(name in names for name in _ORBAX):
        target = folder.parent / f"{folder.name}.safetensors"
        tree = json.dumps(str(_orbax_tree(folder, names).absolute()))
        script = _ORBAX_SCRIPT.format(folder=tree, target=json.dumps(str(target.absolute())))
        return (
            f"{folder} is an Orbax checkpoint (JAX). Where Orbax is installed, run\n"
            f"    python -c {shlex.quote(script)}\n"
            f"and give {target}; names and layouts of the arrays have to become the PyTorch model's"
        )
    return None


def _orbax_tree(folder: Path, names: Collection[str]) -> Path:
    """The folder itself, or that of the item in it which most likely has the weights."""
    items = [name for name in sorted(names) if (folder / name / _ORBAX_TREE).is_file()]
    if _ORBAX_TREE in names or not items:
        return folder
    return folder / next((name for name in _ORBAX_WEIGHTS if name in items), items[0])
