from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from loss_slicer.pictures import MIN_WIDTH, picture
from loss_slicer.pictures.colors import viridis
from loss_slicer.pictures.curves import MAX_ROWS
from loss_slicer.pictures.sampling import sample_axis
from loss_slicer.pictures.scale import scale_of
from slicer_core.slices import Axis, Center, Curve, Slice, SliceArray

HOSTILE_NAMES = [
    "[red]x[/red]",
    "n" * 200,
    "\x1b[2J\x1b]0;owned\x07",
    "safe\u202egnp.exe",
    "two\nlines\tand\rmore",
    "日本語" * 40,
    "e" + "\u0301" * 80,
    "\ud800",
    "",
]


def axis(values: Any) -> Axis:
    return Axis(name="alpha", label="alpha", values=np.asarray(values, dtype=np.float64))


def loss_array(values: Any) -> SliceArray:
    return SliceArray(name="loss", split="train", role="value", values=np.asarray(values, dtype=np.float64))


def curve(losses: Any, alphas: Any = None, slice_type: str = "custom", **fields: Any) -> Slice:
    alphas = np.linspace(-1, 1, len(losses)) if alphas is None else alphas
    return Slice(slice_type=slice_type, geometry="curve", axes=(axis(alphas),), arrays=(loss_array(losses),), **fields)


def grid(losses: Any, across: Any = None, up: Any = None, **fields: Any) -> Slice:
    losses = np.asarray(losses, dtype=np.float64)
    across = np.linspace(-1, 1, losses.shape[0]) if across is None else across
    up = np.linspace(-1, 1, losses.shape[1]) if up is None else up
    return Slice(
        slice_type="custom", geometry="grid", axes=(axis(across), axis(up)), arrays=(loss_array(losses),), **fields
    )


def family(losses: Any, names: list[str]) -> Slice:
    losses = np.asarray(losses, dtype=np.float64)
    return Slice(
        slice_type="custom",
        geometry="curves",
        axes=(axis(np.linspace(-1, 1, losses.shape[1])),),
        arrays=(loss_array(losses),),
        curves=tuple(Curve(name=name, layer="") for name in names),
    )


def plain_lines(data: Slice, **options: Any) -> list[str]:
    return picture(data, color=False, **options).plain.split("\n")


def emitted(shown: Text | Group, **console: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, **console).print(shown)
    return stream.getvalue()


def cell_style(text: Text, line: int, column: int) -> Any:
    """The style of a cell of the picture: (color, background) as #rrggbb."""
    style = text.split("\n")[line].get_style_at_offset(Console(), column)
    return tuple(part and part.get_truecolor().hex for part in (style.color, style.bgcolor))


def bowl(size: int = 21) -> np.ndarray:
    values = np.linspace(-1, 1, size)
    return 1.0 + values[:, None] ** 2 + values[None, :] ** 2


class TestGrid:
    def test_its_first_axis_runs_to_the_right_and_its_second_upward(self) -> None:
        losses = np.zeros((20, 10))
        losses[-1, 0] = 1.0  # the end of axes[0], the beginning of axes[1]
        lines = [line.split("|")[1] for line in plain_lines(grid(losses)) if line.count("|") == 2]
        marked = [(row, column) for row, line in enumerate(lines) for column, cell in enumerate(line) if cell == "@"]
        assert marked
        assert {row for row, _ in marked} == {len(lines) - 1}
        width = len(lines[0])
        assert {column for _, column in marked} == set(range(width - width // 20, width))

    def test_its_center_is_marked_where_both_axes_are_zero(self) -> None:
        lines = plain_lines(grid(bowl()))
        rows = [line.split("|")[1] for line in lines if line.count("|") == 2]
        (center_row,) = [number for number, row in enumerate(rows) if "+" in row]
        assert center_row in (len(rows) // 2, len(rows) // 2 - 1)
        assert abs(rows[center_row].index("+") - len(rows[0]) / 2) <= 1

    def test_a_range_without_the_center_has_no_mark(self) -> None:
        assert "+" not in picture(grid(bowl(), across=np.linspace(0.5, 2, 21)), color=False).plain

    def test_colors_go_from_the_beginning_to_the_end_of_viridis(self) -> None:
        text = picture(grid([[0.0, 0.0], [1.0, 1.0]]), color=True)
        column = cell_len(text.plain.split("\n")[0].rstrip()) - 1
        assert cell_style(text, 0, 3) == ("#440154", "#440154")
        assert cell_style(text, 0, column) == ("#fde725", "#fde725")

    def test_a_character_holds_two_rows_of_points(self) -> None:
        losses = np.tile(np.arange(32.0), (4, 1))
        text = picture(grid(losses), color=True)
        high, below = cell_style(text, 0, 3)
        expected = ["#{:02x}{:02x}{:02x}".format(*viridis(place)) for place in (1.0, 30 / 31)]
        assert [high, below] == expected

    def test_values_that_are_not_finite_are_drawn_and_counted(self) -> None:
        losses = bowl()
        losses[2, 3], losses[4, 5], losses[6, 7] = np.nan, np.inf, -np.inf
        for color in (False, True):
            text = picture(grid(losses), color=color).plain
            assert "3 cells not finite" in text
            assert "x" in text.replace("max", "").split("loss")[0]

    def test_few_outliers_do_not_flatten_the_rest(self) -> None:
        losses = bowl()
        losses[0, 0] = 1e12
        clipped = plain_lines(grid(losses))
        assert any("clipped at" in line for line in clipped)
        assert any("max 1e12" in line for line in clipped)
        shades = set("".join(line.split("|")[1] for line in clipped if line.count("|") == 2))
        assert len(shades) > 6

    def test_a_smooth_bowl_is_not_clipped(self) -> None:
        assert "clipped" not in picture(grid(bowl()), color=False).plain

    def test_a_range_of_positive_values_over_a_factor_of_50_is_logarithmic(self) -> None:
        assert "log scale" in picture(grid(np.logspace(0, 4, 100).reshape(10, 10)), color=False).plain
        assert "log scale" not in picture(grid(np.linspace(-1, 1e4, 100).reshape(10, 10)), color=False).plain
        assert "log scale" not in picture(grid(np.linspace(10, 400, 100).reshape(10, 10)), color=False).plain

    def test_the_legend_has_the_extremes_and_the_center(self) -> None:
        text = picture(grid(bowl(), center=Center(loss={"train": 1.0625})), color=False).plain
        for part in ("loss (train)", "min 1 ", "max 3", "center 1.062"):
            assert part in text

    def test_a_provisional_slice_says_how_much_is_there(self) -> None:
        assert "25% filled" in picture(grid(bowl(), status="provisional", filled=0.25), color=False).plain


class TestCurve:
    def test_it_goes_through_its_points(self) -> None:
        lines = [
            line.split("|", 1)[1].ljust(50) for line in plain_lines(curve([4.0, 0.0, 1.0, 2.0, 4.0])) if "|" in line
        ]
        plot = lines[:-1]
        assert plot[0][0] == "*"
        assert plot[-1].lstrip().startswith("*")
        assert plot[0].rstrip()[-1] == "*"
        height = len(plot) - 1
        middle = [number for number, line in enumerate(plot) if "+" in line]
        assert middle == [round(0.75 * height)]

    def test_its_ends_and_extremes_are_labelled(self) -> None:
        lines = plain_lines(curve([2.5, 0.125, 7.25], [-0.5, 0.0, 2.0]))
        assert lines[0].startswith(" 7.25|")
        assert [line for line in lines if line.startswith("0.125|")]
        (labels,) = [line for line in lines if line.lstrip().startswith("-0.5")]
        assert labels.split() == ["-0.5", "0", "2"]

    def test_a_path_between_two_points_has_both_labelled(self) -> None:
        alphas = np.linspace(-0.5, 1.5, 21)
        data = curve((alphas - 1) ** 2, alphas, slice_type="linear_interpolation")
        (labels,) = [line for line in plain_lines(data) if line.lstrip().startswith("-0.5")]
        assert labels.split() == ["-0.5", "0", "1", "1.5"]

    def test_with_color_the_line_is_in_braille(self) -> None:
        text = picture(curve(np.linspace(-1, 1, 51) ** 2), color=True).plain
        assert any("\u2800" <= character <= "\u28ff" for character in text)

    def test_it_is_broken_where_values_are_not_finite(self) -> None:
        losses = np.ones(60)
        losses[20:30] = np.nan
        text = picture(curve(losses, np.linspace(1, 2, 60)), color=False).plain
        assert "10 points not finite" in text
        assert text.count("x") == 10
        (line,) = [line for line in text.split("\n") if "*" in line]
        assert "*   " in line.split("|")[1].rstrip()

    def test_a_spike_between_thousands_of_points_is_seen(self) -> None:
        losses = np.zeros(50_001)
        losses[12_345] = 1.0
        assert "*" in plain_lines(curve(losses))[0]

    def test_points_in_any_order_make_the_same_picture(self) -> None:
        alphas = np.linspace(-1, 1, 31)
        shuffled = np.random.default_rng(0).permutation(31)
        assert plain_lines(curve(alphas**3, alphas)) == plain_lines(curve(alphas[shuffled] ** 3, alphas[shuffled]))

    def test_ends_that_differ_little_have_labels_that_differ(self) -> None:
        lines = plain_lines(curve([0.123456, 0.123457, 0.123458]))
        assert lines[0].split("|")[0].strip() == "0.123458"


class TestCurves:
    def test_each_row_has_name_line_and_range(self) -> None:
        rows = plain_lines(family([[1, 0, 1], [3, 3, 3]], ["first", "second"]))
        assert rows[0].startswith("first ")
        assert rows[0].endswith("| 0..1")
        assert rows[1].endswith("| 3")

    def test_a_sparkline_rises_with_its_values(self) -> None:
        row = plain_lines(family([np.linspace(0, 1, 10)], ["rising"]))[0].split("|")[1]
        assert "".join(dict.fromkeys(row)) == " .:-=o*#%@"
        blocks = picture(family([np.linspace(0, 1, 8)], ["rising"]), color=True).plain.split("│")[1]
        assert "".join(dict.fromkeys(blocks)) == "▁▂▃▄▅▆▇█"

    def test_rows_beyond_the_limit_are_counted(self) -> None:
        names = [f"curve {number}" for number in range(MAX_ROWS + 7)]
        text = picture(family(np.ones((len(names), 4)), names), color=False).plain
        assert "and 7 more" in text
        assert f"curve {MAX_ROWS - 1}" in text
        assert f"curve {MAX_ROWS} " not in text

    def test_a_value_that_is_not_finite_has_its_place(self) -> None:
        text = picture(family([[1.0, np.nan, 2.0]], ["gap"]), color=False).plain
        row = text.split("|")[1]
        assert "x" * (len(row) // 3) == row[len(row) // 3 : 2 * len(row) // 3]
        assert "1 point not finite" in text


EXTREME_LOSSES = [
    np.full(9, np.nan),
    np.full(9, np.inf),
    np.full(9, 3.0),
    np.zeros(9),
    np.logspace(-12, 12, 9),
    -np.logspace(-12, 12, 9),
    np.linspace(-1, 1, 9) * 1.7e308,
    np.linspace(1, 9, 9) * 5e-324,
    np.r_[np.ones(8), np.nan],
    np.array([1.0]),
    np.array([1.0, 2.0]),
    np.array([np.nan, 2.0]),
]


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("losses", EXTREME_LOSSES, ids=lambda losses: f"{losses[0]:.3g}x{losses.size}")
@pytest.mark.filterwarnings("error")
def test_every_geometry_survives_extreme_values(losses: np.ndarray, color: bool) -> None:
    size = losses.size
    slices = (curve(losses), family([losses], ["name"]), grid(np.tile(losses, (2, 1))), grid(losses[:, None]))
    for data in slices:
        lines = picture(data, color=color).plain.split("\n")
        assert max(map(cell_len, lines)) <= 60
        missing = int(data.loss.size - np.isfinite(data.loss).sum())
        assert (f"{missing} " in "".join(lines)) or missing == 0
        assert ("not finite" in "".join(lines)) == (missing > 0), size


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), color=st.booleans(), width=st.integers(MIN_WIDTH, 120))
@pytest.mark.filterwarnings("error")
def test_any_slice_fits_its_width(data: st.DataObject, color: bool, width: int) -> None:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    across, up = (
        data.draw(arrays.arrays(np.float64, st.integers(1, 70), elements=finite, unique=data.draw(st.booleans())))
        for _ in range(2)
    )
    losses = data.draw(arrays.arrays(np.float64, (across.size, up.size), elements=st.floats(), fill=st.floats()))
    name = data.draw(st.text(max_size=80))
    members = family(losses, [name] * across.size)
    for drawn in (grid(losses, across, up), curve(losses[0], up), members):
        text = picture(drawn, width=width, color=color)
        assert max(map(cell_len, text.plain.split("\n"))) <= width
        if not color:
            assert text.plain.isascii()
            assert not text.spans
            assert all(character == "\n" or character.isprintable() for character in text.plain)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("color", [False, True])
def test_hostile_names_are_shown_and_do_nothing(name: str, color: bool) -> None:
    text = picture(family([[0.0, 1.0, 2.0]] * 2, [name, "other"]), color=color)
    printed = emitted(text, width=100, color_system=None)
    assert all(character == "\n" or character.isprintable() or cell_len(character) == 0 for character in printed)
    assert not set(printed) & {"\x1b", "\x07", "\u202e", "\r", "\t", "\ud800"}
    rows = [line for line in printed.split("\n") if ("│" if color else "|") in line]
    assert len(rows) == 2
    assert rows[1].startswith("other ")


def test_markup_in_a_name_is_literal() -> None:
    text = picture(family([[0.0, 1.0]], ["[red]x[/red]"]), color=True)
    assert "[red]x[/red]" in emitted(text, width=100, force_terminal=True, color_system=None)


@pytest.mark.parametrize("data", [curve([1.0, 2.0, 3.0]), grid(bowl()), family([[1.0, 2.0]], ["θ"])])
def test_a_plain_picture_has_no_control_codes_even_on_a_terminal(data: Slice) -> None:
    assert (
        emitted(picture(data, color=False), width=100, force_terminal=True, color_system="truecolor")
        .replace("\n", "")
        .isprintable()
    )


def test_a_picture_with_color_has_24_bit_colors() -> None:
    printed = emitted(picture(grid(bowl()), color=True), width=100, force_terminal=True, color_system="truecolor")
    assert "\x1b[38;2;" in printed
    assert "48;2;" in printed


def test_a_narrow_terminal_crops_and_does_not_wrap() -> None:
    text = picture(grid(bowl()), color=True)
    printed = emitted(Group(text), width=30, color_system=None)
    assert len(printed.splitlines()) == len(text.plain.split("\n"))


def test_pictures_do_not_import_torch() -> None:
    code = "import sys, loss_slicer.pictures, loss_slicer.plain_text; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestScaleAndSampling:
    def test_points_of_a_regular_axis_get_equally_many_cells(self) -> None:
        indices = sample_axis(np.linspace(0, 3, 12), 50).indices
        assert np.bincount(indices).tolist() == [4] * 12

    def test_a_longer_axis_is_thinned_from_end_to_end(self) -> None:
        indices = sample_axis(np.linspace(-1, 1, 51), 34).indices
        assert indices.size == 34
        assert (np.diff(indices) > 0).all()
        assert (indices[0], indices[-1]) == (0, 50)

    def test_an_irregular_axis_shows_each_point_where_it_lies(self) -> None:
        indices = sample_axis(np.array([0.0, 1.0, 9.0]), 30).indices
        counts = np.bincount(indices)
        # Borders of the points: -0.5, 0.5, 5, 13.
        assert counts / counts.sum() == pytest.approx(np.array([1.0, 4.5, 8.0]) / 13.5, abs=1 / 30)

    def test_a_coordinate_falls_into_the_cell_of_its_point(self) -> None:
        values = np.linspace(-2, 4, 13)
        sampling = sample_axis(values, 39)
        for number, value in enumerate(values):
            cell = sampling.cell(float(value))
            assert cell is not None
            assert sampling.indices[cell] == number
        assert sampling.cell(4.1) is None

    def test_places_run_from_zero_to_one_on_both_scales(self) -> None:
        linear = scale_of(np.array([2.0, 4.0, 3.0]), robust=False)
        logarithmic = scale_of(np.array([1e-3, 1e3, 1.0, np.nan]), robust=False)
        assert linear is not None
        assert logarithmic is not None
        assert linear.places(np.array([2.0, 3.0, 4.0])) == pytest.approx([0.0, 0.5, 1.0])
        assert logarithmic.places(np.array([1e-3, 1.0, 1e3])) == pytest.approx([0.0, 0.5, 1.0])
        assert np.isnan(logarithmic.places(np.array([np.inf]))).all()

    def test_without_a_finite_value_there_is_no_scale(self) -> None:
        assert scale_of(np.array([np.nan, np.inf]), robust=True) is None

    # Entries 0, 64, 128, 191 and 255 of the published table of 256.
    @pytest.mark.parametrize(
        ("entry", "published"),
        [(0, "440154"), (64, "3b528b"), (128, "21918c"), (191, "5ec962"), (255, "fde725")],
    )
    def test_colors_are_those_of_the_published_table(self, entry: int, published: str) -> None:
        assert np.abs(np.array(viridis(entry / 255)) - list(bytes.fromhex(published))).max() <= 6


LAYERS = [
    *(f"enc.layers.{number}.{part}" for number in (0, 1) for part in ("self_attn.in_proj_weight", "linear1.weight")),
    "head.weight",
]


@pytest.mark.parametrize("width", [60, 100, 200])
def test_rows_of_different_names_have_different_labels(width: int) -> None:
    rows = plain_lines(family(np.ones((5, 9)), LAYERS), width=width)[:5]
    labels = [row.split("|")[0].strip() for row in rows]
    assert len(set(labels)) == 5
    for label, name in zip(labels, LAYERS, strict=True):
        start, *others = label.split("...")
        assert name.startswith(start)
        assert all(part in name for part in others)
    if width == 200:
        assert labels == LAYERS
