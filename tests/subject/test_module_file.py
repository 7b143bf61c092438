from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from slicer_core.errors import ModuleError, UserCodeError
from slicer_core.subject import ModuleFile, find_module, load_subject

NAMES = """
import torch
model = torch.nn.Linear(2, 1)
loss_fn = torch.nn.MSELoss()
train_data = torch.ones(4, 2), torch.ones(4, 1)
"""
BUILD = """
import torch
from slicer_core import ModelWrapper

def build(width=3, *, bias=True):
    data = torch.ones(4, 2), torch.ones(4, width)
    return ModelWrapper(torch.nn.Linear(2, width, bias=bias), torch.nn.MSELoss(), data)

def other():
    return build(width=7)

number = 5
"""


def written(path: Path, text: str) -> ModuleFile:
    path.write_text(text, "utf-8")
    return ModuleFile(path=path)


def test_build_gets_the_settings_as_keywords(tmp_path) -> None:
    module = written(tmp_path / "own.py", BUILD)
    assert load_subject(module).model.out_features == 3
    wrapper = load_subject(module, {"width": 5, "bias": False})
    assert (wrapper.model.out_features, wrapper.model.bias) == (5, None)


def test_another_function_can_be_named(tmp_path) -> None:
    module = find_module(f"{written(tmp_path / 'own.py', BUILD).path}:other")
    assert module.build == "other"
    assert load_subject(module).model.out_features == 7


def test_plain_names_make_a_wrapper(tmp_path) -> None:
    module = written(tmp_path / "own.py", NAMES + "test_data = train_data\nmetrics = {'a': loss_fn}\n")
    wrapper = load_subject(module)
    assert wrapper.splits == ("train", "test")
    assert list(wrapper.metrics) == ["a"]


@pytest.mark.parametrize(
    ("text", "settings", "build", "message"),
    [
        ("x = 1", None, "build", r"nor the plain names .*has none"),
        ("model = 1\ntrain_data = 2", None, "build", r"of these it has model, train_data"),
        (NAMES, {"width": 1}, "build", r"--set needs a function build"),
        (BUILD, None, "bild", r"has no function 'bild'"),
        (BUILD, None, "number", r"has no function 'number'"),
        ("def build():\n    return 5", None, "build", r"returned int, expected a slicer_core.ModelWrapper"),
        (NAMES.replace("torch.nn.Linear(2, 1)", "len"), None, "build", "expected a torch.nn.Module"),
    ],
)
def test_a_file_that_gives_no_subject_is_refused(text, settings, build, message, tmp_path) -> None:
    module = ModuleFile(path=written(tmp_path / "own.py", text).path, build=build)
    with pytest.raises(ModuleError, match=message) as caught:
        load_subject(module, settings)
    assert not isinstance(caught.value, UserCodeError)


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("value = 1\nvalue / 0", ZeroDivisionError, "value / 0"),
        ("def build():\n    return undefined", NameError, "return undefined"),
        ("def build(x):\n    pass", TypeError, ""),
        ("def build(:\n", SyntaxError, "def build(:"),
        ("import sys\nsys.exit('no GPU')", SystemExit, "sys.exit"),
    ],
)
def test_what_the_users_code_raises_keeps_its_traceback(text, kind, line, tmp_path) -> None:
    module = written(tmp_path / "own.py", text)
    modules = set(sys.modules)
    with pytest.raises(UserCodeError, match=kind.__name__) as caught:
        load_subject(module)
    cause = caught.value.__cause__
    assert isinstance(cause, kind)
    assert line in "".join(traceback.format_exception(cause))
    if "def build" not in text:
        assert not {name for name in set(sys.modules) - modules if name == "own" or "loss_slicer_subject" in name}


def test_the_file_finds_what_lies_beside_it_and_may_be_called_like_a_known_module(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_file.py").write_text("width = 4")
    text = BUILD.replace("width=3", "width=beside_the_file.width").replace(
        "import torch\n", "import torch, beside_the_file\n"
    )
    assert load_subject(written(tmp_path / "json.py", text)).model.out_features == 4
    assert "loads" in vars(__import__("json"))


def test_a_process_that_is_not_forked_finds_the_classes_of_the_file(tmp_path, monkeypatch) -> None:
    # As the workers of a DataLoader by spawn and forkserver, which are the default from Python 3.14 on and on macOS.
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "found_by_its_name", raising=False)
    text = """
class Samples:
    def __init__(self, values):
        self.values = values

def build():
    import torch
    from slicer_core import ModelWrapper

    wrapper = ModelWrapper(torch.nn.Linear(2, 1), torch.nn.MSELoss(), (torch.ones(4, 2), torch.ones(4, 1)))
    wrapper.made = Samples([1, 2])
    return wrapper
"""
    made = load_subject(written(tmp_path / "found_by_its_name.py", text)).made
    reading = (
        "import pickle, sys; path, made = pickle.load(sys.stdin.buffer); sys.path[:] = path; "
        "print(pickle.loads(made).values)"
    )
    given = pickle.dumps((sys.path, pickle.dumps(made)))
    done = subprocess.run([sys.executable, "-c", reading], input=given, capture_output=True, check=False)
    assert done.stdout.decode().strip() == "[1, 2]", done.stderr.decode()


def test_the_option_comes_before_the_project_file_and_that_before_the_default(tmp_path) -> None:
    for name in ("given.py", "project.py", "subject.py"):
        written(tmp_path / name, NAMES)
    (tmp_path / "pyproject.toml").write_text('[tool.loss-slicer]\nmodule = "project.py:make"\n')
    assert find_module(str(tmp_path / "given.py"), directory=tmp_path).path.name == "given.py"
    by_project = find_module(None, directory=tmp_path)
    assert (by_project.path, by_project.build) == (tmp_path / "project.py", "make")
    assert "pyproject.toml" in by_project.chosen_by
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    by_default = find_module(None, directory=tmp_path)
    assert by_default.path == tmp_path / "subject.py"
    assert by_default.chosen_by == "./subject.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "can't be read"),
        ("[tool.loss-slicer]\nmodule = 5", "FILE"),
        ('[tool.loss-slicer]\nmodule = "gone.py"', "is not a file"),
    ],
)
def test_a_project_file_that_is_wrong_is_an_error(text, message, tmp_path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ModuleError, match=message):
        find_module(None, directory=tmp_path)


@pytest.mark.parametrize("text", ["tool = 5", '[tool]\nloss-slicer = "x"', "[tool.loss-slicer]"])
def test_a_project_file_that_says_nothing_is_passed_over(text, tmp_path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    written(tmp_path / "subject.py", NAMES)
    assert find_module(None, directory=tmp_path).path.name == "subject.py"


def test_a_file_that_anyone_may_write_to_is_refused_before_it_runs(tmp_path) -> None:
    path = written(tmp_path / "subject.py", NAMES).path
    path.chmod(0o666)
    for given in (None, str(path)):
        with pytest.raises(ModuleError, match=r"anyone may write .*chmod o-w"):
            find_module(given, directory=tmp_path)


def test_what_is_missing_is_named(tmp_path) -> None:
    with pytest.raises(ModuleError, match="is not a file"):
        find_module(str(tmp_path / "gone.py"))
    with pytest.raises(ModuleError, match=r"--module FILE\[:NAME\].*subject.py"):
        find_module(None, directory=tmp_path)
    with pytest.raises(ModuleError, match=r"has to end in \.py"):
        load_subject(written(tmp_path / "subject.txt", NAMES))


@pytest.mark.parametrize("beside", ["exp 7/checkpoints", "exp 7"])
def test_a_file_beside_the_checkpoints_is_not_run_but_named_in_a_whole_command(beside, tmp_path) -> None:
    folder = tmp_path / "exp 7" / "checkpoints"
    folder.mkdir(parents=True)
    trap = written(tmp_path / beside / "subject.py", f"open({str(tmp_path / 'ran')!r}, 'w')").path
    here = tmp_path / "here"
    here.mkdir()
    with pytest.raises(ModuleError) as caught:
        find_module(None, checkpoints=[str(folder)], directory=here)
    command = shlex.split(str(caught.value).rpartition("If you trust it: ")[2])
    assert command == ["loss-slicer", "run", "--checkpoints", str(folder), "--module", str(trap)]
    assert not (tmp_path / "ran").exists()


def test_the_digest_is_that_of_the_source(tmp_path) -> None:
    first, second = written(tmp_path / "a.py", NAMES), written(tmp_path / "b.py", NAMES + "\n")
    assert first.digest == written(tmp_path / "c.py", NAMES).digest != second.digest


@pytest.mark.parametrize(
    "name", ["slicer_core", "slicer_core.methods.table", "slicer_core.methods", "slicer_core.errors"]
)
def test_what_the_command_needs_for_its_help_is_imported_without_torch(name, tmp_path) -> None:
    code = f"import sys, {name}; assert 'torch' not in sys.modules; assert 'numpy' not in sys.modules"
    if name == "slicer_core":
        code += "; slicer_core.SlicerError; dir(slicer_core); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)


def test_all_that_is_exported_can_be_imported(tmp_path) -> None:
    code = "import slicer_core as s; [getattr(s, name) for name in s.__all__ if name not in {'Job', 'run_job'}]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'Slcie'"):
        _ = __import__("slicer_core").Slcie
