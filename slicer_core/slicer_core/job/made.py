"""What a method made before it had its points, as a tile of the store."""

from __future__ import annotations

from collections.abc import Callable

from safetensors.torch import load, save

from slicer_core.methods.preparation import Made
from slicer_core.store import StoredTile

# SQLite holds up to a billion bytes in a row; what is larger is made again.
_MAX_BYTES = 2**29


def made_tile(name: str) -> str:
    """The name of the tile."""
    return f"made:{name}"


def made_once(stored: StoredTile | None, make: Callable[[], Made], keep: Callable[[StoredTile], None]) -> Made:
    """What was stored, or else is made now and, if it is not too large, kept."""
    if stored is not None:
        return decode_made(stored)
    made = make()
    encoded = encode_made(made)
    if encoded is not None:
        keep(encoded)
    return made


def encode_made(made: Made) -> StoredTile | None:
    """The vectors as safetensors, and what is said of them beside; None where they are too large to keep."""
    tensors = {
        f"{index}/{name}": tensor.detach().cpu().contiguous()
        for index, vector in enumerate(made.vectors)
        for name, tensor in vector.items()
    }
    if sum(tensor.nbytes for tensor in tensors.values()) > _MAX_BYTES:
        return None
    return StoredTile(sums={"vectors": save(tensors)}, how={"vectors": len(made.vectors), "facts": dict(made.facts)})


def decode_made(tile: StoredTile) -> Made:
    """What `encode_made` was given."""
    vectors = [{} for _ in range(tile.how["vectors"])]
    for key, tensor in load(tile.sums["vectors"]).items():
        index, _, name = key.partition("/")
        vectors[int(index)][name] = tensor
    return Made(vectors=tuple(vectors), facts=tile.how["facts"])
