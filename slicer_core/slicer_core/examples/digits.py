"""The UCI handwritten digits as tensors, with a fixed split. Source and license: LICENSE-digits.md in this folder."""

from __future__ import annotations

from importlib.resources import files

import safetensors.torch
import torch

from slicer_core.errors import UsageError

NUM_CLASSES = 10
_LARGEST_PIXEL = 16.0


def load_digits(
    test_fraction: float = 0.2,
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """1,797 real images of handwritten digits, as `(train images, train labels), (test images, test labels)`.

    Images are float32 of shape (n, 64): 8x8 pixels in row order, in [0, 1]. Labels are int64 of shape (n,), 0 to 9.
    The split is a pure function of `test_fraction`, without random numbers: of each class, evenly spaced samples are
    test data. Both parts keep the order of the source. With the default, 1,438 samples are train and 359 are test data.

        >>> train_data, test_data = load_digits()
        >>> train_data[0].shape, test_data[0].shape
        (torch.Size([1438, 64]), torch.Size([359, 64]))

    Raises:
        UsageError: `test_fraction` leaves a class without train or without test samples.
    """
    stored = safetensors.torch.load(files("slicer_core.examples").joinpath("digits.safetensors").read_bytes())
    images = stored["images"].flatten(start_dim=1).to(torch.float32) / _LARGEST_PIXEL
    labels = stored["labels"].to(torch.int64)
    is_test = _evenly_spaced(labels, test_fraction)
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def _evenly_spaced(labels: torch.Tensor, fraction: float) -> torch.Tensor:
    """Boolean mask of shape (n,): `fraction` of each class, at equal distances.

    By class, because the source repeats 0 to 9 in order: every fifth sample would be mostly zeros and fives.
    """
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(NUM_CLASSES):
        members = torch.nonzero(labels == label).flatten()
        count = round(len(members) * fraction) if 0 < fraction < 1 else 0
        if not 0 < count < len(members):
            raise UsageError(
                f"test_fraction={fraction!r} leaves a digit without train or test samples (each has about 180): "
                "use a number well between 0 and 1, such as 0.2"
            )
        # Integers only, so that no rounding differs between machines.
        positions = (2 * torch.arange(count) + 1) * len(members) // (2 * count)
        mask[members[positions]] = True
    return mask
