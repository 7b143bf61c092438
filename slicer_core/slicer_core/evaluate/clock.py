"""Seconds of work that a device may still be at when the call that began it has returned."""

from __future__ import annotations

import time

import torch


def clock(device: torch.device) -> float:
    """Seconds from some time on, once all is done that was begun on the device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
