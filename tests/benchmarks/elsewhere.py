"""The user's loop in a process whose allocator is as glibc has it.

A process can't have that back once its thresholds were raised, and the command raises them; so this loop has a process
of its own, which waits while the engine runs.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor

from baseline import user_losses
from machine import this_machine
from rows import table


class LoopElsewhere:
    """The loop of the row of this name, on the same network and points; to be closed."""

    def __init__(self, row: str, *, quick: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, row, quick, torch.get_num_threads())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def losses(self, chosen: np.ndarray) -> tuple[float, Tensor]:
        """Seconds that the loop took at the chosen points, and the mean losses there.

        Raises EOFError if its process has ended.
        """
        self._connection.send(chosen)
        seconds, losses = self._connection.recv()
        return seconds, torch.from_numpy(losses)

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, name: str, quick: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    machine = this_machine("cpu", tuned=False)
    row = next(row for row in table() if row.name == name)
    subject = row.subject(machine.device)
    blocks = row.blocks(subject, quick)
    while True:
        try:
            chosen = connection.recv()
        except EOFError:
            return
        start = machine.clock()
        losses = user_losses(subject, blocks, chosen)
        connection.send((machine.clock() - start, losses.numpy()))
