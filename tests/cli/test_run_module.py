"""Which Python file `run` takes, how it is told what to build, and what it never runs."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import Result

Call = Callable[..., Result]
SLICE = ("run", "--checkpoints", "sgd/checkpoints", "--method", "random1d", "--grid", "3", "--steps", "last")


def named(source: Path, *, build: str = "build") -> str:
    return source.read_text().replace("def build(", f"def {build}(")


def chosen(done: Result) -> str:
    assert done.exit_code == 0, done.stderr
    return done.stderr.splitlines()[0]


def test_subject_py_of_the_current_folder_is_taken(call: Call, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text(tools.MODULE.read_text())
    assert chosen(call(*SLICE)).startswith("module: ")
    assert chosen(call(*SLICE)).endswith("subject.py (./subject.py)")


def test_pyproject_goes_before_subject_py_and_the_option_before_both(call: Call, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text("raise RuntimeError('not this one')\n")
    Path("src").mkdir()
    Path("src/mine.py").write_text(named(tools.MODULE, build="make"))
    Path("pyproject.toml").write_text('[project]\nname = "x"\n[tool.loss-slicer]\nmodule = "src/mine.py:make"\n')
    assert chosen(call(*SLICE)).endswith("src/mine.py ([tool.loss-slicer] in pyproject.toml)")
    assert chosen(call(*SLICE, "--module", tools.MODULE)) == f"module: {tools.MODULE} (--module)"


def test_a_pyproject_without_the_table_is_passed_over_and_a_broken_one_is_told(
    call: Call, tools: SimpleNamespace
) -> None:
    Path("subject.py").write_text(tools.MODULE.read_text())
    Path("pyproject.toml").write_text('[project]\nname = "x"\n')
    assert "./subject.py" in chosen(call(*SLICE))
    Path("pyproject.toml").write_text("[tool.loss-slicer\n")
    refused = call(*SLICE)
    assert refused.exit_code == 2
    assert "pyproject.toml can't be read" in refused.stderr


def test_the_option_names_the_build_function(call: Call, tools: SimpleNamespace) -> None:
    Path("mine.py").write_text(named(tools.MODULE, build="make"))
    done = call(*SLICE, "--module", "mine.py:make", "--json")
    assert done.exit_code == 0
    (entry,) = json.loads(done.stdout)["slices"]
    assert entry["header"]["config"]["module"] == f"{Path.cwd() / 'mine.py'}:make"
    assert call(*SLICE, "--module", "mine.py").exit_code == 2


def test_plain_names_do_without_a_build_function(call: Call, tools: SimpleNamespace) -> None:
    plain = named(tools.MODULE, build="_unused")
    plain += "\n\nmodel = make_model()\nloss_fn = nn.CrossEntropyLoss()\ntrain_data, test_data = load_digits()\n"
    Path("plain.py").write_text(plain + 'metrics = {"right": accuracy}\n')
    done = call(*SLICE, "--module", "plain.py", "--json")
    assert done.exit_code == 0, done.stderr
    (entry,) = json.loads(done.stdout)["slices"]
    assert list(entry["header"]["center"]["metrics"]) == ["right"]
    refused = call(*SLICE, "--module", "plain.py", "--set", "width=3")
    assert refused.exit_code == 2
    assert "--set needs a function build(**settings)" in refused.stderr
    Path("plain.py").write_text(plain.replace("loss_fn = ", "other = "))
    refused = call(*SLICE, "--module", "plain.py")
    assert refused.exit_code == 2
    assert "of these it has model, train_data, test_data" in refused.stderr


def test_settings_are_values_of_toml_or_python_and_else_texts(call: Call, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text(
        tools.MODULE.read_text().replace(
            "def build() -> ModelWrapper:", "def build(**settings) -> ModelWrapper:\n    print(settings)"
        )
    )
    values = {
        "whole": "64", "small": "1e-3", "yes": "true", "text": "relu", "quoted": '"64"', "many": "[1, 2]",
        "path": "data/my file.pt", "empty": "", "equation": "a=b", "two": "1\n2",
        "no": "False", "half": ".5", "both": "[True, 1]", "none": "none", "marked": "5#3", "zeros": "007",
        "pair": "1, b = 2",
    }  # fmt: skip
    options = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    done = call(*SLICE, *options)
    assert done.exit_code == 0, done.stderr
    assert ast.literal_eval(done.stdout.splitlines()[0]) == {
        "whole": 64, "small": 1e-3, "yes": True, "text": "relu", "quoted": "64", "many": [1, 2],
        "path": "data/my file.pt", "empty": "", "equation": "a=b", "two": "1\n2",
        "no": False, "half": 0.5, "both": [True, 1], "none": "none", "marked": "5#3", "zeros": "007",
        "pair": "1, b = 2",
    }  # fmt: skip


def test_settings_are_part_of_what_a_result_depends_on(call: Call, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text(tools.MODULE.read_text().replace("def build()", "def build(seed: int = 0)"))
    assert json.loads(call(*SLICE, "--json").stdout)["new"] == 1
    assert json.loads(call(*SLICE, "--json").stdout)["new"] == 0
    assert json.loads(call(*SLICE, "--json", "--set", "seed=1").stdout)["new"] == 1


def test_a_module_that_changed_is_another_job(call: Call, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text(tools.MODULE.read_text())
    assert json.loads(call(*SLICE, "--json").stdout)["new"] == 1
    Path("subject.py").write_text(tools.MODULE.read_text() + "\n# another loss, maybe\n")
    assert json.loads(call(*SLICE, "--json").stdout)["new"] == 1


@pytest.mark.parametrize("kind", ["SystemExit", "Odd"])
@pytest.mark.parametrize("after", [0, 4])
def test_a_loss_that_ends_the_program_does_not_end_it_as_done(
    kind: str, after: int, call: Call, tools: SimpleNamespace
) -> None:
    loud = f"""
import sys

class Odd(BaseException):
    pass

class Ending(nn.CrossEntropyLoss):
    passes = 0

    def forward(self, *given):
        Ending.passes += 1
        if Ending.passes > {after}:
            raise {kind}(0)
        return super().forward(*given)
"""
    text = tools.MODULE.read_text().replace("nn.CrossEntropyLoss()", "Ending()")
    Path("subject.py").write_text(text + loud)
    done = call(*SLICE)
    assert done.exit_code == 2
    assert f"raised {kind}: 0" in done.stderr
    assert not Path("runs").exists() or not list(Path("runs").rglob("*tfevents*"))


def test_a_module_may_change_the_working_directory(call: Call, tools: SimpleNamespace, tmp_path: Path) -> None:
    Path("data").mkdir()
    Path("subject.py").write_text(tools.MODULE.read_text() + "\nimport os\nos.chdir('data')\n")
    assert chosen(call(*SLICE, "--module", "subject.py")) == "module: subject.py (--module)"
    assert Path.cwd() == tmp_path
    assert Path("runs/sgd/loss_slicer/slices.sqlite").exists()
    assert call("inspect", "sgd/checkpoints", "--module", "subject.py").exit_code == 0


def test_what_lies_beside_the_module_can_be_imported(call: Call, tools: SimpleNamespace) -> None:
    Path("project").mkdir()
    Path("project/networks_of_mine.py").write_text(named(tools.MODULE))
    Path("project/subject.py").write_text("from networks_of_mine import build\n")
    assert chosen(call(*SLICE, "--module", "project/subject.py")) == "module: project/subject.py (--module)"


def test_a_module_beside_the_checkpoints_alone_never_runs(call: Call, tools: SimpleNamespace) -> None:
    """A downloaded folder must not run code: the message has the command that does it on demand."""
    for place in ("sgd", "sgd/checkpoints"):
        Path(place, "subject.py").write_text("from pathlib import Path\nPath('it-ran').touch()\n")
    refused = call(*SLICE)
    assert refused.exit_code == 2
    assert not Path("it-ran").exists()
    assert not Path("runs").exists()
    command = refused.stderr[refused.stderr.index("loss-slicer run ") :].splitlines()[0]
    words = shlex.split(command)
    assert words[words.index("--module") + 1].endswith("subject.py")
    assert words[words.index("--checkpoints") + 1] == "sgd/checkpoints"


def test_nothing_found_says_all_the_ways(call: Call) -> None:
    refused = call(*SLICE)
    assert refused.exit_code == 2
    for way in ("--module FILE[:NAME]", "[tool.loss-slicer]", "./subject.py"):
        assert way in refused.stderr


def test_a_file_that_anyone_may_write_to_is_not_run(call: Call) -> None:
    Path("subject.py").write_text("from pathlib import Path\nPath('it-ran').touch()\n")
    Path("subject.py").chmod(0o666)
    for arguments in (SLICE, (*SLICE, "--module", "subject.py"), ("inspect", "sgd", "--module", "subject.py")):
        refused = call(*arguments)
        assert refused.exit_code == 2
    refused = call(*SLICE)
    assert "anyone may write to" in refused.stderr
    assert "chmod o-w" in refused.stderr
    assert not Path("it-ran").exists()
