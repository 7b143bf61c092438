"""The file of finished work of a run directory: one writer, which is known to the next; any number of readers."""

from slicer_core.store.file import FILE_NAME, VERSION, Store, StoredSlice, StoredTile, TileKey
from slicer_core.store.lock import Holder, holder_of

__all__ = ["FILE_NAME", "VERSION", "Holder", "Store", "StoredSlice", "StoredTile", "TileKey", "holder_of"]
