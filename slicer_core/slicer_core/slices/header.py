"""Version 1 of the stored form of a slice: a JSON header and one blob for each array.

`encode_slice` and `decode_slice` are what event files and the store keep; `slice_to_dict` and `slice_from_dict` are
the same fields with the arrays in place. A header that is read comes from a file that anyone may have written.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slicer_core.errors import FormatError
from slicer_core.slices.codec import MAX_ARRAY_BYTES, Codec, decode_array, dtype_name, encode_array
from slicer_core.slices.slice import Axis, Center, Curve, Direction, Marker, Measure, Slice, SliceArray

SCHEMA = 1
MAX_HEADER_BYTES = 64 * 2**20
MAX_SLICE_BYTES = 2**30
"""Decoded bytes of all arrays of one slice above which it is refused."""
_OPTIONAL_DIRECTION = ("explained_variance", "eigenvalue")
_OPTIONAL_CENTER = ("whole_loss", "data_loss")


def encode_slice(data: Slice, codec: Codec = "shuffle-zlib") -> list[bytes]:
    """`[header, array 1, array 2, …]`: the header is UTF-8 JSON, the arrays are in the header's order.

    Raises:
        FormatError: an array is too large to be read again, or a field holds what JSON can't.
    """
    _check_sizes(data)
    blobs = [encode_array(array.values, codec) for array in data.arrays]
    header: dict[str, Any] = {"schema": SCHEMA, "id": slice_id(data)}
    header |= _fields(data)
    header["axes"] = [_axis_header(axis) for axis in data.axes]
    header["arrays"] = [
        _array_header(array, index, codec, blob)
        for index, (array, blob) in enumerate(zip(data.arrays, blobs, strict=True), start=1)
    ]
    return [_dump(header), *blobs]


def slice_id(data: Slice) -> str:
    """The header's `id`: a hash of the content, the same whatever codec or zlib stores it.

    Raises:
        FormatError: a field holds what JSON can't.
    """
    header = {"schema": SCHEMA} | _fields(data)
    header["axes"] = [_axis_header(axis) for axis in data.axes]
    header["arrays"] = [
        {"name": array.name, "split": array.split, "role": array.role, "dtype": dtype_name(array.values)}
        for array in data.arrays
    ]
    # Arrays need no lengths between them: their dtypes and the common shape are in the header.
    digest = hashlib.blake2b(_dump(header), digest_size=16)
    for array in data.arrays:
        digest.update(encode_array(array.values, "raw"))
    return digest.hexdigest()


def parse_header(blob: bytes) -> dict[str, Any]:
    """The header as a dictionary, with nothing but its schema and size checked.

    Raises:
        FormatError: not JSON, not an object, or a schema that this version does not read.
    """
    if len(blob) > MAX_HEADER_BYTES:
        raise FormatError(f"a header of {len(blob)} bytes is above the limit of {MAX_HEADER_BYTES}")
    try:
        header = json.loads(blob.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the slice's header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FormatError(f"the slice's header is a JSON object, found {type(header).__name__}")
    schema = header.get("schema")
    if isinstance(schema, bool) or schema != SCHEMA:
        raise FormatError(
            f"the slice has schema {schema!r}, this version reads {SCHEMA}: update tensorboard-loss-slicer"
        )
    return header


def decode_slice(blobs: Sequence[bytes]) -> Slice:
    """The slice that `encode_slice` made `blobs` from.

    Raises:
        FormatError: the header or an array is not what the format says.
    """
    if not blobs:
        raise FormatError("a slice has a header blob, found none")
    header = parse_header(blobs[0])
    arrays: list[dict[str, Any]] = []
    room = MAX_SLICE_BYTES
    for record in _list(header, "arrays"):
        values = _blob_values(record, blobs, min(room, MAX_ARRAY_BYTES))
        room -= values.nbytes
        arrays.append(record | {"values": values})
    return slice_from_dict(header | {"arrays": arrays})


def slice_to_dict(data: Slice) -> dict[str, Any]:
    """The header's fields, with numpy arrays under `values` of each of `axes` and `arrays`."""
    fields: dict[str, Any] = {"schema": SCHEMA} | _fields(data)
    fields["axes"] = [{"name": axis.name, "label": axis.label, "values": axis.values} for axis in data.axes]
    fields["arrays"] = [
        {"name": array.name, "split": array.split, "role": array.role, "values": array.values} for array in data.arrays
    ]
    return fields


def slice_from_dict(data: Mapping[str, Any]) -> Slice:
    """See `Slice.from_dict`.

    Raises:
        FormatError: a field is missing or has the wrong form.
    """
    try:
        return _build(data)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"not a slice: {type(error).__name__}: {error}") from error


def _build(data: Mapping[str, Any]) -> Slice:
    center = data.get("center")
    return Slice(
        slice_type=_text(data, "slice_type"),
        geometry=data["geometry"],
        status=data.get("status", "complete"),
        filled=_float(data.get("filled", 1.0)),
        axes=tuple(
            Axis(name=_text(axis, "name"), label=_text(axis, "label"), values=_floats(axis["values"]))
            for axis in _list(data, "axes")
        ),
        arrays=tuple(
            SliceArray(
                name=_text(array, "name"),
                split=_text(array, "split"),
                role=array.get("role", "value"),
                values=_numeric(array["values"]),
            )
            for array in _list(data, "arrays")
        ),
        curves=tuple(
            Curve(
                name=_text(curve, "name"),
                layer=_text(curve, "layer"),
                index=tuple(int(entry) for entry in curve.get("index", ())),
                shape=tuple(int(entry) for entry in curve.get("shape", ())),
                center=_float_or_none(curve.get("center")),
            )
            for curve in data.get("curves") or ()
        ),
        directions=tuple(
            Direction(
                name=_text(direction, "name"),
                recipe=dict(direction.get("recipe") or {}),
                norm=_float(direction.get("norm")),
                **{key: _float_or_none(direction.get(key)) for key in _OPTIONAL_DIRECTION},
            )
            for direction in data.get("directions") or ()
        ),
        cosine=_float_or_none(data.get("cosine")),
        center=None if center is None else _center(center),
        measures={
            str(name): Measure(
                value=_float(measure.get("value")),
                error=_float_or_none(measure.get("error")),
                details=dict(measure.get("details") or {}),
            )
            for name, measure in (data.get("measures") or {}).items()
        },
        markers=tuple(
            Marker(
                name=_text(marker, "name"),
                coordinates=tuple(_float(entry) for entry in marker["coordinates"]),
                loss=_float_map(marker.get("loss")),
            )
            for marker in data.get("markers") or ()
        ),
        trajectory=_mapping_or_none(data, "trajectory"),
        checkpoint=_mapping_or_none(data, "checkpoint"),
        evaluation=dict(data.get("evaluation") or {}),
        config=dict(data.get("config") or {}),
    )


def _center(data: Mapping[str, Any]) -> Center:
    step = data.get("step")
    return Center(
        loss=_float_map(data.get("loss")),
        metrics={str(name): _float_map(values) for name, values in (data.get("metrics") or {}).items()},
        step=None if step is None else int(step),
        norm=_float_or_none(data.get("norm")),
        **{name: _float_map(data.get(name)) for name in _OPTIONAL_CENTER},
    )


def _fields(data: Slice) -> dict[str, Any]:
    """All of a slice but its axes and arrays, as plain values; a number that is read back as a float is one here."""
    return {
        "slice_type": data.slice_type,
        "geometry": data.geometry,
        "status": data.status,
        "filled": float(data.filled),
        "curves": [
            {
                "name": curve.name,
                "layer": curve.layer,
                "index": [int(entry) for entry in curve.index],
                "shape": [int(entry) for entry in curve.shape],
                "center": _float_or_none(curve.center),
            }
            for curve in data.curves
        ],
        "directions": [
            {"name": direction.name, "recipe": dict(direction.recipe), "norm": float(direction.norm)}
            | {key: float(value) for key in _OPTIONAL_DIRECTION if (value := getattr(direction, key)) is not None}
            for direction in data.directions
        ],
        "cosine": _float_or_none(data.cosine),
        "center": None if data.center is None else _center_fields(data.center),
        "measures": {
            name: {"value": float(measure.value), "error": _float_or_none(measure.error)}
            | ({"details": dict(measure.details)} if measure.details else {})
            for name, measure in data.measures.items()
        },
        "markers": [
            {
                "name": marker.name,
                "coordinates": [float(entry) for entry in marker.coordinates],
                "loss": _float_map(marker.loss),
            }
            for marker in data.markers
        ],
        "trajectory": data.trajectory,
        "checkpoint": data.checkpoint,
        "evaluation": dict(data.evaluation),
        "config": dict(data.config),
    }


def _center_fields(center: Center) -> dict[str, Any]:
    return {
        "loss": _float_map(center.loss),
        "metrics": {name: _float_map(values) for name, values in center.metrics.items()},
        "step": None if center.step is None else int(center.step),
        "norm": _float_or_none(center.norm),
    } | {name: _float_map(values) for name in _OPTIONAL_CENTER if (values := getattr(center, name))}


def _axis_header(axis: Axis) -> dict[str, Any]:
    return {"name": axis.name, "label": axis.label, "values": axis.values.astype(np.float64).tolist()}


def _array_header(array: SliceArray, index: int, codec: Codec, blob: bytes) -> dict[str, Any]:
    finite = array.values[np.isfinite(array.values)]
    return {
        "name": array.name,
        "split": array.split,
        "role": array.role,
        "blob": index,
        "dtype": dtype_name(array.values),
        "shape": list(array.values.shape),
        "codec": codec,
        "bytes": len(blob),
        "min": finite.min().item() if finite.size else None,
        "max": finite.max().item() if finite.size else None,
        "nonfinite": int(array.values.size - finite.size),
    }


def _check_sizes(data: Slice) -> None:
    """What can't be read again must not be written."""
    sizes = [array.values.nbytes for array in data.arrays]
    if max(sizes) > MAX_ARRAY_BYTES or sum(sizes) > MAX_SLICE_BYTES:
        raise FormatError(
            f"a slice of {sum(sizes)} bytes with an array of {max(sizes)} can't be stored: the limits are "
            f"{MAX_SLICE_BYTES} and {MAX_ARRAY_BYTES}; take fewer points or metrics"
        )


def _blob_values(record: Any, blobs: Sequence[bytes], max_bytes: int) -> np.ndarray:
    if not isinstance(record, dict):
        raise FormatError(f"each of arrays is a JSON object, found {type(record).__name__}")
    index, shape = record.get("blob"), record.get("shape")
    if isinstance(index, bool) or not isinstance(index, int) or not 1 <= index < len(blobs):
        raise FormatError(f"array {record.get('name')!r} names blob {index!r} of {len(blobs) - 1}")
    if not isinstance(shape, list):
        raise FormatError(f"array {record.get('name')!r} has no shape")
    return decode_array(
        blobs[index],
        dtype=str(record.get("dtype")),
        shape=tuple(shape),
        codec=str(record.get("codec")),
        max_bytes=max_bytes,
    )


def _dump(value: Any) -> bytes:
    """JSON that any reader takes: numbers that are not finite become null."""
    try:
        text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"a slice's recipes, measures' details, trajectory, checkpoint, evaluation and config hold texts, numbers, "
            f"lists and dictionaries only: {error}"
        ) from error
    # A lone surrogate is no UTF-8, but its escape is JSON.
    return text.encode("utf-8", errors="backslashreplace")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str):
        raise FormatError(f"{key} is a text, found {type(value).__name__}")
    return value


def _mapping_or_none(data: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = data.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise FormatError(f"{key} is a dictionary, found {type(value).__name__}")
    return value


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, (list, tuple)):
        raise FormatError(f"{key} is a list, found {type(value).__name__}")
    return list(value)


def _floats(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.array([_float(value) for value in values], dtype=np.float64)


def _numeric(values: Any) -> np.ndarray:
    """Arrays keep their dtype; lists of numbers become float64."""
    return values if isinstance(values, np.ndarray) else np.asarray(values, dtype=np.float64)


def _float(value: Any) -> float:
    """JSON's null stands for a number that is not finite."""
    if isinstance(value, (str, bytes)):
        raise FormatError(f"a number is expected, found the text {value!r:.40}")
    return math.nan if value is None else float(value)


def _float_or_none(value: Any) -> float | None:
    return None if value is None else _float(value)


def _float_map(values: Any) -> dict[str, float]:
    return {str(name): _float(value) for name, value in (values or {}).items()}
