"""`loss-slicer inspect`: what is in checkpoint folders, and whether it fits the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from typer.testing import Result

Call = Callable[..., Result]


def test_each_checkpoint_is_a_line_with_step_format_tensors_and_size(call: Call) -> None:
    shown = call("inspect", "sgd/checkpoints")
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"sgd  ({Path.cwd() / 'sgd/checkpoints'}")
    assert [line.split()[:5] for line in lines[1:]] == [
        ["step", step, "safetensors", "6", "tensors"] for step in ("0", "200", "2000")
    ]
    assert all("6 float32" in line and "26,280 bytes" in line for line in lines[1:])


def test_as_json_it_is_one_document(call: Call) -> None:
    state = {"0.weight": torch.zeros(3, 2, dtype=torch.bfloat16), "0.bias": torch.zeros(3)}
    torch.save({"state_dict": state, "epoch": 4}, "model.pt")
    document = json.loads(call("inspect", "sgd/checkpoints", "model.pt", "--json").stdout)
    assert document["schema"] == 1
    first, second = document["sources"]
    assert (first["name"], first["failures"], len(first["checkpoints"])) == ("sgd", [], 3)
    entry = first["checkpoints"][1]
    assert (entry["step"], entry["step_unit"], entry["format"], entry["bytes"]) == (200, "step", "safetensors", 26280)
    assert entry["tensors"]["2.weight"] == {"shape": [32, 64], "dtype": "float32"}
    assert entry["match"] is None
    (entry,) = second["checkpoints"]
    assert (entry["step"], entry["step_unit"], entry["format"]) == (4, "epoch", "torch")
    assert entry["dtypes"] == {"bfloat16": 1, "float32": 1}
    assert entry["bytes"] == 3 * 2 * 2 + 3 * 4


def test_with_a_module_the_match_is_told(call: Call, tools: SimpleNamespace) -> None:
    shown = call("inspect", "sgd/checkpoints", "--module", tools.MODULE)
    assert shown.exit_code == 0
    assert shown.stderr == f"module: {tools.MODULE}\n"
    assert all(line.endswith("  fits") for line in shown.stdout.splitlines()[1:])

    Path("wide.py").write_text(tools.MODULE.read_text().replace("64, 32", "64, 48"))
    shown = call("inspect", "sgd/checkpoints", "--module", "wide.py")
    assert shown.exit_code == 0
    assert shown.stdout.count("2.weight is [32, 64], the model's is [48, 64]") == 3
    document = json.loads(call("inspect", "sgd/checkpoints", "--module", "wide.py", "--json").stdout)
    assert "2 of another shape" in document["sources"][0]["checkpoints"][0]["match"]


def test_settings_reach_the_build_function(call: Call, tools: SimpleNamespace) -> None:
    Path("sized.py").write_text(
        tools.MODULE.read_text()
        .replace("def make_model()", "def make_model(width: int = 32)")
        .replace("64, 32", "64, width")
        .replace("nn.Linear(32, 10)", "nn.Linear(width, 10)")
        .replace("def build()", "def build(width: int = 32)")
        .replace("make_model(), nn", "make_model(width), nn")
    )
    assert "  fits" in call("inspect", "sgd/checkpoints", "--module", "sized.py").stdout
    assert (
        "the model's is [48, 64]"
        in call("inspect", "sgd/checkpoints", "--module", "sized.py", "--set", "width=48").stdout
    )


def test_tensors_are_listed_on_demand(call: Call) -> None:
    lines = call("inspect", "sgd/checkpoints", "--tensors").stdout.splitlines()
    assert "    0.weight  [64, 64]  float32" in lines
    assert "    4.bias  [10]  float32" in lines


def test_an_unreadable_file_among_others_is_told(call: Call) -> None:
    Path("sgd/checkpoints/step-000007.pt").write_bytes(b"PK\x03\x04 and then nothing")
    shown = call("inspect", "sgd/checkpoints")
    assert shown.exit_code == 0
    assert "  unreadable: sgd/checkpoints/step-000007.pt" in shown.stdout
    document = json.loads(call("inspect", "sgd/checkpoints", "--json").stdout)
    assert document["sources"][0]["failures"][0]["path"] == "sgd/checkpoints/step-000007.pt"


def test_what_can_not_be_inspected_is_told(call: Call) -> None:
    Path("empty").mkdir()
    for arguments, told in {
        ("empty",): "no checkpoint in empty",
        ("nowhere",): "there is no file or folder nowhere",
        ("sgd/checkpoints", "--module", "nowhere.py"): "nowhere.py (--module) is not a file",
    }.items():
        refused = call("inspect", *arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr


def test_nothing_runs_that_is_not_named(call: Call) -> None:
    for place in (".", "sgd", "sgd/checkpoints"):
        Path(place, "subject.py").write_text("raise SystemExit('it ran')\n")
    assert call("inspect", "sgd/checkpoints").exit_code == 0


def test_names_in_a_file_never_reach_the_terminal_as_they_are(call: Call) -> None:
    torch.save({"\x1b[2J\u202eevil": torch.zeros(2)}, "step-1.pt")
    shown = call("inspect", "step-1.pt", "--tensors").stdout
    assert "\x1b" not in shown
    assert "\\x1b[2J\\u202eevil" in shown


def test_the_dtype_and_step_of_a_large_file_are_read_from_its_header(call: Call) -> None:
    """A header that names a terabyte of tensors, in a file that does not have them, is refused and not allocated."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}).encode()
    Path("step-1.safetensors").write_bytes(len(header).to_bytes(8, sys.byteorder) + header)
    refused = call("inspect", "step-1.safetensors")
    assert refused.exit_code == 2
    assert "is cut short" in refused.stderr


HEADERS_ONLY = """
import sys
from pathlib import Path
from loss_slicer.app import app
before = int(Path("/proc/self/io").read_text().split()[1])
app(["inspect", sys.argv[1]], standalone_mode=False)
read = int(Path("/proc/self/io").read_text().split()[1]) - before
# Not of getrusage, whose peak starts at that of the process which started this one.
status = Path("/proc/self/status").read_text()
print("torch" in sys.modules, read, status.partition("VmHWM:")[2].split()[0])
"""


def test_of_a_large_file_the_header_alone_is_read_and_torch_is_not_needed(workplace: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}}).encode()
    path = Path("step-1.safetensors")
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 2**30)
    done = subprocess.run(
        [sys.executable, "-c", HEADERS_ONLY, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    *_, line, last = done.stdout.splitlines()
    assert "1,073,741,824 bytes" in line
    has_torch, read, kilobytes = last.split()
    assert has_torch == "False"
    # Its own code is among it.
    assert int(read) < 20e6
    assert int(kilobytes) < 300e3


def test_a_folder_is_shown_with_the_weights_that_are_taken_and_the_copies_that_are_left_out(call: Call) -> None:
    for step in (1, 2):
        folder = Path("out") / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        torch.save({"ema": {"w": torch.full((2,), float(step))}}, folder / "pytorch_model.bin")
    Path("out/pytorch_model.bin").write_bytes(Path("out/checkpoint-2/pytorch_model.bin").read_bytes())
    lines = call("inspect", "out").stdout.splitlines()
    assert lines[1].split()[:3] == ["step", "1", "torch"]
    assert lines[1].endswith("checkpoint-1  [ema]")
    assert lines[3] == "  the same weights: pytorch_model.bin and checkpoint-2"
    document = json.loads(call("inspect", "out", "--json").stdout)["sources"][0]
    assert document["same"] == {"out/pytorch_model.bin": "out/checkpoint-2"}
    assert document["checkpoints"][0]["weights"] == "ema"
    assert document["checkpoints"][0]["data"] == "out/checkpoint-1/pytorch_model.bin"


def test_one_of_several_sets_a_step_and_a_trusted_module_can_be_inspected(call: Call) -> None:
    torch.save({"model": {"w": torch.ones(2)}, "model_ema": {"w": torch.zeros(2)}}, "best.pt")
    refused = call("inspect", "best.pt")
    assert refused.exit_code == 2
    assert "model (1 tensors), model_ema (1 tensors)" in refused.stderr
    refused = call("inspect", "best.pt", "--weights", "model_ema")
    assert "the step of 1 of 1 checkpoints is unknown: best.pt" in refused.stderr
    shown = call("inspect", "best.pt", "--weights", "model_ema", "--step-map", "best.pt=7").stdout
    assert shown.splitlines()[1].split()[:2] == ["step", "7"]
    assert shown.splitlines()[1].endswith("best.pt  [model_ema]")
    torch.save(torch.nn.Linear(2, 2), "step-1.pt")
    assert call("inspect", "step-1.pt").exit_code == 2
    assert "2 tensors" in call("inspect", "step-1.pt", "--trust-checkpoint").stdout
