"""Weights of finite differences on coordinates that need not be evenly spaced."""

from __future__ import annotations

import numpy as np


def second_difference_weights(coordinates: np.ndarray) -> np.ndarray:
    """For each inner point the weights of the values before, at and after it, shape (n - 2, 3).

    Their sum with the values is the second derivative of the parabola through the three points; where spacing is even
    that is (L₋ - 2L + L₊)/h².
    """
    before, after = np.diff(coordinates)[:-1], np.diff(coordinates)[1:]
    both = before + after
    return np.stack([2 / (before * both), -2 / (before * after), 2 / (after * both)], axis=1)


def windows(values: np.ndarray) -> np.ndarray:
    """The values before, at and after each inner point along the last axis, shape (…, n - 2, 3)."""
    return np.lib.stride_tricks.sliding_window_view(values, 3, axis=-1)
