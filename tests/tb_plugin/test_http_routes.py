"""Every route over a real log, through TensorBoard's own application."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider

from slicer_core.slices import Slice, decode_array, decode_slice, encode_slice
from tensorboard_loss_slicer.serving import batch as batch_module
from tensorboard_loss_slicer.serving.batch import Part, frame

if TYPE_CHECKING:
    from types import SimpleNamespace

    from werkzeug.test import Client

ROUTE = "/data/plugin/loss_slicer"
RUN = "exp/loss_slicer"
GRID = {"run": RUN, "tag": "random2d", "step": "10"}
HTTP_API = Path(__file__).resolve().parents[2] / "docs" / "http-api.md"


@pytest.fixture(scope="module")
def client(logs: SimpleNamespace, slice_logdir: Path) -> Client:
    return logs.open_app(slice_logdir)


def ask(client: Client, route: str, **arguments: Any) -> Any:
    return client.get(f"{ROUTE}/{route}", query_string=arguments)


def unframe(content: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    (length,) = struct.unpack_from("<I", content)
    parts = json.loads(content[4 : 4 + length])["parts"]
    body = content[4 + length :]
    return parts, [body[part["offset"] : part["offset"] + part["length"]] for part in parts if part["status"] == 200]


def test_tags_tell_what_each_run_holds(client: Client) -> None:
    tags = ask(client, "tags").get_json()[RUN]
    assert tags["random2d"] == {
        "slice_type": "random_direction_2d",
        "geometry": "grid",
        "description": "",
        "last_step": 20,
        "last_wall_time": 1_700_000_020.0,
        "num_arrays": 2,
        "problem": None,
    }
    assert tags["axis"]["geometry"] == "curves"
    assert tags["axis"]["description"] == "<b>a</b>"


def test_names_with_markup_come_back_unchanged_as_json_texts(client: Client, logs: SimpleNamespace) -> None:
    reply = ask(client, "tags")
    assert reply.mimetype == "application/json"
    assert logs.HOSTILE_NAME in reply.get_json()[logs.HOSTILE_NAME]
    steps = ask(client, "steps", run=logs.HOSTILE_NAME, tag=logs.HOSTILE_NAME).get_json()
    assert steps["steps"] == [1]


def test_steps_ascend_with_their_times_and_numbers_of_arrays(client: Client) -> None:
    assert ask(client, "steps", run=RUN, tag="random2d").get_json() == {
        "run": RUN,
        "tag": "random2d",
        "steps": [0, 10, 20],
        "wall_times": [1_700_000_000.0, 1_700_000_010.0, 1_700_000_020.0],
        "num_arrays": [2, 2, 2],
        "limit": 1000,
        "sampled": False,
    }


def test_a_header_is_the_one_that_was_logged(client: Client, logs: SimpleNamespace) -> None:
    assert ask(client, "header", **GRID).data == encode_slice(logs.grid_slice(10))[0]


@pytest.mark.parametrize("array", [1, 2])
def test_data_are_the_stored_bytes_and_decode_to_the_logged_values(
    client: Client, logs: SimpleNamespace, array: int
) -> None:
    reply = ask(client, "data", **GRID, array=array)
    assert reply.mimetype == "application/octet-stream"
    assert reply.data == encode_slice(logs.grid_slice(10))[array]
    record = ask(client, "header", **GRID).get_json()["arrays"][array - 1]
    values = decode_array(reply.data, dtype=record["dtype"], shape=tuple(record["shape"]), codec=record["codec"])
    np.testing.assert_array_equal(values, logs.grid_slice(10).arrays[array - 1].values)


@pytest.mark.parametrize(
    "route, arguments",
    [
        ("tags", {}),
        ("steps", {"run": RUN, "tag": "random2d"}),
        ("header", GRID),
        ("data", GRID | {"array": 1}),
        ("export", GRID | {"format": "csv"}),
        ("batch", {"q": json.dumps({"requests": [{"run": RUN, "tag": "random2d", "steps": [0], "blobs": [0]}]})}),
        ("index.js", {}),
    ],
)
def test_what_a_client_has_already_is_not_sent_again(client: Client, route: str, arguments: dict[str, Any]) -> None:
    first = ask(client, route, **arguments)
    assert first.status_code == 200
    assert "no-cache" in first.headers["Cache-Control"]
    again = client.get(f"{ROUTE}/{route}", query_string=arguments, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    other = client.get(f"{ROUTE}/{route}", query_string=arguments, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, first.data)


def test_the_etag_of_data_is_the_content_id_and_the_number_of_the_array(client: Client) -> None:
    content_id = ask(client, "header", **GRID).get_json()["id"]
    assert ask(client, "data", **GRID, array=2).headers["ETag"] == f'"{content_id}-2"'


def test_an_array_that_is_not_there_is_not_answered_from_a_cache(client: Client) -> None:
    reply = client.get(f"{ROUTE}/data", query_string=GRID | {"array": 3}, headers={"If-None-Match": "*"})
    assert reply.status_code == 404


def test_a_batch_answers_each_step_with_each_blob_in_order(client: Client, logs: SimpleNamespace) -> None:
    query = {"requests": [{"run": RUN, "tag": "random2d", "steps": [20, 0], "blobs": [1, 0]}]}
    by_post = client.post(f"{ROUTE}/batch", json=query)
    parts, contents = unframe(by_post.data)
    assert [(part["step"], part["blob"]) for part in parts] == [(20, 1), (20, 0), (0, 1), (0, 0)]
    expected = [encode_slice(logs.grid_slice(step))[blob] for step, blob in ((20, 1), (20, 0), (0, 1), (0, 0))]
    assert contents == expected
    assert all(part["offset"] % 8 == 0 for part in parts)
    assert by_post.mimetype == "application/octet-stream"
    assert ask(client, "batch", q=json.dumps(query)).data == by_post.data


def test_the_parts_of_a_batch_are_read_at_once(slice_logdir: Path, logs: SimpleNamespace) -> None:
    every_reader = threading.Barrier(3, timeout=60)

    class ThreeAtOnce(MultiplexerDataProvider):
        def read_blob(self, ctx: Any = None, *, blob_key: str) -> bytes:
            every_reader.wait()
            return super().read_blob(ctx, blob_key=blob_key)

    client = logs.open_app(slice_logdir, provider_class=ThreeAtOnce)
    query = {"requests": [{"run": RUN, "tag": "random2d", "steps": [20], "blobs": [0, 1, 2]}]}
    _, contents = unframe(client.post(f"{ROUTE}/batch", json=query).data)
    assert contents == encode_slice(logs.grid_slice(20))


@pytest.mark.parametrize("order", [(0, 10, 20), (0, 20, 10), (20,)], ids=str)
def test_the_newest_step_is_found_wherever_it_lies(
    order: tuple[int, ...], logs: SimpleNamespace, tmp_path: Path
) -> None:
    asked: list[int] = []

    class Noting(MultiplexerDataProvider):
        def read_blob_sequences(self, ctx: Any = None, **arguments: Any) -> Any:
            asked.append(arguments["downsample"])
            return super().read_blob_sequences(ctx, **arguments)

    events = [logs.slice_event("random2d", step, encode_slice(logs.grid_slice(step))) for step in order]
    logs.write_events(tmp_path / RUN, events)
    client = logs.open_app(tmp_path, provider_class=Noting)
    for step in order:
        query = {"requests": [{"run": RUN, "tag": "random2d", "steps": [step], "blobs": [0, 1, 2]}]}
        asked.clear()
        _, contents = unframe(client.post(f"{ROUTE}/batch", json=query).data)
        assert contents == encode_slice(logs.grid_slice(step))
        if list(order) == sorted(order):
            # As in a log of ours; no key is made for the other steps.
            assert (asked == [1]) == (step == 20)


def test_one_part_that_is_not_there_does_not_fail_a_batch(client: Client) -> None:
    wanted = {"tag": "random2d", "steps": [0], "blobs": [0]}
    query = {
        "requests": [
            wanted | {"run": "nowhere"},
            wanted | {"run": RUN, "steps": [7]},
            wanted | {"run": RUN, "blobs": [9]},
            wanted | {"run": RUN},
        ]
    }
    parts, contents = unframe(client.post(f"{ROUTE}/batch", json=query).data)
    assert [(part["request"], part["status"]) for part in parts] == [(0, 404), (1, 404), (2, 404), (3, 200)]
    assert "'nowhere'" in parts[0]["error"]
    assert json.loads(contents[0])["geometry"] == "grid"


def test_a_full_batch_ends_and_says_how_to_get_the_rest(
    client: Client, logs: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = [encode_slice(logs.grid_slice(step))[0] for step in (0, 10, 20)]
    monkeypatch.setattr(batch_module, "MAX_BATCH_BYTES", len(headers[0]) + len(headers[1]) + 8)
    query = {"requests": [{"run": RUN, "tag": "random2d", "steps": [0, 10, 20, 20], "blobs": [0]}]}
    parts, contents = unframe(client.post(f"{ROUTE}/batch", json=query).data)
    assert contents == headers[:2]
    assert [part["status"] for part in parts] == [200, 200, 413, 413]
    assert [part.get("length") for part in parts[2:]] == [len(headers[2]), None]


def test_a_part_too_large_for_any_batch_is_left_out_alone(
    client: Client, logs: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, array = encode_slice(logs.grid_slice(0))[:2]
    monkeypatch.setattr(batch_module, "MAX_BATCH_BYTES", len(header) - 1)
    query = {"requests": [{"run": RUN, "tag": "random2d", "steps": [0], "blobs": [0, 1]}]}
    parts, contents = unframe(client.post(f"{ROUTE}/batch", json=query).data)
    assert [part["status"] for part in parts] == [413, 200]
    assert parts[0]["length"] == len(header)
    assert contents == [array]


def test_the_worked_example_of_the_documentation_is_what_the_framing_gives() -> None:
    dump = re.search(r"```text\n(0000 .*?)```", HTTP_API.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert dump is not None
    documented = b"".join(bytes.fromhex(line[6:53]) for line in dump[1].splitlines())
    error = "there is no array 2 at step 100: it has 1"
    parts = [
        Part(request=0, step=100, blob=0, content=b'{"schema":1}'),
        Part(request=0, step=100, blob=1, content=bytes.fromhex("780163")),
        Part(request=0, step=100, blob=2, status=404, error=error),
    ]
    assert frame(parts) == documented


def test_the_documentation_names_every_route_and_field(client: Client) -> None:
    text = HTTP_API.read_text(encoding="utf-8")
    fields = {*ask(client, "tags").get_json()[RUN]["axis"], *ask(client, "steps", run=RUN, tag="axis").get_json()}
    assert [field for field in sorted(fields) if field not in text] == []


def test_a_csv_export_has_a_line_a_point_and_reads_back_exactly(client: Client, logs: SimpleNamespace) -> None:
    reply = ask(client, "export", **GRID, format="csv")
    assert reply.mimetype == "text/csv"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="loss_slicer.csv"'
    rows = list(csv.reader(io.StringIO(reply.text)))
    assert rows[0] == ["first", "second", "loss_train", "loss_train_stderr"]
    data: Slice = logs.grid_slice(10)
    points = [(i, j) for i in range(4) for j in range(3)]
    for (i, j), row in zip(points, rows[1:], strict=True):
        assert (float(row[0]), float(row[1])) == (data.axes[0].values[i], data.axes[1].values[j])
        np.testing.assert_array_equal(np.float32(row[2]), data.loss[i, j])


def test_a_csv_export_neutralizes_texts_and_leaves_negative_numbers_alone(client: Client) -> None:
    reply = ask(client, "export", run=RUN, tag="axis", step=5, format="csv")
    rows = list(csv.reader(io.StringIO(reply.text)))
    assert rows[0] == ["curve", "layer", "offset", "loss_train"]
    assert rows[1] == ["'=HYPERLINK(1)", "'@a", "-1.0", "-3.5"]
    assert rows[4] == ["fine", "'-b", "-1.0", "-0.5"]


def test_an_npz_export_holds_the_axes_and_arrays(client: Client, logs: SimpleNamespace) -> None:
    reply = ask(client, "export", **GRID, format="npz")
    data: Slice = logs.grid_slice(10)
    archive = np.load(io.BytesIO(reply.data), allow_pickle=False)
    assert sorted(archive) == ["axis0", "axis1", "header", "loss_train", "loss_train_stderr"]
    np.testing.assert_array_equal(archive["loss_train"], data.loss)
    assert archive["loss_train"].dtype == np.float32
    assert json.loads(archive["header"].item())["center"]["step"] == 10


def test_a_json_export_is_a_slice_again(client: Client, logs: SimpleNamespace) -> None:
    reply = ask(client, "export", **GRID, format="json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    data = Slice.from_dict(json.loads(reply.text, parse_constant=refuse))
    original = decode_slice(encode_slice(logs.grid_slice(10)))
    np.testing.assert_array_equal(data.loss.astype(np.float32), original.loss)
    assert (data.slice_type, data.center) == (original.slice_type, original.center)


def test_head_answers_as_get_without_the_content(client: Client) -> None:
    reply = client.head(f"{ROUTE}/header", query_string=GRID)
    assert (reply.status_code, reply.data) == (200, b"")
    assert int(reply.headers["Content-Length"]) == len(ask(client, "header", **GRID).data)


def test_json_is_compressed_for_clients_that_take_gzip(client: Client) -> None:
    reply = client.get(f"{ROUTE}/header", query_string=GRID, headers={"Accept-Encoding": "gzip"})
    assert reply.headers["Content-Encoding"] == "gzip"


def test_an_answer_of_the_fast_loader_that_is_held_back_is_prompted_by_another_question(
    slice_logdir: Path, logs: SimpleNamespace
) -> None:
    prompted = threading.Event()

    class HeldBack(MultiplexerDataProvider):
        """Each answer waits until something else is asked, as what the loader sends does up to 40 ms."""

        def list_blob_sequences(self, ctx: Any = None, **arguments: Any) -> Any:
            wanted = arguments["run_tag_filter"]
            if wanted is not None and wanted.runs == {""}:
                prompted.set()
                return {}
            self.wait()
            return super().list_blob_sequences(ctx, **arguments)

        def read_blob_sequences(self, ctx: Any = None, **arguments: Any) -> Any:
            self.wait()
            return super().read_blob_sequences(ctx, **arguments)

        def read_blob(self, ctx: Any = None, *, blob_key: str) -> bytes:
            self.wait()
            return super().read_blob(ctx, blob_key=blob_key)

        def wait(self) -> None:
            prompted.clear()
            assert prompted.wait(timeout=5), "nothing else was asked"

    HeldBack.__module__ = "tensorboard.data.grpc_provider"
    client = logs.open_app(slice_logdir, provider_class=HeldBack)
    assert ask(client, "tags").status_code == 200
    assert json.loads(ask(client, "header", **GRID).data)["schema"] == 1


def test_a_preview_is_there_until_the_whole_slice_of_its_step_is(logs: SimpleNamespace, tmp_path: Path) -> None:
    blobs = encode_slice(logs.grid_slice())
    events = [logs.slice_event("random2d/preview", step, blobs) for step in (0, 10)]
    for step, left in ((0, [10]), (10, None)):
        logs.write_events(tmp_path / RUN, [*events, logs.slice_event("random2d", step, blobs)])
        events = []
        client = logs.open_app(tmp_path)
        assert ("random2d/preview" in ask(client, "tags").get_json()[RUN]) == (left is not None)
        assert ask(client, "steps", run=RUN, tag="random2d/preview").get_json()["steps"] == (left or [])
        assert ask(client, "header", run=RUN, tag="random2d/preview", step=step).status_code == 404
