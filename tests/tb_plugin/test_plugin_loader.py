"""What TensorBoard loads at its start: how little that is, its flags, its context, and the page's files."""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tensorboard.auth import AuthProvider
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider

from tensorboard_loss_slicer import metadata, plugin
from tensorboard_loss_slicer.serving import answers as answers_module
from tensorboard_loss_slicer.serving.static_files import load_static_files

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

ROUTE = "/data/plugin/loss_slicer"
GRID = {"run": "exp/loss_slicer", "tag": "random2d", "step": "10"}

LIST_MODULES = """
import json, sys
import tensorboard_loss_slicer.plugin, tensorboard_loss_slicer.metadata
first = sorted(sys.modules)
import argparse
from tensorboard.backend.application import TensorBoardWSGIApp
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from werkzeug.test import Client
flags = argparse.Namespace(logdir="", path_prefix="", window_title="", samples_per_plugin={})
provider = MultiplexerDataProvider(EventMultiplexer(), "")
client = Client(TensorBoardWSGIApp(flags, [tensorboard_loss_slicer.plugin.TBLoader()], provider))
assert client.get("/data/plugin/loss_slicer/tags").get_json() == {}
print(json.dumps([first, sorted(sys.modules)]))
"""

SURVIVE = """
import sys
sys.modules["tensorboard_loss_slicer.serving.answers"] = None
import argparse
from tensorboard.backend.application import TensorBoardWSGIApp
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin
from tensorboard_loss_slicer.plugin import TBLoader
from werkzeug.test import Client
flags = argparse.Namespace(logdir="", path_prefix="", window_title="", samples_per_plugin={})
provider = MultiplexerDataProvider(EventMultiplexer(), "")
print(list(Client(TensorBoardWSGIApp(flags, [TBLoader, ScalarsPlugin], provider)).get("/data/plugins_listing").json))
"""


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_fresh_interpreter_imports_no_more_than_the_summary_format() -> None:
    first, served = json.loads(run_python(LIST_MODULES))
    ours = ("slicer_core", "pysclice", "tensorboard_loss_slicer", "loss_slicer")
    assert [name for name in first if name.split(".")[0] in ours] == [
        "tensorboard_loss_slicer",
        "tensorboard_loss_slicer.metadata",
        "tensorboard_loss_slicer.plugin",
    ]
    summaries = ("slicer_core.slices", "slicer_core.errors", "slicer_core.choices", "slicer_core.version")
    allowed = (*summaries, "tensorboard_loss_slicer.")
    reached = [name for name in served if name.split(".")[0] in ours and "." in name]
    assert "slicer_core.slices" in reached
    assert [name for name in reached if not name.startswith(allowed)] == []
    heavy = {"torch", "scipy", "safetensors", "typer", "rich", "tensorflow"}
    assert heavy.isdisjoint(first)
    assert heavy.isdisjoint(served)


def test_tensorboard_goes_on_without_the_plugin_when_it_cannot_be_loaded() -> None:
    assert run_python(SURVIVE).strip() == "['scalars']"


def test_the_plugin_and_the_summary_format_have_the_same_name() -> None:
    assert plugin.LossSlicerPlugin.plugin_name == metadata.PLUGIN_NAME


@pytest.mark.parametrize("given, kept", [({}, 1000), ({"loss_slicer": 7}, 7), ({"loss_slicer": 0, "images": 3}, 0)])
def test_the_loader_keeps_a_thousand_steps_unless_the_user_chose(given: dict[str, int], kept: int) -> None:
    flags = argparse.Namespace(samples_per_plugin=dict(given))
    plugin.TBLoader().fix_flags(flags)
    assert flags.samples_per_plugin == given | {"loss_slicer": kept}


def test_the_tab_is_named_and_active_where_there_are_slices(logs: SimpleNamespace, slice_logdir: Path) -> None:
    listed = logs.open_app(slice_logdir).get("/data/plugins_listing").get_json()["loss_slicer"]
    assert (listed["enabled"], listed["tab_name"]) == (True, "Loss Slicer")
    assert listed["loading_mechanism"]["module_path"] == f"{ROUTE}/index.js"


def test_the_tab_is_inactive_on_a_log_without_slices(logs: SimpleNamespace, tmp_path: Path) -> None:
    assert logs.open_app(tmp_path).get("/data/plugins_listing").get_json()["loss_slicer"]["enabled"] is False


@pytest.mark.parametrize("kept, there, sampled", [(0, 12, False), (50, 12, False), (12, 12, True), (5, 5, True)])
def test_steps_say_when_others_may_have_been_left_out(
    logs: SimpleNamespace, tmp_path: Path, kept: int, there: int, sampled: bool
) -> None:
    logs.write_events(tmp_path / "run", [logs.slice_event("t", step, [b'{"schema":1}']) for step in range(12)])
    client = logs.open_app(tmp_path, samples={"loss_slicer": kept})
    steps = client.get(f"{ROUTE}/steps", query_string={"run": "run", "tag": "t"}).get_json()
    assert (len(steps["steps"]), steps["limit"], steps["sampled"]) == (there, kept, sampled)


def test_every_read_passes_on_who_asks_and_for_which_experiment(logs: SimpleNamespace, slice_logdir: Path) -> None:
    seen: list[tuple[str, Any, Any]] = []

    class Recording(MultiplexerDataProvider):
        def list_blob_sequences(self, ctx: Any = None, **arguments: Any) -> Any:
            seen.append(("list", ctx.auth.get("who"), arguments["experiment_id"]))
            return super().list_blob_sequences(ctx, **arguments)

        def read_blob_sequences(self, ctx: Any = None, **arguments: Any) -> Any:
            seen.append(("read", ctx.auth.get("who"), arguments["experiment_id"]))
            return super().read_blob_sequences(ctx, **arguments)

        def read_blob(self, ctx: Any = None, **arguments: Any) -> Any:
            seen.append(("blob", ctx.auth.get("who"), "of the key"))
            return super().read_blob(ctx, **arguments)

    class Who(AuthProvider):
        def authenticate(self, environ: Any) -> Any:
            return environ["HTTP_AUTHORIZATION"]

    client = logs.open_app(slice_logdir, provider_class=Recording, auth_providers={"who": Who()})
    arguments = GRID | {"array": 1, "format": "csv"}
    query = {"requests": [{"run": GRID["run"], "tag": GRID["tag"], "steps": [10], "blobs": [1]}]}
    for route in ("tags", "steps", "header", "data", "export"):
        reply = client.get(
            f"/experiment/e1{ROUTE}/{route}", query_string=arguments, headers={"Authorization": "someone"}
        )
        assert reply.status_code == 200
    assert client.post(f"/experiment/e1{ROUTE}/batch", json=query, headers={"Authorization": "someone"}).data
    assert {(kind, who) for kind, who, _ in seen} == {(kind, "someone") for kind in ("list", "read", "blob")}
    assert {experiment for kind, _, experiment in seen if kind != "blob"} == {"e1"}


def test_routes_work_below_a_path_prefix(logs: SimpleNamespace, slice_logdir: Path) -> None:
    client = logs.open_app(slice_logdir, path_prefix="/team/a")
    assert client.get(f"/team/a{ROUTE}/header", query_string=GRID).status_code == 200
    assert client.get(f"/team/a{ROUTE}/static/no.js").text == "the page has no file 'no.js'"


def test_a_page_that_is_not_built_says_how_to_build_it(
    logs: SimpleNamespace, slice_logdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "load_static_files", dict)
    client = logs.open_app(slice_logdir)
    module = client.get(f"{ROUTE}/index.js")
    assert (module.status_code, module.mimetype) == (200, "text/javascript")
    assert "export function render()" in module.text
    assert "npm run build" in module.text
    assert client.get("/data/plugins_listing").get_json()["loss_slicer"]["enabled"]


def test_the_built_page_is_served_with_its_types_and_nothing_else(
    logs: SimpleNamespace, slice_logdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "static"
    (folder / "assets" / ".cache").mkdir(parents=True)
    served = {"index.js": b"export const render = 1;", "assets/deep.css": b"a{}", "assets/shape.wasm": b"\0asm"}
    hidden = [".hidden.js", ".hash", "build.hash", "index.html", "script.py", "assets/.cache/kept.js", "no-suffix"]
    for name, content in {**served, **dict.fromkeys(hidden, b"secret")}.items():
        (folder / name).write_bytes(content)
    (tmp_path / "outside.js").write_bytes(b"secret")
    files = load_static_files(folder)
    assert sorted(files) == sorted(served)
    monkeypatch.setattr(answers_module, "load_static_files", lambda: files)
    client = logs.open_app(slice_logdir)
    types = {"index.js": "text/javascript", "assets/deep.css": "text/css", "assets/shape.wasm": "application/wasm"}
    for name, content in served.items():
        reply = client.get(f"{ROUTE}/static/{name}")
        assert (reply.data, reply.mimetype) == (content, types[name])
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for name in [*hidden, "../outside.js", "assets/../index.js", "assets", "INDEX.JS"]:
        assert client.get(f"{ROUTE}/static/{name}").status_code == 404
    assert 'import("./static/index.js")' in client.get(f"{ROUTE}/index.js").text


def test_the_built_page_is_compressed_once(
    logs: SimpleNamespace, slice_logdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = b"export const render = 1;\n" * 1000
    (tmp_path / "index.js").write_bytes(script)
    (tmp_path / "shape.wasm").write_bytes(b"\0asm")
    files = load_static_files(tmp_path)
    monkeypatch.setattr(answers_module, "load_static_files", lambda: files)
    client = logs.open_app(slice_logdir)
    took = {"Accept-Encoding": "gzip"}
    first = client.get(f"{ROUTE}/static/index.js", headers=took)
    assert (first.headers["Content-Encoding"], gzip.decompress(first.data)) == ("gzip", script)
    monkeypatch.setattr(gzip, "GzipFile", None)
    monkeypatch.setattr(gzip, "compress", None)
    again = client.get(f"{ROUTE}/static/index.js", headers=took)
    assert (again.data, again.headers["ETag"]) == (first.data, first.headers["ETag"])
    assert "Content-Encoding" not in client.get(f"{ROUTE}/static/shape.wasm", headers=took).headers


def test_debugging_logs_requests_and_replies_while_the_variable_is_set(
    logs: SimpleNamespace, slice_logdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = logs.open_app(slice_logdir)
    monkeypatch.delenv("TENSORBOARD_LOSS_SLICER_DEBUG", raising=False)
    client.get(f"{ROUTE}/tags")
    assert "loss_slicer/tags" not in caplog.text
    monkeypatch.setenv("TENSORBOARD_LOSS_SLICER_DEBUG", "1")
    client.get(f"{ROUTE}/header", query_string=GRID)
    client.get(f"{ROUTE}/steps", query_string={"run": "\x1b[2J", "tag": "t"})
    assert "loss_slicer/header" in caplog.text
    assert "-> 200" in caplog.text
    assert "-> 404" in caplog.text
    assert "\x1b" not in caplog.text
