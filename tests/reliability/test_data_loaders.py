"""A DataLoader one of whose worker processes raises, hangs or is killed: a message, and no run that never ends."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

SUBJECT = """
import os
import signal
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset
from slicer_core import ModelWrapper
from slicer_core.examples import load_digits
from slicer_core.subject import data

# As for data that does not fit the memory: it is read again for each slice.
data._KEPT_BYTES = 0


class Digits(TensorDataset):
    def __getitem__(self, index):
        kind, _, at = os.environ.get("FAULT", "").partition(":")
        if kind and index == 150:
            with open(Path(os.environ["HERE"]) / "readings", "a") as file:
                file.write("read\\n")
            if len((Path(os.environ["HERE"]) / "readings").read_text().split()) >= int(at):
                if kind == "raise":
                    raise ValueError("no such picture: 150.png")
                if kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(3600)
        return super().__getitem__(index)


def build():
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    (features, classes), _ = load_digits()
    loader = DataLoader(Digits(features[:200], classes[:200]), batch_size=50, num_workers=1)
    return ModelWrapper(model, nn.CrossEntropyLoss(), loader)
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        # At the survey, or when the points of the first checkpoint are evaluated. What torch notices while something
        # else is being done it raises there.
        ("raise:4", "no such picture: 150.png"),
        ("kill:4", r"worker .*(was ended by signal 9|is killed by signal)"),
        ("hang:1", "the workers of the train DataLoader gave no batch in 3 s"),
    ],
)
def test_a_worker_of_the_users_that_fails_ends_the_run_with_a_message_and_it_can_go_on(
    fault: str, message: str, workplace: Path, long_jobs: SimpleNamespace
) -> None:
    (workplace / "subject.py").write_text(SUBJECT)
    short = ("--steps", "first", "--grid", "3", "--workers", "1")
    failed = long_jobs.run(*short, FAULT=fault, LOSS_SLICER_DATA_TIMEOUT="3")
    assert failed.returncode == 2, failed.stderr
    assert re.search(message, failed.stderr)
    assert "internal error" not in failed.stderr
    done = long_jobs.run("-q", *short)
    assert done.returncode == 0, done.stderr
    assert ("random2d", 0, "loss", "value") in long_jobs.arrays()
