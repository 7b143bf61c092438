"""What the routes refuse: wrong arguments, other sites, paths, and events that are not what they claim."""

from __future__ import annotations

import io
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from tensorboard import errors
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider

from slicer_core.slices import encode_slice
from tensorboard_loss_slicer.serving import export, http, listing
from tensorboard_loss_slicer.serving.caps import MAX_BODY_BYTES, MAX_PARTS, MAX_QUERY_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import SimpleNamespace

    from werkzeug.test import Client

ROUTE = "/data/plugin/loss_slicer"
RUN = "exp/loss_slicer"
GRID = {"run": RUN, "tag": "random2d", "step": "10"}
ONE_REQUEST = {"run": RUN, "tag": "random2d", "steps": [0], "blobs": [0]}


@pytest.fixture(scope="module")
def client(logs: SimpleNamespace, slice_logdir: Path) -> Client:
    return logs.open_app(slice_logdir)


def refused(reply: Any, status: int) -> str:
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    return reply.text


@pytest.mark.parametrize(
    "route, query",
    [
        ("steps", "tag=random2d"),
        ("steps", f"run={RUN}"),
        ("steps", f"run={RUN}&run={RUN}&tag=random2d"),
        ("header", f"run={RUN}&tag=random2d"),
        ("header", f"run={RUN}&tag=random2d&step=ten"),
        ("header", f"run={RUN}&tag=random2d&step=1.5"),
        ("header", f"run={RUN}&tag=random2d&step={'1' * 30}"),
        ("header", f"run={RUN}&tag=random2d&step=\u0661\u0660"),
        ("data", f"run={RUN}&tag=random2d&step=10"),
        ("data", f"run={RUN}&tag=random2d&step=10&array=0"),
        ("data", f"run={RUN}&tag=random2d&step=10&array=-1"),
        ("export", f"run={RUN}&tag=random2d&step=10&format=xls"),
        ("export", f"run={RUN}&tag=random2d&step=10"),
        ("batch", ""),
    ],
)
def test_arguments_that_cannot_be_used_are_status_400(client: Client, route: str, query: str) -> None:
    refused(client.get(f"{ROUTE}/{route}?{query}"), 400)


@pytest.mark.parametrize(
    "route, arguments",
    [
        ("steps", {"run": "no", "tag": "random2d"}),
        ("steps", {"run": RUN, "tag": "no"}),
        ("header", GRID | {"step": "11"}),
        ("header", GRID | {"step": "-1"}),
        ("data", GRID | {"array": "3"}),
        ("export", GRID | {"step": "11", "format": "csv"}),
    ],
)
def test_what_is_not_there_is_status_404(client: Client, route: str, arguments: dict[str, str]) -> None:
    refused(client.get(f"{ROUTE}/{route}", query_string=arguments), 404)


def test_a_message_names_what_was_asked_for_and_stays_short(client: Client) -> None:
    message = refused(client.get(f"{ROUTE}/steps", query_string={"run": "R" * 5000, "tag": "t\x1b[31m"}), 404)
    assert "'t\\x1b[31m'" in message
    assert len(message) < 500


@pytest.mark.parametrize("route", ["tags", "steps", "header", "data", "export", "index.js", "static/index.js"])
def test_other_methods_are_status_405(client: Client, route: str) -> None:
    reply = client.post(f"{ROUTE}/{route}", json={})
    refused(reply, 405)
    assert reply.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("site, status", [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)])
def test_a_batch_is_answered_only_to_the_same_origin(client: Client, site: str, status: int) -> None:
    query = {"requests": [ONE_REQUEST]}
    headers = {"Sec-Fetch-Site": site}
    assert client.post(f"{ROUTE}/batch", json=query, headers=headers).status_code == status
    assert client.get(f"{ROUTE}/batch", query_string={"q": json.dumps(query)}, headers=headers).status_code == status


def test_a_form_cannot_send_a_batch(client: Client) -> None:
    reply = client.post(f"{ROUTE}/batch", data=json.dumps({"requests": [ONE_REQUEST]}), content_type="text/plain")
    refused(reply, 415)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"requests": {}}',
        '{"requests": [1]}',
        "[" * 100_000,
        '{"requests": [' + "1" * 5000 + "]}",
        *(
            json.dumps({"requests": [ONE_REQUEST | change]})
            for change in (
                {"run": 1},
                {"tag": None},
                {"steps": "0"},
                {"steps": [0.5]},
                {"steps": [True]},
                {"blobs": [-1]},
                {"blobs": {}},
            )
        ),
    ],
)
def test_a_query_of_another_form_is_status_400(client: Client, query: str) -> None:
    message = refused(client.post(f"{ROUTE}/batch", data=query, content_type="application/json"), 400)
    assert '"requests"' in message


@pytest.mark.parametrize(
    "requests",
    [
        [ONE_REQUEST | {"steps": list(range(MAX_PARTS + 1))}],
        [ONE_REQUEST | {"steps": list(range(65)), "blobs": list(range(64))}],
        [ONE_REQUEST | {"steps": []}] * (MAX_PARTS + 1),
    ],
)
def test_a_batch_of_too_many_parts_is_status_413(client: Client, requests: list[dict[str, Any]]) -> None:
    assert str(MAX_PARTS) in refused(client.post(f"{ROUTE}/batch", json={"requests": requests}), 413)


def test_the_largest_batch_that_may_be_asked_for_is_answered(client: Client) -> None:
    query = {"requests": [ONE_REQUEST | {"steps": [0] * MAX_PARTS, "blobs": [1]}]}
    assert client.post(f"{ROUTE}/batch", json=query).status_code == 200


def test_a_body_above_the_cap_is_refused_without_being_read(client: Client) -> None:
    body = io.BytesIO(b" " * (MAX_BODY_BYTES + 1))
    reply = client.post(f"{ROUTE}/batch", input_stream=body, content_type="application/json", content_length=2**30)
    refused(reply, 413)
    assert body.tell() == 0


def test_a_long_query_has_to_be_posted(client: Client) -> None:
    assert "POST" in refused(client.get(f"{ROUTE}/batch", query_string={"q": " " * (MAX_QUERY_CHARACTERS + 1)}), 413)


@pytest.mark.parametrize(
    "path",
    [
        "../plugin.py",
        "..%2fplugin.py",
        "%2e%2e/plugin.py",
        "%2e%2e%2fplugin.py",
        "..%5cplugin.py",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "index.js%00.css",
        ".",
        "",
    ],
)
def test_static_names_no_file_outside_its_table(client: Client, path: str) -> None:
    refused(client.get(f"{ROUTE}/static/{path}"), 404)


def hostile_headers() -> dict[str, bytes]:
    """Headers that are not headers, by what is wrong with them."""
    return {
        "empty": b"",
        "text": b"\xff\xfe",
        "list": b"[]",
        "newer": b'{"schema":2}',
        "deep": b'{"schema":1,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "digits": b'{"schema":1,"a":' + b"1" * 5000 + b"}",
        "nan": b'{"schema":1,"a":NaN}',
    }


@pytest.fixture(scope="module")
def hostile(logs: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A log in which each tag lies in one way; each has one step."""
    header, *arrays = encode_slice(logs.grid_slice(3))

    def changed(change: Callable[[dict[str, Any]], object]) -> list[bytes]:
        fields = json.loads(header)
        change(fields)
        return [json.dumps(fields).encode(), *arrays]

    bomb = zlib.compress(bytes(50_000_000))
    blobs = {
        **{name: [content, *arrays] for name, content in hostile_headers().items()},
        "huge": changed(lambda fields: fields["arrays"][0].update(shape=[50_000, 50_000])),
        "wrong-shape": changed(lambda fields: fields["arrays"][0].update(shape=[2, 6])),
        "no-shape": changed(lambda fields: fields["arrays"][0].pop("shape")),
        "negative": changed(lambda fields: fields["arrays"][0].update(shape=[-4, -3])),
        "far-blob": changed(lambda fields: fields["arrays"][0].update(blob=99)),
        "no-arrays": changed(lambda fields: fields.update(arrays=7)),
        "bomb": [header, bomb, arrays[1]],
        "only-header": [header],
        "nothing": [],
    }
    events = [logs.slice_event(tag, 3, content) for tag, content in blobs.items()]
    events.append(logs.slice_event("timeless", 3, [header, *arrays], wall_time=float("nan")))
    events.append(logs.slice_event("many", 3, [header, *arrays], claimed_blobs=10**12))
    events.append(logs.slice_event("few", 3, [header], claimed_blobs=3))
    events.append(logs.slice_event("unknown", 3, [header, *arrays], slice_type="of_the_future"))
    events.append(logs.slice_event("mismatch", 3, [header, *arrays], geometry="curve"))
    events.append(logs.slice_event("long", 3, [header, *arrays], description="d" * 100_000))
    for tag, content in (
        ("content-digits", b"1" * 5000),
        ("content-deep", b"[" * 100_000),
        ("content-binary", b"\xff"),
    ):
        event = logs.slice_event(tag, 3, [header, *arrays])
        event.summary.value[0].metadata.plugin_data.content = content
        events.append(event)
    return logs.open_app(logs.write_events(tmp_path_factory.mktemp("hostile") / "run", events).parent)


def ask_hostile(client: Client, route: str, tag: str, **arguments: Any) -> Any:
    return client.get(f"{ROUTE}/{route}", query_string={"run": "run", "tag": tag, "step": 3} | arguments)


@pytest.mark.parametrize("tag", sorted(hostile_headers()))
@pytest.mark.parametrize("route", ["header", "data", "export"])
def test_a_header_that_is_none_is_status_422(hostile: Client, route: str, tag: str) -> None:
    arguments = {"data": {"array": 1}, "export": {"format": "csv"}}.get(route, {})
    refused(ask_hostile(hostile, route, tag, **arguments), 422)


@pytest.mark.parametrize(
    "tag, status",
    [
        ("huge", 413),
        ("wrong-shape", 422),
        ("no-shape", 422),
        ("negative", 422),
        ("far-blob", 422),
        ("no-arrays", 422),
        ("bomb", 422),
        ("only-header", 422),
        ("nothing", 404),
        ("few", 422),
    ],
)
@pytest.mark.parametrize("name", ["csv", "npz", "json"])
def test_an_export_of_a_slice_that_lies_is_refused(hostile: Client, tag: str, status: int, name: str) -> None:
    refused(ask_hostile(hostile, "export", tag, format=name), status)


def test_a_batch_reports_hostile_slices_part_by_part(hostile: Client) -> None:
    tags = ["newer", "huge", "many", "text"]
    query = {"requests": [{"run": "run", "tag": tag, "steps": [3], "blobs": [0]} for tag in tags]}
    reply = hostile.post(f"{ROUTE}/batch", json=query)
    index = json.loads(reply.data[4 : 4 + int.from_bytes(reply.data[:4], "little")])
    assert [part["status"] for part in index["parts"]] == [422, 200, 422, 422]


def test_a_time_that_is_no_number_becomes_null(hostile: Client) -> None:
    assert ask_hostile(hostile, "steps", "timeless").get_json()["wall_times"] == [None]
    assert hostile.get(f"{ROUTE}/tags").get_json()["run"]["timeless"]["last_wall_time"] is None


def test_a_tag_that_claims_a_trillion_blobs_is_refused_before_they_are_listed(hostile: Client) -> None:
    for route in ("steps", "header"):
        refused(ask_hostile(hostile, route, "many"), 422)


def test_tags_that_this_version_cannot_show_are_listed_with_the_reason(hostile: Client) -> None:
    tags = hostile.get(f"{ROUTE}/tags").get_json()["run"]
    assert "update" in tags["unknown"]["problem"]
    assert "curve" in tags["mismatch"]["problem"]
    for name in ("content-digits", "content-deep", "content-binary"):
        assert tags[name]["slice_type"] is None
        assert tags[name]["problem"]
    assert tags["huge"]["problem"] is None


def test_a_long_description_is_cut(hostile: Client) -> None:
    description = hostile.get(f"{ROUTE}/tags").get_json()["run"]["long"]["description"]
    assert len(description) == 16_385
    assert description.endswith("…")


def test_too_many_tags_are_status_413_before_a_list_is_made(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = sum(map(len, client.get(f"{ROUTE}/tags").get_json().values()))
    monkeypatch.setattr(listing, "MAX_TAGS", tags)
    assert client.get(f"{ROUTE}/tags").status_code == 200
    monkeypatch.setattr(listing, "MAX_TAGS", tags - 1)
    monkeypatch.delattr(listing, "_describe")
    message = refused(client.get(f"{ROUTE}/tags"), 413)
    assert f"{tags} tags" in message
    assert "--logdir" in message


def test_long_texts_of_tags_are_status_413_before_the_list_is_whole(
    hostile: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[object] = []
    describe = listing._describe
    monkeypatch.setattr(listing, "_describe", lambda series: described.append(series) or describe(series))
    tags = hostile.get(f"{ROUTE}/tags").get_json()["run"]
    assert len(described) == len(tags)
    described.clear()
    monkeypatch.setattr(listing, "MAX_LIST_BYTES", 16_000)
    assert "16000 bytes" in refused(hostile.get(f"{ROUTE}/tags"), 413)
    assert len(described) == sorted(tags).index("long") + 1 < len(tags)


def test_a_list_above_the_cap_is_status_413(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_LIST_BYTES", 100)
    assert "100" in refused(client.get(f"{ROUTE}/tags"), 413)


def test_a_text_export_above_the_cap_is_status_413_and_names_the_format_that_works(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_TEXT_EXPORT_VALUES", 23)
    for name, status in (("csv", 413), ("json", 413), ("npz", 200)):
        reply = client.get(f"{ROUTE}/export", query_string=GRID | {"format": name})
        assert reply.status_code == status
        assert status == 200 or "format=npz" in reply.text


@pytest.mark.parametrize(
    "run, tag, who", [("run", 'a "b"', "tag"), ("back\\slash", "a", "run"), ("run", "a\nb", "tag")]
)
def test_names_that_the_fast_loader_can_not_take_say_so(
    run: str, tag: str, who: str, logs: SimpleNamespace, tmp_path: Path
) -> None:
    class LikeTheFastLoader(MultiplexerDataProvider):
        def read_blob(self, ctx: Any = None, *, blob_key: str) -> bytes:
            raise errors.InvalidArgumentError("failed to parse blob key: expected a borrowed string")

    logs.write_events(tmp_path / run, [logs.slice_event(tag, 0, encode_slice(logs.grid_slice()))])
    client = logs.open_app(tmp_path, provider_class=LikeTheFastLoader)
    reply = client.get(f"{ROUTE}/header", query_string={"run": run, "tag": tag, "step": "0"})
    assert f"the {who}'s name has a quotation mark" in refused(reply, 422)
    assert "--load_fast=false" in reply.text
    wanted = {"requests": [{"run": run, "tag": tag, "steps": [0], "blobs": [0]}]}
    # One part that fails does not fail a batch.
    assert client.post(f"{ROUTE}/batch", json=wanted).status_code == 200
