"""Parameters that share memory without being one are told, since a slice moves them apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from slicer_core.job import Job, Reporter, run_job
from slicer_core.subject import one_memory_note

MODULE = """
import torch
from torch import nn
from slicer_core import ModelWrapper

def build():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight.data = model[0].weight.data
    return ModelWrapper(model, nn.MSELoss(), (torch.ones(4, 3), torch.zeros(4, 3)))
"""


class Notes(Reporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_a_run_says_which_parameters_share_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("subject.py").write_text(MODULE)
    torch.save(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).state_dict(), "step-1.pt")
    notes = Notes()
    run_job(Job.from_values({"checkpoints": "step-1.pt", "method": "random1d", "grid": "3"}), reporter=notes)
    assert any(text.startswith("0.weight and 2.weight share memory, but are not one parameter") for text in notes.texts)


def test_tied_parameters_and_parts_of_one_vector_are_as_they_are_meant() -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert one_memory_note(tied) is None
    nn.utils.vector_to_parameters(torch.randn(15), tied.parameters())
    assert one_memory_note(tied) is None


def test_a_buffer_of_a_parameters_memory_is_told() -> None:
    layer = nn.Linear(3, 3)
    layer.register_buffer("before", layer.weight.detach())
    note = one_memory_note(layer)
    assert note is not None
    assert note.startswith("weight and before share memory")
