"""The slices that TensorBoard's data provider holds: finding them and reading their stored bytes as they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tensorboard import errors
from tensorboard.data import provider as provider_api

from slicer_core.choices import PREVIEW, is_preview
from tensorboard_loss_slicer.metadata import PLUGIN_NAME
from tensorboard_loss_slicer.serving.caps import MAX_ARRAYS
from tensorboard_loss_slicer.serving.request_error import RequestError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorboard.context import RequestContext

    from tensorboard_loss_slicer.serving.prompting import Prompter

T = TypeVar("T")

# All that the loader kept: a provider takes 0 for "none", so this stands above any number of steps in memory.
_ALL_STEPS = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class StoredSlice:
    """Where one slice is: `blob_keys[0]` is the header's, the others the arrays'. `wall_time` in seconds since 1970."""

    run: str
    tag: str
    step: int
    wall_time: float
    blob_keys: tuple[str, ...]

    @property
    def num_arrays(self) -> int:
        """Number of array blobs."""
        return max(0, len(self.blob_keys) - 1)


@dataclass(frozen=True, kw_only=True)
class SliceLog:
    """The log as one request sees it: `context` and `experiment_id` are the request's own.

    `steps_kept` is the number of steps that TensorBoard keeps of a tag, 0 for all; `prompter` is that of the provider.
    """

    provider: provider_api.DataProvider
    prompter: Prompter
    context: RequestContext
    experiment_id: str
    steps_kept: int

    def series(self) -> Mapping[str, Mapping[str, provider_api.BlobSequenceTimeSeries]]:
        """Run -> tag -> what the provider knows without opening a blob."""
        return self._list(None)

    def slices(self, run: str, tag: str, only: frozenset[int] | None = None) -> dict[int, StoredSlice]:
        """Step -> slice, ascending. A preview of a step of which the whole slice is there is none any more.

        Of those that are not in `only`, some may be left out.

        Raises:
            RequestError: 404 where there is no such run or tag, 422 where the tag claims more arrays than a slice has.
        """
        wanted = provider_api.RunTagFilter(runs=[run], tags=[tag])
        series = self._list(wanted).get(run, {}).get(tag)
        if series is None:
            raise RequestError(
                404, f"run {quoted(run)} has no slices with tag {quoted(tag)}; the route tags lists what is there"
            )
        # A made-up event can claim any number of blobs, and reading makes a key for each of them.
        claimed = (series.max_length or 0) - 1
        if claimed > MAX_ARRAYS:
            raise RequestError(422, f"the tag claims {claimed} arrays in a slice, above the cap of {MAX_ARRAYS}")
        if only is not None and only == {series.max_step} and not is_preview(tag):
            # What a page asks for first. The provider keeps the last of a sample, and makes no key for each other step.
            newest = self._read(run, tag, 1)
            if only <= newest.keys():
                return newest
        slices = self._read(run, tag, _ALL_STEPS)
        if is_preview(tag):
            # TensorBoard's fast loader keeps what has left the log.
            whole = self._steps(run, tag.removesuffix(PREVIEW))
            slices = {step: stored for step, stored in slices.items() if step not in whole}
        return dict(sorted(slices.items()))

    def _read(self, run: str, tag: str, most: int) -> dict[int, StoredSlice]:
        """Step -> slice, as they lie in the log, of at most so many steps."""
        try:
            found = self._ask(
                lambda: self.provider.read_blob_sequences(
                    self.context,
                    experiment_id=self.experiment_id,
                    plugin_name=PLUGIN_NAME,
                    downsample=most,
                    run_tag_filter=provider_api.RunTagFilter(runs=[run], tags=[tag]),
                )
            )
        except errors.NotFoundError:
            found = {}
        return {
            datum.step: StoredSlice(
                run=run,
                tag=tag,
                step=datum.step,
                wall_time=datum.wall_time,
                blob_keys=tuple(reference.blob_key for reference in datum.values),
            )
            for datum in (found or {}).get(run, {}).get(tag, ())
        }

    def _steps(self, run: str, tag: str) -> frozenset[int]:
        """The steps of the tag; none where there is no such tag, or one that can't be read."""
        try:
            return frozenset(self.slices(run, tag))
        except RequestError:
            return frozenset()

    def slice_at(self, run: str, tag: str, step: int) -> StoredSlice:
        """The slice of one step.

        Raises:
            RequestError: as `slices`; 404 where there is no such step.
        """
        return choose_step(self.slices(run, tag, frozenset({step})), run, tag, step)

    def read_blob(self, stored: StoredSlice, index: int) -> bytes:
        """The stored bytes of blob `index`: 0 for the header, 1 and up for arrays.

        Raises:
            RequestError: 404 where the slice has no such blob, 422 where the event does not hold what it claims, or
                where TensorBoard's fast loader can't read it.
        """
        if not 0 <= index < len(stored.blob_keys):
            raise RequestError(404, f"there is no array {index} at step {stored.step}: it has {stored.num_arrays}")
        try:
            blob = self._ask(lambda: self.provider.read_blob(self.context, blob_key=stored.blob_keys[index]))
        except (errors.NotFoundError, KeyError):
            raise RequestError(404, f"step {stored.step} is no longer in the log") from None
        except errors.InvalidArgumentError as error:
            raise RequestError(422, f"step {stored.step} can't be read: {_refusal(stored, error)}") from error
        except (ValueError, TypeError, IndexError) as error:
            raise RequestError(422, f"step {stored.step} is not stored as a list of byte strings: {error}") from error
        if not isinstance(blob, bytes):
            raise RequestError(422, f"step {stored.step} is not stored as a list of byte strings")
        return blob

    def _list(
        self, wanted: provider_api.RunTagFilter | None
    ) -> Mapping[str, Mapping[str, provider_api.BlobSequenceTimeSeries]]:
        found = self._ask(
            lambda: self.provider.list_blob_sequences(
                self.context, experiment_id=self.experiment_id, plugin_name=PLUGIN_NAME, run_tag_filter=wanted
            )
        )
        return found or {}

    def _ask(self, question: Callable[[], T]) -> T:
        return self.prompter.ask(self.context, self.experiment_id, question)


def _refusal(stored: StoredSlice, error: errors.InvalidArgumentError) -> str:
    """Why a key that the provider itself gave is none that it takes."""
    # The fast loader refuses its own keys where their JSON has an escape.
    for kind, name in (("run", stored.run), ("tag", stored.tag)):
        if json.dumps(name, ensure_ascii=False) != f'"{name}"':
            return (
                f"the {kind}'s name has a quotation mark, a backslash or a control character, which TensorBoard's fast "
                "loader can't take: start it with --load_fast=false, or choose another name"
            )
    return str(error)


def choose_step(slices: Mapping[int, StoredSlice], run: str, tag: str, step: int) -> StoredSlice:
    """The slice of one step.

    Raises:
        RequestError: 404 where there is no such step.
    """
    stored = slices.get(step)
    if stored is None:
        raise RequestError(
            404, f"run {quoted(run)}, tag {quoted(tag)} has no step {step}; the route steps lists what is there"
        )
    return stored
