"""Adam's moments of each parameter, from the optimizer's state in a checkpoint: opened only where asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer_core.checkpoints.adam_order import MatchedBy, Shape, match_parameters
from slicer_core.checkpoints.checkpoint import Checkpoint
from slicer_core.checkpoints.distributed_format import DISTRIBUTED, load_optimizer_tree
from slicer_core.checkpoints.torch_format import TORCH, load_torch
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

OPTIMIZER_KEYS = ("optimizer", "optimizer_state_dict", "optim", "optimizer_state", "optimizer_states")
_BESIDE = ("optimizer.pt", "optimizer.bin")
_MOMENTS = ("exp_avg", "exp_avg_sq")
_LARGEST = "max_exp_avg_sq"


@dataclass(frozen=True, kw_only=True)
class AdamMoments:
    """One parameter's running means of gradient and squared gradient, both of its shape, after `step` updates.

    `betas` and `eps` are its group's. The moments are as they are stored: not corrected for their start at zero. With
    AMSGrad, which divides by the largest mean so far, `exp_avg_sq` is that.
    `matched_by` is what told that they are this parameter's; see `match_parameters`.
    """

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: int
    betas: tuple[float, float]
    eps: float
    matched_by: MatchedBy


def adam_moments(
    checkpoint: Checkpoint, parameters: Mapping[str, Sequence[int]], layer_norms: Collection[str] = ()
) -> dict[str, AdamMoments]:
    """Name -> moments, of the optimizer's state in the checkpoint's file or beside its weights.

    An optimizer counts its parameters. They are matched by their names where it kept them, else by order where only
    one way fits; see `match_parameters`.

    Args:
        checkpoint: where to look.
        parameters: name -> shape of the parameters that were trained, in the order of `model.named_parameters()`.
        layer_norms: names of those that belong to an `nn.LayerNorm`, which Hugging Face's Trainer does not decay.

    Raises:
        CheckpointError: there is no state, it is not Adam's, or it does not fit the parameters in exactly one way.
    """
    shapes = {name: tuple(shape) for name, shape in parameters.items()}
    place, state = _optimizer_state(checkpoint)
    entries, groups = state.get("state"), state.get("param_groups")
    if not isinstance(entries, Mapping) or not isinstance(groups, (list, tuple)) or not entries:
        raise CheckpointError(f"{place} has no state of an optimizer's parameters")
    first = next(iter(entries.values()))
    if not isinstance(first, Mapping) or not set(_MOMENTS) <= set(first):
        held = ", ".join(map(str, first)) if isinstance(first, Mapping) else type(first).__name__
        raise CheckpointError(
            f"{place} is not the state of an Adam optimizer: expected exp_avg and exp_avg_sq, it has {held}"
        )
    _refuse_relatives(first, groups, place)
    by_name, matched_by = match_parameters(entries, groups, shapes, layer_norms, place)
    settings = {identity: group for group in groups for identity in group["params"]}
    return {
        name: _moments(entries[identity], settings.get(identity, groups[0]), matched_by, name, shapes[name], place)
        for name, identity in by_name.items()
    }


def _refuse_relatives(entry: Mapping[Any, Any], groups: Sequence[Any], place: Path) -> None:
    """Raises CheckpointError for an optimizer that keeps the moments of Adam and makes another step of them."""
    # Copies of the weights in float32 are no part of the step.
    others = [
        str(key) for key in entry if key not in (*_MOMENTS, _LARGEST, "step") and not str(key).startswith("master")
    ]
    if others:
        reason = f"beside them it has {', '.join(others)}, as NAdam has mu_product"
    elif any("decoupled_weight_decay" in group and "amsgrad" not in group for group in groups):
        reason = "its settings are RAdam's"
    elif any(False in (group.get("correct_bias"), group.get("bias_correction")) for group in groups):
        reason = "it does not correct its moments for their start at zero"
    else:
        return
    raise CheckpointError(
        f"{place} has exp_avg and exp_avg_sq, but {reason}, so its step is not Adam's: give --along update, or --along "
        "gradient"
    )


def optimizer_files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    """The files beside the checkpoint's weights that may hold the optimizer's state, those that are there."""
    if checkpoint.data == checkpoint.path:
        return ()
    return tuple(file for name in _BESIDE if (file := checkpoint.data.parent / name).is_file())


def _optimizer_state(checkpoint: Checkpoint) -> tuple[Path, Mapping[Any, Any]]:
    if checkpoint.format is DISTRIBUTED:
        return checkpoint.data, load_optimizer_tree(checkpoint.data, OPTIMIZER_KEYS)
    if checkpoint.format is TORCH:
        loaded = load_torch(checkpoint.data, checkpoint.options)
        found = next((loaded[key] for key in OPTIMIZER_KEYS if key in loaded), None)
        if isinstance(found, (list, tuple)):
            if len(found) != 1:
                raise CheckpointError(f"{checkpoint.data} has the states of {len(found)} optimizers, expected one")
            (found,) = found
        if isinstance(found, Mapping):
            return checkpoint.data, found
    for file in optimizer_files(checkpoint):
        loaded = load_torch(file, checkpoint.options)
        if isinstance(loaded, Mapping):
            return file, loaded
    raise CheckpointError(
        f"{checkpoint.path} has no state of an optimizer: expected it in the file under "
        f"{', '.join(OPTIMIZER_KEYS[:3])}, or in {' or '.join(_BESIDE)} beside the weights of a folder"
    )


def _moments(
    entry: Mapping[Any, Any], group: Mapping[Any, Any], matched_by: MatchedBy, name: str, shape: Shape, place: Path
) -> AdamMoments:
    import torch

    exp_avg, step = entry.get("exp_avg"), entry.get("step")
    exp_avg_sq = entry.get(_LARGEST if group.get("amsgrad") else "exp_avg_sq")
    for moment in (exp_avg, exp_avg_sq):
        if not isinstance(moment, torch.Tensor) or tuple(moment.shape) != shape:
            raise CheckpointError(f"{place} has moments of {name} that are not of its shape {list(shape)}")
    assert exp_avg is not None
    assert exp_avg_sq is not None
    count = step.item() if isinstance(step, torch.Tensor) and step.numel() == 1 else step
    betas, eps = group.get("betas"), group.get("eps")
    if not isinstance(count, (int, float)) or not count >= 0 or not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise CheckpointError(f"{place} does not say how many updates {name} has had, or with which betas")
    if not isinstance(eps, (int, float)):
        raise CheckpointError(f"{place} does not say with which eps {name} was updated")
    return AdamMoments(
        exp_avg=exp_avg.detach(),
        exp_avg_sq=exp_avg_sq.detach(),
        step=int(count),
        betas=(float(betas[0]), float(betas[1])),
        eps=float(eps),
        matched_by=matched_by,
    )
