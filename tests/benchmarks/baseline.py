"""The loop that a good user writes: the baseline of all rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slicer_core.plan import PointBlock
from subjects import Subject


def user_losses(subject: Subject, blocks: Sequence[PointBlock], chosen: np.ndarray) -> Tensor:
    """The mean loss at the chosen points, by `p.data = q + a*r + b*s` under `inference_mode`, with no `.item()`.

    `chosen`: numbers of points, counted through all blocks, ascending.
    """
    parameters = dict(subject.model.named_parameters())
    center = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    batches, num_samples, loss_fn = subject.batches(), len(subject.data[0]), subject.loss
    losses, first = [], 0
    subject.model.eval()
    with torch.inference_mode():
        for block in blocks:
            own = chosen[(chosen >= first) & (chosen < first + len(block.coefficients))] - first
            first += len(block.coefficients)
            if len(own) == 0:
                continue
            directions = block.directions()
            moved = [(parameters[name], center[name], [part[name] for part in directions]) for name in directions[0]]
            for coefficients in block.coefficients[own].tolist():
                for parameter, middle, parts in moved:
                    value = middle + coefficients[0] * parts[0]
                    for coefficient, part in zip(coefficients[1:], parts[1:], strict=True):
                        value = value + coefficient * part
                    parameter.data = value
                if len(batches) == 1:
                    losses.append(loss_fn(subject.model(batches[0][0]), batches[0][1]))
                else:
                    parts_of_sum = [loss_fn(subject.model(x), y) * len(x) for x, y in batches]
                    losses.append(torch.stack(parts_of_sum).sum() / num_samples)
            for parameter, middle, _ in moved:
                parameter.data = middle
    return torch.stack(losses)


def user_losses_reduced(
    subject: Subject, blocks: Sequence[PointBlock], chosen: np.ndarray, dtype: torch.dtype
) -> Tensor:
    """The same with weights and activations of a shorter type, and the loss in float32 as anyone would have it."""
    model = copy.deepcopy(subject.model).to(dtype)
    inputs, target = subject.data
    reduced = Subject(
        model=model,
        data=(inputs.to(dtype) if inputs.is_floating_point() else inputs, target),
        batch_size=subject.batch_size,
        loss=lambda output, target: subject.loss(output.float(), target),
        wrap=subject.wrap,
    )
    shorter = [_cast(block, dtype) for block in blocks]
    return user_losses(reduced, shorter, chosen)


def _cast(block: PointBlock, dtype: torch.dtype) -> PointBlock:
    directions = tuple({name: part.to(dtype) for name, part in parts.items()} for parts in block.directions())
    return PointBlock(directions=lambda: directions, coefficients=block.coefficients)
