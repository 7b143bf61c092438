"""Everything that can be wrong with what `run` is given: one clear message, status 2, and nothing written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import Result

Run = Callable[..., Result]


def message(refused: Result) -> str:
    """The one line that says what is wrong; the module's name, and what is skipped, may come before it."""
    assert refused.exit_code == 2, (refused.exit_code, refused.stdout, refused.stderr)
    assert refused.stdout == ""
    before = ("module: ", "sgd, step 2000 is skipped")
    lines = [line for line in refused.stderr.splitlines() if not line.startswith(before)]
    assert "Traceback" not in refused.stderr
    assert len(lines) == 1, refused.stderr
    assert lines[0].startswith("error: ")
    assert not Path("runs").exists()
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--method", "nonsense"], "--method 'nonsense' is not one of linear, bezier, axis, layers, random1d"),
        (["--method", "random1d", "--to", "last"], "--to is an option of --method linear and bezier, not of random1d"),
        (["--to", "last"], "--to is an option of --method linear and bezier, not of random2d"),
        (["--method", "linear", "--params-to-slice", "0:3"], "--params-to-slice is an option of --method axis, not of"),
        (["--range", "1:-1"], "--range '1:-1' is the wrong way round or empty: give LOW:HIGH with LOW < HIGH"),
        (["--range", "1:1"], "--range '1:1' is the wrong way round or empty"),
        (["--range", "0:inf"], "--range '0:inf' is"),
        (["--range", "nan:1"], "--range 'nan:1' is"),
        (["--range", "one:two"], "--range 'one:two' is not of the form LOW:HIGH"),
        (["--range", "-1:1,-1:1,-1:1"], "has 3 axes, the method has 2"),
        (["--grid", "0"], "--grid '0' needs at least 2 points"),
        (["--grid", "1x5"], "--grid '1x5' needs at least 2 points"),
        (["--grid", "3x3x3"], "--grid '3x3x3' has 3 axes, the method has 2"),
        (["--grid", "-3"], "--grid '-3' is not a number of points"),
        (["--grid", "many"], "--grid 'many' is not a number of points: give N, or NxM for a grid"),
        (["--method", "random1d", "--grid", "3x3"], "--grid '3x3' has 2 axes, the method has 1"),
        (["--grid", "1000000"], "--grid needs 2 to"),
        (["--grid", "90000x100000"], "--grid: 90000x100000 points are 9000000000, and a slice holds 33554432"),
        (["--method", "axis", "--grid", "99999", "--params-to-slice", "0:400"], "400x99999 points are 39999600"),
        (["--range", "0:1e39"], "--range reaches to 1e+39, and numbers of float32 to 3.4e+38: give a narrower one, or"),
        (["--method", "axis", "--range", "-1e39:0", "--dry-run"], "--range reaches to 1e+39"),
        (["--params", "nothing*"], "--params 'nothing*' matches no parameter"),
        (["--params", "0.wieght"], "--params '0.wieght' matches no parameter (nearest: 0.weight"),
        (["--exclude", "*"], "leave no parameter of the 6"),
        (["--params", "*.bias"], "the random direction is zero everywhere"),
        (["--steps", "some"], "--steps 'some' is not of a known form"),
        (["--steps", "7"], "--steps names 7, which is not there; there are [0, 200, 2000]"),
        (["--steps", "5000:"], "--steps '5000:' leaves none of the steps 0, 200, 2000"),
        (["--steps", ""], "--steps '' is not of a known form"),
        (["--device", "nonsense"], "--device 'nonsense' is not one of auto, cpu, cuda"),
        (["--device", "meta"], "--device 'meta' is not one of auto, cpu, cuda"),
        (["--device", "cuda:97"], "--device cuda:97 can't be used on this machine"),
        (["--metrics", "accuracy,nonsense"], "--metrics names 'nonsense'; the module has accuracy"),
        (["--batch-size", "0"], "--batch-size 0 is not a number of samples: give 1 or more"),
        (["--batch-size", "-5"], "--batch-size -5 is not a number of samples"),
        (["--weight-decay", "-0.1"], "--weight-decay -0.1 is not a finite number from 0 up"),
        (["--weight-decay", "nan"], "--weight-decay nan is not a finite number"),
        (["--weight-decay", "inf"], "--weight-decay inf is not a finite number"),
        (["--samples", "0"], "--samples 0 is not a number of samples: give 1 or more"),
        (["--samples", "-5"], "--samples -5 is not a number of samples"),
        (["--samples", "100", "--batch-coupled"], "--samples 100 would cut batches whose samples the loss couples"),
        (["--name", ""], "--name is empty"),
        (["--name", "  "], "--name is empty"),
        (["--logdir", ""], "--logdir is empty"),
        (["--normalize", "nonsense"], "--normalize 'nonsense' is not one of filter, layer"),
        (["--ignore", "nonsense"], "--ignore 'nonsense' is not one of biasbn, none"),
        (["--split", "validation"], "--split 'validation' is not one of train, test, both"),
        (["--dtype", "int8"], "--dtype 'int8' is not one of float32, float64"),
        (["--strategy", "fast"], "--strategy 'fast' is not one of auto, "),
        (["--memory-budget", "plenty"], "--memory-budget 'plenty' is not a size: give a number with B, KB, MB,"),
        (["--memory-budget", "0"], "--memory-budget '0' leaves no memory at all"),
        (["--batchnorm", "fold"], "--batchnorm 'fold' is not one of frozen"),
        (["--center", "7"], "--center '7' is neither first, middle, last, one of the steps 0, 200, 2000"),
        (["--center", "last", "--steps", "first"], "--center last takes one slice around one point"),
        (["--scale-from", "nowhere"], "--scale-from 'nowhere' is neither first, middle, last, one of the steps"),
        (["--method", "linear", "--to", "nowhere"], "--to 'nowhere' is neither first, middle, last, one of the steps"),
        (["--method", "linear", "--grid", "3"], "--grid 3 is too few to have -0.5, 0, 1, 1.5 on it"),
        (["--method", "axis", "--params-to-slice", "99999:100000"], "ends after the last of 6570 scalars"),
        (["--method", "axis", "--params-to-slice", "some"], "--params-to-slice 'some' is not of a known form"),
        (["--method", "axis", "--params-to-slice", "0.weight[64,0]"], "is outside its shape [64, 64]"),
        (["--samples", "abc"], "--samples takes a whole number, not 'abc'"),
        (["--workers", "2.5"], "--workers takes a whole number, not '2.5'"),
        (["--weight-decay", "x"], "--weight-decay takes a number, not 'x'"),
        (["--method", "random1d", "--repeats", "few"], "--repeats takes a whole number, not 'few'"),
        (["--set", "width"], "--set 'width' is not of the form KEY=VALUE"),
        (["--set", "a b=3"], "--set 'a b=3' is not of the form KEY=VALUE"),
        (["--set", "seed=None"], "--set seed=None: no file can repeat that. Leave it out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_can_not_be_is_told(run: Run, options: list[str], told: str) -> None:
    assert told in message(run(*options))


@pytest.mark.parametrize("options", [["--nonsense", "1"], ["--grid"]])
def test_what_the_command_line_parser_refuses_is_told_too(run: Run, options: list[str]) -> None:
    refused = run(*options)
    assert refused.exit_code == 2
    assert options[0] in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not Path("runs").exists()


def test_an_end_of_the_line_alone_leaves_nothing_to_slice(run: Run) -> None:
    told = message(run("--method", "linear", "--steps", "last"))
    assert told == "no checkpoint is left to slice: sgd, step 2000 is skipped: it is the end of the line (--to last)"


def test_no_checkpoints_are_told(run: Run) -> None:
    Path("empty").mkdir()
    Path("runs1/deep/checkpoints").mkdir(parents=True)
    shutil.copy("sgd/checkpoints/step-000000.safetensors", "runs1/deep/checkpoints")
    assert "give --checkpoints with a folder, a file or a glob" in message(run(checkpoints=None))
    assert "there is no file or folder ~nobody-of-this-name/run" in message(run(checkpoints="~nobody-of-this-name/run"))
    assert "an empty path leads to no checkpoint" in message(run(checkpoints=""))
    assert "no checkpoint in empty: expected files that end in .safetensors" in message(run(checkpoints="empty"))
    assert "some are in runs1/deep/checkpoints" in message(run(checkpoints="runs1"))
    assert "there is no file or folder nowhere" in message(run(checkpoints="nowhere"))
    assert "there is no file or folder sgd/*.pt" in message(run(checkpoints="sgd/*.pt"))


def test_a_path_that_the_system_refuses_is_told_wherever_it_is_given(run: Run) -> None:
    name = "x" * 300
    for options in (
        {"checkpoints": name},
        {"checkpoints": "sgd/checkpoints", "logdir": name},
        {"checkpoints": "sgd/checkpoints", "method": "linear", "to": name},
    ):
        given = [
            part for option, value in options.items() if option != "checkpoints" for part in (f"--{option}", value)
        ]
        told = message(run(*given, checkpoints=options["checkpoints"]))
        assert told.startswith(name)
        assert told.endswith("can't be used: File name too long. Give another path, or rights to it")


def test_files_that_are_no_checkpoints_are_told(run: Run) -> None:
    whole = Path("sgd/checkpoints/step-002000.safetensors").read_bytes()
    broken = {
        "step-1.safetensors": (whole[: len(whole) // 2], "is cut short"),
        "step-2.safetensors": (b"", "is empty"),
        "step-3.pt": (b"PK\x03\x04 and then nothing", "is cut short"),
        "step-4.pt": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        "step-5.pt": (b"<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        "step-6.pt": (b"plain text", "is of no known format"),
    }
    for name, (data, told) in broken.items():
        Path(name).write_bytes(data)
        line = message(run(checkpoints=name))
        assert name in line
        assert told in line
    torch.save(torch.nn.Linear(2, 2), "step-7.pt")
    line = message(run(checkpoints="step-7.pt"))
    assert "runs code" in line
    assert "weights_only" not in line


def test_one_broken_checkpoint_does_not_stop_the_others(run: Run, tools: SimpleNamespace) -> None:
    whole = Path("sgd/checkpoints/step-000200.safetensors").read_bytes()
    Path("sgd/checkpoints/step-000200.safetensors").write_bytes(whole[:-100])
    # Its header is whole, so that only reading the tensors shows the flipped byte.
    state = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32)).state_dict()
    state |= {"4.weight": torch.zeros(10, 32), "4.bias": torch.zeros(10)}
    torch.save(state, "sgd/checkpoints/step-000300.pt")
    damaged = bytearray(Path("sgd/checkpoints/step-000300.pt").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    Path("sgd/checkpoints/step-000300.pt").write_bytes(damaged)
    done = run("--method", "random1d", "--grid", "3")
    assert done.exit_code == 3
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert any("step-000200.safetensors is cut short" in line for line in failed)
    assert any("step-000300.pt is damaged: the checksum" in line for line in failed)
    assert list(tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"]) == [0, 2000]
    assert "2 failed" in done.stdout
    # So it is as long as they are broken; what is done stays done.
    again = run("--method", "random1d", "--grid", "3")
    assert again.exit_code == 3
    assert again.stderr.count("(stored)") == 2


def test_what_fails_says_of_which_checkpoint_it_is_told(run: Run) -> None:
    tensors = load_file("sgd/checkpoints/step-000200.safetensors")
    tensors["0.weight"][0, 0] = float("nan")
    save_file(tensors, "sgd/checkpoints/step-000200.safetensors")
    told = "sgd/checkpoints/step-000200.safetensors (step 200): the center has weights that are not finite"
    options = ("--method", "random1d", "--grid", "3")
    done = run(*options)
    assert done.exit_code == 3
    assert f"\nfailed: {told}" in done.stderr
    assert f"\nerror: {told}" in run(*options, checkpoints="sgd/checkpoints/step-000200.safetensors").stderr
    # What is wrong with an option is not so of a checkpoint.
    wrong = run(*options, "--params", "nothing*", "--steps", "last")
    assert "\nerror: --params 'nothing*' matches no parameter" in wrong.stderr


def test_a_module_that_is_not_one_is_told(run: Run) -> None:
    Path("empty.py").write_text("answer = 42\n")
    Path("number.py").write_text("def build():\n    return 42\n")
    Path("text.txt").write_text("")
    Path("folder.py").mkdir()
    assert "empty.py has no function build(**settings) -> ModelWrapper" in message(run(module="empty.py"))
    assert "has no function 'other'" in message(run(module="number.py:other"))
    assert "returned int, expected a slicer_core.ModelWrapper" in message(run(module="number.py"))
    assert "nowhere.py (--module) is not a file" in message(run(module="nowhere.py"))
    assert "folder.py (--module) is not a file" in message(run(module="folder.py"))
    assert "has to end in .py" in message(run(module="text.txt"))


RAISING = """
import torch


def inner(kind):
    raise kind("no data today")


def build(kind="build"):
    from slicer_core import ModelWrapper
    from slicer_core.examples import load_digits

    if kind == "build":
        inner(ValueError)
    if kind == "exit":
        raise SystemExit(7)

    def loss(output, target):
        if kind == "loss":
            inner(ArithmeticError)
        return torch.nn.functional.cross_entropy(output, target)

    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return ModelWrapper(model, loss, *load_digits())
"""


@pytest.mark.parametrize(("kind", "error"), [("build", "ValueError"), ("loss", "ArithmeticError")])
def test_what_the_users_code_raises_is_shown_with_its_own_traceback_and_not_ours(
    run: Run, tools: SimpleNamespace, kind: str, error: str
) -> None:
    Path("raising.py").write_text(RAISING)
    refused = run("--set", f"kind={kind}", module="raising.py")
    assert refused.exit_code == 2
    lines = refused.stderr.splitlines()
    assert lines.count("Traceback (most recent call last):") == 1
    frames = [line.strip() for line in lines if line.strip().startswith("File ")]
    assert frames
    assert all("raising.py" in frame for frame in frames)
    assert frames[-1].endswith("in inner")
    assert lines[-1].startswith("error: ")
    assert lines[-1].endswith(f"raised {error}: no data today")
    # Told once, and not for each of the three checkpoints.
    assert refused.stderr.count(f"{error}: no data today") == 1
    assert sum(line.startswith(("error: ", "failed: ")) for line in lines) == 1
    assert not Path("runs").exists()
    # Ours comes with it only on demand.
    assert "load_subject" in run("--set", "kind=build", "--verbose", module="raising.py").stderr


def test_a_module_that_ends_the_process_is_an_error_of_the_module(run: Run) -> None:
    Path("raising.py").write_text(RAISING)
    refused = run("--set", "kind=exit", module="raising.py")
    assert refused.exit_code == 2
    assert "raised SystemExit: 7" in refused.stderr


def test_a_setting_that_build_does_not_take_is_told(run: Run) -> None:
    Path("raising.py").write_text(RAISING)
    refused = run("--set", "width=3", module="raising.py")
    assert refused.exit_code == 2
    assert "unexpected keyword argument 'width'" in refused.stderr.splitlines()[-1]


def test_tensors_that_do_not_match_the_model_are_told_with_the_nearest_names(run: Run, tools: SimpleNamespace) -> None:
    source = tools.MODULE.read_text()
    Path("wide.py").write_text(source.replace("64, 32", "64, 48").replace("32, 10", "48, 10"))
    line = message(run(module="wide.py"))
    assert "step-000000.safetensors does not fit the model: 3 of another shape" in line
    assert "2.weight is [32, 64], the model's is [48, 64]" in line
    assert "(3 checkpoints failed)" in line
    Path("named.py").write_text(
        source.replace("def accuracy", "class Named(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        first, *rest = make_model()\n"
        "        self.first, self.rest = first, nn.Sequential(*rest)\n\n\ndef accuracy")
        .replace("ModelWrapper(make_model()", "ModelWrapper(Named()")
    )  # fmt: skip
    line = message(run(module="named.py"))
    assert "6 missing from the checkpoint: first.weight (nearest: " in line
    unexpected = line.partition("6 not in the model: ")[2].partition(")")[0]
    assert unexpected.startswith("0.bias (nearest: ")


def test_data_that_changes_between_readings_is_refused(run: Run, tools: SimpleNamespace) -> None:
    Path("shuffled.py").write_text(
        tools.MODULE.read_text().replace(
            "    train_data, test_data = load_digits()\n",
            "    train_data, test_data = load_digits()\n"
            "    dataset = torch.utils.data.TensorDataset(*train_data)\n"
            "    train_data = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)\n",
        )
    )
    assert "differs from one reading to the next (shuffled or augmented)" in message(run(module="shuffled.py"))


def test_a_log_directory_that_can_not_be_is_told_before_anything_is_computed(run: Run) -> None:
    Path("occupied").write_text("a file")
    told = message(run("--logdir", "occupied"))
    assert "occupied is not a directory: give another --logdir" in told
    if os.geteuid() != 0:
        Path("locked").mkdir(mode=0o500)
        assert "can't be written to" in message(run("--logdir", "locked/log"))
