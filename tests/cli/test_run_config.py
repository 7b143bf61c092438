"""Options from a file, options as a file, and what a run would cost."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def stored_jobs(logdir: Path = Path("runs")) -> set[str]:
    """The hashes of the jobs whose slices are in the log."""
    found: set[str] = set()
    for store in logdir.rglob("slices.sqlite"):
        connection = sqlite3.connect(store)
        found |= {job for (job,) in connection.execute("SELECT job FROM slices")}
        connection.close()
    return found


def config(text: str, path: str = "job.toml") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def test_a_dry_run_tells_the_cost_and_writes_nothing(run: Run) -> None:
    shown = run("--dry-run", "--grid", "5x3", "--split", "both", "--batch-size", "500")
    assert shown.exit_code == 0
    lines = {line[:16].strip(): line[16:].strip() for line in shown.stdout.splitlines()}
    assert lines["checkpoints"] == "3"
    assert lines["points"] == "45"
    # 1,438 and 359 samples in batches of 500: three and one.
    assert lines["forward passes"].startswith("180 ")
    assert lines["parameters"] == "6,570"
    assert lines["into"] == "runs/sgd/loss_slicer"
    assert not Path("runs").exists()

    done = run("--dry-run", "--grid", "5x3", "--json", "--quiet")
    cost = json.loads(done.stdout)["dry_run"]
    assert (cost["points"], cost["checkpoints"], cost["samples"]) == (45, 3, {"train": 1438})
    assert cost["bytes_read"] == sum(file.stat().st_size for file in Path("sgd/checkpoints").iterdir())
    # A value and a standard error of loss and accuracy; of the loss a count and the error of its difference.
    assert cost["bytes_written"] == 45 * (8 + 4 + 8 + 4 + 8 + 4)
    assert cost["seconds"] >= 0
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "options, read",
    [
        (["--steps", "200"], [200]),
        (["--steps", "0", "--method", "linear", "--to", "last"], [0, 2000]),
        (["--steps", "0", "--scale-from", "sgd/checkpoints/step-002000.safetensors"], [0, 2000]),
        (["--method", "plane", "--through", "first,middle,last"], [0, 200, 2000]),
        (["--method", "pca2d"], [0, 200, 2000]),
        (["--method", "gradient", "--along", "update", "--steps", "last"], [200, 2000]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_a_dry_run_counts_all_checkpoints_that_are_read(run: Run, options: list[str], read: list[int]) -> None:
    # Of sizes that tell them apart: safetensors takes spaces behind its header.
    sizes = {}
    for step in (0, 200, 2000):
        file = Path(f"sgd/checkpoints/step-{step:06d}.safetensors")
        content = file.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = content[8 : 8 + length] + b" " * (8 * (step + 1))
        file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
        sizes[step] = file.stat().st_size
    cost = json.loads(run("--dry-run", "--strategy", "loop", "--json", "--quiet", *options).stdout)["dry_run"]
    assert cost["bytes_read"] == sum(sizes[step] for step in read)


def test_with_a_tolerance_a_dry_run_tells_the_most_that_it_would_take(run: Run) -> None:
    shown = run("--dry-run", "--grid", "31", "--tolerance", "1%")
    lines = {line[:16].strip(): line[16:].strip() for line in shown.stdout.splitlines()}
    assert lines["points"] == "at most 2,883"
    assert lines["forward passes"].startswith("at most ")
    assert lines["time"].startswith("at most ")
    cost = json.loads(run("--dry-run", "--grid", "31", "--tolerance", "1%", "--json", "--quiet").stdout)["dry_run"]
    assert (cost["points"], cost["tolerance"]) == (2883, "1%")


def test_a_tolerance_that_is_no_number_is_refused(run: Run) -> None:
    refused = run("--tolerance", "tight")
    assert refused.exit_code == 2
    assert "--tolerance 'tight' is not a positive number" in refused.stderr


def test_a_dry_run_refuses_what_the_run_would_refuse(run: Run) -> None:
    refused = run("--dry-run", "--params", "nothing*")
    assert refused.exit_code == 2
    assert "--params 'nothing*' matches no parameter" in refused.stderr


def test_the_printed_configuration_repeats_the_run_from_another_folder(
    run: Run, call: Run, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("subject.py").write_text(tools.MODULE.read_text())
    end = tools.copy_checkpoints("adam", Path("adam"), (2000,)) / "step-002000.safetensors"
    options = (
        "--checkpoints", "sgd/checkpoints", "--method", "linear", "--to", end, "--grid", "5", "--seed", "3",
        "--params", "0.*", "--params", "2.*", "--exclude", "*.bias", "--steps", "first,200", "--metrics", "none",
    )  # fmt: skip
    assert call("run", *options).exit_code == 0
    assert call("run", "--checkpoints", "sgd/checkpoints", "--grid", "3").exit_code == 0
    first = stored_jobs()
    for name, arguments in {
        "linear": options,
        "random2d": ("--checkpoints", "sgd/checkpoints", "--grid", "3"),
    }.items():
        printed = call("run", *arguments, "--print-config")
        assert (printed.exit_code, printed.stderr) == (0, "")
        elsewhere = tmp_path / "elsewhere" / name
        elsewhere.mkdir(parents=True)
        monkeypatch.chdir(elsewhere)
        config(printed.stdout)
        again = call("run", "--config", "job.toml", "--json")
        assert again.exit_code == 0, again.stderr
        assert json.loads(again.stdout)["new"] == 0
        assert list(elsewhere.iterdir()) == [elsewhere / "job.toml"]
        monkeypatch.chdir(tmp_path)
    assert stored_jobs() == first


def test_print_config_computes_nothing_and_names_all_that_it_decided(call: Run, tools: SimpleNamespace) -> None:
    printed = call(
        "run", "--checkpoints", "sgd/checkpoints", "--module", tools.MODULE, "--method", "linear", "--to", "200",
        "--set", "when=1979-05-27", "--set", "name=a b", "--print-config",
    )  # fmt: skip
    table = tomllib.loads(printed.stdout)
    here = Path.cwd()
    assert table["checkpoints"] == [str(here / "sgd/checkpoints")]
    assert (table["module"], table["logdir"]) == (str(tools.MODULE), str(here / "runs"))
    # A step is no path.
    assert (table["method"], table["to"]) == ("linear", "200")
    assert (table["grid"], table["range"], table["seed"], table["steps"]) == ("51", "-0.5:1.5", 0, "all")
    assert {key: str(value) for key, value in table["set"].items()} == {"when": "1979-05-27", "name": "a b"}
    assert not Path("runs").exists()


def test_paths_in_a_configuration_are_relative_to_its_file(
    call: Run, tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.copy_checkpoints("adam", Path("adam"), (2000,))
    Path("models").mkdir()
    Path("models/digits.py").write_text(tools.MODULE.read_text().replace("def build(", "def make("))
    config(
        """
        checkpoints = "../sgd/checkpoints"
        module = "../models/digits.py:make"
        method = "linear"
        to = "../adam/checkpoints/step-002000.safetensors"
        logdir = "../log"
        grid = 5
        steps = 200
        """,
        "jobs/line.toml",
    )
    place = Path.cwd()
    Path("far/away").mkdir(parents=True)
    monkeypatch.chdir("far/away")
    done = call("run", "--config", "../../jobs/line.toml")
    assert done.exit_code == 0, done.stderr
    monkeypatch.chdir(place)
    (data,) = tools.read_log(Path("log"))["sgd/loss_slicer"]["linear"].values()
    assert data.loss.shape == (5,)
    assert data.center.step == 200


def test_the_command_line_wins_over_the_file(run: Run, call: Run, tools: SimpleNamespace) -> None:
    job = config(
        f"""
        checkpoints = ["sgd/checkpoints"]
        module = "{tools.MODULE}"
        method = "random1d"
        grid = "5"
        seed = 4
        normalize = "layer"
        """
    )
    done = call("run", "--config", job, "--grid", "3", "--seed", "0", "--steps", "last")
    assert done.exit_code == 0
    (data,) = tools.read_log(Path("runs"))["sgd/loss_slicer"]["random1d"].values()
    assert data.loss.shape == (3,)
    recipe = data.directions[0].recipe
    assert (recipe["seed"], recipe["normalize"]) == (0, "layer")


def test_settings_of_the_file_and_of_the_command_line_come_together(call: Run, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text(
        tools.MODULE.read_text().replace(
            "def build() -> ModelWrapper:",
            "def build(**settings) -> ModelWrapper:\n    print(sorted(settings.items()))",
        )
    )
    job = config('checkpoints = "sgd/checkpoints"\ngrid = "3"\n[set]\nwidth = 64\ndepth = 2\n')
    done = call("run", "--config", job, "--set", "width=32", "--set", 'name="x"', "--set", "rate = 1e-3")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "[('depth', 2), ('name', 'x'), ('rate', 0.001), ('width', 32)]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gridd = 5", "unknown key 'gridd' (nearest: grid"),
        ("quiet = true", "unknown key 'quiet'"),
        ("method-options = {}", "unknown key 'method-options'"),
        ("trust-checkpoint = true", "which is for one run: give --trust-checkpoint with the command"),
        ("grid = [5, 5]", "--grid takes a text, not [5, 5]"),
        ("seed = 1.5", "--seed takes a whole number, not 1.5"),
        ("seed = true", "--seed takes a whole number, not True"),
        ('fresh = "yes"', "--fresh takes true or false, not 'yes'"),
        ("params = [1]", "--params takes texts, not [1]"),
        ("checkpoints = 5", "--checkpoints takes texts, not 5"),
        ("set = 3", "set is a table of KEY = VALUE, not 3"),
        ("to = 'last'\nmethod = 'random1d'", "--to is an option of --method linear and bezier, not of random1d"),
        ("method = 'nonsense'", "--method 'nonsense' is not one of"),
        ("grid = ", "job.toml can't be read"),
        ("\x00", "job.toml can't be read"),
    ],
)
def test_what_a_configuration_can_not_say_is_told(run: Run, text: str, told: str) -> None:
    refused = run("--config", config(text), checkpoints=None if "checkpoints" in text else "sgd/checkpoints")
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not Path("runs").exists()


def test_a_missing_or_unreadable_configuration_is_told(run: Run) -> None:
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    Path("folder.toml").mkdir()
    for name in ("missing.toml", "binary.toml", "folder.toml"):
        refused = run("--config", name)
        assert refused.exit_code == 2
        assert f"--config {name} can't be read" in refused.stderr


def test_settings_that_json_lacks_are_kept_as_texts(run: Run, call: Run, tools: SimpleNamespace) -> None:
    Path("subject.py").write_text(
        tools.MODULE.read_text().replace("def build() ->", "def build(when: object, limit: float) ->")
    )
    done: Any = call(
        "run", "--checkpoints", "sgd/checkpoints", "--grid", "3", "--steps", "last", "--json",
        "--set", "when=1979-05-27T07:32:00Z", "--set", "limit=inf",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (entry,) = json.loads(done.stdout)["slices"]
    assert entry["header"]["config"]["set"] == {"when": "1979-05-27 07:32:00+00:00", "limit": None}
