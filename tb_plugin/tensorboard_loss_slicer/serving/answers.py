"""One method a route: arguments of the request in, answer out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorboard import plugin_util

from tensorboard_loss_slicer.serving.batch import frame, parse_query, read_parts
from tensorboard_loss_slicer.serving.blobs import blob_etag, open_array, read_header
from tensorboard_loss_slicer.serving.export import FILE_STEM, export_content, find_format
from tensorboard_loss_slicer.serving.http import (
    Answer,
    NotModified,
    Reply,
    batch_query,
    content_hash,
    has_already,
    integer_argument,
    json_reply,
    text_argument,
)
from tensorboard_loss_slicer.serving.listing import list_steps, list_tags
from tensorboard_loss_slicer.serving.prompting import Prompter
from tensorboard_loss_slicer.serving.request_error import RequestError, quoted
from tensorboard_loss_slicer.serving.slice_log import SliceLog, StoredSlice
from tensorboard_loss_slicer.serving.static_files import StaticFile, entry_module, load_static_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorboard.data.provider import DataProvider
    from werkzeug.wrappers import Request

_BINARY = "application/octet-stream"
_STATIC_ROUTE = "/data/plugin/loss_slicer/static/"


class Answers:
    """The answers of one TensorBoard process; all it keeps is the data provider and the page's files."""

    def __init__(
        self, *, provider: DataProvider, steps_kept: int, static_files: Mapping[str, StaticFile] | None = None
    ) -> None:
        self._provider = provider
        self._prompter = Prompter(provider)
        self._steps_kept = steps_kept
        self._static_files = load_static_files() if static_files is None else static_files
        self._entry = entry_module(self._static_files)

    def tags(self, request: Request) -> Answer:
        """Every run and tag with slices."""
        return json_reply(list_tags(self._log(request)))

    def steps(self, request: Request) -> Answer:
        """The steps of a tag."""
        run, tag = text_argument(request, "run"), text_argument(request, "tag")
        return json_reply(list_steps(self._log(request), run, tag))

    def header(self, request: Request) -> Answer:
        """A slice without its arrays."""
        log = self._log(request)
        header = read_header(log, _stored(log, request))
        return Reply(content=header.content, mime_type="application/json", etag=blob_etag(header.content_id, 0))

    def data(self, request: Request) -> Answer:
        """An array as it is stored."""
        log = self._log(request)
        index = integer_argument(request, "array")
        if index < 1:
            raise RequestError(400, f"arrays are numbered from 1, there is no number {index}")
        array = open_array(log, _stored(log, request), index)
        if has_already(request, array.etag):
            return NotModified(etag=array.etag)
        return Reply(content=array.read(), mime_type=_BINARY, etag=array.etag)

    def batch(self, request: Request) -> Answer:
        """Many headers and arrays."""
        requests = parse_query(batch_query(request))
        content = frame(read_parts(self._log(request), requests))
        etag = None if request.method == "POST" else content_hash(content)
        return Reply(content=content, mime_type=_BINARY, etag=etag)

    def export(self, request: Request) -> Answer:
        """A slice as a file to save."""
        log = self._log(request)
        export = find_format(text_argument(request, "format"))
        content = export_content(log, _stored(log, request), export)
        return Reply(
            content=content,
            mime_type=export.mime_type,
            etag=content_hash(content),
            file_name=FILE_STEM + export.suffix,
        )

    def entry(self, request: Request) -> Answer:
        """The module that TensorBoard imports."""
        return _static_reply(self._entry)

    def static(self, request: Request) -> Answer:
        """A file of the page."""
        name = request.path.partition(_STATIC_ROUTE)[2]
        file = self._static_files.get(name)
        if file is None:
            raise RequestError(404, f"the page has no file {quoted(name)}")
        return _static_reply(file)

    def _log(self, request: Request) -> SliceLog:
        return SliceLog(
            provider=self._provider,
            prompter=self._prompter,
            context=plugin_util.context(request.environ),
            experiment_id=plugin_util.experiment_id(request.environ),
            steps_kept=self._steps_kept,
        )


def _stored(log: SliceLog, request: Request) -> StoredSlice:
    return log.slice_at(text_argument(request, "run"), text_argument(request, "tag"), integer_argument(request, "step"))


def _static_reply(file: StaticFile) -> Reply:
    content = file.gzipped if file.is_text else file.content
    return Reply(content=content, mime_type=file.mime_type, etag=file.etag, gzipped=file.is_text)
