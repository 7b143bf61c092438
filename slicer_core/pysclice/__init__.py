"""The library under the names that existing scripts import: `pysclice.core` and `pysclice.slicers`."""
