"""What a job's hash depends on: all that changes numbers, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slicer_core.job import Job
from slicer_core.job.prepare import prepare
from slicer_core.job.reporter import Reporter

MakeJob = Callable[..., Job]
EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"


def job_hash(job: Job) -> str:
    prepared = prepare(job, Reporter())
    return prepared.job_hash(prepared.sources[0])


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 1}, {"grid": "5"}, {"range": "-1:2"}, {"normalize": "layer"}, {"ignore": "none"}, {"params": "0.*"},
        {"exclude": "0.*"}, {"scale_from": "last"}, {"scale_from": "200"}, {"split": "test"}, {"split": "both"},
        {"batch_size": 100}, {"samples": 100}, {"weight_decay": 0.1}, {"metrics": "none"}, {"dtype": "float64"},
        {"batchnorm": "recompute"}, {"per_class": True}, {"tf32": True},
        {"method": "random2d"}, {"method": "linear", "grid": "5"}, {"method": "linear", "to": "first", "grid": "5"},
        {"method": "axis"}, {"method": "axis", "params_to_slice": "0:2"}, {"tolerance": "1%"}, {"weights": "."},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_numbers_makes_another_job(make_job: MakeJob, values: dict[str, Any]) -> None:
    assert job_hash(make_job(**values)) != job_hash(make_job())
    # And the same one every time.
    assert job_hash(make_job(**values)) == job_hash(make_job(**values))


def test_no_two_jobs_that_differ_share_a_hash(make_job: MakeJob) -> None:
    several = [make_job(method="linear", grid="5", to=to) for to in ("first", "last", "200", "random")]
    several += [make_job(method="linear", grid="5", to="random", seed=1)]
    several += [make_job(), make_job(repeats=2), make_job(repeats=3)]
    several += [make_job(method="random2d"), make_job(method="random2d", orthogonal=True)]
    assert len({job_hash(job) for job in several}) == len(several)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": "last"}, {"center": "last"}, {"logdir": "elsewhere"}, {"name": "another"}, {"fresh": True},
        {"strategy": "loop"}, {"device": "cpu"}, {"grid": "3", "range": "-1.0:1.0"}, {"normalize": "filter"},
        {"memory_budget": "4GiB"}, {"workers": 1}, {"executor": "ray"}, {"compile": "off"}, {"samples": 1_000_000},
        {"weight_decay": 0},
        {"module": "subject.py"}, {"module": "subject.py:build"}, {"checkpoints": ["sgd/checkpoints/*.safetensors"]},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_change_numbers_leaves_the_job_as_it_is(make_job: MakeJob, values: dict[str, Any]) -> None:
    assert job_hash(make_job(**values)) == job_hash(make_job())


def test_tolerances_differ_by_what_they_mean(make_job: MakeJob) -> None:
    first, same, more, loss = (job_hash(make_job(tolerance=text)) for text in ("1%", "1.0%", "2%", 0.01))
    assert first == same
    assert len({first, more, loss}) == 3


def test_the_way_in_which_a_point_is_named_does_not_matter(
    make_job: MakeJob, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_word = job_hash(make_job(method="linear", grid="5", to="last"))
    by_path = make_job(method="linear", grid="5", to="sgd/checkpoints/step-002000.safetensors")
    assert job_hash(by_path) == by_word
    (workplace / "far").mkdir()
    monkeypatch.chdir(workplace / "far")
    from_afar = {
        "to": "../sgd/checkpoints/step-002000.safetensors",
        "checkpoints": "../sgd/checkpoints",
        "module": "../subject.py",
    }
    assert job_hash(make_job(method="linear", grid="5", **from_afar)) == by_word


def test_the_source_of_the_module_and_the_bytes_of_the_data_are_part_of_it(make_job: MakeJob, workplace: Path) -> None:
    before = job_hash(make_job())
    source = (workplace / "subject.py").read_text()
    (workplace / "subject.py").write_text(source + "\n# a remark\n")
    assert job_hash(make_job()) != before
    (workplace / "subject.py").write_text(source)
    assert job_hash(make_job()) == before
    loading = "    train_data, test_data = load_digits()\n"
    reading = source.replace(loading, f"{loading}    train_data[0][0, 0] += float(pathlib.Path('more').read_text())\n")
    (workplace / "subject.py").write_text(reading.replace("import torch\n", "import pathlib\n\nimport torch\n", 1))
    hashes = set()
    for more in ("0", "1"):
        (workplace / "more").write_text(more)
        hashes.add(job_hash(make_job()))
    assert len(hashes) == 2


def test_the_checkpoint_that_a_line_leads_to_is_part_of_it(make_job: MakeJob, workplace: Path) -> None:
    line = make_job(method="linear", grid="5")
    before = job_hash(line)
    random = job_hash(make_job())
    folder = workplace / "sgd" / "checkpoints"
    shutil.copy(EXAMPLE / "adam" / "checkpoints" / "step-002000.safetensors", folder)
    assert job_hash(line) != before
    assert job_hash(make_job()) == random


def test_the_optimizer_that_lies_beside_the_weights_is_part_of_a_checkpoint_where_its_step_is_taken(
    make_job: MakeJob, workplace: Path
) -> None:
    folder = workplace / "ck" / "checkpoint-200"
    folder.mkdir(parents=True)
    shutil.copy(EXAMPLE / "sgd" / "checkpoints" / "step-000200.safetensors", folder / "model.safetensors")

    def fingerprint(**values: Any) -> str:
        prepared = prepare(make_job(checkpoints="ck", **values), Reporter())
        return prepared.fingerprint(prepared.sources[0].selected[0])

    alone = fingerprint()
    (folder / "optimizer.pt").write_bytes(b"moments")
    before = fingerprint(method="gradient", along="adam")
    assert fingerprint(method="gradient", along="adam") == before
    assert fingerprint() == fingerprint(method="gradient") == alone != before
    (folder / "optimizer.pt").write_bytes(b"others")
    assert fingerprint(method="gradient", along="adam") not in (before, alone)
    assert fingerprint() == alone
