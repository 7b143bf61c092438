"""Requests to arguments and answers to replies: argument checks, caching, refusals, and the debug log."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorboard.backend import http_util
from werkzeug import wrappers
from werkzeug.exceptions import HTTPException

from tensorboard_loss_slicer import debug
from tensorboard_loss_slicer.serving.caps import MAX_BODY_BYTES, MAX_LIST_BYTES, MAX_QUERY_CHARACTERS
from tensorboard_loss_slicer.serving.request_error import RequestError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_INTEGER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A successful answer. `etag` is without quotes; `file_name` makes a browser save the content.

    Where the content is `gzipped` already, clients that don't take that get it as it was before.
    """

    content: bytes
    mime_type: str
    etag: str | None = None
    file_name: str | None = None
    gzipped: bool = False


@dataclass(frozen=True, kw_only=True)
class NotModified:
    """The client has the content with this ETag already."""

    etag: str


Answer = Reply | NotModified


def json_reply(value: Any) -> Reply:
    """`value` as JSON, with a hash of the text as ETag.

    Raises:
        RequestError: 413 where the text is above the cap.
    """
    content = json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    if len(content) > MAX_LIST_BYTES:
        raise RequestError(
            413, f"the list has {len(content)} bytes, the cap is {MAX_LIST_BYTES}: open a part of the log"
        )
    return Reply(content=content, mime_type="application/json", etag=content_hash(content))


def content_hash(content: bytes) -> str:
    """A text of 32 characters that stands for the content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def has_already(request: wrappers.Request, etag: str) -> bool:
    """Whether the client's `If-None-Match` names the ETag."""
    return request.if_none_match.contains_weak(etag)


def text_argument(request: wrappers.Request, name: str) -> str:
    """An argument that is given exactly once.

    Raises:
        RequestError: 400.
    """
    values = request.args.getlist(name)
    if len(values) != 1:
        raise RequestError(400, f"the request needs the argument {name} once, it has it {len(values)} times")
    return values[0]


def integer_argument(request: wrappers.Request, name: str) -> int:
    """An argument that is a whole number.

    Raises:
        RequestError: 400.
    """
    text = text_argument(request, name)
    if not _INTEGER.fullmatch(text):
        raise RequestError(400, f"the argument {name} is a whole number, not {quoted(text)}")
    return int(text)


def batch_query(request: wrappers.Request) -> str | bytes:
    """The query of a batch: the argument `q` of a GET, the body of a POST.

    Raises:
        RequestError: 400, 403, 413 or 415.
    """
    refuse_other_sites(request)
    if request.method != "POST":
        query = text_argument(request, "q")
        if len(query) > MAX_QUERY_CHARACTERS:
            raise RequestError(
                413, f"a query of {len(query)} characters is above {MAX_QUERY_CHARACTERS}: send it by POST"
            )
        return query
    if request.mimetype != "application/json":
        raise RequestError(415, f"a batch by POST has Content-Type application/json, not {quoted(request.mimetype)}")
    request.max_content_length = MAX_BODY_BYTES
    try:
        return request.get_data(cache=False)
    except HTTPException as error:
        raise RequestError(
            error.code or 400, f"the query can't be read: at most {MAX_BODY_BYTES} bytes are taken"
        ) from None


def refuse_other_sites(request: wrappers.Request) -> None:
    """Raises a RequestError with 403 where the browser says that another site's page makes the request."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none"):
        raise RequestError(403, f"requests from other sites are not answered (Sec-Fetch-Site: {quoted(site)})")


def wsgi_app(
    answer: Callable[[wrappers.Request], Answer], methods: tuple[str, ...] = ("GET", "HEAD")
) -> WSGIApplication:
    """A route: `answer` may raise a RequestError, which becomes a text/plain reply of its status."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = wrappers.Request(environ)
        started = time.perf_counter()
        allow: list[tuple[str, str]] = []
        try:
            if request.method not in methods:
                allow = [("Allow", ", ".join(methods))]
                raise RequestError(
                    405, f"the method {quoted(request.method)} does not work here: use {' or '.join(methods)}"
                )
            found = answer(request)
        except RequestError as error:
            respond = http_util.Respond(request, error.message, "text/plain", code=error.status, headers=allow)
            _log(request, error.status, error.message, started)
            return respond(environ, start_response)
        if isinstance(found, NotModified) or (found.etag is not None and has_already(request, found.etag)):
            _log(request, 304, "not modified", started)
            return _not_modified(found.etag or "", start_response)
        _log(request, 200, f"{len(found.content)} bytes of {found.mime_type}", started)
        return _respond(request, found)(environ, start_response)

    return application


def _respond(request: wrappers.Request, reply: Reply) -> WSGIApplication:
    headers: list[tuple[str, str]] = []
    if reply.etag is not None:
        headers.append(("ETag", f'"{reply.etag}"'))
    if reply.file_name is not None:
        headers.append(("Content-Disposition", f'attachment; filename="{reply.file_name}"'))
    headers.append(("Vary", "Accept-Encoding"))
    encoding = "gzip" if reply.gzipped else None
    return http_util.Respond(request, reply.content, reply.mime_type, content_encoding=encoding, headers=headers)


def _not_modified(etag: str, start_response: StartResponse) -> Iterable[bytes]:
    """Werkzeug's response would drop the Content-Type of a 304, and TensorBoard warns of each reply without one."""
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache, must-revalidate"),
        ("Vary", "Accept-Encoding"),
        ("ETag", f'"{etag}"'),
    ]
    start_response("304 NOT MODIFIED", headers)
    return []


def _log(request: wrappers.Request, status: int, outcome: str, started: float) -> None:
    milliseconds = 1000 * (time.perf_counter() - started)
    # ascii, since a path may hold control codes that a terminal obeys.
    target = ascii(request.full_path)
    debug.log("%s %s -> %d, %s, %.1f ms", request.method, target, status, ascii(outcome), milliseconds)
