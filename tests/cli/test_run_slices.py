"""`loss-slicer run`: what TensorBoard reads afterwards is what a plain loop over the checkpoints gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from typer.testing import Result

from slicer_core import ModelWrapper
from slicer_core.choices import STRATEGY_NAMES
from slicer_core.examples import load_digits
from slicer_core.subject import stratified_order

Run = Callable[..., Result]
Losses = Callable[..., np.ndarray]


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def saved(step: int, folder: str = "sgd/checkpoints") -> dict[str, Tensor]:
    return safetensors.torch.load_file(Path(folder) / f"step-{step:06d}.safetensors")


def own_loss(state: dict[str, Tensor], split: int = 0) -> float:
    """What the user's own script would print: the loss of the whole split in one batch."""
    images, labels = load_digits()[split]
    model = make_model()
    model.load_state_dict(state)
    with torch.no_grad():
        return nn.CrossEntropyLoss()(model(images), labels).item()


def own_accuracy(state: dict[str, Tensor], split: int = 0) -> float:
    images, labels = load_digits()[split]
    model = make_model()
    model.load_state_dict(state)
    with torch.no_grad():
        return (model(images).argmax(dim=1) == labels).float().mean().item()


@pytest.fixture
def loop(reference: Any) -> Losses:
    """Losses on the train data of the checkpoint plus multiples of directions, one point after another in float64."""

    def losses(state: dict[str, Tensor], directions: list[dict[str, Tensor]], points: list[tuple[float, ...]]) -> Any:
        return reference(make_model(), nn.CrossEntropyLoss(), load_digits()[0]).along(directions, points, state)

    return losses


def length(vector: dict[str, Tensor]) -> float:
    return sum(float((tensor.double() ** 2).sum()) for tensor in vector.values()) ** 0.5


def test_random2d_logs_each_checkpoint_with_the_values_of_a_plain_loop(
    run: Run, tools: SimpleNamespace, loop: Losses, plain_direction: Any, close_to_float64: Any
) -> None:
    done = run("--method", "random2d", "--grid", "4x3", "--range", "0:1,-0.5:0.5", "--seed", "7", "--split", "both")
    assert done.exit_code == 0
    log = tools.read_log(Path("runs"))
    assert list(log) == ["sgd/loss_slicer"]
    assert list(log["sgd/loss_slicer"]) == ["random2d"]
    slices = log["sgd/loss_slicer"]["random2d"]
    assert list(slices) == [0, 200, 2000]
    for step, data in slices.items():
        state = saved(step)
        directions = [plain_direction(state, seed=7, axis=axis) for axis in (0, 1)]
        assert (data.slice_type, data.geometry, data.status) == ("random_direction_2d", "grid", "complete")
        assert [axis.name for axis in data.axes] == ["direction_0", "direction_1"]
        np.testing.assert_allclose(data.axes[0].values, [0, 1 / 3, 2 / 3, 1])
        assert data.axes[1].values.tolist() == [-0.5, 0, 0.5]
        first = data.arrays[0]
        assert (first.name, first.split, first.role, first.values.shape) == ("loss", "train", "value", (4, 3))
        points = [(float(a), float(b)) for a in data.axes[0].values for b in data.axes[1].values]
        close_to_float64(first.values.ravel(), loop(state, directions, points))
        assert data.center is not None
        assert data.center.step == step
        assert data.center.loss["train"] == pytest.approx(own_loss(state, 0), rel=2e-6)
        assert data.center.loss["test"] == pytest.approx(own_loss(state, 1), rel=2e-6)
        assert data.center.metrics["accuracy"]["test"] == pytest.approx(own_accuracy(state, 1), abs=1e-7)
        assert data.center.norm == pytest.approx(length(state))
        assert first.values[0, 1] == pytest.approx(data.center.loss["train"], rel=2e-6)
        assert [direction.norm for direction in data.directions] == pytest.approx(list(map(length, directions)))
        dot = sum(float((directions[0][name] * directions[1][name]).sum()) for name in directions[0])
        assert data.cosine == pytest.approx(dot / (length(directions[0]) * length(directions[1])))


def test_the_header_says_how_the_slice_was_made(run: Run, tools: SimpleNamespace) -> None:
    done = run("--grid", "3x2", "--batch-size", "500", "--steps", "last", "--json", name="here")
    assert done.exit_code == 0
    (entry,) = json.loads(done.stdout)["slices"]
    header = entry["header"]
    assert (entry["source"], entry["tag"], entry["step"], entry["stored"]) == ("sgd", "here", 2000, False)
    assert (header["schema"], header["slice_type"], header["geometry"]) == (1, "random_direction_2d", "grid")
    assert (header["status"], header["filled"]) == ("complete", 1.0)
    described = [
        (array["name"], array["split"], array["role"], array["dtype"], array["shape"]) for array in header["arrays"]
    ]
    assert described == [
        ("loss", "train", "value", "f8", [3, 2]),
        ("loss", "train", "stderr", "f4", [3, 2]),
        ("loss", "train", "count", "i8", [3, 2]),
        ("loss", "train", "difference_stderr", "f4", [3, 2]),
        ("accuracy", "train", "value", "f8", [3, 2]),
        ("accuracy", "train", "stderr", "f4", [3, 2]),
    ]
    assert [array["blob"] for array in header["arrays"]] == [1, 2, 3, 4, 5, 6]
    recipe = header["directions"][1]["recipe"]
    chosen = {key: recipe[key] for key in ("kind", "seed", "axis", "normalize", "ignore")}
    assert chosen == {"kind": "random", "seed": 0, "axis": 1, "normalize": "filter", "ignore": "biasbn"}
    assert recipe["entries"] == 64 * 64 + 64 * 32 + 32 * 10
    assert header["checkpoint"] == {
        "path": "sgd/checkpoints/step-002000.safetensors",
        "step": 2000,
        "step_unit": "step",
    }
    evaluation = header["evaluation"]
    assert (evaluation["samples"], evaluation["batches"]) == ({"train": 1438}, {"train": 3})
    assert evaluation["device"] == "cpu"
    assert evaluation["strategy"] in STRATEGY_NAMES[1:]
    assert evaluation["versions"]["torch"] == torch.__version__
    config = header["config"]
    assert (config["method"], config["grid"], config["range"]) == ("random2d", "3x2", "-1.0:1.0,-1.0:1.0")
    assert (config["batch_size"], config["batchnorm"], config["name"]) == (500, "frozen", "here")
    # The options repeat the run from any folder.
    assert config["checkpoints"] == [str(Path.cwd() / "sgd/checkpoints")]
    assert config["logdir"] == str(Path.cwd() / "runs")
    assert config["module"] == f"{tools.MODULE}:build"
    (logged,) = tools.read_log(Path("runs"))["sgd/loss_slicer"]["here"].values()
    assert logged.config == config
    assert logged.arrays[2].values.tolist() == [[1438, 1438]] * 3


def test_random1d_is_a_curve_along_the_first_direction(
    run: Run, tools: SimpleNamespace, loop: Losses, plain_direction: Any, close_to_float64: Any
) -> None:
    assert run("--method", "random1d", "--grid", "5", "--steps", "200").exit_code == 0
    (data,) = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"].values()
    state = saved(200)
    assert (data.slice_type, data.geometry) == ("random_direction_1d", "curve")
    assert data.cosine is None
    direction = plain_direction(state, seed=0, axis=0)
    close_to_float64(data.loss, loop(state, [direction], [(float(a),) for a in data.axes[0].values]))


def test_linear_leads_from_each_checkpoint_to_the_last_and_says_which_it_skips(
    run: Run, tools: SimpleNamespace, loop: Losses, close_to_float64: Any
) -> None:
    done = run("--method", "linear", "--grid", "9")
    assert done.exit_code == 0
    assert "step 2000 is skipped: it is the end of the line" in done.stderr
    slices = tools.read_log(Path("runs"))["sgd/loss_slicer"]["linear"]
    assert list(slices) == [0, 200]
    end = saved(2000)
    for step, data in slices.items():
        start = saved(step)
        line = {name: end[name].double() - start[name].double() for name in end}
        assert (data.slice_type, data.geometry) == ("linear_interpolation", "curve")
        alphas = data.axes[0].values
        assert 0.0 in alphas
        assert 1.0 in alphas
        assert (alphas[0], alphas[-1]) == (-0.5, 1.5)
        close_to_float64(data.loss, loop(start, [line], [(float(a),) for a in alphas]))
        assert data.loss[list(alphas).index(1.0)] == pytest.approx(own_loss(end), rel=2e-5)
        assert data.directions[0].norm == pytest.approx(length(line))
        assert {marker.name: marker.loss["train"] for marker in data.markers} == {
            "start": pytest.approx(own_loss(start), rel=2e-6),
            "end": pytest.approx(own_loss(end), rel=2e-6),
        }


def test_linear_leads_to_a_checkpoint_of_another_run(run: Run, tools: SimpleNamespace) -> None:
    other = tools.copy_checkpoints("adam", Path("adam"), (2000,)) / "step-002000.safetensors"
    assert run("--method", "linear", "--grid", "5", "--steps", "last", to=other).exit_code == 0
    (data,) = tools.read_log(Path("runs"))["sgd/loss_slicer"]["linear"].values()
    assert data.loss[list(data.axes[0].values).index(1.0)] == pytest.approx(
        own_loss(saved(2000, "adam/checkpoints")), rel=2e-5
    )


def test_axis_moves_one_scalar_at_a_time_by_offsets(
    run: Run, tools: SimpleNamespace, loop: Losses, close_to_float64: Any
) -> None:
    assert run("--method", "axis", "--grid", "3", "--steps", "last", "--params-to-slice", "2,4100").exit_code == 0
    (data,) = tools.read_log(Path("runs"))["sgd/loss_slicer"]["axis"].values()
    state = saved(2000)
    assert (data.slice_type, data.geometry, data.loss.shape) == ("axis_parallel", "curves", (2, 3))
    # 4096 weights come before the first bias.
    assert [(curve.name, curve.layer, curve.index) for curve in data.curves] == [
        ("0.weight[0,2]", "0", (0, 2)),
        ("0.bias[4]", "0", (4,)),
    ]
    assert data.curves[1].center == state["0.bias"][4].item()
    assert data.curves[1].shape == (64,)
    for row, (name, index) in enumerate([("0.weight", (0, 2)), ("0.bias", (4,))]):
        unit = torch.zeros_like(state[name])
        unit[index] = 1.0
        close_to_float64(data.loss[row], loop(state, [{name: unit}], [(-1.0,), (0.0,), (1.0,)]))


def test_options_of_the_slice_change_what_they_name(
    run: Run, tools: SimpleNamespace, loop: Losses, plain_direction: Any, close_to_float64: Any
) -> None:
    def only(*options: str) -> Any:
        done = run("--method", "random1d", "--grid", "3", "--fresh", *options)
        assert done.exit_code == 0, done.stderr
        return tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]

    state = saved(200)
    last_layer = only("--steps", "200", "--params", "4.*")[200]
    direction = plain_direction(state, seed=0, axis=0)
    close_to_float64(last_layer.loss, loop(state, [{"4.weight": direction["4.weight"]}], [(-1.0,), (0.0,), (1.0,)]))
    assert last_layer.directions[0].recipe["tensors"] == 1

    rest = only("--steps", "200", "--exclude", "4.*")[200]
    assert rest.directions[0].norm ** 2 + last_layer.directions[0].norm ** 2 == pytest.approx(length(direction) ** 2)

    around_last = only("--center", "last")
    assert list(around_last) == [2000]

    from_last = only("--steps", "0", "--scale-from", "last")[0]
    assert from_last.directions[0].norm == pytest.approx(length(plain_direction(saved(2000), seed=0, axis=0)))

    plain = only("--steps", "200", "--normalize", "none", "--ignore", "none")[200]
    assert plain.directions[0].recipe["entries"] == 6570
    assert plain.directions[0].norm == pytest.approx(6570**0.5, rel=0.05)

    test_split = only("--steps", "200", "--split", "test", "--metrics", "none", "--dtype", "float64")[200]
    assert [(array.name, array.split) for array in test_split.arrays] == [("loss", "test")] * 4
    assert test_split.center.loss == {"test": pytest.approx(own_loss(state, 1), rel=2e-6)}
    assert test_split.evaluation["dtype"] == "float64"
    assert test_split.center.metrics == {}

    by_vmap = only("--steps", "200", "--strategy", "vmap", "--device", "cpu")[200]
    assert by_vmap.evaluation["strategy"] == "vmap"
    close_to_float64(by_vmap.loss, loop(state, [direction], [(-1.0,), (0.0,), (1.0,)]))


def test_values_that_are_not_finite_are_results(run: Run, tools: SimpleNamespace) -> None:
    done = run("--method", "random1d", "--grid", "3", "--steps", "last", "--range", "0:1e38", "--json")
    assert done.exit_code == 0
    (entry,) = json.loads(done.stdout)["slices"]
    assert entry["header"]["arrays"][0]["nonfinite"] > 0
    (data,) = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"].values()
    assert not np.isfinite(data.loss[-1])
    assert np.isfinite(data.loss[0])


def test_a_part_of_the_samples_is_the_same_at_every_step_and_seed(run: Run) -> None:
    train, test = load_digits()
    order = stratified_order(ModelWrapper(make_model(), nn.CrossEntropyLoss(), train, test).split("train"), 0)
    images, labels = (tensor[order[:50]] for tensor in train)
    assert torch.bincount(labels).tolist() == [5] * 10
    for seed in (0, 7):
        done = run("--method", "random1d", "--grid", "3", "--samples", "50", "--seed", seed, "--name", seed, "--json")
        for entry in json.loads(done.stdout)["slices"]:
            state = saved(entry["step"])
            model = make_model()
            model.load_state_dict(state)
            with torch.no_grad():
                expected = nn.CrossEntropyLoss()(model(images), labels).item()
            center = entry["header"]["center"]
            assert center["loss"]["train"] == pytest.approx(expected, rel=1e-5)
            assert center["whole_loss"]["train"] == pytest.approx(own_loss(state), rel=1e-5)
            loss, whole_loss = (f"{center[name]['train']:.6g}" for name in ("loss", "whole_loss"))
            line = f"step {entry['step']}  loss train {loss} on 50 of 1,438 samples ({whole_loss} on all)"
            assert line in done.stderr


def test_the_table_shows_the_centers_loss_on_all_samples_beside_that_on_a_part(run: Run) -> None:
    done = run("--method", "random1d", "--grid", "3", "--samples", "50", "--steps", "last")
    shown = re.search(r"^sgd +2000 +([\d.]+) \(all: ([\d.]+)\)", done.stdout, re.MULTILINE)
    assert shown is not None
    assert float(shown[2]) == pytest.approx(own_loss(saved(2000)), rel=1e-5)
    assert shown[1] != shown[2]
    assert "(all" not in run("--method", "random1d", "--grid", "3", "--steps", "last", "--name", "whole").stdout
