"""Jobs whose slices depend on several checkpoints: `pca2d`, `plane` and `--trajectory`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from slicer_core.errors import UsageError
from slicer_core.job import Job, run_job
from slicer_core.job.prepare import prepare
from slicer_core.job.reporter import Reporter

MakeJob = Callable[..., Job]
EXAMPLE = Path(__file__).resolve().parents[2] / "checkpoints_examples" / "digits_mlp"


def job_hash(job: Job) -> str:
    prepared = prepare(job, Reporter())
    return prepared.job_hash(prepared.sources[0])


def own_losses(steps: tuple[int, ...], make_job: MakeJob) -> list[float]:
    centers = [run_job(make_job(steps=str(step), grid="2", logdir="centers")).slices[0].data.center for step in steps]
    return [center.loss["train"] for center in centers if center is not None]


def flat(step: int) -> np.ndarray:
    tensors = load_file(f"sgd/checkpoints/step-{step:06d}.safetensors")
    return np.concatenate([tensors[name].double().reshape(-1).numpy() for name in sorted(tensors)])


@pytest.mark.parametrize("strategy", ["auto", "streaming"])
def test_one_slice_on_the_plane_of_all_checkpoints_around_the_last(make_job: MakeJob, strategy: str) -> None:
    (result,) = run_job(make_job(method="pca2d", grid="2x3", strategy=strategy)).slices
    assert (result.step, result.data.shape) == (2000, (2, 3))
    path = result.data.trajectory
    assert path is not None
    assert path["steps"] == [0, 200, 2000]
    # Three checkpoints always lie in a plane.
    assert max(path["residuals"]) < 1e-5
    assert path["captured"] == pytest.approx(1.0, abs=1e-9)
    distances = [np.linalg.norm(flat(step) - flat(2000)) for step in (0, 200, 2000)]
    np.testing.assert_allclose(np.linalg.norm(path["coordinates"], axis=1), distances, atol=1e-5)
    assert path["losses"]["train"] == pytest.approx(own_losses((0, 200, 2000), make_job), rel=1e-5)


def test_a_plane_is_taken_once_and_its_corners_have_their_own_losses(make_job: MakeJob) -> None:
    (result,) = run_job(make_job(method="plane", through="200,first,last", grid="2", trajectory=True)).slices
    assert result.step == 200
    markers = result.data.markers
    assert [marker.name for marker in markers] == ["200", "first", "last"]
    expected = own_losses((200, 0, 2000), make_job)
    assert [marker.loss["train"] for marker in markers] == pytest.approx(expected, rel=1e-5)
    path = result.data.trajectory
    assert path is not None
    np.testing.assert_allclose(path["coordinates"], [markers[i].coordinates for i in (1, 0, 2)], atol=1e-5)


def test_a_random_plane_shows_how_far_off_the_path_runs(make_job: MakeJob) -> None:
    results = run_job(make_job(method="random2d", grid="2", trajectory=True, params="0.*", ignore="none")).slices
    assert [result.step for result in results] == [0, 200, 2000]
    for result in results:
        path = result.data.trajectory
        assert path is not None
        index = path["steps"].index(result.step)
        np.testing.assert_allclose(path["coordinates"][index], [0.0, 0.0], atol=1e-9)
        distances = np.array([np.linalg.norm(flat(step) - flat(result.step)) for step in path["steps"]])
        assert path["residuals"][index] < 1e-9
        # Random directions have next to nothing of it.
        np.testing.assert_allclose(path["residuals"], distances, rtol=0.05)
        assert 0 <= path["captured"] < 0.05


def test_another_checkpoint_of_the_path_makes_another_job(make_job: MakeJob, workplace: Path) -> None:
    jobs = {
        "pca": make_job(method="pca2d"),
        "path": make_job(method="random2d", trajectory=True),
        "none": make_job(method="random2d"),
    }
    before = {name: job_hash(job) for name, job in jobs.items()}
    assert len(set(before.values())) == 3
    shutil.copy(EXAMPLE / "sgd" / "checkpoints" / "step-000500.safetensors", workplace / "sgd" / "checkpoints")
    after = {name: job_hash(job) for name, job in jobs.items()}
    assert [name for name in jobs if before[name] != after[name]] == ["pca", "path"]


def test_a_corner_is_what_its_tensors_are(make_job: MakeJob) -> None:
    by_words = job_hash(make_job(method="plane"))
    assert job_hash(make_job(method="plane", through="0,200,2000")) == by_words
    by_file = "0,sgd/checkpoints/step-000200.safetensors,last"
    assert job_hash(make_job(method="plane", through=by_file)) == by_words
    assert job_hash(make_job(method="plane", through="0,2000,200")) != by_words


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"method": "pca2d", "steps": "last"}, "--method pca2d takes one slice around one point, so --steps has no"),
        ({"method": "pca2d", "checkpoints": "sgd/checkpoints/step-000200*"}, "the path of 1 checkpoint spans"),
        ({"method": "pca2d", "batchnorm": "interpolate"}, "--batchnorm interpolate needs a second checkpoint"),
        ({"method": "plane", "through": "first,200,200"}, "names a corner twice"),
        ({"method": "plane", "through": "first,0,last"}, "the corners first, 0 and last lie on one line"),
        ({"method": "plane", "through": "first,7,last"}, "--through '7' is neither first, middle, last, one of"),
        ({"method": "plane", "through": "7,200,last"}, "--through '7' is neither first, middle, last, one of"),
        ({"method": "plane", "center": "200"}, "--center 200 has no meaning with --method plane"),
    ],
)  # fmt: skip
def test_what_spans_no_plane_is_refused_and_nothing_written(make_job: MakeJob, values: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run_job(make_job(**values))
    assert not Path("runs").exists()


def test_paths_among_the_corners_are_made_absolute(make_job: MakeJob, workplace: Path) -> None:
    job = make_job(method="plane", through="first,some/step-1.pt,12")
    assert f'through = "first,{workplace}/some/step-1.pt,12"' in job.to_toml()
