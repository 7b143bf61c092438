"""`Job`: its values from names, as a file and back, and what it refuses."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slicer_core.errors import UsageError
from slicer_core.job import Job, read_config

MakeJob = Callable[..., Job]

OTHER_VALUES: dict[str, Any] = {
    "step_map": "net_{step}.pt",
    "weights": "ema",
    "trust_checkpoint": True,
    "checkpoints": ["a", "b/*.pt"],
    "method": "linear",
    "module": "m.py:make",
    "set": {"width": 64, "name": 'a "quoted" one', "deep": {"er": [1.5, True]}},
    "steps": "first,last",
    "grid": "7",
    "range": "0:1",
    "normalize": "layer",
    "ignore": "none",
    "params": ["0.*", "*[ab]*"],
    "exclude": ["*.bias"],
    "seed": 12,
    "center": "200",
    "scale_from": "last",
    "split": "both",
    "weight_decay": 0.01,
    "samples": 500,
    "batch_size": 32,
    "batch_coupled": True,
    "metrics": "accuracy",
    "measures": "sharpness",
    "per_class": True,
    "tf32": True,
    "gradient_norm": True,
    "batchnorm": "frozen",
    "device": "cpu",
    "dtype": "float64",
    "strategy": "loop",
    "memory_budget": "4GiB",
    "compile": "off",
    "workers": 1,
    "executor": "ray",
    "ray_address": "auto",
    "tolerance": "1%",
    "logdir": "log",
    "name": "a tag",
    "fresh": True,
    "to": "other/step-7.pt",
}
FOLDER_VALUES: dict[str, Any] = {"hf": "model", "text": "data/text.txt", "sequence_length": 64}
"""In place of a module."""


def test_a_printed_job_reads_back_as_itself_but_for_absolute_paths(workplace: Path) -> None:
    job = Job.from_values(OTHER_VALUES)
    Path("job.toml").write_text(job.to_toml())
    again = Job.from_values(read_config(Path("job.toml")))
    assert again.checkpoints == (str(workplace / "a"), str(workplace / "b/*.pt"))
    assert again.module == str(workplace / "m.py:make")
    assert again.logdir == str(workplace / "log")
    assert again.method_options == {"to": str(workplace / "other/step-7.pt")}
    assert not again.trust_checkpoint, "whether a file may run code is decided for each run"
    for name in set(OTHER_VALUES) - {"checkpoints", "module", "logdir", "to", "trust_checkpoint"}:
        assert getattr(again, name) == getattr(job, name)
    # From here on it is the same wherever it is read.
    assert again.to_toml() == job.to_toml()


def test_every_field_can_be_set_from_a_file(workplace: Path) -> None:
    """So that OTHER_VALUES is not short of one that comes later."""
    printed = tomllib.loads(Job.from_values(OTHER_VALUES).to_toml())
    fields = set(Job.__dataclass_fields__) - {"method_options", "trust_checkpoint", *FOLDER_VALUES}
    assert {name.replace("-", "_") for name in printed} == fields | {"to"}


def test_a_job_on_a_hugging_face_folder_reads_back_with_absolute_paths(workplace: Path) -> None:
    values = {name: value for name, value in OTHER_VALUES.items() if name not in ("module", "set")}
    Path("job.toml").write_text(Job.from_values(values | FOLDER_VALUES).to_toml())
    again = Job.from_values(read_config(Path("job.toml")))
    assert (again.hf, again.text) == (str(workplace / "model"), str(workplace / "data/text.txt"))
    assert again.sequence_length == 64


@pytest.mark.parametrize("point", ["first", "last", "2000", "each"])
def test_words_and_steps_are_no_paths(make_job: MakeJob, point: str) -> None:
    table = tomllib.loads(make_job(scale_from=point, center=point).to_toml())
    assert (table["scale-from"], table["center"]) == (point, point)
    if point != "each":
        assert tomllib.loads(make_job(method="linear", to=point, grid="5").to_toml())["to"] == point


def test_the_home_directory_is_known(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert tomllib.loads(make_job(logdir="~/runs").to_toml())["logdir"] == "/home/somebody/runs"


def test_as_a_dictionary_it_is_json_with_absolute_paths(make_job: MakeJob, workplace: Path) -> None:
    job = make_job(set={"when": date(1979, 5, 27), "sizes": [1, 2]}, method="linear", to="end.pt")
    fields = json.loads(json.dumps(job.to_dict()))
    assert fields["set"] == {"when": "1979-05-27", "sizes": [1, 2]}
    assert fields["checkpoints"] == [str(workplace / "sgd/checkpoints")]
    assert fields["method_options"] == {"to": str(workplace / "end.pt")}


def test_numbers_are_taken_where_texts_are_usual(make_job: MakeJob) -> None:
    job = make_job(grid=51, steps=100, center=200)
    assert (job.grid, job.steps, job.center) == ("51", "100", "200")


def test_the_tag_is_the_name_or_else_the_method(make_job: MakeJob) -> None:
    assert make_job().tag == "random1d"
    assert make_job(name="mine").tag == "mine"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"grids": "3"}, "unknown option 'grids' (nearest: grid"),
        ({"seed": "3"}, "--seed takes a whole number, not '3'"),
        ({"seed": True}, "--seed takes a whole number, not True"),
        ({"params": "0.*", "exclude": 3}, "--exclude takes texts, not 3"),
        ({"set": "a=b"}, "set is a table of KEY = VALUE, not 'a=b'"),
        ({"method": "linear", "params_to_slice": "0:3"}, "--params-to-slice is an option of --method axis, not of"),
        ({"checkpoints": []}, "no checkpoints: give --checkpoints"),
    ],
)  # fmt: skip
def test_what_a_job_can_not_be_is_told(make_job: MakeJob, values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_job(**values)
    assert told in str(refused.value)
