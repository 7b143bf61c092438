"""Many headers and arrays in one reply: parsing the query, reading the parts and framing them."""

from __future__ import annotations

import json
import struct
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from tensorboard_loss_slicer.serving.blobs import read_array, read_header
from tensorboard_loss_slicer.serving.caps import MAX_BATCH_BYTES, MAX_PARTS
from tensorboard_loss_slicer.serving.request_error import RequestError, quoted
from tensorboard_loss_slicer.serving.slice_log import choose_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from tensorboard_loss_slicer.serving.slice_log import SliceLog, StoredSlice

_ALIGNMENT = 8

# TensorBoard's fast loader takes several milliseconds for a blob whatever its size, see `prompting`.
_READ_AT_ONCE = 8
_EXPECTED = 'expected {"requests": [{"run": text, "tag": text, "steps": [integers], "blobs": [integers from 0]}]}'


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Every one of `blobs` (0 is the header) of every one of `steps` of a tag."""

    run: str
    tag: str
    steps: tuple[int, ...]
    blobs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The answer for one blob: bytes with status 200, or the status and reason of a error."""

    request: int
    step: int
    blob: int
    status: int = 200
    content: bytes = b""
    error: str = ""
    length: int | None = None


def parse_query(text: str | bytes) -> list[BatchRequest]:
    """The query of a batch.

    Raises:
        RequestError: 400 where it does not have the documented form, 413 where it asks for too many parts.
    """
    try:
        query = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the query of a batch is not JSON ({quoted(str(error))}); {_EXPECTED}") from None
    if not isinstance(query, dict) or not isinstance(query.get("requests"), list):
        raise RequestError(400, f"the query of a batch has no list of requests; {_EXPECTED}")
    requests = [_parse_request(place, entry) for place, entry in enumerate(query["requests"])]
    parts = sum(len(request.steps) * len(request.blobs) for request in requests)
    if parts > MAX_PARTS or len(requests) > MAX_PARTS:
        raise RequestError(413, f"the batch asks for {parts} parts, at most {MAX_PARTS} go into one: send several")
    return requests


def read_parts(log: SliceLog, requests: Sequence[BatchRequest]) -> list[Part]:
    """The parts in the order of the query, together at most `MAX_BATCH_BYTES` long.

    The first part that does not fit ends the reading, except one that would fit into no reply: it is left out alone.
    """
    parts: list[Part] = []
    taken = 0
    for part in _read_each(log, requests):
        if part.status != 200:
            parts.append(part)
        elif len(part.content) > MAX_BATCH_BYTES:
            parts.append(_left_out(part, "ask for it by itself"))
        elif _aligned(taken) + len(part.content) > MAX_BATCH_BYTES:
            parts.append(_left_out(part, "ask for it in another batch"))
            parts.extend(_never_read(requests, len(parts)))
            break
        else:
            taken = _aligned(taken) + len(part.content)
            parts.append(part)
    return parts


def frame(parts: Sequence[Part]) -> bytes:
    """uint32 length of the index, the index as JSON, then the parts, each beginning at a multiple of 8."""
    body = bytearray()
    entries: list[dict[str, Any]] = []
    for part in parts:
        entry: dict[str, Any] = {"request": part.request, "step": part.step, "blob": part.blob, "status": part.status}
        if part.status == 200:
            body.extend(bytes(_aligned(len(body)) - len(body)))
            entry |= {"offset": len(body), "length": len(part.content)}
            body.extend(part.content)
        else:
            entry["error"] = part.error
            if part.length is not None:
                entry["length"] = part.length
        entries.append(entry)
    index = json.dumps({"parts": entries}, separators=(",", ":")).encode("ascii")
    index += b" " * (_aligned(4 + len(index)) - 4 - len(index))
    return b"".join((struct.pack("<I", len(index)), index, bytes(body)))


def _parse_request(place: int, entry: Any) -> BatchRequest:
    if not isinstance(entry, dict):
        raise RequestError(400, f"request {place} of the batch is not a JSON object; {_EXPECTED}")
    run, tag = entry.get("run"), entry.get("tag")
    if not isinstance(run, str) or not isinstance(tag, str):
        raise RequestError(400, f"request {place} of the batch needs run and tag as texts; {_EXPECTED}")
    return BatchRequest(
        run=run, tag=tag, steps=_integers(place, entry, "steps", None), blobs=_integers(place, entry, "blobs", 0)
    )


def _integers(place: int, entry: dict[str, Any], name: str, lowest: int | None) -> tuple[int, ...]:
    values = entry.get(name)
    if isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) and (lowest is None or value >= lowest)
        for value in values
    ):
        return tuple(values)
    raise RequestError(400, f"request {place} of the batch has {name} {quoted(values)}; {_EXPECTED}")


def _read_each(log: SliceLog, requests: Sequence[BatchRequest]) -> Iterator[Part]:
    """The parts in order, some of them read ahead; a tag that is named often is looked up once."""
    found: dict[tuple[str, str], dict[int, StoredSlice] | RequestError] = {}
    steps: dict[tuple[str, str], set[int]] = {}
    for request in requests:
        steps.setdefault((request.run, request.tag), set()).update(request.steps)
    ahead: deque[Future[Part]] = deque()
    readers = ThreadPoolExecutor(max_workers=_READ_AT_ONCE)
    try:
        for place, request, step, blob in _places(requests):
            key = (request.run, request.tag)
            if key not in found:
                found[key] = _find(log, *key, frozenset(steps[key]))
            if len(ahead) == _READ_AT_ONCE:
                yield ahead.popleft().result()
            ahead.append(readers.submit(_read_part, log, found[key], place, request, step, blob))
        while ahead:
            yield ahead.popleft().result()
    finally:
        readers.shutdown(cancel_futures=True)


def _places(requests: Sequence[BatchRequest]) -> Iterator[tuple[int, BatchRequest, int, int]]:
    for place, request in enumerate(requests):
        for step in request.steps:
            for blob in request.blobs:
                yield place, request, step, blob


def _find(log: SliceLog, run: str, tag: str, steps: frozenset[int]) -> dict[int, StoredSlice] | RequestError:
    try:
        return log.slices(run, tag, steps)
    except RequestError as error:
        return error


def _read_part(
    log: SliceLog, found: dict[int, StoredSlice] | RequestError, place: int, request: BatchRequest, step: int, blob: int
) -> Part:
    try:
        if isinstance(found, RequestError):
            raise found
        stored = choose_step(found, request.run, request.tag, step)
        content = read_header(log, stored).content if blob == 0 else read_array(log, stored, blob)
    except RequestError as error:
        return Part(request=place, step=step, blob=blob, status=error.status, error=error.message)
    return Part(request=place, step=step, blob=blob, content=content)


def _left_out(part: Part, advice: str) -> Part:
    length = len(part.content)
    error = f"the part of {length} bytes did not fit into this reply: {advice}"
    return Part(request=part.request, step=part.step, blob=part.blob, status=413, error=error, length=length)


def _never_read(requests: Sequence[BatchRequest], start: int) -> list[Part]:
    """The parts from number `start` on."""
    error = "the reply was full before this part: ask for it in another batch"
    return [
        Part(request=place, step=step, blob=blob, status=413, error=error)
        for place, _, step, blob in islice(_places(requests), start, None)
    ]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
