"""The user's data as batches that are the same at each reading, with the number of samples and a fingerprint."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from slicer_core.errors import DataError, UsageError
from slicer_core.hashing import bytes_digest
from slicer_core.subject.nesting import flatten, leaves_of, map_leaves
from slicer_core.subject.random_states import own_generator
from slicer_core.subject.undisturbed import ordinary
from slicer_core.subject.user_code import user_code

DEFAULT_BATCH_SIZE = 1024
# Data up to this size is read once and kept; above, it is read again for each slice.
_KEPT_BYTES = 2 * 2**30
# A GPU's memory is wanted for more than data.
_SHARE_OF_GPU = 0.25
DATA_TIMEOUT = "LOSS_SLICER_DATA_TIMEOUT"
"""Environment variable with the seconds after which a DataLoader's workers that give no batch are given up."""
_TIMEOUT_SECONDS = 600.0
_WAYS = (
    "give a (X, y) pair of tensors, a Dataset, a DataLoader with shuffle=False, or a list of batches without random "
    "augmentation"
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch as the user's data gave it, any nesting of tensors, with its number of samples."""

    data: Any
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class SplitData:
    """One split, surveyed: every reading of `batches()` gives the same values in the same order.

    `in_memory`: the batches are kept, so that reading them runs no code of the user's.
    """

    name: str
    num_samples: int
    num_batches: int
    fingerprint: str
    batches: Callable[[], Iterable[Batch]] = field(repr=False)
    in_memory: bool = False


def survey(
    source: Any,
    name: str,
    *,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    list_is_batches: bool = False,
) -> SplitData:
    """Reads the split once, counts and fingerprints it, and checks that its first batch comes back the same.

    Batches without samples are left out: they add nothing, and a mean over none is not a number.
    `list_is_batches`: a list of tensors has a batch in each, as a `batch_loss` may want it; it is not a (X, y) pair.

    Raises:
        DataError: the data is empty, can be read only once, or differs between readings.
        UsageError: the batch size is not positive.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"--batch-size {batch_size} is not a positive number")
    is_tensors = _is_tensors(source, list_is_batches)
    read_all = _reader(source, name, batch_size, is_tensors)

    def read() -> Iterator[tuple[Any, int]]:
        return ((raw, count) for raw in read_all() if (count := _num_samples(raw, name)))

    digest, kept, kept_bytes = hashlib.blake2b(digest_size=16), [], 0
    num_samples = num_batches = 0
    most = _most_kept(torch.device(device))
    first: bytes | None = None
    for raw, count in read():
        for leaf in tensors_of(raw):
            _check_layout(leaf, name)
        print_of_batch = _fingerprint(raw)
        first = first or print_of_batch
        digest.update(print_of_batch)
        num_samples += count
        num_batches += 1
        kept_bytes += sum(leaf.nbytes for leaf in tensors_of(raw))
        if kept_bytes <= most:
            kept.append(Batch(data=move(raw, device), num_samples=count))
    if num_samples == 0:
        raise DataError(f"the {name} data is empty: {_WAYS}")
    # Slices of the same tensors are the same at each reading, and hashing the first takes longer than a forward pass.
    if not is_tensors:
        again = next(read(), None)
        if again is None or _fingerprint(again[0]) != first:
            raise DataError(
                f"the {name} data differs from one reading to the next (shuffled or augmented): a slice would compare "
                f"different samples at different points. Instead {_WAYS}"
            )

    def reread() -> Iterator[Batch]:
        with user_code(f"reading the {name} data"), own_generator(source):
            for raw, count in read():
                yield Batch(data=move(raw, device), num_samples=count)

    fits = kept_bytes <= most
    return SplitData(
        name=name,
        num_samples=num_samples,
        num_batches=num_batches,
        fingerprint=digest.hexdigest(),
        batches=(lambda: kept) if fits else reread,
        in_memory=fits,
    )


def _check_layout(tensor: Tensor, name: str) -> None:
    # A nested one may call its layout strided.
    if tensor.is_nested:
        raise DataError(
            f"a batch of the {name} data holds a nested (jagged) tensor: pad its parts to one length, with a mask for "
            "what is added, and let the model nest them"
        )
    if tensor.layout is not torch.strided:
        raise DataError(
            f"a batch of the {name} data holds a sparse tensor: give it dense, or let the model hold it as a buffer"
        )


def _most_kept(device: torch.device) -> int:
    """How many bytes of a split may stay on the device."""
    if device.type != "cuda":
        return _KEPT_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return min(_KEPT_BYTES, int(_SHARE_OF_GPU * free))


def gathered(read: Callable[[], Iterable[Batch]], name: str, fingerprint: str) -> SplitData:
    """The batches that `read` gives at each call as a split: read once and kept where they fit, else read again."""
    kept, kept_bytes = [], 0
    num_samples = num_batches = 0
    for batch in read():
        num_samples += batch.num_samples
        num_batches += 1
        kept_bytes += sum(leaf.nbytes for leaf in tensors_of(batch.data))
        if kept_bytes <= _KEPT_BYTES:
            kept.append(batch)
    return SplitData(
        name=name,
        num_samples=num_samples,
        num_batches=num_batches,
        fingerprint=fingerprint,
        batches=(lambda: kept) if kept_bytes <= _KEPT_BYTES else read,
        in_memory=kept_bytes <= _KEPT_BYTES,
    )


def move(data: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> Any:
    """The same nesting with its tensors on the device, and its floating tensors in `dtype` where one is given."""

    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if dtype is not None and leaf.is_floating_point():
            return ordinary(leaf.to(device, dtype))
        return ordinary(leaf.to(device))

    return map_leaves(convert, data)


def cast_batch(batch: Batch, device: torch.device, dtype: torch.dtype | None) -> Batch:
    """The batch with its floating tensors in `dtype`."""
    return batch if dtype is None else Batch(data=move(batch.data, device, dtype), num_samples=batch.num_samples)


def in_float32(data: Any) -> Any:
    """The same nesting with its tensors of half precision in float32."""

    def convert(leaf: Any) -> Any:
        halved = isinstance(leaf, Tensor) and leaf.dtype in (torch.float16, torch.bfloat16)
        return leaf.float() if halved else leaf

    return map_leaves(convert, data)


def copied(data: Any) -> Any:
    """The same nesting with copies of its tensors."""
    return map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, data)


def written_versions(data: Any) -> list[int]:
    """How often each tensor was written in place, as torch counts it."""
    return [leaf._version for leaf in tensors_of(data)]


def _is_tensors(source: Any, list_is_batches: bool) -> bool:
    """Whether the source is tensors with all samples, (X, y), to be cut into batches here."""
    together = tuple if list_is_batches else (tuple, list)
    return isinstance(source, together) and len(source) >= 2 and all(isinstance(entry, Tensor) for entry in source)


def _reader(source: Any, name: str, batch_size: int | None, is_tensors: bool) -> Callable[[], Iterable[Any]]:
    if is_tensors:
        return _tensor_reader(tuple(source), name, batch_size or DEFAULT_BATCH_SIZE)
    if isinstance(source, DataLoader):
        if batch_size is not None and batch_size != source.batch_size:
            raise DataError(
                f"--batch-size {batch_size} can't change the batches of the {name} DataLoader ({source.batch_size}): "
                "change the loader, or give its dataset"
            )
        return _loader_reader(source, name)
    if isinstance(source, Dataset):
        size = batch_size or DEFAULT_BATCH_SIZE
        if not isinstance(source, IterableDataset) and not hasattr(source, "__len__"):
            raise DataError(f"the {name} Dataset has no length: {_WAYS}")
        return lambda: DataLoader(source, batch_size=size, shuffle=False)
    if isinstance(source, (Tensor, str, bytes, Mapping)) or not isinstance(source, Iterable):
        raise DataError(f"the {name} data is a {type(source).__name__}: {_WAYS}")
    if iter(source) is source:
        raise DataError(
            f"the {name} data is an iterator ({type(source).__name__}), which can be read only once: {_WAYS}"
        )
    if batch_size is not None:
        raise DataError(
            f"--batch-size {batch_size} can't change the batches of the {name} data, which is a "
            f"{type(source).__name__} of batches: give a (X, y) pair of tensors or a Dataset"
        )
    return lambda: source


def _loader_reader(loader: DataLoader[Any], name: str) -> Callable[[], Iterable[Any]]:
    """Reads the loader. A worker of it that gives nothing is not waited for forever, if it has no timeout."""
    if not loader.num_workers:
        return lambda: loader
    # The user's own stays as it is.
    impatient = copy.copy(loader)
    impatient.timeout = seconds = loader.timeout or _timeout_seconds()

    def read() -> Iterator[Any]:
        iterator = iter(impatient)
        try:
            yield from iterator
        except Exception as error:
            how = _let_go(iterator)
            if "DataLoader timed out" in str(error):
                raise DataError(
                    f"the workers of the {name} DataLoader gave no batch in {seconds:g} s: if a batch takes so "
                    f"long, give it a longer timeout=, or set {DATA_TIMEOUT}; else find with num_workers=0 what hangs"
                ) from error
            if how is not None:
                raise DataError(
                    f"a worker of the {name} DataLoader {how}, as where memory runs out: give it fewer num_workers"
                ) from error
            raise

    return read


def _let_go(iterator: Any) -> str | None:
    """Ends the workers, so that torch does not raise again wherever it hears of one; how one ended by itself."""
    workers = getattr(iterator, "_workers", ())
    for worker in workers:
        # Its socket may be gone a little before it is.
        worker.join(0.1)
    codes = [worker.exitcode for worker in workers]
    with contextlib.suppress(RuntimeError):
        iterator._shutdown_workers()
    return next((f"was ended by signal {-code}" for code in codes if code is not None and code < 0), None)


def _timeout_seconds() -> float:
    given = os.environ.get(DATA_TIMEOUT)
    try:
        seconds = _TIMEOUT_SECONDS if given is None else float(given)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"{DATA_TIMEOUT}={given} is not a number of seconds above 0")
    return seconds


def _tensor_reader(tensors: tuple[Tensor, ...], name: str, batch_size: int) -> Callable[[], Iterable[Any]]:
    sizes = [len(tensor) if tensor.ndim else 0 for tensor in tensors]
    if len(set(sizes)) != 1:
        raise DataError(f"the tensors of the {name} data have {sizes} samples; they need the same number")

    def read() -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, sizes[0], batch_size):
            yield tuple(tensor[start : start + batch_size] for tensor in tensors)

    return read


def tensors_of(data: Any) -> list[Tensor]:
    """The tensors of the nesting, in its order."""
    return [leaf for leaf in leaves_of(data) if isinstance(leaf, Tensor)]


def has_rows(leaf: Any, count: int) -> TypeGuard[Tensor | np.ndarray]:
    """Whether the leaf is a tensor, or an array of numpy, with so many entries in its first dimension."""
    return isinstance(leaf, (Tensor, np.ndarray)) and bool(leaf.ndim) and len(leaf) == count


def _num_samples(data: Any, name: str) -> int:
    """The length of the last tensor, which by custom is the target; of any nesting, the last leaf with a dimension."""
    for tensor in reversed(tensors_of(data)):
        if tensor.ndim:
            return len(tensor)
    raise DataError(
        f"a batch of the {name} data holds no tensor with a dimension, found {type(data).__name__}: {_WAYS}"
    )


def tensors_fingerprint(data: Any) -> str:
    """A hash of the nesting with the names, dtypes, shapes and values in it."""
    return _fingerprint(data).hex()


def _fingerprint(data: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    leaves, structure = flatten(data)
    digest.update(repr(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            flat = leaf.detach().cpu().contiguous().reshape(-1)
            digest.update(bytes_digest(flat.view(torch.uint8).numpy().data))
        elif isinstance(leaf, np.ndarray):
            # Of a longer one, `repr` shows both ends.
            digest.update(f"{leaf.dtype}{leaf.shape}".encode())
            digest.update(repr(leaf.tolist()).encode() if leaf.dtype.hasobject else leaf.tobytes())
        else:
            digest.update(repr(leaf).encode())
    return digest.digest()
