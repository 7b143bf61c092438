"""The digits that ship with the package: the data, the split and the license."""

from __future__ import annotations

from importlib.resources import as_file, files

import pytest
import torch
from safetensors import safe_open

from slicer_core.errors import UsageError
from slicer_core.examples import load_digits

# The counts of 0, 1, … 9 that the data set's own description gives for its test part.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_parts_have_the_documented_sizes_and_types():
    (train_images, train_labels), (test_images, test_labels) = load_digits()
    assert train_images.shape == (1438, 64)
    assert test_images.shape == (359, 64)
    assert train_labels.shape == (1438,)
    assert test_labels.shape == (359,)
    assert train_images.dtype == test_images.dtype == torch.float32
    assert train_labels.dtype == test_labels.dtype == torch.int64


def test_pixels_are_sixteenths_from_0_to_1():
    images = torch.cat([part[0] for part in load_digits()])
    assert images.min() == 0
    assert images.max() == 1
    assert torch.equal(images * 16, (images * 16).round())


def test_the_parts_together_are_the_whole_data_set():
    labels = torch.cat([part[1] for part in load_digits()])
    assert torch.bincount(labels).tolist() == COUNTS


def test_images_keep_their_labels_and_their_order():
    resource = files("slicer_core.examples").joinpath("digits.safetensors")
    with as_file(resource) as path, safe_open(path, framework="pt") as stored:
        source = stored.get_tensor("images").flatten(1), stored.get_tensor("labels")
    for images, labels in load_digits():
        position = 0
        for image, label in zip(images, labels, strict=True):
            while not torch.equal(source[0][position], (image * 16).to(torch.uint8)):
                position += 1
            assert source[1][position] == label
            position += 1


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.01])
def test_each_digit_has_its_share_of_the_test_data(fraction: float):
    _, (_, labels) = load_digits(test_fraction=fraction)
    assert torch.bincount(labels, minlength=10).tolist() == [round(count * fraction) for count in COUNTS]


def test_the_split_takes_nothing_from_the_random_stream():
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = load_digits()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(first[1][0], load_digits()[1][0])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, 20.0, 0.001, 0.999, float("nan")])
def test_a_fraction_that_empties_a_part_is_refused_with_its_value(fraction: float):
    with pytest.raises(UsageError, match=f"test_fraction={fraction!r}"):
        load_digits(test_fraction=fraction)


def test_the_file_says_who_made_it_and_under_which_license():
    with (
        as_file(files("slicer_core.examples").joinpath("digits.safetensors")) as path,
        safe_open(path, framework="pt") as stored,
    ):
        metadata = stored.metadata()
    notice = files("slicer_core.examples").joinpath("LICENSE-digits.md").read_text(encoding="utf-8")
    for text in (" ".join(metadata.values()), notice):
        for fact in ("Alpaydin", "Kaynak", "1998", "10.24432/C50P49", "CC BY 4.0"):
            assert fact in text
