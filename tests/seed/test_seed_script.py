"""A training script as users have it: the names and calls of the plugin's original description, as one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.provider import BlobReference

from slicer_core.slices import Slice, decode_slice

SCRIPT = """
import json
import sys

import torch
import torch.nn as nn
from torch.utils.tensorboard import SummaryWriter

from pysclice.core import ModelWrapper
from pysclice.slicers import AxisParallelSlicer, LinearInterpolationSlicer, RandomDirectionSlicer
from tensorboard_loss_slicer.summary_v2 import log_slice

# What the description leaves to its reader.
torch.manual_seed(0)
train_dataset, test_dataset = (
    torch.utils.data.TensorDataset(torch.rand(count, 784), torch.randint(10, (count,))) for count in (96, 48)
)
test_data = test_dataset.tensors
num_epochs = 11
facts = {"own": {}}

model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
loss_fn = nn.CrossEntropyLoss()
train_loader = torch.utils.data.DataLoader(train_dataset, batch_size=64)
test_loader = torch.utils.data.DataLoader(test_dataset, batch_size=64)
wrapper = ModelWrapper(
    model=model, loss_fn=loss_fn, train_data=train_loader, test_data=test_loader,
    device="cuda" if torch.cuda.is_available() else "cpu",
)


def train(optimizer):
    for features, classes in train_loader:
        optimizer.zero_grad()
        loss_fn(model(features.to(wrapper.device)), classes.to(wrapper.device)).backward()
        optimizer.step()


def own_loss():
    features, classes = (tensor.to(wrapper.device) for tensor in train_dataset.tensors)
    with torch.no_grad():
        return loss_fn(model(features), classes).item()


writer = SummaryWriter("runs/loss_landscape_experiment")
linear_slicer = LinearInterpolationSlicer(wrapper)
axis_slicer = AxisParallelSlicer(wrapper)
random_slicer = RandomDirectionSlicer(wrapper)
sgd = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(num_epochs):
    train(sgd)
    if epoch % 10 == 0:
        facts["own"][epoch] = own_loss()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        current_params = wrapper.get_parameters()
        random_params = wrapper.get_random_parameters(scale=0.1)
        linear_slice = linear_slicer.slice(start_point=current_params, end_point=random_params, n_samples=50)
        log_slice(name="training_path", slice_data=linear_slice, step=epoch)
        axis_slice = axis_slicer.slice(
            center_point=current_params, bounds=(-1.0, 1.0), n_samples=51, params_to_slice=list(range(10))
        )
        log_slice(name="parameter_analysis", slice_data=axis_slice, step=epoch)
        random_slice = random_slicer.slice_2d(center_point=current_params, grid_size=25, range=(-0.5, 0.5))
        log_slice(name="landscape_2d", slice_data=random_slice, step=epoch)
        facts["untouched"] = model.training and all(
            torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()
        )

writer.close()

scales = [0.1, 0.5, 1.0, 2.0]
for scale in scales:
    random_params = wrapper.get_random_parameters(scale=scale)
    slice_data = linear_slicer.slice(start_point=current_params, end_point=random_params, n_samples=100)
    log_slice(f"linear_scale_{scale}", slice_data, step=epoch)

param_groups = [list(range(0, 50)), list(range(50, 100)), list(range(100, 150))]
for i, params in enumerate(param_groups):
    slice_data = axis_slicer.slice(center_point=current_params, bounds=(-2.0, 2.0), params_to_slice=params)
    log_slice(f"layer_{i}_analysis", slice_data, step=epoch)

optimizers = ["sgd", "adam", "adamw"]
for opt_name in optimizers:
    train({"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[opt_name](model.parameters()))
    writer = SummaryWriter(f"runs/optimizer_{opt_name}")
    log_slice(f"{opt_name}_landscape", slice_data, step=epoch)

random_slice = random_slicer.slice_2d(grid_size=15, range=(-0.3, 0.3))
axis_slice = axis_slicer.slice(params_to_slice=list(range(0, 20, 2)))
subset_data = (test_data[0][:100], test_data[1][:100])
wrapper_subset = ModelWrapper(model, loss_fn, subset_data)

facts["small"] = [list(random_slice.loss.shape), list(axis_slice.loss.shape)]
facts["around_the_model"] = [random_slice.center.loss["train"], own_loss()]
facts["subset"] = RandomDirectionSlicer(wrapper_subset).slice_1d(n_samples=3).evaluation["samples"]
json.dump(facts, sys.stdout)
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the script wrote: run -> tag -> step -> slice; what it printed; and what it said on stderr."""

    log: dict[str, dict[str, dict[int, Slice]]]
    facts: dict[str, object]
    stderr: str


@pytest.fixture(scope="module")
def outcome(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Outcome:
    folder = made_once("script", run_script)
    facts = json.loads((folder / "stdout").read_text())
    return Outcome(log=read_log(folder / "runs"), facts=facts, stderr=(folder / "stderr").read_text())


def run_script(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "always", "script.py"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)


def read_log(logdir: Path) -> dict[str, dict[str, dict[int, Slice]]]:
    multiplexer = EventMultiplexer(tensor_size_guidance={"loss_slicer": 1000})
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    provider, context = MultiplexerDataProvider(multiplexer, str(logdir)), RequestContext()
    found = provider.read_blob_sequences(context, experiment_id="", plugin_name="loss_slicer", downsample=1000)
    return {
        run: {
            tag: {
                datum.step: decode_slice([_blob(provider, context, reference) for reference in datum.values])
                for datum in sequence
            }
            for tag, sequence in tags.items()
        }
        for run, tags in found.items()
    }


def _blob(provider: MultiplexerDataProvider, context: RequestContext, reference: BlobReference) -> bytes:
    return bytes(provider.read_blob(context, blob_key=reference.blob_key))


def test_every_slice_is_in_the_run_whose_writer_was_made_last(outcome: Outcome) -> None:
    tags = {run: {tag: list(steps) for tag, steps in tags.items()} for run, tags in outcome.log.items()}
    assert tags == {
        "loss_landscape_experiment": {
            "training_path": [0, 10],
            "parameter_analysis": [0, 10],
            "landscape_2d": [0, 10],
            **{f"linear_scale_{scale}": [10] for scale in (0.1, 0.5, 1.0, 2.0)},
            **{f"layer_{index}_analysis": [10] for index in range(3)},
        },
        "optimizer_sgd": {"sgd_landscape": [10]},
        "optimizer_adam": {"adam_landscape": [10]},
        "optimizer_adamw": {"adamw_landscape": [10]},
    }


def test_the_slices_have_the_types_points_and_ranges_that_were_asked_for(outcome: Outcome) -> None:
    first = {tag: steps[10] for tag, steps in outcome.log["loss_landscape_experiment"].items()}

    def described(tag: str) -> tuple[str, str, tuple[int, ...], list[float]]:
        data = first[tag]
        ends = [float(end) for axis in data.axes for end in (axis.values[0], axis.values[-1])]
        return data.slice_type, data.geometry, data.loss.shape, ends

    assert described("training_path") == ("linear_interpolation", "curve", (50,), [-0.5, 1.5])
    assert described("linear_scale_2.0") == ("linear_interpolation", "curve", (100,), [-0.5, 1.5])
    assert described("parameter_analysis") == ("axis_parallel", "curves", (10, 51), [-1.0, 1.0])
    assert described("layer_2_analysis") == ("axis_parallel", "curves", (50, 51), [-2.0, 2.0])
    assert described("landscape_2d") == ("random_direction_2d", "grid", (25, 25), [-0.5, 0.5, -0.5, 0.5])
    assert [curve.index for curve in first["layer_1_analysis"].curves] == [(0, index) for index in range(50, 100)]
    assert (
        outcome.log["optimizer_adam"]["adam_landscape"][10].loss.tobytes() == first["layer_2_analysis"].loss.tobytes()
    )


def test_the_center_is_the_scripts_own_loss_at_that_epoch(outcome: Outcome) -> None:
    own = outcome.facts["own"]
    assert isinstance(own, dict)
    assert set(own) == {"0", "10"}
    for tag in ("training_path", "parameter_analysis", "landscape_2d"):
        for step, data in outcome.log["loss_landscape_experiment"][tag].items():
            assert data.center is not None
            assert data.center.loss["train"] == pytest.approx(own[str(step)], rel=2e-6)
    grid = outcome.log["loss_landscape_experiment"]["landscape_2d"][10]
    assert grid.loss[12, 12] == pytest.approx(own["10"], rel=2e-6)
    curve = outcome.log["loss_landscape_experiment"]["training_path"][10]
    assert curve.loss[list(curve.axes[0].values).index(0.0)] == pytest.approx(own["10"], rel=2e-6)


def test_random_ends_at_growing_scales_lie_further_and_further_away(outcome: Outcome) -> None:
    run = outcome.log["loss_landscape_experiment"]
    lengths = [run[f"linear_scale_{scale}"][10].directions[0].norm for scale in (0.1, 0.5, 1.0, 2.0)]
    assert np.allclose(np.array(lengths) / lengths[2], [0.1, 0.5, 1.0, 2.0], rtol=0.05)


def test_slicing_leaves_the_model_as_it_was(outcome: Outcome) -> None:
    assert outcome.facts["untouched"] is True


def test_smaller_slices_need_no_center_and_no_second_split(outcome: Outcome) -> None:
    assert outcome.facts["small"] == [[15, 15], [10, 51]]
    center, own = outcome.facts["around_the_model"]
    assert center == pytest.approx(own, rel=2e-6)
    assert outcome.facts["subset"] == {"train": 48}


def test_the_script_is_not_warned(outcome: Outcome) -> None:
    """One writer at a time is alive, so there is nothing to choose between."""
    assert "Warning" not in outcome.stderr
