"""Tiles of a checkpoint: which there are, that any of them can be missing, and that none of it shows in the numbers."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.job import Job, Reporter, run_job
from slicer_core.job.tiles import CALIBRATION, disjoint, missing, range_names
from slicer_core.job.work import TILE_SECONDS
from slicer_core.methods.tile_names import range_tile, tile_range
from slicer_core.order import coarse_to_fine, finished_level, level_indices, num_levels

MakeJob = Callable[..., Job]
STORE = Path("runs/sgd/loss_slicer/slices.sqlite")


@pytest.mark.parametrize("shape", [(1,), (2,), (9,), (51,), (5, 5), (51, 51), (7, 30), (2, 3)], ids=str)
def test_the_order_has_each_point_once_and_each_level_before_the_next(shape: tuple[int, ...]) -> None:
    order = coarse_to_fine(shape, "grid" if len(shape) == 2 else "curve")
    assert sorted(order) == list(range(int(np.prod(shape))))
    done = np.zeros(int(np.prod(shape)), dtype=bool)
    for level in range(max(map(num_levels, shape))):
        lattice = np.zeros(shape, dtype=bool)
        lattice[np.ix_(*(level_indices(size, level) for size in shape))] = True
        beginning = order[: lattice.sum()]
        assert lattice.reshape(-1)[beginning].all()
        done[beginning] = True
        assert finished_level(shape, done) >= level


def test_any_beginning_of_a_grid_is_spread_over_all_of_it() -> None:
    """The farthest that a point is from an evaluated one, against that of as many points evenly placed."""
    rows, columns = np.divmod(coarse_to_fine((33, 33), "grid"), 33)
    every = np.stack(np.meshgrid(np.arange(33), np.arange(33), indexing="ij"), axis=-1).reshape(-1, 2)
    for count in (9, 25, 81, 200, 289, 600):
        there = np.stack([rows[:count], columns[:count]], axis=1)
        farthest = np.abs(every[:, None] - there[None]).max(axis=2).min(axis=1).max()
        assert farthest <= 2 * 33 / np.sqrt(count)


def test_curves_come_whole_and_spread_over_the_family() -> None:
    order = coarse_to_fine((8, 5), "curves")
    curves = order.reshape(8, 5) // 5
    assert (curves == curves[:, :1]).all()
    assert curves[:4, 0].tolist() == [0, 4, 2, 6]


@given(st.integers(1, 300), st.integers(1, 50), st.sets(st.integers(0, 400)), st.booleans())
def test_whatever_is_stored_what_is_missing_is_what_a_run_without_a_stop_would_evaluate(
    num_points: int, tile_points: int, kept: set[int], calibrated: bool
) -> None:
    first = [(low, min(high, num_points)) for low, high in CALIBRATION if low < num_points] if calibrated else []
    whole = first + missing(first, num_points, tile_points)
    assert [point for low, high in whole for point in range(low, high)] == list(range(num_points))
    # The calibration's tiles are stored together, before all others.
    done = first + [bounds for number, bounds in enumerate(whole) if number in kept and bounds not in first]
    assert sorted(done + missing(disjoint(range_names(done)), num_points, tile_points)) == whole


def test_of_ranges_that_overlap_those_with_the_most_points_are_taken() -> None:
    """Three shards of three are all points, whatever a shard of two has of them too."""
    thirds = [(0, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, 60)]
    for ranges in ([*thirds, (0, 15), (30, 45)], [(30, 45), (0, 15), *thirds[::-1]]):
        assert disjoint(range_names(ranges)) == thirds
    assert disjoint(range_names([(0, 4), (4, 8), (0, 8), (2, 7)])) == [(0, 8)]
    assert disjoint(range_names([(0, 4), (3, 9), (9, 10)])) == [(3, 9), (9, 10)]
    assert disjoint([]) == []


def test_of_tiles_that_overlap_the_longest_are_taken_in_any_order() -> None:
    names = [range_tile(*bounds) for bounds in ((0, 4), (2, 10), (10, 12), (11, 12))]
    assert disjoint(names) == disjoint(reversed(names)) == [(2, 10), (10, 12)]
    assert tile_range("points") is tile_range("marker:end") is tile_range("points:a-b") is None


@pytest.mark.parametrize(
    "options",
    [
        {"method": "random2d", "grid": "7x5", "strategy": "loop", "split": "both", "batch_size": 500},
        {"method": "random2d", "grid": "7x5", "strategy": "partial", "batch_size": 500},
        {"method": "axis", "params_to_slice": "0:3", "grid": "5", "strategy": "partial"},
        {"method": "linear", "grid": "11", "strategy": "loop"},
        {"method": "random2d", "grid": "4x3", "repeats": 3, "strategy": "partial", "steps": "last"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_many_tiles_and_few_give_the_same_bits_and_so_does_a_store_that_lost_some(
    make_job: MakeJob, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what timing decided kept: where it falls otherwise, losses may differ in their last bits."""
    job = make_job(**options)
    whole = run_job(job)
    _forget_all_tiles(tile_points=1)
    monkeypatch.setenv(TILE_SECONDS, "1e-9")
    many = run_job(job)
    with sqlite3.connect(STORE) as connection:
        (num_tiles,) = connection.execute("SELECT COUNT(DISTINCT checkpoint || tile || split) FROM tiles").fetchone()
        assert num_tiles >= many.slices[0].data.loss.size
        connection.execute("DELETE FROM slices")
        # Whole tiles, as they are written: one row is one quantity of a tile.
        names = connection.execute("SELECT DISTINCT checkpoint, tile, split FROM tiles ORDER BY 1, 2, 3").fetchall()
        lost = [name for name in names if zlib.crc32("".join(name).encode()) % 3 == 0]
        connection.executemany("DELETE FROM tiles WHERE checkpoint = ? AND tile = ? AND split = ?", lost)
    assert 0 < len(lost) < len(names)
    connection.close()
    again = run_job(job)
    assert many.num_new == again.num_new == len(whole.slices)
    for one, two, three in zip(whole.slices, many.slices, again.slices, strict=True):
        for left, middle, right in zip(one.data.arrays, two.data.arrays, three.data.arrays, strict=True):
            assert left.values.tobytes() == middle.values.tobytes(), left.name
            assert middle.values.tobytes() == right.values.tobytes(), left.name
        assert one.data.center == two.data.center == three.data.center
        assert one.data.markers == two.data.markers == three.data.markers


def _forget_all_tiles(*, tile_points: int) -> None:
    """Leaves of the store what timing decided, with tiles of as many points from now on."""
    with sqlite3.connect(STORE) as connection:
        connection.execute("DELETE FROM slices")
        connection.execute("DELETE FROM tiles")
        for job, body in connection.execute("SELECT job, body FROM notes WHERE name = 'decided'").fetchall():
            decided = json.loads(body)
            decided["tile_points"] = dict.fromkeys(decided["tile_points"], tile_points)
            changed = json.dumps(decided)
            row = (changed, zlib.crc32(changed.encode()), job)
            connection.execute("UPDATE notes SET body = ?, crc = ? WHERE job = ? AND name = 'decided'", row)
    connection.close()


def test_what_timing_decided_is_kept_and_taken_again(make_job: MakeJob) -> None:
    job = make_job(method="random2d", grid="9", strategy="auto")
    run_job(job)

    def decided() -> str:
        with sqlite3.connect(STORE) as connection:
            (body,) = connection.execute("SELECT body FROM notes WHERE name = 'decided'").fetchone()
        connection.close()
        return body

    before = decided()
    with sqlite3.connect(STORE) as connection:
        connection.execute("DELETE FROM slices")
        connection.execute("DELETE FROM tiles")
    connection.close()
    run_job(job)
    assert decided() == before


def test_what_timing_decided_for_a_tolerance_is_kept_with_the_first_tile(make_job: MakeJob) -> None:
    """A cut that a later run finds in the store is taken, though no timing would choose it."""

    def decided() -> dict[str, Any]:
        with sqlite3.connect(STORE) as connection:
            (body,) = connection.execute("SELECT body FROM notes WHERE name = 'decided'").fetchone()
        connection.close()
        return json.loads(body)["decisions"]

    options = {"method": "random2d", "grid": "9", "strategy": "partial", "tolerance": "10%"}
    run_job(make_job(steps="first", **options))
    first = decided()
    assert first["cuts"]
    run_job(make_job(steps="first,200", **options))
    again = decided()
    assert again["cuts"] == first["cuts"]
    assert again["strategies"].items() >= first["strategies"].items()


def test_a_module_whose_import_changed_starts_a_new_job(make_job: MakeJob, workplace: Path) -> None:
    (workplace / "helper_of_subject.py").write_text("SCALE = 1.0\n")
    source = (workplace / "subject.py").read_text()
    scaled = source.replace("nn.CrossEntropyLoss()", "scaled_loss") + (
        "\n\ndef scaled_loss(output, target):\n"
        "    from pathlib import Path\n"
        "    scale = float(Path(__file__).with_name('helper_of_subject.py').read_text().split('=')[1])\n"
        "    return scale * nn.functional.cross_entropy(output, target, reduction='none')\n"
    )
    (workplace / "subject.py").write_text(scaled)
    first = run_job(make_job(steps="first,200"))
    notes: list[str] = []

    class Noting(Reporter):
        def note(self, text: str) -> None:
            notes.append(text)

    assert run_job(make_job(steps="first,200"), reporter=Noting()).num_new == 0
    assert not any("new job" in note for note in notes)
    (workplace / "helper_of_subject.py").write_text("SCALE = 1.5\n")
    second = run_job(make_job(), reporter=Noting())
    assert any("A new job starts" in note and "center of step 0" in note for note in notes)
    assert second.num_new == 3
    np.testing.assert_allclose(second.slices[0].data.loss, 1.5 * first.slices[0].data.loss, rtol=1e-5)
    assert run_job(make_job()).num_new == 0
